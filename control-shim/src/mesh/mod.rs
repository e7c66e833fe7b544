//! The complete typed snapshot: objects, and where their pods run.
//!
//! Pods are planned from workloads here ([`plan`]); who runs them, and on which addresses, is the [`Placement`]'s business.

pub mod placement;
mod plan;

pub use placement::Placement;
pub use plan::{PodPlan, StandIn, gateways_without_pod, plan_pods};

use crate::diagnostic::Diagnostic;
use crate::object::locality::LocalitySetting;
use crate::object::patterns::Exports;
use crate::object::proxy_config::ProxyConfig;
use crate::object::service::{Carried, TargetPort};
use crate::object::{Labels, Object, ObjectRef, Objects, Service, mesh_config, selects, workload::Container};
use ringway_config::model::{self, AccessLog, PathNormalization, PolicySet, Retry};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Everything that a translation depends on.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The objects in force.
    pub objects: Objects,
    /// The pods that run, by (namespace, name).
    pub pods: Arc<Vec<Arc<Pod>>>,
    /// Gateways that got a pod made for them.
    pub stand_ins: Vec<StandIn>,
    /// Settings of the whole mesh.
    pub options: Options,
    /// What planning and placing found.
    pub diagnostics: Vec<Diagnostic>,
}

/// Most pods of one mesh.
pub const PODS_MAX: usize = 20_000;
/// Most listeners for TCP services, all sidecars together.
pub const TCP_LISTENERS_MAX: usize = 1_000_000;

/// Settings of the whole mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Suffix of service names.
    pub cluster_domain: String,
    /// Cluster id in telemetry.
    pub cluster: String,
    /// Limits and logging of every proxy.
    pub policy: PolicySet,
    /// Make a pod for a Gateway that no pod serves.
    pub stand_in_gateways: bool,
    /// Namespace whose DestinationRules and Sidecars hold for the whole mesh.
    pub root_namespace: String,
    /// Of clusters whose DestinationRule has none.
    pub connect_timeout_ms: u32,
    /// Probes on idle connections, where a rule says nothing.
    pub keepalive: Option<model::Keepalive>,
    /// Of routes that say nothing; `None` never tries again.
    pub retry: Option<Retry>,
    /// Of clusters whose DestinationRule has none.
    pub locality: Option<LocalitySetting>,
    /// Who sees objects that do not say it.
    pub exports: Exports,
    /// What goes before the manifests' MeshConfig.
    pub fixed: Fixed,
}

/// What the command line decides, whatever MeshConfig says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Access log.
    pub access_log: Option<AccessLog>,
    /// The form of paths.
    pub path_normalization: Option<PathNormalization>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cluster_domain: "cluster.local".into(),
            cluster: "Kubernetes".into(),
            policy: PolicySet::default(),
            stand_in_gateways: true,
            root_namespace: mesh_config::REFERENCE[1].into(),
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            keepalive: None,
            retry: Some(Retry::default()),
            locality: None,
            exports: Exports::default(),
            fixed: Fixed::default(),
        }
    }
}

/// Istio's default.
const CONNECT_TIMEOUT_MS: u32 = 10_000;

impl Options {
    /// With what MeshConfig says among `objects`, and the command line after it.
    pub fn settled(mut self, objects: &Objects) -> Options {
        let [kind, namespace, name] = mesh_config::REFERENCE;
        let entry = objects.get(&ObjectRef::new(kind, namespace, name));
        if let Some(Object::MeshConfig(config)) = entry.map(|entry| &entry.object) {
            self.policy.access_log = config.access_log.unwrap_or(self.policy.access_log);
            self.policy.path_normalization = config.path_normalization.unwrap_or(self.policy.path_normalization);
            self.root_namespace = config.root_namespace.clone().unwrap_or(self.root_namespace);
            self.connect_timeout_ms = config.connect_timeout_ms.unwrap_or(self.connect_timeout_ms);
            self.keepalive = config.keepalive.or(self.keepalive);
            self.retry = config.retry.clone().unwrap_or(self.retry);
            self.locality = config.locality.clone().or(self.locality);
            self.exports = config.exports.clone();
            self.policy.trusted_proxies = config.proxies.trusted_proxies.unwrap_or(self.policy.trusted_proxies);
        }
        self.policy.access_log = self.fixed.access_log.unwrap_or(self.policy.access_log);
        if let Some(Object::MeshConfig(config)) = entry.map(|entry| &entry.object)
            && let Some((encoding, format)) = &config.access_log_format
            && *encoding == self.policy.access_log
        {
            self.policy.access_log_format.clone_from(format);
        }
        self.policy.path_normalization = self.fixed.path_normalization.unwrap_or(self.policy.path_normalization);
        self
    }
}

