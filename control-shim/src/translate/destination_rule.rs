//! Which DestinationRule holds for a host: the client's namespace first, then the service's, then the root's.

use super::registry::Registry;
use super::{Findings, View, covers, expand, seniority};
use crate::mesh::Options;
use crate::object::destination_rule::{DestinationRule, Subset, TrafficPolicy};
use crate::object::locality::LocalitySetting;
use crate::object::patterns::ExportTo;
use crate::object::{Meta, Object, Objects, Spot};
use std::collections::{BTreeSet, HashMap};

/// All of them, expanded and in order of age.
pub(super) struct DestinationRules<'a> {
    /// (namespace, host) → rules of exactly this host.
    exact: HashMap<(&'a str, String), Vec<&'a DestinationRule>>,
    /// Namespace → rules for `*.suffix` and `*`, the longest first.
    wildcard: HashMap<&'a str, Vec<&'a DestinationRule>>,
    special: BTreeSet<&'a str>,
    /// Labels that decide which endpoints come first.
    compared: BTreeSet<String>,
    /// Namespace whose rules hold for everyone.
    root: &'a str,
}

/// What holds for a host.
#[derive(Default)]
pub(super) struct Effective<'a> {
    rules: Vec<&'a DestinationRule>,
}

impl<'a> DestinationRules<'a> {
    pub fn new(objects: &'a Objects, registry: &Registry<'_>, options: &'a Options, findings: &Findings) -> Self {
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
            root: &options.root_namespace,
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
        if let ExportTo::Only(only) = &rule.export_to {
            self.special.extend(only.iter().map(String::as_str));
        }
        if host.starts_with('*') {
            self.special.insert(own);
            self.wildcard.entry(own).or_default().push(rule);
            return;
        }
        match registry.get(&host) {
            None => {
                let message = format!("nothing has the host `{host}`, so this DestinationRule does nothing");
                let mend = registry.nearest(&host).map_or(String::new(), |near| format!("did you mean `{near}`?"));
                findings.warning(&rule.meta.reference, &rule.host_spot, "unknown-host", message, mend);
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

    /// The labels of proxies that some rule compares with those of endpoints.
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        self.compared.iter().map(String::as_str)
    }

    /// The rules for `host` of a service in `service_namespace`, as seen from `view`.
    pub fn find(&self, view: View<'_>, host: &str, service_namespace: &str) -> Effective<'a> {
        for namespace in [view, service_namespace, self.root] {
            let visible = |rule: &&&DestinationRule| namespace == view || rule.export_to.visible(view);
            let exact = self.exact.get(&(namespace, host.to_string())).into_iter().flatten();
            let rules: Vec<_> = exact.filter(visible).copied().collect();
            if !rules.is_empty() {
                return Effective { rules };
            }
            let wildcard = self.wildcard.get(namespace).into_iter().flatten();
            if let Some(rule) = wildcard.filter(visible).find(|rule| covers(&rule.host, host)) {
                return Effective { rules: vec![rule] };
            }
        }
        Effective::default()
    }
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
