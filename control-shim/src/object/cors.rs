//! Cross-origin resource sharing, as a VirtualService and as an HTTPRoute write it.

use super::decode::Field;
use super::patterns;
use ringway_config::model::{Cors, StringMatch};

/// Seconds for which browsers keep a preflight's answer, unless an HTTPRoute says otherwise.
const MAX_AGE_S: u32 = 5;

/// `corsPolicy` of a VirtualService.
pub fn policy(field: &Field<'_>) -> Option<Cors> {
    let mut fields = field.fields("a CORS policy")?;
    let origins = fields.get("allowOrigins").map(|f| f.items()).unwrap_or_default();
    let mut origins: Vec<_> = origins.iter().filter_map(|f| patterns::string_match(f, false)).collect();
    // The old form; Istio reads it when the new one is not there.
    let exact = fields.get("allowOrigin").map(|f| f.texts()).unwrap_or_default();
    if origins.is_empty() {
        origins.extend(exact.into_iter().map(StringMatch::Exact));
    }
    let methods = list(fields.get("allowMethods"));
    let headers = list(fields.get("allowHeaders"));
    let expose = list(fields.get("exposeHeaders"));
    let max_age_s = fields.get("maxAge").and_then(|f| f.duration_ms()).map(seconds);
    let credentials = fields.get("allowCredentials").and_then(|f| f.boolean()).unwrap_or(false);
    let words = [("UNSPECIFIED", true), ("FORWARD", true), ("IGNORE", false)];
    let forward_unmatched = fields.get("unmatchedPreflights").and_then(|f| f.word(&words)).unwrap_or(true);
    fields.finish();
    Some(Cors { origins, methods, headers, expose, max_age_s, credentials, forward_unmatched })
}

/// The CORS filter of an HTTPRoute.
pub fn filter(field: &Field<'_>) -> Option<Cors> {
    let mut fields = field.fields("a CORS filter")?;
    for name in ["allowOrigins", "allowMethods", "allowHeaders"] {
        all_or_some(fields.get(name));
    }
    let origins = fields.get("allowOrigins").map(|f| f.items()).unwrap_or_default();
    let origins = origins.iter().filter_map(|f| origin(f, f.text()?)).collect();
    let methods = list(fields.get("allowMethods"));
    let headers = list(fields.get("allowHeaders"));
    let expose = list(fields.get("exposeHeaders"));
    let max_age = fields.get("maxAge").and_then(|f| f.number(1, u64::from(u32::MAX)));
    let max_age_s = Some(max_age.and_then(|s| u32::try_from(s).ok()).unwrap_or(MAX_AGE_S));
    let credentials = fields.get("allowCredentials").and_then(|f| f.boolean()).unwrap_or(false);
    fields.finish();
    Some(Cors { origins, methods, headers, expose, max_age_s, credentials, forward_unmatched: false })
}

/// `*` says all there is to say.
fn all_or_some(list: Option<Field<'_>>) {
    let Some(list) = list else { return };
    let words = list.texts();
    if words.len() > 1 && words.iter().any(|word| word == "*") {
        list.error("conflict", "`*` stands beside others, which it takes in", "keep one of the two");
    }
}

/// Whole seconds.
fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

/// Names in one line, as the header has them.
fn list(field: Option<Field<'_>>) -> String {
    let items = field.map(|f| f.items()).unwrap_or_default();
    let name = |item: &Field<'_>| item.text().filter(|text| patterns::header_name(item, text)).map(String::from);
    items.iter().filter_map(name).collect::<Vec<_>>().join(",")
}

/// `scheme://host[:port]`. The port that the scheme means by itself is never in an Origin (RFC 6454 §6.1). `*` in a host takes any number of labels.
fn origin(field: &Field<'_>, text: &str) -> Option<StringMatch> {
    if text == "*" {
        return Some(StringMatch::Exact(text.into()));
    }
    let default = match text.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => {
            field.error("wrong-origin", format!("`{text}` is no origin"), "`*`, `https://host` or `https://host:port`");
            return None;
        }
    };
    let text = text.strip_suffix(default).unwrap_or(text);
    if !text.contains('*') {
        return Some(StringMatch::Exact(text.into()));
    }
    let pattern: Vec<String> = text.split('*').map(escape).collect();
    let pattern = pattern.join("[^/:]+");
    patterns::check_regex(field, &pattern).then_some(StringMatch::Regex(pattern))
}

/// A pattern that means these very characters.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if ".+?()[]{}^$|\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
