//! DestinationRules for some clients alone: `workloadSelector`.

use ringway_config::model::{Balance, Cluster, Model};

use crate::manifests::{World, app, app_in, good};

fn rule(meta: &str, selector: &str, policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{{meta}}}\nspec: {{host: web.default.svc.cluster.local, {selector}trafficPolicy: {policy}}}\n"
    )
}

const RANDOM: &str = "{loadBalancer: {simple: RANDOM}}";
const ROUND_ROBIN: &str = "{loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {maxConnections: 7}}}";
const BATCH: &str = "workloadSelector: {matchLabels: {app: batch}}, ";

/// How the proxies of `shop`, `batch` and of another namespace's `batch` choose among the endpoints of `web`.
fn balances(rules: &str) -> (World, [Balance; 3]) {
    let apps = app("web", &["v1"]) + &app("shop", &["v1"]) + &app("batch", &["v1"]);
    let far = app_in("far", "batch", &["far"]);
    let world = good(&(apps + &far + rules));
    let balance = |workload: &str| {
        let host = world.compiled.host_for(&world.node(workload), "web.default").expect("known");
        let cluster =
            host.blobs.iter().find_map(|b| if let Model::Cluster(c) = b.model() { Some(c.balance) } else { None });
        cluster.expect("made")
    };
    let all = [balance("shop-v1"), balance("batch-v1"), balance("batch-far")];
    (world, all)
}

#[test]
fn a_rule_that_selects_the_client_goes_before_those_for_all() {
    let (all, batch) = (rule("name: a", "", ROUND_ROBIN), rule("name: b", BATCH, RANDOM));
    let far = rule("name: c, namespace: far", BATCH, RANDOM);
    let wild = batch.replace("web.default.svc.cluster.local", "'*.svc.cluster.local'");
    use Balance::{LeastRequest, Random, RoundRobin};
    for (rules, expected) in [
        (all.clone(), [RoundRobin; 3]),
        (batch.clone(), [LeastRequest, Random, LeastRequest]),
        (all.clone() + &batch, [RoundRobin, Random, RoundRobin]),
        (all.clone() + &far, [RoundRobin, RoundRobin, Random]),
        (wild.clone(), [LeastRequest, Random, LeastRequest]),
        // The host itself is said closer than a pattern of it.
        (all.clone() + &wild, [RoundRobin; 3]),
        (rule("name: b", "workloadSelector: {matchLabels: {}}, ", RANDOM), [Random; 3]),
        // Of two that select it the oldest, and of equal age the first by name.
        (batch.clone() + &rule("name: a", BATCH, ROUND_ROBIN), [LeastRequest, RoundRobin, LeastRequest]),
    ] {
        assert_eq!(balances(&rules).1, expected, "{rules}");
    }
}

#[test]
fn a_rule_for_some_clients_holds_on_their_side_alone() {
    let (world, _) = balances(&rule("name: b", "workloadSelector: {matchLabels: {app: web}}, ", ROUND_ROBIN));
    let proxy = world.compiled.proxy(&world.node("web-v1")).expect("a proxy");
    let inbound = |blob: &ringway_config::Blob| match blob.model() {
        Model::Cluster(Cluster { name, max_connections, .. }) if name.starts_with("inbound|") => Some(*max_connections),
        _ => None,
    };
    assert_eq!(proxy.blobs.iter().find_map(inbound), Some(0));
}
