//! Rules for opaque connections: `tcp[]` and `tls[]` of a VirtualService, TCPRoute and TLSRoute of the Gateway API.

use super::decode::{Field, Fields};
use super::http_route::{self, BackendRef, Parent};
use super::patterns;
use super::subnet::Subnet;
use super::virtual_service::{Destination, destinations};
use super::{Labels, Meta, Spot};

/// One entry of `tcp[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpRule {
    /// `tcp[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Any of these; empty matches everything.
    pub matches: Vec<Selector>,
    /// Where to.
    pub destinations: Vec<Destination>,
}

/// One entry of `tls[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsRule {
    /// Any of these; never empty.
    pub matches: Vec<TlsMatch>,
    /// Where to.
    pub destinations: Vec<Destination>,
}

/// One entry of `tls[].match[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsMatch {
    /// `tls[0].match[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Server names in lower case: exact, `*.suffix` or `*`; each one is one of the VirtualService's hosts, or covered by one.
    pub server_names: Vec<String>,
    /// Where it holds.
    pub selector: Selector,
}

/// What of a match is decided before there is a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// Only on this port.
    pub port: Option<u16>,
    /// Only at these gateways (or `mesh`); empty is all of the VirtualService's.
    pub gateways: Vec<String>,
    /// Only from this namespace.
    pub source_namespace: Option<String>,
    /// Only from pods with these labels.
    pub source_labels: Labels,
    /// Only for destinations with an address in one of these; empty is any.
    pub subnets: Vec<Subnet>,
    /// Where `destinationSubnets` stands.
    pub subnets_spot: Option<Spot>,
}

/// A TCPRoute or TLSRoute.
#[derive(Clone, Debug, PartialEq)]
pub struct OpaqueRoute {
    /// Who it is; tells the two kinds apart.
    pub meta: Meta,
    /// Whether server names choose it.
    pub tls: bool,
    /// What it attaches to.
    pub parents: Vec<Parent>,
    /// Server names of a TLSRoute; empty takes the listener's.
    pub hostnames: Vec<String>,
    /// Its one rule: a connection has nothing that could choose between several.
    pub rule: OpaqueRule,
}

/// The rule of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct OpaqueRule {
    /// `rules[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Where to.
    pub backends: Vec<BackendRef>,
}

/// Decodes an entry of `tcp[]`.
pub fn tcp_rule(item: &Field<'_>) -> Option<TcpRule> {
    let mut fields = item.fields("a TCP rule")?;
    let matches = fields.get("match").map(|f| f.items()).unwrap_or_default();
    let matches = matches.iter().filter_map(tcp_match).collect();
    let route = fields.require("route");
    fields.finish();
    let destinations = destinations(&route?, false);
    Some(TcpRule { path: item.path.clone(), spot: item.spot(), matches, destinations })
}

fn tcp_match(item: &Field<'_>) -> Option<Selector> {
    let mut fields = item.fields("a TCP match")?;
    let selector = selector(&mut fields);
    fields.not_supported(&["sourceSubnet"]);
    fields.finish();
    Some(selector)
}

/// Decodes an entry of `tls[]` of a VirtualService for `hosts`.
pub fn tls_rule(item: &Field<'_>, hosts: &[(String, Spot)]) -> Option<TlsRule> {
    let mut fields = item.fields("a TLS rule")?;
    let matches = fields.require("match").map(|f| f.items()).unwrap_or_default();
    let matches: Vec<_> = matches.iter().filter_map(|item| tls_match(item, hosts)).collect();
    let route = fields.require("route");
    fields.finish();
    if matches.is_empty() && !item.context.broken() {
        item.error("missing-field", "a TLS rule has to have a match", "add `match` with `sniHosts`");
    }
    Some(TlsRule { matches, destinations: destinations(&route?, false) })
}

