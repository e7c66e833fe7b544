//! The configuration of a run, in versions: endpoints come and go, weights change, and clusters in front shift every dense id.

use std::net::SocketAddr;
use std::sync::Arc;

use dataplane::active::Active;
use ringway_config::model::{
    AccessLog, Action, Backend, Balance, Cluster, Domain, Endpoint, EndpointSet, Forward, Host, Listener,
    ListenerProtocol, ListenerSet, Match, Model, PathMatch, PolicySet, Protocol, Redirect, Respond, Retry, RetryBudget,
    Role, Route, RuleId, TcpBackend, Workload,
};
use ringway_config::{Order, Snapshot};
use ringway_policy::View;

use crate::dice::Dice;

/// Where a request leads; the first segment of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Three endpoints that come and go.
    Plain,
    /// Endpoints that close idle connections when they like.
    Flaky,
    /// Two endpoints, one of which refuses every connect.
    Half,
    /// Two clusters by weight.
    Split,
    /// A fixed answer of the proxy.
    Local,
    /// A redirect by the proxy.
    Redirect,
    /// No route: the proxy answers 404.
    Nowhere,
}

impl Road {
    /// Its path segment.
    pub fn segment(self) -> &'static str {
        match self {
            Road::Plain => "plain",
            Road::Flaky => "flaky",
            Road::Half => "half",
            Road::Split => "split",
            Road::Local => "local",
            Road::Redirect => "redirect",
            Road::Nowhere => "nowhere",
        }
    }

    /// The proxy answers by itself, with this status.
    pub fn local_status(self) -> Option<u16> {
        match self {
            Road::Local => Some(200),
            Road::Redirect => Some(302),
            Road::Nowhere => Some(404),
            _ => None,
        }
    }
}

/// Body of [`Road::Local`].
pub const LOCAL_BODY: &str = "said by the proxy\n";
/// Housekeeping's ids of the listeners, in the model's order.
pub const LISTENER_IDS: [u32; 2] = [7, 9];

/// Where the proxy takes HTTP.
pub fn http_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15_001))
}

/// Where the proxy takes TCP.
pub fn tcp_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15_002))
}

/// Endpoint `i` of a cluster.
pub fn endpoint(cluster: &str, i: u8) -> SocketAddr {
    let group = match cluster {
        "plain" => 1,
        "flaky" => 2,
        "half" => 3,
        "split-1" => 4,
        "split-2" => 5,
        "tcp" => 6,
        _ => 7,
    };
    SocketAddr::from(([10, 0, group, i + 1], 8080))
}

/// All endpoints on which somebody listens.
pub fn listening() -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for (cluster, count) in [("plain", 3), ("flaky", 2), ("split-1", 1), ("split-2", 2), ("tcp", 2)] {
        all.extend((0..count).map(|i| endpoint(cluster, i)));
    }
    all.push(endpoint("half", 1));
    all
}

/// One version of the configuration.
#[derive(Clone, Debug)]
pub struct Version {
    /// Which endpoints of `plain` are in.
    pub plain: [bool; 3],
    /// Which endpoints of `tcp` are in.
    pub tcp: [bool; 2],
    /// Weight of `split-1`, of 100.
    pub weight: u32,
    /// Clusters that nobody uses, sorted before all others.
    pub extra: usize,
    /// Access log.
    pub log: bool,
    /// Requests on one upstream connection of `plain`; 0 is unlimited.
    pub requests_max: u32,
    /// Connections to `plain` and to `flaky`; 0 is unlimited.
    pub connections_max: u32,
}

impl Version {
    /// The first version of a run.
    pub fn first(dice: &mut Dice) -> Version {
        Version {
            plain: [true; 3],
            tcp: [true; 2],
            weight: 90,
            extra: 0,
            log: dice.one_in(2),
            requests_max: if dice.one_in(4) { 3 } else { 0 },
            connections_max: 0,
        }
    }

    /// A version that follows this one.
    pub fn next(&self, dice: &mut Dice) -> Version {
        let mut next = self.clone();
        next.weight = dice.pick(&[0, 50, 90, 100]);
        next.extra = dice.below(3);
        next.plain = [dice.one_in(2), dice.one_in(2), dice.one_in(2)];
        next.plain[dice.below(3)] = true;
        next.connections_max = dice.pick(&[0, 1, 2, 5]);
        next.tcp = [dice.one_in(2), true];
        if dice.one_in(2) {
            next.tcp.reverse();
        }
        next
    }

    /// True when this endpoint may get new requests or connections under this version.
    pub fn has(&self, address: SocketAddr) -> bool {
        let gone = |cluster: &str, flags: &[bool]| {
            (0u8..).zip(flags).any(|(i, there)| !there && endpoint(cluster, i) == address)
        };
        !gone("plain", &self.plain) && !gone("tcp", &self.tcp)
    }

    /// Compiles it, re-using what did not change.
    pub fn build(&self, sequence: u64, previous: Option<&Active>) -> Arc<Active> {
        let order = Order { incarnation: 1, sequence };
        let snapshot = Snapshot::from_models(order, &self.models()).expect("the run's config is valid");
        let view = View::build(&snapshot, previous.map(|p| &p.view)).expect("the run's config compiles");
        Active::new(view, LISTENER_IDS.to_vec(), previous)
    }

