//! From the model to bytes. The order in which records and strings are written is part of the format: a blob is named by its bytes, and the
//! verifier wants spans one behind the other.

use std::net::SocketAddr;

use zerocopy::little_endian::{U16, U32, U64};

use super::record::*;
use super::{section, tag};
use crate::error::EncodeError;
use crate::model::*;
use crate::wire::{Span, Str, Writer};

/// Encodes a model. Its rules are checked on the bytes, by the verifier.
pub(crate) fn encode(model: &Model) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::default();
    match model {
        Model::Listeners(m) => put_listeners(&mut w, m),
        Model::Host(m) => put_host(&mut w, m),
        Model::Cluster(m) => put_cluster(&mut w, m),
        Model::Endpoints(m) => put_endpoints(&mut w, m),
        Model::Policy(m) => put_policy(&mut w, m),
        Model::Provenance(m) => put_provenance(&mut w, m),
    }
    w.finish(model.kind() as u8, model.name())
}

fn put_listeners<'m>(w: &mut Writer<'m>, m: &'m ListenerSet) {
    let records: Vec<ListenerRecord> = m.listeners.iter().map(|l| put_listener(w, l)).collect();
    let listeners = w.records(section::LISTENER, &records);
    let node = put_workload(w, &m.node);
    let (pod, policy) = (w.str(&m.pod), w.str(&m.policy));
    let place = put_places(w, m.place.as_slice());
    let head = ListenersRecord { node, pod, policy, listeners, place };
    w.records(section::HEAD, &[head]);
}

fn put_listener<'m>(w: &mut Writer<'m>, l: &'m Listener) -> ListenerRecord {
    let mut out = ListenerRecord {
        name: w.str(&l.name),
        rule: U32::new(l.rule.0),
        address: put_address(w, l.address),
        role: l.role as u8,
        protocol: tag::HTTP,
        on_demand: 0,
        reserved: 0,
        port: U16::new(0),
        search: Span::default(),
        backends: Span::default(),
        route_rule: U32::new(0),
        idle_timeout_ms: U64::new(0),
        tls_routes: Span::default(),
    };
    match &l.protocol {
        ListenerProtocol::Http { on_demand, search, port } => {
            let search: Vec<Str> = search.iter().map(|s| w.str(s)).collect();
            out.search = w.records(section::SEARCH, &search);
            out.on_demand = u8::from(*on_demand);
            out.port = U16::new(*port);
        }
        ListenerProtocol::Tcp { backends, rule, idle_timeout_ms } => {
            out.protocol = tag::TCP;
            out.backends = put_tcp_backends(w, backends);
            out.route_rule = U32::new(rule.0);
            out.idle_timeout_ms = U64::new(*idle_timeout_ms);
        }
        ListenerProtocol::Tls { routes } => {
            let records: Vec<TlsRouteRecord> = routes.iter().map(|r| put_tls_route(w, r)).collect();
            out.protocol = tag::TLS;
            out.tls_routes = w.records(section::TLS_ROUTE, &records);
        }
    }
    out
}

fn put_tls_route<'m>(w: &mut Writer<'m>, r: &'m TlsRoute) -> TlsRouteRecord {
    let names: Vec<Str> = r.names.iter().map(|name| w.str(name)).collect();
    TlsRouteRecord {
        rule: U32::new(r.rule.0),
        names: w.records(section::SERVER_NAME, &names),
        backends: put_tcp_backends(w, &r.backends),
        idle_timeout_ms: U64::new(r.idle_timeout_ms),
    }
}

fn put_tcp_backends<'m>(w: &mut Writer<'m>, backends: &'m [TcpBackend]) -> Span {
    let records: Vec<TcpBackendRecord> =
        backends.iter().map(|b| TcpBackendRecord { cluster: w.str(&b.cluster), weight: U32::new(b.weight) }).collect();
    w.records(section::TCP_BACKEND, &records)
}

fn put_host<'m>(w: &mut Writer<'m>, m: &'m Host) {
    let domains: Vec<DomainRecord> = m
        .domains
        .iter()
        .map(|d| DomainRecord { pattern: w.str(&d.pattern), port: U16::new(d.port), reserved: U16::new(0) })
        .collect();
    let domains = w.records(section::DOMAIN, &domains);
    let routes: Vec<RouteRecord> = m.routes.iter().map(|r| put_route(w, r)).collect();
    let routes = w.records(section::ROUTE, &routes);
    let actions: Vec<ActionRecord> = m.actions.iter().map(|a| put_action(w, a)).collect();
    let actions = w.records(section::ACTION, &actions);
    let head = HostRecord { listener: w.str(&m.listener), rule: U32::new(m.rule.0), domains, routes, actions };
    w.records(section::HEAD, &[head]);
}

