//! VirtualService → routes, in the order of its rules.

use super::{Manifests, full_host, list, namespace, text};
use serde_json::{Value, json};

/// The port of every place.
const PORT: u64 = 80;

/// What Istio tries again where nobody says it.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,503";

/// Edits of a request and of its response, in Envoy's words.
#[derive(Default)]
pub struct Edits {
    pub request_add: Vec<Value>,
    pub request_remove: Vec<Value>,
    pub response_add: Vec<Value>,
    pub response_remove: Vec<Value>,
}

impl Manifests<'_> {
    /// What a VirtualService says at `mesh` or a gateway.
    pub fn virtual_service(&self, service: &Value, gateway: &str) -> Vec<Value> {
        let mut routes = Vec::new();
        for rule in &self.rules(service) {
            let all = [json!({})];
            let matches = if rule["match"].is_null() { &all[..] } else { list(&rule["match"]) };
            for one in matches.iter().filter(|one| applies(one, gateway)) {
                let mut route = self.act(service, rule);
                route["match"] = condition(one);
                route["name"] = rule["name"].as_str().unwrap_or_default().into();
                routes.push(route);
            }
        }
        routes
    }

    /// A VirtualService's rules, with those of delegates where they are delegated to.
    fn rules(&self, service: &Value) -> Vec<Value> {
        let mut rules = Vec::new();
        for rule in list(&service["spec"]["http"]) {
            let to = &rule["delegate"];
            if to.is_null() {
                rules.push(rule.clone());
                continue;
            }
            let delegate = self
                .of_kind("VirtualService")
                .find(|one| super::name(one) == text(&to["name"]) && namespace(one) == text(&to["namespace"]));
            rules.extend(
                delegate.map_or(&[][..], |one| list(&one["spec"]["http"])).iter().map(|sub| delegated(rule, sub)),
            );
        }
        rules
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
            if let Some(policy) = retry_policy(&rule["retries"]) {
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
            let to = list(&rule["route"]).iter().map(|one| self.host_and_subset(service, one));
            action["hash_policy"] = to.flat_map(|(host, subset)| self.hash_policy(&host, &subset)).collect();
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

    fn host_and_subset(&self, service: &Value, destination: &Value) -> (String, String) {
        let to = &destination["destination"];
        (full_host(text(&to["host"]), namespace(service)), text(&to["subset"]).to_owned())
    }

    fn destination(&self, service: &Value, destination: &Value) -> String {
        let to = &destination["destination"];
        let host = full_host(text(&to["host"]), namespace(service));
        self.cluster_name(&host, to["port"]["number"].as_u64().unwrap_or(PORT), text(&to["subset"]))
    }
}

/// A delegate's rule: its matches within the root's, and the root's settings where it has none.
fn delegated(root: &Value, sub: &Value) -> Value {
    let mut rule = sub.clone();
    for setting in ["timeout", "retries", "rewrite", "headers", "fault", "corsPolicy"] {
        if rule[setting].is_null() {
            rule[setting] = root[setting].clone();
        }
    }
    let all = [json!({})];
    let own = if sub["match"].is_null() { &all[..] } else { list(&sub["match"]) };
    let within = |own: &Value| -> Vec<Value> {
        let narrowed = list(&root["match"]).iter().map(|outer| {
            let mut one = outer.clone();
            for (field, value) in own.as_object().into_iter().flatten() {
                one[field] = value.clone();
            }
            one
        });
        narrowed.collect()
    };
    rule["match"] = own.iter().flat_map(within).collect();
    rule
}

/// What is tried again: Istio's own list where nothing is written, nothing where `attempts` is 0.
pub fn retry_policy(retries: &Value) -> Option<Value> {
    let attempts = if retries.is_null() { 2 } else { retries["attempts"].as_u64().unwrap_or(0) };
    let written = retries["retryOn"].as_str().unwrap_or(RETRY_ON);
    let (codes, mut words): (Vec<&str>, Vec<&str>) = written.split(',').partition(|word| word.parse::<u16>().is_ok());
    if !codes.is_empty() {
        words.push("retriable-status-codes");
    }
    let codes: Vec<u16> = codes.iter().filter_map(|code| code.parse().ok()).collect();
    let mut policy = json!({
        "num_retries": attempts,
        "retry_on": words.join(","),
        "retriable_status_codes": codes,
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }],
        "host_selection_retry_max_attempts": 5,
    });
    if retries["perTryTimeout"].is_string() {
        policy["per_try_timeout"] = seconds(&retries["perTryTimeout"]).into();
    }
    if retries["backoff"].is_string() {
        policy["retry_back_off"] = json!({"base_interval": seconds(&retries["backoff"])});
    }
    (attempts > 0).then_some(policy)
}

/// Copies of so many requests of a million.
pub fn mirror_policy(cluster: &str, millionths: u64) -> Value {
    json!({
        "cluster": cluster,
        "runtime_fraction": {"default_value": {"numerator": millionths, "denominator": "MILLION"}},
    })
}

