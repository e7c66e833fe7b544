//! GatewayClass, Gateway and ReferenceGrant of the Kubernetes Gateway API.

use super::decode::{Field, Fields};
use super::patterns;
use super::{Labels, Meta, Spot};

/// A GatewayClass; any controller is taken for ours.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayClass {
    /// Who it is.
    pub meta: Meta,
    /// Whose Gateways of this class are.
    pub controller: String,
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
    /// Why none of `addresses` can be had; `None` when it asks for none.
    pub addresses: Option<AddressProblem>,
    /// It has `infrastructure.parametersRef`, and is refused for it.
    pub parameters: bool,
}

/// What is wrong with the addresses that a Gateway asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressProblem {
    /// One of a type that nobody here knows; the Gateway is refused.
    UnknownType,
    /// Addresses are given to a gateway, never asked for.
    NotUsable,
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
    /// What is spoken there, and so the kind of the routes; `None` is a protocol without routes here.
    pub protocol: Option<K8sProtocol>,
    /// Whether routes of that kind may attach.
    pub takes_routes: bool,
    /// Kinds of `allowedRoutes` that can never attach there.
    pub foreign_kinds: Vec<String>,
    /// Why it is not served; the other listeners are.
    pub problem: Option<ListenerProblem>,
    /// Where its protocol stands, or what says that TLS is to be terminated.
    pub protocol_spot: Spot,
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

/// Why a listener is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerProblem {
    /// Its protocol is not spoken here.
    Protocol(String),
    /// TLS would have to be terminated.
    Terminate,
    /// This other listener has the port and speaks otherwise.
    ProtocolConflict(String),
    /// This other listener has the port and the hostname.
    HostnameConflict(String),
}

/// Namespaces whose routes may attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The Gateway's own.
    Same,
    /// Every one.
    All,
    /// Those with such labels.
    Selector(LabelSelector),
    /// None.
    None,
}

/// A selector of Kubernetes: all of it has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`.
    labels: Labels,
    /// `matchExpressions`: key, operator, values.
    expressions: Vec<(String, Operator, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects what has these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        let holds = |(key, operator, values): &(String, Operator, Vec<String>)| {
            let value = labels.get(key);
            match operator {
                Operator::In => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        super::selects(&self.labels, labels) && self.expressions.iter().all(holds)
    }
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
    let controller = fields.require("controllerName").and_then(|f| f.text()).unwrap_or("").to_string();
    fields.harmless(&["description"]);
    fields.not_supported(&["parametersRef"]);
    fields.finish();
    Some(GatewayClass { meta, controller })
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
        listeners.push(listener);
    }
    conflicts(&mut listeners);
    for listener in &listeners {
        let Some(problem) = &listener.problem else { continue };
        let (code, span) = match problem {
            ListenerProblem::Protocol(_) | ListenerProblem::Terminate => {
                ("not-supported-yet", listener.protocol_spot.span)
            }
            ListenerProblem::ProtocolConflict(_) | ListenerProblem::HostnameConflict(_) => {
                ("conflict", listener.spot.span)
            }
        };
        let (message, mend) = problem.tell();
        let message = format!("listener `{}` is not served: {message}", listener.name);
        fields.field().context.part_error(span, code, message, mend);
    }
    let mut parameters = false;
    if let Some(mut infrastructure) = fields.get("infrastructure").and_then(|f| f.fields("the infrastructure")) {
        infrastructure.harmless(&["labels", "annotations"]);
        parameters = infrastructure.field().node.get("parametersRef").is_some_and(|node| !node.is_null());
        infrastructure.not_supported(&["parametersRef"]);
        infrastructure.finish();
    }
    let addresses = fields.get("addresses").and_then(|f| addresses(&f));
    fields.not_supported(&["backendTLS", "tls", "allowedListeners", "defaultScope"]);
    fields.finish();
    let class = class?;
    let class_spot = class.spot();
    Some(K8sGateway { meta, class: class.text()?.to_string(), class_spot, listeners, addresses, parameters })
}

/// Types of addresses, as the API names them; others are somebody's own.
const ADDRESS_TYPES: &[&str] = &["IPAddress", "Hostname", "NamedAddress"];

