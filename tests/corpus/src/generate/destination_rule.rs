//! DestinationRules as people might write them.

use super::words::{HEADERS, QUERIES};
use super::{NAMESPACE, SUBSETS, Service};
use crate::dice::Dice;
use serde_json::{Value, json};

/// The cookie that requests are told apart by.
pub const COOKIE: &str = "session";

/// The DestinationRules for a service: its own, and at times one of those who call it.
pub fn destination_rules(dice: &mut Dice, service: &Service) -> Vec<Value> {
    let mut rules = vec![destination_rule(dice, &service.host(), service.name, service.namespace)];
    match dice.below(10) {
        0..=1 => {
            let mut own = destination_rule(dice, &service.host(), &format!("{}-for-caller", service.name), NAMESPACE);
            own["spec"]["workloadSelector"] = json!({"matchLabels": {"app": "caller"}});
            rules.push(own);
        }
        2..=4 if service.namespace != NAMESPACE => {
            let mut own = destination_rule(dice, &service.host(), &format!("{}-for-shop", service.name), NAMESPACE);
            own["spec"]["exportTo"] = json!([dice.pick(&[".", "*"])]);
            rules.push(own);
        }
        5 => rules[0]["spec"]["exportTo"] = json!([dice.pick(&[".", NAMESPACE])]),
        _ => {}
    }
    rules
}

/// One with the subsets that routes name.
pub fn destination_rule(dice: &mut Dice, host: &str, name: &str, namespace: &str) -> Value {
    let subsets: Vec<Value> = SUBSETS
        .iter()
        .map(|version| {
            let mut subset = json!({"name": version, "labels": {"version": version}});
            if dice.percent(30) {
                subset["trafficPolicy"] = policy(dice);
            }
            subset
        })
        .collect();
    let mut spec = json!({"host": host});
    if dice.percent(60) {
        spec["trafficPolicy"] = policy(dice);
    }
    spec["subsets"] = subsets.into();
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

fn policy(dice: &mut Dice) -> Value {
    let mut policy = json!({});
    if dice.percent(85) {
        policy["loadBalancer"] = balancer(dice);
    }
    if dice.percent(25) {
        policy["outlierDetection"] = never_ejects();
    }
    if dice.percent(10) {
        policy["connectionPool"] = json!({"tcp": {"connectTimeout": "5s"}, "http": {"maxRetries": 100}});
    }
    if dice.percent(12) {
        let mut port = json!({"port": {"number": dice.pick(&[80, 80, 81])}, "loadBalancer": balancer(dice)});
        if dice.percent(30) {
            port["outlierDetection"] = never_ejects();
        }
        policy["portLevelSettings"] = json!([port]);
    }
    policy
}

/// What outlier detection does to endpoints that fail is another test's business; that it is there lets localities fail over.
fn never_ejects() -> Value {
    json!({"consecutive5xxErrors": 100_000, "interval": "1h"})
}

fn balancer(dice: &mut Dice) -> Value {
    if dice.percent(30) {
        return json!({"consistentHash": consistent_hash(dice)});
    }
    let mut balancer = json!({"simple": dice.pick(&["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"])});
    if dice.percent(30) {
        balancer["localityLbSetting"] = locality_setting(dice);
    }
    balancer
}

fn locality_setting(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0..=2 => {
            let from = dice.pick(&["r1/z1/*", "r1/*", "*", "r2/*"]);
            let to = dice.pick(&[
                &[("r1/z1/*", 70), ("r1/z2/*", 30)][..],
                &[("r1/*", 80), ("r2/*", 20)],
                &[("r1/z1/*", 10), ("r1/z2/*", 40), ("r2/z1/*", 50)],
            ]);
            let to: serde_json::Map<_, _> = to.iter().map(|(to, share)| ((*to).to_owned(), json!(share))).collect();
            json!({"distribute": [{"from": from, "to": to}]})
        }
        3..=4 => json!({"failover": [{"from": "r1", "to": dice.pick(&["r2", "r3"])}]}),
        5 => json!({"failoverPriority": ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"]}),
        6 => json!({"failoverPriority": ["version=v2", "topology.kubernetes.io/region"]}),
        _ => json!({"enabled": false}),
    }
}

fn consistent_hash(dice: &mut Dice) -> Value {
    let mut hash = match dice.below(7) {
        0 | 1 => json!({"httpHeaderName": dice.pick(&HEADERS)}),
        2 => json!({"httpQueryParameterName": dice.pick(&QUERIES)}),
        3 | 4 => json!({"httpCookie": cookie(dice)}),
        _ => json!({"useSourceIp": true}),
    };
    match dice.below(3) {
        0 => hash["maglev"] = json!({"tableSize": 1021}),
        1 => hash["ringHash"] = json!({"minimumRingSize": 1024}),
        _ => {}
    }
    hash
}

fn cookie(dice: &mut Dice) -> Value {
    let mut cookie = json!({"name": COOKIE});
    if dice.percent(70) {
        cookie["ttl"] = dice.pick(&["0s", "90s", "1h"]).into();
    }
    if dice.percent(40) {
        cookie["path"] = dice.pick(&["/", "/a"]).into();
    }
    if dice.percent(50) {
        cookie["attributes"] = json!([{"name": "SameSite", "value": "Strict"}]);
    }
    cookie
}
