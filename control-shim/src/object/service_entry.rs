//! ServiceEntry: hosts outside of Kubernetes, with fixed addresses; WorkloadEntry: one workload behind such a host.

use super::decode::{Field, Fields};
use super::patterns::{self, ExportTo};
use super::service::{self, Carried};
use super::subnet::Subnet;
use super::{Labels, Meta, Spot, locality};
use std::net::IpAddr;

/// A ServiceEntry with resolution STATIC.
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
    /// Fixed addresses.
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
    /// Address.
    pub address: IpAddr,
    /// Port name → number on this endpoint.
    pub ports: Vec<(String, u16)>,
    /// Labels, for subsets.
    pub labels: Labels,
    /// Relative weight.
    pub weight: u32,
}

/// Decodes a ServiceEntry.
pub fn service_entry(meta: Meta, mut root: Fields<'_>) -> Option<ServiceEntry> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a ServiceEntry")?;
    let hosts = fields.require("hosts").map(|f| f.items()).unwrap_or_default();
    let hosts = hosts.iter().filter_map(|f| Some((patterns::host_name(f, f.text()?, true)?, f.spot()))).collect();
    let ports = fields.require("ports").map(|f| f.items()).unwrap_or_default();
    let ports = ports.iter().filter_map(entry_port).collect();
    let location = [("MESH_EXTERNAL", false), ("MESH_INTERNAL", true)];
    let internal = fields.get("location").and_then(|f| f.word(&location)).unwrap_or(false);
    match fields.get("resolution") {
        Some(resolution) => {
            let resolutions =
                [("STATIC", true), ("NONE", false), ("DNS", false), ("DNS_ROUND_ROBIN", false), ("DYNAMIC_DNS", false)];
            if resolution.word(&resolutions) == Some(false) {
                resolution.not_supported(format!("resolution {}", resolution.text().unwrap_or("")));
            }
        }
        None => spec.not_supported("a ServiceEntry without resolution STATIC"),
    }
    let export_to = ExportTo::decode(fields.get("exportTo"), meta.namespace());
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
    Some(ServiceEntry { meta, hosts, ports, internal, export_to, addresses, endpoints, selector })
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
    let Ok(parsed) = address.text()?.parse::<IpAddr>() else {
        address.error("wrong-address", "an endpoint has to have an IP address", "write the address of the host");
        return None;
    };
    Some(EntryEndpoint { address: parsed, ports, labels, weight: u32::try_from(weight).unwrap_or(1).max(1) })
}
