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
    /// TLS that is not terminated.
    Tls,
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
    match protocol {
        Some(ServerProtocol::Http | ServerProtocol::Tcp) => fields.not_supported(&["tls"]),
        Some(ServerProtocol::Tls) => passthrough(&mut fields),
        None => fields.harmless(&["tls"]),
    }
    fields.not_supported(&["bind", "defaultEndpoint"]);
    fields.finish();
    Some(Server { path: item.path.clone(), spot: item.spot(), port: number?, protocol: protocol?, hosts })
}

/// TLS has to pass as it is: nothing is terminated here.
fn passthrough(server: &mut Fields<'_>) {
    let Some(tls) = server.require("tls") else { return };
    let Some(mut fields) = tls.fields("the TLS settings of a server") else { return };
    let modes = [
        ("PASSTHROUGH", true),
        ("SIMPLE", false),
        ("MUTUAL", false),
        ("OPTIONAL_MUTUAL", false),
        ("ISTIO_MUTUAL", false),
        ("AUTO_PASSTHROUGH", false),
    ];
    match fields.get("mode") {
        Some(mode) if mode.word(&modes) == Some(false) => {
            mode.not_supported(format!("TLS mode {} at a gateway", mode.text().unwrap_or("")));
        }
        Some(_) => {}
        None => tls.not_supported("TLS mode SIMPLE at a gateway"),
    }
    // They belong to modes that terminate.
    fields.harmless(&[
        "httpsRedirect",
        "serverCertificate",
        "privateKey",
        "caCertificates",
        "caCrl",
        "credentialName",
        "credentialNames",
        "caCertCredentialName",
        "tlsCertificates",
        "subjectAltNames",
        "verifyCertificateSpki",
        "verifyCertificateHash",
        "minProtocolVersion",
        "maxProtocolVersion",
        "cipherSuites",
        "insecureSkipVerify",
    ]);
    fields.finish();
}

fn server_protocol(field: &Field<'_>) -> Option<ServerProtocol> {
    let text = field.text()?;
    match text.to_ascii_uppercase().as_str() {
        "HTTP" => Some(ServerProtocol::Http),
        "TCP" | "MONGO" => Some(ServerProtocol::Tcp),
        "HTTPS" | "TLS" => Some(ServerProtocol::Tls),
        "GRPC" | "HTTP2" | "GRPC-WEB" => {
            field.not_supported(format!("protocol {text} at a gateway"));
            None
        }
        _ => {
            field.error("wrong-value", format!("`{text}` is no protocol"), "HTTP, TCP or TLS");
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