/// Where a gateway listens is not its own choice.
fn addresses(field: &Field<'_>) -> Option<AddressProblem> {
    let mut problem = None;
    for item in field.items() {
        let Some(mut fields) = item.fields("an address") else { continue };
        if let Some(kind) = fields.get("type")
            && let Some(word) = kind.text_among(ADDRESS_TYPES).filter(|word| !matches!(*word, "IPAddress" | "Hostname"))
        {
            kind.not_supported(format!("an address of type {word}"));
            problem = Some(AddressProblem::UnknownType);
        }
        if let Some(value) = fields.get("value")
            && problem.is_none()
        {
            value.warning("not-honoured", "a gateway cannot choose its addresses", "leave `addresses` out");
            problem = Some(AddressProblem::NotUsable);
        }
        fields.finish();
    }
    problem
}

/// Listeners that a connection cannot be told apart for are none of them served.
fn conflicts(listeners: &mut [K8sListener]) {
    let problem = |listener: &K8sListener, other: &K8sListener| {
        if listener.port != other.port || listener.transport() != other.transport() || listener.name == other.name {
            return None;
        }
        let terminates = |listener: &K8sListener| listener.problem == Some(ListenerProblem::Terminate);
        if listener.protocol != other.protocol || terminates(listener) != terminates(other) {
            return Some(ListenerProblem::ProtocolConflict(other.name.clone()));
        }
        let alike = listener.protocol == Some(K8sProtocol::Tcp) || listener.hostname == other.hostname;
        alike.then(|| ListenerProblem::HostnameConflict(other.name.clone()))
    };
    let found: Vec<_> = listeners.iter().map(|one| listeners.iter().find_map(|other| problem(one, other))).collect();
    for (listener, found) in listeners.iter_mut().zip(found) {
        // A protocol that is not spoken says more than a conflict about it.
        if !matches!(listener.problem, Some(ListenerProblem::Protocol(_))) {
            listener.problem = found.or(listener.problem.take());
        }
    }
}

impl ListenerProblem {
    /// For people: what is wrong, and how to mend it.
    pub fn tell(&self) -> (String, &'static str) {
        match self {
            ListenerProblem::Protocol(word) => (
                format!("protocol {word} at a gateway is not supported yet"),
                "use HTTP, TCP, or TLS with mode Passthrough",
            ),
            ListenerProblem::Terminate => {
                ("TLS mode Terminate at a gateway is not supported yet".into(), "let TLS pass, with mode Passthrough")
            }
            ListenerProblem::ProtocolConflict(other) => {
                (format!("listener `{other}` has the same port and another protocol"), "change one of the two")
            }
            ListenerProblem::HostnameConflict(other) => {
                (format!("listener `{other}` has the same port and hostname"), "change one of the two")
            }
        }
    }
}

impl K8sListener {
    /// UDP ports are others than TCP's.
    fn transport(&self) -> &'static str {
        match &self.problem {
            Some(ListenerProblem::Protocol(word)) if word == "UDP" => "UDP",
            _ => "TCP",
        }
    }
}

