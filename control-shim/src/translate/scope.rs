//! Which Sidecar holds for a pod, and what its proxy sees.

use super::{covers, seniority};
use crate::mesh::Pod;
use crate::object::sidecar::{EgressHost, Ingress, Sidecar};
use crate::object::{Object, Objects, selects};
use ringway_config::model::RuleId;
use std::collections::HashMap;

/// All of them by namespace, oldest first.
pub(super) struct Sidecars<'a> {
    by_namespace: HashMap<&'a str, Vec<&'a Sidecar>>,
    /// Namespace whose Sidecar without a selector holds where a namespace has none.
    root: &'a str,
}

/// What a proxy sees of the mesh's hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// `None` is everything.
    egress: Option<Vec<EgressHost>>,
    /// The rule by which hosts that it does not see are looked up; none: there are no others.
    pub allow_any: Option<RuleId>,
    /// From where its proxy sees the mesh, if not as all of its namespace.
    pub view: Option<String>,
}

impl<'a> Sidecars<'a> {
    pub fn new(objects: &'a Objects, root: &'a str) -> Self {
        let mut by_namespace: HashMap<_, Vec<&Sidecar>> = HashMap::new();
        for entry in objects.iter() {
            if let Object::Sidecar(sidecar) = &entry.object {
                by_namespace.entry(sidecar.meta.namespace()).or_default().push(sidecar);
            }
        }
        by_namespace.values_mut().for_each(|all| all.sort_by_key(|sidecar| seniority(&sidecar.meta)));
        Sidecars { by_namespace, root }
    }

    /// One that selects the pod, else its namespace's, else the root namespace's. A gateway has none.
    pub fn of(&self, pod: &Pod) -> Option<&'a Sidecar> {
        if pod.stand_in {
            return None;
        }
        let of = |namespace: &str| self.by_namespace.get(namespace).into_iter().flatten().copied();
        let selected = of(&pod.namespace)
            .find(|sidecar| sidecar.selector.as_ref().is_some_and(|selector| selects(selector, &pod.labels)));
        let whole = |namespace| of(namespace).find(|sidecar| sidecar.selector.is_none());
        selected.or_else(|| whole(&pod.namespace)).or_else(|| whole(self.root))
    }

    /// What is said of the way to a port of a pod.
    pub fn ingress(&self, pod: &Pod, port: u16) -> Option<(&'a Sidecar, &'a Ingress)> {
        let sidecar = self.of(pod)?;
        Some((sidecar, sidecar.ingress.iter().find(|one| one.port == port)?))
    }

    /// What a pod's proxy sees.
    pub fn scope(&self, pod: &Pod, allow_any: Option<RuleId>, view: Option<&str>) -> Scope {
        let egress = self.of(pod).and_then(|sidecar| sidecar.egress.clone());
        Scope { egress, allow_any, view: view.map(String::from) }
    }
}

impl Scope {
    /// Ports with listeners of their own.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.egress.iter().flatten().filter_map(|one| one.port)
    }

    /// Whether a port of a host of an object in a namespace is in it.
    pub fn sees(&self, namespace: &str, host: &str, port: u16) -> bool {
        let Some(egress) = &self.egress else { return true };
        let own = egress.iter().any(|one| one.port == Some(port)).then_some(port);
        let seen = |one: &EgressHost| {
            one.port == own && one.namespace.as_deref().is_none_or(|own| own == namespace) && covers(&one.host, host)
        };
        egress.iter().any(seen)
    }
}
