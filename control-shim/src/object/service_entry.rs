//! ServiceEntry: hosts outside of Kubernetes, at addresses or by DNS names; WorkloadEntry: one workload behind such a host.

use super::decode::{Field, Fields};
use super::patterns::{self, ExportTo};
use super::service::{self, Carried};
use super::subnet::Subnet;
use super::{Labels, Meta, Spot, locality};
use std::net::IpAddr;

/// How the addresses behind a ServiceEntry are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// They are written down.
    Static,
    /// Names are looked up; every address of an answer takes traffic. Also what NONE and DYNAMIC_DNS mean: an explicit proxy looks a host up, as its
    /// client would have; under a wildcard the one that a request names.
    Dns,
    /// The same with the first address of an answer only.
    DnsRoundRobin,
}

/// A ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEntry {
    /// Who it is.
    pub meta: Meta,
    /// Hosts in lower case.
    pub hosts: Vec<(String, Spot)>,
    /// Ports.
    pub ports: Vec<EntryPort>,
    /// MESH_INTERNAL: its endpoints are workloads of this mesh.
    pub internal: bool,
    /// Who sees it.
    pub export_to: ExportTo,
    /// What clients may address it by, besides its hosts.
    pub addresses: Vec<Subnet>,
    /// How addresses are found.
    pub resolution: Resolution,
    /// Addresses and names.
    pub endpoints: Vec<EntryEndpoint>,
    /// `workloadSelector`: labels of the pods and WorkloadEntries of its namespace behind it.
    pub selector: Option<Labels>,
}

/// A WorkloadEntry: one workload that is no pod.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEntry {
    /// Who it is.
    pub meta: Meta,
    /// Where it is; its labels are the object's and, before them, its own.
    pub endpoint: EntryEndpoint,
}

/// One port.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryPort {
    /// Number that clients use.
    pub number: u16,
    /// Name.
    pub name: String,
    /// Where endpoints listen.
    pub target: u16,
    /// How it is carried.
    pub carried: Carried,
    /// Whether the bytes are TLS, so that a server name can choose where they go.
    pub tls: bool,
    /// Where it stands.
    pub spot: Spot,
}

/// One address.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryEndpoint {
    /// Address or name.
    pub address: EntryAddress,
    /// Where that stands.
    pub spot: Spot,
    /// Port name → number on this endpoint.
    pub ports: Vec<(String, u16)>,
    /// Labels, for subsets.
    pub labels: Labels,
    /// Relative weight.
    pub weight: u32,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryAddress {
    /// At an address.
    Ip(IpAddr),
    /// Where a DNS name leads to.
    Name(String),
}

/// Decodes a ServiceEntry.
pub fn service_entry(meta: Meta, mut root: Fields<'_>) -> Option<ServiceEntry> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a ServiceEntry")?;
    let hosts = fields.require("hosts").map(|f| f.items()).unwrap_or_default();
    let hosts: Vec<_> =
        hosts.iter().filter_map(|f| Some((patterns::host_name(f, f.text()?, true)?, f.spot()))).collect();
    let ports = fields.require("ports").map(|f| f.items()).unwrap_or_default();
    let ports = ports.iter().filter_map(entry_port).collect();
    let location = [("MESH_EXTERNAL", false), ("MESH_INTERNAL", true)];
    let internal = fields.get("location").and_then(|f| f.word(&location)).unwrap_or(false);
    let written = fields.get("resolution");
    let resolutions = [
        ("STATIC", Written::Static),
        ("NONE", Written::None),
        ("DNS", Written::Dns),
        ("DNS_ROUND_ROBIN", Written::DnsRoundRobin),
        ("DYNAMIC_DNS", Written::Dynamic),
    ];
    let word = written.as_ref().map_or(Some(Written::None), |f| f.word(&resolutions));
    let export_to = ExportTo::decode(fields.get("exportTo"));
    let endpoints = fields.get("endpoints").map(|f| f.items()).unwrap_or_default();
    let endpoints: Vec<_> = endpoints.iter().filter_map(entry_endpoint).collect();
    let addresses = fields.get("addresses").map(|f| f.items()).unwrap_or_default();
    let addresses = addresses.iter().filter_map(address).collect();
    // They belong to mTLS.
    fields.not_honoured(&["subjectAltNames"]);
    let selector = fields.get("workloadSelector");
    if let (Some(selector), false) = (&selector, endpoints.is_empty()) {
        selector.error("conflict", "`workloadSelector` and `endpoints` exclude each other", "remove one of the two");
    }
    let selector = selector.and_then(|f| workload_selector(&f));
    fields.finish();
    let resolution = resolution(word?, written.as_ref().unwrap_or(&spec), &hosts, &endpoints, selector.is_some());
    Some(ServiceEntry {
        meta,
        hosts,
        ports,
        internal,
        export_to,
        addresses,
        resolution: resolution?,
        endpoints,
        selector,
    })
}

/// `resolution` as it is written; nothing is NONE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Static,
    None,
    Dns,
    DnsRoundRobin,
    Dynamic,
}

