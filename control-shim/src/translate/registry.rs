//! Every host that traffic can go to: services and service entries, with their ports and endpoints.

use super::findings::Findings;
use super::namespace_of;
use crate::mesh::{Mesh, Pod, service_host};
use crate::object::patterns::ExportTo;
use crate::object::service::{Carried, Service, ServicePort, TargetPort};
use crate::object::service_entry::{EntryAddress, EntryEndpoint, Resolution, WorkloadEntry};
use crate::object::subnet::Subnet;
use crate::object::{EndpointSlice, Labels, Meta, Object, ServiceEntry, Spot, selects};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// All destinations by host.
pub(super) struct Registry<'a> {
    by_host: BTreeMap<String, Destination<'a>>,
}

/// One host.
pub(super) struct Destination<'a> {
    pub host: String,
    /// The object behind it.
    pub meta: &'a Meta,
    /// `destination_service_name`.
    pub service_name: String,
    pub ports: Vec<Port<'a>>,
    pub kind: DestinationKind<'a>,
    /// Which namespaces see it.
    export_to: &'a ExportTo,
}

/// What is behind a host.
pub(super) enum DestinationKind<'a> {
    Service(&'a Service),
    Entry(&'a ServiceEntry),
}

/// One port of a host.
pub(super) struct Port<'a> {
    pub number: u16,
    pub carried: Carried,
    /// Whether the bytes are TLS.
    pub tls: bool,
    /// `ports[9080]`.
    pub field: String,
    pub spot: &'a Spot,
    pub endpoints: Vec<Endpoint<'a>>,
    pub names: Vec<Named<'a>>,
    /// Of a wildcard host: the host that a request names is looked up, and listens here.
    pub on_demand: Option<u16>,
}

/// A DNS name that a proxy looks up.
#[derive(Clone)]
pub(super) struct Named<'a> {
    pub host: String,
    pub port: u16,
    pub weight: u32,
    /// The first address of an answer only.
    pub first_only: bool,
    pub labels: Option<&'a Labels>,
}

/// One address.
#[derive(Clone)]
pub(super) struct Endpoint<'a> {
    pub address: SocketAddr,
    pub weight: u32,
    pub draining: bool,
    pub labels: Option<&'a Labels>,
    pub pod: Option<&'a Pod>,
}

impl<'a> Registry<'a> {
    /// `pods` are those that endpoints may be at.
    pub fn new(mesh: &'a Mesh, pods: impl Iterator<Item = &'a Pod>, findings: &Findings) -> Self {
        let workloads = Workloads::new(mesh, pods);
        let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for entry in mesh.objects.iter() {
            if let Object::EndpointSlice(slice) = &entry.object {
                slices.entry((slice.meta.namespace(), &slice.service)).or_default().push(slice);
            }
        }
        let mut registry = Registry { by_host: BTreeMap::new() };
        for entry in mesh.objects.iter() {
            if let Object::Service(service) = &entry.object {
                let host = service_host(service, &mesh.options.cluster_domain);
                let slices =
                    slices.get(&(service.meta.namespace(), service.meta.name())).map_or(&[][..], Vec::as_slice);
                let ports = service
                    .ports
                    .iter()
                    .map(|port| service_port(service, port, &workloads, slices, findings))
                    .collect();
                let kind = DestinationKind::Service(service);
                let service_name = service.meta.name().to_string();
                let export_to = service.export_to.or(&mesh.options.exports.services);
                registry.by_host.insert(
                    host.clone(),
                    Destination { host, meta: &service.meta, service_name, ports, kind, export_to },
                );
            }
        }
        for entry in mesh.objects.iter() {
            if let Object::ServiceEntry(entry) = &entry.object {
                let export_to = entry.export_to.or(&mesh.options.exports.services);
                registry.add_entry(entry, export_to, &workloads, findings);
            }
        }
        registry
    }

