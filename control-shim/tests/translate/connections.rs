//! Limits and times of connections: a DestinationRule's on both sides, a Sidecar's on the pod's own.

use ringway_config::model::{Cluster, ConnectionRules, Keepalive, Model};

use crate::manifests::{World, app, good, world};

fn rule(policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec: {{host: web, trafficPolicy: {{{policy}}}}}\n"
    )
}

/// The clusters of service `web` towards its pods, and in front of its app.
fn clusters(world: &World) -> (Cluster, Cluster) {
    let cluster = |model: &Model| if let Model::Cluster(cluster) = model { Some(cluster.clone()) } else { None };
    let host = world.compiled.host("default", "web").expect("known");
    let proxy = world.compiled.proxy(&world.node("web-v1")).expect("a proxy");
    let inbound = proxy.blobs.iter().filter_map(|blob| cluster(blob.model()));
    (
        host.blobs.iter().find_map(|blob| cluster(blob.model())).expect("made"),
        inbound.into_iter().find(|cluster| cluster.name == "inbound|8080||").expect("its port"),
    )
}

#[test]
fn keepalive_and_the_longest_time() {
    let rules = |duration_max_ms, keepalive: Option<[u32; 3]>| {
        let keepalive = keepalive.map(|[probes, time_s, interval_s]| Keepalive { probes, time_s, interval_s });
        Some(ConnectionRules { duration_max_ms, keepalive })
    };
    for (tcp, expected) in [
        ("maxConnections: 3", None),
        ("maxConnectionDuration: 90s", rules(90_000, None)),
        ("tcpKeepalive: {}", rules(0, Some([0, 0, 0]))),
        ("tcpKeepalive: {probes: 9, time: 7200s, interval: 1500ms}", rules(0, Some([9, 7200, 2]))),
    ] {
        let world = good(&(app("web", &["v1"]) + &rule(&format!("connectionPool: {{tcp: {{{tcp}}}}}"))));
        assert_eq!(clusters(&world).0.connection, expected, "{tcp}");
    }
    for tcp in ["tcpKeepalive: {probes: 128}", "tcpKeepalive: {time: 10h}", "tcpKeepalive: {intervall: 1s}"] {
        let world = world(&(app("web", &["v1"]) + &rule(&format!("connectionPool: {{tcp: {{{tcp}}}}}"))));
        assert_eq!(world.errors().len(), 1, "{tcp}");
    }
}

#[test]
fn a_pool_holds_on_both_sides() {
    let pool = "connectionPool: {tcp: {maxConnections: 7, connectTimeout: 2s}, http: {http1MaxPendingRequests: 5}}";
    let port = "portLevelSettings: [{port: {number: 80}, connectionPool: {http: {http2MaxRequests: 4}}}]";
    let sidecar = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\nspec: {inboundConnectionPool: {tcp: {maxConnections: 9}}}\n";
    let base = app("web", &["v1"]);
    for (text, there, here) in [
        (base.clone(), (0, 0, 0, 10_000), (0, 0, 0, 10_000)),
        (base.clone() + &rule(pool), (7, 5, 0, 2_000), (7, 5, 0, 2_000)),
        // What is said for a port replaces the rest.
        (base.clone() + &rule(&format!("{pool}, {port}")), (0, 0, 4, 10_000), (0, 0, 4, 10_000)),
        (base.clone() + &rule(pool) + sidecar, (7, 5, 0, 2_000), (9, 0, 0, 10_000)),
    ] {
        let limits = |c: &Cluster| (c.max_connections, c.max_pending_requests, c.max_requests, c.connect_timeout_ms);
        let (outbound, inbound) = clusters(&good(&text));
        assert_eq!((limits(&outbound), limits(&inbound)), (there, here), "{text}");
    }
}

#[test]
fn a_rule_s_other_parts_stay_on_the_caller_s_side() {
    let policy =
        "loadBalancer: {simple: RANDOM}, outlierDetection: {maxEjectionPercent: 100}, retryBudget: {percent: 7}";
    let (_, inbound) = clusters(&good(&(app("web", &["v1"]) + &rule(policy))));
    let plain = clusters(&good(&app("web", &["v1"]))).1;
    assert_eq!(Cluster { rule: plain.rule, ..inbound }, plain);
}
