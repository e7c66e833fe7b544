//! HTTPRoutes of one host → routes, the most specific match first.

use super::actions::{cors_policy, mirror_policy, redirect_code};
use super::edits::{Edits, header};
use super::virtual_service::value_condition;
use super::{Manifests, full_host, list, name, namespace, text};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// Seconds that a preflight's answer holds, where a CORS filter does not say it.
const CORS_MAX_AGE: u64 = 5;

impl Manifests<'_> {
    /// What these routes say together.
    pub fn http_routes(&self, attached: &[&Value]) -> Vec<Value> {
        let mut attached = attached.to_vec();
        attached.sort_by_key(|route| (text(&route["metadata"]["creationTimestamp"]), namespace(route), name(route)));
        let mut routes = Vec::new();
        for route in attached {
            for rule in list(&route["spec"]["rules"]) {
                let all = [json!({})];
                let matches = if rule["matches"].is_null() { &all[..] } else { list(&rule["matches"]) };
                for one in matches {
                    let mut made = self.rule(route, rule, one);
                    made["match"] = condition(one);
                    routes.push((precedence(one), made));
                }
            }
        }
        routes.sort_by(|a, b| a.0.cmp(&b.0));
        routes.into_iter().map(|(_, route)| route).collect()
    }

    fn rule(&self, route: &Value, rule: &Value, one: &Value) -> Value {
        let mut edits = Edits::default();
        let mut authority = modifiers(&rule["filters"], &mut edits);
        let filter = |kind: &str, field: &str| {
            list(&rule["filters"]).iter().find(|f| f["type"] == kind).map(|f| f[field].clone())
        };
        let mut made = if let Some(redirect) = filter("RequestRedirect", "requestRedirect") {
            json!({"redirect": redirect_action(&redirect, one)})
        } else {
            let timeout = rule["timeouts"]["request"].as_str().unwrap_or("0s");
            let mut action = json!({"timeout": timeout, "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"});
            self.backends(route, rule, &mut action, &mut edits);
            let mirrors = list(&rule["filters"]).iter().filter(|f| f["type"] == "RequestMirror");
            let copy = |filter: &Value| {
                let mirror = &filter["requestMirror"];
                let percent = mirror["percent"].as_u64().unwrap_or(100);
                mirror_policy(&self.backend(route, &mirror["backendRef"]), percent * 10_000)
            };
            action["request_mirror_policies"] = mirrors.map(copy).collect();
            let to = list(&rule["backendRefs"]).iter().filter(|one| one["weight"] != 0);
            let hash = |one: &Value| self.hash_policy(&self.backend_host(route, one), one["port"].as_u64()?, "");
            action["hash_policy"] = to.filter_map(hash).collect();
            action["retry_policy"] = self.retry_policy(&in_istio_s_words(&rule["retry"])).unwrap_or_default();
            if let Some(rewrite) = filter("URLRewrite", "urlRewrite") {
                authority = rewrite["hostname"].as_str().map(str::to_owned).or(authority);
                rewrite_path(&rewrite["path"], one, &mut action);
            }
            if let Some(authority) = authority {
                action["host_rewrite_literal"] = authority.into();
            }
            json!({"route": action})
        };
        edits.write(&mut made);
        if let Some(cors) = filter("CORS", "cors") {
            made["typed_per_filter_config"]["envoy.filters.http.cors"] = cors_policy(&istio_cors(&cors));
        }
        made
    }

    fn backends(&self, route: &Value, rule: &Value, action: &mut Value, edits: &mut Edits) {
        match list(&rule["backendRefs"]) {
            [one] if one["weight"] != 0 => {
                action["cluster"] = self.backend(route, one).into();
                modifiers(self.filters(route, one), edits);
            }
            several => {
                let weight = |one: &Value| one["weight"].as_u64().unwrap_or(1);
                let clusters: Vec<Value> = several
                    .iter()
                    .filter(|one| weight(one) > 0)
                    .map(|one| {
                        let mut own = Edits::default();
                        modifiers(self.filters(route, one), &mut own);
                        let mut cluster = json!({"name": self.backend(route, one), "weight": weight(one)});
                        own.write(&mut cluster);
                        cluster
                    })
                    .collect();
                match clusters.is_empty() {
                    true => action["cluster"] = "nowhere".into(),
                    false => action["weighted_clusters"] = json!({"clusters": clusters}),
                }
            }
        }
    }

    /// The filters of a backend; one that is not there has none.
    fn filters<'b>(&self, route: &Value, backend: &'b Value) -> &'b Value {
        let host = self.backend_host(route, backend);
        let is_there = self.of_kind("Service").any(|one| full_host(name(one), namespace(one)) == host);
        if is_there && self.is_granted(route, backend) { &backend["filters"] } else { &Value::Null }
    }

    fn backend_host(&self, route: &Value, backend: &Value) -> String {
        full_host(text(&backend["name"]), backend["namespace"].as_str().unwrap_or(namespace(route)))
    }

    /// Services of another namespace have to be granted there.
    fn is_granted(&self, route: &Value, backend: &Value) -> bool {
        let there = backend["namespace"].as_str().unwrap_or(namespace(route));
        let mut grants = self.of_kind("ReferenceGrant").filter(|grant| namespace(grant) == there);
        there == namespace(route)
            || grants.any(|grant| {
                let from = |from: &Value| from["kind"] == "HTTPRoute" && from["namespace"] == namespace(route);
                let to =
                    |to: &Value| to["kind"] == "Service" && (to["name"].is_null() || to["name"] == backend["name"]);
                list(&grant["spec"]["from"]).iter().any(from) && list(&grant["spec"]["to"]).iter().any(to)
            })
    }

    fn backend(&self, route: &Value, backend: &Value) -> String {
        if !self.is_granted(route, backend) {
            return "not granted".into();
        }
        let host = self.backend_host(route, backend);
        self.cluster_name(&host, backend["port"].as_u64().unwrap_or_default(), "")
    }
}

