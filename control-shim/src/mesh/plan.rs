//! From workloads to pods that ought to run, with names that stay the same.

use super::Options;
use crate::object::proxy_config::ProxyConfig;
use crate::object::service::TargetPort;
use crate::object::workload::{Container, Workload, WorkloadKind};
use crate::object::{Labels, Object, ObjectRef, Objects, objects::K8S_GATEWAY, selects};
use ringway_config::model;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// A pod that ought to run.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
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
    /// Whether a proxy belongs beside it (or it is one).
    pub sidecar: bool,
    /// Whether it only is a proxy.
    pub stand_in: bool,
    /// The address in its manifest.
    pub address: Option<IpAddr>,
    /// The object it comes from.
    pub object: ObjectRef,
}

/// A pod made for gateways that no pod serves.
#[derive(Clone, Debug, PartialEq)]
pub struct StandIn {
    /// The pod.
    pub plan: PodPlan,
    /// The gateways it serves.
    pub gateways: Vec<ObjectRef>,
}

/// The namespace of gateways made for Istio's Gateway objects.
const GATEWAY_NAMESPACE: &str = "istio-system";
/// Label that ties a pod to a Gateway of the Gateway API.
const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
const INJECT: &str = "sidecar.istio.io/inject";

/// Every pod that the workloads ask for.
pub fn plan_pods(objects: &Objects, options: &Options) -> Vec<PodPlan> {
    let mut not_injected: HashMap<&str, bool> = HashMap::new();
    for entry in objects.of_kind("Namespace") {
        if let Object::Namespace(namespace) = &entry.object {
            let label = |key: &str, value: &str| namespace.meta.labels.get(key).is_some_and(|v| v == value);
            not_injected.insert(namespace.meta.name(), label("istio-injection", "disabled"));
        }
    }
    let mut plans = Vec::new();
    for entry in objects.iter() {
        let Object::Workload(workload) = &entry.object else { continue };
        let namespace_off = not_injected.get(workload.meta.namespace()).copied().unwrap_or(false);
        let plan = template(workload, namespace_off, options);
        // One more than allowed is enough to see that there are too many.
        let room = u32::try_from((super::PODS_MAX + 1).saturating_sub(plans.len())).unwrap_or(u32::MAX);
        for index in 0..workload.replicas.min(room) {
            plans.push(PodPlan { name: pod_name(workload, index), ..plan.clone() });
        }
    }
    plans
}

fn template(workload: &Workload, namespace_off: bool, options: &Options) -> PodPlan {
    let wish = workload.labels.get(INJECT).or_else(|| workload.annotations.get(INJECT)).map(String::as_str);
    let sidecar = match wish {
        Some("false") => false,
        Some("true") => true,
        _ => !namespace_off,
    };
    let only_proxy = is_gateway_proxy(workload);
    PodPlan {
        namespace: workload.meta.namespace().into(),
        name: String::new(),
        workload: identity(workload.meta.namespace(), workload.meta.name(), &workload.labels, options),
        labels: workload.labels.clone(),
        annotations: workload.annotations.clone(),
        proxy: workload.proxy,
        service_account: workload.service_account.clone(),
        containers: if only_proxy { Vec::new() } else { workload.containers.clone() },
        sidecar: sidecar || only_proxy,
        stand_in: only_proxy,
        address: workload.address,
        object: workload.meta.reference.clone(),
    }
}

/// Whether a workload is one of Istio's own gateways, whose only container is the proxy that we are.
fn is_gateway_proxy(workload: &Workload) -> bool {
    let template = workload.annotations.get("inject.istio.io/templates");
    template.is_some_and(|names| names.split(',').any(|name| name.trim() == "gateway"))
        || !workload.containers.is_empty()
            && workload.containers.iter().all(|container| container.name == "istio-proxy")
}

/// Who a pod is, as Istio's telemetry names it.
fn identity(namespace: &str, name: &str, labels: &Labels, options: &Options) -> model::Workload {
    let first =
        |keys: &[&str], or: &str| keys.iter().find_map(|key| labels.get(*key)).map_or(or, String::as_str).to_string();
    model::Workload {
        namespace: namespace.into(),
        name: name.into(),
        app: first(&["app"], ""),
        version: first(&["version"], ""),
        canonical_name: first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], name),
        canonical_revision: first(
            &["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"],
            "latest",
        ),
        principal: String::new(),
        cluster: options.cluster.clone(),
    }
}

/// `name-<hash>-<index>`, and as Kubernetes does for the kinds that have fixed names. The hash is the workload's, not its template's: an edit of a
/// label must not rename pods.
fn pod_name(workload: &Workload, index: u32) -> String {
    let name = workload.meta.name();
    match workload.kind {
        WorkloadKind::Pod => name.to_string(),
        WorkloadKind::StatefulSet => format!("{name}-{index}"),
        _ => format!("{name}-{}-{index}", short_hash(workload.meta.namespace(), name)),
    }
}

/// Six characters of Kubernetes' own safe alphabet, by FNV-1a.
fn short_hash(namespace: &str, name: &str) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = namespace.bytes().chain([b'/']).chain(name.bytes());
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut text = String::new();
    for _ in 0..6 {
        text.push(char::from(ALPHABET[(hash % 27) as usize]));
        hash /= 27;
    }
    text
}

