//! Services and the subsets of their DestinationRules → clusters.

use super::listeners::address;
use super::localities::{Endpoint, locality};
use super::traffic_policy::TrafficPolicy;
use super::{Manifests, full_host, list, name, namespace, text};
use serde_json::{Value, json};

impl Manifests<'_> {
    /// A cluster for each port of each service and host outside that the proxy may know, and for each of its subsets.
    pub fn clusters(&self) -> Vec<Value> {
        let mut clusters = Vec::new();
        for service in self.seen("Service") {
            let host = full_host(name(service), namespace(service));
            let endpoints: Vec<Endpoint> = self.pods(namespace(service), &service["spec"]["selector"]).collect();
            for port in list(&service["spec"]["ports"]) {
                let port = port["port"].as_u64().unwrap_or_default();
                clusters.extend(self.with_subsets(&host, port, &endpoints, "STATIC"));
            }
        }
        for entry in self.seen("ServiceEntry") {
            for port in list(&entry["spec"]["ports"]) {
                let wanted = &entry["spec"]["workloadSelector"]["labels"];
                let resolution = text(&entry["spec"]["resolution"]);
                let endpoints: Vec<Endpoint> = if wanted.is_object() {
                    self.pods(namespace(entry), wanted).chain(self.workloads(entry, wanted, port)).collect()
                } else {
                    list(&entry["spec"]["endpoints"]).iter().filter_map(|one| outside(one, port)).collect()
                };
                for host in list(&entry["spec"]["hosts"]) {
                    // A name without endpoints is its own.
                    let itself = || outside(&json!({"address": host}), port).into_iter().collect();
                    let alone = endpoints.is_empty() && resolution != "STATIC";
                    let endpoints = if alone { &itself() } else { &endpoints };
                    let number = port["number"].as_u64().unwrap_or_default();
                    clusters.extend(self.with_subsets(text(host), number, endpoints, resolution));
                }
            }
        }
        clusters
    }

    fn pods<'s>(&'s self, of: &'s str, wanted: &'s Value) -> impl Iterator<Item = Endpoint> + 's {
        let pods = self.of_kind("Pod").filter(move |pod| namespace(pod) == of);
        pods.filter_map(move |pod| {
            let labels = &pod["metadata"]["labels"];
            let at = *self.addresses.get(name(pod))?;
            has_labels(labels, wanted).then(|| Endpoint {
                at: (at.ip().to_string(), at.port()),
                locality: locality(labels),
                labels: labels.clone(),
                weight: 1,
            })
        })
    }

    /// The WorkloadEntries that an object selects, at one of its ports.
    fn workloads<'s>(
        &'s self,
        by: &'s Value,
        wanted: &'s Value,
        port: &'s Value,
    ) -> impl Iterator<Item = Endpoint> + 's {
        let entries = self.of_kind("WorkloadEntry").filter(move |entry| namespace(entry) == namespace(by));
        let selected = entries.filter(move |entry| has_labels(&entry["spec"]["labels"], wanted));
        selected.filter_map(move |entry| outside(&entry["spec"], port))
    }

    fn with_subsets(&self, host: &str, port: u64, endpoints: &[Endpoint], resolution: &str) -> Vec<Value> {
        let rule = self.rule_of(host);
        let subsets = [&Value::Null].into_iter().chain(list(&rule["subsets"]));
        let cluster = |subset| {
            let mut cluster = self.cluster(host, port, endpoints, rule, subset);
            self.look_up(resolution, &mut cluster);
            cluster
        };
        subsets.map(cluster).collect()
    }

    /// Endpoints with names are found where these are known. Of a name that is looked up for each connection there has to be one.
    fn look_up(&self, resolution: &str, cluster: &mut Value) {
        let Some(dns) = self.dns.filter(|_| resolution != "STATIC") else { return };
        let endpoints = list(&cluster["load_assignment"]["endpoints"]).len();
        let kind = if resolution == "DNS_ROUND_ROBIN" && endpoints == 1 { "LOGICAL_DNS" } else { "STRICT_DNS" };
        cluster["type"] = kind.into();
        cluster["dns_lookup_family"] = "V4_ONLY".into();
        cluster["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [address(&dns.ip().to_string(), dns.port())],
            },
        });
    }

    /// The name of a cluster: Istio's, in the mesh's own space.
    pub fn cluster_name(&self, host: &str, port: u64, subset: &str) -> String {
        format!("{}/{}/outbound|{port}|{subset}|{host}", self.number, self.place.name())
    }

    fn cluster(&self, host: &str, port: u64, endpoints: &[Endpoint], rule: &Value, subset: &Value) -> Value {
        let endpoints: Vec<&Endpoint> =
            endpoints.iter().filter(|one| has_labels(&one.labels, &subset["labels"])).collect();
        let policy = TrafficPolicy::new(rule, subset, port);
        let balancer = policy.balancer();
        let hash = &balancer["consistentHash"];
        let algorithm = match balancer["simple"].as_str() {
            Some(simple) => simple,
            None if hash["maglev"].is_object() => "MAGLEV",
            None if hash.is_object() => "RING_HASH",
            None => "LEAST_REQUEST",
        };
        let cluster_name = self.cluster_name(host, port, text(&subset["name"]));
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
        let services = self.seen("Service").into_iter().map(|one| full_host(name(one), namespace(one)));
        let entries = self.seen("ServiceEntry").into_iter().flat_map(|one| list(&one["spec"]["hosts"]));
        if !services.chain(entries.map(|one| text(one).to_owned())).any(|one| one == host) {
            return None;
        }
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
        let entry = self
            .of_kind("ServiceEntry")
            .find(|entry| list(&entry["spec"]["hosts"]).iter().any(|one| text(one) == host));
        let service = entry.map_or_else(|| host.split('.').nth(1).unwrap_or_default(), namespace);
        let found = rules
            .iter()
            .find(own)
            .or_else(|| general().find(|rule| namespace(rule) == client))
            .or_else(|| general().find(|rule| namespace(rule) == service));
        found.map_or(&Value::Null, |rule| &rule["spec"])
    }
}

/// An endpoint that says itself where it is, by the name of the port or as the port says.
fn outside(endpoint: &Value, port: &Value) -> Option<Endpoint> {
    let own = [&endpoint["ports"][text(&port["name"])], &port["targetPort"], &port["number"]];
    let number = own.into_iter().find_map(Value::as_u64).and_then(|number| u16::try_from(number).ok())?;
    let mut parts = text(&endpoint["locality"]).splitn(3, '/');
    Some(Endpoint {
        at: (text(&endpoint["address"]).to_owned(), number),
        locality: std::array::from_fn(|_| parts.next().unwrap_or_default().to_owned()),
        labels: endpoint["labels"].clone(),
        weight: endpoint["weight"].as_u64().unwrap_or(1),
    })
}

fn has_labels(labels: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
}
