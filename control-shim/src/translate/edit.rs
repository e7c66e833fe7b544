//! A translation after an edit: makes again what the edit reaches, and takes the rest from the translation before.
//!
//! The part of the mesh from which that is made ([`super::reach`]) is translated by itself, as it was and as it is, and stands in for the same part of the
//! whole. The part as it was has to be what the whole has: if it is not, then something reaches further than anybody knew. What this does not cover
//! (other settings of the mesh, labels that no rule asked for before, views that come or go, authorities that several hosts want) is left to a whole
//! translation: the result is the same, byte for byte.

use super::Pass;
use super::compiled::{Compiled, HostConfig, Hosts, ProxyConfig};
use super::findings::{Found, Name, names, tell};
use super::held::{Made, Seen};
use super::reach::{Around, Reach, State};
use super::rules::Rules;
use crate::mesh::{Mesh, Pod};
use crate::object::ObjectRef;
use crate::object::objects::Entry;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Objects of an edit. More are an edit of everything.
const CHANGED_MAX: usize = 64;
/// Pods that are others after an edit.
const PODS_CHANGED_MAX: usize = 5_000;

/// What one part of a mesh comes to.
struct Part {
    views: BTreeSet<String>,
    labels: BTreeSet<String>,
    /// By view.
    hosts: BTreeMap<String, Hosts>,
    /// By node.
    proxies: BTreeMap<String, ProxyConfig>,
    /// What is held of the hosts, and what the proxies hold.
    held: Made,
    /// Something was found in what is held of the hosts.
    found_in_held: bool,
    found: Found,
    /// What was found by making the proxies of other pods, and nowhere else in the part.
    found_at_pods: BTreeSet<Name>,
    contested: HashSet<(String, u16)>,
    rules: Rules,
}

/// The translation of `mesh`, if it is known what its difference to the mesh before reaches.
pub(super) fn after_edit(mesh: &Mesh, previous: &Compiled) -> Option<Compiled> {
    let basis = &previous.basis;
    if basis.options != mesh.options {
        return None;
    }
    let domain = &mesh.options.cluster_domain;
    let edited = previous.objects.differences(&mesh.objects, CHANGED_MAX)?;
    let pods = other_pods(&basis.pods, &mesh.pods)?;
    let mut index = basis.index.clone();
    for (before, after) in &edited {
        before.iter().for_each(|entry| index.take(entry, domain));
        after.iter().for_each(|entry| index.put(entry, domain));
    }
    for (before, after) in pods.iter().filter(|(before, after)| !is_same_endpoint(*before, *after)) {
        before.iter().for_each(|pod| index.take_pod(pod));
        after.iter().for_each(|pod| index.put_pod(pod));
    }
    let mesh_before = Mesh { objects: previous.objects.clone(), pods: basis.pods.clone(), ..mesh.clone() };
    let (old, new) = (State { mesh: &mesh_before, index: &basis.index }, State { mesh, index: &index });
    let around = reached(&edited, &pods, old, new)?;
    let changed: BTreeSet<String> = pods.iter().flat_map(|(a, b)| a.iter().chain(b)).map(|pod| pod.node()).collect();
    let part = |state| part_of(state, previous, &around, &changed);
    let (before, after) = (part(old), part(new));

    let views: BTreeSet<String> = previous.hosts.keys().cloned().collect();
    if !before.views.is_subset(&after.views)
        || !after.views.is_subset(&views)
        || !before.labels.is_subset(&after.labels)
        || !after.labels.is_subset(&basis.labels)
        || !before.contested.is_empty()
        || !after.contested.is_empty()
    {
        return None;
    }
    let mut compiled = previous.clone();
    let mut ids = replace_hosts(&mut compiled, &before, &after, &around.hosts)?;
    let mut holders = Vec::new();
    for node in &around.nodes {
        let (was, is) = (before.proxies.get(node), after.proxies.get(node));
        let known = compiled.proxies.get(node);
        if was.is_some() != known.is_some() || was.zip(known).is_some_and(|(was, known)| !was.is(known)) {
            return None;
        }
        ids.extend(is.into_iter().flat_map(ProxyConfig::all_rules));
        holders.push((known.map(|known| known.holds.clone()), is.map(|is| is.holds.clone())));
        match (is, known) {
            (Some(is), Some(known)) if is.is(known) => {}
            (Some(is), _) => drop(compiled.proxies.insert(node.clone(), Arc::new(is.clone()))),
            (None, Some(_)) => drop(compiled.proxies.remove(node)),
            (None, None) => {}
        }
    }
    let spare = compiled.held.replace(&around.hosts, &before.held, &after.held, &holders)?;
    // What was found in a cluster that nobody holds any more is not to be told.
    if spare && after.found_in_held {
        return None;
    }
    ids.extend(after.held.values().flat_map(|cluster| &cluster.rules));
    let objects = edited.iter().flat_map(|(before, after)| [before, after]).flatten();
    let objects: BTreeSet<ObjectRef> = objects.map(|entry| entry.object.meta().reference.clone()).collect();
    compiled.rules.renew(&before.rules, &objects, &after.rules, &ids);
    if before.found != after.found {
        replace_findings(&mut compiled.basis.found, &before, &after)?;
    }
    compiled.basis.index = index;
    compiled.basis.pods = mesh.pods.clone();
    compiled.objects = mesh.objects.clone();
    let names =
        |entry: &Option<Arc<Entry>>| entry.as_ref().map(|entry| names(&entry.object, domain)).unwrap_or_default();
    let anew = edited.iter().any(|(before, after)| names(before) != names(after));
    compiled.diagnostics = tell(&mut compiled.basis.found, &compiled.objects, domain, anew);
    Some(compiled)
}

