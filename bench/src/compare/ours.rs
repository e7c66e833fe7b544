//! Our own proxy's configuration: one listener in front of one origin, as a sidecar has it, with timeouts, outlier detection and everything that Istio's metrics have labels for.

use std::net::SocketAddr;
use std::path::Path;

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};

use super::routes::{Condition, HEADER, Host as HostRules, Routes};

/// Of a route. It is set on every request, and none comes near it.
const TIMEOUT_MS: u64 = 15_000;

/// What the listener does with what it gets.
#[derive(Clone, Debug)]
pub enum Front {
    /// Opaque bytes.
    Tcp,
    /// HTTP/1.1.
    Http {
        /// The table.
        routes: Routes,
        /// Of each reply: exact paths name it.
        reply_bytes: usize,
        /// A line for every request, to standard output.
        access_log: bool,
    },
}

/// Writes a snapshot with one outbound listener.
pub fn write_snapshot(file: &Path, listen: SocketAddr, origin: SocketAddr, front: &Front) -> Result<(), String> {
    let models = models(listen, origin, front);
    let snapshot = Snapshot::from_models(Order { incarnation: 1, sequence: 1 }, &models).map_err(|e| e.to_string())?;
    snapshot.write_file(file).map_err(|e| format!("{}: {e}", file.display()))
}

fn models(listen: SocketAddr, origin: SocketAddr, front: &Front) -> Vec<Model> {
    let (protocol, destinations, access_log) = match front {
        Front::Tcp => {
            let backends = vec![TcpBackend { cluster: cluster_name(0), weight: 1 }];
            (ListenerProtocol::Tcp { backends, rule: RuleId(2), idle_timeout_ms: 0 }, 1, AccessLog::Off)
        }
        Front::Http { routes, access_log, .. } => {
            let log = if *access_log { AccessLog::Text } else { AccessLog::Off };
            (ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 }, routes.destinations(), log)
        }
    };
    let listener =
        Listener { name: "outbound".into(), rule: RuleId(1), address: listen, role: Role::Outbound, protocol };
    let set = ListenerSet {
        name: "default/sample".into(),
        node: workload("sample"),
        pod: "sample".into(),
        policy: "default".into(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let mut models = vec![Model::Listeners(set), Model::Policy(PolicySet { access_log, ..PolicySet::default() })];
    models.extend((0..destinations).flat_map(|n| [Model::Cluster(cluster(n)), Model::Endpoints(endpoints(n, origin))]));
    if let Front::Http { routes, reply_bytes, .. } = front {
        // Rule ids as the shim gives them: one a rule.
        let mut rules = 2..;
        models.extend(routes.hosts(*reply_bytes).iter().enumerate().map(|(n, rules_of)| host(n, rules_of, &mut rules)));
    }
    models
}

fn host(n: usize, host: &HostRules, ids: &mut std::ops::RangeFrom<u32>) -> Model {
    let mut id = || RuleId(ids.next().unwrap_or_default());
    let first = host.rules.first().map_or(0, |rule| rule.destination);
    let last = host.rules.last().map_or(0, |rule| rule.destination);
    let forward = |destination: usize| {
        Action::Forward(Forward {
            backends: vec![Backend { cluster: cluster_name(destination), weight: 1, ..Backend::default() }],
            timeout_ms: TIMEOUT_MS,
            ..Forward::default()
        })
    };
    Model::Host(Host {
        name: format!("host-{n}"),
        listener: "outbound".into(),
        rule: id(),
        domains: vec![Domain { pattern: host.authority.clone(), port: 0 }],
        actions: (first..=last).map(forward).collect(),
        routes: (host.rules.iter().enumerate())
            .map(|(n, rule)| Route {
                rule: id(),
                name: format!("rule-{n}"),
                matches: conditions(&rule.condition),
                action: (rule.destination - first) as u32,
            })
            .collect(),
    })
}

fn conditions(condition: &Condition) -> Match {
    let (path, headers) = match condition.clone() {
        Condition::Prefix(prefix) => (PathMatch::Prefix(prefix), Vec::new()),
        Condition::Exact(path) => (PathMatch::Exact(path), Vec::new()),
        Condition::Regex(pattern) => (PathMatch::Regex(pattern), Vec::new()),
        Condition::PrefixAndHeader(prefix, value) => {
            let header = HeaderMatch { name: HEADER.into(), value: StringMatch::Exact(value), invert: false };
            (PathMatch::Prefix(prefix), vec![header])
        }
    };
    Match { path, headers, ..Match::default() }
}

/// As Istio sets one up for a DestinationRule that says `outlierDetection: {}`.
fn cluster(n: usize) -> Cluster {
    Cluster {
        name: cluster_name(n),
        endpoints: cluster_name(n),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 3_600_000,
        service_host: format!("origin-{n}.shop.svc.cluster.local"),
        service_name: format!("origin-{n}"),
        service_namespace: "shop".into(),
        outlier: Some(OutlierDetection {
            consecutive_5xx_errors: 5,
            interval_ms: 10_000,
            base_ejection_ms: 30_000,
            max_ejection_percent: 10,
            ..OutlierDetection::default()
        }),
        ..Cluster::default()
    }
}

fn endpoints(n: usize, origin: SocketAddr) -> EndpointSet {
    EndpointSet {
        name: cluster_name(n),
        workloads: vec![workload("origin")],
        endpoints: vec![Endpoint { address: origin, weight: 1, draining: false, workload: 0, place: u32::MAX }],
        ..EndpointSet::default()
    }
}

fn workload(name: &str) -> Workload {
    Workload {
        namespace: "shop".into(),
        name: name.into(),
        app: name.into(),
        version: "v1".into(),
        canonical_name: name.into(),
        canonical_revision: "v1".into(),
        principal: String::new(),
        cluster: "Kubernetes".into(),
    }
}

fn cluster_name(n: usize) -> String {
    format!("outbound|80||origin-{n}.shop.svc.cluster.local")
}
