//! VirtualService → routes, in the order of its rules.

use super::actions::{cors_policy, direct_response, fault, mirror_policy, redirect, retry_policy, seconds};
use super::edits::Edits;
use super::sight::full_gateway;
use super::{Manifests, full_host, list, namespace, text};
use serde_json::{Value, json};

/// The port of every place.
pub const PORT: u64 = 80;

impl Manifests<'_> {
    /// What a VirtualService says at `mesh` or a gateway, down to what matches everything: nothing comes behind that, whatever is added later.
    pub fn virtual_service(&self, service: &Value, gateway: &str) -> Vec<Value> {
        let mut routes = Vec::new();
        for rule in &self.rules(service) {
            let all = [json!({})];
            let matches = if rule["match"].is_null() { &all[..] } else { list(&rule["match"]) };
            for one in matches.iter().filter(|one| self.applies(service, one, gateway)) {
                let mut route = self.act(service, rule);
                route["match"] = condition(one);
                route["name"] = rule["name"].as_str().unwrap_or_default().into();
                let last = is_catch_all(&route);
                routes.push(route);
                if last {
                    return routes;
                }
            }
        }
        routes
    }

    fn act(&self, service: &Value, rule: &Value) -> Value {
        let mut edits = Edits::default();
        let mut authority = edits.read(&rule["headers"]);
        let mut route = if rule["redirect"].is_object() {
            json!({"redirect": redirect(&rule["redirect"])})
        } else if rule["directResponse"].is_object() {
            json!({"direct_response": direct_response(&rule["directResponse"])})
        } else {
            let mut action = json!({"timeout": seconds(&rule["timeout"])});
            match list(&rule["route"]) {
                // The weight of a single destination does not count, and its edits come after the rule's.
                [one] => {
                    action["cluster"] = self.destination(service, one).into();
                    let set = edits.read(&one["headers"]);
                    authority = authority.or(set);
                }
                several => {
                    let weighted = several.iter().filter(|one| one["weight"] != 0);
                    let clusters: Vec<Value> = weighted.map(|one| self.weighted(service, one)).collect();
                    action["weighted_clusters"] = json!({"clusters": clusters});
                }
            }
            if let Some(policy) = self.retry_policy(&rule["retries"]) {
                action["retry_policy"] = policy;
            }
            if let Some(uri) = rule["rewrite"]["uri"].as_str() {
                action["prefix_rewrite"] = uri.into();
            }
            if let Some(pattern) = rule["rewrite"]["uriRegexRewrite"]["match"].as_str() {
                let new = &rule["rewrite"]["uriRegexRewrite"]["rewrite"];
                action["regex_rewrite"] = json!({"pattern": {"regex": pattern}, "substitution": new});
            }
            action["request_mirror_policies"] = self.mirrors(service, rule).into();
            let all = list(&rule["route"]);
            let to = all.iter().filter(|one| all.len() == 1 || one["weight"] != 0).map(|one| self.target(service, one));
            action["hash_policy"] =
                to.filter_map(|(host, port, subset)| self.hash_policy(&host, port, &subset)).collect();
            let authority = rule["rewrite"]["authority"].as_str().map(str::to_owned).or(authority);
            if let Some(authority) = authority {
                action["host_rewrite_literal"] = authority.into();
            }
            json!({"route": action})
        };
        edits.write(&mut route);
        let mut filters = json!({});
        if rule["fault"].is_object() {
            filters["envoy.filters.http.fault"] = fault(&rule["fault"]);
        }
        if rule["corsPolicy"].is_object() {
            filters["envoy.filters.http.cors"] = cors_policy(&rule["corsPolicy"]);
        }
        route["typed_per_filter_config"] = filters;
        route
    }

    /// The rule's own, else the mesh's, else Istio's.
    pub fn retry_policy(&self, retries: &Value) -> Option<Value> {
        if retries.is_null() {
            retry_policy(&self.mesh_config()["defaultHttpRetryPolicy"])
        } else {
            retry_policy(retries)
        }
    }

    fn weighted(&self, service: &Value, destination: &Value) -> Value {
        let mut edits = Edits::default();
        edits.read(&destination["headers"]);
        let mut cluster = json!({"name": self.destination(service, destination), "weight": destination["weight"]});
        edits.write(&mut cluster);
        cluster
    }

    /// Who gets copies: of all requests, where nothing else is said.
    fn mirrors(&self, service: &Value, rule: &Value) -> Vec<Value> {
        let copy = |to: &Value, percentage: &Value| {
            let cluster = self.destination(service, &json!({"destination": to}));
            let millionths = percentage["value"].as_f64().unwrap_or(100.0) * 10_000.0;
            mirror_policy(&cluster, millionths as u64)
        };
        let one = rule["mirror"].is_object().then(|| copy(&rule["mirror"], &rule["mirrorPercentage"]));
        let several = list(&rule["mirrors"]).iter().map(|mirror| copy(&mirror["destination"], &mirror["percentage"]));
        one.into_iter().chain(several).collect()
    }

    /// Port, gateways and who sends on are decided before any request comes.
    fn applies(&self, service: &Value, one: &Value, gateway: &str) -> bool {
        let gateways = list(&one["gateways"]);
        let (own, labels) = self.client();
        let wanted = one["sourceLabels"].as_object().into_iter().flatten();
        one["port"].as_u64().is_none_or(|port| port == PORT)
            && (gateways.is_empty() || gateways.iter().any(|g| full_gateway(text(g), namespace(service)) == gateway))
            && one["sourceNamespace"].as_str().is_none_or(|namespace| namespace == own)
            && wanted.into_iter().all(|(name, value)| labels[name] == *value)
    }

    /// Host, port and subset of a destination.
    fn target(&self, service: &Value, destination: &Value) -> (String, u64, String) {
        let to = &destination["destination"];
        let port = to["port"]["number"].as_u64().unwrap_or(PORT);
        (full_host(text(&to["host"]), namespace(service)), port, text(&to["subset"]).to_owned())
    }

    fn destination(&self, service: &Value, destination: &Value) -> String {
        let (host, port, subset) = self.target(service, destination);
        self.cluster_name(&host, port, &subset)
    }
}

