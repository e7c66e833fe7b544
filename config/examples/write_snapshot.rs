//! Writes a small snapshot: one HTTP listener in front of one upstream. `cargo run -p ringway-config --example write_snapshot -- FILE LISTEN UPSTREAM [ROLE]`.

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, file, listen, upstream] = &args[..] else {
        return Err("usage: write_snapshot FILE LISTEN UPSTREAM".into());
    };
    let listener = Listener {
        name: "outbound".into(),
        rule: RuleId(1),
        address: listen.parse()?,
        role: Role::Outbound,
        protocol: ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 },
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
            backends: vec![Backend { cluster: "upstream".into(), weight: 1, ..Backend::default() }],
            ..Forward::default()
        })],
    };
    let cluster = Cluster {
        name: "upstream".into(),
        endpoints: "upstream".into(),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 3_600_000,
        ..Cluster::default()
    };
    let endpoint =
        Endpoint { address: upstream.parse()?, weight: 1, draining: false, workload: u32::MAX, place: u32::MAX };
    let endpoints = EndpointSet {
        name: "upstream".into(),
        workloads: Vec::new(),
        places: Vec::new(),
        names: Vec::new(),
        endpoints: vec![endpoint],
    };
    let models = [
        Model::Listeners(set),
        Model::Host(host),
        Model::Cluster(cluster),
        Model::Endpoints(endpoints),
        Model::Policy(PolicySet::default()),
    ];
    Snapshot::from_models(Order { incarnation: 1, sequence: 1 }, &models)?.write_file(file.as_ref())?;
    Ok(())
}
