//! Istio's Gateway: which pods listen where, for which hosts.

use super::decode::{Field, Fields};
use super::patterns;
use super::{Labels, Meta, Spot};

/// An Istio Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Who it is.
    pub meta: Meta,
    /// Labels of the pods that serve it.
    pub selector: Labels,
    /// What they serve.
    pub servers: Vec<Server>,
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `servers[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: ServerProtocol,
    /// Hosts it takes.
    pub hosts: Vec<ServerHost>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ServerProtocol {
    Http,
    Tcp,
}

/// One host of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerHost {
    /// VirtualServices of this namespace only; `None` is any.
    pub namespace: Option<String>,
    /// Host pattern.
    pub host: String,
}

/// Decodes a Gateway.
pub fn gateway(meta: Meta, mut root: Fields<'_>) -> Option<Gateway> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a Gateway")?;
    let selector = fields.get("selector").map(|f| f.labels()).unwrap_or_default();
    if selector.is_empty() {
        spec.error(
            "missing-field",
            "a Gateway has to say which pods serve it",
            "add `selector`, such as `istio: ingressgateway`",
        );
    }
    let servers = fields.require("servers").map(|f| f.items()).unwrap_or_default();
    let servers = servers.iter().filter_map(|item| server(item, meta.namespace())).collect();
    fields.finish();
    Some(Gateway { meta, selector, servers })
}

fn server(item: &Field<'_>, namespace: &str) -> Option<Server> {
    let mut fields = item.fields("a server")?;
    let mut protocol = None;
    let mut number = None;
    if let Some(mut port) = fields.require("port").and_then(|f| f.fields("a server port")) {
        number = port.require("number").and_then(|f| f.port());
        protocol = port.require("protocol").and_then(|f| server_protocol(&f));
        port.harmless(&["name"]);
        port.not_honoured(&["targetPort"]);
        port.finish();
    }
    let hosts = fields.require("hosts").map(|f| f.items()).unwrap_or_default();
    let hosts = hosts.iter().filter_map(|f| server_host(f, namespace)).collect();
    fields.harmless(&["name"]);
    if protocol.is_some() {
        fields.not_supported(&["tls"]);
    } else {
        fields.harmless(&["tls"]);
    }
    fields.not_supported(&["bind", "defaultEndpoint"]);
    fields.finish();
    Some(Server { path: item.path.clone(), spot: item.spot(), port: number?, protocol: protocol?, hosts })
}

fn server_protocol(field: &Field<'_>) -> Option<ServerProtocol> {
    let text = field.text()?;
    match text.to_ascii_uppercase().as_str() {
        "HTTP" => Some(ServerProtocol::Http),
        "TCP" | "MONGO" => Some(ServerProtocol::Tcp),
        "HTTPS" | "TLS" | "GRPC" | "HTTP2" | "GRPC-WEB" => {
            field.not_supported(format!("protocol {text} at a gateway"));
            None
        }
        _ => {
            field.error("wrong-value", format!("`{text}` is no protocol"), "HTTP or TCP");
            None
        }
    }
}

fn server_host(field: &Field<'_>, own: &str) -> Option<ServerHost> {
    let text = field.text()?;
    let (namespace, host) = match text.split_once('/') {
        Some(("*", host)) => (None, host),
        Some((".", host)) => (Some(own.to_string()), host),
        Some((namespace, host)) => (Some(namespace.to_string()), host),
        None => (None, text),
    };
    Some(ServerHost { namespace, host: patterns::host_name(field, host, true)? })
}