/// One pod that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Who it is in telemetry.
    pub workload: model::Workload,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// What it says of its proxy.
    pub proxy: ProxyConfig,
    /// Service account.
    pub service_account: String,
    /// Containers; none in a stand-in gateway.
    pub containers: Vec<Container>,
    /// Its address.
    pub address: IpAddr,
    /// Port of the app → where the app listens: the same port, unless that one needs rights.
    pub app: BTreeMap<u16, SocketAddr>,
    /// Port of the app → where its sidecar listens for it. Empty without a sidecar.
    pub inbound: BTreeMap<u16, SocketAddr>,
    /// Its outbound HTTP proxy.
    pub outbound: SocketAddr,
    /// (host, port) of a TCP service → where its sidecar listens for it.
    pub tcp: BTreeMap<(String, u16), SocketAddr>,
    /// Gateway port → where it is bound.
    pub gateway: BTreeMap<u16, SocketAddr>,
    /// Whether it has a proxy beside it (or is one).
    pub sidecar: bool,
    /// Whether it only is a proxy: a stand-in gateway, or one of Istio's own gateways.
    pub stand_in: bool,
    /// The object it comes from.
    pub object: ObjectRef,
}

impl Pod {
    /// `namespace/name`, how a proxy calls itself.
    pub fn node(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The number of one of its ports.
    pub fn port(&self, target: &TargetPort) -> Option<u16> {
        plan::resolve_port(&self.containers, target)
    }

    /// Whether both are the same to others: they differ at most in what their own proxies do.
    pub fn is_same_endpoint(&self, other: &Pod) -> bool {
        let Pod {
            namespace,
            name,
            workload,
            labels,
            containers,
            address,
            app,
            inbound,
            gateway,
            sidecar,
            stand_in,
            ..
        } = self;
        (namespace, name, workload, labels) == (&other.namespace, &other.name, &other.workload, &other.labels)
            && (containers, address, app, inbound) == (&other.containers, &other.address, &other.app, &other.inbound)
            && (gateway, sidecar, stand_in) == (&other.gateway, &other.sidecar, &other.stand_in)
    }

    /// Where others reach its `port`: the sidecar, where there is one.
    pub fn reach(&self, port: u16) -> SocketAddr {
        self.inbound.get(&port).copied().unwrap_or(self.app(port))
    }

    /// Where its app listens for `port`.
    pub fn app(&self, port: u16) -> SocketAddr {
        self.app.get(&port).copied().unwrap_or(SocketAddr::new(self.address, port))
    }
}

impl Mesh {
    /// Plans the pods of `objects` and places them. `placement` keeps its answers from one call to the next, so that pods stay where they are.
    pub fn new(objects: Objects, placement: &mut dyn Placement, options: Options) -> Mesh {
        let options = options.settled(&objects);
        Mesh::planned(objects, placement, options, &[])
    }

    /// The mesh after a change of its objects. Its pods are planned again when an object that they are planned of is another, and those that are as they
    /// were are the very same.
    pub fn edited(&self, objects: Objects, placement: &mut dyn Placement, options: Options) -> Mesh {
        let options = options.settled(&objects);
        let edited = self.objects.differences(&objects, usize::MAX).unwrap_or_default();
        let mut edited = edited.iter().flat_map(|(before, after)| [before, after]).flatten();
        if options == self.options && !edited.any(|entry| is_planned_of(&entry.object)) {
            return Mesh { objects, ..self.clone() };
        }
        Mesh::planned(objects, placement, options, &self.pods)
    }

