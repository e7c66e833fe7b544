//! Namespace, Service, EndpointSlice and ServiceAccount.

use super::decode::{Field, Fields};
use super::patterns::ExportTo;
use super::{Labels, Meta, Spot};
use std::net::IpAddr;

/// A namespace; its labels decide about injection and `allowedRoutes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Who it is.
    pub meta: Meta,
}

/// A service account; identities come from it later.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceAccount {
    /// Who it is.
    pub meta: Meta,
}

/// A Kubernetes service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Who it is.
    pub meta: Meta,
    /// Labels of its pods; empty means that EndpointSlices say where it is.
    pub selector: Labels,
    /// Its ports, without those that carry UDP or SCTP.
    pub ports: Vec<ServicePort>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Literal cluster addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// `trafficDistribution: PreferClose` or `PreferSameZone`: the nearest endpoints come first.
    pub prefers_close: bool,
    /// The annotation `networking.istio.io/exportTo`: which namespaces see it.
    pub export_to: ExportTo,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// Name; empty when there is only one.
    pub name: String,
    /// Number that clients use.
    pub port: u16,
    /// Where the pods listen.
    pub target: TargetPort,
    /// How it is carried.
    pub carried: Carried,
    /// Whether the bytes are TLS, so that a server name can choose where they go.
    pub tls: bool,
    /// Where it stands.
    pub spot: Spot,
}

/// A port of a pod, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TargetPort {
    Number(u16),
    Name(String),
}

/// How a port's traffic is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// As HTTP/1.1 requests.
    Http,
    /// As bytes.
    Tcp,
}

/// Why a port is carried as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The manifest says so.
    Declared,
    /// A well-known port number says so.
    WellKnown,
    /// Nothing says what it is.
    Assumed,
    /// It speaks HTTP/2, which is carried as bytes for now.
    Http2,
}

/// Addresses of a service without a selector.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSlice {
    /// Who it is.
    pub meta: Meta,
    /// The service it belongs to (label `kubernetes.io/service-name`).
    pub service: String,
    /// Port name → number.
    pub ports: Vec<(String, u16)>,
    /// The addresses that are ready or draining.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One address of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceEndpoint {
    /// Address.
    pub address: IpAddr,
    /// Terminating while still serving.
    pub draining: bool,
}

/// Decides how a port is carried: `appProtocol`, else the name's first word, else the number (as Istio does).
pub fn carried(app_protocol: Option<&str>, name: &str, port: u16) -> (Carried, Reason) {
    let declared = app_protocol.and_then(protocol_word).or_else(|| {
        let word = name.split('-').next().unwrap_or("");
        // `grpc-web` is the one protocol with a dash in it.
        protocol_word(if name.starts_with("grpc-web") { "grpc-web" } else { word })
    });
    const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];
    match declared {
        Some(found) => found,
        None if WELL_KNOWN_TCP.contains(&port) => (Carried::Tcp, Reason::WellKnown),
        None => (Carried::Http, Reason::Assumed),
    }
}

/// Whether a port declares that it speaks TLS, in the same places.
pub fn speaks_tls(app_protocol: Option<&str>, name: &str) -> bool {
    let word = app_protocol.filter(|word| protocol_word(word).is_some()).or(name.split('-').next());
    word.is_some_and(|word| matches!(word.to_ascii_lowercase().as_str(), "https" | "tls" | "kubernetes.io/wss"))
}

/// A protocol word of an `appProtocol`, a port name or Istio's `protocol`.
pub fn protocol_word(word: &str) -> Option<(Carried, Reason)> {
    match word.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" | "grpc-web" => Some((Carried::Http, Reason::Declared)),
        "http2" | "grpc" | "kubernetes.io/h2c" => Some((Carried::Tcp, Reason::Http2)),
        "https" | "tls" | "tcp" | "mongo" | "mysql" | "redis" | "kubernetes.io/wss" => {
            Some((Carried::Tcp, Reason::Declared))
        }
        _ => None,
    }
}