fn tls_match(item: &Field<'_>, hosts: &[(String, Spot)]) -> Option<TlsMatch> {
    let mut fields = item.fields("a TLS match")?;
    let names = fields.require("sniHosts").map(|f| f.items()).unwrap_or_default();
    let mut server_names = Vec::new();
    for field in &names {
        let Some(name) = field.text().and_then(|text| patterns::host_name(field, text, true)) else { continue };
        if !hosts.iter().any(|(host, _)| within(&name, host)) {
            let message = format!("server name `{name}` is none of this VirtualService's hosts");
            field.error("wrong-host", message, "add it to `hosts`, or a wildcard that covers it");
        }
        server_names.push(name);
    }
    let selector = selector(&mut fields);
    fields.finish();
    if server_names.is_empty() && !item.context.broken() {
        item.error("missing-field", "a TLS match has to have a server name", "add one to `sniHosts`");
    }
    Some(TlsMatch { path: item.path.clone(), spot: item.spot(), server_names, selector })
}

/// Whether a pattern covers no more than another one.
fn within(name: &str, host: &str) -> bool {
    match host.strip_prefix('*') {
        Some(suffix) => name.strip_prefix('*').unwrap_or(name).ends_with(suffix),
        None => name == host,
    }
}

fn selector(fields: &mut Fields<'_>) -> Selector {
    let mut selector = Selector {
        port: fields.get("port").and_then(|f| f.port()),
        gateways: fields.get("gateways").map(|f| f.texts()).unwrap_or_default(),
        source_namespace: fields.get("sourceNamespace").and_then(|f| f.text()).map(String::from),
        source_labels: fields.get("sourceLabels").map(|f| f.labels()).unwrap_or_default(),
        ..Selector::default()
    };
    if let Some(subnets) = fields.get("destinationSubnets") {
        for item in subnets.items() {
            match item.text().map(str::parse::<Subnet>) {
                Some(Ok(subnet)) => selector.subnets.push(subnet),
                Some(Err(())) => {
                    item.error("wrong-address", "a subnet is an address or a block of them", "such as 10.0.0.0/8");
                }
                None => {}
            }
        }
        selector.subnets_spot = Some(subnets.spot());
    }
    selector
}

/// Decodes a TCPRoute or a TLSRoute.
pub fn opaque_route(tls: bool, meta: Meta, mut root: Fields<'_>) -> Option<OpaqueRoute> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields(if tls { "a TLSRoute" } else { "a TCPRoute" })?;
    let parents = http_route::parents(&mut fields, &meta);
    let mut hostnames = Vec::new();
    if tls {
        let items = fields.get("hostnames").map(|f| f.items()).unwrap_or_default();
        hostnames = items.iter().filter_map(|f| patterns::host_name(f, f.text()?, true)).collect();
    }
    let rules = fields.require("rules").map(|f| f.items()).unwrap_or_default();
    fields.not_supported(&["useDefaultGateways"]);
    fields.finish();
    if let Some(second) = rules.get(1) {
        let message = "of several rules a connection could only ever take the first";
        second.error("unreachable", message, "keep one rule; its `backendRefs` have weights");
    }
    let Some(rule) = rules.first().and_then(|item| opaque_rule(item, meta.namespace())) else {
        if !spec.context.broken() {
            spec.error("missing-field", "the route has to have a rule", "add `rules`");
        }
        return None;
    };
    Some(OpaqueRoute { meta, tls, parents, hostnames, rule })
}

fn opaque_rule(item: &Field<'_>, own: &str) -> Option<OpaqueRule> {
    let mut fields = item.fields("a rule")?;
    fields.harmless(&["name"]);
    let backends = fields.require("backendRefs").map(|f| f.items()).unwrap_or_default();
    let backend = |item: &Field<'_>| http_route::backend(item, item.fields("a backend reference")?, own);
    let backends = backends.iter().filter_map(backend).collect();
    fields.finish();
    Some(OpaqueRule { path: item.path.clone(), spot: item.spot(), backends })
}