/// Port and gateways are decided before any request comes.
fn applies(one: &Value, gateway: &str) -> bool {
    let gateways = list(&one["gateways"]);
    one["port"].as_u64().is_none_or(|port| port == PORT)
        && (gateways.is_empty() || gateways.iter().any(|g| text(g) == gateway))
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

fn redirect(redirect: &Value) -> Value {
    let mut action = json!({"response_code": redirect_code(redirect["redirectCode"].as_u64().unwrap_or(301))});
    if let Some(uri) = redirect["uri"].as_str() {
        action["path_redirect"] = uri.into();
    }
    if let Some(prefix) = redirect["prefixRewrite"].as_str() {
        action["prefix_rewrite"] = prefix.into();
    }
    if let Some(authority) = redirect["authority"].as_str() {
        action["host_redirect"] = authority.into();
    }
    let scheme = redirect["scheme"].as_str();
    if let Some(scheme) = scheme {
        action["scheme_redirect"] = scheme.into();
    }
    let port = match redirect["derivePort"].as_str() {
        Some("FROM_REQUEST_PORT") => Some(PORT),
        _ => redirect["port"].as_u64(),
    };
    // The scheme's own port is not written.
    let default = if scheme == Some("https") { 443 } else { 80 };
    if let Some(port) = port.filter(|port| *port != default) {
        action["port_redirect"] = port.into();
    }
    action
}

/// Envoy's name of a redirect's status.
pub fn redirect_code(status: u64) -> &'static str {
    match status {
        301 => "MOVED_PERMANENTLY",
        302 => "FOUND",
        303 => "SEE_OTHER",
        307 => "TEMPORARY_REDIRECT",
        _ => "PERMANENT_REDIRECT",
    }
}

fn direct_response(response: &Value) -> Value {
    let mut action = json!({"status": response["status"]});
    if let Some(body) = response["body"]["string"].as_str() {
        action["body"] = json!({"inline_string": body});
    }
    action
}

fn fault(fault: &Value) -> Value {
    let share = |of: &Value| {
        let millionths = of["percentage"]["value"].as_f64().unwrap_or(0.0) * 10_000.0;
        json!({"numerator": millionths as u64, "denominator": "MILLION"})
    };
    let mut filter = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"});
    let (abort, delay) = (&fault["abort"], &fault["delay"]);
    if abort.is_object() {
        filter["abort"] = json!({"http_status": abort["httpStatus"], "percentage": share(abort)});
    }
    if delay.is_object() {
        filter["delay"] = json!({"fixed_delay": seconds(&delay["fixedDelay"]), "percentage": share(delay)});
    }
    filter
}

pub fn cors_policy(policy: &Value) -> Value {
    let origin = |origin: &Value| match origin["regex"].as_str() {
        Some(regex) => json!({"safe_regex": {"regex": regex}}),
        None => origin.clone(),
    };
    let line = |field: &str| list(&policy[field]).iter().map(text).collect::<Vec<_>>().join(",");
    let mut filter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": list(&policy["allowOrigins"]).iter().map(origin).collect::<Vec<_>>(),
        "allow_methods": line("allowMethods"),
        "allow_headers": line("allowHeaders"),
        "expose_headers": line("exposeHeaders"),
        "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
        "forward_not_matching_preflights": policy["unmatchedPreflights"] != "IGNORE",
    });
    if policy["maxAge"].is_string() {
        filter["max_age"] = seconds(&policy["maxAge"]).trim_end_matches('s').into();
    }
    if let Some(credentials) = policy["allowCredentials"].as_bool() {
        filter["allow_credentials"] = credentials.into();
    }
    filter
}

/// A duration in Istio's words (`1m`, `2.5s`) in protobuf's.
pub fn seconds(duration: &Value) -> String {
    let duration = duration.as_str().unwrap_or("0s");
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) =
        units.iter().find_map(|(unit, seconds)| Some((duration.strip_suffix(unit)?, seconds))).expect("a unit");
    format!("{}s", number.parse::<f64>().expect("a number") * unit)
}

impl Edits {
    /// Takes in `headers` of a rule or a destination. The authority that it sets is returned: it is no header.
    pub fn read(&mut self, headers: &Value) -> Option<String> {
        let mut authority = None;
        for (message, add, remove) in [
            ("request", &mut self.request_add, &mut self.request_remove),
            ("response", &mut self.response_add, &mut self.response_remove),
        ] {
            let operations = &headers[message];
            for (operation, action) in [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")] {
                for (name, value) in operations[operation].as_object().into_iter().flatten() {
                    if name.eq_ignore_ascii_case("host") {
                        authority = value.as_str().map(str::to_owned);
                    } else {
                        add.push(header(name, value, action));
                    }
                }
            }
            remove.extend(list(&operations["remove"]).iter().cloned());
        }
        authority
    }

    /// Puts them into a route or a weighted cluster.
    pub fn write(self, into: &mut Value) {
        for (field, edits) in [
            ("request_headers_to_add", self.request_add),
            ("request_headers_to_remove", self.request_remove),
            ("response_headers_to_add", self.response_add),
            ("response_headers_to_remove", self.response_remove),
        ] {
            if !edits.is_empty() {
                into[field] = edits.into();
            }
        }
    }
}

/// A header that is written.
pub fn header(name: &str, value: &Value, action: &str) -> Value {
    json!({"header": {"key": name, "value": value}, "append_action": action})
}
