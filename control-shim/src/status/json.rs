//! A status as the patch that a cluster would get.

use super::{Condition, Content, ListenerStatus, ObjectStatus, ParentStatus};
use crate::object::http_route::{Parent, ParentKind};
use crate::object::objects::K8S_GATEWAY;
use crate::status::FEATURES;
use serde_json::{Map, Value, json};

const GROUP: &str = "gateway.networking.k8s.io";

/// `apiVersion`, `kind`, `metadata` and `status`.
pub fn to_json(status: &ObjectStatus) -> Value {
    let kind = if &*status.object.kind == K8S_GATEWAY { "Gateway" } else { &*status.object.kind };
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(&*status.object.name));
    if !status.object.namespace.is_empty() {
        metadata.insert("namespace".into(), json!(&*status.object.namespace));
    }
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata, "status": content(status)})
}

fn content(status: &ObjectStatus) -> Value {
    let conditions =
        |all: &[Condition]| -> Vec<Value> { all.iter().map(|one| condition(one, status.generation)).collect() };
    match &status.content {
        Content::Class { conditions: all } => {
            let features: Vec<Value> = FEATURES.iter().map(|name| json!({"name": name})).collect();
            json!({"conditions": conditions(all), "supportedFeatures": features})
        }
        Content::Gateway { conditions: all, listeners } => {
            let listener = |one: &ListenerStatus| {
                let kinds: Vec<Value> =
                    one.supported_kind.iter().map(|kind| json!({"group": GROUP, "kind": kind})).collect();
                json!({
                    "name": one.name,
                    "supportedKinds": kinds,
                    "attachedRoutes": one.attached_routes,
                    "conditions": conditions(&one.conditions),
                })
            };
            json!({"conditions": conditions(all), "listeners": listeners.iter().map(listener).collect::<Vec<_>>()})
        }
        Content::Route { parents } => {
            let one = |parent: &ParentStatus| {
                json!({
                    "parentRef": reference(&parent.parent),
                    "controllerName": parent.controller,
                    "conditions": conditions(&parent.conditions),
                })
            };
            // A parent that is not there has nobody to speak for it.
            let there = parents.iter().filter(|parent| !parent.conditions.is_empty());
            json!({"parents": there.map(one).collect::<Vec<_>>()})
        }
    }
}

fn condition(condition: &Condition, generation: u64) -> Value {
    let mut value = json!({
        "type": condition.kind,
        "status": if condition.status { "True" } else { "False" },
        "reason": condition.reason,
        "message": condition.message,
    });
    if generation > 0 {
        value["observedGeneration"] = json!(generation);
    }
    value
}

/// As the route wrote it, with the API's defaults.
fn reference(parent: &Parent) -> Value {
    let (group, kind) = match parent.kind {
        ParentKind::Gateway => (GROUP, "Gateway"),
        ParentKind::Service => ("", "Service"),
    };
    let mut value = json!({"group": group, "kind": kind, "name": parent.name});
    if parent.namespace_given {
        value["namespace"] = json!(parent.namespace);
    }
    if let Some(section) = &parent.section {
        value["sectionName"] = json!(section);
    }
    if let Some(port) = parent.port {
        value["port"] = json!(port);
    }
    value
}
