//! Deployment, StatefulSet, DaemonSet, ReplicaSet, Job and Pod: what runs, how often, and on which ports.

use super::decode::{Field, Fields};
use super::proxy_config::{self, ProxyConfig};
use super::{Labels, Meta, Spot, locality};
use std::net::IpAddr;

/// Pods of one template.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Who it is.
    pub meta: Meta,
    /// Which kind.
    pub kind: WorkloadKind,
    /// How many pods.
    pub replicas: u32,
    /// Labels of the pods.
    pub labels: Labels,
    /// Annotations of the pods, with the workload's own `ringway.dev/` ones where the template has none.
    pub annotations: Labels,
    /// What they say of their proxy.
    pub proxy: ProxyConfig,
    /// Service account of the pods; `default` when unset.
    pub service_account: String,
    /// Their containers.
    pub containers: Vec<Container>,
    /// `status.podIP`, for pods that run already.
    pub address: Option<IpAddr>,
}

/// Which kind of workload; it decides how pods are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    Pod,
}

/// One container.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image, for display.
    pub image: String,
    /// Its declared TCP ports.
    pub ports: Vec<ContainerPort>,
    /// Where it stands.
    pub spot: Spot,
}

/// One declared port.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerPort {
    /// Name; may be empty.
    pub name: String,
    /// Number.
    pub port: u16,
}

/// More pods than this of one workload are a mistake in a manifest rather than a wish.
pub const REPLICAS_MAX: u64 = 1_000;

/// Decodes a workload.
pub fn workload(kind: WorkloadKind, meta: Meta, mut root: Fields<'_>) -> Option<Workload> {
    let spec = root.require("spec")?;
    let spec = Field { path: String::new(), ..spec };
    let mut workload = Workload {
        kind,
        replicas: 1,
        labels: meta.labels.clone(),
        annotations: meta.annotations.clone(),
        proxy: ProxyConfig::default(),
        service_account: "default".into(),
        containers: Vec::new(),
        address: None,
        meta,
    };
    if kind == WorkloadKind::Pod {
        if let Some(status) = root.get("status") {
            workload.address = status.node.get("podIP").and_then(|node| match &node.value {
                crate::yaml::Value::Scalar { text, .. } => text.parse().ok(),
                _ => None,
            });
        }
        if let Some(annotations) = root.field().node.get("metadata").and_then(|metadata| metadata.get("annotations")) {
            workload.proxy = proxy_config::of_annotations(spec.context, annotations);
        }
        pod_spec(&spec, &mut workload);
    } else {
        root.harmless(&["status"]);
        controller(&spec, &mut workload);
    }
    root.finish();
    Some(workload)
}

fn controller(spec: &Field<'_>, workload: &mut Workload) {
    let Some(mut fields) = spec.fields("this workload") else { return };
    fields.harmless(&[
        "selector",
        "strategy",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "paused",
        "serviceName",
        "volumeClaimTemplates",
        "updateStrategy",
        "podManagementPolicy",
        "persistentVolumeClaimRetentionPolicy",
        "ordinals",
        "backoffLimit",
        "completions",
        "parallelism",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "completionMode",
        "suspend",
        "manualSelector",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "podReplacementPolicy",
        "successPolicy",
        "managedBy",
    ]);
    if let Some(replicas) = fields.get("replicas").and_then(|f| f.number(0, REPLICAS_MAX)) {
        workload.replicas = u32::try_from(replicas).unwrap_or(1);
    }
    let template = fields.require("template");
    fields.finish();
    let Some(mut template) = template.and_then(|f| f.fields("a pod template")) else { return };
    let (mut labels, mut annotations) = (Labels::new(), Labels::new());
    if let Some(mut metadata) = template.get("metadata").and_then(|f| f.fields("metadata")) {
        labels = metadata.get("labels").map(|f| f.labels()).unwrap_or_default();
        if let Some(field) = metadata.get("annotations") {
            annotations = field.labels();
            workload.proxy = proxy_config::of_annotations(field.context, field.node);
        }
        metadata.harmless(&["name", "namespace", "creationTimestamp", "finalizers", "ownerReferences", "generateName"]);
        metadata.finish();
    }
    for (key, value) in workload.meta.annotations.iter().filter(|(key, _)| key.starts_with("ringway.dev/")) {
        annotations.entry(key.clone()).or_insert_with(|| value.clone());
    }
    workload.labels = labels;
    workload.annotations = annotations;
    if let Some(spec) = template.require("spec") {
        pod_spec(&spec, workload);
    }
    template.finish();
}

fn pod_spec(spec: &Field<'_>, workload: &mut Workload) {
    let Some(mut fields) = spec.fields("a pod spec") else { return };
    let account = fields.get("serviceAccountName").or_else(|| fields.get("serviceAccount")).and_then(|f| f.text());
    if let Some(account) = account.filter(|account| !account.is_empty()) {
        workload.service_account = account.into();
    }
    if let Some(selector) = fields.get("nodeSelector") {
        // The pod runs where its nodes are.
        let selector = selector.labels();
        locality::label(&mut workload.labels, locality::TOPOLOGY.map(|name| selector.get(name).map(String::as_str)));
    }
    let containers = fields.require("containers").map(|f| f.items()).unwrap_or_default();
    workload.containers = containers.iter().filter_map(container).collect();
    fields.harmless(&[
        "serviceAccount",
        "initContainers",
        "ephemeralContainers",
        "volumes",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "nodeName",
        "affinity",
        "tolerations",
        "securityContext",
        "imagePullSecrets",
        "hostname",
        "subdomain",
        "hostAliases",
        "priority",
        "priorityClassName",
        "dnsPolicy",
        "dnsConfig",
        "enableServiceLinks",
        "automountServiceAccountToken",
        "schedulerName",
        "runtimeClassName",
        "readinessGates",
        "topologySpreadConstraints",
        "activeDeadlineSeconds",
        "hostIPC",
        "hostPID",
        "hostUsers",
        "shareProcessNamespace",
        "setHostnameAsFQDN",
        "preemptionPolicy",
        "overhead",
        "os",
        "schedulingGates",
        "resourceClaims",
        "resources",
    ]);
    if let Some(host) = fields.get("hostNetwork")
        && host.boolean() == Some(true)
    {
        host.warning("not-honoured", "`hostNetwork` is not honoured; the pod gets an address of its own", "");
    }
    fields.finish();
}

fn container(item: &Field<'_>) -> Option<Container> {
    let mut fields = item.fields("a container")?;
    let name = fields.require("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let image = fields.get("image").and_then(|f| f.text()).unwrap_or("").to_string();
    let ports = fields.get("ports").map(|f| f.items()).unwrap_or_default();
    let ports = ports.iter().filter_map(container_port).collect();
    fields.harmless(&[
        "command",
        "args",
        "env",
        "envFrom",
        "workingDir",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "volumeMounts",
        "volumeDevices",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
    ]);
    fields.finish();
    Some(Container { name, image, ports, spot: item.spot() })
}

fn container_port(item: &Field<'_>) -> Option<ContainerPort> {
    let mut fields = item.fields("a container port")?;
    let port = fields.require("containerPort").and_then(|f| f.port());
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let transports = [("TCP", true), ("UDP", false), ("SCTP", false)];
    let transport = fields.get("protocol").map_or(Some(true), |f| f.word(&transports));
    fields.harmless(&["hostPort", "hostIP"]);
    fields.finish();
    port.filter(|_| transport == Some(true)).map(|port| ContainerPort { name, port })
}