    fn add_entry(
        &mut self,
        entry: &'a ServiceEntry,
        export_to: &'a ExportTo,
        workloads: &Workloads<'a>,
        findings: &Findings,
    ) {
        for (host, spot) in &entry.hosts {
            if let Some(other) = self.by_host.get(host) {
                let message =
                    format!("`{host}` belongs to {} already; this ServiceEntry does not take it", other.meta.reference);
                findings.warning(&entry.meta.reference, spot, "duplicate-host", message, "remove one of the two");
                continue;
            }
            if let Some(port) = entry.ports.iter().find(|port| host.starts_with('*') && port.carried == Carried::Tcp) {
                let message = format!(
                    "TCP port {} of the wildcard host `{host}` is not served: bytes carry no host name",
                    port.number
                );
                findings.warning(
                    &entry.meta.reference,
                    &port.spot,
                    "not-applied",
                    message,
                    "write a ServiceEntry with exact hosts",
                );
            }
            let ports = entry.ports.iter().map(|port| entry_port(entry, port, host, workloads, findings)).collect();
            let kind = DestinationKind::Entry(entry);
            let destination = Destination {
                host: host.clone(),
                meta: &entry.meta,
                service_name: host.clone(),
                ports,
                kind,
                export_to,
            };
            self.by_host.insert(host.clone(), destination);
        }
    }

    /// The destination of exactly this host, or of the wildcard that covers it best.
    pub fn get(&self, host: &str) -> Option<&Destination<'a>> {
        if let Some(found) = self.by_host.get(host) {
            return Some(found);
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(found) = self.by_host.get(&format!("*.{suffix}")) {
                return Some(found);
            }
            rest = suffix;
        }
        None
    }

    /// All of them by host.
    pub fn iter(&self) -> impl Iterator<Item = &Destination<'a>> {
        self.by_host.values()
    }

    /// Namespaces that see some destination which others do not.
    pub fn special(&self) -> BTreeSet<&'a str> {
        self.by_host.values().flat_map(|destination| destination.export_to.only(destination.meta.namespace())).collect()
    }
}

impl<'a> Destination<'a> {
    /// Whether proxies of a namespace see it.
    pub fn visible(&self, view: &str) -> bool {
        self.export_to.visible(self.meta.namespace(), namespace_of(view))
    }

    /// The addresses that clients use for it.
    pub fn addresses(&self) -> Vec<Subnet> {
        match self.kind {
            DestinationKind::Service(service) => service.cluster_ips.iter().copied().map(Subnet::from).collect(),
            DestinationKind::Entry(entry) => entry.addresses.clone(),
        }
    }

    /// A port by number.
    pub fn port(&self, number: u16) -> Option<&Port<'a>> {
        self.ports.iter().find(|port| port.number == number)
    }
}

impl Named<'_> {
    /// Whether a subset with these labels has it.
    pub fn in_subset(&self, subset: &Labels) -> bool {
        self.labels.is_some_and(|labels| selects(subset, labels)) || subset.is_empty()
    }
}

impl Endpoint<'_> {
    /// Whether a subset with these labels has it.
    pub fn in_subset(&self, subset: &Labels) -> bool {
        self.labels.is_some_and(|labels| selects(subset, labels)) || subset.is_empty()
    }

    /// Whether a proxy of this mesh answers there.
    pub fn has_proxy(&self) -> bool {
        self.pod.is_some_and(|pod| pod.sidecar)
    }
}

/// Pods by namespace and one label, and by address; WorkloadEntries by namespace.
struct Workloads<'a> {
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>,
    by_address: HashMap<IpAddr, &'a Pod>,
    entries: HashMap<&'a str, Vec<&'a WorkloadEntry>>,
}

impl<'a> Workloads<'a> {
    fn new(mesh: &'a Mesh, pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut index = Workloads { by_label: HashMap::new(), by_address: HashMap::new(), entries: HashMap::new() };
        for entry in mesh.objects.iter() {
            if let Object::WorkloadEntry(entry) = &entry.object {
                index.entries.entry(entry.meta.namespace()).or_default().push(entry);
            }
        }
        for pod in pods {
            index.by_address.insert(pod.address, pod);
            for (key, value) in &pod.labels {
                index.by_label.entry((&pod.namespace, key, value)).or_default().push(pod);
            }
        }
        index
    }

