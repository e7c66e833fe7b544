//! Sidecar: what of the mesh the proxies of a namespace, or of some of its pods, see.

use super::decode::{Field, Fields};
use super::destination_rule::{Pool, connection_pool};
use super::patterns;
use super::service::{self, Carried};
use super::service_entry::workload_selector;
use super::{Labels, Meta, Spot};
use std::net::SocketAddr;

/// A Sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Who it is.
    pub meta: Meta,
    /// Labels of the pods; `None` is every pod of the namespace (of the whole mesh for one in the root namespace).
    pub selector: Option<Labels>,
    /// What is seen; `None` is everything.
    pub egress: Option<Vec<EgressHost>>,
    /// What is said of the ways to the pod's own app; each port once.
    pub ingress: Vec<Ingress>,
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

/// One entry of `ingress[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingress {
    /// `ingress[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// The pod's port that others call.
    pub port: u16,
    /// How it is carried, whatever Services say.
    pub carried: Carried,
    /// The app's port; `None` is the same one.
    pub endpoint: Option<u16>,
    /// Limits and times of the connections to it.
    pub pool: Option<Pool>,
}

/// One entry of `egress[].hosts[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressHost {
    /// The one port at which it is seen, and with it no others than those that name that port. `None` is every port that has no listener of its own.
    pub port: Option<u16>,
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
        let ingress = Vec::new();
        return Some(Sidecar { meta, selector: None, egress: None, ingress, inbound_pool: None, outbound: None });
    };
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a Sidecar")?;
    let selector = fields.get("workloadSelector").and_then(|f| workload_selector(&f));
    let egress = fields.get("egress").map(|list| egress(&list.items(), meta.namespace()));
    let mut outbound = None;
    if let Some(mut policy) = fields.get("outboundTrafficPolicy").and_then(|f| f.fields("an outbound traffic policy")) {
        outbound = outbound_policy(&mut policy);
        policy.not_supported(&["egressProxy"]);
        policy.finish();
    }
    let ingress = fields.get("ingress").map(|list| ingress(&list.items())).unwrap_or_default();
    let inbound_pool = fields.get("inboundConnectionPool").map(|f| connection_pool(&f));
    fields.finish();
    let selector = selector.filter(|labels| !labels.is_empty());
    Some(Sidecar { meta, selector, egress, ingress, inbound_pool, outbound })
}

/// Nothing is captured in any mode: apps call the proxy, and proxies are called where the mesh says.
fn capture_mode(fields: &mut Fields<'_>) {
    if let Some(mode) = fields.get("captureMode") {
        mode.word(&[("DEFAULT", ()), ("IPTABLES", ()), ("NONE", ())]);
    }
}

/// `port` of a listener: its number and how it is carried.
fn listener_port<'a>(field: &Field<'a>) -> Option<(u16, &'a str, Carried)> {
    let mut fields = field.fields("a port")?;
    let number = fields.require("number").and_then(|f| f.port());
    let protocol = fields.require("protocol").and_then(|f| f.text());
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("");
    fields.not_supported(&["targetPort"]);
    fields.finish();
    let (number, protocol) = (number?, protocol?);
    let (carried, reason) = service::carried(Some(protocol), name, number);
    service::warn_about(field, number, reason);
    Some((number, protocol, carried))
}

fn ingress(items: &[Field<'_>]) -> Vec<Ingress> {
    let mut all: Vec<Ingress> = Vec::new();
    for item in items {
        let Some(mut fields) = item.fields("an ingress listener") else { continue };
        let port = fields.require("port");
        let port = port.as_ref().and_then(listener_port);
        let endpoint = fields.get("defaultEndpoint").map(|f| default_endpoint(&f));
        let pool = fields.get("connectionPool").map(|f| connection_pool(&f));
        capture_mode(&mut fields);
        fields.not_supported(&["bind", "tls"]);
        fields.finish();
        let (Some((port, _, carried)), None | Some(Some(_))) = (port, endpoint) else { continue };
        if all.iter().any(|other| other.port == port) {
            item.error("duplicate-port", format!("port {port} is there twice"), "merge the two");
        }
        all.push(Ingress {
            path: item.path.clone(),
            spot: item.spot(),
            port,
            carried,
            endpoint: endpoint.flatten(),
            pool,
        });
    }
    all
}

/// The port of `127.0.0.1:PORT` and the like. By which of its addresses the app is called is the placement's business: it knows where the app listens.
fn default_endpoint(field: &Field<'_>) -> Option<u16> {
    let text = field.text()?;
    if text.starts_with("unix://") {
        field.not_supported("a Unix socket as `defaultEndpoint`");
        return None;
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 && (address.ip().is_loopback() || address.ip().is_unspecified()) => {
            Some(address.port())
        }
        _ => {
            let message = format!("`{text}` is no port of the pod itself");
            field.error("wrong-address", message, "write 127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT or [::]:PORT");
            None
        }
    }
}

fn egress(items: &[Field<'_>], own: &str) -> Vec<EgressHost> {
    let (mut all, mut ports) = (Vec::new(), Vec::new());
    for item in items {
        let Some(mut fields) = item.fields("an egress listener") else { continue };
        let hosts = fields.require("hosts").map(|f| f.items()).unwrap_or_default();
        let declared = fields.get("port");
        let port = declared.as_ref().map(listener_port);
        fields.not_supported(&["bind"]);
        capture_mode(&mut fields);
        fields.finish();
        // A proxy for all ports is what ours is.
        let port = match port {
            Some(None) => continue,
            Some(Some((number, protocol, _))) if !protocol.eq_ignore_ascii_case("http_proxy") => Some(number),
            _ => None,
        };
        if ports.contains(&port) {
            let which = port.map_or("without a port".into(), |port| format!("at port {port}"));
            item.error("duplicate-port", format!("there are two listeners {which}"), "merge the two");
        }
        ports.push(port);
        all.extend(hosts.iter().filter_map(|field| Some(EgressHost { port, ..egress_host(field, own)? })));
    }
    all
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
    Some(EgressHost { port: None, namespace, host: patterns::host_name(field, host, true)? })
}