fn put_route<'m>(w: &mut Writer<'m>, m: &'m Route) -> RouteRecord {
    let (path_kind, path) = match &m.matches.path {
        PathMatch::Any => (0, ""),
        PathMatch::Exact(s) => (1, s.as_str()),
        PathMatch::Prefix(s) => (2, s.as_str()),
        PathMatch::Segments(s) => (3, s.as_str()),
        PathMatch::Regex(s) => (4, s.as_str()),
    };
    let headers: Vec<HeaderMatchRecord> = m
        .matches
        .headers
        .iter()
        .map(|h| HeaderMatchRecord {
            name: w.str(&h.name),
            value: put_match(w, Some(&h.value)),
            invert: u8::from(h.invert),
            reserved: [0; 3],
        })
        .collect();
    let query: Vec<QueryMatchRecord> = m
        .matches
        .query
        .iter()
        .map(|q| QueryMatchRecord { name: w.str(&q.name), value: put_match(w, Some(&q.value)) })
        .collect();
    let source = put_labels(w, &m.matches.source);
    RouteRecord {
        rule: U32::new(m.rule.0),
        name: w.str(&m.name),
        path: w.str(path),
        path_kind,
        ignore_case: u8::from(m.matches.ignore_case),
        reserved: [0; 2],
        method: put_match(w, m.matches.method.as_ref()),
        scheme: put_match(w, m.matches.scheme.as_ref()),
        authority: put_match(w, m.matches.authority.as_ref()),
        headers: w.records(section::HEADER_MATCH, &headers),
        query: w.records(section::QUERY_MATCH, &query),
        action: U32::new(m.action),
        source,
    }
}

fn put_rewrite<'m>(w: &mut Writer<'m>, m: &'m PathRewrite) -> (u8, Str) {
    match m {
        PathRewrite::Keep => (0, w.str("")),
        PathRewrite::Prefix(s) => (1, w.str(s)),
        PathRewrite::Segments(s) => (2, w.str(s)),
        PathRewrite::Full(s) => (3, w.str(s)),
        PathRewrite::Regex { pattern, .. } => (4, w.str(pattern)),
    }
}

fn put_action<'m>(w: &mut Writer<'m>, m: &'m Action) -> ActionRecord {
    let none = w.str("");
    let mut out = ActionRecord {
        kind: tag::FORWARD,
        path_kind: 0,
        status: U16::new(0),
        port: U16::new(0),
        has_port: 0,
        reserved: 0,
        timeout_ms: U64::new(0),
        text: none,
        scheme: none,
        path: none,
        backends: Span::default(),
        request: Span::default(),
        response: Span::default(),
        fault: Span::default(),
        cors: Span::default(),
        retry: Span::default(),
        mirrors: Span::default(),
    };
    match m {
        Action::Forward(f) => {
            let backends: Vec<BackendRecord> = f.backends.iter().map(|b| put_backend(w, b)).collect();
            out.backends = w.records(section::BACKEND, &backends);
            out.timeout_ms = U64::new(f.timeout_ms);
            let retry: Vec<RetryRecord> = f.retry.iter().map(|r| put_retry(w, r)).collect();
            out.retry = w.records(section::RETRY, &retry);
            (out.path_kind, out.path) = put_rewrite(w, &f.path);
            if let PathRewrite::Regex { substitution, .. } = &f.path {
                out.scheme = w.str(substitution);
            }
            out.text = w.str(&f.authority);
            out.request = put_edits(w, &f.request);
            out.response = put_edits(w, &f.response);
            out.fault = put_fault(w, f.fault.as_ref());
            out.cors = put_cors(w, f.cors.as_ref());
            let mirrors: Vec<MirrorRecord> = f.mirrors.iter().map(|m| put_mirror(w, m)).collect();
            out.mirrors = w.records(section::MIRROR, &mirrors);
        }
        Action::Redirect(d) => {
            (out.kind, out.status) = (tag::REDIRECT, U16::new(d.status));
            (out.port, out.has_port) = (U16::new(d.port.unwrap_or(0)), u8::from(d.port.is_some()));
            (out.path_kind, out.path) = put_rewrite(w, &d.path);
            (out.text, out.scheme) = (w.str(&d.host), w.str(&d.scheme));
            out.response = put_edits(w, &d.response);
            out.fault = put_fault(w, d.fault.as_ref());
        }
        Action::Respond(p) => {
            (out.kind, out.status, out.text) = (tag::RESPOND, U16::new(p.status), w.str(&p.body));
            out.response = put_edits(w, &p.response);
            out.fault = put_fault(w, p.fault.as_ref());
        }
    }
    out
}