    fn models(&self) -> Vec<Model> {
        let mut models = vec![Model::Listeners(listeners()), Model::Policy(self.policy()), Model::Host(self.host())];
        let there =
            |flags: &[bool]| -> Vec<u8> { (0u8..).zip(flags).filter(|(_, there)| **there).map(|(i, _)| i).collect() };
        self.cluster(&mut models, "plain", &there(&self.plain));
        self.cluster(&mut models, "flaky", &[0, 1]);
        self.cluster(&mut models, "half", &[0, 1]);
        self.cluster(&mut models, "split-1", &[0]);
        self.cluster(&mut models, "split-2", &[0, 1]);
        self.cluster(&mut models, "tcp", &there(&self.tcp));
        for i in 0..self.extra {
            self.cluster(&mut models, &format!("a-{i}"), &[0]);
        }
        models
    }

    fn policy(&self) -> PolicySet {
        let access_log = if self.log { AccessLog::Text } else { AccessLog::Off };
        PolicySet { access_log, ..PolicySet::default() }
    }

    fn cluster(&self, models: &mut Vec<Model>, name: &str, endpoints: &[u8]) {
        let workload = |i: &u8| Workload {
            namespace: "sim".into(),
            name: format!("{name}-{i}"),
            app: name.into(),
            ..Workload::default()
        };
        let one = |(n, i): (usize, &u8)| Endpoint {
            address: endpoint(name, *i),
            weight: 1,
            draining: false,
            workload: n as u32,
            place: u32::MAX,
        };
        models.push(Model::Endpoints(EndpointSet {
            name: name.into(),
            places: Vec::new(),
            workloads: endpoints.iter().map(workload).collect(),
            endpoints: endpoints.iter().enumerate().map(one).collect(),
            names: Vec::new(),
        }));
        models.push(Model::Cluster(Cluster {
            name: name.into(),
            protocol: if name == "tcp" { Protocol::Tcp } else { Protocol::Http1 },
            balance: if name == "split-2" { Balance::RoundRobin } else { Balance::LeastRequest },
            endpoints: name.into(),
            connect_timeout_ms: 10_000,
            idle_timeout_ms: if name == "split-1" { 40 } else { 3_600_000 },
            max_requests_per_connection: if name == "plain" { self.requests_max } else { 0 },
            max_connections: if name == "plain" || name == "flaky" { self.connections_max } else { 0 },
            service_host: format!("{name}.sim.svc.cluster.local"),
            service_name: name.into(),
            service_namespace: "sim".into(),
            mesh_internal: name == "plain",
            // Who meets a dead endpoint is always tried elsewhere: the model knows of no budget.
            retry_budget: RetryBudget { share: 0, floor: u32::MAX },
            ..Cluster::default()
        }));
    }

    fn host(&self) -> Host {
        let forward = |backends: &[(&str, u32)]| {
            let backend = |(cluster, weight): &(&str, u32)| Backend {
                cluster: (*cluster).into(),
                weight: *weight,
                missing_status: 503,
                ..Backend::default()
            };
            let backends = backends.iter().map(backend).collect();
            Action::Forward(Forward { backends, retry: Some(Retry::default()), ..Forward::default() })
        };
        let actions = vec![
            forward(&[("plain", 1)]),
            forward(&[("flaky", 1)]),
            forward(&[("half", 1)]),
            forward(&[("split-1", self.weight), ("split-2", 100 - self.weight)]),
            Action::Respond(Respond { status: 200, body: LOCAL_BODY.into(), ..Respond::default() }),
            Action::Redirect(Redirect { status: 302, host: "elsewhere.test".into(), ..Redirect::default() }),
        ];
        let roads = [Road::Plain, Road::Flaky, Road::Half, Road::Split, Road::Local, Road::Redirect];
        let route = |(action, road): (u32, Road)| Route {
            rule: RuleId(10 + action),
            name: road.segment().into(),
            matches: Match { path: PathMatch::Prefix(format!("/{}/", road.segment())), ..Match::default() },
            action,
        };
        Host {
            name: "all".into(),
            listener: "http".into(),
            rule: RuleId(3),
            domains: vec![Domain { pattern: "*".into(), port: 0 }],
            routes: (0..).zip(roads).map(route).collect(),
            actions,
        }
    }
}

fn listeners() -> ListenerSet {
    let listener = |name: &str, address, protocol| Listener {
        name: name.into(),
        rule: RuleId(1),
        address,
        role: Role::Outbound,
        protocol,
    };
    let http = ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 };
    let backends = vec![TcpBackend { cluster: "tcp".into(), weight: 1 }];
    let tcp = ListenerProtocol::Tcp { backends, rule: RuleId(2), idle_timeout_ms: 0 };
    ListenerSet {
        place: None,
        name: "sim/proxy".into(),
        node: Workload { namespace: "sim".into(), name: "proxy".into(), ..Workload::default() },
        pod: "proxy".into(),
        policy: PolicySet::default().name,
        listeners: vec![listener("http", http_address(), http), listener("tcp", tcp_address(), tcp)],
    }
}
