//! How long it takes to build a view, to build the next one upon it, to adopt it, and to decide on it. Prints µs (ns for a decision).
//!
//! `cargo run --release -p ringway-policy --example build_speed`

use std::hint::black_box;
use std::time::Instant;

use ringway_config::model::*;
use ringway_config::{Blob, Order, Snapshot};
use ringway_policy::{Facts, NoFields, Rng, State, Step, View, decide};

/// Decisions in one timing.
const DECISIONS: usize = 100_000;
/// The same, where each tests hundreds of patterns.
const DECISIONS_BY_PATTERNS: usize = 1_000;
/// Timings of which the best is printed.
const ROUNDS: usize = 5;

struct Seeded(u64);

impl Rng for Seeded {
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    }
}

fn main() {
    println!(
        "build, µs                          first   same  one endpoint  one host  adopt first  adopt one endpoint"
    );
    for (hosts, routes) in [(1_000, 100), (100_000, 1), (1, 100_000)] {
        building(hosts, routes);
    }
    println!("decide, ns per decision                          1 name  all names");
    for hosts in [10, 1_000, 10_000, 100_000] {
        deciding(&format!("{hosts} hosts of one route"), hosts, 1, Shape::Prefix);
    }
    for shape in [Shape::Exact, Shape::Prefix, Shape::Segments, Shape::Mixed] {
        for routes in [10, 1_000, 10_000, 100_000] {
            deciding(&format!("1 host of {routes} routes ({shape:?})"), 1, routes, shape);
        }
    }
    for routes in [10, 1_000] {
        deciding(&format!("1 host of {routes} routes (Regex)"), 1, routes, Shape::Regex);
    }
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Exact,
    Prefix,
    Segments,
    /// The three above in turn, each tenth one with a method.
    Mixed,
    Regex,
}

fn building(hosts: usize, routes: usize) {
    let mut blobs = blobs(hosts, routes, Shape::Mixed);
    let first = Snapshot::from_blobs(order(), blobs.clone()).expect("a good snapshot");
    let (view, built) = timed(|| View::build(&first, None).expect("a good snapshot"));
    let (_, same) = timed(|| View::build(&first, Some(&view)).expect("a good snapshot"));
    edit(&mut blobs, Kind::Endpoints, |model| {
        if let Model::Endpoints(set) = model {
            set.endpoints.pop();
        }
    });
    let second = Snapshot::from_blobs(order(), blobs.clone()).expect("a good snapshot");
    let (after, endpoint) = timed(|| View::build(&second, Some(&view)).expect("a good snapshot"));
    edit(&mut blobs, Kind::Host, |model| {
        if let Model::Host(host) = model {
            host.routes[0].rule = RuleId(99);
        }
    });
    let third = Snapshot::from_blobs(order(), blobs).expect("a good snapshot");
    let (_, host) = timed(|| View::build(&third, Some(&after)).expect("a good snapshot"));
    let (mut state, mut rng, mut gone) = (State::new(), Seeded(1), Vec::new());
    let (_, adopt) = timed(|| state.adopt(&view, 0, &mut rng, &mut gone));
    let (_, adopt_next) = timed(|| state.adopt(&after, 0, &mut rng, &mut gone));
    let what = format!("{hosts} hosts × {routes} routes");
    println!("{what:32} {built:7} {same:6} {endpoint:13} {host:9} {adopt:12} {adopt_next:19}");
}

fn deciding(what: &str, hosts: usize, routes: usize, shape: Shape) {
    let snapshot = Snapshot::from_blobs(order(), blobs(hosts, routes, shape)).expect("a good snapshot");
    let view = View::build(&snapshot, None).expect("a good snapshot");
    let mut state = State::new();
    state.adopt(&view, 0, &mut Seeded(1), &mut Vec::new());
    let middle = [(authority(hosts / 2), request_path(routes / 2, shape))];
    // The same number of different requests whatever the config's size, so that what differs is the config.
    let mut rng = Seeded(5);
    let mut below = |n: usize| (rng.random() % n as u64) as usize;
    let spread: Vec<_> = (0..1000).map(|_| (authority(below(hosts)), request_path(below(routes), shape))).collect();
    let count = if matches!(shape, Shape::Regex) { DECISIONS_BY_PATTERNS } else { DECISIONS };
    let one = time_decisions(&view, &mut state, &middle, count);
    let all = time_decisions(&view, &mut state, &spread, count);
    println!("{what:45} {one:9.1} {all:10.1}");
}

