//! ServiceEntry: hosts outside of Kubernetes, with fixed addresses.

use super::decode::{Field, Fields};
use super::patterns::{self, ExportTo};
use super::service::{self, Carried};
use super::{Labels, Meta, Spot};
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
    /// Fixed addresses.
    pub endpoints: Vec<EntryEndpoint>,
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
    let endpoints = endpoints.iter().filter_map(entry_endpoint).collect();
    // Hosts are found by name at the explicit proxy; virtual addresses belong to captured traffic, and names to mTLS.
    fields.not_honoured(&["addresses", "subjectAltNames"]);
    fields.not_supported(&["workloadSelector"]);
    fields.finish();
    Some(ServiceEntry { meta, hosts, ports, internal, export_to, endpoints })
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
    Some(EntryPort { number, name, target: target.unwrap_or(number), carried, spot: item.spot() })
}

fn entry_endpoint(item: &Field<'_>) -> Option<EntryEndpoint> {
    let mut fields = item.fields("an endpoint")?;
    let address = fields.require("address");
    let mut ports = Vec::new();
    for (name, port) in fields.get("ports").map(|f| f.entries()).unwrap_or_default() {
        ports.extend(port.port().map(|port| (name.to_string(), port)));
    }
    let labels = fields.get("labels").map(|f| f.labels()).unwrap_or_default();
    let weight = fields.get("weight").and_then(|f| f.number(0, 1_000_000)).unwrap_or(1);
    fields.harmless(&["serviceAccount"]);
    fields.not_honoured(&["network", "locality"]);
    fields.finish();
    let address = address?;
    let Ok(parsed) = address.text()?.parse::<IpAddr>() else {
        address.error("wrong-address", "an endpoint of a STATIC ServiceEntry has to have an IP address", "");
        return None;
    };
    Some(EntryEndpoint { address: parsed, ports, labels, weight: u32::try_from(weight).unwrap_or(1).max(1) })
}
