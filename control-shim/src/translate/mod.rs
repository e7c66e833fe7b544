//! Pure translation: a [`Mesh`] becomes compact config, with diagnostics for everything that refers to nothing.
//!
//! One API kind a file. Reads no files, no clock, no randomness: the same mesh gives the same bytes. Every blob is encoded once and shared by all
//! proxies that hold it. A broken reference is never a dangling one: its share of the traffic answers with its rule id.

mod attach;
mod cluster;
mod compiled;
mod delegate;
mod destination_rule;
mod edit;
mod gateway;
mod gateway_api;
mod http_route;
mod inbound;
mod index;
mod on_demand;
mod opaque;
mod outbound;
mod registry;
mod rules;
mod scope;
mod settle;
mod shards;
mod status;
mod ties;
mod virtual_service;

pub use compiled::{Compiled, HostConfig, ProxyConfig};
pub use rules::Rules;
pub use settle::translate;
pub use status::statuses;

use crate::diagnostic::Diagnostic;
use crate::mesh::{Mesh, Pod, Selectors};
use crate::object::{Meta, Object, ObjectRef, Spot};
use cluster::Clusters;
use compiled::Basis;
use destination_rule::DestinationRules;
use edit::Part;
use http_route::HttpRoutes;
use opaque::OpaqueRoutes;
use registry::Registry;
use ringway_config::Blob;
use ringway_config::model::{Model, RuleId};
use scope::Sidecars;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use virtual_service::VirtualServices;

/// What one pass of translation works on. Everything that is looked up is indexed once.
struct Pass<'a> {
    mesh: &'a Mesh,
    registry: Registry<'a>,
    virtual_services: VirtualServices<'a>,
    destination_rules: DestinationRules<'a>,
    http_routes: HttpRoutes<'a>,
    opaque_routes: OpaqueRoutes<'a>,
    selectors: Selectors<'a>,
    sidecars: Sidecars<'a>,
    namespaces: HashMap<&'a str, &'a crate::object::Labels>,
    rules: RefCell<Rules>,
    findings: Findings,
    clusters: Clusters,
    /// Authorities that were taken when another host wanted them.
    contested: RefCell<HashSet<(String, u16)>>,
}

/// Findings of a pass, each said once.
#[derive(Default)]
struct Findings {
    said: RefCell<HashSet<(&'static str, String, String)>>,
    all: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    fn add(&self, diagnostic: Diagnostic) {
        let place = diagnostic.place.as_ref().map(|place| format!("{}:{}:{}", place.file, place.line, place.column));
        if self.said.borrow_mut().insert((diagnostic.code, diagnostic.message.clone(), place.unwrap_or_default())) {
            self.all.borrow_mut().push(diagnostic);
        }
    }

    fn error(&self, object: &ObjectRef, spot: &Spot, code: &'static str, message: String, mend: impl Into<String>) {
        self.add(Diagnostic::error(code, message, mend).at(spot.place()).about(object.clone()));
    }

    fn warning(&self, object: &ObjectRef, spot: &Spot, code: &'static str, message: String, mend: impl Into<String>) {
        self.add(Diagnostic::warning(code, message, mend).at(spot.place()).about(object.clone()));
    }
}

/// From which namespace the mesh is seen: its name where anything makes a difference for it, else empty. For clients that rules of their namespace
/// select, [`SELECTED`] and the names of those rules follow.
type View<'v> = &'v str;

/// What no name contains.
const SELECTED: char = '#';

/// The namespace of a view.
fn namespace_of(view: View<'_>) -> &str {
    view.split_once(SELECTED).map_or(view, |(namespace, _)| namespace)
}

impl<'a> Pass<'a> {
    fn new(mesh: &'a Mesh) -> Self {
        let mut namespaces = HashMap::new();
        for entry in mesh.objects.iter() {
            if let Object::Namespace(namespace) = &entry.object {
                namespaces.insert(namespace.meta.name(), &namespace.meta.labels);
            }
        }
        let findings = Findings::default();
        let registry = Registry::new(mesh, &findings);
        Pass {
            mesh,
            virtual_services: VirtualServices::new(&mesh.objects, &mesh.options),
            destination_rules: DestinationRules::new(&mesh.objects, &registry, &mesh.options, &mesh.pods, &findings),
            http_routes: HttpRoutes::new(&mesh.objects),
            opaque_routes: OpaqueRoutes::new(&mesh.objects),
            selectors: Selectors::new(&mesh.objects),
            sidecars: Sidecars::new(&mesh.objects, &mesh.options.root_namespace),
            registry,
            namespaces,
            rules: RefCell::default(),
            findings,
            clusters: Clusters::default(),
            contested: RefCell::default(),
        }
    }

