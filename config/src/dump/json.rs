//! A snapshot as JSON: exactly what the blobs say, for tools.

use serde_json::{Value, json};

use crate::model::*;
use crate::snapshot::Snapshot;

/// Everything as JSON: `order`, `root` and `blobs`, each with kind, name, hash and content.
pub fn json(snapshot: &Snapshot) -> Value {
    let order = snapshot.order();
    let blobs: Vec<Value> = snapshot
        .blobs()
        .map(|b| json!({"kind": format!("{:?}", b.kind()), "name": b.name(), "hash": b.hash().to_string(), "content": content(b.model())}))
        .collect();
    json!({
        "order": {"incarnation": order.incarnation, "sequence": order.sequence},
        "root": snapshot.root().hash().to_string(),
        "blobs": blobs,
    })
}

/// The content of one model, as [`json`] shows it under `content`.
pub fn content(m: &Model) -> Value {
    match m {
        Model::Listeners(m) => json!({
            "pod": m.pod, "policy": m.policy, "node": workload(&m.node), "place": m.place.as_ref().map(place),
            "listeners": m.listeners.iter().map(listener).collect::<Vec<_>>(),
        }),
        Model::Host(m) => json!({
            "listener": m.listener, "rule": rule(m.rule),
            "domains": m.domains.iter().map(|d| json!({"pattern": d.pattern, "port": d.port})).collect::<Vec<_>>(),
            "routes": m.routes.iter().map(route).collect::<Vec<_>>(),
            "actions": m.actions.iter().map(action).collect::<Vec<_>>(),
        }),
        Model::Cluster(m) => json!({
            "rule": rule(m.rule), "protocol": match m.protocol { Protocol::Http1 => "http1", Protocol::Tcp => "tcp" },
            "balance": match m.balance { Balance::LeastRequest => "least_request", Balance::RoundRobin => "round_robin", Balance::Random => "random",
                Balance::RingHash => "ring_hash", Balance::Maglev => "maglev" },
            "hash": m.hash.as_ref().map(hash), "warmup": m.warmup.as_ref().map(|w| json!({
                "duration_ms": w.duration_ms, "minimum": w.minimum, "aggression": w.aggression,
            })),
            "locality": m.locality.as_ref().map(locality),
            "endpoints": m.endpoints, "connect_timeout_ms": m.connect_timeout_ms, "idle_timeout_ms": m.idle_timeout_ms,
            "max_requests_per_connection": m.max_requests_per_connection, "max_connections": m.max_connections,
            "max_pending_requests": m.max_pending_requests, "max_requests": m.max_requests,
            "retry_budget": {"share": m.retry_budget.share, "floor": m.retry_budget.floor}, "service_host": m.service_host, "service_name": m.service_name,
            "service_namespace": m.service_namespace, "mesh_internal": m.mesh_internal,
            "outlier": m.outlier.as_ref().map(outlier),
            "connection": m.connection.as_ref().map(|c| json!({
                "duration_max_ms": c.duration_max_ms,
                "keepalive": c.keepalive.map(|k| json!({"probes": k.probes, "time_s": k.time_s, "interval_s": k.interval_s})),
            })),
        }),
        Model::Endpoints(m) => json!({
            "workloads": m.workloads.iter().map(workload).collect::<Vec<_>>(),
            "places": m.places.iter().map(place).collect::<Vec<_>>(),
            "endpoints": m.endpoints.iter().map(|e| json!({
                "address": e.address.to_string(), "weight": e.weight, "draining": e.draining,
                "workload": (e.workload != u32::MAX).then_some(e.workload),
                "place": (e.place != u32::MAX).then_some(e.place),
            })).collect::<Vec<_>>(),
            "names": m.names.iter().map(|n| json!({
                "host": n.host, "port": n.port, "weight": n.weight, "first_only": n.first_only,
                "place": (n.place != u32::MAX).then_some(n.place),
            })).collect::<Vec<_>>(),
        }),
        Model::Policy(m) => json!({
            "access_log": match m.access_log { AccessLog::Off => "off", AccessLog::Text => "text", AccessLog::Json => "json" },
            "access_log_format": m.access_log_format,
            "path_normalization": match m.path_normalization {
                PathNormalization::None => "none", PathNormalization::Base => "base", PathNormalization::MergeSlashes => "merge_slashes",
                PathNormalization::DecodeAndMergeSlashes => "decode_and_merge_slashes",
            },
            "profile": match m.profile { Profile::Istio => "istio", Profile::Strict => "strict" },
            "head_bytes_max": m.head_bytes_max, "header_fields_max": m.header_fields_max, "head_timeout_ms": m.head_timeout_ms,
            "body_idle_timeout_ms": m.body_idle_timeout_ms, "downstream_idle_timeout_ms": m.downstream_idle_timeout_ms,
            "drain_timeout_ms": m.drain_timeout_ms, "ask_timeout_ms": m.ask_timeout_ms, "trusted_proxies": m.trusted_proxies,
        }),
        Model::Provenance(m) => json!({
            "entries": m.entries.iter().map(|e| json!({
                "rule": rule(e.rule), "kind": e.kind, "namespace": e.namespace, "name": e.name, "field": e.field,
                "file": e.file, "line": e.line, "column": e.column,
            })).collect::<Vec<_>>(),
        }),
    }
}

