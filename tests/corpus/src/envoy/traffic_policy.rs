//! What a DestinationRule says of a cluster: its own policy with the port's and the subset's, as Istio puts them together.

use super::actions::seconds;
use super::list;
use serde_json::{Value, json};

/// No limit, in Istio's words.
const NO_LIMIT: u64 = u32::MAX as u64;
/// The groups of a policy.
const GROUPS: [&str; 3] = ["connectionPool", "loadBalancer", "outlierDetection"];

/// A policy for one port.
pub struct TrafficPolicy(Value);

impl TrafficPolicy {
    /// The rule's, each group of which a subset may replace. A port's takes the place of all of it, with nothing for what it does not say.
    pub fn new(rule: &Value, subset: &Value, port: u64) -> TrafficPolicy {
        let mut policy = json!({});
        for own in [&rule["trafficPolicy"], &subset["trafficPolicy"]] {
            for group in GROUPS.into_iter().filter(|group| own[group].is_object()) {
                policy[group] = own[group].clone();
            }
            let of_port = list(&own["portLevelSettings"]).iter().find(|one| one["port"]["number"] == port);
            if let Some(of_port) = of_port {
                GROUPS.into_iter().for_each(|group| policy[group] = of_port[group].clone());
            }
        }
        TrafficPolicy(policy)
    }

    /// `loadBalancer`.
    pub fn balancer(&self) -> &Value {
        &self.0["loadBalancer"]
    }

    /// Whether endpoints that fail are left alone.
    pub fn watches(&self) -> bool {
        self.0["outlierDetection"].is_object()
    }

    /// What routes have to hash.
    pub fn hash(&self) -> Option<Value> {
        let hash = &self.balancer()["consistentHash"];
        if let Some(name) = hash["httpHeaderName"].as_str() {
            return Some(json!({"header": {"header_name": name}}));
        }
        if let Some(name) = hash["httpQueryParameterName"].as_str() {
            return Some(json!({"query_parameter": {"name": name}}));
        }
        let cookie = &hash["httpCookie"];
        if cookie.is_object() {
            let mut policy = json!({"name": cookie["name"]});
            if cookie["ttl"].is_string() {
                policy["ttl"] = seconds(&cookie["ttl"]).into();
            }
            for field in ["path", "attributes"] {
                if !cookie[field].is_null() {
                    policy[field] = cookie[field].clone();
                }
            }
            return Some(json!({"cookie": policy}));
        }
        (hash["useSourceIp"] == true).then(|| json!({"connection_properties": {"source_ip": true}}))
    }

    /// `connectionPool`.
    pub fn breakers(&self) -> Value {
        let pool = &self.0["connectionPool"];
        let number = |value: &Value| value.as_u64().unwrap_or(NO_LIMIT);
        json!({
            "max_connections": number(&pool["tcp"]["maxConnections"]),
            "max_pending_requests": number(&pool["http"]["http1MaxPendingRequests"]),
            "max_requests": number(&pool["http"]["http2MaxRequests"]),
            "max_retries": number(&pool["http"]["maxRetries"]),
        })
    }

    /// How long a connection may take to come about.
    pub fn connect_timeout(&self, of_mesh: &Value) -> String {
        let own = &self.0["connectionPool"]["tcp"]["connectTimeout"];
        let said = if own.is_string() { own } else { of_mesh };
        if said.is_string() { seconds(said) } else { "10s".into() }
    }

    /// `outlierDetection`, where there is one. Which share of the endpoints has to be left is a matter of the load balancer.
    pub fn watch(&self, cluster: &mut Value) {
        let rules = &self.0["outlierDetection"];
        if !rules.is_object() {
            return;
        }
        let number = |field: &str, default: u64| rules[field].as_u64().unwrap_or(default);
        let (errors, gateway) = (number("consecutive5xxErrors", 5), number("consecutiveGatewayErrors", 0));
        let time = |field: &str, default: &str| match rules[field].is_string() {
            true => seconds(&rules[field]),
            false => default.to_owned(),
        };
        cluster["outlier_detection"] = json!({
            "consecutive_5xx": errors.max(1),
            "enforcing_consecutive_5xx": if errors > 0 { 100 } else { 0 },
            "consecutive_gateway_failure": gateway.max(1),
            "enforcing_consecutive_gateway_failure": if gateway > 0 { 100 } else { 0 },
            "enforcing_success_rate": 0,
            "interval": time("interval", "10s"),
            "base_ejection_time": time("baseEjectionTime", "30s"),
            "max_ejection_percent": number("maxEjectionPercent", 10),
        });
        cluster["common_lb_config"]["healthy_panic_threshold"] = json!({"value": number("minHealthPercent", 0)});
    }

    /// `warmup`.
    pub fn slow_start(&self) -> Option<Value> {
        let warmup = &self.balancer()["warmup"];
        warmup.is_object().then(|| {
            json!({
                "slow_start_window": seconds(&warmup["duration"]),
                "aggression": {"default_value": warmup["aggression"].as_f64().unwrap_or(1.0), "runtime_key": "aggression"},
                "min_weight_percent": {"value": warmup["minimumPercent"].as_f64().unwrap_or(10.0)},
            })
        })
    }
}
