//! Which DestinationRule holds for a host: the client's namespace first, then the service's, then the root's.

use super::findings::{Findings, Missing};
use super::registry::Registry;
use super::{SELECTED, View, covers, expand, namespace_of, seniority};
use crate::diagnostic::Diagnostic;
use crate::mesh::{Options, Pod};
use crate::object::destination_rule::{DestinationRule, Subset, TrafficPolicy};
use crate::object::locality::LocalitySetting;
use crate::object::patterns::ExportTo;
use crate::object::{Meta, Object, Objects, Spot, selects};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// All of them, expanded and in order of age.
pub(super) struct DestinationRules<'a> {
    /// (namespace, host) → rules of exactly this host.
    exact: HashMap<(&'a str, String), Vec<&'a DestinationRule>>,
    /// Namespace → rules for `*.suffix` and `*`, the longest first.
    wildcard: HashMap<&'a str, Vec<&'a DestinationRule>>,
    special: BTreeSet<&'a str>,
    /// Views of pods that some rule selects, by pod.
    selected: HashMap<String, String>,
    /// Labels that decide which endpoints come first.
    compared: BTreeSet<String>,
    /// Namespace whose rules hold for everyone.
    root: &'a str,
    /// Who sees those that do not say it.
    exports: &'a ExportTo,
}

/// What holds for a host.
#[derive(Default)]
pub(super) struct Effective<'a> {
    rules: Vec<&'a DestinationRule>,
}

impl<'a> DestinationRules<'a> {
    pub fn new(
        objects: &'a Objects,
        registry: &Registry<'_>,
        options: &'a Options,
        pods: &[Arc<Pod>],
        findings: &Findings,
    ) -> Self {
        let mut all: Vec<_> = objects
            .iter()
            .filter_map(|entry| match &entry.object {
                Object::DestinationRule(rule) => Some(rule),
                _ => None,
            })
            .collect();
        all.sort_by_key(|rule| seniority(&rule.meta));
        let of_mesh = options.locality.iter().flat_map(LocalitySetting::compared_labels);
        let compared = all.iter().flat_map(|rule| rule.compared_labels()).chain(of_mesh).collect();
        let mut rules = DestinationRules {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            special: BTreeSet::new(),
            compared,
            selected: selected(&all, pods),
            root: &options.root_namespace,
            exports: &options.exports.destination_rules,
        };
        for rule in all {
            rules.add(rule, registry, &options.cluster_domain, findings);
        }
        for wildcard in rules.wildcard.values_mut() {
            wildcard.sort_by_key(|rule| std::cmp::Reverse(rule.host.len()));
        }
        rules
    }

    fn add(&mut self, rule: &'a DestinationRule, registry: &Registry<'_>, domain: &str, findings: &Findings) {
        let own = rule.meta.namespace();
        let host = expand(&rule.host, own, domain);
        self.special.extend(rule.export_to.or(self.exports).only(own));
        if host.starts_with('*') {
            self.special.insert(own);
            self.wildcard.entry(own).or_default().push(rule);
            return;
        }
        match registry.get(&host) {
            None => {
                let message = format!("nothing has the host `{host}`, so this DestinationRule does nothing");
                let found = Diagnostic::warning("unknown-host", message, "");
                findings.missing(&rule.meta.reference, &rule.host_spot, found, Missing::Host(host.clone()));
            }
            Some(destination) if destination.meta.namespace() != own && own != self.root => {
                self.special.insert(own);
            }
            Some(_) => {}
        }
        self.exact.entry((own, host)).or_default().push(rule);
    }

