//! A mesh of any size as config models, and requests to it: hosts by number, routes by number.

use ringway_config::model::*;
use ringway_config::{Blob, Order};
use ringway_policy::Rng;

/// What kind of paths the routes of a host have.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Shape {
    Exact,
    Prefix,
    Segments,
    /// The three above in turn, each tenth one with a method.
    Mixed,
    Regex,
}

/// SplitMix64.
pub struct Seeded(pub u64);

impl Rng for Seeded {
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    }
}

/// A short text that is written anew for each request: requests are in the cache, having just been read.
#[derive(Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// `front`, a number, `back`.
    pub fn write(&mut self, front: &str, number: u32, back: &str) {
        let (mut digits, mut at, mut rest) = ([0; 10], 10, number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.clear();
        self.0.extend_from_slice(front.as_bytes());
        self.0.extend_from_slice(&digits[at..]);
        self.0.extend_from_slice(back.as_bytes());
    }

    /// It.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The authority of a host, by its number.
pub fn write_authority(text: &mut Text, host: u32) {
    text.write("service-", host, ".default.svc.cluster.local");
}

/// A path that a route matches, by its number.
pub fn write_path(text: &mut Text, route: u32, shape: Shape) {
    let exact = matches!(shape, Shape::Exact) || matches!(shape, Shape::Mixed) && route.is_multiple_of(3);
    text.write("/api/v1/", route, if exact { "" } else { "/items?page=2" });
}

/// Of all snapshots here.
pub fn order() -> Order {
    Order { incarnation: 1, sequence: 1 }
}

/// One cluster of ten endpoints for every ten hosts.
pub fn blobs(hosts: usize, routes: usize, shape: Shape) -> Vec<Blob> {
    let protocol =
        ListenerProtocol::Http { on_demand: false, search: vec!["default.svc.cluster.local".into()], port: 80 };
    let address = "127.0.0.1:15001".parse().unwrap();
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
    models.iter().map(|model| Blob::encode(model).unwrap()).collect()
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
    let mut text = Text::default();
    write_authority(&mut text, n as u32);
    Host {
        name: format!("service-{n}"),
        listener: "out".into(),
        domains: vec![
            Domain { pattern: String::from_utf8(text.0).unwrap(), port: 80 },
            Domain { pattern: format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255), port: 0 },
        ],
        routes: (0..routes).map(route).collect(),
        actions: vec![action],
        ..Host::default()
    }
}