fn put_mirror<'m>(w: &mut Writer<'m>, m: &'m Mirror) -> MirrorRecord {
    MirrorRecord { cluster: w.str(&m.cluster), per_million: U32::new(m.per_million), rule: U32::new(m.rule.0) }
}

fn put_fault(w: &mut Writer<'_>, m: Option<&Fault>) -> Span {
    let record = |f: &Fault| FaultRecord {
        rule: U32::new(f.rule.0),
        delay_ms: U64::new(f.delay_ms),
        delay_per_million: U32::new(f.delay_per_million),
        abort_per_million: U32::new(f.abort_per_million),
        abort_status: U16::new(f.abort_status),
        reserved: U16::new(0),
    };
    w.records(section::FAULT, m.map(record).as_slice())
}

fn put_cors<'m>(w: &mut Writer<'m>, m: Option<&'m Cors>) -> Span {
    let Some(m) = m else { return Span::default() };
    let origins: Vec<StringMatchRecord> = m.origins.iter().map(|o| put_match(w, Some(o))).collect();
    let record = CorsRecord {
        origins: w.records(section::CORS_ORIGIN, &origins),
        methods: w.str(&m.methods),
        headers: w.str(&m.headers),
        expose: w.str(&m.expose),
        max_age_s: U32::new(m.max_age_s.unwrap_or(0)),
        has_max_age: u8::from(m.max_age_s.is_some()),
        credentials: u8::from(m.credentials),
        forward_unmatched: u8::from(m.forward_unmatched),
        reserved: 0,
    };
    w.records(section::CORS, &[record])
}

fn put_retry(w: &mut Writer<'_>, r: &Retry) -> RetryRecord {
    let statuses: Vec<U16> = r.statuses.iter().copied().map(U16::new).collect();
    RetryRecord {
        attempts: U32::new(r.attempts),
        on: U32::new(r.on.bits()),
        on_repeatable: U32::new(r.on_repeatable.bits()),
        statuses: w.records(section::STATUS, &statuses),
        try_timeout_ms: U64::new(r.try_timeout_ms),
        backoff_min_ms: U32::new(r.backoff_min_ms),
        backoff_ms: U32::new(r.backoff_ms),
        backoff_max_ms: U32::new(r.backoff_max_ms),
        avoid_previous: u8::from(r.avoid_previous),
        reserved: [0; 3],
    }
}

fn put_backend<'m>(w: &mut Writer<'m>, b: &'m Backend) -> BackendRecord {
    BackendRecord {
        cluster: w.str(&b.cluster),
        weight: U32::new(b.weight),
        rule: U32::new(b.rule.0),
        missing_status: U16::new(b.missing_status),
        reserved: U16::new(0),
        request: put_edits(w, &b.request),
        response: put_edits(w, &b.response),
        action: U32::new(b.action.unwrap_or(tag::NO_ACTION)),
    }
}

fn put_cluster<'m>(w: &mut Writer<'m>, m: &'m Cluster) {
    let hash: Vec<HashRecord> = m.hash.iter().map(|h| put_hash(w, h)).collect();
    let warmup: Vec<WarmupRecord> = m.warmup.iter().map(put_warmup).collect();
    let locality: Vec<LocalityRecord> = m.locality.iter().map(|l| put_locality(w, l)).collect();
    let outlier = put_outlier(w, m.outlier.as_ref());
    let connection: Vec<ConnectionRecord> = m.connection.iter().map(put_connection).collect();
    let head = ClusterRecord {
        rule: U32::new(m.rule.0),
        protocol: m.protocol as u8,
        balance: m.balance as u8,
        mesh_internal: u8::from(m.mesh_internal),
        reserved: 0,
        endpoints: w.str(&m.endpoints),
        connect_timeout_ms: U32::new(m.connect_timeout_ms),
        idle_timeout_ms: U64::new(m.idle_timeout_ms),
        max_requests_per_connection: U32::new(m.max_requests_per_connection),
        max_connections: U32::new(m.max_connections),
        max_pending_requests: U32::new(m.max_pending_requests),
        max_requests: U32::new(m.max_requests),
        service_host: w.str(&m.service_host),
        service_name: w.str(&m.service_name),
        service_namespace: w.str(&m.service_namespace),
        hash: w.records(section::HASH, &hash),
        warmup: w.records(section::WARMUP, &warmup),
        retry_share: U32::new(m.retry_budget.share),
        retry_floor: U32::new(m.retry_budget.floor),
        locality: w.records(section::LOCALITY, &locality),
        outlier,
        connection: w.records(section::CONNECTION, &connection),
    };
    w.records(section::HEAD, &[head]);
}

