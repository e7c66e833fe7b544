//! The same meshes for Envoy: a listener for every door, with a chain for every server name.

use super::generate::{Door, doors};
use crate::envoy::{Manifests, address, full_host, list, text};
use crate::generate::Place;
use crate::origins::Addresses;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TCP_PROXY: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const TLS_INSPECTOR: &str = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

/// Clusters with their weights.
type Shared = Vec<(String, u64)>;

/// The static config for these meshes.
pub fn config(meshes: &[(String, Addresses)]) -> Value {
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for (number, (yaml, addresses)) in meshes.iter().enumerate() {
        let documents = &crate::yaml::read(yaml);
        let of_place = |place| Manifests { documents, addresses, number, place, dns: None };
        Place::ALL.into_iter().for_each(|place| clusters.extend(of_place(place).clusters()));
        listeners.extend(doors().iter().map(|door| of_place(door.place).door(door)));
    }
    let admin = json!({"address": address("127.0.0.1", 0)});
    json!({"admin": admin, "static_resources": {"listeners": listeners, "clusters": clusters}})
}

impl Manifests<'_> {
    fn door(&self, door: &Door) -> Value {
        let mut listener = json!({
            "name": format!("{}/{}", self.number, door.name()),
            "address": address("127.0.0.1", 0),
        });
        if door.tls {
            let config = json!({"@type": TLS_INSPECTOR});
            listener["listener_filters"] = json!([{"name": "tls_inspector", "typed_config": config}]);
        }
        let mut chains: Vec<Value> = match door.tls {
            true => self
                .names(door)
                .into_iter()
                .map(|(names, to)| json!({"filter_chain_match": {"server_names": names}, "filters": [proxy(to)]}))
                .collect(),
            false => self.bytes(door).into_iter().map(|to| json!({"filters": [proxy(to)]})).collect(),
        };
        if chains.is_empty() {
            // A listener has to have one; this one leads nowhere.
            chains.push(json!({"filters": [proxy(vec![("nowhere".into(), 1)])]}));
        }
        listener["filter_chains"] = chains.into();
        listener
    }

    /// Where all bytes go: the first rule that holds.
    fn bytes(&self, door: &Door) -> Option<Shared> {
        if door.place == Place::Side {
            let route = self.of_kind("TCPRoute").next()?;
            return Some(self.shared_backends(&route["spec"]["rules"][0]));
        }
        let rules = self.services_at(door).flat_map(|service| list(&service["spec"]["tcp"]));
        let holds = |rule: &&Value| list(&rule["match"]).iter().any(|one| self.holds(one, door));
        let rule = rules.into_iter().find(holds).map(|rule| self.shared_destinations(rule));
        let own = || vec![(self.cluster_name(&door.host, door.port.into(), ""), 1)];
        rule.or_else(|| (!door.host.is_empty()).then(own))
    }

    /// Server names and where they lead; the first rule has a name.
    fn names(&self, door: &Door) -> Vec<(Vec<String>, Shared)> {
        let mut taken = BTreeSet::new();
        let mut fresh = |names: &Value| -> Vec<String> {
            let names = list(names).iter().map(|name| text(name).to_owned());
            names.filter(|name| taken.insert(name.clone())).collect()
        };
        let mut chains = Vec::new();
        if door.place == Place::Side {
            for route in self.of_kind("TLSRoute") {
                chains.push((fresh(&route["spec"]["hostnames"]), self.shared_backends(&route["spec"]["rules"][0])));
            }
        } else {
            for rule in self.services_at(door).flat_map(|service| list(&service["spec"]["tls"])) {
                for one in list(&rule["match"]).iter().filter(|one| self.holds(one, door)) {
                    chains.push((fresh(&one["sniHosts"]), self.shared_destinations(rule)));
                }
            }
        }
        chains.retain(|(names, _)| !names.is_empty());
        chains
    }

    /// The VirtualServices at a door.
    fn services_at(&self, door: &Door) -> impl Iterator<Item = &Value> {
        self.of_kind("VirtualService").filter(move |service| {
            let gateways = list(&service["spec"]["gateways"]);
            match door.place {
                Place::Sidecar => {
                    gateways.is_empty() && full_host(text(&service["spec"]["hosts"][0]), "shop") == door.host
                }
                Place::Edge | Place::Side => gateways.iter().any(|gateway| text(gateway) == "edge"),
            }
        })
    }

    fn holds(&self, one: &Value, door: &Door) -> bool {
        let own = if door.place == Place::Sidecar { "mesh" } else { "edge" };
        let gateways = list(&one["gateways"]);
        (gateways.is_empty() || gateways.iter().any(|gateway| text(gateway) == own))
            && one["port"].as_u64().is_none_or(|port| port == u64::from(door.port))
            && one["sourceNamespace"].as_str().is_none_or(|namespace| namespace == "shop")
            && one["sourceLabels"]["app"].as_str().is_none_or(|app| app == "caller")
    }

    fn shared_destinations(&self, rule: &Value) -> Shared {
        let one = |one: &Value| {
            let to = &one["destination"];
            let port = to["port"]["number"].as_u64().unwrap_or_default();
            let cluster = self.cluster_name(&full_host(text(&to["host"]), "shop"), port, text(&to["subset"]));
            (cluster, one["weight"].as_u64().unwrap_or(1))
        };
        list(&rule["route"]).iter().map(one).collect()
    }

    fn shared_backends(&self, rule: &Value) -> Shared {
        let one = |one: &Value| {
            let port = one["port"].as_u64().unwrap_or_default();
            (self.cluster_name(&full_host(text(&one["name"]), "shop"), port, ""), one["weight"].as_u64().unwrap_or(1))
        };
        list(&rule["backendRefs"]).iter().map(one).collect()
    }
}

fn proxy(to: Shared) -> Value {
    let clusters: Vec<Value> = to.iter().map(|(name, weight)| json!({"name": name, "weight": weight})).collect();
    let config = json!({"@type": TCP_PROXY, "stat_prefix": "opaque", "weighted_clusters": {"clusters": clusters}});
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": config})
}
