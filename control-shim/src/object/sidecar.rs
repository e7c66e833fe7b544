//! Sidecar: what of the mesh the proxies of a namespace, or of some of its pods, see.

use super::decode::{Field, Fields};
use super::destination_rule::{Pool, connection_pool};
use super::patterns;
use super::service_entry::workload_selector;
use super::{Labels, Meta, Spot};

/// A Sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Who it is.
    pub meta: Meta,
    /// Labels of the pods; `None` is every pod of the namespace (of the whole mesh for one in the root namespace).
    pub selector: Option<Labels>,
    /// What is seen; `None` is everything.
    pub egress: Option<Vec<EgressHost>>,
    /// Limits and times of the connections to the pod's own app, in place of a DestinationRule's.
    pub inbound_pool: Option<Pool>,
    /// What becomes of requests for hosts that it does not see.
    pub outbound: Option<OutboundPolicy>,
}

/// `outboundTrafficPolicy.mode`.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboundPolicy {
    /// They go where their name leads; otherwise they are refused.
    pub allow_any: bool,
    /// Where it stands.
    pub spot: Spot,
}

/// Decodes `mode` of an outbound traffic policy. An explicit proxy does not know where a request was going but for its host, so ALLOW_ANY looks that up,
/// which ALLOW_ANY_DYNAMIC_DNS says outright.
pub(super) fn outbound_policy(policy: &mut Fields<'_>) -> Option<OutboundPolicy> {
    let mode = policy.get("mode")?;
    let words = [("REGISTRY_ONLY", false), ("ALLOW_ANY", true), ("ALLOW_ANY_DYNAMIC_DNS", true)];
    Some(OutboundPolicy { allow_any: mode.word(&words)?, spot: mode.spot() })
}

/// One entry of `egress[].hosts[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressHost {
    /// Namespace of the host; `None` is any. Nothing has the namespace `~`.
    pub namespace: Option<String>,
    /// Host pattern.
    pub host: String,
}

/// Decodes a Sidecar.
pub fn sidecar(meta: Meta, mut root: Fields<'_>) -> Option<Sidecar> {
    let spec = root.get("spec");
    root.harmless(&["status"]);
    root.finish();
    let Some(spec) = spec else {
        return Some(Sidecar { meta, selector: None, egress: None, inbound_pool: None, outbound: None });
    };
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a Sidecar")?;
    let selector = fields.get("workloadSelector").and_then(|f| workload_selector(&f));
    let egress = fields.get("egress").map(|list| {
        let listeners = list.items();
        listeners.iter().flat_map(|item| egress_listener(item, meta.namespace())).collect()
    });
    let mut outbound = None;
    if let Some(mut policy) = fields.get("outboundTrafficPolicy").and_then(|f| f.fields("an outbound traffic policy")) {
        outbound = outbound_policy(&mut policy);
        policy.not_supported(&["egressProxy"]);
        policy.finish();
    }
    fields.not_supported(&["ingress"]);
    let inbound_pool = fields.get("inboundConnectionPool").map(|f| connection_pool(&f));
    fields.finish();
    Some(Sidecar { meta, selector: selector.filter(|labels| !labels.is_empty()), egress, inbound_pool, outbound })
}

fn egress_listener(item: &Field<'_>, own: &str) -> Vec<EgressHost> {
    let Some(mut fields) = item.fields("an egress listener") else { return Vec::new() };
    let hosts = fields.require("hosts").map(|f| f.items()).unwrap_or_default();
    fields.not_supported(&["port", "bind"]);
    if let Some(mode) = fields.get("captureMode") {
        // Nothing is captured either way: apps call the proxy.
        mode.word(&[("DEFAULT", ()), ("IPTABLES", ()), ("NONE", ())]);
    }
    fields.finish();
    hosts.iter().filter_map(|field| egress_host(field, own)).collect()
}

fn egress_host(field: &Field<'_>, own: &str) -> Option<EgressHost> {
    let text = field.text()?;
    let Some((namespace, host)) = text.split_once('/') else {
        field.error(
            "wrong-host",
            format!("`{text}` has to be `namespace/host`"),
            "such as `./*` or `*/api.example.com`",
        );
        return None;
    };
    let namespace = match namespace {
        "*" => None,
        "." => Some(own.to_string()),
        namespace => Some(namespace.to_string()),
    };
    Some(EgressHost { namespace, host: patterns::host_name(field, host, true)? })
}