/// A CORS filter as Istio's `corsPolicy`: a preflight that does not match is answered here.
fn istio_cors(cors: &Value) -> Value {
    let origin = |origin: &Value| match text(origin).split_once('*') {
        Some(("", "")) | None => json!({"exact": origin}),
        Some((before, after)) => {
            json!({"regex": format!("{}.*{}", before.replace('.', "\\."), after.replace('.', "\\."))})
        }
    };
    let mut policy = cors.clone();
    policy["allowOrigins"] = list(&cors["allowOrigins"]).iter().map(origin).collect();
    policy["maxAge"] = format!("{}s", cors["maxAge"].as_u64().unwrap_or(CORS_MAX_AGE)).into();
    policy["unmatchedPreflights"] = "IGNORE".into();
    policy
}

/// `retry` as Istio understands it: the codes, beside what was certainly not processed.
fn in_istio_s_words(retry: &Value) -> Value {
    if retry.is_null() {
        return Value::Null;
    }
    let codes: Vec<String> = list(&retry["codes"]).iter().map(Value::to_string).collect();
    let on = ["connect-failure,refused-stream,unavailable,cancelled".to_owned(), codes.join(",")].join(",");
    json!({"attempts": retry["attempts"], "retryOn": on, "backoff": retry["backoff"]})
}

/// "Exact" path, then the longest prefix, method, the most headers, the most query parameters. Patterns come after prefixes, as in Istio.
fn precedence(one: &Value) -> impl Ord + use<> {
    let path = one["path"]["value"].as_str().unwrap_or("/");
    let (kind, length) = match one["path"]["type"].as_str() {
        Some("Exact") => (0, path.len()),
        Some("RegularExpression") => (2, path.len()),
        _ => (1, if path == "/" { 1 } else { path.trim_end_matches('/').len() }),
    };
    let number = |field: &str| list(&one[field]).len();
    (kind, Reverse(length), one["method"].is_null(), Reverse(number("headers")), Reverse(number("queryParams")))
}

