//! Services and the subsets of their DestinationRules → clusters.

use super::localities::{Endpoint, locality};
use super::traffic_policy::TrafficPolicy;
use super::{Manifests, full_host, list, name, namespace, text};
use serde_json::{Value, json};

impl Manifests<'_> {
    /// A cluster for each port of each service, and for each of its subsets.
    pub fn clusters(&self) -> Vec<Value> {
        let mut clusters = Vec::new();
        for service in self.of_kind("Service") {
            let host = full_host(name(service), namespace(service));
            let rule = self.rule_of(&host);
            for port in list(&service["spec"]["ports"]) {
                let port = port["port"].as_u64().unwrap_or_default();
                clusters.push(self.cluster(service, port, rule, &Value::Null));
                clusters.extend(list(&rule["subsets"]).iter().map(|subset| self.cluster(service, port, rule, subset)));
            }
        }
        clusters
    }

    /// The name of a cluster: Istio's, in the mesh's own space.
    pub fn cluster_name(&self, host: &str, port: u64, subset: &str) -> String {
        format!("{}/{}/outbound|{port}|{subset}|{host}", self.number, self.place.name())
    }

    fn cluster(&self, service: &Value, port: u64, rule: &Value, subset: &Value) -> Value {
        let host = full_host(name(service), namespace(service));
        let pods = self.of_kind("Pod").filter(|pod| {
            namespace(pod) == namespace(service)
                && has_labels(pod, &service["spec"]["selector"])
                && has_labels(pod, &subset["labels"])
        });
        let endpoints: Vec<Endpoint> = pods
            .filter_map(|pod| {
                let labels = &pod["metadata"]["labels"];
                let at = *self.addresses.get(name(pod))?;
                Some(Endpoint { at, locality: locality(labels), labels: labels.clone() })
            })
            .collect();
        let policy = TrafficPolicy::new(rule, subset, port);
        let balancer = policy.balancer();
        let hash = &balancer["consistentHash"];
        let algorithm = match balancer["simple"].as_str() {
            Some(simple) => simple,
            None if hash["maglev"].is_object() => "MAGLEV",
            None if hash.is_object() => "RING_HASH",
            None => "LEAST_REQUEST",
        };
        let cluster_name = self.cluster_name(&host, port, text(&subset["name"]));
        let mut cluster = json!({
            "name": cluster_name,
            "type": "STATIC",
            "connect_timeout": policy.connect_timeout(&self.mesh_config()["connectTimeout"]),
            "lb_policy": algorithm,
            "load_assignment": {"cluster_name": cluster_name},
            "circuit_breakers": {"thresholds": [policy.breakers()]},
        });
        self.place(&endpoints, &policy, &mut cluster);
        policy.watch(&mut cluster);
        if let Some(slow_start) = policy.slow_start() {
            let config = if algorithm == "ROUND_ROBIN" { "round_robin_lb_config" } else { "least_request_lb_config" };
            cluster[config] = json!({"slow_start_config": slow_start});
        }
        if algorithm == "MAGLEV" {
            cluster["maglev_lb_config"] = json!({"table_size": hash["maglev"]["tableSize"]});
        }
        if algorithm == "RING_HASH" {
            let size = hash["ringHash"]["minimumRingSize"].as_u64().unwrap_or(1024);
            cluster["ring_hash_lb_config"] = json!({"minimum_ring_size": size});
        }
        cluster
    }

    /// What routes to a destination have to hash.
    pub fn hash_policy(&self, host: &str, port: u64, subset: &str) -> Option<Value> {
        let rule = self.rule_of(host);
        let subset = list(&rule["subsets"]).iter().find(|one| one["name"] == *subset).unwrap_or(&Value::Null);
        TrafficPolicy::new(rule, subset, port).hash()
    }

    /// The `spec` of a host's DestinationRule: one of the client's namespace, first one for such clients, else one of the service's, as far as the
    /// client may see it.
    fn rule_of(&self, host: &str) -> &Value {
        let (client, labels) = self.client();
        let rules: Vec<&Value> = self
            .of_kind("DestinationRule")
            .filter(|rule| full_host(text(&rule["spec"]["host"]), namespace(rule)) == host)
            .filter(|rule| {
                let to = list(&rule["spec"]["exportTo"]);
                let seen = |to: &Value| text(to) == "*" || text(to) == client;
                namespace(rule) == client || to.is_empty() || to.iter().any(seen)
            })
            .collect();
        let selector = |rule: &Value| rule["spec"]["workloadSelector"]["matchLabels"].clone();
        let own = |rule: &&&Value| {
            let wanted = selector(rule);
            wanted.is_object()
                && namespace(rule) == client
                && wanted.as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
        };
        let general = || rules.iter().filter(|rule| !selector(rule).is_object());
        let service = host.split('.').nth(1).unwrap_or_default();
        let found = rules
            .iter()
            .find(own)
            .or_else(|| general().find(|rule| namespace(rule) == client))
            .or_else(|| general().find(|rule| namespace(rule) == service));
        found.map_or(&Value::Null, |rule| &rule["spec"])
    }
}

fn has_labels(pod: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
}
