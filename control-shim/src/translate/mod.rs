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
mod findings;
mod gateway;
mod gateway_api;
mod held;
mod http_route;
mod inbound;
mod index;
mod on_demand;
mod opaque;
mod outbound;
mod reach;
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
use crate::object::{Meta, Object, Spot};
use crate::sorted::Sorted;
use cluster::Clusters;
use compiled::Basis;
use destination_rule::DestinationRules;
use findings::Findings;
use held::{Held, Holds};
use http_route::HttpRoutes;
use index::Index;
use opaque::OpaqueRoutes;
use registry::Registry;
use ringway_config::Blob;
use ringway_config::model::{Model, RuleId};
use scope::Sidecars;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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
    /// Labels that rules ask proxies for: each knows its own of them.
    labels: BTreeSet<String>,
    rules: RefCell<Rules>,
    findings: Findings,
    clusters: Clusters,
    /// Authorities that were taken when another host wanted them.
    contested: RefCell<HashSet<(String, u16)>>,
    /// What proxies hold, each list once.
    holdings: RefCell<BTreeSet<Arc<Holds>>>,
    /// Encoded policies by the proxies that they trust.
    policies: RefCell<BTreeMap<u32, Option<Blob>>>,
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
        Pass::near(mesh, mesh.pods.iter().map(|pod| &**pod))
    }

    /// A pass over a part of a mesh, whose endpoints are at no other pods than these.
    fn near(mesh: &'a Mesh, pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut namespaces = HashMap::new();
        for entry in mesh.objects.of_kind("Namespace") {
            if let Object::Namespace(namespace) = &entry.object {
                namespaces.insert(namespace.meta.name(), &namespace.meta.labels);
            }
        }
        let findings = Findings::default();
        let registry = Registry::new(mesh, pods, &findings);
        let virtual_services = VirtualServices::new(&mesh.objects, &mesh.options);
        let destination_rules = DestinationRules::new(&mesh.objects, &registry, &mesh.options, &mesh.pods, &findings);
        let labels = destination_rules.compared().chain(virtual_services.source_labels()).map(String::from);
        Pass {
            mesh,
            labels: labels.collect(),
            virtual_services,
            destination_rules,
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
            holdings: RefCell::default(),
            policies: RefCell::default(),
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

    /// The view of a pod, among these.
    fn view_of<'v>(&'v self, pod: &Pod, views: &BTreeSet<&'v str>) -> View<'v> {
        let of_namespace = || views.get(pod.namespace.as_str()).copied().unwrap_or("");
        self.destination_rules.selected_view(pod).unwrap_or_else(of_namespace)
    }

    fn compile(self) -> Compiled {
        let views = self.views();
        let hosts = views.iter().map(|view| (view.to_string(), self.outbound_hosts(view, |_| true))).collect();
        let mut proxies = Sorted::default();
        for pod in self.mesh.pods.iter().filter(|pod| pod.sidecar) {
            if let Some(proxy) = self.proxy(pod, self.view_of(pod, &views)) {
                proxies.insert(pod.node(), Arc::new(proxy));
            }
        }
        let held = Held::by(&self, &proxies);
        self.check_references();
        let (objects, options) = (&self.mesh.objects, &self.mesh.options);
        let mut found = self.findings.into_found();
        Compiled {
            diagnostics: findings::tell(&mut found, objects, &options.cluster_domain, true),
            objects: objects.clone(),
            cluster_domain: options.cluster_domain.clone(),
            version: 1,
            proxies,
            held,
            hosts,
            rules: self.rules.into_inner(),
            basis: Basis {
                pods: self.mesh.pods.clone(),
                options: options.clone(),
                index: Index::new(self.mesh),
                found,
                labels: Arc::new(self.labels),
                contested: Arc::new(self.contested.into_inner()),
            },
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