fn listener(item: &Field<'_>) -> Option<K8sListener> {
    let mut fields = item.fields("a listener")?;
    let name = fields.require("name").and_then(|f| f.text());
    let port = fields.require("port").and_then(|f| f.port());
    let hostname = fields.get("hostname").and_then(|f| patterns::host_name(&f, f.text()?, true));
    let written = fields.require("protocol");
    let word = written.as_ref().and_then(|f| f.text_among(PROTOCOLS));
    let protocol = match word {
        Some("HTTP") => Some(K8sProtocol::Http),
        Some("TCP") => Some(K8sProtocol::Tcp),
        Some("TLS") => Some(K8sProtocol::Tls),
        _ => None,
    };
    let mut protocol_spot = written.as_ref().map_or(item.spot(), Field::spot);
    let mut problem = None;
    match protocol {
        Some(K8sProtocol::Http | K8sProtocol::Tcp) => fields.not_supported(&["tls"]),
        Some(K8sProtocol::Tls) => {
            if let Some(spot) = terminated(&mut fields) {
                (problem, protocol_spot) = (Some(ListenerProblem::Terminate), spot);
            }
        }
        None => {
            problem = Some(ListenerProblem::Protocol(word.unwrap_or_default().to_string()));
            fields.refused(&["tls"]);
        }
    }
    let (mut allowed, mut takes_routes, mut foreign_kinds) = (Allowed::Same, protocol.is_some(), Vec::new());
    if let Some(mut routes) = fields.get("allowedRoutes").and_then(|f| f.fields("allowedRoutes")) {
        if let Some(namespaces) = routes.get("namespaces") {
            allowed = allowed_namespaces(&namespaces).unwrap_or(Allowed::None);
        }
        let kinds = routes.get("kinds").map(|f| f.items()).unwrap_or_default();
        let own = protocol.map(K8sProtocol::route_kind);
        let all: Vec<_> = kinds.iter().filter_map(route_kind).collect();
        if !all.is_empty() {
            takes_routes = all.iter().any(|(group, kind)| group == GROUP && Some(kind.as_str()) == own);
            let foreign = all.into_iter().filter(|(group, kind)| group != GROUP || Some(kind.as_str()) != own);
            foreign_kinds = foreign.map(|(_, kind)| kind).collect();
            if protocol.is_some() && !foreign_kinds.is_empty() {
                let message = format!("{} cannot attach to this listener", foreign_kinds.join(", "));
                let mend = own.map_or(String::new(), |own| format!("its protocol takes {own}"));
                item.warning("unknown-kind", message, mend);
            }
        }
        routes.finish();
    }
    fields.finish();
    word?;
    Some(K8sListener {
        path: item.path.clone(),
        spot: item.spot(),
        name: name?.to_string(),
        port: port?,
        hostname: hostname.unwrap_or_else(|| "*".into()),
        allowed,
        protocol,
        takes_routes,
        foreign_kinds,
        problem,
        protocol_spot,
    })
}

/// The API group of routes.
const GROUP: &str = "gateway.networking.k8s.io";
/// Protocols of listeners, as the API names them.
const PROTOCOLS: &[&str] = &["HTTP", "TCP", "TLS", "HTTPS", "UDP"];

/// Group and kind.
fn route_kind(item: &Field<'_>) -> Option<(String, String)> {
    let mut fields = item.fields("a kind of route")?;
    let group = fields.get("group").and_then(|f| f.text()).unwrap_or(GROUP).to_string();
    let kind = fields.require("kind").and_then(|f| f.text());
    fields.finish();
    Some((group, kind?.to_string()))
}

/// What says that TLS is to be terminated.
fn terminated(listener: &mut Fields<'_>) -> Option<Spot> {
    let tls = listener.require("tls")?;
    let mut fields = tls.fields("the TLS settings of a listener")?;
    let mode = fields.get("mode");
    let word = mode.as_ref().map_or(Some(true), |f| f.word(&[("Terminate", true), ("Passthrough", false)]));
    // They belong to the mode that terminates.
    fields.harmless(&["certificateRefs", "frontendValidation", "options"]);
    fields.finish();
    word?.then(|| mode.map_or(tls.spot(), |f| f.spot()))
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

fn label_selector(field: &Field<'_>) -> Option<LabelSelector> {
    let mut fields = field.fields("a label selector")?;
    let labels = fields.get("matchLabels").map(|f| f.labels()).unwrap_or_default();
    let mut selector = LabelSelector { labels, expressions: Vec::new() };
    for item in fields.get("matchExpressions").map(|f| f.items()).unwrap_or_default() {
        let Some(mut expression) = item.fields("a match expression") else { continue };
        let key = expression.require("key").and_then(|f| f.text());
        let operators = [
            ("In", Operator::In),
            ("NotIn", Operator::NotIn),
            ("Exists", Operator::Exists),
            ("DoesNotExist", Operator::DoesNotExist),
        ];
        let operator = expression.require("operator").and_then(|f| f.word(&operators));
        let values = expression.get("values").map(|f| f.texts()).unwrap_or_default();
        expression.finish();
        let (Some(key), Some(operator)) = (key, operator) else { continue };
        if matches!(operator, Operator::In | Operator::NotIn) == values.is_empty() {
            let message = "`In` and `NotIn` have values, `Exists` and `DoesNotExist` have none";
            item.error("wrong-value", message, "look at `values`");
        }
        selector.expressions.push((key.to_string(), operator, values));
    }
    fields.finish();
    Some(selector)
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