fn put_hash<'m>(w: &mut Writer<'m>, m: &'m ConsistentHash) -> HashRecord {
    let none = w.str("");
    let mut out = HashRecord {
        kind: tag::SOURCE_IP,
        generated: 0,
        reserved: U16::new(0),
        table_size: U32::new(m.table_size),
        name: none,
        path: none,
        ttl_ms: U64::new(0),
        attributes: Span::default(),
    };
    match &m.key {
        HashKey::Header(name) => (out.kind, out.name) = (tag::HEADER, w.str(name)),
        HashKey::Query(name) => (out.kind, out.name) = (tag::QUERY, w.str(name)),
        HashKey::SourceIp => {}
        HashKey::Cookie(cookie) => {
            let attributes: Vec<CookieAttributeRecord> = cookie
                .attributes
                .iter()
                .map(|(name, value)| CookieAttributeRecord { name: w.str(name), value: w.str(value) })
                .collect();
            (out.kind, out.name, out.path) = (tag::COOKIE, w.str(&cookie.name), w.str(&cookie.path));
            out.generated = u8::from(cookie.ttl_ms.is_some());
            out.ttl_ms = U64::new(cookie.ttl_ms.unwrap_or(0));
            out.attributes = w.records(section::COOKIE_ATTRIBUTE, &attributes);
        }
    }
    out
}

fn put_locality<'m>(w: &mut Writer<'m>, m: &'m LocalityRule) -> LocalityRecord {
    let mut out = LocalityRecord {
        kind: tag::DISTRIBUTE,
        reserved: [0; 3],
        distribute: Span::default(),
        priority: Span::default(),
        regions: Span::default(),
    };
    match m {
        LocalityRule::Distribute(list) => {
            let records: Vec<DistributeRecord> = list.iter().map(|d| put_distribute(w, d)).collect();
            out.distribute = w.records(section::DISTRIBUTE, &records);
        }
        LocalityRule::Failover { priority, regions } => {
            let label = |w: &mut Writer<'m>, l: &'m FailoverLabel| FailoverLabelRecord {
                name: w.str(&l.name),
                value: w.str(l.value.as_deref().unwrap_or_default()),
                fixed: u8::from(l.value.is_some()),
                reserved: [0; 3],
            };
            let priority: Vec<FailoverLabelRecord> = priority.iter().map(|l| label(w, l)).collect();
            let regions: Vec<FailoverRegionRecord> =
                regions.iter().map(|(from, to)| FailoverRegionRecord { from: w.str(from), to: w.str(to) }).collect();
            out.kind = tag::FAILOVER;
            out.priority = w.records(section::FAILOVER_LABEL, &priority);
            out.regions = w.records(section::FAILOVER_REGION, &regions);
        }
    }
    out
}

fn put_distribute<'m>(w: &mut Writer<'m>, m: &'m Distribute) -> DistributeRecord {
    let to: Vec<LocalityShareRecord> =
        m.to.iter()
            .map(|(locality, weight)| LocalityShareRecord { locality: w.str(locality), weight: U32::new(*weight) })
            .collect();
    DistributeRecord { from: w.str(&m.from), to: w.records(section::LOCALITY_SHARE, &to) }
}

fn put_labels<'m>(w: &mut Writer<'m>, labels: &'m [(String, String)]) -> Span {
    let record = |w: &mut Writer<'m>, (name, value): &'m (String, String)| PlaceLabelRecord {
        name: w.str(name),
        value: w.str(value),
    };
    let records: Vec<PlaceLabelRecord> = labels.iter().map(|label| record(w, label)).collect();
    w.records(section::PLACE_LABEL, &records)
}

