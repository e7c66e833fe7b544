//! Every rule of the verifier that a model can break, broken once.

use ringway_config::model::{self, *};
use ringway_config::{Blob, EncodeError, Fault, VerifyError};

use crate::sample::models;

fn listeners(edit: impl FnOnce(&mut ListenerSet)) -> Model {
    let Some(Model::Listeners(mut m)) = models().into_iter().find(|m| m.kind() == Kind::Listeners) else { panic!() };
    edit(&mut m);
    Model::Listeners(m)
}

fn host(edit: impl FnOnce(&mut Host)) -> Model {
    let Some(Model::Host(mut m)) = models().into_iter().find(|m| m.kind() == Kind::Host) else { panic!() };
    edit(&mut m);
    Model::Host(m)
}

fn forward(edit: impl FnOnce(&mut Forward)) -> Model {
    host(|h| match &mut h.actions[0] {
        Action::Forward(f) => edit(f),
        other => panic!("{other:?}"),
    })
}

/// The backend with an action of its own.
fn split(edit: impl FnOnce(&mut Backend)) -> Model {
    host(|h| match &mut h.actions[3] {
        Action::Forward(f) => edit(&mut f.backends[1]),
        other => panic!("{other:?}"),
    })
}

fn retry(edit: impl FnOnce(&mut Retry)) -> Model {
    forward(|f| edit(f.retry.get_or_insert_with(Retry::default)))
}

fn redirect(edit: impl FnOnce(&mut Redirect)) -> Model {
    host(|h| match &mut h.actions[1] {
        Action::Redirect(r) => edit(r),
        other => panic!("{other:?}"),
    })
}

fn respond(edit: impl FnOnce(&mut Respond)) -> Model {
    host(|h| match &mut h.actions[2] {
        Action::Respond(r) => edit(r),
        other => panic!("{other:?}"),
    })
}

fn cluster(edit: impl FnOnce(&mut Cluster)) -> Model {
    let mut m = Cluster { name: "c".into(), endpoints: "e".into(), ..Cluster::default() };
    edit(&mut m);
    Model::Cluster(m)
}

fn by_cookie(table_size: u32, edit: impl FnOnce(&mut HashCookie)) -> ConsistentHash {
    let mut cookie = HashCookie { name: "user".into(), ttl_ms: Some(0), ..HashCookie::default() };
    edit(&mut cookie);
    ConsistentHash { key: HashKey::Cookie(cookie), table_size }
}

fn maglev(table_size: u32, edit: impl FnOnce(&mut HashCookie)) -> Model {
    cluster(|c| (c.balance, c.hash) = (Balance::Maglev, Some(by_cookie(table_size, edit))))
}

fn distribute(from: &str, weight: u32) -> Model {
    let to = vec![("eu/a".into(), weight), ("us".into(), 1)];
    cluster(|c| c.locality = Some(LocalityRule::Distribute(vec![Distribute { from: from.into(), to }])))
}

fn warming(edit: impl FnOnce(&mut Warmup)) -> Model {
    let mut warmup = Warmup { duration_ms: 1, minimum: 0, aggression: 1 };
    edit(&mut warmup);
    cluster(|c| c.warmup = Some(warmup))
}

fn connection(edit: impl FnOnce(&mut ConnectionRules, &mut Keepalive)) -> Model {
    let (mut rules, mut keepalive) = (ConnectionRules::default(), Keepalive::default());
    edit(&mut rules, &mut keepalive);
    cluster(|c| c.connection = Some(ConnectionRules { keepalive: Some(keepalive), ..rules }))
}

fn outlier(edit: impl FnOnce(&mut OutlierDetection)) -> Model {
    let mut o = OutlierDetection { interval_ms: 1, ..OutlierDetection::default() };
    edit(&mut o);
    cluster(|c| c.outlier = Some(o))
}

fn endpoint(edit: impl FnOnce(&mut EndpointSet)) -> Model {
    let Some(Model::Endpoints(mut m)) = models().into_iter().find(|m| m.kind() == Kind::Endpoints) else { panic!() };
    edit(&mut m);
    Model::Endpoints(m)
}

