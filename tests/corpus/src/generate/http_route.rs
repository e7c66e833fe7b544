//! HTTPRoutes as people might write them.

use super::words::{HEADERS, METHODS, NEW_PATHS, PATH_PATTERNS, PATHS, QUERIES, VALUE_PATTERNS, VALUES, edits};
use super::{NAMESPACE, SERVICES};
use crate::dice::Dice;
use serde_json::{Map, Value, json};

/// An HTTPRoute attached to `parent`, for these host names.
pub fn http_route(dice: &mut Dice, name: &str, parent: Value, hostnames: &[&str]) -> Value {
    let mut spec = json!({"parentRefs": [parent]});
    if !hostnames.is_empty() {
        spec["hostnames"] = json!(hostnames);
    }
    spec["rules"] = (0..1 + dice.below(4)).map(|number| rule(dice, number)).collect::<Vec<_>>().into();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

fn rule(dice: &mut Dice, number: usize) -> Value {
    let mut rule = Map::new();
    if dice.percent(30) {
        rule.insert("name".into(), format!("rule-{number}").into());
    }
    let mut prefixes = true;
    if dice.percent(85) {
        let matches: Vec<Value> = (0..1 + dice.below(2)).map(|_| one_match(dice)).collect();
        prefixes = matches.iter().all(|one| one["path"].is_null() || one["path"]["type"] == "PathPrefix");
        rule.insert("matches".into(), matches.into());
    }
    let mut filters = Vec::new();
    for (kind, field) in
        [("RequestHeaderModifier", "requestHeaderModifier"), ("ResponseHeaderModifier", "responseHeaderModifier")]
    {
        if dice.percent(25) {
            let mut modifier = modifier(dice);
            if kind == "RequestHeaderModifier" && dice.percent(20) {
                modifier["set"] = json!([{"name": "Host", "value": "set.example"}]);
            }
            filters.push(json!({"type": kind, field: modifier}));
        }
    }
    if dice.percent(20) {
        filters.push(json!({"type": "RequestRedirect", "requestRedirect": redirect(dice, prefixes)}));
    } else {
        if dice.percent(30) {
            filters.push(json!({"type": "URLRewrite", "urlRewrite": rewrite(dice, prefixes)}));
        }
        if dice.percent(10) {
            let mut mirror = json!({"backendRef": {"name": dice.pick(&own_services()), "port": 80}});
            if dice.percent(30) {
                mirror["percent"] = dice.pick(&[0, 100]).into();
            }
            filters.push(json!({"type": "RequestMirror", "requestMirror": mirror}));
        }
        if dice.percent(15) {
            filters.push(json!({"type": "CORS", "cors": cors(dice)}));
        }
        let backends = 1 + if dice.percent(35) { 1 + dice.below(2) } else { 0 };
        let weighted = backends > 1;
        rule.insert("backendRefs".into(), (0..backends).map(|_| backend(dice, weighted)).collect::<Vec<_>>().into());
        if dice.percent(10) {
            rule.insert("timeouts".into(), json!({"request": "10s"}));
        }
        if dice.percent(30) {
            let codes: Vec<u16> = dice.some(&[500, 503, 504], 2);
            rule.insert("retry".into(), json!({"attempts": 1 + dice.below(3), "codes": codes, "backoff": "1ms"}));
        }
    }
    if !filters.is_empty() {
        rule.insert("filters".into(), filters.into());
    }
    Value::Object(rule)
}

fn one_match(dice: &mut Dice) -> Value {
    let mut one = Map::new();
    if dice.percent(80) {
        let path = match dice.below(10) {
            0..=3 => json!({"type": "Exact", "value": dice.pick(&PATHS)}),
            4..=8 => json!({"type": "PathPrefix", "value": dice.pick(&PATHS)}),
            _ => json!({"type": "RegularExpression", "value": PATH_PATTERNS[dice.below(PATH_PATTERNS.len())].text}),
        };
        one.insert("path".into(), path);
    }
    for (field, names, percent) in [("headers", &HEADERS[..], 30), ("queryParams", &QUERIES[..], 20)] {
        if dice.percent(percent) {
            let conditions: Vec<Value> = dice.some(names, 2).into_iter().map(|name| value(dice, name)).collect();
            one.insert(field.into(), conditions.into());
        }
    }
    if dice.percent(15) {
        one.insert("method".into(), dice.pick(&METHODS).into());
    }
    if one.is_empty() {
        one.insert("path".into(), json!({"value": "/"}));
    }
    Value::Object(one)
}

fn value(dice: &mut Dice, name: &str) -> Value {
    if dice.percent(70) {
        return json!({"name": name, "value": dice.pick(&VALUES)});
    }
    let pattern = VALUE_PATTERNS[dice.below(VALUE_PATTERNS.len())].text;
    json!({"type": "RegularExpression", "name": name, "value": pattern})
}

fn modifier(dice: &mut Dice) -> Value {
    let mut modifier = json!({});
    for (operation, name, value) in edits(dice) {
        let item = if operation == "remove" { json!(name) } else { json!({"name": name, "value": value}) };
        match &mut modifier[operation] {
            Value::Array(items) => items.push(item),
            none => *none = json!([item]),
        }
    }
    modifier
}

fn path_modifier(dice: &mut Dice, prefixes: bool) -> Value {
    if prefixes && dice.percent(60) {
        return json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": dice.pick(&NEW_PATHS)});
    }
    json!({"type": "ReplaceFullPath", "replaceFullPath": dice.pick(&NEW_PATHS)})
}

fn rewrite(dice: &mut Dice, prefixes: bool) -> Value {
    let mut rewrite = Map::new();
    if dice.percent(80) {
        rewrite.insert("path".into(), path_modifier(dice, prefixes));
    }
    if rewrite.is_empty() || dice.percent(30) {
        rewrite.insert("hostname".into(), "inside.example".into());
    }
    Value::Object(rewrite)
}

fn redirect(dice: &mut Dice, prefixes: bool) -> Value {
    let mut redirect = Map::new();
    if dice.percent(50) {
        redirect.insert("path".into(), path_modifier(dice, prefixes));
    }
    if redirect.is_empty() || dice.percent(40) {
        redirect.insert("hostname".into(), "else.example".into());
    }
    if dice.percent(30) {
        redirect.insert("scheme".into(), dice.pick(&["http", "https"]).into());
    }
    if dice.percent(30) {
        redirect.insert("port".into(), dice.pick(&[80, 443, 8443]).into());
    }
    if dice.percent(40) {
        redirect.insert("statusCode".into(), dice.pick(&[301, 302]).into());
    }
    Value::Object(redirect)
}

fn cors(dice: &mut Dice) -> Value {
    let mut cors = json!({"allowOrigins": [dice.pick(&["https://a.example", "*", "https://*.example"])]});
    for (field, value) in [
        ("allowMethods", json!(["GET", "PUT"])),
        ("allowHeaders", json!(["x-user", "content-type"])),
        ("exposeHeaders", json!(["x-set"])),
        ("maxAge", json!(600)),
        ("allowCredentials", json!(true)),
    ] {
        if dice.percent(60) {
            cors[field] = value;
        }
    }
    cors
}

/// What needs no grant.
fn own_services() -> Vec<&'static str> {
    SERVICES.iter().filter(|service| service.namespace == NAMESPACE).map(|service| service.name).collect()
}

