//! What rules do, in Envoy's words.

use super::virtual_service::PORT;
use super::{list, text};
use serde_json::{Value, json};

/// What Istio tries again where nobody says it.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,503";

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

pub fn redirect(redirect: &Value) -> Value {
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

pub fn direct_response(response: &Value) -> Value {
    let mut action = json!({"status": response["status"]});
    if let Some(body) = response["body"]["string"].as_str() {
        action["body"] = json!({"inline_string": body});
    }
    action
}

pub fn fault(fault: &Value) -> Value {
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
