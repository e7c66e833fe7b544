//! Which objects and pods are found by what, kept from one translation to the next.

use super::covers;
use super::shards::Shards;
use super::ties::{Key, ties};
use crate::mesh::{Mesh, Pod};
use crate::object::objects::Entry;
use crate::object::{Labels, ObjectRef, selects};
use std::hash::Hash;
use std::net::IpAddr;

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
    }

    pub fn take(&mut self, entry: &Entry, domain: &str) {
        let reference = &entry.object.meta().reference;
        let tied = ties(entry, domain);
        tied.made.iter().chain(&tied.listed).for_each(|key| take(&mut self.made, key, reference));
        tied.reads.iter().for_each(|key| take(&mut self.read, key, reference));
    }

    pub fn put_pod(&mut self, pod: &Pod) {
        let node = pod.node();
        labels(pod).for_each(|key| put(&mut self.labelled, &key, &node));
        put(&mut self.at, &pod.address, &node);
    }

    pub fn take_pod(&mut self, pod: &Pod) {
        let node = pod.node();
        labels(pod).for_each(|key| take(&mut self.labelled, &key, &node));
        take(&mut self.at, &pod.address, &node);
    }

    /// The objects from which something is made, or that are looked up by it.
    pub fn of<'i>(&'i self, key: &Key) -> impl Iterator<Item = &'i ObjectRef> + use<'i> {
        self.made.get(key).into_iter().flatten()
    }

    /// The hosts under a pattern that some object names.
    pub fn covered<'i>(&'i self, pattern: &'i str) -> impl Iterator<Item = &'i Key> {
        let keys = self.made.iter().chain(self.read.iter()).map(|(key, _)| key);
        keys.filter(move |key| matches!(key, Key::Host(host) if covers(pattern, host)))
    }

    /// The pods that a selector selects; an empty one selects none.
    pub fn selected<'i>(
        &'i self,
        pods: &'i [Pod],
        namespace: &'i str,
        selector: &'i Labels,
    ) -> impl Iterator<Item = usize> + 'i {
        let first = selector.first_key_value();
        let key = first.map(|(name, value)| (namespace.to_string(), name.clone(), value.clone()));
        let found = key.and_then(|key| self.labelled.get(&key)).into_iter().flatten();
        found.filter_map(|node| position(pods, node)).filter(|at| selects(selector, &pods[*at].labels))
    }

    /// The pods at an address.
    pub fn at<'i>(&'i self, pods: &'i [Pod], address: IpAddr) -> impl Iterator<Item = usize> + use<'i> {
        self.at.get(&address).into_iter().flatten().filter_map(|node| position(pods, node))
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
        [sorted(&self.made), sorted(&self.read), sorted(&self.labelled), sorted(&self.at)].concat()
    }
}

/// Where a pod is among those of a mesh.
pub(super) fn position(pods: &[Pod], node: &str) -> Option<usize> {
    let (namespace, name) = node.split_once('/')?;
    pods.binary_search_by(|pod| (pod.namespace.as_str(), pod.name.as_str()).cmp(&(namespace, name))).ok()
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