    /// Pods with these labels; an empty selector has none.
    fn pods(&self, namespace: &'a str, selector: &'a Labels) -> impl Iterator<Item = &'a Pod> {
        let first = selector.first_key_value();
        let candidates = first.and_then(|(key, value)| self.by_label.get(&(namespace, key, value)));
        candidates.into_iter().flatten().copied().filter(|pod| selects(selector, &pod.labels))
    }

    /// The WorkloadEntries with these labels; an empty selector has none.
    fn entries(&self, namespace: &str, selector: &Labels) -> impl Iterator<Item = &'a WorkloadEntry> {
        let entries = self.entries.get(namespace).into_iter().flatten().copied();
        entries.filter(move |entry| !selector.is_empty() && selects(selector, &entry.endpoint.labels))
    }

    /// Where an endpoint listens for a port of this name, else for this number. `internal`: its sidecar is asked, where the address is a pod's.
    fn reach(
        &self,
        endpoint: &'a EntryEndpoint,
        name: &str,
        number: Option<u16>,
        internal: bool,
    ) -> Option<Result<Endpoint<'a>, Named<'a>>> {
        let own = endpoint.ports.iter().find(|(own, _)| own == name).map(|(_, number)| *number);
        let (port, weight, labels) = (own.or(number)?, endpoint.weight, Some(&endpoint.labels));
        Some(match &endpoint.address {
            EntryAddress::Ip(ip) => {
                let pod = self.by_address.get(ip).copied().filter(|_| internal);
                let address = pod.map_or(SocketAddr::new(*ip, port), |pod| pod.reach(port));
                Ok(Endpoint { address, weight, draining: false, labels, pod })
            }
            EntryAddress::Name(host) => Err(Named { host: host.clone(), port, weight, first_only: false, labels }),
        })
    }
}

/// A WorkloadEntry whose name nobody looks up.
fn warn_about_name(object: &Meta, entry: &WorkloadEntry, findings: &Findings) {
    let message =
        format!("{} has no IP address, and {} does not look names up", entry.meta.reference, object.reference);
    let mend = "write its address, or use it by a ServiceEntry with resolution DNS";
    findings.warning(&entry.meta.reference, &entry.endpoint.spot, "not-applied", message, mend);
}

fn service_port<'a>(
    service: &'a Service,
    port: &'a ServicePort,
    workloads: &Workloads<'a>,
    slices: &[&'a EndpointSlice],
    findings: &Findings,
) -> Port<'a> {
    let mut endpoints = Vec::new();
    for pod in workloads.pods(service.meta.namespace(), &service.selector) {
        if pod.stand_in {
            // A gateway's own Service leads to its gateway ports.
            if let TargetPort::Number(number) = &port.target
                && let Some(address) = pod.gateway.get(number)
            {
                let (labels, pod) = (Some(&pod.labels), Some(pod));
                endpoints.push(Endpoint { address: *address, weight: 1, draining: false, labels, pod });
            }
            continue;
        }
        let Some(number) = pod.port(&port.target) else {
            let message = format!("pod {} has no port called as `targetPort` says", pod.node());
            let mend = "declare it in the container's `ports`";
            findings.warning(&service.meta.reference, &port.spot, "no-target-port", message, mend);
            continue;
        };
        let address = pod.reach(number);
        endpoints.push(Endpoint { address, weight: 1, draining: false, labels: Some(&pod.labels), pod: Some(pod) });
    }
    let number = match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(_) => None,
    };
    for entry in workloads.entries(service.meta.namespace(), &service.selector) {
        match workloads.reach(&entry.endpoint, &port.name, number, true) {
            Some(Ok(endpoint)) => endpoints.push(endpoint),
            Some(Err(_)) => warn_about_name(&service.meta, entry, findings),
            None => {}
        }
    }
    if service.selector.is_empty() {
        for slice in slices {
            endpoints.extend(slice_endpoints(slice, port, workloads));
        }
    }
    finish(&mut endpoints);
    Port {
        number: port.port,
        carried: port.carried,
        tls: port.tls,
        field: format!("ports[{}]", port.port),
        spot: &port.spot,
        endpoints,
        names: Vec::new(),
        on_demand: None,
    }
}

