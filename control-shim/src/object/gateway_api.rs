//! GatewayClass, Gateway and ReferenceGrant of the Kubernetes Gateway API.

use super::decode::{Field, Fields};
use super::patterns;
use super::{Labels, Meta, Spot};

/// A GatewayClass; any controller is taken for ours.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayClass {
    /// Who it is.
    pub meta: Meta,
}

/// A Gateway of the Gateway API. Its pods are made for it.
#[derive(Clone, Debug, PartialEq)]
pub struct K8sGateway {
    /// Who it is.
    pub meta: Meta,
    /// Name of its class.
    pub class: String,
    /// Where the class stands.
    pub class_spot: Spot,
    /// What it serves.
    pub listeners: Vec<K8sListener>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq)]
pub struct K8sListener {
    /// `listeners[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Name, for `sectionName`.
    pub name: String,
    /// Port.
    pub port: u16,
    /// Only these hosts; `*` is any.
    pub hostname: String,
    /// Whose routes may attach.
    pub allowed: Allowed,
    /// What is spoken there, and so the kind of the routes.
    pub protocol: K8sProtocol,
    /// Whether routes of that kind may attach.
    pub takes_routes: bool,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum K8sProtocol {
    Http,
    Tcp,
    /// TLS that is not terminated.
    Tls,
}

impl K8sProtocol {
    /// The kind of its routes.
    pub fn route_kind(self) -> &'static str {
        match self {
            K8sProtocol::Http => "HTTPRoute",
            K8sProtocol::Tcp => "TCPRoute",
            K8sProtocol::Tls => "TLSRoute",
        }
    }
}

/// Namespaces whose routes may attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The Gateway's own.
    Same,
    /// Every one.
    All,
    /// Those with these labels.
    Selector(Labels),
    /// None.
    None,
}

/// Permission to refer to objects of another namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceGrant {
    /// Who it is; the namespace is the one that may be referred to.
    pub meta: Meta,
    /// Who may: (group, kind, namespace).
    pub from: Vec<(String, String, String)>,
    /// To what: (group, kind, name; empty is any).
    pub to: Vec<(String, String, String)>,
}

/// Decodes a GatewayClass.
pub fn gateway_class(meta: Meta, mut root: Fields<'_>) -> Option<GatewayClass> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a GatewayClass")?;
    fields.require("controllerName");
    fields.harmless(&["description"]);
    fields.not_honoured(&["parametersRef"]);
    fields.finish();
    Some(GatewayClass { meta })
}

/// Decodes a Gateway.
pub fn gateway(meta: Meta, mut root: Fields<'_>) -> Option<K8sGateway> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a Gateway")?;
    let class = fields.require("gatewayClassName");
    let items = fields.require("listeners").map(|f| f.items()).unwrap_or_default();
    let mut listeners: Vec<K8sListener> = Vec::new();
    for item in &items {
        let Some(listener) = listener(item) else { continue };
        if listeners.iter().any(|other| other.name == listener.name) {
            item.error(
                "duplicate-listener",
                format!("listener `{}` is there twice", listener.name),
                "rename one of the two",
            );
        }
        if let Some(other) = listeners.iter().find(|other| other.port == listener.port)
            && other.protocol != listener.protocol
        {
            item.error("conflict", "another listener has the same port and another protocol", "change one of the two");
        } else if listeners.iter().any(|other| (other.port, &other.hostname) == (listener.port, &listener.hostname)) {
            item.error("conflict", "another listener has the same port and hostname", "change one of the two");
        }
        listeners.push(listener);
    }
    fields.harmless(&["infrastructure"]);
    fields.not_honoured(&["addresses"]);
    fields.not_supported(&["backendTLS", "tls", "allowedListeners", "defaultScope"]);
    fields.finish();
    let class = class?;
    let class_spot = class.spot();
    Some(K8sGateway { meta, class: class.text()?.to_string(), class_spot, listeners })
}