/// A prefix `/` and nothing else.
pub fn is_catch_all(route: &Value) -> bool {
    let one = &route["match"];
    one["prefix"] == "/" && list(&one["headers"]).is_empty() && list(&one["query_parameters"]).is_empty()
}

fn condition(one: &Value) -> Value {
    let mut condition = match one["uri"].as_object().and_then(|uri| uri.iter().next()) {
        Some((kind, value)) if kind == "exact" => json!({"path": value}),
        Some((kind, value)) if kind == "prefix" => json!({"prefix": value}),
        Some((_, value)) => json!({"safe_regex": {"regex": value}}),
        None => json!({"prefix": "/"}),
    };
    condition["case_sensitive"] = (one["ignoreUriCase"] != true).into();
    let mut headers = Vec::new();
    for (field, inverted) in [("headers", false), ("withoutHeaders", true)] {
        for (name, value) in one[field].as_object().into_iter().flatten() {
            let mut header = value_condition(name, value);
            header["invert_match"] = inverted.into();
            // Where the header is missing, what it may not be does not matter.
            if inverted && header["present_match"].is_null() {
                header["treat_missing_header_as_empty"] = true.into();
            }
            headers.push(header);
        }
    }
    for (field, pseudo) in [("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme")] {
        if one[field].is_object() {
            headers.push(value_condition(pseudo, &one[field]));
        }
    }
    condition["headers"] = headers.into();
    let query = one["queryParams"].as_object().into_iter().flatten();
    condition["query_parameters"] = query.map(|(name, value)| value_condition(name, value)).collect::<Vec<_>>().into();
    condition
}

/// On a header or a query parameter; without a word it has to be there.
pub fn value_condition(name: &str, condition: &Value) -> Value {
    match condition.as_object().and_then(|condition| condition.iter().next()) {
        None => json!({"name": name, "present_match": true}),
        Some((kind, value)) if kind == "regex" => {
            json!({"name": name, "string_match": {"safe_regex": {"regex": value}}})
        }
        Some((kind, value)) => json!({"name": name, "string_match": {kind: value}}),
    }
}
