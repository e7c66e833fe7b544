//! DestinationRules as people might write them.

use super::words::{HEADERS, QUERIES};
use super::{SUBSETS, Service};
use crate::dice::Dice;
use serde_json::{Value, json};

/// A DestinationRule with the subsets that routes name.
pub fn destination_rule(dice: &mut Dice, service: &Service) -> Value {
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
    let mut spec = json!({"host": service.host()});
    if dice.percent(60) {
        spec["trafficPolicy"] = policy(dice);
    }
    spec["subsets"] = subsets.into();
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "spec": spec,
    })
}

fn policy(dice: &mut Dice) -> Value {
    if dice.percent(25) {
        return json!({"loadBalancer": {"consistentHash": consistent_hash(dice)}});
    }
    json!({"loadBalancer": {"simple": dice.pick(&["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"])}})
}

fn consistent_hash(dice: &mut Dice) -> Value {
    let mut hash = match dice.below(4) {
        0 | 1 => json!({"httpHeaderName": dice.pick(&HEADERS)}),
        2 => json!({"httpQueryParameterName": dice.pick(&QUERIES)}),
        _ => json!({"useSourceIp": true}),
    };
    match dice.below(3) {
        0 => hash["maglev"] = json!({"tableSize": 1021}),
        1 => hash["ringHash"] = json!({"minimumRingSize": 1024}),
        _ => {}
    }
    hash
}