    /// The id of a rule; remembers where it stands.
    fn rule(&self, meta: &Meta, field: &str, spot: &Spot) -> RuleId {
        let (id, collision) = self.rules.borrow_mut().add(&meta.reference, field, spot);
        if let Some(other) = collision {
            let message = format!("`{field}` of {} has the same rule id as {other}", meta.reference);
            let mend = "rename one of the two objects";
            self.findings.error(&meta.reference, spot, "rule-collision", message, mend);
        }
        id
    }

    /// Encodes a model. What exceeds the format's bounds is left out with an error.
    fn encode(&self, model: &Model) -> Option<Blob> {
        match Blob::encode(model) {
            Ok(blob) => Some(blob),
            Err(error) => {
                let message = format!("{:?} `{}` cannot be encoded: {error}", model.kind(), model.name());
                self.findings.add(Diagnostic::error("format-limit", message, "make it smaller"));
                None
            }
        }
    }

    /// Namespaces from which something looks different than from everywhere else.
    fn views(&self) -> BTreeSet<&str> {
        let mut views = BTreeSet::from([""]);
        views.extend(self.destination_rules.selected_views());
        views.extend(self.registry.special());
        views.extend(self.virtual_services.special());
        views.extend(self.destination_rules.special());
        views.extend(self.http_routes.special());
        views
    }

    /// What is made for hosts as these views see them, and for these pods.
    fn part(self, views: &BTreeSet<&str>, pods: &[&Pod]) -> Part {
        let own_views = self.views().into_iter().map(String::from).collect();
        let hosts = views.iter().map(|view| (view.to_string(), self.outbound_hosts(view))).collect();
        let view = |pod: &Pod| views.get(pod.namespace.as_str()).copied().unwrap_or("");
        let proxies = pods.iter().filter_map(|pod| Some((pod.node(), self.proxy(pod, view(pod))?))).collect();
        self.check_references();
        let findings = self.findings.all.into_inner().iter().map(|found| format!("{found:?}")).collect();
        Part {
            views: own_views,
            hosts,
            proxies,
            known_hosts: self.registry.iter().map(|destination| destination.host.clone()).collect(),
            findings,
            contested: self.contested.into_inner(),
            rules: self.rules.into_inner(),
        }
    }

    fn compile(self) -> Compiled {
        let views = self.views();
        let hosts = views.iter().map(|view| (view.to_string(), self.outbound_hosts(view))).collect();
        let mut proxies = std::collections::BTreeMap::new();
        for pod in self.mesh.pods.iter().filter(|pod| pod.sidecar) {
            let of_namespace = views.get(pod.namespace.as_str()).copied().unwrap_or("");
            let view = self.destination_rules.selected_view(pod).unwrap_or(of_namespace);
            if let Some(proxy) = self.proxy(pod, view) {
                proxies.insert(pod.node(), Arc::new(proxy));
            }
        }
        self.check_references();
        let mut diagnostics = self.findings.all.into_inner();
        diagnostics.sort_by_key(|diagnostic| {
            diagnostic.place.as_ref().map(|place| (place.file.clone(), place.line, place.column))
        });
        Compiled {
            diagnostics,
            objects: self.mesh.objects.clone(),
            cluster_domain: self.mesh.options.cluster_domain.clone(),
            version: 1,
            proxies: Arc::new(proxies),
            hosts,
            rules: self.rules.into_inner(),
            basis: Basis::new(self.mesh, self.contested.into_inner()),
        }
    }
}

/// `name` in lower case becomes `name.namespace.svc.cluster.local` when it has no dot, as Istio does; `*` and IP addresses stay.
fn expand(host: &str, namespace: &str, cluster_domain: &str) -> String {
    if host.contains('.') || host.contains(':') || host == "*" {
        return host.to_string();
    }
    format!("{host}.{namespace}.svc.{cluster_domain}")
}

/// Whether a host pattern (`*`, `*.suffix` or a name) covers another pattern.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix) && host != suffix,
        None => pattern == host,
    }
}

/// The narrower of two host patterns, if they meet.
fn intersect(a: &str, b: &str) -> Option<String> {
    if covers(a, b) {
        Some(b.to_string())
    } else if covers(b, a) {
        Some(a.to_string())
    } else {
        None
    }
}

/// Age, then name and namespace: what decides between objects that want the same, as in Istio.
fn seniority(meta: &Meta) -> (bool, &str, &str, &str) {
    (meta.created.is_empty(), &meta.created, meta.name(), meta.namespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns() {
        assert_eq!(intersect("*", "a.com").as_deref(), Some("a.com"));
        assert_eq!(intersect("*.com", "a.com").as_deref(), Some("a.com"));
        assert_eq!(intersect("*.a.com", "*.com").as_deref(), Some("*.a.com"));
        assert_eq!(intersect("*.com", "com"), None);
        assert_eq!(intersect("a.com", "b.com"), None);
        assert_eq!(expand("reviews", "prod", "cluster.local"), "reviews.prod.svc.cluster.local");
        assert_eq!(expand("a.com", "prod", "cluster.local"), "a.com");
    }
}
