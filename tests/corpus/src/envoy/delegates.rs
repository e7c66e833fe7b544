//! A VirtualService's rules with those of its delegates.

use super::{Manifests, list, name, namespace, text};
use serde_json::Value;

/// Conditions on one thing each.
const ONES: [&str; 4] = ["uri", "scheme", "method", "authority"];
/// Conditions by name.
const NAMED: [&str; 3] = ["headers", "withoutHeaders", "queryParams"];
/// What a delegate's rule takes from the root's where it has none of it.
const SETTINGS: [&str; 7] = ["timeout", "retries", "rewrite", "headers", "fault", "corsPolicy", "mirror"];

impl Manifests<'_> {
    /// Those of delegates stand where they are delegated to.
    pub fn rules(&self, service: &Value) -> Vec<Value> {
        let mut rules = Vec::new();
        for rule in list(&service["spec"]["http"]) {
            let to = &rule["delegate"];
            if to.is_null() {
                rules.push(rule.clone());
                continue;
            }
            let is_it = |one: &&Value| name(one) == text(&to["name"]) && namespace(one) == text(&to["namespace"]);
            let delegate = self.of_kind("VirtualService").find(is_it);
            let parts = delegate.map_or(&[][..], |one| list(&one["spec"]["http"]));
            rules.extend(parts.iter().filter_map(|part| within(rule, part)));
        }
        rules
    }
}

/// A delegate's rule as a part of the root's. None: one of its matches is no part of any of the root's.
fn within(root: &Value, part: &Value) -> Option<Value> {
    let mut rule = part.clone();
    for setting in SETTINGS {
        if rule[setting].is_null() {
            rule[setting] = root[setting].clone();
        }
    }
    let names = [text(&root["name"]), text(&part["name"])].into_iter().filter(|name| !name.is_empty());
    rule["name"] = names.collect::<Vec<_>>().join("-").into();
    let mut matches = Vec::new();
    for own in list(&part["match"]) {
        let fitting: Vec<&Value> = list(&root["match"]).iter().filter(|outer| !conflict(outer, own)).collect();
        if fitting.is_empty() {
            return None;
        }
        matches.extend(fitting.into_iter().map(|outer| both(outer, own)));
    }
    rule["match"] = if list(&part["match"]).is_empty() { root["match"].clone() } else { matches.into() };
    Some(rule)
}

/// Both matches in one.
fn both(outer: &Value, own: &Value) -> Value {
    let mut one = outer.clone();
    for (field, value) in own.as_object().into_iter().flatten() {
        if !NAMED.contains(&field.as_str()) {
            one[field] = value.clone();
            continue;
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            one[field][name] = value.clone();
        }
    }
    one
}

fn conflict(outer: &Value, own: &Value) -> bool {
    let named = |field: &&str| {
        let own = own[*field].as_object().into_iter().flatten();
        own.into_iter().any(|(name, own)| differ(&outer[*field][name], own))
    };
    ONES.iter().any(|field| differ(&outer[*field], &own[*field])) || NAMED.iter().any(named)
}

/// Whether what meets the second condition does not meet the first, or nobody can tell.
fn differ(outer: &Value, own: &Value) -> bool {
    if outer.is_null() || own.is_null() {
        return false;
    }
    let word = |one: &Value, word: &str| one[word].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let own_is = |kind: &str| word(own, kind);
    match (word(outer, "exact"), word(outer, "prefix")) {
        _ if own_is("regex").is_some() => true,
        (Some(outer), _) => own_is("exact") != Some(outer),
        (_, Some(outer)) => own_is("prefix").or(own_is("exact")).is_none_or(|own| !own.starts_with(&outer)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_says_more_and_nothing_else() {
        let root = json!({"match": [{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "1"}}}], "timeout": "1s"});
        let merged = |own: Value| within(&root, &json!({"match": [own]})).map(|rule| rule["match"].clone());
        assert_eq!(
            merged(json!({"uri": {"exact": "/a/b"}, "headers": {"y": {}}})),
            Some(json!([{"uri": {"exact": "/a/b"}, "headers": {"x": {"exact": "1"}, "y": {}}}]))
        );
        for other in [json!({"uri": {"exact": "/b"}}), json!({"uri": {"regex": "/a"}}), json!({"headers": {"x": {}}})] {
            assert_eq!(merged(other.clone()), None, "{other}");
        }
        let all = within(&root, &json!({"route": []})).unwrap_or_default();
        assert_eq!((&all["match"], &all["timeout"]), (&root["match"], &root["timeout"]));
    }
}