fn outlier(o: &OutlierDetection) -> Value {
    json!({
        "consecutive_5xx_errors": o.consecutive_5xx_errors, "consecutive_gateway_errors": o.consecutive_gateway_errors,
        "split_local_origin": o.split_local_origin, "consecutive_local_failures": o.consecutive_local_failures,
        "interval_ms": o.interval_ms, "base_ejection_ms": o.base_ejection_ms, "max_ejection_percent": o.max_ejection_percent,
        "min_health_percent": o.min_health_percent, "error_codes": o.error_codes,
    })
}

fn rule(rule: RuleId) -> String {
    format!("{:08x}", rule.0)
}

fn workload(w: &Workload) -> Value {
    json!({
        "namespace": w.namespace, "name": w.name, "app": w.app, "version": w.version, "canonical_name": w.canonical_name,
        "canonical_revision": w.canonical_revision, "principal": w.principal, "cluster": w.cluster,
    })
}

fn listener(l: &Listener) -> Value {
    let role = match l.role {
        Role::Outbound => "outbound",
        Role::Inbound => "inbound",
        Role::Gateway => "gateway",
    };
    let protocol = match &l.protocol {
        ListenerProtocol::Http { on_demand, search, port } => {
            json!({"http": {"on_demand": on_demand, "search": search, "port": port}})
        }
        ListenerProtocol::Tcp { backends, rule: r, idle_timeout_ms } => json!({"tcp": {
            "rule": rule(*r), "idle_timeout_ms": idle_timeout_ms,
            "backends": tcp_backends(backends),
        }}),
        ListenerProtocol::Tls { routes } => json!({"tls": {
            "routes": routes.iter().map(|r| json!({
                "rule": rule(r.rule), "names": r.names, "idle_timeout_ms": r.idle_timeout_ms, "backends": tcp_backends(&r.backends),
            })).collect::<Vec<_>>(),
        }}),
    };
    json!({"name": l.name, "rule": rule(l.rule), "address": l.address.to_string(), "role": role, "protocol": protocol})
}

fn tcp_backends(backends: &[TcpBackend]) -> Value {
    backends.iter().map(|b| json!({"cluster": b.cluster, "weight": b.weight})).collect()
}

fn string_match(m: &StringMatch) -> Value {
    match m {
        StringMatch::Exact(s) => json!({"exact": s}),
        StringMatch::Prefix(s) => json!({"prefix": s}),
        StringMatch::Suffix(s) => json!({"suffix": s}),
        StringMatch::Regex(s) => json!({"regex": s}),
        StringMatch::Present => json!({"present": true}),
    }
}

fn route(r: &Route) -> Value {
    let m = &r.matches;
    let path = match &m.path {
        PathMatch::Any => Value::Null,
        PathMatch::Exact(s) => json!({"exact": s}),
        PathMatch::Prefix(s) => json!({"prefix": s}),
        PathMatch::Segments(s) => json!({"segments": s}),
        PathMatch::Regex(s) => json!({"regex": s}),
    };
    json!({
        "rule": rule(r.rule), "name": r.name, "path": path, "ignore_case": m.ignore_case,
        "method": m.method.as_ref().map(string_match), "scheme": m.scheme.as_ref().map(string_match),
        "authority": m.authority.as_ref().map(string_match),
        "headers": m.headers.iter().map(|h| json!({"name": h.name, "value": string_match(&h.value), "invert": h.invert})).collect::<Vec<_>>(),
        "query": m.query.iter().map(|q| json!({"name": q.name, "value": string_match(&q.value)})).collect::<Vec<_>>(),
        "source": m.source, "action": r.action,
    })
}

fn place(p: &Place) -> Value {
    json!({"region": p.region, "zone": p.zone, "subzone": p.subzone, "labels": p.labels})
}

fn locality(l: &LocalityRule) -> Value {
    match l {
        LocalityRule::Distribute(list) => {
            json!({"distribute": list.iter().map(|d| json!({"from": d.from, "to": d.to})).collect::<Vec<_>>()})
        }
        LocalityRule::Failover { priority, regions } => json!({"failover": {
            "priority": priority.iter().map(|p| json!({"name": p.name, "value": p.value})).collect::<Vec<_>>(),
            "regions": regions,
        }}),
    }
}

