//! A translation after an edit: makes again what the edited objects reach, and takes the rest from the translation before.
//!
//! What is made for one outbound host is made from the objects of that host, those of the hosts it sends requests to, and those that reach
//! further ([`super::ties`]). So the part of the mesh around the hosts that an edit touches is translated by itself, as it was and as it is, and
//! stands in for the same part of the whole. The proxies of the gateways that an edit touches are made again whole, of all that is bound to them. The
//! part as it was has to be what the whole has: if it is not, then something reaches further than anybody knew. Whatever this does not cover (another set of pods, findings that come or go, authorities that several
//! hosts want, …) is left to a whole translation: the result is the same, byte for byte.

use super::Pass;
use super::compiled::{Basis, Compiled, HostConfig, Hosts, ProxyConfig};
use super::gateway::is_gateway_of;
use super::index::Index;
use super::rules::Rules;
use super::ties::{Ties, ties};
use crate::mesh::{Mesh, Pod};
use crate::object::objects::Entry;
use crate::object::{ObjectRef, Objects};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Objects of an edit. More are an edit of everything.
const CHANGED_MAX: usize = 64;
/// Objects around an edit. More are translated with the rest.
const AROUND_MAX: usize = 2_000;

/// What one part of a mesh comes to.
pub(super) struct Part {
    pub views: BTreeSet<String>,
    /// By view.
    pub hosts: BTreeMap<String, Hosts>,
    /// By node.
    pub proxies: BTreeMap<String, ProxyConfig>,
    pub known_hosts: BTreeSet<String>,
    pub findings: BTreeSet<String>,
    pub contested: HashSet<(String, u16)>,
    pub rules: Rules,
}

/// The translation of `mesh`, if its difference to the mesh before is one of a few hosts.
pub(super) fn after_edit(mesh: &Mesh, previous: &Compiled) -> Option<Compiled> {
    let basis = &previous.basis;
    if basis.refuses
        || basis.options != mesh.options
        || (!Arc::ptr_eq(&basis.pods, &mesh.pods) && basis.pods != mesh.pods)
    {
        return None;
    }
    let changed = previous.objects.differences(&mesh.objects, CHANGED_MAX)?;
    let mut compiled = previous.clone();
    compiled.version += 1;
    compiled.objects = mesh.objects.clone();
    let domain = &mesh.options.cluster_domain;
    let mut reached = Reached::default();
    for (before, after) in &changed {
        if before.is_none() || after.is_none() {
            // A gateway that comes or goes is new to everything that names it.
            let gate = |entry: &Arc<Entry>| matches!(ties(entry, domain), Ties::Gate(_));
            if before.iter().chain(after).any(gate) {
                return None;
            }
        }
        reached.add(before.as_ref(), domain, |entry, tied| compiled.basis.index.take(entry, tied))?;
        reached.add(after.as_ref(), domain, |entry, tied| compiled.basis.index.put(entry, tied))?;
    }
    let indexes = [&basis.index, &compiled.basis.index];
    if reached.hosts.iter().any(|host| compiled.basis.index.is_read_widely(host)) {
        return None;
    }
    let states = [(&previous.objects, indexes[0]), (&mesh.objects, indexes[1])];
    reached.add_readers(states, domain)?;
    let hosts = &reached.hosts;
    if hosts.iter().any(|host| compiled.basis.index.is_under_wide(host)) {
        return None;
    }
    let (pods, gates) = served(&reached.gates, mesh, states);
    let before = around(&reached, &gates, &previous.objects, indexes[0], domain)?;
    let after = around(&reached, &gates, &mesh.objects, indexes[1], domain)?;
    let views: BTreeSet<&str> = previous.hosts.keys().map(String::as_str).collect();
    let part = |objects| Pass::new(&Mesh { objects, ..mesh.clone() }).part(&views, &pods);
    let (before, after) = (part(before), part(after));
    let hosts_came_or_went = before.known_hosts != after.known_hosts;
    if before.views != after.views
        || before.findings != after.findings
        // A finding may name the host that was meant, which may be another now.
        || hosts_came_or_went && !previous.diagnostics.is_empty()
        || !before.contested.is_empty()
        || !after.contested.is_empty()
    {
        return None;
    }
    let mut ids = BTreeSet::new();
    for (view, table) in &mut compiled.hosts {
        let gone = before.hosts.get(view)?.iter().filter(|(_, host)| is_of(host, hosts));
        for (key, host) in gone {
            if basis.contested.contains(key) || !table.get(key).is_some_and(|known| known.is(host)) {
                return None;
            }
            table.remove(key);
        }
        let made = after.hosts.get(view)?.iter().filter(|(_, host)| is_of(host, hosts));
        for (key, host) in made {
            if basis.contested.contains(key) || table.insert(key.clone(), host.clone()).is_some() {
                return None;
            }
            ids.extend(&host.rules);
        }
    }
    for (node, proxy) in after.proxies {
        let known = compiled.proxies.get(&node)?;
        if !before.proxies.get(&node)?.is(known) {
            return None;
        }
        ids.extend(&proxy.rules);
        if !proxy.is(known) {
            Arc::make_mut(&mut compiled.proxies).insert(node, Arc::new(proxy));
        }
    }
    let objects = changed.iter().flat_map(|(before, after)| [before, after]).flatten();
    let objects: BTreeSet<ObjectRef> = objects.map(|entry| entry.object.meta().reference.clone()).collect();
    compiled.rules.renew(&before.rules, &objects, &after.rules, &ids);
    Some(compiled)
}

