//! A small configuration that uses every field of the format.

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};

/// Of the sample.
pub const ORDER: Order = Order { incarnation: 1, sequence: 7 };

fn edits() -> HeaderEdits {
    HeaderEdits {
        set: vec![("X-A".into(), "1".into())],
        add: vec![
            ("x-b".into(), "2".into()),
            ("x-d".into(), HeaderValue::Format(vec![Part::Text("100% of ".into()), from_request()])),
        ],
        remove: vec!["x-c".into()],
    }
}

fn from_request() -> Part {
    let (header, alternative) = (":authority".into(), "x-e".into());
    Part::Variable(Variable { what: What::Req, header, alternative, bytes_max: 20 })
}

/// One model of each kind, with every field in use.
pub fn models() -> Vec<Model> {
    let rule = RuleId(17);
    let workload = Workload {
        namespace: "shop".into(),
        name: "reviews-v1".into(),
        app: "reviews".into(),
        version: "v1".into(),
        ..Workload::default()
    };
    let place = Place {
        region: "eu".into(),
        zone: "a".into(),
        subzone: "1".into(),
        labels: vec![("rack".into(), "r7".into())],
    };
    let backend = Backend {
        cluster: "outbound|9080|v1|reviews".into(),
        weight: 90,
        rule,
        missing_status: 503,
        request: edits(),
        response: edits(),
        action: None,
    };
    let missing = Backend { weight: 10, missing_status: 500, ..Backend::default() };
    let fault =
        Fault { rule, delay_ms: 1500, delay_per_million: 12_500, abort_status: 503, abort_per_million: 1_000_000 };
    let forward = Forward {
        backends: vec![backend.clone(), missing],
        timeout_ms: 1500,
        retry: Some(Retry {
            attempts: 3,
            statuses: vec![418, 503],
            try_timeout_ms: 500,
            backoff_min_ms: 5,
            ..Retry::default()
        }),
        path: PathRewrite::Segments("/x".into()),
        authority: "ratings".into(),
        request: edits(),
        response: HeaderEdits::default(),
        fault: Some(fault.clone()),
        cors: Some(Cors {
            origins: vec![StringMatch::Exact("https://shop.x".into()), StringMatch::Regex(".*[.]x".into())],
            methods: "GET,PUT".into(),
            headers: "x-a".into(),
            expose: "x-b".into(),
            max_age_s: Some(600),
            credentials: true,
            forward_unmatched: true,
        }),
        mirrors: vec![Mirror { cluster: "outbound|9080|v1|reviews".into(), per_million: 5_000, rule }],
    };
    let redirect = Redirect {
        status: 308,
        scheme: "https".into(),
        host: "h".into(),
        port: Some(8443),
        path: PathRewrite::Full("/f".into()),
        response: edits(),
        fault: Some(Fault { abort_status: 0, abort_per_million: 0, ..fault }),
    };
    let respond = Respond { status: 418, body: "short and stout".into(), ..Respond::default() };
    let matches = Match {
        path: PathMatch::Segments("/api".into()),
        ignore_case: true,
        method: Some(StringMatch::Exact("GET".into())),
        scheme: None,
        authority: Some(StringMatch::Suffix(".x".into())),
        headers: vec![HeaderMatch { name: "x-user".into(), value: StringMatch::Regex("a+".into()), invert: true }],
        query: vec![QueryMatch { name: "q".into(), value: StringMatch::Present }],
        source: vec![("app".into(), "web".into()), ("version".into(), "v2".into())],
    };
    let redirected = Backend { weight: 5, rule, action: Some(1), ..Backend::default() };
    let split = Forward { backends: vec![backend, redirected], ..Forward::default() };
    let routes = (0..4).map(|action| Route {
        rule,
        name: format!("r{action}"),
        matches: if action == 0 { matches.clone() } else { Match::default() },
        action,
    });
    vec![
        Model::Listeners(ListenerSet {
            name: "shop/reviews-v1-0".into(),
            node: workload.clone(),
            place: Some(place.clone()),
            pod: "reviews-v1-0".into(),
            policy: "default".into(),
            listeners: vec![
                Listener {
                    name: "outbound".into(),
                    rule,
                    address: "127.0.0.1:15001".parse().unwrap(),
                    role: Role::Outbound,
                    protocol: ListenerProtocol::Http {
                        on_demand: true,
                        search: vec!["shop.svc.cluster.local".into()],
                        port: 80,
                    },
                },
                Listener {
                    name: "tcp".into(),
                    rule,
                    address: "[::1]:6379".parse().unwrap(),
                    role: Role::Outbound,
                    protocol: ListenerProtocol::Tcp {
                        backends: vec![TcpBackend { cluster: "outbound|9080|v1|reviews".into(), weight: 1 }],
                        rule,
                        idle_timeout_ms: 3_600_000,
                    },
                },
                Listener {
                    name: "tls".into(),
                    rule,
                    address: "127.0.0.1:8443".parse().unwrap(),
                    role: Role::Gateway,
                    protocol: ListenerProtocol::Tls {
                        routes: vec![
                            TlsRoute {
                                rule,
                                names: vec!["a.test".into(), "*.b.test".into()],
                                backends: vec![TcpBackend { cluster: "outbound|9080|v1|reviews".into(), weight: 2 }],
                                idle_timeout_ms: 1500,
                            },
                            TlsRoute { rule, names: vec!["*".into()], ..TlsRoute::default() },
                        ],
                    },
                },
            ],
        }),
        Model::Host(Host {
            name: "reviews:9080".into(),
            listener: "outbound".into(),
            rule,
            domains: vec![
                Domain { pattern: "reviews.shop".into(), port: 9080 },
                Domain { pattern: "*.x".into(), port: 0 },
                Domain { pattern: "*".into(), port: 0 },
            ],
            routes: routes.collect(),
            actions: vec![
                Action::Forward(forward),
                Action::Redirect(redirect),
                Action::Respond(respond),
                Action::Forward(split),
            ],
        }),
        Model::Cluster(Cluster {
            name: "outbound|9080|v1|reviews".into(),
            rule,
            endpoints: "reviews".into(),
            mesh_internal: true,
            balance: Balance::Random,
            retry_budget: RetryBudget { share: 1_250, floor: 7 },
            locality: Some(LocalityRule::Distribute(vec![Distribute {
                from: "eu/*".into(),
                to: vec![("eu/a".into(), 80), ("us".into(), 20)],
            }])),
            connection: Some(ConnectionRules {
                duration_max_ms: 90_000,
                keepalive: Some(Keepalive { probes: 3, time_s: 60, interval_s: 0 }),
            }),
            outlier: Some(OutlierDetection {
                consecutive_5xx_errors: 5,
                interval_ms: 10_000,
                base_ejection_ms: 30_000,
                max_ejection_percent: 10,
                error_codes: vec![429, 503],
                ..OutlierDetection::default()
            }),
            ..Cluster::default()
        }),
        Model::Endpoints(EndpointSet {
            name: "reviews".into(),
            workloads: vec![workload],
            places: vec![place],
            endpoints: vec![
                Endpoint {
                    address: "10.0.0.1:9080".parse().unwrap(),
                    weight: 1,
                    draining: false,
                    workload: 0,
                    place: 0,
                },
                Endpoint {
                    address: "[2001:db8::1]:9080".parse().unwrap(),
                    weight: 3,
                    draining: true,
                    workload: u32::MAX,
                    place: u32::MAX,
                },
            ],
            names: vec![NamedEndpoint { host: "far.test".into(), port: 443, weight: 2, first_only: true, place: 0 }],
        }),
        Model::Policy(PolicySet {
            access_log: AccessLog::Json,
            path_normalization: PathNormalization::MergeSlashes,
            profile: Profile::Strict,
            trusted_proxies: 2,
            access_log_format: r#"{"method": "%REQ(:METHOD)%", "at": ["%START_TIME(%s)%", 1]}"#.into(),
            ..PolicySet::default()
        }),
        Model::Provenance(Provenance {
            name: "shop/reviews-v1-0".into(),
            entries: vec![ProvenanceEntry {
                rule,
                kind: "VirtualService".into(),
                namespace: "shop".into(),
                name: "reviews".into(),
                field: "http[0]".into(),
                file: "a.yaml".into(),
                line: 3,
                column: 7,
            }],
        }),
    ]
}

