//! Small configurations, requests and a seeded source of randomness.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};
use ringway_policy::{Choose, Connection, Facts, Fields, Note, Plan, Rng, Slot, State, Step, View, decide};

/// Who asks, until told otherwise.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));

/// SplitMix64.
pub struct Seeded(pub u64);

impl Rng for Seeded {
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Headers in order.
#[derive(Debug)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl Fields for Headers {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|(n, _)| n == name).for_each(|(_, value)| visit(value));
    }
}

/// A request, `GET http://a/` until told otherwise.
#[derive(Debug)]
pub struct Request {
    pub listener: u32,
    pub method: String,
    pub path: String,
    pub authority: String,
    pub scheme: &'static str,
    pub client: IpAddr,
    pub headers: Headers,
    pub host_absent: bool,
}

/// The request for a path.
pub fn get(path: &str) -> Request {
    let (method, path, authority) = ("GET".into(), path.into(), "a".into());
    Request {
        listener: HTTP,
        method,
        path,
        authority,
        scheme: "http",
        client: CLIENT,
        headers: Headers(Vec::new()),
        host_absent: false,
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.0.push((name.into(), value.into()));
        self
    }

    pub fn authority(mut self, authority: &str) -> Request {
        self.authority = authority.into();
        self
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts {
            listener: self.listener,
            method: self.method.as_bytes(),
            path: self.path.as_bytes(),
            authority: self.authority.as_bytes(),
            scheme: self.scheme,
            client: self.client,
            fields: &self.headers,
            host_absent: self.host_absent,
            delayed: false,
        }
    }
}

/// The listener `http` of every world.
pub const HTTP: u32 = 0;
/// The listener `tcp` of every world.
pub const TCP: u32 = 1;

/// What a snapshot is made of.
pub struct World {
    pub listeners: ListenerSet,
    pub hosts: Vec<Host>,
    pub clusters: Vec<Cluster>,
    pub endpoints: Vec<EndpointSet>,
}

impl World {
    pub fn new() -> World {
        let http = ListenerProtocol::Http { on_demand: false, search: vec!["svc.local".into()], port: 80 };
        let tcp = ListenerProtocol::Tcp { backends: Vec::new(), rule: RuleId(77), idle_timeout_ms: 0 };
        let listener = |name: &str, port, protocol| Listener {
            name: name.into(),
            rule: RuleId(port),
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            role: Role::Outbound,
            protocol,
        };
        let listeners = vec![listener("http", 15001, http), listener("tcp", 15002, tcp)];
        let listeners =
            ListenerSet { name: "ns/pod".into(), policy: "default".into(), listeners, ..Default::default() };
        World { listeners, hosts: Vec::new(), clusters: Vec::new(), endpoints: Vec::new() }
    }

    /// A cluster of endpoints (address, weight, draining).
    pub fn cluster(mut self, name: &str, balance: Balance, endpoints: &[(&str, u32, bool)]) -> World {
        let endpoint = |(address, weight, draining): &(&str, u32, bool)| Endpoint {
            address: address.parse().unwrap(),
            weight: *weight,
            draining: *draining,
            workload: u32::MAX,
            place: u32::MAX,
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        self.endpoints.push(EndpointSet {
            name: name.into(),
            workloads: Vec::new(),
            places: Vec::new(),
            names: Vec::new(),
            endpoints,
        });
        self.clusters.push(Cluster { name: name.into(), balance, endpoints: name.into(), ..Cluster::default() });
        self
    }

    /// A host whose routes all lead to cluster `c`; route number n has rule n + 1.
    pub fn host(mut self, name: &str, domains: &[(&str, u16)], matches: &[Match]) -> World {
        let routes = matches.iter().zip(1..).map(|(m, n)| route(n, m.clone(), 0)).collect();
        let actions = vec![forward(&[("c", 1)])];
        self.hosts.push(Host { routes, actions, ..bare_host(name, domains) });
        self
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut models = vec![Model::Listeners(self.listeners.clone()), Model::Policy(PolicySet::default())];
        models.extend(self.hosts.iter().cloned().map(Model::Host));
        models.extend(self.clusters.iter().cloned().map(Model::Cluster));
        models.extend(self.endpoints.iter().cloned().map(Model::Endpoints));
        Snapshot::from_models(Order { incarnation: 1, sequence: 1 }, &models).unwrap()
    }

    pub fn view(&self) -> View {
        View::build(&self.snapshot(), None).unwrap()
    }
}

/// A host without routes, of rule 1000.
pub fn bare_host(name: &str, domains: &[(&str, u16)]) -> Host {
    let domains = domains.iter().map(|(pattern, port)| Domain { pattern: (*pattern).into(), port: *port }).collect();
    Host { name: name.into(), listener: "http".into(), rule: RuleId(1000), domains, ..Host::default() }
}

pub fn route(rule: u32, matches: Match, action: u32) -> Route {
    Route { rule: RuleId(rule), name: format!("r{rule}"), matches, action }
}

/// Forwards to clusters by weight.
pub fn forward(backends: &[(&str, u32)]) -> Action {
    let backend =
        |(cluster, weight): &(&str, u32)| Backend { cluster: (*cluster).into(), weight: *weight, ..Backend::default() };
    Action::Forward(Forward { backends: backends.iter().map(backend).collect(), ..Forward::default() })
}

/// One cluster `c` of one endpoint.
pub fn small() -> World {
    World::new().cluster("c", Balance::LeastRequest, &[("10.0.0.1:80", 1, false)])
}

/// A connection to a listener.
pub fn connection(listener: u32) -> Connection {
    Connection { listener, client: CLIENT, now: 0 }
}

/// A choice after one that failed there.
pub fn avoiding(slot: Slot) -> Choose {
    Choose { avoid: Some(slot), ..Choose::default() }
}

/// A state that has adopted a view.
pub fn adopted(view: &View) -> State {
    let mut state = State::new();
    state.adopt(view, 0, &mut Seeded(1), &mut Vec::new());
    state
}

/// Decides with notes, on a fresh state.
pub fn explain(view: &View, request: &Request) -> (Step, Vec<Note>) {
    let mut notes = Vec::new();
    let step = decide(view, &mut request.facts(), &mut adopted(view), &mut Seeded(1), 0, &mut notes);
    (step, notes)
}

/// Decides as the proxy does, on a fresh state.
pub fn decided(view: &View, request: &Request) -> Step {
    decide(view, &mut request.facts(), &mut adopted(view), &mut Seeded(1), 0, &mut ())
}

/// The plan, or a panic that shows what was decided instead.
pub fn plan(view: &View, request: &Request) -> Plan {
    match decided(view, request) {
        Step::Forward(plan) => plan,
        other => panic!("{other:?}"),
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