/// The number behind a target port, in these containers. A number needs no declaration.
pub(super) fn resolve_port(containers: &[Container], target: &TargetPort) -> Option<u16> {
    match target {
        TargetPort::Number(port) => Some(*port),
        TargetPort::Name(name) => containers
            .iter()
            .flat_map(|container| &container.ports)
            .find(|port| &port.name == name)
            .map(|port| port.port),
    }
}

/// The ports that `plan` serves as a gateway.
pub(super) fn gateway_ports(objects: &Objects, plan: &PodPlan) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    // Of these kinds alone: this is asked for every pod.
    for entry in objects.of_kind("Gateway").chain(objects.of_kind(K8S_GATEWAY)) {
        match &entry.object {
            Object::Gateway(gateway) if selects(&gateway.selector, &plan.labels) => {
                ports.extend(gateway.servers.iter().map(|server| server.port));
            }
            Object::K8sGateway(gateway) if serves(plan, gateway.meta.namespace(), gateway.meta.name()) => {
                let served = gateway.listeners.iter().filter(|listener| listener.problem.is_none());
                ports.extend(served.map(|listener| listener.port));
            }
            _ => {}
        }
    }
    ports
}

/// Whether a pod serves a Gateway of the Gateway API.
fn serves(plan: &PodPlan, namespace: &str, name: &str) -> bool {
    plan.namespace == namespace && plan.labels.get(GATEWAY_NAME_LABEL).is_some_and(|label| label == name)
}

/// Gateways whose selector matches no planned pod, each with the pod that would serve it. Gateways with one selector share a pod.
pub fn gateways_without_pod(objects: &Objects, plans: &[PodPlan], options: &Options) -> Vec<StandIn> {
    let mut stand_ins: Vec<StandIn> = Vec::new();
    let mut gateways: Vec<_> = objects
        .of_kind("Gateway")
        .filter_map(|entry| match &entry.object {
            Object::Gateway(gateway) => Some(gateway),
            _ => None,
        })
        .filter(|gateway| !plans.iter().any(|plan| plan.sidecar && selects(&gateway.selector, &plan.labels)))
        .collect();
    // The narrowest selectors first: a pod made for them serves the wider ones too.
    gateways.sort_by_key(|gateway| std::cmp::Reverse(gateway.selector.len()));
    for gateway in gateways {
        match stand_ins.iter_mut().find(|stand_in| selects(&gateway.selector, &stand_in.plan.labels)) {
            Some(stand_in) => stand_in.gateways.push(gateway.meta.reference.clone()),
            None => {
                let name = stand_in_name(&gateway.selector);
                let plan =
                    stand_in(GATEWAY_NAMESPACE, &name, gateway.selector.clone(), &gateway.meta.reference, options);
                stand_ins.push(StandIn { plan, gateways: vec![gateway.meta.reference.clone()] });
            }
        }
    }
    for entry in objects.of_kind(K8S_GATEWAY) {
        let Object::K8sGateway(gateway) = &entry.object else { continue };
        let (namespace, name) = (gateway.meta.namespace(), gateway.meta.name());
        let nothing = gateway.listeners.iter().all(|listener| listener.problem.is_some());
        if nothing || plans.iter().any(|plan| plan.sidecar && serves(plan, namespace, name)) {
            continue;
        }
        let labels = Labels::from([(GATEWAY_NAME_LABEL.to_string(), name.to_string())]);
        let pod = format!("{name}-{}", gateway.class);
        let plan = stand_in(namespace, &pod, labels, &gateway.meta.reference, options);
        stand_ins.push(StandIn { plan, gateways: vec![ObjectRef::new(K8S_GATEWAY, namespace, name)] });
    }
    number_twins(&mut stand_ins);
    stand_ins
}

/// Two selectors may come to one name (`{a: x}` and `{b: x}`); the second one gets a number.
fn number_twins(stand_ins: &mut [StandIn]) {
    let mut seen: HashMap<(String, String), u32> = HashMap::new();
    for stand_in in stand_ins {
        let count = seen.entry((stand_in.plan.namespace.clone(), stand_in.plan.name.clone())).or_default();
        *count += 1;
        if *count > 1 {
            stand_in.plan.name = format!("{}-{count}", stand_in.plan.name);
            stand_in.plan.workload.name = stand_in.plan.name.clone();
        }
    }
}

/// `istio: ingressgateway` makes `istio-ingressgateway`, as Istio's own installation calls it.
fn stand_in_name(selector: &Labels) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(value) = selector.get("istio") {
        parts.push(format!("istio-{value}"));
    } else {
        parts.extend(selector.values().cloned());
    }
    let name: String = parts.join("-").to_ascii_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "gateway".into() } else { name.to_string() }
}

fn stand_in(namespace: &str, name: &str, labels: Labels, object: &ObjectRef, options: &Options) -> PodPlan {
    PodPlan {
        namespace: namespace.into(),
        name: name.into(),
        workload: model::Workload { app: name.into(), ..identity(namespace, name, &labels, options) },
        labels,
        annotations: Labels::new(),
        proxy: ProxyConfig::default(),
        service_account: "default".into(),
        containers: Vec::new(),
        sidecar: true,
        stand_in: true,
        address: None,
        object: object.clone(),
    }
}
