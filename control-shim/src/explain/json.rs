//! An explanation as JSON: the schema is in docs/explain.md.

use super::{Destination, Endpoint, Explanation, FaultMet, Outcome, Rule};
use ringway_config::model::Role;
use serde_json::{Value, json};

impl Rule {
    /// `id`, and, where it is known, kind, namespace, name, field, file, line and column; null for no rule.
    pub fn json(&self) -> Value {
        if self.id.0 == 0 {
            return Value::Null;
        }
        let mut json = json!({"id": format!("{:08x}", self.id.0)});
        if let Some(origin) = &self.origin {
            json["kind"] = json!(origin.kind);
            json["namespace"] = json!(origin.namespace);
            json["name"] = json!(origin.name);
            json["field"] = json!(origin.field);
            json["file"] = json!(origin.file);
            json["line"] = json!(origin.line);
            json["column"] = json!(origin.column);
        }
        json
    }
}

impl Explanation {
    /// Everything.
    pub fn json(&self) -> Value {
        let role = self.role.map(|role| match role {
            Role::Outbound => "outbound",
            Role::Inbound => "inbound",
            Role::Gateway => "gateway",
        });
        json!({
            "proxy": self.node,
            "listener": {"name": self.listener, "address": self.address.map(|a| a.to_string()), "role": role},
            "host": self.host.as_ref().map(|host| json!({"name": host.name, "domains": host.domains, "rule": host.rule.json()})),
            "passed": self.passed.iter().map(|p| json!({"rule": p.rule.json(), "why": p.why})).collect::<Vec<_>>(),
            "route": self.route.as_ref().map(|route| json!({"name": route.name, "rule": route.rule.json()})),
            "action": self.action,
            "fault": self.fault.as_ref().map(FaultMet::json),
            "rule": self.rule.json(),
            "outcome": self.outcome.json(),
        })
    }
}

impl FaultMet {
    fn json(&self) -> Value {
        json!({
            "rule": self.rule.json(), "delay_ms": self.delay_ms, "delay_probability": self.delay_probability,
            "abort_status": self.abort_status, "abort_probability": self.abort_probability,
        })
    }
}

impl Outcome {
    /// Tagged by `kind`.
    pub fn json(&self) -> Value {
        match self {
            Outcome::Forward { target, authority, destinations } => json!({
                "kind": "forward", "target": target, "authority": authority,
                "destinations": destinations.iter().map(Destination::json).collect::<Vec<_>>(),
            }),
            Outcome::Reply { status, flags, details, location, body } => json!({
                "kind": "reply", "status": status, "flags": flags, "details": details,
                "location": said(location), "body": body,
            }),
            Outcome::Reject { flags, details } => json!({"kind": "reject", "flags": flags, "details": details}),
            Outcome::Ask => json!({"kind": "ask"}),
        }
    }
}

impl Destination {
    fn json(&self) -> Value {
        json!({
            "rule": self.rule.json(), "cluster": said(&self.cluster), "cluster_rule": self.cluster_rule.json(),
            "probability": self.probability, "status": self.status, "settings": self.settings,
            "target": said(&self.target), "authority": said(&self.authority), "location": said(&self.location),
            "head": self.head.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
            "endpoints": self.endpoints.iter().map(Endpoint::json).collect::<Vec<_>>(),
        })
    }
}

fn said(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl Endpoint {
    fn json(&self) -> Value {
        json!({
            "address": self.address.to_string(), "workload": self.workload, "version": self.version,
            "locality": self.locality, "probability": self.probability, "draining": self.draining, "ejected": self.ejected,
        })
    }
}
