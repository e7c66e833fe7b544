//! Services and the subsets of their DestinationRules → clusters.

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
        format!("{}/outbound|{port}|{subset}|{host}", self.number)
    }

    fn cluster(&self, service: &Value, port: u64, rule: &Value, subset: &Value) -> Value {
        let host = full_host(name(service), namespace(service));
        let pods = self.of_kind("Pod").filter(|pod| {
            namespace(pod) == namespace(service)
                && has_labels(pod, &service["spec"]["selector"])
                && has_labels(pod, &subset["labels"])
        });
        let pods: Vec<&Value> = pods.filter(|pod| self.addresses.contains_key(name(pod))).collect();
        let policy = TrafficPolicy { rule: &rule["trafficPolicy"], subset: &subset["trafficPolicy"] };
        let balancer = balancer(rule, subset);
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
            "connect_timeout": "10s",
            "lb_policy": algorithm,
            "load_assignment": {"cluster_name": cluster_name, "endpoints": self.by_priority(&pods, policy)},
            "circuit_breakers": {"thresholds": [policy.breakers()]},
        });
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
    pub fn hash_policy(&self, host: &str, subset: &str) -> Option<Value> {
        let rule = self.rule_of(host);
        let subset = list(&rule["subsets"]).iter().find(|one| one["name"] == *subset).unwrap_or(&Value::Null);
        let hash = &balancer(rule, subset)["consistentHash"];
        if let Some(name) = hash["httpHeaderName"].as_str() {
            return Some(json!({"header": {"header_name": name}}));
        }
        if let Some(name) = hash["httpQueryParameterName"].as_str() {
            return Some(json!({"query_parameter": {"name": name}}));
        }
        (hash["useSourceIp"] == true).then(|| json!({"connection_properties": {"source_ip": true}}))
    }

    /// The `spec` of a host's DestinationRule.
    fn rule_of(&self, host: &str) -> &Value {
        let mut rules = self.of_kind("DestinationRule");
        let rule = rules.find(|rule| full_host(text(&rule["spec"]["host"]), namespace(rule)) == host);
        rule.map_or(&Value::Null, |rule| &rule["spec"])
    }
}

/// A subset's `loadBalancer` takes the place of the rule's.
fn balancer<'a>(rule: &'a Value, subset: &'a Value) -> &'a Value {
    let [own, general] = [subset, rule].map(|of| &of["trafficPolicy"]["loadBalancer"]);
    if own.is_object() { own } else { general }
}

fn has_labels(pod: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
}
