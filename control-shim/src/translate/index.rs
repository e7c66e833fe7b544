//! Which objects and pods are found by what, kept from one translation to the next.

use super::covers;
use super::shards::Shards;
use super::ties::{Key, ties};
use crate::mesh::{Mesh, Pod, position};
use crate::object::objects::Entry;
use crate::object::{Labels, ObjectRef, selects};
use crate::sorted::Sorted;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

/// The index. A copy shares what does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Key → the objects from which it is made, or that are looked up by it.
    pub made: Shards<Key, Vec<ObjectRef>>,
    /// Key → the objects that read it.
    pub read: Shards<Key, Vec<ObjectRef>>,
    /// Namespace and one label → pods, as `namespace/name`.
    labelled: Shards<(String, String, String), Vec<String>>,
    at: Shards<IpAddr, Vec<String>>,
    /// The hosts among the keys, each backwards: those under a pattern follow one another.
    hosts: Sorted<String, ()>,
    /// Pods that serve gateways.
    doors: Sorted<String, ()>,
}

impl Index {
    pub fn new(mesh: &Mesh) -> Index {
        let mut index = Index::default();
        mesh.objects.iter().for_each(|entry| index.put(entry, &mesh.options.cluster_domain));
        mesh.pods.iter().for_each(|pod| index.put_pod(pod));
        index
    }

    pub fn put(&mut self, entry: &Entry, domain: &str) {
        let reference = &entry.object.meta().reference;
        let tied = ties(entry, domain);
        tied.made.iter().chain(&tied.listed).for_each(|key| put(&mut self.made, key, reference));
        tied.reads.iter().for_each(|key| put(&mut self.read, key, reference));
        for host in tied.made.iter().chain(&tied.reads).filter_map(Key::host) {
            self.hosts.insert(backwards(host), ());
        }
    }

    pub fn take(&mut self, entry: &Entry, domain: &str) {
        let reference = &entry.object.meta().reference;
        let tied = ties(entry, domain);
        tied.made.iter().chain(&tied.listed).for_each(|key| take(&mut self.made, key, reference));
        tied.reads.iter().for_each(|key| take(&mut self.read, key, reference));
        let gone = |key: &&Key| !self.made.contains_key(key) && !self.read.contains_key(key);
        for host in tied.made.iter().chain(&tied.reads).filter(gone).filter_map(Key::host) {
            self.hosts.remove(&backwards(host));
        }
    }

    pub fn put_pod(&mut self, pod: &Pod) {
        let node = pod.node();
        labels(pod).for_each(|key| put(&mut self.labelled, &key, &node));
        put(&mut self.at, &pod.address, &node);
        if is_door(pod) {
            self.doors.insert(node, ());
        }
    }

    pub fn take_pod(&mut self, pod: &Pod) {
        let node = pod.node();
        labels(pod).for_each(|key| take(&mut self.labelled, &key, &node));
        take(&mut self.at, &pod.address, &node);
        self.doors.remove(&node);
    }

    /// The objects from which something is made, or that are looked up by it.
    pub fn of<'i>(&'i self, key: &Key) -> impl Iterator<Item = &'i ObjectRef> + use<'i> {
        self.made.get(key).into_iter().flatten()
    }

    /// The hosts under a pattern that some object names.
    pub fn covered<'i>(&'i self, pattern: &'i str) -> impl Iterator<Item = Key> + use<'i> {
        let end = backwards(pattern.trim_start_matches('*'));
        let all = self.hosts.from(&end).map(|(host, ())| host).take_while(move |host| host.starts_with(&end));
        all.map(|host| backwards(host)).filter(move |host| covers(pattern, host)).map(Key::Host)
    }

    /// The pods that serve gateways, as `namespace/name`.
    pub fn doors(&self) -> impl Iterator<Item = &str> {
        self.doors.iter().map(|(node, ())| node.as_str())
    }

    /// The pods that a selector selects; an empty one selects none.
    pub fn selected<'i>(
        &'i self,
        pods: &'i [Arc<Pod>],
        namespace: &'i str,
        selector: &'i Labels,
    ) -> impl Iterator<Item = usize> + 'i {
        let first = selector.first_key_value();
        let key = first.map(|(name, value)| (namespace.to_string(), name.clone(), value.clone()));
        let found = key.and_then(|key| self.labelled.get(&key)).into_iter().flatten();
        found.filter_map(|node| position(pods, node.split_once('/')?)).filter(|at| selects(selector, &pods[*at].labels))
    }

    /// The pods at an address.
    pub fn at<'i>(&'i self, pods: &'i [Arc<Pod>], address: IpAddr) -> impl Iterator<Item = usize> + use<'i> {
        self.at.get(&address).into_iter().flatten().filter_map(|node| position(pods, node.split_once('/')?))
    }
}

#[cfg(test)]
impl Index {
    /// All of it, as text.
    pub fn told(&self) -> String {
        use std::collections::{BTreeMap, BTreeSet};
        use std::fmt::Debug;
        fn sorted<K: Ord + Debug + Hash + Clone, V: Ord + Debug + Clone>(map: &Shards<K, Vec<V>>) -> String {
            let sorted: BTreeMap<_, BTreeSet<_>> = map.iter().map(|(key, list)| (key, list.iter().collect())).collect();
            format!("{sorted:#?}")
        }
        let maps = [sorted(&self.made), sorted(&self.read), sorted(&self.labelled), sorted(&self.at)].concat();
        let lists = [&self.hosts, &self.doors].map(|list| list.iter().map(|(name, ())| name).collect::<Vec<_>>());
        format!("{maps}{lists:?}")
    }
}

fn is_door(pod: &Pod) -> bool {
    pod.sidecar && !pod.gateway.is_empty()
}

fn backwards(host: &str) -> String {
    host.chars().rev().collect()
}

fn labels(pod: &Pod) -> impl Iterator<Item = (String, String, String)> {
    pod.labels.iter().map(|(name, value)| (pod.namespace.clone(), name.clone(), value.clone()))
}

fn put<K: Eq + Hash + Clone, V: Clone + PartialEq>(map: &mut Shards<K, Vec<V>>, key: &K, value: &V) {
    let list = map.entry(key);
    if list.last() != Some(value) {
        list.push(value.clone());
    }
}

fn take<K: Eq + Hash + Clone, V: Clone + PartialEq>(map: &mut Shards<K, Vec<V>>, key: &K, value: &V) {
    let list = map.entry(key);
    list.retain(|other| other != value);
    if list.is_empty() {
        map.remove(key);
    }
}