fn backend(dice: &mut Dice, weighted: bool) -> Value {
    let name = if dice.percent(4) { "nobody" } else { dice.pick(&own_services()) };
    let mut backend = json!({"name": name, "port": 80});
    if dice.percent(12) {
        backend["name"] = "omega".into();
        backend["namespace"] = "back".into();
    }
    if weighted {
        backend["weight"] = dice.pick(&[0, 1, 10, 50]).into();
    }
    if dice.percent(15) {
        let (kind, field) = dice.pick(&[
            ("RequestHeaderModifier", "requestHeaderModifier"),
            ("ResponseHeaderModifier", "responseHeaderModifier"),
        ]);
        backend["filters"] = json!([{"type": kind, field: modifier(dice)}]);
    }
    backend
}

/// The conditions of an HTTPRoute's rules in the words of a VirtualService, for requests to aim at.
pub fn conditions(object: &Value) -> Vec<Value> {
    let rules = object["spec"]["rules"].as_array().into_iter().flatten();
    let matches = rules.flat_map(|rule| rule["matches"].as_array().cloned().unwrap_or_else(|| vec![json!({})]));
    matches.map(|one| in_istio_s_words(&one)).collect()
}

fn in_istio_s_words(one: &Value) -> Value {
    let word = |kind: &Value| match kind.as_str() {
        Some("Exact") => "exact",
        Some("RegularExpression") => "regex",
        _ => "prefix",
    };
    let mut condition = json!({});
    if one["path"]["value"].is_string() {
        condition["uri"][word(&one["path"]["type"])] = one["path"]["value"].clone();
    }
    if one["method"].is_string() {
        condition["method"]["exact"] = one["method"].clone();
    }
    for (field, of) in [("headers", "headers"), ("queryParams", "queryParams")] {
        for item in one[field].as_array().into_iter().flatten() {
            let kind = if item["type"] == "RegularExpression" { "regex" } else { "exact" };
            let name = item["name"].as_str().unwrap_or_default();
            condition[of][name][kind] = item["value"].clone();
        }
    }
    condition
}