fn condition(one: &Value) -> Value {
    let path = one["path"]["value"].as_str().unwrap_or("/");
    let mut condition = match one["path"]["type"].as_str() {
        Some("Exact") => json!({"path": path}),
        Some("RegularExpression") => json!({"safe_regex": {"regex": path}}),
        _ => match path.trim_end_matches('/') {
            "" => json!({"prefix": "/"}),
            segments => json!({"path_separated_prefix": segments}),
        },
    };
    let conditions = |field: &str| -> Vec<Value> {
        let word = |item: &Value| if item["type"] == "RegularExpression" { "regex" } else { "exact" };
        list(&one[field])
            .iter()
            .map(|item| value_condition(text(&item["name"]), &json!({word(item): item["value"]})))
            .collect()
    };
    let mut headers = conditions("headers");
    if one["method"].is_string() {
        headers.push(value_condition(":method", &json!({"exact": one["method"]})));
    }
    condition["headers"] = headers.into();
    condition["query_parameters"] = conditions("queryParams").into();
    condition
}

/// Takes in the header modifiers among these filters. The authority that they set is returned.
fn modifiers(filters: &Value, edits: &mut Edits) -> Option<String> {
    let mut authority = None;
    for filter in list(filters) {
        let (modifier, add, remove) = match text(&filter["type"]) {
            "RequestHeaderModifier" => {
                (&filter["requestHeaderModifier"], &mut edits.request_add, &mut edits.request_remove)
            }
            "ResponseHeaderModifier" => {
                (&filter["responseHeaderModifier"], &mut edits.response_add, &mut edits.response_remove)
            }
            _ => continue,
        };
        for (operation, action) in [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")] {
            for item in list(&modifier[operation]) {
                match text(&item["name"]).eq_ignore_ascii_case("host") {
                    true => authority = item["value"].as_str().map(str::to_owned),
                    false => add.push(header(text(&item["name"]), &item["value"], action)),
                }
            }
        }
        remove.extend(list(&modifier["remove"]).iter().cloned());
    }
    authority
}

/// What `ReplacePrefixMatch` makes of the prefix that matched.
fn replacement(path: &Value, one: &Value) -> String {
    let new = text(&path["replacePrefixMatch"]).trim_end_matches('/');
    let whole = one["path"]["value"].as_str().unwrap_or("/").trim_end_matches('/').is_empty();
    // Envoy replaces bytes: of `/`, the slash that has to stay is taken away too.
    if whole { format!("{new}/") } else { new.to_owned() }
}

/// Puts `ReplacePrefixMatch` into a route's or a redirect's action.
fn put_path(path: &Value, one: &Value, action: &mut Value) {
    let new = replacement(path, one);
    if path["type"] != "ReplacePrefixMatch" {
        return;
    }
    if new.is_empty() {
        // Nothing is left of the prefix, but a slash has to be.
        let prefix = one["path"]["value"].as_str().unwrap_or("/").trim_end_matches('/');
        let pattern = json!({"regex": format!("^{prefix}(/?)(.*)")});
        action["regex_rewrite"] = json!({"pattern": pattern, "substitution": "/\\2"});
    } else {
        action["prefix_rewrite"] = new.into();
    }
}

fn rewrite_path(path: &Value, one: &Value, action: &mut Value) {
    if let Some(full) = path["replaceFullPath"].as_str() {
        action["regex_rewrite"] = json!({"pattern": {"regex": "^/.*$"}, "substitution": full});
    }
    put_path(path, one, action);
}

fn redirect_action(redirect: &Value, one: &Value) -> Value {
    let mut action = json!({"response_code": redirect_code(redirect["statusCode"].as_u64().unwrap_or(302))});
    if redirect["path"]["replaceFullPath"].is_string() {
        action["path_redirect"] = redirect["path"]["replaceFullPath"].clone();
    }
    put_path(&redirect["path"], one, &mut action);
    if redirect["hostname"].is_string() {
        action["host_redirect"] = redirect["hostname"].clone();
    }
    let scheme = redirect["scheme"].as_str();
    if let Some(scheme) = scheme {
        action["scheme_redirect"] = scheme.into();
    }
    // Without a port, a scheme brings its own, and without either the listener's port stays; the scheme's own port is not written.
    let (own, listener) = (if scheme == Some("https") { 443 } else { 80 }, 80);
    let port = redirect["port"].as_u64().unwrap_or(if scheme.is_some() { own } else { listener });
    if port != own {
        action["port_redirect"] = port.into();
    }
    action
}