fn policy(edit: impl FnOnce(&mut PolicySet)) -> Model {
    let mut m = PolicySet::default();
    edit(&mut m);
    Model::Policy(m)
}

fn fault(edit: impl FnOnce(&mut model::Fault)) -> model::Fault {
    let mut m = model::Fault::default();
    edit(&mut m);
    m
}

fn regex(substitution: &str) -> PathRewrite {
    PathRewrite::Regex { pattern: "a".into(), substitution: substitution.into() }
}

fn format(parts: Vec<Part>) -> Model {
    forward(|f| f.request.set = vec![("x".into(), HeaderValue::Format(parts))])
}

fn about(what: What, header: &str, alternative: &str) -> Model {
    let (header, alternative) = (header.into(), alternative.into());
    format(vec![Part::Variable(Variable { what, header, alternative, bytes_max: 0 })])
}

fn request_edit(set: (&str, &str)) -> Model {
    forward(|f| f.request.set = vec![(set.0.into(), set.1.into())])
}

#[test]
fn each_rule_is_refused_by_field_and_fault() {
    use Fault::{
        Characters, Empty, FramingHeader, Index, NoWeight, NotOne, NotPrime, NotZero, Order, Range, TooLong, Unknown,
        Weights,
    };
    let long = "a".repeat(9000);
    let too_long = |max| TooLong { bytes: 9000, max };
    let table = [
        (listeners(|m| m.name.clear()), "blob name", Empty),
        (listeners(|m| m.name = "a\nb".into()), "blob name", Characters),
        (listeners(|m| m.name = long.clone()), "blob name", too_long(1024)),
        (listeners(|m| m.policy.clear()), "policy", Empty),
        (listeners(|m| m.node.app = "\u{1b}[31m".into()), "app", Characters),
        (listeners(|m| m.listeners[1].name = "outbound".into()), "name", Order),
        (listeners(|m| m.listeners[0].protocol = http(&["A.b"])), "search", Characters),
        (listeners(|m| m.listeners[0].protocol = http(&[""])), "search", Empty),
        (listeners(|m| m.listeners[0].protocol = tcp(&[("a", u32::MAX), ("b", 1)])), "backends.weight", Weights),
        (listeners(|m| m.listeners[0].protocol = tcp(&[("a\n", 1)])), "backends.cluster", Characters),
        (listeners(|m| m.listeners[0].protocol = tls("A.b", &[], 0)), "tls_routes.names", Characters),
        (listeners(|m| m.listeners[0].protocol = tls("", &[], 0)), "tls_routes.names", Empty),
        (listeners(|m| m.listeners[0].protocol = tls("a", &[("a\n", 1)], 0)), "backends.cluster", Characters),
        (listeners(|m| m.listeners[0].protocol = tls("a", &[], u64::MAX)), "tls_routes.idle_timeout_ms", Range),
        (host(|h| h.listener.clear()), "listener", Empty),
        (host(|h| h.domains[0].pattern = "Reviews".into()), "pattern", Characters),
        (host(|h| h.domains[0].pattern = "reviews:80".into()), "pattern", Characters),
        (host(|h| h.domains[0].pattern = "reviews.".into()), "pattern", Characters),
        (host(|h| h.domains[0].pattern = "a.*".into()), "pattern", Characters),
        (host(|h| h.domains[0].pattern.clear()), "pattern", Empty),
        (host(|h| h.routes[0].action = 4), "action", Index),
        (host(|h| h.routes[0].name = "a\r".into()), "name", Characters),
        (host(|h| h.routes[0].matches.path = PathMatch::Segments("/a/".into())), "path", Characters),
        (host(|h| h.routes[0].matches.path = PathMatch::Segments("a".into())), "path", Characters),
        (host(|h| h.routes[0].matches.headers[0].name = "X-User".into()), "headers.name", Characters),
        (host(|h| h.routes[0].matches.query[0].name.clear()), "query.name", Empty),
        (host(|h| h.routes[0].matches.source.reverse()), "labels.name", Order),
        (forward(|f| f.backends[0].weight = u32::MAX), "backends", Weights),
        (forward(|f| f.backends[1].missing_status = 0), "missing_status", Range),
        (forward(|f| f.backends[0].missing_status = 200), "missing_status", Range),
        (split(|b| b.action = Some(4)), "action", Index),
        (split(|b| b.action = Some(0)), "action", NotOne),
        (split(|b| b.action = Some(3)), "action", NotOne),
        (split(|b| b.cluster = "c".into()), "fields beside an action", NotZero),
        (split(|b| b.missing_status = 503), "fields beside an action", NotZero),
        (split(|b| b.request.remove = vec!["a".into()]), "fields beside an action", NotZero),
        (forward(|f| f.timeout_ms = u64::MAX), "timeout_ms", Range),
        (retry(|r| r.attempts = 0), "attempts", Range),
        (retry(|r| r.attempts = 256), "attempts", Range),
        (retry(|r| r.statuses = vec![503, 503]), "statuses", Order),
        (retry(|r| r.statuses = vec![99]), "statuses", Order),
        (retry(|r| r.statuses = vec![600]), "statuses", Range),
        (retry(|r| r.try_timeout_ms = u64::MAX), "try_timeout_ms", Range),
        (retry(|r| (r.backoff_min_ms, r.backoff_ms) = (0, 0)), "backoff_ms", Range),
        (retry(|r| r.backoff_min_ms = 26), "backoff_ms", Range),
        (retry(|r| r.backoff_ms = r.backoff_max_ms + 1), "backoff_ms", Range),
        (forward(|f| f.authority = "a b".into()), "authority", Characters),
        (forward(|f| f.authority = "a\r\nx: y".into()), "authority", Characters),
        (forward(|f| f.path = PathRewrite::Prefix("/a b".into())), "path", Characters),
        (forward(|f| f.path = PathRewrite::Full("a".into())), "path", Characters),
        (forward(|f| f.path = regex("/a b")), "substitution", Characters),
        (redirect(|r| r.path = regex("/a")), "path_kind", Unknown { value: 4 }),
        (forward(|f| f.path = PathRewrite::Full(String::new())), "path", Empty),
        (forward(|f| f.request.remove = vec!["a b".into()]), "request edits", Characters),
        (forward(|f| f.response.remove = vec![String::new()]), "response edits", Empty),
        (request_edit(("x", "a\r\nb: c")), "request edits", Characters),
        (request_edit(("x", &long)), "request edits", too_long(8192)),
        (request_edit(("Content-Length", "1")), "request edits", FramingHeader),
        (request_edit(("transfer-encoding", "chunked")), "request edits", FramingHeader),
        (request_edit(("HOST", "a")), "request edits", FramingHeader),
        (format(vec![Part::Text("a\r\nb: c".into())]), "text", Characters),
        (format(vec![Part::Text("a".into()); 65]), "request edits", Range),
        (about(What::Req, "", ""), "text", Characters),
        (about(What::Req, "X-A", ""), "text", Characters),
        (about(What::Req, "x-a", "a b"), "alternative", Characters),
        (about(What::Resp, ":path", ""), "text", Characters),
        (about(What::Protocol, "x-a", ""), "fields of other kinds", NotZero),
        (about(What::StartTime, "%Q", ""), "text", Characters),
        (about(What::StartTime, "%s", "%s"), "fields of other kinds", NotZero),
        (forward(|f| f.fault = Some(fault(|x| x.delay_ms = u64::MAX))), "fault", Range),
        (forward(|f| f.fault = Some(fault(|x| x.delay_per_million = 1_000_001))), "fault", Range),
        (redirect(|r| r.fault = Some(fault(|x| x.abort_status = 600))), "fault", Range),
        (respond(|r| r.fault = Some(fault(|x| x.abort_status = 100))), "fault", Range),
        (forward(|f| f.cors = Some(Cors { methods: "GET\r\nx: y".into(), ..Cors::default() })), "cors", Characters),
        (forward(|f| f.mirrors[0].cluster.clear()), "mirrors", Empty),
        (forward(|f| f.mirrors[0].per_million = 1_000_001), "mirrors", Range),
        (forward(|f| f.mirrors = vec![f.mirrors[0].clone(); 17]), "mirrors", Range),
        (redirect(|r| r.status = 200), "status", Range),
        (redirect(|r| r.scheme = "ftp".into()), "scheme", Characters),
        (redirect(|r| r.host = "a/b".into()), "host", Characters),
        (redirect(|r| r.path = PathRewrite::Full("//a\n".into())), "path", Characters),
        (respond(|r| r.status = 101), "status", Range),
        (respond(|r| r.status = 600), "status", Range),
        (cluster(|c| c.endpoints.clear()), "endpoints", Empty),
        (cluster(|c| c.idle_timeout_ms = u64::MAX), "idle_timeout_ms", Range),
        (cluster(|c| c.balance = Balance::RingHash), "hash", NotOne),
        (cluster(|c| c.hash = Some(by_cookie(1021, |_| ()))), "hash", NotOne),
        (maglev(1020, |_| ()), "table_size", NotPrime),
        (maglev(0, |_| ()), "table_size", Range),
        (maglev(2 << 20, |_| ()), "table_size", Range),
        (maglev(1021, |c| c.name = "a b".into()), "name", Characters),
        (maglev(1021, |c| c.path = "/; Secure".into()), "path", Characters),
        (maglev(1021, |c| c.ttl_ms = Some(u64::MAX)), "ttl_ms", Range),
        (maglev(1021, |c| c.attributes = vec![("a".into(), "b;c".into())]), "attributes.value", Characters),
        (maglev(1021, |c| c.attributes = vec![("a".into(), "b".into()); 17]), "attributes", Range),
        (cluster(|c| (c.balance, c.warmup) = (Balance::Random, Some(Warmup::default()))), "warmup", NotOne),
        (warming(|w| w.duration_ms = 0), "duration_ms", Range),
        (warming(|w| w.minimum = 10_001), "minimum", Range),
        (warming(|w| w.aggression = 0), "aggression", Range),
        (cluster(|c| c.retry_budget.share = 10_001), "retry_share", Range),
        (distribute("eu\n", 1), "distribute.from", Characters),
        (distribute("eu", u32::MAX), "distribute.to", Weights),
        (listeners(|m| m.place.iter_mut().for_each(|p| p.zone = "a\r".into())), "zone", Characters),
        (
            endpoint(|e| e.places[0].labels = vec![("b".into(), "".into()), ("a".into(), "".into())]),
            "labels.name",
            Order,
        ),
        (endpoint(|e| e.endpoints[0].place = 1), "place", Index),
        (connection(|c, _| c.duration_max_ms = u64::MAX), "duration_max_ms", Range),
        (connection(|_, k| k.probes = 128), "keepalive_probes", Range),
        (connection(|_, k| k.time_s = 32_768), "keepalive_time_s", Range),
        (connection(|_, k| k.interval_s = 32_768), "keepalive_interval_s", Range),
        (outlier(|o| o.interval_ms = 0), "interval_ms", Range),
        (outlier(|o| o.max_ejection_percent = 101), "max_ejection_percent", Range),
        (outlier(|o| o.min_health_percent = 101), "min_health_percent", Range),
        (outlier(|o| o.error_codes = vec![600]), "status", Range),
        (outlier(|o| o.error_codes = vec![503, 429]), "status", Order),
        (endpoint(|e| e.endpoints[0].weight = 0), "weight", NoWeight),
        (endpoint(|e| e.endpoints[0].weight = u32::MAX), "endpoints", Weights),
        (endpoint(|e| e.endpoints[0].workload = 1), "workload", Index),
        (endpoint(|e| e.names[0].host = "A.test".into()), "host", Characters),
        (endpoint(|e| e.names[0].host.clear()), "host", Empty),
        (endpoint(|e| e.names[0].port = 0), "port", Range),
        (endpoint(|e| e.names[0].weight = 0), "weight", NoWeight),
        (endpoint(|e| e.names[0].weight = u32::MAX), "endpoints", Weights),
        (endpoint(|e| e.endpoints[0].address.set_port(0)), "port", Range),
        (policy(|p| p.head_bytes_max = 70_000), "head_bytes_max", Range),
        (policy(|p| p.head_bytes_max = 10), "head_bytes_max", Range),
        (policy(|p| p.header_fields_max = 0), "header_fields_max", Range),
        (policy(|p| p.downstream_idle_timeout_ms = u64::MAX), "downstream_idle_timeout_ms", Range),
        (policy(|p| p.access_log_format = "%NOTHING%".into()), "access_log_format", Characters),
        (policy(|p| p.access_log_format = "a\n".into()), "access_log_format", Characters),
        (
            policy(|p| (p.access_log, p.access_log_format) = (AccessLog::Json, "a".into())),
            "access_log_format",
            Characters,
        ),
        (policy(|p| p.trusted_proxies = 256), "trusted_proxies", Range),
        (Model::Provenance(provenance(&[2, 1])), "rule", Order),
        (Model::Provenance(provenance(&[0, 1])), "rule", Order),
    ];
    for (i, (model, field, fault)) in table.into_iter().enumerate() {
        match Blob::encode(&model) {
            Err(EncodeError::Refused { error: VerifyError::Record { field: f, fault: x, .. }, .. }) => {
                assert_eq!((f, x), (field, fault), "row {i}");
            }
            other => panic!("row {i} ({field}, {fault:?}): {other:?}"),
        }
    }
}

