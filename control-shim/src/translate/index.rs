//! Which objects reach which hosts, kept from one translation to the next.

use super::covers;
use super::shards::Shards;
use super::ties::{Tied, Ties, ties};
use crate::object::objects::Entry;
use crate::object::{ObjectRef, Objects};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// The index. A copy shares what does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Host → the objects from which it is made.
    pub attached: Shards<String, Vec<ObjectRef>>,
    /// Host → the objects that send requests there.
    pub mentioned: Shards<String, Vec<ObjectRef>>,
    /// Gateway → the objects that are bound to it.
    pub bound: Shards<ObjectRef, Vec<ObjectRef>>,
    wide: Arc<Wide>,
}

/// Objects that reach further than some hosts.
#[derive(Clone, Debug, Default)]
struct Wide {
    objects: Vec<ObjectRef>,
    hosts: HashSet<String>,
    patterns: Vec<String>,
    mentions: HashSet<String>,
}

impl Index {
    pub fn new(objects: &Objects, domain: &str) -> Index {
        let (mut index, mut wide) = (Index::default(), Wide::default());
        for entry in objects.iter() {
            match ties(entry, domain) {
                Ties::Hosts(tied) => index.put(entry, &tied),
                Ties::Gate(gate) => wide.objects.push(gate),
                Ties::Wide(tied) => {
                    wide.objects.push(entry.object.meta().reference.clone());
                    wide.mentions.extend(tied.mentions);
                    let (patterns, hosts): (Vec<_>, Vec<_>) =
                        tied.hosts.into_iter().partition(|host| host.starts_with('*'));
                    wide.patterns.extend(patterns);
                    wide.hosts.extend(hosts);
                }
            }
        }
        index.wide = Arc::new(wide);
        index
    }

    pub fn put(&mut self, entry: &Entry, tied: &Tied) {
        let reference = &entry.object.meta().reference;
        tied.hosts.iter().for_each(|host| self.attached.entry(host).push(reference.clone()));
        tied.mentions.iter().for_each(|host| self.mentioned.entry(host).push(reference.clone()));
        tied.gates.iter().for_each(|gate| self.bound.entry(gate).push(reference.clone()));
    }

    pub fn take(&mut self, entry: &Entry, tied: &Tied) {
        let reference = &entry.object.meta().reference;
        for host in &tied.hosts {
            take(&mut self.attached, host, reference);
        }
        for host in &tied.mentions {
            take(&mut self.mentioned, host, reference);
        }
        for gate in &tied.gates {
            take(&mut self.bound, gate, reference);
        }
    }

    /// The objects that every part of a translation may read.
    pub fn wide(&self) -> &[ObjectRef] {
        &self.wide.objects
    }

    /// Whether what is made for this host depends on an object that reaches further.
    pub fn is_under_wide(&self, host: &str) -> bool {
        self.wide.hosts.contains(host) || self.wide.patterns.iter().any(|pattern| covers(pattern, host))
    }

    /// Whether an object that reaches further reads this host.
    pub fn is_read_widely(&self, host: &str) -> bool {
        self.wide.mentions.contains(host)
    }
}

fn take<K: Eq + Hash + Clone>(map: &mut Shards<K, Vec<ObjectRef>>, key: &K, reference: &ObjectRef) {
    let list = map.entry(key);
    if let Some(at) = list.iter().position(|other| other == reference) {
        list.remove(at);
    }
    if list.is_empty() {
        map.remove(key);
    }
}