fn time_decisions(view: &View, state: &mut State, requests: &[(String, String)], count: usize) -> f64 {
    let mut rng = Seeded(3);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (authority, path) in requests.iter().cycle().take(count) {
            let (authority, path) = (authority.as_bytes(), path.as_bytes());
            let mut facts = Facts {
                listener: 0,
                method: b"GET",
                path,
                authority,
                scheme: "http",
                client: std::net::IpAddr::from([127, 0, 0, 1]),
                fields: &NoFields,
                host_absent: false,
                delayed: false,
            };
            let step = decide(view, black_box(&mut facts), state, &mut rng, 0, &mut ());
            assert!(matches!(black_box(step), Step::Forward(_)));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / count as f64);
    }
    best
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u128) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_micros())
}

fn order() -> Order {
    Order { incarnation: 1, sequence: 1 }
}

fn edit(blobs: &mut [Blob], kind: Kind, change: impl Fn(&mut Model)) {
    if let Some(blob) = blobs.iter_mut().find(|b| b.kind() == kind) {
        let mut model = blob.decode();
        change(&mut model);
        *blob = Blob::encode(&model).expect("a good model");
    }
}

fn authority(host: usize) -> String {
    format!("service-{host}.default.svc.cluster.local")
}

fn request_path(route: usize, shape: Shape) -> String {
    match shape {
        Shape::Exact => format!("/api/v1/{route}"),
        Shape::Mixed if route.is_multiple_of(3) => format!("/api/v1/{route}"),
        _ => format!("/api/v1/{route}/items?page=2"),
    }
}

/// One cluster of ten endpoints for every ten hosts.
fn blobs(hosts: usize, routes: usize, shape: Shape) -> Vec<Blob> {
    let protocol =
        ListenerProtocol::Http { on_demand: false, search: vec!["default.svc.cluster.local".into()], port: 80 };
    let address = "127.0.0.1:15001".parse().expect("an address");
    let listener = Listener { name: "out".into(), rule: RuleId(0), address, role: Role::Outbound, protocol };
    let set = ListenerSet {
        name: "ns/pod".into(),
        policy: "default".into(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let mut models = vec![Model::Listeners(set), Model::Policy(PolicySet::default())];
    for n in 0..hosts.div_ceil(10) {
        let name = format!("outbound|80||service-{n}");
        let endpoint = |e: usize| Endpoint {
            address: ([10, (n >> 8) as u8, n as u8, e as u8], 8080).into(),
            weight: 1,
            draining: false,
            workload: u32::MAX,
            place: u32::MAX,
        };
        let endpoints = (0..10).map(endpoint).collect();
        models.push(Model::Endpoints(EndpointSet {
            name: name.clone(),
            workloads: Vec::new(),
            places: Vec::new(),
            endpoints,
            names: Vec::new(),
        }));
        models.push(Model::Cluster(Cluster { endpoints: name.clone(), name, ..Cluster::default() }));
    }
    models.extend((0..hosts).map(|n| Model::Host(host(n, routes, shape))));
    models.iter().map(|model| Blob::encode(model).expect("a good model")).collect()
}

fn host(n: usize, routes: usize, shape: Shape) -> Host {
    let backend = Backend { cluster: format!("outbound|80||service-{}", n / 10), weight: 1, ..Backend::default() };
    let action = Action::Forward(Forward { backends: vec![backend], ..Forward::default() });
    let path = |route: usize| match shape {
        Shape::Mixed => [Shape::Exact, Shape::Prefix, Shape::Segments][route % 3],
        shape => shape,
    };
    let matches = |route: usize| Match {
        path: match path(route) {
            Shape::Exact => PathMatch::Exact(format!("/api/v1/{route}")),
            Shape::Prefix => PathMatch::Prefix(format!("/api/v1/{route}/")),
            Shape::Regex => PathMatch::Regex(format!("/api/v[0-9]+/{route}/.*")),
            _ => PathMatch::Segments(format!("/api/v1/{route}")),
        },
        method: (route % 10 == 3 && matches!(shape, Shape::Mixed)).then(|| StringMatch::Exact("GET".into())),
        ..Match::default()
    };
    let route = |route: usize| Route {
        rule: RuleId(route as u32 + 1),
        name: String::new(),
        matches: matches(route),
        action: 0,
    };
    Host {
        name: format!("service-{n}"),
        listener: "out".into(),
        domains: vec![
            Domain { pattern: authority(n), port: 80 },
            Domain { pattern: format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255), port: 0 },
        ],
        routes: (0..routes).map(route).collect(),
        actions: vec![action],
        ..Host::default()
    }
}