fn put_places<'m>(w: &mut Writer<'m>, places: &'m [Place]) -> Span {
    let place = |w: &mut Writer<'m>, p: &'m Place| {
        let labels = put_labels(w, &p.labels);
        PlaceRecord { region: w.str(&p.region), zone: w.str(&p.zone), subzone: w.str(&p.subzone), labels }
    };
    let records: Vec<PlaceRecord> = places.iter().map(|p| place(w, p)).collect();
    w.records(section::PLACE, &records)
}

fn put_warmup(m: &Warmup) -> WarmupRecord {
    WarmupRecord {
        duration_ms: U64::new(m.duration_ms),
        minimum: U32::new(m.minimum),
        aggression: U32::new(m.aggression),
    }
}

fn put_outlier<'m>(w: &mut Writer<'m>, m: Option<&'m OutlierDetection>) -> Span {
    let Some(m) = m else { return w.records::<OutlierRecord>(section::OUTLIER, &[]) };
    let codes: Vec<U16> = m.error_codes.iter().map(|status| U16::new(*status)).collect();
    let record = OutlierRecord {
        consecutive_5xx_errors: U32::new(m.consecutive_5xx_errors),
        consecutive_gateway_errors: U32::new(m.consecutive_gateway_errors),
        consecutive_local_failures: U32::new(m.consecutive_local_failures),
        interval_ms: U64::new(m.interval_ms),
        base_ejection_ms: U64::new(m.base_ejection_ms),
        split_local_origin: u8::from(m.split_local_origin),
        max_ejection_percent: m.max_ejection_percent,
        min_health_percent: m.min_health_percent,
        reserved: 0,
        error_codes: w.records(section::STATUS, &codes),
    };
    w.records(section::OUTLIER, &[record])
}

fn put_connection(m: &ConnectionRules) -> ConnectionRecord {
    let keepalive = m.keepalive.unwrap_or_default();
    ConnectionRecord {
        duration_max_ms: U64::new(m.duration_max_ms),
        keepalive_probes: U32::new(keepalive.probes),
        keepalive_time_s: U32::new(keepalive.time_s),
        keepalive_interval_s: U32::new(keepalive.interval_s),
        keepalive: u8::from(m.keepalive.is_some()),
        reserved: [0; 3],
    }
}

fn put_endpoints<'m>(w: &mut Writer<'m>, m: &'m EndpointSet) {
    let workloads: Vec<WorkloadRecord> = m.workloads.iter().map(|x| put_workload(w, x)).collect();
    let workloads = w.records(section::WORKLOAD, &workloads);
    let endpoints: Vec<EndpointRecord> = m
        .endpoints
        .iter()
        .map(|e| EndpointRecord {
            address: put_address(w, e.address),
            draining: u8::from(e.draining),
            reserved: 0,
            weight: U32::new(e.weight),
            workload: U32::new(e.workload),
            place: U32::new(e.place),
        })
        .collect();
    let endpoints = w.records(section::ENDPOINT, &endpoints);
    let places = put_places(w, &m.places);
    let names: Vec<NamedEndpointRecord> = m
        .names
        .iter()
        .map(|n| NamedEndpointRecord {
            host: w.str(&n.host),
            weight: U32::new(n.weight),
            port: U16::new(n.port),
            first_only: u8::from(n.first_only),
            reserved: 0,
            place: U32::new(n.place),
        })
        .collect();
    let names = w.records(section::NAMED_ENDPOINT, &names);
    w.records(section::HEAD, &[EndpointsRecord { workloads, endpoints, places, names }]);
}

fn put_policy<'m>(w: &mut Writer<'m>, m: &'m PolicySet) {
    let head = PolicyRecord {
        access_log: m.access_log as u8,
        path_normalization: m.path_normalization as u8,
        profile: m.profile as u8,
        reserved: 0,
        head_bytes_max: U32::new(m.head_bytes_max),
        header_fields_max: U32::new(m.header_fields_max),
        head_timeout_ms: U32::new(m.head_timeout_ms),
        body_idle_timeout_ms: U32::new(m.body_idle_timeout_ms),
        downstream_idle_timeout_ms: U64::new(m.downstream_idle_timeout_ms),
        drain_timeout_ms: U32::new(m.drain_timeout_ms),
        ask_timeout_ms: U32::new(m.ask_timeout_ms),
        trusted_proxies: U32::new(m.trusted_proxies),
        access_log_format: w.str(&m.access_log_format),
    };
    w.records(section::HEAD, &[head]);
}