fn slice_endpoints<'a>(slice: &'a EndpointSlice, port: &ServicePort, workloads: &Workloads<'a>) -> Vec<Endpoint<'a>> {
    let Some((_, number)) = slice.ports.iter().find(|(name, _)| *name == port.name) else { return Vec::new() };
    let endpoint = |endpoint: &crate::object::service::SliceEndpoint| {
        let pod = workloads.by_address.get(&endpoint.address).copied();
        let address = pod.map_or(SocketAddr::new(endpoint.address, *number), |pod| pod.reach(*number));
        Endpoint { address, weight: 1, draining: endpoint.draining, labels: pod.map(|pod| &pod.labels), pod }
    };
    slice.endpoints.iter().map(endpoint).collect()
}

fn entry_port<'a>(
    entry: &'a ServiceEntry,
    port: &'a crate::object::service_entry::EntryPort,
    host: &str,
    workloads: &Workloads<'a>,
    findings: &Findings,
) -> Port<'a> {
    let (mut endpoints, mut names, mut on_demand) = (Vec::new(), Vec::new(), None);
    let mut put = |reached| match reached {
        Some(Ok(endpoint)) => endpoints.push(endpoint),
        Some(Err(name)) => names.push(name),
        None => {}
    };
    for endpoint in &entry.endpoints {
        put(workloads.reach(endpoint, &port.name, Some(port.target), entry.internal));
    }
    if let Some(selector) = &entry.selector {
        let namespace = entry.meta.namespace();
        for pod in workloads.pods(namespace, selector).filter(|pod| !pod.stand_in) {
            let (address, labels) = (pod.reach(port.target), Some(&pod.labels));
            put(Some(Ok(Endpoint { address, weight: 1, draining: false, labels, pod: Some(pod) })));
        }
        for one in workloads.entries(namespace, selector) {
            match workloads.reach(&one.endpoint, &port.name, Some(port.target), true) {
                Some(Err(_)) if entry.resolution == Resolution::Static => warn_about_name(&entry.meta, one, findings),
                reached => put(reached),
            }
        }
    } else if entry.endpoints.is_empty() && entry.resolution != Resolution::Static {
        // The host itself is what is looked up.
        match host.starts_with('*') {
            true => on_demand = Some(port.target),
            false => put(Some(itself(host, port.target))),
        }
    }
    for name in &mut names {
        name.first_only = entry.resolution == Resolution::DnsRoundRobin;
    }
    names.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
    names.dedup_by(|a, b| (&a.host, a.port) == (&b.host, b.port));
    finish(&mut endpoints);
    Port {
        number: port.number,
        carried: port.carried,
        tls: port.tls,
        field: format!("ports[{}]", port.number),
        spot: &port.spot,
        endpoints,
        names,
        on_demand,
    }
}

/// A host that is its own endpoint: an address, or a name to look up.
pub(super) fn itself<'a>(host: &str, port: u16) -> Result<Endpoint<'a>, Named<'a>> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => {
            let address = SocketAddr::new(ip, port);
            Ok(Endpoint { address, weight: 1, draining: false, labels: None, pod: None })
        }
        Err(_) => Err(Named { host: host.into(), port, weight: 1, first_only: false, labels: None }),
    }
}

/// A deterministic order without doubles.
fn finish(endpoints: &mut Vec<Endpoint<'_>>) {
    endpoints.sort_by_key(|endpoint| endpoint.address);
    endpoints.dedup_by_key(|endpoint| endpoint.address);
}