type Edited<T> = [(Option<T>, Option<T>)];

/// What an edit of these objects and pods reaches.
fn reached<'s>(edited: &Edited<Arc<Entry>>, pods: &Edited<&'s Pod>, old: State<'s>, new: State<'s>) -> Option<Around> {
    let mut reach = Reach::new([old, new]);
    for (before, after) in edited {
        before.iter().try_for_each(|entry| reach.edited(old, entry))?;
        after.iter().try_for_each(|entry| reach.edited(new, entry))?;
    }
    let mut endpoints = Vec::new();
    for (before, after) in pods {
        before.iter().chain(after).for_each(|pod| reach.proxy(pod));
        let ends = before.map(|pod| (old, pod)).into_iter().chain(after.map(|pod| (new, pod)));
        endpoints.extend(ends.filter(|_| !is_same_endpoint(*before, *after)));
    }
    reach.endpoints(&endpoints)?;
    reach.around()
}

/// Whether a pod is found by what it was found by, and is the same to others.
fn is_same_endpoint(before: Option<&Pod>, after: Option<&Pod>) -> bool {
    before.zip(after).is_some_and(|(before, after)| before.is_same_endpoint(after))
}

/// The pods that are not the same in both, as they are here and there.
fn other_pods<'p>(
    here: &'p Arc<Vec<Arc<Pod>>>,
    there: &'p Arc<Vec<Arc<Pod>>>,
) -> Option<Vec<(Option<&'p Pod>, Option<&'p Pod>)>> {
    let mut found = Vec::new();
    if Arc::ptr_eq(here, there) {
        return Some(found);
    }
    let (mut here, mut there) = (here.iter().peekable(), there.iter().peekable());
    loop {
        let order = match (here.peek(), there.peek()) {
            (None, None) => return Some(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)),
        };
        let before = if order.is_le() { here.next() } else { None };
        let after = if order.is_ge() { there.next() } else { None };
        let same = before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(before, after) || before == after);
        if !same {
            found.push((before.map(|pod| &**pod), after.map(|pod| &**pod)));
        }
        if found.len() > PODS_CHANGED_MAX {
            return None;
        }
    }
}