/// What a resolution means for these hosts and endpoints, or what speaks against it.
fn resolution(
    word: Written,
    field: &Field<'_>,
    hosts: &[(String, Spot)],
    endpoints: &[EntryEndpoint],
    selector: bool,
) -> Option<Resolution> {
    let named = endpoints.iter().find(|endpoint| matches!(endpoint.address, EntryAddress::Name(_)));
    let wildcard = hosts.iter().any(|(host, _)| host.starts_with('*'));
    let own = endpoints.is_empty() && !selector;
    let (found, fault) = match word {
        Written::Static => {
            let fault =
                named.map(|_| ("wrong-address", "an endpoint of a STATIC ServiceEntry has to have an IP address"));
            (Resolution::Static, fault)
        }
        Written::None | Written::Dynamic if !own => {
            (Resolution::Dns, Some(("conflict", "endpoints need another resolution: STATIC or DNS")))
        }
        // Where a connection was going is not known: it came here by name.
        Written::None | Written::Dynamic => (Resolution::Dns, None),
        Written::Dns | Written::DnsRoundRobin if own && wildcard => {
            let message = "a wildcard host cannot be looked up: write DYNAMIC_DNS, or say what can with `endpoints`";
            (Resolution::Dns, Some(("conflict", message)))
        }
        Written::Dns => (Resolution::Dns, None),
        Written::DnsRoundRobin => {
            let several = endpoints.len() > 1;
            let fault = several.then_some(("conflict", "DNS_ROUND_ROBIN takes one endpoint; DNS takes several"));
            (Resolution::DnsRoundRobin, fault)
        }
    };
    if let Some((code, message)) = fault {
        field.error(code, message, "change one of the two");
        return None;
    }
    Some(found)
}

/// An address that clients use. HTTP finds its host by a single one; a block belongs to captured traffic.
fn address(item: &Field<'_>) -> Option<Subnet> {
    let Ok(subnet) = item.text()?.parse::<Subnet>() else {
        item.error("wrong-address", "this is no address and no block of them", "such as 10.1.2.3 or 10.0.0.0/8");
        return None;
    };
    if subnet.single().is_none() {
        let message = format!("`{subnet}` is looked at by `destinationSubnets` only: traffic is not captured");
        item.warning("not-honoured", message, "call it by its host");
    }
    Some(subnet)
}

fn entry_port(item: &Field<'_>) -> Option<EntryPort> {
    let mut fields = item.fields("a ServiceEntry port")?;
    let number = fields.require("number").and_then(|f| f.port());
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let target = fields.get("targetPort").and_then(|f| f.port());
    let protocol = fields.get("protocol").and_then(|f| f.text());
    fields.finish();
    let number = number?;
    let (carried, reason) = service::carried(protocol, &name, number);
    service::warn_about(item, number, reason);
    let (tls, target) = (service::speaks_tls(protocol, &name), target.unwrap_or(number));
    Some(EntryPort { number, name, target, carried, tls, spot: item.spot() })
}

/// `workloadSelector` of any kind: labels that all have to be there.
pub(super) fn workload_selector(field: &Field<'_>) -> Option<Labels> {
    let mut fields = field.fields("a workload selector")?;
    let labels = fields.get("labels").map(|f| f.labels()).unwrap_or_default();
    fields.finish();
    Some(labels)
}

/// Decodes a WorkloadEntry.
pub fn workload_entry(meta: Meta, mut root: Fields<'_>) -> Option<WorkloadEntry> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let mut endpoint = entry_endpoint(&Field { path: String::new(), ..spec })?;
    for (key, value) in &meta.labels {
        endpoint.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Some(WorkloadEntry { meta, endpoint })
}

fn entry_endpoint(item: &Field<'_>) -> Option<EntryEndpoint> {
    let mut fields = item.fields("an endpoint")?;
    let address = fields.require("address");
    let mut ports = Vec::new();
    for (name, port) in fields.get("ports").map(|f| f.entries()).unwrap_or_default() {
        ports.extend(port.port().map(|port| (name.to_string(), port)));
    }
    let mut labels = fields.get("labels").map(|f| f.labels()).unwrap_or_default();
    let weight = fields.get("weight").and_then(|f| f.number(0, 1_000_000)).unwrap_or(1);
    fields.harmless(&["serviceAccount"]);
    if let Some(text) = fields.get("locality").and_then(|f| f.text()) {
        locality::label(&mut labels, locality::split(text));
    }
    fields.not_honoured(&["network"]);
    fields.finish();
    let address = address?;
    let text = address.text()?;
    if text.starts_with("unix:") {
        address.not_supported("a Unix socket as endpoint");
        return None;
    }
    let parsed = match text.parse::<IpAddr>() {
        Ok(ip) => EntryAddress::Ip(ip),
        Err(_) => EntryAddress::Name(patterns::host_name(&address, text, false)?),
    };
    let weight = u32::try_from(weight).unwrap_or(1).max(1);
    Some(EntryEndpoint { address: parsed, spot: address.spot(), ports, labels, weight })
}
