//! DestinationRule `loadBalancer`: from the manifest to the cluster.

use ringway_config::model::{Balance, Cluster, ConsistentHash, HashCookie, HashKey, Model, Warmup};

use crate::manifests::{World, app, good};

/// The clusters of `reviews` (without a subset, and v2) under a rule with these lines below `spec`.
fn clusters(spec: &str) -> (Cluster, Cluster) {
    let world = world(spec);
    let host = world.compiled.host("default", "reviews").expect("known");
    let cluster = |subset: &str| {
        let name = format!("outbound|80|{subset}|reviews.default.svc.cluster.local");
        let found = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Cluster(cluster) if cluster.name == name => Some(cluster.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{name}"))
    };
    (cluster(""), cluster("v2"))
}

fn world(spec: &str) -> World {
    good(&format!(
        "{}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec:\n  host: reviews\n{spec}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [reviews]\n  http:\n  - route: \
         [{{destination: {{host: reviews, subset: v2}}, weight: 1}}, {{destination: {{host: reviews}}, weight: 1}}]\n",
        app("reviews", &["v1", "v2"])
    ))
}

fn of(load_balancer: &str) -> Cluster {
    let spec = format!(
        "  trafficPolicy: {{loadBalancer: {load_balancer}}}\n  subsets: [{{name: v2, labels: {{version: v2}}}}]\n"
    );
    let (base, subset) = clusters(&spec);
    assert_eq!((&base.balance, &base.hash, &base.warmup), (&subset.balance, &subset.hash, &subset.warmup));
    base
}

#[test]
fn consistent_hash() {
    let cookie = HashCookie {
        name: "user".into(),
        path: "/a".into(),
        ttl_ms: Some(1500),
        attributes: vec![("SameSite".into(), "Lax".into()), ("Secure".into(), String::new())],
    };
    let plain = HashCookie { name: "user".into(), ..HashCookie::default() };
    let session = HashCookie { ttl_ms: Some(0), ..plain.clone() };
    for (text, balance, key, table_size) in [
        ("httpHeaderName: X-User", Balance::RingHash, HashKey::Header("x-user".into()), 1024),
        ("useSourceIp: true", Balance::RingHash, HashKey::SourceIp, 1024),
        ("httpQueryParameterName: u, ringHash: {}", Balance::RingHash, HashKey::Query("u".into()), 1024),
        ("useSourceIp: true, ringHash: {minimumRingSize: 5000}", Balance::RingHash, HashKey::SourceIp, 5000),
        ("useSourceIp: true, ringHash: {minimumRingSize: 0}", Balance::RingHash, HashKey::SourceIp, 1024),
        ("useSourceIp: true, minimumRingSize: 6000", Balance::RingHash, HashKey::SourceIp, 6000),
        ("useSourceIp: true, maglev: {}", Balance::Maglev, HashKey::SourceIp, 65_537),
        ("useSourceIp: true, maglev: {tableSize: 1021}", Balance::Maglev, HashKey::SourceIp, 1021),
        ("httpCookie: {name: user}", Balance::RingHash, HashKey::Cookie(plain), 1024),
        ("httpCookie: {name: user, ttl: 0s}", Balance::RingHash, HashKey::Cookie(session), 1024),
        (
            "httpCookie: {name: user, path: /a, ttl: 1.5s, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}",
            Balance::RingHash,
            HashKey::Cookie(cookie),
            1024,
        ),
    ] {
        let cluster = of(&format!("{{consistentHash: {{{text}}}}}"));
        assert_eq!(cluster.balance, balance, "{text}");
        assert_eq!(cluster.hash, Some(ConsistentHash { key, table_size }), "{text}");
    }
}

#[test]
fn warm_up() {
    for (text, balance, warmup) in [
        ("warmup: {duration: 30s}", Balance::LeastRequest, (30_000, 1000, 1000)),
        (
            "simple: ROUND_ROBIN, warmup: {duration: 1m, minimumPercent: 0.5, aggression: 1.25}",
            Balance::RoundRobin,
            (60_000, 50, 1250),
        ),
        ("warmupDurationSecs: 10s", Balance::LeastRequest, (10_000, 1000, 1000)),
    ] {
        let (duration_ms, minimum, aggression) = warmup;
        let cluster = of(&format!("{{{text}}}"));
        assert_eq!((cluster.balance, cluster.hash), (balance, None), "{text}");
        assert_eq!(cluster.warmup, Some(Warmup { duration_ms, minimum, aggression }), "{text}");
    }
}

#[test]
fn a_subset_and_a_port_replace_a_load_balancer_as_a_whole() {
    let warm = "{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}}";
    let (base, subset) = clusters(&format!(
        "  trafficPolicy: {warm}\n  subsets: [{{name: v2, labels: {{version: v2}}, trafficPolicy: {{loadBalancer: {{simple: LEAST_REQUEST}}}}}}]\n"
    ));
    assert_eq!((base.balance, base.warmup.is_some()), (Balance::RoundRobin, true));
    assert_eq!((subset.balance, subset.warmup), (Balance::LeastRequest, None));
    let ports = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]";
    let (base, subset) = clusters(&format!(
        "  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}, {ports}}}\n  subsets: [{{name: v2, labels: {{version: v2}}}}]\n"
    ));
    assert_eq!((base.balance, subset.balance), (Balance::Random, Balance::Random));
    // Settings of a subset for a port take the place of everything above, also of what they do not name.
    let ports = "portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRequestsPerConnection: 3}}}]";
    let (base, subset) = clusters(&format!(
        "  trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}\n  subsets: [{{name: v2, labels: {{version: v2}}, trafficPolicy: {{{ports}}}}}]\n"
    ));
    assert_eq!((base.balance, subset.balance), (Balance::Random, Balance::LeastRequest));
    assert_eq!(subset.max_requests_per_connection, 3);
}
