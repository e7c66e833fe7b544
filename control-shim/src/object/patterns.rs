//! String matches, header edits and names as the routing APIs write them.

use super::decode::Field;
use super::variables;
use ringway_config::model::{HeaderEdits, HeaderMatch, HeaderValue, StringMatch};

/// Longest regular expression.
pub const REGEX_BYTES_MAX: usize = 4096;

/// Checks a regular expression as the proxy will compile it.
pub fn check_regex(field: &Field<'_>, pattern: &str) -> bool {
    if pattern.len() > REGEX_BYTES_MAX {
        let message = format!("the regular expression is longer than {REGEX_BYTES_MAX} bytes");
        field.error("wrong-regex", message, "shorten it");
        return false;
    }
    match ringway_policy::View::check_pattern(pattern) {
        Ok(()) => true,
        Err(reason) => {
            let message = format!("`{pattern}` is no RE2 regular expression that can be used: {reason}");
            field.error(
                "wrong-regex",
                message,
                "look-around and back references do not exist in RE2; repetitions are bounded",
            );
            false
        }
    }
}

/// Istio's StringMatch: one of `exact`, `prefix`, `regex`; nothing in it, or the regex `*`, means "is present" where `presence` allows that.
pub fn string_match(field: &Field<'_>, presence: bool) -> Option<StringMatch> {
    let mut fields = field.fields("a string match")?;
    let mut found = Vec::new();
    if let Some(exact) = fields.get("exact") {
        found.extend(exact.text().map(|text| StringMatch::Exact(text.into())));
    }
    if let Some(prefix) = fields.get("prefix") {
        found.extend(prefix.text().map(|text| StringMatch::Prefix(text.into())));
    }
    if let Some(regex) = fields.get("regex") {
        // No expression, and yet what people write for "is there": Istio takes it as that.
        if presence && regex.text() == Some("*") {
            found.push(StringMatch::Present);
        } else {
            found.extend(
                regex.text().filter(|text| check_regex(&regex, text)).map(|text| StringMatch::Regex(text.into())),
            );
        }
    }
    fields.finish();
    match (found.len(), presence) {
        (1, _) => found.pop(),
        (0, true) => Some(StringMatch::Present),
        (0, false) if field.context.broken() => None,
        (0, false) => {
            field.error(
                "missing-field",
                format!("`{}` has to say what to match", field.path),
                "add exact, prefix or regex",
            );
            None
        }
        _ => {
            field.error(
                "conflict",
                format!("`{}` may have only one of exact, prefix and regex", field.path),
                "remove the others",
            );
            None
        }
    }
}

/// A map of header name → StringMatch.
pub fn header_matches(field: &Field<'_>, invert: bool) -> Vec<HeaderMatch> {
    let mut matches = Vec::new();
    for (name, value) in field.entries() {
        if matches!(name, "uri" | "scheme" | "method" | "authority") {
            let message = format!("`{name}` is not looked up in headers, as in Istio");
            value.warning("not-honoured", message, format!("match on the field `{name}` beside `headers`"));
            continue;
        }
        if !header_name(&value, name) {
            continue;
        }
        let matched = if value.node.is_null() { Some(StringMatch::Present) } else { string_match(&value, true) };
        matches.extend(matched.map(|value| HeaderMatch { name: name.to_ascii_lowercase(), value, invert }));
    }
    matches
}

/// Istio's `headers.request` or `headers.response`. `authority` takes a `set` of Host, where that is possible.
pub fn header_operations(field: &Field<'_>, of_response: bool, mut authority: Option<&mut String>) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    let Some(mut fields) = field.fields("header operations") else { return edits };
    if let Some(set) = fields.get("set") {
        for (name, value) in header_values(&set, of_response) {
            if !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case(":authority") {
                edits.set.push((name, value));
            } else if let Some(authority) = authority.as_deref_mut() {
                // `rewrite.authority` says it too, and counts, as in Istio.
                match value {
                    HeaderValue::Text(text) if authority.is_empty() => *authority = text,
                    HeaderValue::Text(_) => {}
                    HeaderValue::Format(_) => set.not_supported("a variable in Host"),
                }
            } else {
                set.not_supported("setting Host here");
            }
        }
    }
    if let Some(add) = fields.get("add") {
        edits.add = header_values(&add, of_response);
    }
    if let Some(remove) = fields.get("remove") {
        let items = remove.items();
        edits.remove = items
            .iter()
            .filter_map(|item| item.text().filter(|name| header_name(item, name)).map(String::from))
            .collect();
    }
    fields.finish();
    check_edits(field, &edits);
    edits
}