fn listener(item: &Field<'_>) -> Option<K8sListener> {
    let mut fields = item.fields("a listener")?;
    let name = fields.require("name").and_then(|f| f.text());
    let port = fields.require("port").and_then(|f| f.port());
    let hostname = fields.get("hostname").and_then(|f| patterns::host_name(&f, f.text()?, true));
    let mut spoken = None;
    if let Some(protocol) = fields.require("protocol") {
        spoken = match protocol.text() {
            Some("HTTP") => Some(K8sProtocol::Http),
            Some("TCP") => Some(K8sProtocol::Tcp),
            Some("TLS") => Some(K8sProtocol::Tls),
            Some(other) => {
                protocol.not_supported(format!("protocol {other} at a gateway"));
                None
            }
            None => None,
        };
    }
    match spoken {
        Some(K8sProtocol::Http | K8sProtocol::Tcp) => fields.not_supported(&["tls"]),
        Some(K8sProtocol::Tls) => passthrough(&mut fields),
        None => fields.harmless(&["tls"]),
    }
    let (mut allowed, mut takes_routes) = (Allowed::Same, true);
    if let Some(mut routes) = fields.get("allowedRoutes").and_then(|f| f.fields("allowedRoutes")) {
        if let Some(namespaces) = routes.get("namespaces") {
            allowed = allowed_namespaces(&namespaces).unwrap_or(Allowed::None);
        }
        if let Some(kinds) = routes.get("kinds") {
            takes_routes = kinds.items().iter().any(|kind| {
                let is = |field: &str, text: &str| matches!(kind.node.get(field).map(|node| &node.value), Some(crate::yaml::Value::Scalar { text: t, .. }) if &**t == text);
                spoken.is_some_and(|spoken| is("kind", spoken.route_kind()))
            });
        }
        routes.finish();
    }
    fields.finish();
    Some(K8sListener {
        path: item.path.clone(),
        spot: item.spot(),
        name: name?.to_string(),
        port: port?,
        hostname: hostname.unwrap_or_else(|| "*".into()),
        allowed,
        protocol: spoken?,
        takes_routes,
    })
}

/// TLS has to pass as it is: nothing is terminated here.
fn passthrough(listener: &mut Fields<'_>) {
    let Some(tls) = listener.require("tls") else { return };
    let Some(mut fields) = tls.fields("the TLS settings of a listener") else { return };
    match fields.get("mode") {
        Some(mode) if mode.word(&[("Passthrough", true), ("Terminate", false)]) == Some(false) => {
            mode.not_supported("TLS mode Terminate at a gateway");
        }
        Some(_) => {}
        None => tls.not_supported("TLS mode Terminate at a gateway"),
    }
    // They belong to the mode that terminates.
    fields.harmless(&["certificateRefs", "frontendValidation", "options"]);
    fields.finish();
}

fn allowed_namespaces(field: &Field<'_>) -> Option<Allowed> {
    let mut fields = field.fields("allowed namespaces")?;
    let from =
        fields.get("from").and_then(|f| f.word(&[("Same", 0), ("All", 1), ("Selector", 2), ("None", 3)])).unwrap_or(0);
    let selector = fields.get("selector");
    fields.finish();
    match from {
        0 => Some(Allowed::Same),
        1 => Some(Allowed::All),
        2 => label_selector(&selector?).map(Allowed::Selector),
        _ => Some(Allowed::None),
    }
}

fn label_selector(field: &Field<'_>) -> Option<Labels> {
    let mut fields = field.fields("a label selector")?;
    let labels = fields.get("matchLabels").map(|f| f.labels()).unwrap_or_default();
    // `key In [value]` is what most tools write for one label; other operators are refused.
    let mut labels = labels;
    for item in fields.get("matchExpressions").map(|f| f.items()).unwrap_or_default() {
        let Some(mut expression) = item.fields("a match expression") else { continue };
        let key = expression.require("key").and_then(|f| f.text());
        let operator = expression.require("operator").and_then(|f| f.text());
        let values = expression.get("values").map(|f| f.texts()).unwrap_or_default();
        expression.finish();
        match (key, operator, values.as_slice()) {
            (Some(key), Some("In"), [value]) => {
                labels.insert(key.to_string(), value.clone());
            }
            _ => item.not_supported("a match expression other than `In` with one value"),
        }
    }
    fields.finish();
    Some(labels)
}

/// Decodes a ReferenceGrant.
pub fn reference_grant(meta: Meta, mut root: Fields<'_>) -> Option<ReferenceGrant> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a ReferenceGrant")?;
    let read = |list: Option<Field<'_>>, third: &'static str| {
        let mut all = Vec::new();
        for item in list.map(|f| f.items()).unwrap_or_default() {
            let Some(mut fields) = item.fields("a reference") else { continue };
            let group = fields.get("group").and_then(|f| f.text()).unwrap_or("").to_string();
            let kind = fields.require("kind").and_then(|f| f.text()).unwrap_or("").to_string();
            let rest = fields.get(third).and_then(|f| f.text()).unwrap_or("").to_string();
            fields.finish();
            all.push((group, kind, rest));
        }
        all
    };
    let from = read(fields.require("from"), "namespace");
    let to = read(fields.require("to"), "name");
    fields.finish();
    Some(ReferenceGrant { meta, from, to })
}
