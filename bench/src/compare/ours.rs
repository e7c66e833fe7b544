//! Our own proxy's configuration: one listener in front of one origin.

use std::path::Path;

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};

/// Writes a snapshot with one outbound listener, HTTP or opaque TCP.
pub fn write_snapshot(file: &Path, port: u16, origin: u16, tcp: bool) -> Result<(), String> {
    let protocol = if tcp {
        let backends = vec![TcpBackend { cluster: "origin".into(), weight: 1 }];
        ListenerProtocol::Tcp { backends, rule: RuleId(3), idle_timeout_ms: 0 }
    } else {
        ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 }
    };
    let listener = Listener {
        name: "outbound".into(),
        rule: RuleId(1),
        address: ([127, 0, 0, 1], port).into(),
        role: Role::Outbound,
        protocol,
    };
    let set = ListenerSet {
        name: "default/sample".into(),
        pod: "sample".into(),
        policy: "default".into(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let host = Host {
        name: "any".into(),
        listener: "outbound".into(),
        rule: RuleId(2),
        domains: vec![Domain { pattern: "*".into(), port: 0 }],
        routes: vec![Route { rule: RuleId(3), name: "default".into(), matches: Match::default(), action: 0 }],
        actions: vec![Action::Forward(Forward {
            backends: vec![Backend { cluster: "origin".into(), weight: 1, ..Backend::default() }],
            ..Forward::default()
        })],
    };
    let cluster = Cluster {
        name: "origin".into(),
        endpoints: "origin".into(),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 3_600_000,
        ..Cluster::default()
    };
    let endpoint = Endpoint {
        address: ([127, 0, 0, 1], origin).into(),
        weight: 1,
        draining: false,
        workload: u32::MAX,
        place: u32::MAX,
    };
    let endpoints = EndpointSet {
        name: "origin".into(),
        workloads: Vec::new(),
        places: Vec::new(),
        names: Vec::new(),
        endpoints: vec![endpoint],
    };
    let mut models = vec![
        Model::Listeners(set),
        Model::Cluster(cluster),
        Model::Endpoints(endpoints),
        Model::Policy(PolicySet::default()),
    ];
    if !tcp {
        models.push(Model::Host(host));
    }
    let snapshot = Snapshot::from_models(Order { incarnation: 1, sequence: 1 }, &models).map_err(|e| e.to_string())?;
    snapshot.write_file(file).map_err(|e| format!("{}: {e}", file.display()))
}