fn part_of(state: State<'_>, previous: &Compiled, around: &Around, changed: &BTreeSet<String>) -> Part {
    let mesh = Mesh { objects: around.objects(state), ..state.mesh.clone() };
    let mut pass = Pass::near(&mesh, around.pods(state));
    let labels = std::mem::replace(&mut pass.labels, (*previous.basis.labels).clone());
    let views: BTreeSet<&str> = previous.hosts.keys().map(String::as_str).collect();
    let hosts =
        views.iter().map(|view| (view.to_string(), pass.outbound_hosts(view, |host| around.hosts.contains(host))));
    let hosts = hosts.collect();
    let mut proxies = BTreeMap::new();
    let mut make = |is_changed: bool| {
        let nodes = around.nodes.iter().filter(|node| changed.contains(*node) == is_changed);
        for pod in nodes.filter_map(|node| mesh.pod(node)).filter(|pod| pod.sidecar) {
            proxies.extend(pass.proxy(pod, pass.view_of(pod, &views)).map(|proxy| (pod.node(), proxy)));
        }
    };
    make(false);
    let of_hosts = around.hosts.iter().flat_map(|host| previous.held.of_host(host)).cloned();
    let mut held = Made::new();
    let found_before = pass.findings.names();
    hold(&pass, of_hosts, &mut held);
    let found_in_held = pass.findings.names() != found_before;
    pass.check_references();
    let found_before = pass.findings.names();
    make(true);
    let of_proxies = proxies.values().map(|proxy| proxy.holds.clone()).collect::<BTreeSet<_>>();
    hold(&pass, of_proxies.iter().flat_map(|holds| holds.seen()), &mut held);
    let own_views = pass.views().into_iter().map(String::from).collect();
    let found = pass.findings.into_found();
    let found_at_pods =
        found.iter().map(|(name, _)| name).filter(|name| !found_before.contains(*name)).cloned().collect();
    Part {
        views: own_views,
        labels,
        hosts,
        proxies,
        held,
        found_in_held,
        found,
        found_at_pods,
        contested: pass.contested.into_inner(),
        rules: pass.rules.into_inner(),
    }
}

fn hold(pass: &Pass<'_>, all: impl Iterator<Item = Seen>, into: &mut Made) {
    for seen in all {
        if !into.contains_key(&seen)
            && let Some(cluster) = pass.held(&seen)
        {
            into.insert(seen, cluster);
        }
    }
}

/// Puts the hosts of a part in place of those that it was; gives the rules that they name.
fn replace_hosts(
    compiled: &mut Compiled,
    before: &Part,
    after: &Part,
    hosts: &BTreeSet<String>,
) -> Option<BTreeSet<ringway_config::model::RuleId>> {
    let mut ids = BTreeSet::new();
    let contested = compiled.basis.contested.clone();
    for (view, table) in &mut compiled.hosts {
        for (key, host) in before.hosts.get(view)?.iter().filter(|(_, host)| is_of(host, hosts)) {
            if contested.contains(key) || !table.get(key).is_some_and(|known| known.is(host)) {
                return None;
            }
            table.remove(key);
        }
        for (key, host) in after.hosts.get(view)?.iter().filter(|(_, host)| is_of(host, hosts)) {
            if contested.contains(key) || table.insert(key.clone(), host.clone()).is_some() {
                return None;
            }
            ids.extend(&host.rules);
        }
    }
    Some(ids)
}

/// Forgets what was found in the part as it was, and is not any more; learns what is found in it now.
fn replace_findings(found: &mut Found, before: &Part, after: &Part) -> Option<()> {
    for (name, finding) in before.found.iter().filter(|(name, finding)| after.found.get(name) != Some(finding)) {
        // Other pods of the same kind may have it still.
        if before.found_at_pods.contains(name) || found.remove(name).as_ref() != Some(finding) {
            return None;
        }
    }
    for (name, finding) in after.found.iter().filter(|(name, finding)| before.found.get(name) != Some(finding)) {
        if found.insert(name.clone(), finding.clone()).is_some_and(|known| known != *finding) {
            return None;
        }
    }
    Some(())
}

/// Whether a host blob is of one of these hosts: it is named `host:port`, or as a host that only VirtualServices know.
fn is_of(config: &HostConfig, hosts: &BTreeSet<String>) -> bool {
    let host = config.name.rsplit_once(':').map_or(config.name.as_str(), |(host, _)| host);
    hosts.contains(host) || hosts.contains(&config.name)
}

#[cfg(test)]
mod tests;
