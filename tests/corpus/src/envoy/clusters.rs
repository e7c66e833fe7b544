//! Services and the subsets of their DestinationRules → clusters.

use super::{Manifests, full_host, list, name, namespace, text};
use serde_json::{Value, json};

impl Manifests<'_> {
    /// A cluster for each port of each service, and for each of its subsets.
    pub fn clusters(&self) -> Vec<Value> {
        let mut clusters = Vec::new();
        for service in self.of_kind("Service") {
            let host = full_host(name(service), namespace(service));
            let rule = self
                .of_kind("DestinationRule")
                .find(|rule| full_host(text(&rule["spec"]["host"]), namespace(rule)) == host);
            let null = Value::Null;
            let rule = rule.map_or(&null, |rule| &rule["spec"]);
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
        let endpoints: Vec<Value> = self
            .of_kind("Pod")
            .filter(|pod| namespace(pod) == namespace(service))
            .filter(|pod| has_labels(pod, &service["spec"]["selector"]) && has_labels(pod, &subset["labels"]))
            .filter_map(|pod| self.addresses.get(name(pod)))
            .map(|at| json!({"endpoint": {"address": super::listeners::address(&at.ip().to_string(), at.port())}}))
            .collect();
        let simple = |policy: &Value| policy["loadBalancer"]["simple"].as_str().map(str::to_owned);
        let balance = simple(&subset["trafficPolicy"]).or_else(|| simple(&rule["trafficPolicy"]));
        let cluster_name = self.cluster_name(&host, port, text(&subset["name"]));
        json!({
            "name": cluster_name,
            "type": "STATIC",
            "connect_timeout": "10s",
            "lb_policy": balance.unwrap_or_else(|| "LEAST_REQUEST".into()),
            "load_assignment": {"cluster_name": cluster_name, "endpoints": [{"lb_endpoints": endpoints}]},
        })
    }
}

fn has_labels(pod: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
}
