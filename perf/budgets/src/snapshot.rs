//! What it costs to check a large snapshot: what a proxy does before it takes one.

use ringway_config::model::*;
use ringway_config::{Blob, Hash, Order, Snapshot, v1};

use super::{Figures, ms, timed};

const CLUSTERS: u32 = 2_000;
const ENDPOINTS_EACH: u32 = 10;
const HOSTS: u32 = 100;
const ROUTES_EACH: u32 = 100;
const ROUNDS: usize = 21;

pub fn run(figures: &Figures) {
    let models = models();
    let order = Order { incarnation: 1, sequence: 1 };
    let (encode, snapshot) = timed(1, || Snapshot::from_models(order, &models).unwrap());
    let blobs: Vec<&Blob> = snapshot.blobs().collect();
    let bytes: usize = blobs.iter().map(|b| b.bytes().len()).sum();
    let what = format!("a snapshot of {CLUSTERS} clusters, {} routes", HOSTS * ROUTES_EACH);
    figures.tell(&format!("size of {what}"), bytes as f64 / 1024.0, "KiB");
    let report = |done: &str, took| figures.tell(&format!("{done} {what}"), ms(took), "ms");
    report("encode, verify and hash", encode);
    let (verify, _) = timed(ROUNDS, || blobs.iter().filter(|b| v1::verify(b.bytes()).is_ok()).count());
    report("verify", verify);
    let (hash, _) = timed(ROUNDS, || blobs.iter().map(|b| Hash::of(b.bytes()).0[0]).max());
    report("hash", hash);
    let (open, _) =
        timed(ROUNDS, || Snapshot::open(order, snapshot.root().clone(), snapshot.blobs().cloned()).unwrap());
    report("check that nothing is missing of", open);
    let file = snapshot.to_bytes();
    let (read, _) = timed(ROUNDS, || Snapshot::from_bytes(&file).unwrap());
    report("read the file of", read);
    let (decode, _) = timed(ROUNDS, || blobs.iter().map(|b| b.decode().name().len()).sum::<usize>());
    report("decode", decode);
}

fn models() -> Vec<Model> {
    let listener = Listener {
        name: "outbound".into(),
        rule: RuleId(1),
        address: ([127, 0, 0, 1], 15001).into(),
        role: Role::Outbound,
        protocol: ListenerProtocol::Http { on_demand: true, search: vec!["svc.cluster.local".into()], port: 80 },
    };
    let set = ListenerSet {
        name: "shop/front-0".into(),
        policy: "default".into(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let mut models = vec![Model::Listeners(set), Model::Policy(PolicySet::default())];
    models.extend((0..HOSTS).map(|n| Model::Host(host(n))));
    models.extend((0..CLUSTERS).flat_map(|n| [Model::Cluster(cluster(n)), Model::Endpoints(endpoints(n))]));
    models
}

fn cluster_name(n: u32) -> String {
    format!("outbound|8080|v1|service-{n}.namespace-{}.svc.cluster.local", n % 50)
}

fn host(n: u32) -> Host {
    let route = |i: u32| {
        let path = PathMatch::Segments(format!("/api/v{}/resource-{i}", i % 3));
        let user = HeaderMatch { name: "end-user".into(), value: StringMatch::Exact(format!("u{i}")), invert: false };
        let matches = Match { path, headers: vec![user], ..Match::default() };
        Route { rule: RuleId(n * ROUTES_EACH + i + 2), name: format!("route-{i}"), matches, action: i }
    };
    let action = |i: u32| {
        let backend = |k: u32, weight: u32| {
            let cluster = cluster_name((n * ROUTES_EACH + i + k) % CLUSTERS);
            Backend { cluster, weight, rule: RuleId(7), missing_status: 503, ..Backend::default() }
        };
        Action::Forward(Forward { backends: vec![backend(0, 90), backend(1, 10)], ..Forward::default() })
    };
    Host {
        name: format!("service-{n}.shop.svc.cluster.local:8080"),
        listener: "outbound".into(),
        rule: RuleId(n),
        domains: vec![Domain { pattern: format!("service-{n}.shop.svc.cluster.local"), port: 8080 }],
        routes: (0..ROUTES_EACH).map(route).collect(),
        actions: (0..ROUTES_EACH).map(action).collect(),
    }
}

fn cluster(n: u32) -> Cluster {
    Cluster {
        name: cluster_name(n),
        rule: RuleId(n + 1),
        endpoints: cluster_name(n),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 3_600_000,
        service_host: format!("service-{n}.shop.svc.cluster.local"),
        service_name: format!("service-{n}"),
        service_namespace: "shop".into(),
        mesh_internal: true,
        ..Cluster::default()
    }
}

fn endpoints(n: u32) -> EndpointSet {
    let workload = Workload {
        namespace: "shop".into(),
        name: format!("service-{n}-v1"),
        app: format!("service-{n}"),
        version: "v1".into(),
        ..Workload::default()
    };
    let endpoint = |i: u32| Endpoint {
        address: ([10, (n >> 8) as u8, n as u8, i as u8], 8080).into(),
        weight: 1,
        draining: false,
        workload: 0,
        place: u32::MAX,
    };
    EndpointSet {
        name: cluster_name(n),
        workloads: vec![workload],
        places: Vec::new(),
        endpoints: (0..ENDPOINTS_EACH).map(endpoint).collect(),
        names: Vec::new(),
    }
}