fn http(search: &[&str]) -> ListenerProtocol {
    ListenerProtocol::Http { on_demand: false, search: search.iter().map(|s| (*s).into()).collect(), port: 80 }
}

fn tcp(backends: &[(&str, u32)]) -> ListenerProtocol {
    ListenerProtocol::Tcp { backends: tcp_backends(backends), rule: RuleId(1), idle_timeout_ms: 0 }
}

fn tls(name: &str, backends: &[(&str, u32)], idle_timeout_ms: u64) -> ListenerProtocol {
    let names = vec![name.into()];
    let route = TlsRoute { rule: RuleId(1), names, backends: tcp_backends(backends), idle_timeout_ms };
    ListenerProtocol::Tls { routes: vec![route] }
}

fn tcp_backends(backends: &[(&str, u32)]) -> Vec<TcpBackend> {
    let backend = |(cluster, weight): &(&str, u32)| TcpBackend { cluster: (*cluster).into(), weight: *weight };
    backends.iter().map(backend).collect()
}

fn provenance(rules: &[u32]) -> Provenance {
    let entry = |rule: &u32| ProvenanceEntry { rule: RuleId(*rule), name: format!("n{rule}"), ..Default::default() };
    Provenance { name: "p".into(), entries: rules.iter().map(entry).collect() }
}

