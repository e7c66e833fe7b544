//! VirtualServices as people might write them.

use super::words::{
    HEADERS, METHODS, NEW_PATHS, PATH_REWRITES, PATHS, QUERIES, TAILS, VALUES, edits, made_up, path_match,
    value_matches,
};
use super::{NAMESPACE, SERVICES, SUBSETS, service_entry};
use crate::dice::Dice;
use serde_json::{Map, Value, json};

/// Most rules of one VirtualService.
const RULES_MAX: usize = 5;

/// A VirtualService with these hosts.
pub fn virtual_service(dice: &mut Dice, name: &str, hosts: &[&str], gateways: &[&str]) -> Value {
    let mut rules: Vec<Value> = (0..1 + dice.below(RULES_MAX)).map(|number| rule(dice, number)).collect();
    if dice.percent(70) {
        let mut last = Map::from_iter([("name".to_owned(), "otherwise".into())]);
        act(dice, &mut last, false);
        rules.push(Value::Object(last));
    }
    let mut spec = json!({"hosts": hosts});
    if !gateways.is_empty() {
        spec["gateways"] = json!(gateways);
    }
    spec["http"] = rules.into();
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// A delegate, and the rule of a root that hands over to it what is below a path.
pub fn delegate(dice: &mut Dice, name: &str) -> (Value, Value) {
    let path = dice.pick(&PATHS);
    let mut root = Map::from_iter([("delegate".to_owned(), json!({"name": name, "namespace": NAMESPACE}))]);
    let mut one = json!({"uri": {"prefix": path}});
    if dice.percent(30) {
        one["method"] = json!({"exact": dice.pick(&METHODS)});
    }
    if dice.percent(20) {
        one["queryParams"] = json!({dice.pick(&QUERIES): {"exact": dice.pick(&VALUES)}});
    }
    let mut matches = vec![one];
    if dice.percent(25) {
        let header = json!({"x-env": {dice.pick(&["exact", "prefix"]): "prod"}});
        matches.push(json!({"uri": path_match(dice), "headers": header}));
    }
    root.insert("match".into(), matches.into());
    if dice.percent(30) {
        root.insert("name".into(), "root".into());
    }
    if dice.percent(40) {
        root.insert("headers".into(), headers(dice, false));
    }
    if dice.percent(30) {
        root.insert("fault".into(), fault(dice));
    }
    if dice.percent(30) {
        root.insert("retries".into(), retries(dice));
    }
    let rules: Vec<Value> = (0..1 + dice.below(3)).map(|_| part(dice, path)).collect();
    let below = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"http": rules},
    });
    (Value::Object(root), below)
}

/// A rule for a part of what is below a path; at times one that is no part of it, and left out.
fn part(dice: &mut Dice, path: &str) -> Value {
    let mut rule = Map::new();
    if dice.percent(70) {
        let matches: Vec<Value> = (0..1 + usize::from(dice.percent(25)))
            .map(|_| {
                let mut one = json!({});
                if dice.percent(60) {
                    let path = if dice.percent(85) { path } else { dice.pick(&PATHS) };
                    let kind = dice.pick(&["exact", "prefix"]);
                    one["uri"] = json!({kind: format!("{path}{}", dice.pick(&TAILS))});
                }
                if dice.percent(40) {
                    one["headers"] = value_matches(dice, &HEADERS, 1);
                }
                if dice.percent(15) {
                    one["method"] = json!({"exact": dice.pick(&METHODS)});
                }
                if dice.percent(10) {
                    one["queryParams"] = value_matches(dice, &QUERIES, 1);
                }
                one
            })
            .filter(|one| *one != json!({}))
            .collect();
        if !matches.is_empty() {
            rule.insert("match".into(), matches.into());
        }
    }
    act(dice, &mut rule, false);
    Value::Object(rule)
}

fn rule(dice: &mut Dice, number: usize) -> Value {
    let mut rule = Map::new();
    if dice.percent(50) {
        rule.insert("name".into(), format!("rule-{number}").into());
    }
    let matches: Vec<Value> = (0..1 + dice.below(2)).map(|_| one_match(dice)).collect();
    let prefixes = matches.iter().all(|one| one["uri"]["prefix"].is_string());
    rule.insert("match".into(), matches.into());
    act(dice, &mut rule, prefixes);
    Value::Object(rule)
}