fn put_provenance<'m>(w: &mut Writer<'m>, m: &'m Provenance) {
    for pair in m.entries.windows(2).filter(|pair| pair[0].rule == pair[1].rule) {
        let name = |e: &ProvenanceEntry| format!("{} {}/{} {}", e.kind, e.namespace, e.name, e.field);
        w.fail(EncodeError::RuleCollision(format!("{} and {}", name(&pair[0]), name(&pair[1]))));
    }
    let entries: Vec<OriginRecord> = m
        .entries
        .iter()
        .map(|e| OriginRecord {
            rule: U32::new(e.rule.0),
            kind: w.str(&e.kind),
            namespace: w.str(&e.namespace),
            name: w.str(&e.name),
            field: w.str(&e.field),
            file: w.str(&e.file),
            line: U32::new(e.line),
            column: U32::new(e.column),
        })
        .collect();
    let entries = w.records(section::ORIGIN, &entries);
    w.records(section::HEAD, &[ProvenanceRecord { entries }]);
}

fn put_match<'m>(w: &mut Writer<'m>, m: Option<&'m StringMatch>) -> StringMatchRecord {
    let (kind, value) = match m {
        None => (0, ""),
        Some(StringMatch::Exact(s)) => (1, s.as_str()),
        Some(StringMatch::Prefix(s)) => (2, s.as_str()),
        Some(StringMatch::Suffix(s)) => (3, s.as_str()),
        Some(StringMatch::Regex(s)) => (4, s.as_str()),
        Some(StringMatch::Present) => (5, ""),
    };
    StringMatchRecord { value: w.str(value), kind, reserved: [0; 3] }
}

fn put_edits<'m>(w: &mut Writer<'m>, m: &'m HeaderEdits) -> Span {
    let mut records = Vec::new();
    for name in &m.remove {
        let (name, value, parts) = (w.str(name), Str::default(), Span::default());
        records.push(EditRecord { name, value, kind: tag::REMOVE, reserved: [0; 3], parts });
    }
    for (kind, list) in [(tag::SET, &m.set), (tag::ADD, &m.add)] {
        for (name, value) in list {
            let name = w.str(name);
            let (value, parts) = match value {
                HeaderValue::Text(text) => (w.str(text), Span::default()),
                HeaderValue::Format(parts) => {
                    let parts: Vec<PartRecord> = parts.iter().map(|part| put_part(w, part)).collect();
                    (Str::default(), w.records(section::PART, &parts))
                }
            };
            records.push(EditRecord { name, value, kind, reserved: [0; 3], parts });
        }
    }
    w.records(section::EDIT, &records)
}

fn put_part<'m>(w: &mut Writer<'m>, part: &'m Part) -> PartRecord {
    match part {
        Part::Text(text) => PartRecord {
            text: w.str(text),
            alternative: Str::default(),
            bytes_max: U32::new(0),
            what: 0,
            reserved: [0; 3],
        },
        Part::Variable(variable) => PartRecord {
            text: w.str(&variable.header),
            alternative: w.str(&variable.alternative),
            bytes_max: U32::new(variable.bytes_max),
            what: variable.what as u8,
            reserved: [0; 3],
        },
    }
}

fn put_workload<'m>(w: &mut Writer<'m>, m: &'m Workload) -> WorkloadRecord {
    WorkloadRecord {
        namespace: w.str(&m.namespace),
        name: w.str(&m.name),
        app: w.str(&m.app),
        version: w.str(&m.version),
        canonical_name: w.str(&m.canonical_name),
        canonical_revision: w.str(&m.canonical_revision),
        principal: w.str(&m.principal),
        cluster: w.str(&m.cluster),
    }
}

/// IPv4 as IPv4-mapped IPv6, so that an address is that or IPv6 and nothing else.
fn put_address(w: &mut Writer<'_>, address: SocketAddr) -> AddressRecord {
    let ip = match address {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
        SocketAddr::V6(v6) => {
            if v6.scope_id() != 0 || v6.flowinfo() != 0 || v6.ip().to_ipv4_mapped().is_some() {
                w.fail(EncodeError::Address(address));
            }
            *v6.ip()
        }
    };
    AddressRecord { ip: ip.octets(), port: U16::new(address.port()) }
}
