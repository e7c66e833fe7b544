//! ServiceEntries as people might write them, for hosts whose endpoints are known, or have names.

use super::NAMESPACE;
use crate::dice::Dice;
use serde_json::{Value, json};

/// ServiceEntries of every mesh.
pub const OUTSIDE: usize = 3;
/// Most endpoints of one.
pub const OUTSIDE_ENDPOINTS_MAX: usize = 3;

/// A name that endpoints have.
const ENDPOINT: &str = "e.outside.example";

/// A host that is called at the port where it is.
pub const BY_ITSELF: &str = "n.outside.example";

/// A host that every mesh has.
pub fn host(number: usize) -> String {
    format!("s{number}.outside.example")
}

/// Another host that a ServiceEntry may have.
fn second_host(number: usize) -> String {
    format!("t{number}.outside.example")
}

/// All names that may have to be looked up.
pub fn names() -> Vec<String> {
    let hosts = (0..OUTSIDE).flat_map(|number| [host(number), second_host(number)]);
    hosts.chain([ENDPOINT.to_owned(), BY_ITSELF.to_owned()]).collect()
}

/// A ServiceEntry for a host whose address is that of its name, at the very port that is called, and the authority that calls it.
pub fn by_itself() -> (Value, String) {
    const PORT: &str = "@by-itself";
    let entry = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "by-itself", "namespace": NAMESPACE},
        "spec": {
            "hosts": [BY_ITSELF],
            "location": "MESH_EXTERNAL",
            "resolution": "NONE",
            "ports": [{"number": PORT, "name": "http", "protocol": "HTTP"}],
        },
    });
    (entry, format!("{BY_ITSELF}:{PORT}"))
}

/// The port of an endpoint, which nobody knows before the meshes run.
fn port(number: usize, endpoint: usize) -> String {
    format!("@outside-{number}-{endpoint}")
}

/// A ServiceEntry with what it selects, and its hosts.
pub fn service_entry(dice: &mut Dice, number: usize) -> (Vec<Value>, Vec<String>) {
    let mut hosts = vec![host(number)];
    if dice.percent(30) {
        hosts.push(second_host(number));
    }
    let mut http = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let resolution = dice.pick(&["STATIC", "STATIC", "STATIC", "STATIC", "DNS", "DNS", "DNS_ROUND_ROBIN"]);
    let addresses: &[&str] =
        if resolution == "STATIC" { &["127.0.0.1"] } else { &["127.0.0.1", "localhost", ENDPOINT] };
    let mut spec = json!({"hosts": hosts, "resolution": resolution});
    if dice.percent(60) {
        spec["location"] = dice.pick(&["MESH_EXTERNAL", "MESH_INTERNAL"]).into();
    }
    let endpoints = if resolution == "DNS_ROUND_ROBIN" { 1 } else { 1 + dice.below(OUTSIDE_ENDPOINTS_MAX) };
    let mut selected = Vec::new();
    match dice.below(5) {
        0..=1 => {
            let one = |at| endpoint(dice, addresses, json!({"http": port(number, at)}), json!({}));
            spec["endpoints"] = (0..endpoints).map(one).collect();
        }
        2 if resolution == "STATIC" => {
            http["targetPort"] = port(number, 0).into();
            spec["endpoints"] = json!([{"address": "127.0.0.1"}]);
        }
        // The host is its own endpoint.
        _ if resolution != "STATIC" => http["targetPort"] = port(number, 0).into(),
        3 => {
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
                    "spec": endpoint(dice, addresses, json!({"http": port(number, at)}), labels),
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

fn endpoint(dice: &mut Dice, addresses: &[&str], ports: Value, mut labels: Value) -> Value {
    let mut endpoint = json!({"address": dice.pick(addresses), "ports": ports});
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
