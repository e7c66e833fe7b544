//! From verified bytes to the model. What the verifier checked is not checked again: a broken promise of the verifier's is a bug of ours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use zerocopy::little_endian::U16;

use super::record::*;
use super::{section, tag};
use crate::model::*;
use crate::wire::{Record, Records, Span, Str, View};

const VERIFIED: &str = "a blob is decoded only after it was verified";

/// Decodes a verified blob.
pub(crate) fn decode(view: View<'_>) -> Model {
    let d = Decoder(view);
    let name = d.str(view.header().name);
    match super::kind(view.header().kind).expect(VERIFIED) {
        Kind::Listeners => Model::Listeners(d.listeners(name)),
        Kind::Host => Model::Host(d.host(name)),
        Kind::Cluster => Model::Cluster(d.cluster(name)),
        Kind::Endpoints => Model::Endpoints(d.endpoints(name)),
        Kind::Policy => Model::Policy(d.policy(name)),
        Kind::Provenance => Model::Provenance(d.provenance(name)),
    }
}

#[derive(Clone, Copy)]
pub(super) struct Decoder<'a>(pub View<'a>);

impl<'a> Decoder<'a> {
    fn str(&self, s: Str) -> String {
        self.text(s).to_owned()
    }

    pub(super) fn text(&self, s: Str) -> &'a str {
        self.0.str(s).expect(VERIFIED)
    }

    /// All of them, without room for more.
    fn all<R: Record + 'a, T>(&self, id: u16, span: Span, of: impl FnMut(&'a R) -> T) -> Vec<T> {
        let records = self.records(id, span);
        let mut all = Vec::with_capacity(records.len());
        all.extend(records.map(of));
        all
    }

    pub(super) fn records<R: Record>(&self, id: u16, span: Span) -> Records<'a, R> {
        self.0.records(id, span).expect(VERIFIED)
    }

    pub(super) fn head<R: Record>(&self) -> &'a R {
        self.records(section::HEAD, Span { start: 0.into(), count: 1.into() }).next().expect(VERIFIED)
    }

    fn listeners(&self, name: String) -> ListenerSet {
        let h: &ListenersRecord = self.head();
        ListenerSet {
            name,
            node: self.workload(&h.node),
            place: self.places(h.place).pop(),
            pod: self.str(h.pod),
            policy: self.str(h.policy),
            listeners: self.all(section::LISTENER, h.listeners, |l| self.listener(l)),
        }
    }

    fn listener(&self, l: &ListenerRecord) -> Listener {
        let protocol = match l.protocol {
            tag::HTTP => ListenerProtocol::Http {
                on_demand: l.on_demand != 0,
                search: self.all(section::SEARCH, l.search, |s: &Str| self.str(*s)),
                port: l.port.get(),
            },
            tag::TCP => ListenerProtocol::Tcp {
                backends: self.tcp_backends(l.backends),
                rule: RuleId(l.route_rule.get()),
                idle_timeout_ms: l.idle_timeout_ms.get(),
            },
            _ => ListenerProtocol::Tls { routes: self.all(section::TLS_ROUTE, l.tls_routes, |r| self.tls_route(r)) },
        };
        Listener {
            name: self.str(l.name),
            rule: RuleId(l.rule.get()),
            address: address(&l.address),
            role: super::role(l.role).expect(VERIFIED),
            protocol,
        }
    }

    fn tls_route(&self, r: &TlsRouteRecord) -> TlsRoute {
        TlsRoute {
            rule: RuleId(r.rule.get()),
            names: self.all(section::SERVER_NAME, r.names, |s: &Str| self.str(*s)),
            backends: self.tcp_backends(r.backends),
            idle_timeout_ms: r.idle_timeout_ms.get(),
        }
    }

    fn tcp_backends(&self, span: Span) -> Vec<TcpBackend> {
        let backend = |b: &TcpBackendRecord| TcpBackend { cluster: self.str(b.cluster), weight: b.weight.get() };
        self.all(section::TCP_BACKEND, span, backend)
    }

    fn host(&self, name: String) -> Host {
        let h: &HostRecord = self.head();
        let domain = |d: &DomainRecord| Domain { pattern: self.str(d.pattern), port: d.port.get() };
        Host {
            name,
            listener: self.str(h.listener),
            rule: RuleId(h.rule.get()),
            domains: self.all(section::DOMAIN, h.domains, domain),
            routes: self.all(section::ROUTE, h.routes, |r| self.route(r)),
            actions: self.all(section::ACTION, h.actions, |a| self.action(a)),
        }
    }

    pub(super) fn route(&self, r: &RouteRecord) -> Route {
        let header = |h: &HeaderMatchRecord| HeaderMatch {
            name: self.str(h.name),
            value: self.string_match(&h.value).expect(VERIFIED),
            invert: h.invert != 0,
        };
        let query = |q: &QueryMatchRecord| QueryMatch {
            name: self.str(q.name),
            value: self.string_match(&q.value).expect(VERIFIED),
        };
        let matches = Match {
            path: self.path_match(r),
            ignore_case: r.ignore_case != 0,
            method: self.string_match(&r.method),
            scheme: self.string_match(&r.scheme),
            authority: self.string_match(&r.authority),
            headers: self.all(section::HEADER_MATCH, r.headers, header),
            query: self.all(section::QUERY_MATCH, r.query, query),
            source: self.labels(r.source),
        };
        Route { rule: RuleId(r.rule.get()), name: self.str(r.name), matches, action: r.action.get() }
    }

    fn path_match(&self, r: &RouteRecord) -> PathMatch {
        match r.path_kind {
            0 => PathMatch::Any,
            1 => PathMatch::Exact(self.str(r.path)),
            2 => PathMatch::Prefix(self.str(r.path)),
            3 => PathMatch::Segments(self.str(r.path)),
            _ => PathMatch::Regex(self.str(r.path)),
        }
    }

    fn string_match(&self, m: &StringMatchRecord) -> Option<StringMatch> {
        Some(match m.kind {
            0 => return None,
            1 => StringMatch::Exact(self.str(m.value)),
            2 => StringMatch::Prefix(self.str(m.value)),
            3 => StringMatch::Suffix(self.str(m.value)),
            4 => StringMatch::Regex(self.str(m.value)),
            _ => StringMatch::Present,
        })
    }

    pub(super) fn action(&self, a: &ActionRecord) -> Action {
        match a.kind {
            tag::FORWARD => Action::Forward(Forward {
                backends: self.all(section::BACKEND, a.backends, |b| self.backend(b)),
                timeout_ms: a.timeout_ms.get(),
                retry: self.records(section::RETRY, a.retry).next().map(|r| self.retry(r)),
                path: self.rewrite(a),
                authority: self.str(a.text),
                request: self.edits(a.request),
                response: self.edits(a.response),
                fault: self.fault(a.fault),
                cors: self.records(section::CORS, a.cors).next().map(|c| self.cors(c)),
                mirrors: self.all(section::MIRROR, a.mirrors, |m| self.mirror(m)),
            }),
            tag::REDIRECT => Action::Redirect(Redirect {
                status: a.status.get(),
                scheme: self.str(a.scheme),
                host: self.str(a.text),
                port: (a.has_port != 0).then_some(a.port.get()),
                path: self.rewrite(a),
                response: self.edits(a.response),
                fault: self.fault(a.fault),
            }),
            _ => Action::Respond(Respond {
                status: a.status.get(),
                body: self.str(a.text),
                response: self.edits(a.response),
                fault: self.fault(a.fault),
            }),
        }
    }

    fn mirror(&self, m: &MirrorRecord) -> Mirror {
        Mirror { cluster: self.str(m.cluster), per_million: m.per_million.get(), rule: RuleId(m.rule.get()) }
    }

    fn fault(&self, span: Span) -> Option<Fault> {
        let fault = |f: &FaultRecord| Fault {
            rule: RuleId(f.rule.get()),
            delay_ms: f.delay_ms.get(),
            delay_per_million: f.delay_per_million.get(),
            abort_status: f.abort_status.get(),
            abort_per_million: f.abort_per_million.get(),
        };
        self.records(section::FAULT, span).next().map(fault)
    }

    fn cors(&self, c: &CorsRecord) -> Cors {
        let origin = |o: &StringMatchRecord| self.string_match(o).expect(VERIFIED);
        Cors {
            origins: self.all(section::CORS_ORIGIN, c.origins, origin),
            methods: self.str(c.methods),
            headers: self.str(c.headers),
            expose: self.str(c.expose),
            max_age_s: (c.has_max_age != 0).then_some(c.max_age_s.get()),
            credentials: c.credentials != 0,
            forward_unmatched: c.forward_unmatched != 0,
        }
    }

    fn retry(&self, r: &RetryRecord) -> Retry {
        Retry {
            attempts: r.attempts.get(),
            on: RetryOn::from_bits(r.on.get()).expect(VERIFIED),
            on_repeatable: RetryOn::from_bits(r.on_repeatable.get()).expect(VERIFIED),
            statuses: self.all(section::STATUS, r.statuses, |s: &U16| s.get()),
            try_timeout_ms: r.try_timeout_ms.get(),
            backoff_min_ms: r.backoff_min_ms.get(),
            backoff_ms: r.backoff_ms.get(),
            backoff_max_ms: r.backoff_max_ms.get(),
            avoid_previous: r.avoid_previous != 0,
        }
    }

    fn backend(&self, b: &BackendRecord) -> Backend {
        Backend {
            cluster: self.str(b.cluster),
            weight: b.weight.get(),
            rule: RuleId(b.rule.get()),
            missing_status: b.missing_status.get(),
            request: self.edits(b.request),
            response: self.edits(b.response),
            action: Some(b.action.get()).filter(|action| *action != tag::NO_ACTION),
        }
    }

    fn rewrite(&self, a: &ActionRecord) -> PathRewrite {
        match a.path_kind {
            0 => PathRewrite::Keep,
            1 => PathRewrite::Prefix(self.str(a.path)),
            2 => PathRewrite::Segments(self.str(a.path)),
            3 => PathRewrite::Full(self.str(a.path)),
            _ => PathRewrite::Regex { pattern: self.str(a.path), substitution: self.str(a.scheme) },
        }
    }

    fn edits(&self, span: Span) -> HeaderEdits {
        let mut edits = HeaderEdits::default();
        for e in self.records::<EditRecord>(section::EDIT, span) {
            let name = self.str(e.name);
            match e.kind {
                tag::REMOVE => edits.remove.push(name),
                tag::SET => edits.set.push((name, self.value(e))),
                _ => edits.add.push((name, self.value(e))),
            }
        }
        edits
    }

    fn value(&self, e: &EditRecord) -> HeaderValue {
        if e.parts.count.get() == 0 {
            return HeaderValue::Text(self.str(e.value));
        }
        let parts = self.records::<PartRecord>(section::PART, e.parts).map(|part| match What::from_tag(part.what) {
            None => Part::Text(self.str(part.text)),
            Some(what) => Part::Variable(Variable {
                what,
                header: self.str(part.text),
                alternative: self.str(part.alternative),
                bytes_max: part.bytes_max.get(),
            }),
        });
        HeaderValue::Format(parts.collect())
    }

    fn cluster(&self, name: String) -> Cluster {
        let h: &ClusterRecord = self.head();
        Cluster {
            name,
            rule: RuleId(h.rule.get()),
            protocol: super::protocol(h.protocol).expect(VERIFIED),
            balance: super::balance(h.balance).expect(VERIFIED),
            endpoints: self.str(h.endpoints),
            connect_timeout_ms: h.connect_timeout_ms.get(),
            idle_timeout_ms: h.idle_timeout_ms.get(),
            max_requests_per_connection: h.max_requests_per_connection.get(),
            max_connections: h.max_connections.get(),
            max_pending_requests: h.max_pending_requests.get(),
            retry_budget: RetryBudget { share: h.retry_share.get(), floor: h.retry_floor.get() },
            max_requests: h.max_requests.get(),
            service_host: self.str(h.service_host),
            service_name: self.str(h.service_name),
            service_namespace: self.str(h.service_namespace),
            mesh_internal: h.mesh_internal != 0,
            hash: self.records(section::HASH, h.hash).next().map(|r| self.hash(r)),
            locality: self.records(section::LOCALITY, h.locality).next().map(|r| self.locality(r)),
            warmup: self.records(section::WARMUP, h.warmup).next().map(|r: &WarmupRecord| Warmup {
                duration_ms: r.duration_ms.get(),
                minimum: r.minimum.get(),
                aggression: r.aggression.get(),
            }),
            outlier: self.records(section::OUTLIER, h.outlier).next().map(|o| self.outlier(o)),
            connection: self.records(section::CONNECTION, h.connection).next().map(connection),
        }
    }

    fn outlier(&self, o: &OutlierRecord) -> OutlierDetection {
        OutlierDetection {
            consecutive_5xx_errors: o.consecutive_5xx_errors.get(),
            consecutive_gateway_errors: o.consecutive_gateway_errors.get(),
            split_local_origin: o.split_local_origin != 0,
            consecutive_local_failures: o.consecutive_local_failures.get(),
            interval_ms: o.interval_ms.get(),
            base_ejection_ms: o.base_ejection_ms.get(),
            max_ejection_percent: o.max_ejection_percent,
            min_health_percent: o.min_health_percent,
            error_codes: self.all(section::STATUS, o.error_codes, |status: &U16| status.get()),
        }
    }

    fn locality(&self, l: &LocalityRecord) -> LocalityRule {
        if l.kind == tag::DISTRIBUTE {
            let share = |s: &LocalityShareRecord| (self.str(s.locality), s.weight.get());
            let distribute = |d: &DistributeRecord| Distribute {
                from: self.str(d.from),
                to: self.all(section::LOCALITY_SHARE, d.to, share),
            };
            return LocalityRule::Distribute(self.all(section::DISTRIBUTE, l.distribute, distribute));
        }
        let label = |l: &FailoverLabelRecord| FailoverLabel {
            name: self.str(l.name),
            value: (l.fixed != 0).then(|| self.str(l.value)),
        };
        let region = |r: &FailoverRegionRecord| (self.str(r.from), self.str(r.to));
        LocalityRule::Failover {
            priority: self.all(section::FAILOVER_LABEL, l.priority, label),
            regions: self.all(section::FAILOVER_REGION, l.regions, region),
        }
    }

    fn places(&self, span: Span) -> Vec<Place> {
        let place = |p: &PlaceRecord| Place {
            region: self.str(p.region),
            zone: self.str(p.zone),
            subzone: self.str(p.subzone),
            labels: self.labels(p.labels),
        };
        self.all(section::PLACE, span, place)
    }

    fn labels(&self, span: Span) -> Vec<(String, String)> {
        let label = |l: &PlaceLabelRecord| (self.str(l.name), self.str(l.value));
        self.all(section::PLACE_LABEL, span, label)
    }

    fn hash(&self, h: &HashRecord) -> ConsistentHash {
        let attribute = |a: &CookieAttributeRecord| (self.str(a.name), self.str(a.value));
        let key = match h.kind {
            tag::HEADER => HashKey::Header(self.str(h.name)),
            tag::COOKIE => HashKey::Cookie(HashCookie {
                name: self.str(h.name),
                path: self.str(h.path),
                ttl_ms: (h.generated != 0).then(|| h.ttl_ms.get()),
                attributes: self.all(section::COOKIE_ATTRIBUTE, h.attributes, attribute),
            }),
            tag::SOURCE_IP => HashKey::SourceIp,
            _ => HashKey::Query(self.str(h.name)),
        };
        ConsistentHash { key, table_size: h.table_size.get() }
    }

    fn endpoints(&self, name: String) -> EndpointSet {
        let h: &EndpointsRecord = self.head();
        let endpoint = |e: &EndpointRecord| Endpoint {
            address: address(&e.address),
            weight: e.weight.get(),
            draining: e.draining != 0,
            workload: e.workload.get(),
            place: e.place.get(),
        };
        let name_of = |n: &NamedEndpointRecord| NamedEndpoint {
            host: self.str(n.host),
            port: n.port.get(),
            weight: n.weight.get(),
            first_only: n.first_only != 0,
            place: n.place.get(),
        };
        EndpointSet {
            name,
            workloads: self.all(section::WORKLOAD, h.workloads, |w| self.workload(w)),
            places: self.places(h.places),
            endpoints: self.all(section::ENDPOINT, h.endpoints, endpoint),
            names: self.all(section::NAMED_ENDPOINT, h.names, name_of),
        }
    }

    fn policy(&self, name: String) -> PolicySet {
        let h: &PolicyRecord = self.head();
        PolicySet {
            name,
            access_log: super::access_log(h.access_log).expect(VERIFIED),
            path_normalization: super::path_normalization(h.path_normalization).expect(VERIFIED),
            profile: super::profile(h.profile).expect(VERIFIED),
            head_bytes_max: h.head_bytes_max.get(),
            header_fields_max: h.header_fields_max.get(),
            head_timeout_ms: h.head_timeout_ms.get(),
            body_idle_timeout_ms: h.body_idle_timeout_ms.get(),
            downstream_idle_timeout_ms: h.downstream_idle_timeout_ms.get(),
            drain_timeout_ms: h.drain_timeout_ms.get(),
            ask_timeout_ms: h.ask_timeout_ms.get(),
            trusted_proxies: h.trusted_proxies.get(),
            access_log_format: self.str(h.access_log_format),
        }
    }

    fn provenance(&self, name: String) -> Provenance {
        let h: &ProvenanceRecord = self.head();
        Provenance { name, entries: self.all(section::ORIGIN, h.entries, |e| self.origin(e)) }
    }

    pub(super) fn origin(&self, e: &OriginRecord) -> ProvenanceEntry {
        ProvenanceEntry {
            rule: RuleId(e.rule.get()),
            kind: self.str(e.kind),
            namespace: self.str(e.namespace),
            name: self.str(e.name),
            field: self.str(e.field),
            file: self.str(e.file),
            line: e.line.get(),
            column: e.column.get(),
        }
    }

    fn workload(&self, w: &WorkloadRecord) -> Workload {
        Workload {
            namespace: self.str(w.namespace),
            name: self.str(w.name),
            app: self.str(w.app),
            version: self.str(w.version),
            canonical_name: self.str(w.canonical_name),
            canonical_revision: self.str(w.canonical_revision),
            principal: self.str(w.principal),
            cluster: self.str(w.cluster),
        }
    }
}

fn address(a: &AddressRecord) -> SocketAddr {
    let v6 = Ipv6Addr::from(a.ip);
    SocketAddr::new(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4), a.port.get())
}

fn connection(c: &ConnectionRecord) -> ConnectionRules {
    let keepalive = Keepalive {
        probes: c.keepalive_probes.get(),
        time_s: c.keepalive_time_s.get(),
        interval_s: c.keepalive_interval_s.get(),
    };
    ConnectionRules { duration_max_ms: c.duration_max_ms.get(), keepalive: (c.keepalive != 0).then_some(keepalive) }
}