    /// `known` are pods of which those that come to the same are taken.
    fn planned(objects: Objects, placement: &mut dyn Placement, options: Options, known: &[Arc<Pod>]) -> Mesh {
        let mut diagnostics = Vec::new();
        let mut plans = plan_pods(&objects, &options);
        let stand_ins =
            if options.stand_in_gateways { gateways_without_pod(&objects, &plans, &options) } else { Vec::new() };
        for stand_in in &stand_ins {
            let names: Vec<String> = stand_in.gateways.iter().map(ToString::to_string).collect();
            let message = format!(
                "{} has no pod; {}/{} stands in",
                names.join(", "),
                stand_in.plan.namespace,
                stand_in.plan.name
            );
            let mut notice = Diagnostic::notice("stand-in-gateway", message, "");
            notice.object = stand_in.gateways.first().cloned();
            diagnostics.push(notice);
        }
        plans.extend(stand_ins.iter().map(|stand_in| stand_in.plan.clone()));
        if plans.len() > PODS_MAX {
            let message = format!("the manifests ask for {} pods; only {PODS_MAX} are planned", plans.len());
            diagnostics.push(Diagnostic::error("limit", message, "ask for fewer replicas"));
            plans.truncate(PODS_MAX);
        }
        let ports = ports_by_service(&objects, &plans);
        let mut tcp = tcp_services(&objects, &options);
        let tcp_max = TCP_LISTENERS_MAX / plans.len().max(1);
        if tcp.len() > tcp_max {
            let message = format!("{} TCP services for each of {} pods are too many listeners", tcp.len(), plans.len());
            diagnostics.push(Diagnostic::error("limit", message, format!("only {tcp_max} of the services are served")));
            tcp.truncate(tcp_max);
        }
        let mut pods = Vec::new();
        for (plan, ports) in plans.iter().zip(ports) {
            match place(plan, ports, &tcp, &objects, placement) {
                Some(pod) => {
                    let known = position(known, (&pod.namespace, &pod.name)).map(|at| &known[at]);
                    pods.push(known.filter(|known| ***known == pod).cloned().unwrap_or_else(|| Arc::new(pod)));
                }
                None => {
                    let message = format!(
                        "pod {}/{} of {} has no address and is left out",
                        plan.namespace, plan.name, plan.object
                    );
                    diagnostics.push(Diagnostic::notice("no-address", message, "").about(plan.object.clone()));
                }
            }
        }
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Mesh { objects, pods: Arc::new(pods), stand_ins, options, diagnostics }
    }

