//! ServiceEntries as people might write them, for hosts whose endpoints are known.

use super::NAMESPACE;
use crate::dice::Dice;
use serde_json::{Value, json};

/// ServiceEntries of every mesh.
pub const OUTSIDE: usize = 3;
/// Most endpoints of one.
pub const OUTSIDE_ENDPOINTS_MAX: usize = 3;

/// A host that every mesh has.
pub fn host(number: usize) -> String {
    format!("s{number}.outside.example")
}

/// The port of an endpoint, which nobody knows before the meshes run.
fn port(number: usize, endpoint: usize) -> String {
    format!("@outside-{number}-{endpoint}")
}

/// A ServiceEntry with what it selects, and its hosts.
pub fn service_entry(dice: &mut Dice, number: usize) -> (Vec<Value>, Vec<String>) {
    let mut hosts = vec![host(number)];
    if dice.percent(30) {
        hosts.push(format!("t{number}.outside.example"));
    }
    let mut http = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let mut spec = json!({"hosts": hosts, "resolution": "STATIC"});
    if dice.percent(60) {
        spec["location"] = dice.pick(&["MESH_EXTERNAL", "MESH_INTERNAL"]).into();
    }
    let endpoints = 1 + dice.below(OUTSIDE_ENDPOINTS_MAX);
    let mut selected = Vec::new();
    match dice.below(6) {
        0..=2 => {
            let one = |at| endpoint(dice, json!({"http": port(number, at)}), json!({}));
            spec["endpoints"] = (0..endpoints).map(one).collect();
        }
        3 => {
            http["targetPort"] = port(number, 0).into();
            spec["endpoints"] = json!([{"address": "127.0.0.1"}]);
        }
        4 => {
            http["targetPort"] = 8080.into();
            spec["workloadSelector"] = json!({"labels": {"app": "alpha"}});
        }
        _ => {
            spec["workloadSelector"] = json!({"labels": {"outside": number.to_string()}});
            for at in 0..endpoints {
                let labels = json!({"outside": number.to_string()});
                selected.push(json!({
                    "apiVersion": "networking.istio.io/v1",
                    "kind": "WorkloadEntry",
                    "metadata": {"name": format!("outside-{number}-{at}"), "namespace": NAMESPACE},
                    "spec": endpoint(dice, json!({"http": port(number, at)}), labels),
                }));
            }
        }
    }
    spec["ports"] = json!([http]);
    selected.push(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": format!("outside-{number}"), "namespace": NAMESPACE},
        "spec": spec,
    }));
    (selected, hosts)
}

fn endpoint(dice: &mut Dice, ports: Value, mut labels: Value) -> Value {
    let mut endpoint = json!({"address": "127.0.0.1", "ports": ports});
    if dice.percent(60) {
        labels["version"] = dice.pick(&super::SUBSETS).into();
    }
    if labels != json!({}) {
        endpoint["labels"] = labels;
    }
    if dice.percent(40) {
        endpoint["weight"] = dice.pick(&[1, 2, 5]).into();
    }
    if dice.percent(40) {
        endpoint["locality"] = dice.pick(&["r1/z1", "r1/z2", "r2/z1"]).into();
    }
    endpoint
}
