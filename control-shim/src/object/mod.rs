//! The objects that the shim understands, as plain typed data: decoded, checked on their own, with the places that rules come from.
//!
//! Knows nothing of other objects: what an object refers to is looked up in [`crate::translate`].

pub mod cors;
pub mod decode;
pub mod destination_rule;
pub mod duration;
pub mod fault;
pub mod gateway;
pub mod gateway_api;
pub mod http_filters;
pub mod http_route;
pub mod load_balancer;
pub mod locality;
pub mod markdown;
pub mod mesh_config;
pub mod objects;
pub mod opaque_route;
pub mod outlier;
pub mod patterns;
pub mod proxy_config;
mod reading;
pub mod retries;
pub mod service;
pub mod service_entry;
pub mod sidecar;
pub mod subnet;
pub mod survey;
pub mod variables;
pub mod virtual_service;
pub mod workload;

pub use destination_rule::DestinationRule;
pub use gateway::Gateway;
pub use gateway_api::{GatewayClass, K8sGateway, ReferenceGrant};
pub use http_route::HttpRoute;
pub use mesh_config::MeshConfig;
pub use objects::{Entry, Loaded, Manifests, Objects};
pub use opaque_route::OpaqueRoute;
pub use service::{EndpointSlice, Namespace, Service, ServiceAccount};
pub use service_entry::{ServiceEntry, WorkloadEntry};
pub use sidecar::Sidecar;
pub use virtual_service::VirtualService;
pub use workload::Workload;

use crate::diagnostic::{Place, SOURCE_LINE_CHARS_MAX};
use crate::yaml::Span;
use std::fmt;
use std::sync::Arc;

/// Names an object. Cheap to clone.
///
/// `kind` is the manifest kind; the two kinds called Gateway are told apart as `Gateway` (Istio's) and `Gateway.gateway.networking.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace; empty for kinds without one.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// From its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        ObjectRef { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// A manifest file in memory.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name as the user gave it.
    pub name: Arc<str>,
    /// Its whole text.
    pub text: String,
}

/// Where something stands in a file. Two spots are always equal: where a thing stands is no part of what it is, so that objects compare by content.
#[derive(Clone)]
pub struct Spot {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The place in it.
    pub span: Span,
}

impl PartialEq for Spot {
    fn eq(&self, _: &Spot) -> bool {
        true
    }
}

impl Eq for Spot {}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.name, self.span.line, self.span.column)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.name, self.span.line, self.span.column)
    }
}

impl Spot {
    /// The place with its line, for a diagnostic.
    pub fn place(&self) -> Place {
        let text = &self.file.text;
        let start = self.span.start.min(text.len());
        let from = text.as_bytes()[..start].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let line = text.get(from..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let source: String = line.chars().take(SOURCE_LINE_CHARS_MAX).collect();
        let within = text.get(start..self.span.end).unwrap_or("").lines().next().unwrap_or("");
        let length = u32::try_from(within.chars().count()).unwrap_or(u32::MAX).max(1);
        Place {
            file: self.file.name.clone(),
            line: self.span.line,
            column: self.span.column,
            length,
            source: source.into(),
        }
    }
}

/// What every object has.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Who it is.
    pub reference: ObjectRef,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// `metadata.creationTimestamp`, as text (RFC 3339 in UTC sorts as text); empty when unset. Decides between conflicting objects.
    pub created: String,
    /// `metadata.generation`: which version of the spec this is; 0 when unset, as in a file that no cluster has seen.
    pub generation: u64,
    /// Where the document starts.
    pub spot: Spot,
}

impl Meta {
    /// Namespace.
    pub fn namespace(&self) -> &str {
        &self.reference.namespace
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.reference.name
    }
}

/// Labels or annotations, sorted.
pub type Labels = std::collections::BTreeMap<String, String>;

/// Whether `labels` has everything that `selector` asks for. An empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// One understood object.
#[allow(clippy::large_enum_variant, reason = "one a manifest, in a list that is not copied")]
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Object {
    Namespace(Namespace),
    Service(Service),
    EndpointSlice(EndpointSlice),
    ServiceAccount(ServiceAccount),
    Workload(Workload),
    VirtualService(VirtualService),
    DestinationRule(DestinationRule),
    Gateway(Gateway),
    ServiceEntry(ServiceEntry),
    WorkloadEntry(WorkloadEntry),
    Sidecar(Sidecar),
    GatewayClass(GatewayClass),
    K8sGateway(K8sGateway),
    HttpRoute(HttpRoute),
    OpaqueRoute(OpaqueRoute),
    ReferenceGrant(ReferenceGrant),
    MeshConfig(MeshConfig),
}

impl Object {
    /// What every object has.
    pub fn meta(&self) -> &Meta {
        match self {
            Object::Namespace(o) => &o.meta,
            Object::Service(o) => &o.meta,
            Object::EndpointSlice(o) => &o.meta,
            Object::ServiceAccount(o) => &o.meta,
            Object::Workload(o) => &o.meta,
            Object::VirtualService(o) => &o.meta,
            Object::DestinationRule(o) => &o.meta,
            Object::Gateway(o) => &o.meta,
            Object::ServiceEntry(o) => &o.meta,
            Object::WorkloadEntry(o) => &o.meta,
            Object::Sidecar(o) => &o.meta,
            Object::GatewayClass(o) => &o.meta,
            Object::K8sGateway(o) => &o.meta,
            Object::HttpRoute(o) => &o.meta,
            Object::OpaqueRoute(o) => &o.meta,
            Object::ReferenceGrant(o) => &o.meta,
            Object::MeshConfig(o) => &o.meta,
        }
    }
}