    /// The pod with this `namespace/name`.
    pub fn pod(&self, node: &str) -> Option<&Pod> {
        position(&self.pods, node.split_once('/')?).map(|at| &*self.pods[at])
    }
}

/// Where the pod with this namespace and name is among those of a mesh.
pub(crate) fn position(pods: &[Arc<Pod>], wanted: (&str, &str)) -> Option<usize> {
    pods.binary_search_by(|pod| (pod.namespace.as_str(), pod.name.as_str()).cmp(&wanted)).ok()
}

/// Whether pods, or where they and their proxies listen, may be others when this object is.
fn is_planned_of(object: &Object) -> bool {
    match object {
        Object::Workload(_) | Object::Namespace(_) | Object::MeshConfig(_) => true,
        Object::Service(_) | Object::ServiceEntry(_) | Object::Gateway(_) | Object::K8sGateway(_) => true,
        Object::VirtualService(_)
        | Object::DestinationRule(_)
        | Object::EndpointSlice(_)
        | Object::HttpRoute(_)
        | Object::OpaqueRoute(_)
        | Object::ReferenceGrant(_)
        | Object::WorkloadEntry(_)
        | Object::Sidecar(_)
        | Object::ServiceAccount(_)
        | Object::GatewayClass(_) => false,
    }
}

fn place(
    plan: &PodPlan,
    ports: Vec<u16>,
    tcp: &[(String, u16)],
    objects: &Objects,
    placement: &mut dyn Placement,
) -> Option<Pod> {
    let address = placement.address(plan)?;
    let mut pod = Pod {
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        workload: plan.workload.clone(),
        labels: plan.labels.clone(),
        annotations: plan.annotations.clone(),
        proxy: plan.proxy,
        service_account: plan.service_account.clone(),
        containers: plan.containers.clone(),
        address,
        app: ports.iter().map(|port| (*port, placement.app(plan, address, *port))).collect(),
        inbound: BTreeMap::new(),
        outbound: placement.outbound(plan, address),
        tcp: BTreeMap::new(),
        gateway: BTreeMap::new(),
        sidecar: plan.sidecar,
        stand_in: plan.stand_in,
        object: plan.object.clone(),
    };
    if !plan.sidecar {
        return Some(pod);
    }
    for port in ports {
        pod.inbound.insert(port, placement.inbound(plan, address, port));
    }
    for port in plan::gateway_ports(objects, plan) {
        pod.gateway.insert(port, placement.gateway(plan, address, port));
    }
    // A gateway forwards; nobody beside it calls out through it.
    if !plan.stand_in {
        for (host, port) in tcp {
            pod.tcp.insert((host.clone(), *port), placement.tcp(plan, address, host, *port));
        }
    }
    Some(pod)
}

/// Host and port of everything that is carried as opaque TCP and has one name.
fn tcp_services(objects: &Objects, options: &Options) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for entry in objects.of_kind("Service").chain(objects.of_kind("ServiceEntry")) {
        match &entry.object {
            Object::Service(service) => {
                let host = service_host(service, &options.cluster_domain);
                all.extend(
                    service
                        .ports
                        .iter()
                        .filter(|port| port.carried == Carried::Tcp)
                        .map(|port| (host.clone(), port.port)),
                );
            }
            Object::ServiceEntry(entry) => {
                for (host, _) in entry.hosts.iter().filter(|(host, _)| !host.starts_with('*')) {
                    all.extend(
                        entry
                            .ports
                            .iter()
                            .filter(|port| port.carried == Carried::Tcp)
                            .map(|port| (host.clone(), port.number)),
                    );
                }
            }
            _ => {}
        }
    }
    all.sort();
    all.dedup();
    all
}

/// `name.namespace.svc.cluster.local`.
pub fn service_host(service: &Service, cluster_domain: &str) -> String {
    format!("{}.{}.svc.{cluster_domain}", service.meta.name(), service.meta.namespace())
}

/// For each plan the ports that it listens on: declared by a container, or taken for granted by a service.
fn ports_by_service(objects: &Objects, plans: &[PodPlan]) -> Vec<Vec<u16>> {
    let index = Selectors::new(objects);
    plans
        .iter()
        .map(|plan| {
            let declared = plan.containers.iter().flat_map(|container| container.ports.iter().map(|port| port.port));
            let mut ports: Vec<u16> = declared.collect();
            for service in index.of(&plan.namespace, &plan.labels) {
                ports
                    .extend(service.ports.iter().filter_map(|port| plan::resolve_port(&plan.containers, &port.target)));
            }
            ports.sort_unstable();
            ports.dedup();
            ports
        })
        .collect()
}

/// Services by one of their selector's labels, so that finding those of a pod costs as much as the pod has labels.
pub struct Selectors<'a> {
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Service>>,
}

impl<'a> Selectors<'a> {
    /// Indexes every service that has a selector.
    pub fn new(objects: &'a Objects) -> Self {
        let mut by_label: HashMap<_, Vec<&Service>> = HashMap::new();
        for entry in objects.of_kind("Service") {
            if let Object::Service(service) = &entry.object
                && let Some((key, value)) = service.selector.first_key_value()
            {
                by_label.entry((service.meta.namespace(), key.as_str(), value.as_str())).or_default().push(service);
            }
        }
        Selectors { by_label }
    }

    /// The services that select a pod with these labels.
    pub fn of<'b>(&'b self, namespace: &'b str, labels: &'b Labels) -> impl Iterator<Item = &'a Service> + 'b {
        labels
            .iter()
            .filter_map(move |(key, value)| self.by_label.get(&(namespace, key.as_str(), value.as_str())))
            .flatten()
            .copied()
            .filter(move |service| selects(&service.selector, labels))
    }
}