fn one_match(dice: &mut Dice) -> Value {
    let mut one = Map::new();
    if dice.percent(75) {
        one.insert("uri".into(), path_match(dice));
        if dice.percent(15) {
            one.insert("ignoreUriCase".into(), true.into());
        }
    }
    if dice.percent(30) {
        one.insert("headers".into(), value_matches(dice, &HEADERS, 2));
    }
    if dice.percent(16) {
        one.insert("withoutHeaders".into(), value_matches(dice, &HEADERS, 1));
    }
    if dice.percent(20) {
        one.insert("queryParams".into(), value_matches(dice, &QUERIES, 2));
    }
    if dice.percent(15) {
        let method = dice.pick(&METHODS);
        let condition = if dice.percent(80) { json!({"exact": method}) } else { json!({"regex": "GET|POST"}) };
        one.insert("method".into(), condition);
    }
    if dice.percent(9) {
        one.insert("authority".into(), json!({"prefix": dice.pick(&["h", "w", "alpha", "x."])}));
    }
    if dice.percent(5) {
        one.insert("scheme".into(), json!({"exact": dice.pick(&["http", "https"])}));
    }
    if dice.percent(5) {
        one.insert("port".into(), dice.pick(&[80, 81]).into());
    }
    if dice.percent(5) {
        one.insert("gateways".into(), json!([dice.pick(&["mesh", "shop/edge", "edge-two"])]));
    }
    if dice.percent(4) {
        one.insert("sourceNamespace".into(), dice.pick(&[NAMESPACE, "back", "istio-system"]).into());
    }
    if dice.percent(4) {
        let labels = if dice.percent(60) { json!({"app": "caller"}) } else { json!({"istio": "edge"}) };
        one.insert("sourceLabels".into(), labels);
    }
    if one.is_empty() {
        one.insert("uri".into(), json!({"prefix": "/"}));
    }
    Value::Object(one)
}

/// What a rule does. `prefixes`: every match of it is a prefix.
fn act(dice: &mut Dice, rule: &mut Map<String, Value>, prefixes: bool) {
    match dice.below(20) {
        0..=2 => drop(rule.insert("redirect".into(), redirect(dice, prefixes))),
        3..=4 => drop(rule.insert("directResponse".into(), direct_response(dice))),
        _ => {
            rule.insert("route".into(), route(dice));
            if dice.percent(30) {
                rule.insert("rewrite".into(), rewrite(dice));
            }
            if dice.percent(15) {
                rule.insert("timeout".into(), dice.pick(&["10s", "1m", "2.5s"]).into());
            }
            if dice.percent(12) {
                mirror(dice, rule);
            }
            if dice.percent(40) {
                rule.insert("retries".into(), retries(dice));
            }
        }
    }
    if dice.percent(35) {
        rule.insert("headers".into(), headers(dice, true));
    }
    if dice.percent(12) {
        rule.insert("fault".into(), fault(dice));
    }
    if rule.contains_key("route") && dice.percent(15) {
        rule.insert("corsPolicy".into(), cors_policy(dice));
    }
}

/// All or nothing: a share of the requests is another test's business.
fn mirror(dice: &mut Dice, rule: &mut Map<String, Value>) {
    let to = |dice: &mut Dice| {
        let mut to = json!({"host": dice.pick(&SERVICES).name_for(dice)});
        if dice.percent(30) {
            to["subset"] = dice.pick(&SUBSETS).into();
        }
        to
    };
    if dice.percent(40) {
        let one = |dice: &mut Dice| json!({"destination": to(dice), "percentage": {"value": dice.pick(&[0.0, 100.0])}});
        rule.insert("mirrors".into(), json!([one(dice), one(dice)]));
        return;
    }
    rule.insert("mirror".into(), to(dice));
    if dice.percent(30) {
        rule.insert("mirrorPercentage".into(), json!({"value": dice.pick(&[0.0, 100.0])}));
    }
}

fn retries(dice: &mut Dice) -> Value {
    let mut retries = json!({"attempts": dice.below(4), "backoff": "1ms"});
    if dice.percent(80) {
        let on = ["5xx", "gateway-error", "retriable-4xx,503", "reset,cancelled", "unavailable,500", "connect-failure"];
        retries["retryOn"] = dice.pick(&on).into();
    }
    if dice.percent(10) {
        retries["perTryTimeout"] = "5s".into();
    }
    retries
}

fn fault(dice: &mut Dice) -> Value {
    let mut fault = json!({});
    let percentage = json!({"value": dice.pick(&[0.0, 0.5, 30.0, 100.0])});
    if dice.percent(80) {
        fault["abort"] = json!({"httpStatus": dice.pick(&[400, 429, 503, 555]), "percentage": percentage});
    } else {
        fault["delay"] = json!({"fixedDelay": "1ms", "percentage": percentage});
    }
    fault
}

fn cors_policy(dice: &mut Dice) -> Value {
    let origins = [
        json!({"exact": "https://a.example"}),
        json!({"prefix": "https://"}),
        json!({"regex": "https?://(a|b)\\.example"}),
        json!({"exact": "*"}),
    ];
    let mut policy = json!({"allowOrigins": [origins[dice.below(origins.len())]]});
    for (field, value) in [
        ("allowMethods", json!(["GET", "PUT"])),
        ("allowHeaders", json!(["x-user", "content-type"])),
        ("exposeHeaders", json!(["x-set"])),
        ("maxAge", json!("24h")),
        ("allowCredentials", json!(true)),
        ("unmatchedPreflights", json!(dice.pick(&["FORWARD", "IGNORE"]))),
    ] {
        if dice.percent(40) {
            policy[field] = value;
        }
    }
    policy
}

