//! Small configurations for tests, built as models and compiled by the config crate.

use std::net::{Ipv4Addr, SocketAddr};

use ringway_config::model::{
    Action, Backend, Cluster, Domain, Endpoint, EndpointSet, Forward, Host, Listener, ListenerProtocol, ListenerSet,
    Match, Model, PathMatch, PolicySet, Protocol, Role, Route, RuleId, TcpBackend, TlsRoute, Workload,
};
use ringway_config::{Order, Snapshot};

/// Name of the one listener that most tests need.
pub const MAIN: &str = "main";
/// The authority that tests ask for.
pub const AUTHORITY: &str = "up.test";

/// A configuration in the making. All parts are open to edits; [`Config::snapshot`] compiles it.
#[derive(Clone)]
pub struct Config {
    /// The proxy and its listeners.
    pub listeners: ListenerSet,
    /// Limits.
    pub policy: PolicySet,
    /// Virtual hosts.
    pub hosts: Vec<Host>,
    /// Clusters.
    pub clusters: Vec<Cluster>,
    /// Their addresses.
    pub endpoints: Vec<EndpointSet>,
}

impl Config {
    /// One HTTP listener on a free port, and nothing behind it.
    pub fn http(role: Role) -> Config {
        Config::with_listener(role, ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 })
    }

    /// One TCP listener on a free port, forwarding to `upstream`.
    pub fn tcp(role: Role, upstream: SocketAddr) -> Config {
        let backends = vec![TcpBackend { cluster: "tcp".into(), weight: 1 }];
        let mut config =
            Config::with_listener(role, ListenerProtocol::Tcp { backends, rule: RuleId(1), idle_timeout_ms: 0 });
        config.cluster("tcp", Protocol::Tcp, &[upstream]);
        config
    }

    /// One TLS listener on a free port. Each (server names, upstream) is a route; the n-th has the cluster `tls-n`.
    pub fn tls(role: Role, routes: &[(&[&str], SocketAddr)]) -> Config {
        let mut config = Config::with_listener(role, ListenerProtocol::Tls { routes: Vec::new() });
        let mut made = Vec::new();
        for ((names, upstream), n) in routes.iter().zip(0..) {
            let cluster = format!("tls-{n}");
            config.cluster(&cluster, Protocol::Tcp, &[*upstream]);
            made.push(TlsRoute {
                rule: RuleId(n + 1),
                names: names.iter().map(|name| (*name).into()).collect(),
                backends: vec![TcpBackend { cluster, weight: 1 }],
                idle_timeout_ms: 0,
            });
        }
        config.listeners.listeners[0].protocol = ListenerProtocol::Tls { routes: made };
        config
    }

    fn with_listener(role: Role, protocol: ListenerProtocol) -> Config {
        let node = Workload {
            namespace: "tests".into(),
            name: "caller".into(),
            app: "caller".into(),
            version: "v1".into(),
            canonical_name: "caller".into(),
            canonical_revision: "v1".into(),
            ..Workload::default()
        };
        let main = Listener {
            name: MAIN.into(),
            rule: RuleId(1),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            role,
            protocol,
        };
        let policy = PolicySet::default();
        Config {
            listeners: ListenerSet {
                name: "tests/caller-1".into(),
                node,
                place: None,
                pod: "caller-1".into(),
                policy: policy.name.clone(),
                listeners: vec![main],
            },
            policy,
            hosts: Vec::new(),
            clusters: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Adds a cluster of these addresses.
    pub fn cluster(&mut self, name: &str, protocol: Protocol, addresses: &[SocketAddr]) -> &mut Cluster {
        let workload = |i: usize| Workload {
            namespace: "tests".into(),
            name: format!("{name}-{i}"),
            app: name.into(),
            version: "v1".into(),
            canonical_name: name.into(),
            canonical_revision: "v1".into(),
            ..Workload::default()
        };
        let endpoint = |(i, address): (usize, &SocketAddr)| Endpoint {
            address: *address,
            weight: 1,
            draining: false,
            workload: i as u32,
            place: u32::MAX,
        };
        self.endpoints.push(EndpointSet {
            name: name.into(),
            workloads: (0..addresses.len()).map(workload).collect(),
            places: Vec::new(),
            endpoints: addresses.iter().enumerate().map(endpoint).collect(),
            names: Vec::new(),
        });
        self.clusters.push(Cluster {
            name: name.into(),
            rule: RuleId(2),
            protocol,
            endpoints: name.into(),
            connect_timeout_ms: 10_000,
            idle_timeout_ms: 3_600_000,
            service_host: format!("{name}.tests.svc.cluster.local"),
            service_name: name.into(),
            service_namespace: "tests".into(),
            ..Cluster::default()
        });
        self.clusters.last_mut().expect("just pushed")
    }

    /// Sends everything to this address: a cluster `up` and a host for any authority.
    pub fn upstream(mut self, address: SocketAddr) -> Config {
        self.cluster("up", Protocol::Http1, &[address]);
        self.host("any", "*", forward(&[("up", 1)]));
        self
    }

    /// Adds a host with one route for all paths.
    pub fn host(&mut self, name: &str, domain: &str, forward: Forward) -> &mut Host {
        self.hosts.push(Host {
            name: name.into(),
            listener: MAIN.into(),
            rule: RuleId(3),
            domains: vec![Domain { pattern: domain.into(), port: 0 }],
            routes: vec![route("default", PathMatch::Any, 0)],
            actions: vec![Action::Forward(forward)],
        });
        self.hosts.last_mut().expect("just pushed")
    }

    /// The models, as the shim would encode them.
    pub fn models(&self) -> Vec<Model> {
        let mut models = vec![Model::Listeners(self.listeners.clone()), Model::Policy(self.policy.clone())];
        models.extend(self.hosts.iter().cloned().map(Model::Host));
        models.extend(self.clusters.iter().cloned().map(Model::Cluster));
        models.extend(self.endpoints.iter().cloned().map(Model::Endpoints));
        models
    }

    /// Compiles it under the first order.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(1)
    }

    /// Compiles it under this sequence number.
    pub fn snapshot_at(&self, sequence: u64) -> Snapshot {
        let order = Order { incarnation: 1, sequence };
        Snapshot::from_models(order, &self.models()).unwrap_or_else(|e| panic!("the test's config is refused: {e}"))
    }
}

/// A forward to clusters by weight.
pub fn forward(backends: &[(&str, u32)]) -> Forward {
    let backend = |(cluster, weight): &(&str, u32)| Backend {
        cluster: (*cluster).into(),
        weight: *weight,
        rule: RuleId(4),
        missing_status: 503,
        ..Backend::default()
    };
    Forward { backends: backends.iter().map(backend).collect(), ..Forward::default() }
}

/// A route by path alone.
pub fn route(name: &str, path: PathMatch, action: u32) -> Route {
    Route { rule: RuleId(5), name: name.into(), matches: Match { path, ..Match::default() }, action }
}