/// The sample as a snapshot.
pub fn snapshot() -> Snapshot {
    Snapshot::from_models(ORDER, &models()).unwrap()
}

/// Clusters with what excludes each other.
fn more_clusters() -> Vec<Model> {
    let rule = RuleId(17);
    let cookie = HashCookie {
        name: "user".into(),
        path: "/shop".into(),
        ttl_ms: Some(60_000),
        attributes: vec![("SameSite".into(), "Strict".into()), ("Secure".into(), String::new())],
    };
    vec![
        Model::Cluster(Cluster {
            name: "outbound|9080|v2|reviews".into(),
            rule,
            endpoints: "reviews".into(),
            balance: Balance::Maglev,
            hash: Some(ConsistentHash { key: HashKey::Cookie(cookie), table_size: 1021 }),
            locality: Some(LocalityRule::Failover {
                priority: vec![
                    FailoverLabel { name: "rack".into(), value: None },
                    FailoverLabel { name: "version".into(), value: Some("v1".into()) },
                ],
                regions: vec![("eu".into(), "us".into())],
            }),
            ..Cluster::default()
        }),
        Model::Cluster(Cluster {
            name: "outbound|9080|v3|reviews".into(),
            rule,
            endpoints: "reviews".into(),
            warmup: Some(Warmup { duration_ms: 30_000, minimum: 1_000, aggression: 1_500 }),
            ..Cluster::default()
        }),
    ]
}

/// The sample and more clusters.
pub fn all_models() -> Vec<Model> {
    models().into_iter().chain(more_clusters()).collect()
}