/// Headers that a route must not touch, because the proxy's own framing depends on them.
pub(super) fn check_edits(field: &Field<'_>, edits: &HeaderEdits) {
    let names = edits.set.iter().chain(&edits.add).map(|(name, _)| name).chain(&edits.remove);
    for name in names {
        let lower = name.to_ascii_lowercase();
        let framing = [
            "connection",
            "content-length",
            "transfer-encoding",
            "upgrade",
            "te",
            "trailer",
            "keep-alive",
            "proxy-connection",
        ];
        if framing.contains(&lower.as_str()) || lower == "host" || lower.starts_with(':') {
            field.error(
                "forbidden-header",
                format!("`{name}` belongs to the connection and cannot be edited by a route"),
                "remove it",
            );
        }
    }
}

fn header_values(field: &Field<'_>, of_response: bool) -> Vec<(String, HeaderValue)> {
    let mut values = Vec::new();
    for (name, value) in field.entries() {
        let Some(text) = value.text() else { continue };
        let named = name == ":authority" || header_name(&value, name);
        if !named || !header_value(&value, text) {
            continue;
        }
        if text.is_empty() {
            value.warning("not-honoured", "an empty value neither sets nor adds a header, as in Istio", "remove it");
            continue;
        }
        values.extend(variables::header_value(&value, text, of_response).map(|value| (name.to_string(), value)));
    }
    values
}

/// A header's name: an RFC 9110 token.
pub fn header_name(field: &Field<'_>, name: &str) -> bool {
    let token = !name.is_empty()
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        field.error("wrong-header", format!("`{name}` is no header name"), "letters, digits and dashes");
    }
    token
}

/// A header's value: no control characters.
pub fn header_value(field: &Field<'_>, value: &str) -> bool {
    if value.bytes().any(|b| b < 0x20 && b != b'\t' || b == 0x7f) || value.trim() != value {
        field.error("wrong-header", "a header value may not have control characters or outer spaces", "remove them");
        return false;
    }
    true
}

/// A host name in lower case without a trailing dot: letters, digits, dashes, dots; `*` or `*.suffix` where `wildcard` allows. IP addresses pass.
pub fn host_name(field: &Field<'_>, text: &str, wildcard: bool) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    let rest = if wildcard && host == "*" { "" } else { host.strip_prefix("*.").filter(|_| wildcard).unwrap_or(host) };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let address = host.parse::<std::net::IpAddr>().is_ok();
    if host.len() <= 253 && (address || rest.is_empty() && host == "*" || rest.split('.').all(label)) {
        return Some(host.to_string());
    }
    let mend = if wildcard { "a DNS name, `*.suffix` or `*`" } else { "a DNS name without a port or a path" };
    field.error("wrong-host", format!("`{text}` is no host name"), mend);
    None
}

/// `exportTo`: which namespaces see an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExportTo {
    /// Nothing is said: MeshConfig's default, which is all unless it says otherwise.
    #[default]
    Unsaid,
    /// All of them.
    All,
    /// These; [`OWN`] is the object's own.
    Only(Vec<String>),
}

/// The object's own namespace, in a list of those that see it.
const OWN: &str = ".";

impl ExportTo {
    /// Reads the list; `~` is nobody.
    pub fn decode(field: Option<Field<'_>>) -> Self {
        let items = field.map(|field| field.items()).unwrap_or_default();
        ExportTo::of(items.iter().filter_map(|item| item.text()))
    }

    /// Of the list's words.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut only: Option<Vec<String>> = None;
        for word in words {
            let only = only.get_or_insert_default();
            match word {
                "*" => return ExportTo::All,
                "~" => {}
                namespace => only.push(namespace.to_string()),
            }
        }
        only.map_or(ExportTo::Unsaid, ExportTo::Only)
    }

    /// What holds, with what holds where nothing is said.
    pub fn or<'e>(&'e self, default: &'e ExportTo) -> &'e ExportTo {
        if *self == ExportTo::Unsaid { default } else { self }
    }

    /// Whether `namespace` sees an object of the namespace `own`.
    pub fn visible(&self, own: &str, namespace: &str) -> bool {
        match self {
            ExportTo::Unsaid | ExportTo::All => true,
            ExportTo::Only(only) => only.iter().any(|one| (if one == OWN { own } else { one }) == namespace),
        }
    }

    /// The namespaces that see an object of the namespace `own`, where not all do.
    pub fn only<'e>(&'e self, own: &'e str) -> impl Iterator<Item = &'e str> {
        let only = if let ExportTo::Only(only) = self { only.as_slice() } else { &[] };
        only.iter().map(move |one| if one == OWN { own } else { one })
    }
}

/// Who sees objects that do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// `defaultServiceExportTo`, of Services and ServiceEntries.
    pub services: ExportTo,
    /// `defaultVirtualServiceExportTo`.
    pub virtual_services: ExportTo,
    /// `defaultDestinationRuleExportTo`.
    pub destination_rules: ExportTo,
}