fn hash(h: &ConsistentHash) -> Value {
    let key = match &h.key {
        HashKey::Header(name) => json!({"header": name}),
        HashKey::Cookie(c) => json!({"cookie": {
            "name": c.name, "path": c.path, "ttl_ms": c.ttl_ms, "attributes": c.attributes,
        }}),
        HashKey::SourceIp => json!({"source_ip": true}),
        HashKey::Query(name) => json!({"query": name}),
    };
    json!({"key": key, "table_size": h.table_size})
}

fn rewrite(p: &PathRewrite) -> Value {
    match p {
        PathRewrite::Keep => Value::Null,
        PathRewrite::Prefix(s) => json!({"prefix": s}),
        PathRewrite::Segments(s) => json!({"segments": s}),
        PathRewrite::Full(s) => json!({"full": s}),
        PathRewrite::Regex { pattern, substitution } => json!({"regex": pattern, "substitution": substitution}),
    }
}

fn edits(e: &HeaderEdits) -> Value {
    let lines =
        |list: &[(String, HeaderValue)]| list.iter().map(|(name, value)| json!([name, header(value)])).collect();
    let (set, add): (Vec<Value>, Vec<Value>) = (lines(&e.set), lines(&e.add));
    json!({"remove": e.remove, "set": set, "add": add})
}

/// A text, or the way it is made up.
fn header(value: &HeaderValue) -> Value {
    match value {
        HeaderValue::Text(text) => json!(text),
        HeaderValue::Format(_) => json!({"format": value.to_string()}),
    }
}

fn fault(f: &Option<Fault>) -> Value {
    f.as_ref().map_or(Value::Null, |f| {
        json!({
            "rule": rule(f.rule), "delay_ms": f.delay_ms, "delay_per_million": f.delay_per_million,
            "abort_status": f.abort_status, "abort_per_million": f.abort_per_million,
        })
    })
}

fn cors(c: &Option<Cors>) -> Value {
    c.as_ref().map_or(Value::Null, |c| {
        json!({
            "origins": c.origins.iter().map(string_match).collect::<Vec<_>>(), "methods": c.methods, "headers": c.headers,
            "expose": c.expose, "max_age_s": c.max_age_s, "credentials": c.credentials, "forward_unmatched": c.forward_unmatched,
        })
    })
}

fn retry(r: &Retry) -> Value {
    json!({
        "attempts": r.attempts, "on": r.on.names().collect::<Vec<_>>(), "on_repeatable": r.on_repeatable.names().collect::<Vec<_>>(),
        "statuses": r.statuses, "try_timeout_ms": r.try_timeout_ms, "backoff_min_ms": r.backoff_min_ms,
        "backoff_ms": r.backoff_ms, "backoff_max_ms": r.backoff_max_ms, "avoid_previous": r.avoid_previous,
    })
}

/// One action of a host, with those of its backends in the place of their numbers.
pub fn action_of(host: &Host, number: u32) -> Value {
    let shown = |number: u32| host.actions.get(number as usize).map(action).unwrap_or_default();
    let mut told = shown(number);
    put_own_actions(&mut told, &shown);
    told
}

/// `own` shows what a number stands for.
pub(crate) fn put_own_actions(told: &mut Value, own: &dyn Fn(u32) -> Value) {
    let backends = told.pointer_mut("/forward/backends").and_then(Value::as_array_mut);
    for backend in backends.into_iter().flatten() {
        if let Some(number) = backend["action"].as_u64().and_then(|number| u32::try_from(number).ok()) {
            backend["action"] = own(number);
        }
    }
}

/// One action, as [`json`] shows it under `actions`.
fn action(a: &Action) -> Value {
    match a {
        Action::Forward(f) => json!({"forward": {
            "timeout_ms": f.timeout_ms, "retry": f.retry.as_ref().map(retry), "path": rewrite(&f.path), "authority": f.authority, "request": edits(&f.request), "response": edits(&f.response),
            "backends": f.backends.iter().map(|b| json!({
                "cluster": b.cluster, "weight": b.weight, "rule": rule(b.rule), "missing_status": b.missing_status,
                "request": edits(&b.request), "response": edits(&b.response), "action": b.action,
            })).collect::<Vec<_>>(),
            "fault": fault(&f.fault), "cors": cors(&f.cors),
            "mirrors": f.mirrors.iter().map(|m| json!({"cluster": m.cluster, "per_million": m.per_million, "rule": rule(m.rule)})).collect::<Vec<_>>(),
        }}),
        Action::Redirect(r) => json!({"redirect": {
            "status": r.status, "scheme": r.scheme, "host": r.host, "port": r.port, "path": rewrite(&r.path), "response": edits(&r.response),
            "fault": fault(&r.fault),
        }}),
        Action::Respond(r) => {
            json!({"respond": {"status": r.status, "body": r.body, "response": edits(&r.response), "fault": fault(&r.fault)}})
        }
    }
}
