//! The clusters that proxies hold from the start, beside the way to their own apps. Each is there once, however many hold it: other endpoints of one are
//! no business of its holders.

use super::Pass;
use super::cluster::{ClusterKey, Pair};
use super::compiled::{ProxyConfig, rules_of_all, same};
use crate::sorted::Sorted;
use ringway_config::Blob;
use ringway_config::model::RuleId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a proxy holds of them. Proxies that hold the same share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holds {
    /// From where they are seen.
    pub view: String,
    pub clusters: BTreeSet<ClusterKey>,
}

/// A cluster as it is seen from somewhere.
pub(super) type Seen = (ClusterKey, String);

/// Those of a part of a mesh.
pub(super) type Made = BTreeMap<Seen, Arc<HeldCluster>>;

/// What a proxy held, and what it holds.
pub(super) type Change = (Option<Arc<Holds>>, Option<Arc<Holds>>);

/// One of them.
#[derive(Debug)]
pub(super) struct HeldCluster {
    pub blobs: Pair,
    /// The rules that it names.
    pub rules: BTreeSet<RuleId>,
}

/// All of them, each with how many proxies hold it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    map: Sorted<Seen, (usize, Arc<HeldCluster>)>,
}

impl Holds {
    pub fn seen(&self) -> impl Iterator<Item = Seen> {
        self.clusters.iter().map(|key| (key.clone(), self.view.clone()))
    }
}

impl HeldCluster {
    /// Whether a proxy would not know the two apart.
    pub fn is(&self, other: &HeldCluster) -> bool {
        same(&self.blobs, &other.blobs) && self.rules == other.rules
    }
}

impl Held {
    /// What these proxies hold.
    pub fn by(pass: &Pass<'_>, proxies: &Sorted<String, Arc<ProxyConfig>>) -> Self {
        let mut holders: BTreeMap<&Holds, usize> = BTreeMap::new();
        proxies.iter().for_each(|(_, proxy)| *holders.entry(&proxy.holds).or_default() += 1);
        let mut counts: BTreeMap<Seen, usize> = BTreeMap::new();
        for (holds, count) in holders {
            holds.seen().for_each(|seen| *counts.entry(seen).or_default() += count);
        }
        let made = counts.into_iter().filter_map(|(seen, count)| {
            let cluster = pass.held(&seen)?;
            Some((seen, (count, cluster)))
        });
        Held { map: made.collect() }
    }

    /// Those that a proxy holds.
    pub fn of<'h>(&'h self, holds: &'h Holds) -> impl Iterator<Item = &'h Arc<HeldCluster>> {
        holds.seen().filter_map(|seen| self.map.get(&seen)).map(|(_, cluster)| cluster)
    }

    /// Those of a host.
    pub fn of_host<'h>(&'h self, host: &'h str) -> impl Iterator<Item = &'h Seen> {
        let first = ClusterKey { host: host.into(), port: 0, subset: String::new() };
        let from = self.map.from(&(first, String::new())).map(|(seen, _)| seen);
        from.take_while(move |(key, _)| key.host == host)
    }

    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.map.iter().flat_map(|(_, (_, cluster))| &cluster.blobs)
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &(Seen, (usize, Arc<HeldCluster>))> {
        self.map.iter()
    }

    /// Puts those of a part in place of those that it was: all of these hosts, and what the proxies of the part hold. Gives whether something was made that nobody holds any more. None: the part was not what was known of it.
    pub fn replace(
        &mut self,
        hosts: &BTreeSet<String>,
        before: &Made,
        after: &Made,
        changes: &[Change],
    ) -> Option<bool> {
        let concerned = before.keys().chain(after.keys()).chain(hosts.iter().flat_map(|host| self.of_host(host)));
        let mut steps: BTreeMap<Seen, isize> = concerned.map(|seen| (seen.clone(), 0)).collect();
        for (was, is) in changes.iter().filter(|(was, is)| was != is) {
            was.iter().flat_map(|was| was.seen()).for_each(|seen| *steps.entry(seen).or_default() -= 1);
            is.iter().flat_map(|is| is.seen()).for_each(|seen| *steps.entry(seen).or_default() += 1);
        }
        let mut spare = false;
        for (seen, step) in steps {
            let known = self.map.get(&seen);
            let reached = hosts.contains(&seen.0.host);
            let as_known = match (before.get(&seen), known) {
                (Some(was), Some((_, known))) => was.is(known),
                (None, known) => known.is_none() || !reached,
                (Some(_), None) => false,
            };
            if !as_known {
                return None;
            }
            let count = known.map_or(0, |(count, _)| *count).checked_add_signed(step)?;
            if count == 0 {
                spare |= after.contains_key(&seen);
                self.map.remove(&seen);
                continue;
            }
            // What is not reached, others may hold as it was.
            let other = known.filter(|_| !reached).map(|(_, cluster)| cluster);
            let is = after.get(&seen).or(other)?.clone();
            if step != 0 || known.is_none_or(|(_, cluster)| !cluster.is(&is)) {
                self.map.insert(seen, (count, is));
            }
        }
        Some(spare)
    }
}

impl Pass<'_> {
    /// A cluster as proxies hold it; none when nothing has that host, port or subset.
    pub(super) fn held(&self, (key, view): &Seen) -> Option<Arc<HeldCluster>> {
        let blobs = self.cluster(view, key)?;
        let mut rules = BTreeSet::new();
        rules_of_all(&blobs, &mut rules);
        Some(Arc::new(HeldCluster { blobs, rules }))
    }

    /// What a proxy holds that needs these.
    pub(super) fn holding(&self, view: &str, mut needed: BTreeSet<ClusterKey>) -> Arc<Holds> {
        needed.retain(|key| self.cluster(view, key).is_some());
        let holds = Holds { view: view.into(), clusters: needed };
        let mut known = self.holdings.borrow_mut();
        if let Some(known) = known.get(&holds) {
            return known.clone();
        }
        let holds = Arc::new(holds);
        known.insert(holds.clone());
        holds
    }
}