/// One warning for a port whose protocol is guessed or not spoken yet.
pub fn warn_about(field: &Field<'_>, port: u16, reason: Reason) {
    match reason {
        Reason::Declared | Reason::WellKnown => {}
        Reason::Assumed => {
            let message = format!("port {port} does not say what it speaks; it is taken for HTTP");
            field.warning("protocol-assumed", message, "name it http or tcp (`name: http`, or `appProtocol`)");
        }
        Reason::Http2 => {
            let message = format!("port {port} speaks HTTP/2, which is carried as opaque TCP for now");
            field.warning(
                "http2-as-tcp",
                message,
                "connections are balanced, requests are not; HTTP routes do not apply",
            );
        }
    }
}

/// Decodes a Namespace.
pub fn namespace(meta: Meta, mut root: Fields<'_>) -> Namespace {
    root.harmless(&["spec", "status"]);
    root.finish();
    Namespace { meta }
}

/// Decodes a ServiceAccount.
pub fn service_account(meta: Meta, mut root: Fields<'_>) -> ServiceAccount {
    root.harmless(&["secrets", "imagePullSecrets", "automountServiceAccountToken"]);
    root.finish();
    ServiceAccount { meta }
}

/// Decodes a Service.
pub fn service(meta: Meta, mut root: Fields<'_>) -> Option<Service> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a Service")?;
    if let Some(kind) = fields.get("type") {
        let kinds = [("ClusterIP", true), ("NodePort", true), ("LoadBalancer", true), ("ExternalName", false)];
        if kind.word(&kinds) == Some(false) {
            kind.not_supported("a Service of type ExternalName");
        }
    }
    let mut cluster_ips = Vec::new();
    let mut headless = false;
    for text in fields.get("clusterIP").and_then(|f| f.text().map(String::from)).into_iter() {
        headless = text == "None";
        cluster_ips.extend(text.parse::<IpAddr>());
    }
    for text in fields.get("clusterIPs").map(|f| f.texts()).unwrap_or_default() {
        cluster_ips.extend(text.parse::<IpAddr>());
    }
    cluster_ips.sort();
    cluster_ips.dedup();
    let selector = fields.get("selector").map(|f| f.labels()).unwrap_or_default();
    let ports = fields.get("ports").map(|f| service_ports(&f)).unwrap_or_default();
    fields.harmless(&[
        "ipFamilies",
        "ipFamilyPolicy",
        "externalIPs",
        "loadBalancerIP",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "allocateLoadBalancerNodePorts",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "publishNotReadyAddresses",
        "externalName",
    ]);
    not_default(&mut fields, "sessionAffinity", "None");
    not_default(&mut fields, "internalTrafficPolicy", "Cluster");
    fields.harmless(&["sessionAffinityConfig"]);
    let near = fields.get("trafficDistribution").and_then(|field| {
        let words = [("PreferClose", true), ("PreferSameZone", true), ("PreferSameNode", false)];
        let near = field.word(&words);
        if near == Some(false) {
            field.warning(
                "not-honoured",
                "PreferSameNode is not honoured: it is not known which pods share a node",
                "",
            );
        }
        near
    });
    fields.finish();
    let exported = meta.annotations.get("networking.istio.io/exportTo").map(String::as_str).unwrap_or_default();
    let export_to = ExportTo::of(exported.split(',').map(str::trim).filter(|word| !word.is_empty()));
    Some(Service { meta, selector, ports, headless, cluster_ips, prefers_close: near == Some(true), export_to })
}

/// A field whose one value is honoured; others are warned about.
fn not_default(fields: &mut Fields<'_>, name: &'static str, honoured: &str) {
    if let Some(field) = fields.get(name)
        && field.text().is_some_and(|text| text != honoured)
    {
        field.warning("not-honoured", format!("`{name}` is not honoured; {honoured} is assumed"), "");
    }
}

fn service_ports(list: &Field<'_>) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    for item in list.items() {
        let Some(port) = service_port(&item) else { continue };
        if ports.iter().any(|other| other.port == port.port) {
            item.error("duplicate-port", format!("port {} is there twice", port.port), "remove one of the two");
        }
        ports.push(port);
    }
    ports
}

