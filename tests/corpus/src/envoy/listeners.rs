//! Gateways and the sidecar → listeners with their virtual hosts.

use super::sight::{common_hosts, full_gateway};
use super::virtual_service::{PORT, is_catch_all};
use super::{Manifests, full_host, list, name, namespace, text};
use crate::generate::Place;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
/// The filters of a place, in Istio's order.
const FILTERS: [(&str, &str); 3] = [
    ("envoy.filters.http.fault", "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"),
    ("envoy.filters.http.cors", "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"),
    ("envoy.filters.http.router", "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"),
];

impl Manifests<'_> {
    /// The place's, on a free port.
    pub fn listener(&self) -> Value {
        let place = self.place;
        let hosts = match place {
            Place::Edge => self.edge_hosts(),
            Place::Side => self.side_hosts(),
            Place::Sidecar => self.sidecar_hosts(),
        };
        let gateway = place != Place::Sidecar;
        let topology = &self.mesh_config()["defaultConfig"]["gatewayTopology"];
        let trusted = topology["numTrustedProxies"].as_u64().filter(|_| gateway).unwrap_or(0);
        let listener_name = format!("{}/{}", self.number, place.name());
        // A gateway stands at the edge: it believes no client about who it is, and its hosts hold on every port.
        let manager = json!({
            "@type": MANAGER,
            "stat_prefix": listener_name,
            "use_remote_address": gateway,
            "xff_num_trusted_hops": trusted,
            "normalize_path": true,
            "route_config": {
                "name": listener_name,
                "virtual_hosts": hosts,
                "validate_clusters": false,
                "ignore_port_in_host_matching": gateway,
            },
            "http_filters": FILTERS.map(|(name, kind)| json!({"name": name, "typed_config": {"@type": kind}})),
        });
        let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        json!({"name": listener_name, "address": address("127.0.0.1", 0), "filter_chains": [{"filters": [filter]}]})
    }

    /// The Gateways' hosts: server by server, then VirtualService by VirtualService. What is for everything comes last.
    fn edge_hosts(&self) -> Vec<Value> {
        let mut by_host: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for gateway in self.seen("Gateway").into_iter().filter(|one| one["spec"]["selector"]["istio"] == "edge") {
            let own_name = full_gateway(name(gateway), namespace(gateway));
            let at_port = list(&gateway["spec"]["servers"]).iter().filter(|server| server["port"]["number"] == PORT);
            for server in at_port {
                for service in self.seen("VirtualService") {
                    let named = |one: &Value| full_gateway(text(one), namespace(service)) == own_name;
                    if !list(&service["spec"]["gateways"]).iter().any(named) {
                        continue;
                    }
                    let routes = self.virtual_service(service, &own_name);
                    for host in common_hosts(server, gateway, service, &hosts_of(service)) {
                        by_host.entry(host).or_default().extend(routes.iter().cloned());
                    }
                }
            }
        }
        let host = |(host, mut routes): (String, Vec<Value>)| {
            routes.sort_by_key(is_catch_all);
            virtual_host(&[host], routes)
        };
        by_host.into_iter().map(host).collect()
    }

    fn side_hosts(&self) -> Vec<Value> {
        let mut by_host: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for route in self.of_kind("HTTPRoute") {
            if list(&route["spec"]["parentRefs"])
                .iter()
                .any(|parent| parent["kind"].is_null() && parent["name"] == "side")
            {
                for host in list(&route["spec"]["hostnames"]) {
                    by_host.entry(text(host).to_lowercase()).or_default().push(route);
                }
            }
        }
        by_host.into_iter().map(|(host, routes)| virtual_host(&[host], self.http_routes(&routes))).collect()
    }

    /// Services by all their names, then what only VirtualServices know. An authority may say the port.
    fn sidecar_hosts(&self) -> Vec<Value> {
        let with_port = |names: Vec<String>, port: u64| -> Vec<String> {
            let one = |name: String| match port {
                PORT => vec![format!("{name}:{PORT}"), name],
                _ => vec![format!("{name}:{port}")],
            };
            names.into_iter().flat_map(one).collect()
        };
        let in_mesh = |service: &&Value| {
            let gateways = list(&service["spec"]["gateways"]);
            gateways.is_empty() || gateways.iter().any(|gateway| text(gateway) == "mesh")
        };
        let rules: Vec<&Value> = self.seen("VirtualService").into_iter().filter(in_mesh).collect();
        let mut hosts = Vec::new();
        let mut known = Vec::new();
        let services = self.seen("Service").into_iter().map(|service| {
            let (name, namespace) = (name(service), namespace(service));
            let host = full_host(name, namespace);
            let mut names = vec![host.clone(), format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")];
            if namespace == "shop" {
                names.push(name.into());
            }
            (host, names, name, namespace, PORT)
        });
        let outside = self.seen("ServiceEntry").into_iter().flat_map(|entry| {
            let port = entry["spec"]["ports"][0]["number"].as_u64().unwrap_or(PORT);
            let one = move |host| (text(host).to_owned(), vec![text(host).to_owned()], "", namespace(entry), port);
            list(&entry["spec"]["hosts"]).iter().map(one)
        });
        for (host, names, name, of, port) in services.chain(outside) {
            known.push(host.clone());
            if !self.in_scope(of, &host) {
                continue;
            }
            let attached: Vec<&Value> = self
                .of_kind("HTTPRoute")
                .filter(|route| {
                    list(&route["spec"]["parentRefs"])
                        .iter()
                        .any(|parent| parent["kind"] == "Service" && parent["name"] == name)
                })
                .collect();
            let routes = match rules.iter().find(|rule| hosts_of(rule).contains(&host)) {
                Some(rule) => self.virtual_service(rule, "mesh"),
                None if !attached.is_empty() => self.http_routes(&attached),
                None => vec![json!({
                    "match": {"prefix": "/"},
                    "route": {
                        "cluster": self.cluster_name(&host, port, ""),
                        "timeout": "0s",
                        "hash_policy": self.hash_policy(&host, port, "").into_iter().collect::<Vec<_>>(),
                        "retry_policy": self.retry_policy(&Value::Null),
                    },
                })],
            };
            hosts.push(virtual_host(&with_port(names, port), routes));
        }
        for rule in rules {
            let own = hosts_of(rule).into_iter().filter(|host| self.in_scope(namespace(rule), host));
            let unknown: Vec<String> = own.filter(|host| !known.contains(host)).collect();
            if !unknown.is_empty() {
                known.extend(unknown.iter().cloned());
                hosts.push(virtual_host(&with_port(unknown, PORT), self.virtual_service(rule, "mesh")));
            }
        }
        // Nobody declares them, and nobody is asked.
        let block_all = json!({"match": {"prefix": "/"}, "direct_response": {"status": 502}, "name": "block_all"});
        hosts.push(virtual_host(&["*".into()], vec![block_all]));
        hosts
    }
}

/// An address in Envoy's words.
pub fn address(ip: &str, port: u16) -> Value {
    json!({"socket_address": {"address": ip, "port_value": port}})
}

fn hosts_of(service: &Value) -> Vec<String> {
    list(&service["spec"]["hosts"]).iter().map(|host| full_host(text(host), namespace(service))).collect()
}

fn virtual_host(domains: &[String], routes: Vec<Value>) -> Value {
    json!({"name": domains[0], "domains": domains, "routes": routes, "include_request_attempt_count": true})
}