/// What an edit reaches.
#[derive(Default)]
struct Reached {
    /// What was edited, and what sends requests to these hosts.
    objects: BTreeSet<ObjectRef>,
    hosts: BTreeSet<String>,
    gates: BTreeSet<ObjectRef>,
}

impl Reached {
    /// What an edited object is for. None: it reaches further.
    fn add(
        &mut self,
        entry: Option<&Arc<Entry>>,
        domain: &str,
        mut index: impl FnMut(&Entry, &super::ties::Tied),
    ) -> Option<()> {
        let Some(entry) = entry else { return Some(()) };
        self.objects.insert(entry.object.meta().reference.clone());
        match ties(entry, domain) {
            Ties::Hosts(tied) if !tied.inbound => {
                index(entry, &tied);
                self.hosts.extend(tied.hosts);
                self.gates.extend(tied.gates);
            }
            Ties::Gate(gate) => self.gates.extend([gate]),
            Ties::Hosts(_) | Ties::Wide(_) => return None,
        }
        Some(())
    }

    /// Adds what sends requests to these hosts.
    fn add_readers(&mut self, states: [(&Objects, &Index); 2], domain: &str) -> Option<()> {
        let touched = self.hosts.clone();
        for (objects, index) in states {
            for reader in touched.iter().filter_map(|host| index.mentioned.get(host)).flatten() {
                let Ties::Hosts(tied) = ties(objects.get(reader)?, domain) else { return None };
                self.objects.insert(reader.clone());
                self.hosts.extend(tied.hosts);
                self.gates.extend(tied.gates);
            }
        }
        Some(())
    }
}

/// The pods that serve some of these gateways, and all gateways that they serve.
fn served<'m>(
    gates: &BTreeSet<ObjectRef>,
    mesh: &'m Mesh,
    states: [(&Objects, &Index); 2],
) -> (Vec<&'m Pod>, BTreeSet<ObjectRef>) {
    if gates.is_empty() {
        return (Vec::new(), BTreeSet::new());
    }
    let serves = |pod: &Pod, gate: &ObjectRef| {
        states.iter().filter_map(|(objects, _)| objects.get(gate)).any(|entry| is_gateway_of(&entry.object, pod))
    };
    let doors = mesh.pods.iter().filter(|pod| pod.sidecar && !pod.gateway.is_empty());
    let pods: Vec<&Pod> = doors.filter(|pod| gates.iter().any(|gate| serves(pod, gate))).collect();
    let all = states.iter().flat_map(|(_, index)| index.wide());
    let all = all.filter(|gate| pods.iter().any(|pod| serves(pod, gate))).cloned().collect();
    (pods, all)
}

/// Everything from which what is reached is made, and what is bound to these gateways. None when that is too much, or when proxies hold something of it from the start.
fn around(
    reached: &Reached,
    gates: &BTreeSet<ObjectRef>,
    objects: &Objects,
    index: &Index,
    domain: &str,
) -> Option<Objects> {
    let mut found: BTreeSet<&ObjectRef> = index.wide().iter().collect();
    let mut read = BTreeSet::new();
    for host in &reached.hosts {
        for reference in index.attached.get(host).into_iter().flatten() {
            let Ties::Hosts(tied) = ties(objects.get(reference)?, domain) else { return None };
            if tied.opaque {
                return None;
            }
            read.extend(tied.mentions);
            found.insert(reference);
        }
    }
    let bound = gates.iter().filter_map(|gate| index.bound.get(gate)).flatten();
    // The wide ones may be bound too.
    let wide = index.wide().iter().filter(|_| !gates.is_empty());
    for reference in bound.chain(&reached.objects).chain(wide) {
        let Some(entry) = objects.get(reference) else { continue };
        if let Ties::Hosts(tied) | Ties::Wide(tied) = ties(entry, domain) {
            read.extend(tied.mentions);
        }
        found.insert(reference);
    }
    found.extend(read.iter().filter_map(|host| index.attached.get(host)).flatten());
    if found.len() > AROUND_MAX {
        return None;
    }
    Some(Objects::sharing(found.into_iter().filter_map(|reference| objects.get(reference).cloned())))
}

/// Whether a host blob is of one of these hosts: it is named `host:port`, or as a host that only VirtualServices know.
fn is_of(config: &HostConfig, hosts: &BTreeSet<String>) -> bool {
    let host = config.name.rsplit_once(':').map_or(config.name.as_str(), |(host, _)| host);
    hosts.contains(host) || hosts.contains(&config.name)
}

impl Basis {
    pub(super) fn new(mesh: &Mesh, contested: HashSet<(String, u16)>) -> Basis {
        Basis {
            pods: mesh.pods.clone(),
            options: mesh.options.clone(),
            index: Index::new(&mesh.objects, &mesh.options.cluster_domain),
            contested: Arc::new(contested),
            refuses: false,
        }
    }
}

#[cfg(test)]
mod tests;
