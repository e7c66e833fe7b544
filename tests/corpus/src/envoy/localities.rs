//! Endpoints by where they are, and what a DestinationRule says of that.

use super::listeners::address;
use super::traffic_policy::TrafficPolicy;
use super::{Manifests, list, name, text};
use crate::generate::{LOCALITY, Place};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An endpoint with where it is and its labels.
pub struct Endpoint {
    /// Address or name, and port.
    pub at: (String, u16),
    pub locality: Locality,
    pub labels: Value,
    pub weight: u64,
}

/// Region, zone and subzone.
pub type Locality = [String; 3];

impl Manifests<'_> {
    /// Puts endpoints into a cluster: by how near they are where those that fail are left alone, by shares of localities where there are some, else all
    /// alike.
    pub fn place(&self, endpoints: &[&Endpoint], policy: &TrafficPolicy, cluster: &mut Value) {
        let of_mesh = &self.mesh_config()["localityLbSetting"];
        let own = &policy.balancer()["localityLbSetting"];
        let setting = if own.is_object() { own } else { of_mesh };
        let off = setting["enabled"] == false;
        let here = match self.place {
            Place::Sidecar => self.of_kind("Pod").find(|pod| name(pod) == "caller"),
            Place::Edge | Place::Side => None,
        };
        let labels = here.map_or(&Value::Null, |pod| &pod["metadata"]["labels"]);
        let here = locality(labels);
        let distribute = list(&setting["distribute"]);
        let groups: Vec<Value> = if !off && !distribute.is_empty() {
            cluster["common_lb_config"]["locality_weighted_lb_config"] = json!({});
            by_share(endpoints, &here, distribute)
        } else if !off && policy.watches() {
            by_priority(endpoints, |endpoint| match &setting["failoverPriority"] {
                Value::Array(wanted) => {
                    let fits = |wanted: &&Value| label(labels, &here, text(wanted)).fits(endpoint);
                    wanted.len() - wanted.iter().take_while(fits).count()
                }
                _ => distance(&here, endpoint, list(&setting["failover"])),
            })
        } else {
            by_priority(endpoints, |_| 0)
        };
        cluster["load_assignment"]["endpoints"] = groups.into();
    }
}

/// Where something with these labels is.
pub fn locality(labels: &Value) -> Locality {
    let mut parts = text(&labels[LOCALITY]).splitn(3, '.');
    std::array::from_fn(|_| parts.next().unwrap_or_default().to_owned())
}

fn by_priority(endpoints: &[&Endpoint], priority: impl Fn(&Endpoint) -> usize) -> Vec<Value> {
    let mut near: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for endpoint in endpoints {
        near.entry(priority(endpoint)).or_default().push(lb_endpoint(endpoint));
    }
    let groups = near.into_values().enumerate();
    groups.map(|(priority, endpoints)| json!({"priority": priority, "lb_endpoints": endpoints})).collect()
}

/// 0 for the same subzone, 3 for another region; 4 where another one is named to fail over to.
fn distance(here: &Locality, endpoint: &Endpoint, failover: &[Value]) -> usize {
    let shared = here.iter().zip(&endpoint.locality).take_while(|(here, there)| here == there).count();
    let far = here.len() - shared;
    let instead = failover.iter().find(|one| text(&one["from"]) == here[0]);
    far + usize::from(shared == 0 && instead.is_some_and(|one| text(&one["to"]) != endpoint.locality[0]))
}

/// Localities with the weights that the first setting for this place gives them; those that it does not name get nothing.
fn by_share(endpoints: &[&Endpoint], here: &Locality, settings: &[Value]) -> Vec<Value> {
    let mut groups: BTreeMap<&Locality, Vec<Value>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry(&endpoint.locality).or_default().push(lb_endpoint(endpoint));
    }
    let mut weights: BTreeMap<&Locality, f64> = BTreeMap::new();
    for endpoint in endpoints {
        *weights.entry(&endpoint.locality).or_default() += endpoint.weight as f64;
    }
    if let Some(setting) = settings.iter().find(|one| covers(text(&one["from"]), here)) {
        let sizes = std::mem::take(&mut weights);
        for (pattern, share) in setting["to"].as_object().into_iter().flatten() {
            let met: Vec<_> = sizes
                .iter()
                .filter(|(locality, _)| !weights.contains_key(*locality) && covers(pattern, locality))
                .collect();
            let total: f64 = met.iter().map(|(_, size)| **size).sum();
            let share = share.as_f64().unwrap_or(0.0);
            weights.extend(met.iter().map(|(locality, size)| (**locality, (*size * share / total).ceil())));
        }
    }
    let group = |(locality, endpoints): (&Locality, Vec<Value>)| {
        let weight = weights.get(locality).copied().filter(|weight| *weight > 0.0)?;
        let [region, zone, sub_zone] = locality;
        Some(json!({
            "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
            "load_balancing_weight": weight as u64,
            "lb_endpoints": endpoints,
        }))
    };
    groups.into_iter().filter_map(group).collect()
}

/// `region/zone/subzone`, each of which may be `*`, and the last ones left out.
fn covers(pattern: &str, locality: &Locality) -> bool {
    pattern.split('/').zip(locality).all(|(wanted, part)| wanted == "*" || wanted == part)
}

/// A label to be compared, with the value that endpoints should have.
struct Label<'a> {
    name: &'a str,
    value: String,
}

/// `name`, with the value that it has here, or `name=value`.
fn label<'a>(labels: &Value, here: &Locality, wanted: &'a str) -> Label<'a> {
    match wanted.split_once('=') {
        Some((name, value)) => Label { name, value: value.into() },
        None => Label { name: wanted, value: value_of(labels, here, wanted).to_owned() },
    }
}

impl Label<'_> {
    fn fits(&self, endpoint: &Endpoint) -> bool {
        value_of(&endpoint.labels, &endpoint.locality, self.name) == self.value
    }
}

/// The parts of a locality are labels too.
fn value_of<'a>(labels: &'a Value, [region, zone, _]: &'a Locality, name: &str) -> &'a str {
    match name {
        "topology.kubernetes.io/region" => region,
        "topology.kubernetes.io/zone" => zone,
        _ => text(&labels[name]),
    }
}

fn lb_endpoint(endpoint: &Endpoint) -> Value {
    let at = address(&endpoint.at.0, endpoint.at.1);
    json!({"endpoint": {"address": at}, "load_balancing_weight": endpoint.weight})
}