#[test]
fn what_the_format_cannot_hold_is_refused_before_it_is_written() {
    let body = |bytes: usize| respond(|r| r.body = "b".repeat(bytes));
    assert!(Blob::encode(&body(64 << 10)).is_ok());
    assert!(matches!(Blob::encode(&body((64 << 10) + 1)), Err(EncodeError::StringTooLong { bytes: 65_537, .. })));
    for address in ["[fe80::1%3]:80", "[::ffff:10.0.0.1]:80"] {
        let address = address.parse().unwrap();
        let model = endpoint(|e| e.endpoints[0].address = address);
        assert_eq!(Blob::encode(&model).unwrap_err(), EncodeError::Address(address));
    }
    let error = Blob::encode(&Model::Provenance(provenance(&[7, 7]))).unwrap_err();
    assert!(matches!(error, EncodeError::RuleCollision(_)), "{error}");
}

/// Strings are shared, so that records of a few bytes can name a lot of them.
#[test]
fn a_small_blob_cannot_decode_to_gigabytes() {
    let body = "b".repeat(64 << 10);
    let action = Action::Respond(Respond { status: 200, body, ..Respond::default() });
    let model = |count: usize| host(|h| h.actions = vec![action.clone(); count]);
    assert!(Blob::encode(&model(250)).is_ok(), "16 MiB are not much");
    let error = Blob::encode(&model(1000)).unwrap_err();
    assert!(
        matches!(error, EncodeError::Refused { error: VerifyError::Record { fault: Fault::TextBudget, .. }, .. }),
        "{error}"
    );
}

#[test]
fn an_error_says_what_where_and_how_to_mend() {
    let error = Blob::encode(&request_edit(("Transfer-Encoding", "chunked"))).unwrap_err().to_string();
    assert_eq!(
        error,
        "Host \"reviews:9080\": Host blob, section action, record 0, request edits: \
         the header belongs to the connection and cannot be edited; leave it out"
    );
}
