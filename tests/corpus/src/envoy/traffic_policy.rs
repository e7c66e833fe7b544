//! What a DestinationRule says of endpoints that fail, of limits, and of where endpoints are.

use super::actions::seconds;
use super::listeners::address;
use super::{Manifests, name};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// No limit, in Istio's words.
const NO_LIMIT: u64 = u32::MAX as u64;

/// A rule's policy, and a subset's, each of whose groups takes the place of the rule's.
#[derive(Clone, Copy)]
pub struct TrafficPolicy<'a> {
    pub rule: &'a Value,
    pub subset: &'a Value,
}

impl<'a> TrafficPolicy<'a> {
    fn group(self, group: &str) -> &'a Value {
        let own = &self.subset[group];
        if own.is_object() { own } else { &self.rule[group] }
    }

    /// `connectionPool`.
    pub fn breakers(self) -> Value {
        let pool = self.group("connectionPool");
        let number = |value: &Value| value.as_u64().unwrap_or(NO_LIMIT);
        json!({
            "max_connections": number(&pool["tcp"]["maxConnections"]),
            "max_pending_requests": number(&pool["http"]["http1MaxPendingRequests"]),
            "max_requests": number(&pool["http"]["http2MaxRequests"]),
            "max_retries": number(&pool["http"]["maxRetries"]),
        })
    }

    /// `outlierDetection`, where there is one. Which share of the endpoints has to be left is a matter of the load balancer.
    pub fn watch(self, cluster: &mut Value) {
        let rules = self.group("outlierDetection");
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
        cluster["common_lb_config"] = json!({"healthy_panic_threshold": {"value": number("minHealthPercent", 0)}});
    }

    /// `warmup`.
    pub fn slow_start(self) -> Option<Value> {
        let warmup = &self.group("loadBalancer")["warmup"];
        warmup.is_object().then(|| {
            json!({
                "slow_start_window": seconds(&warmup["duration"]),
                "aggression": {"default_value": warmup["aggression"].as_f64().unwrap_or(1.0), "runtime_key": "aggression"},
                "min_weight_percent": {"value": warmup["minimumPercent"].as_f64().unwrap_or(10.0)},
            })
        })
    }
}

impl Manifests<'_> {
    /// Endpoints by how near they are to the caller, where those that fail are left alone; else all alike.
    pub fn by_priority(&self, pods: &[&Value], policy: TrafficPolicy<'_>) -> Vec<Value> {
        let watched = policy.group("outlierDetection").is_object();
        let caller = self.of_kind("Pod").find(|pod| name(pod) == "caller").map(locality).unwrap_or_default();
        let mut near: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        for pod in pods {
            let there = locality(pod);
            let shared = caller.iter().zip(&there).take_while(|(here, there)| here == there).count();
            let at = self.addresses[name(pod)];
            let endpoint = json!({"endpoint": {"address": address(&at.ip().to_string(), at.port())}});
            near.entry(if watched { caller.len() - shared } else { 0 }).or_default().push(endpoint);
        }
        let groups = near.into_values().enumerate();
        groups.map(|(priority, endpoints)| json!({"priority": priority, "lb_endpoints": endpoints})).collect()
    }
}

/// Region, zone and subzone.
fn locality(pod: &Value) -> Vec<String> {
    let text = pod["metadata"]["labels"]["topology.istio.io/locality"].as_str().unwrap_or_default();
    let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    parts.resize(3, String::new());
    parts
}