fn route(dice: &mut Dice) -> Value {
    let several = dice.percent(35);
    let destinations = if several { 2 + dice.below(2) } else { 1 };
    let mut list: Vec<Value> = (0..destinations).map(|_| destination(dice, several)).collect();
    if several && list.iter().all(|one| one["weight"] == 0) {
        list[0]["weight"] = 1.into();
    }
    list.into()
}

fn destination(dice: &mut Dice, weighted: bool) -> Value {
    let host = if dice.percent(12) {
        service_entry::host(dice.below(service_entry::OUTSIDE))
    } else {
        dice.pick(&SERVICES).name_for(dice)
    };
    let mut to = json!({"host": host});
    if dice.percent(45) {
        to["subset"] = dice.pick(&SUBSETS).into();
    } else if dice.percent(4) {
        to["subset"] = "v9".into();
    }
    if dice.percent(30) {
        to["port"] = json!({"number": 80});
    }
    let mut destination = json!({"destination": to});
    if weighted {
        destination["weight"] = dice.pick(&[0, 1, 10, 20, 50, 90]).into();
    }
    if dice.percent(15) {
        destination["headers"] = headers(dice, false);
    }
    destination
}

fn rewrite(dice: &mut Dice) -> Value {
    let mut rewrite = Map::new();
    match dice.below(10) {
        0..=5 => drop(rewrite.insert("uri".into(), dice.pick(&NEW_PATHS).into())),
        6..=7 => {
            let (pattern, new) = dice.pick(&PATH_REWRITES);
            rewrite.insert("uriRegexRewrite".into(), json!({"match": pattern, "rewrite": new}));
        }
        _ => {}
    }
    if rewrite.is_empty() || dice.percent(30) {
        rewrite.insert("authority".into(), "inside.example".into());
    }
    Value::Object(rewrite)
}

fn redirect(dice: &mut Dice, prefixes: bool) -> Value {
    let mut redirect = Map::new();
    if dice.percent(50) {
        redirect.insert("uri".into(), dice.pick(&NEW_PATHS).into());
    } else if prefixes && dice.percent(50) {
        redirect.insert("prefixRewrite".into(), dice.pick(&NEW_PATHS).into());
    }
    if redirect.is_empty() || dice.percent(40) {
        redirect.insert("authority".into(), dice.pick(&["else.example", "else.example:8080"]).into());
    }
    if dice.percent(30) {
        redirect.insert("scheme".into(), dice.pick(&["http", "https"]).into());
    }
    match dice.below(4) {
        0 => drop(redirect.insert("port".into(), dice.pick(&[80, 443, 8080]).into())),
        1 => drop(
            redirect.insert("derivePort".into(), dice.pick(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]).into()),
        ),
        _ => {}
    }
    if dice.percent(50) {
        redirect.insert("redirectCode".into(), dice.pick(&[301, 302, 303, 307, 308]).into());
    }
    Value::Object(redirect)
}

fn direct_response(dice: &mut Dice) -> Value {
    let mut response = json!({"status": dice.pick(&[200, 204, 403, 418, 503])});
    if response["status"] != 204 && dice.percent(70) {
        response["body"] = json!({"string": dice.pick(&["short and stout", "{\"a\": 1}", "two\nlines"])});
    }
    response
}

/// `headers` of a rule or of a destination. `host`: the authority may be among them.
fn headers(dice: &mut Dice, host: bool) -> Value {
    let mut headers = Map::new();
    for message in dice.some(&["request", "response"], 2) {
        let mut operations = json!({});
        for (operation, name, value) in edits(dice) {
            match operation {
                "remove" => match &mut operations["remove"] {
                    Value::Array(names) => names.push(name.into()),
                    none => *none = json!([name]),
                },
                _ if dice.percent(30) => operations[operation][name] = made_up(dice, message).into(),
                _ => operations[operation][name] = value.into(),
            }
        }
        if host && message == "request" && dice.percent(10) {
            operations["set"]["Host"] = "set.example".into();
        }
        headers.insert(message.into(), operations);
    }
    Value::Object(headers)
}

/// The conditions of a VirtualService's rules, for requests to aim at.
pub fn conditions(object: &Value) -> Vec<Value> {
    let rules = object["spec"]["http"].as_array().into_iter().flatten();
    rules.flat_map(|rule| rule["match"].as_array().cloned().unwrap_or_else(|| vec![json!({})])).collect()
}