    /// Namespaces whose clients have rules of their own.
    pub fn special(&self) -> BTreeSet<&'a str> {
        self.special.clone()
    }

    /// The views of pods that some rule selects.
    pub fn selected_views(&self) -> impl Iterator<Item = &str> {
        self.selected.values().map(String::as_str)
    }

    /// The view of a pod, if some rule selects it.
    pub fn selected_view(&self, pod: &Pod) -> Option<&str> {
        self.selected.get(&pod.node()).map(String::as_str)
    }

    /// The labels of proxies that some rule compares with those of endpoints.
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        self.compared.iter().map(String::as_str)
    }

    /// The rules for `host` of a service in `service_namespace`, as seen from `view`. In its own namespace one that selects the client goes before
    /// those for all clients.
    pub fn find(&self, view: View<'_>, host: &str, service_namespace: &str) -> Effective<'a> {
        let client = namespace_of(view);
        for namespace in [client, service_namespace, self.root] {
            let visible = |rule: &&&DestinationRule| {
                namespace == client || rule.export_to.or(self.exports).visible(namespace, client)
            };
            let chosen = |rule: &&DestinationRule| namespace == client && is_selected(rule, view);
            let exact = self.exact.get(&(namespace, host.to_string())).into_iter().flatten();
            let rules: Vec<_> = exact.filter(visible).copied().collect();
            if let Some(rule) = rules.iter().find(|rule| chosen(rule)) {
                return Effective { rules: vec![rule] };
            }
            let rules: Vec<_> = rules.into_iter().filter(|rule| rule.selector.is_none()).collect();
            if !rules.is_empty() {
                return Effective { rules };
            }
            let wildcard = || self.wildcard.get(namespace).into_iter().flatten().filter(visible).copied();
            let mut covering = wildcard().filter(|rule| covers(&rule.host, host));
            let found = covering.clone().find(chosen).or_else(|| covering.find(|rule| rule.selector.is_none()));
            if let Some(rule) = found {
                return Effective { rules: vec![rule] };
            }
        }
        Effective::default()
    }
}

/// The views of pods by node: their namespace and the names of the rules there that select them.
fn selected(rules: &[&DestinationRule], pods: &[Arc<Pod>]) -> HashMap<String, String> {
    let rules: Vec<_> = rules.iter().filter_map(|rule| Some((&rule.meta, rule.selector.as_ref()?))).collect();
    if rules.is_empty() {
        return HashMap::new();
    }
    let view = |pod: &Arc<Pod>| {
        let own =
            rules.iter().filter(|(meta, labels)| meta.namespace() == pod.namespace && selects(labels, &pod.labels));
        let names: BTreeSet<&str> = own.map(|(meta, _)| meta.name()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        (!names.is_empty()).then(|| (pod.node(), format!("{}{SELECTED}{}", pod.namespace, names.join(","))))
    };
    pods.iter().filter_map(view).collect()
}

/// Whether a view is that of clients which a rule of their namespace selects.
fn is_selected(rule: &DestinationRule, view: View<'_>) -> bool {
    let names = view.split_once(SELECTED).map_or("", |(_, names)| names);
    rule.selector.is_some() && names.split(',').any(|name| name == rule.meta.name())
}

impl<'a> Effective<'a> {
    /// A subset by name, with the rule it is of. Several rules of one host add up; the oldest wins a name.
    pub fn subset(&self, name: &str) -> Option<(&'a DestinationRule, &'a Subset)> {
        self.rules
            .iter()
            .find_map(|rule| rule.subsets.iter().find(|subset| subset.name == name).map(|subset| (*rule, subset)))
    }

    /// The names of all subsets.
    pub fn subsets(&self) -> Vec<&'a str> {
        self.rules.iter().flat_map(|rule| rule.subsets.iter().map(|subset| subset.name.as_str())).collect()
    }

    /// The policy on a port, for a subset or without one.
    pub fn policy(&self, subset: Option<&Subset>, port: u16) -> TrafficPolicy {
        let base = self.rules.iter().map(|rule| &rule.policy).find(|policy| **policy != TrafficPolicy::default());
        let base = base.cloned().unwrap_or_default();
        base.effective(subset.map(|subset| &subset.policy), port)
    }

    /// The rule that a cluster comes from.
    pub fn origin(&self, subset: Option<(&'a DestinationRule, &'a Subset)>) -> Option<(&'a Meta, String, &'a Spot)> {
        match subset {
            Some((rule, subset)) => Some((&rule.meta, subset.path.clone(), &subset.spot)),
            None => self.rules.first().map(|rule| (&rule.meta, "host".to_string(), &rule.host_spot)),
        }
    }

    /// Rules of one host that say different things.
    pub fn conflicts(&self) -> impl Iterator<Item = (&'a DestinationRule, &'a DestinationRule)> {
        let first = self.rules.first().copied();
        let others: Vec<_> = self.rules.iter().skip(1).copied().collect();
        others.into_iter().filter_map(move |other| first.map(|first| (first, other)))
    }
}