fn service_port(item: &Field<'_>) -> Option<ServicePort> {
    let mut fields = item.fields("a service port")?;
    let port = fields.require("port").and_then(|f| f.port());
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let target = fields.get("targetPort").and_then(|f| target_port(&f));
    let app_protocol = fields.get("appProtocol").and_then(|f| f.text());
    let transports = [("TCP", true), ("UDP", false), ("SCTP", false)];
    let transport = fields.get("protocol").map_or(Some(true), |f| f.word(&transports));
    fields.harmless(&["nodePort"]);
    fields.finish();
    let port = port?;
    if transport == Some(false) {
        item.warning("not-carried", format!("port {port} is not TCP and is not carried"), "");
        return None;
    }
    let (carried, reason) = carried(app_protocol, &name, port);
    warn_about(item, port, reason);
    let (tls, target) = (speaks_tls(app_protocol, &name), target.unwrap_or(TargetPort::Number(port)));
    Some(ServicePort { name, port, target, carried, tls, spot: item.spot() })
}

/// A port by number or by name.
pub fn target_port(field: &Field<'_>) -> Option<TargetPort> {
    match field.node.kind_word() {
        "a number" => field.port().map(TargetPort::Number),
        _ => {
            let text = field.text()?;
            // A quoted number is a number, as in Kubernetes' IntOrString of old manifests.
            Some(
                text.parse::<u16>()
                    .ok()
                    .filter(|port| *port > 0)
                    .map_or_else(|| TargetPort::Name(text.into()), TargetPort::Number),
            )
        }
    }
}

/// Decodes an EndpointSlice.
pub fn endpoint_slice(meta: Meta, mut root: Fields<'_>) -> Option<EndpointSlice> {
    let service = match meta.labels.get("kubernetes.io/service-name") {
        Some(service) => service.clone(),
        None => {
            let mend = "add the label `kubernetes.io/service-name`";
            root.field().error("missing-field", "the EndpointSlice belongs to no Service", mend);
            String::new()
        }
    };
    if let Some(kind) = root.require("addressType")
        && kind.word(&[("IPv4", true), ("IPv6", true), ("FQDN", false)]) == Some(false)
    {
        kind.not_supported("addressType FQDN");
    }
    let mut ports = Vec::new();
    for item in root.get("ports").map(|f| f.items()).unwrap_or_default() {
        let Some(mut fields) = item.fields("an EndpointSlice port") else { continue };
        let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
        let port = fields.require("port").and_then(|f| f.port());
        fields.harmless(&["protocol", "appProtocol"]);
        fields.finish();
        ports.extend(port.map(|port| (name, port)));
    }
    let mut endpoints = Vec::new();
    for item in root.get("endpoints").map(|f| f.items()).unwrap_or_default() {
        endpoints.extend(slice_endpoint(&item));
    }
    root.finish();
    Some(EndpointSlice { meta, service, ports, endpoints })
}

fn slice_endpoint(item: &Field<'_>) -> Vec<SliceEndpoint> {
    let Some(mut fields) = item.fields("an endpoint") else { return Vec::new() };
    let mut addresses = Vec::new();
    for address in fields.require("addresses").map(|f| f.items()).unwrap_or_default() {
        match address.text().map(str::parse::<IpAddr>) {
            Some(Ok(parsed)) => addresses.push(parsed),
            Some(Err(_)) => address.error("wrong-address", "an endpoint's address has to be an IP address", ""),
            None => {}
        }
    }
    let (mut ready, mut serving, mut terminating) = (true, None, false);
    if let Some(mut conditions) = fields.get("conditions").and_then(|f| f.fields("endpoint conditions")) {
        ready = conditions.get("ready").and_then(|f| f.boolean()).unwrap_or(true);
        serving = conditions.get("serving").and_then(|f| f.boolean());
        terminating = conditions.get("terminating").and_then(|f| f.boolean()).unwrap_or(false);
        conditions.finish();
    }
    fields.harmless(&["hostname", "nodeName", "targetRef", "zone", "deprecatedTopology", "hints"]);
    fields.finish();
    let draining = terminating && serving.unwrap_or(false);
    if !ready && !draining {
        return Vec::new();
    }
    // The API says that consumers use the first address only.
    addresses.into_iter().take(1).map(|address| SliceEndpoint { address, draining }).collect()
}
