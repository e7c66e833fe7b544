//! What an edit reaches: the hosts and proxies that are made again, and the objects and pods from which they are.
//!
//! Goes by the keys of objects ([`super::ties`]), as they were and as they are. What is made for a key of an edited object is made again, and so is
//! what is made of the objects that read such a key. A proxy is made again when its pod is another, when it serves a gateway that is reached, when
//! the way to its own ports may be another, and, as it listens for them from the start, for every host that carries bytes; but not where endpoints
//! alone are others, which are in clusters that it shares.

use super::gateway::is_gateway_of;
use super::index::Index;
use super::ties::{Key, Tied, addresses, carries_bytes, network, ties};
use crate::mesh::{Mesh, Pod};
use crate::object::objects::{Entry, K8S_GATEWAY};
use crate::object::{Labels, Object, ObjectRef, Objects, selects};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is made again, and what it is made from. More is translated with the rest.
const REACHED_MAX: usize = 2_000;
/// Proxies that are made again.
const NODES_MAX: usize = 5_000;
/// Kinds of gateways.
const GATEWAYS: [&str; 2] = ["Gateway", K8S_GATEWAY];

/// How an edit touches something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    /// Its endpoints alone may be others. They are in clusters, and whoever holds these is what it was.
    Endpoints,
    /// Anything may be.
    Form,
}

/// A mesh before or after an edit.
#[derive(Clone, Copy)]
pub(super) struct State<'s> {
    pub mesh: &'s Mesh,
    pub index: &'s Index,
}

/// What an edit reaches, while it is looked for.
pub(super) struct Reach<'s> {
    states: [State<'s>; 2],
    /// Of what is made again.
    keys: BTreeSet<Key>,
    /// Of those, what comes to something else than other endpoints.
    formed: BTreeSet<Key>,
    /// Those whose readers are reached, too, and how.
    touched: BTreeSet<(Key, Touch)>,
    /// What is edited, and what reads it.
    objects: BTreeSet<ObjectRef>,
    /// Pods whose proxies are made again, as `namespace/name`.
    nodes: BTreeSet<String>,
}

/// A part of a mesh that is enough to make what an edit reaches.
pub(super) struct Around {
    /// Made again.
    pub hosts: BTreeSet<String>,
    /// The pods of proxies that are made again, as `namespace/name`.
    pub nodes: BTreeSet<String>,
    objects: BTreeSet<ObjectRef>,
}

impl<'s> Reach<'s> {
    pub fn new(states: [State<'s>; 2]) -> Self {
        let (keys, formed, touched, objects, nodes) = Default::default();
        Reach { states, keys, formed, touched, objects, nodes }
    }

    /// What an edited object reaches, in the state in which it is like this. None: nobody knows.
    pub fn edited(&mut self, state: State<'s>, entry: &Entry) -> Option<()> {
        let tied = self.ties(entry);
        if tied.unbounded {
            return None;
        }
        self.objects.insert(entry.object.meta().reference.clone());
        if tied.inbound {
            tied.made.iter().for_each(|key| self.pods_behind(key));
        }
        match &entry.object {
            Object::Sidecar(sidecar) => {
                let own = sidecar.meta.namespace();
                let everywhere = own == state.mesh.options.root_namespace;
                let selected =
                    |pod: &Pod| sidecar.selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels));
                self.proxies(|pod| (everywhere || pod.namespace == own) && selected(pod));
            }
            Object::WorkloadEntry(one) => self.selecting(state, one.meta.namespace(), &one.endpoint.labels)?,
            _ => {}
        }
        let touch = match &entry.object {
            Object::EndpointSlice(_) | Object::WorkloadEntry(_) => Touch::Endpoints,
            _ => Touch::Form,
        };
        tied.made.into_iter().try_for_each(|key| self.touch(key, touch))
    }

    /// The proxy of a pod that is another.
    pub fn proxy(&mut self, pod: &Pod) {
        self.nodes.extend(pod.sidecar.then(|| pod.node()));
    }

    /// What has endpoints at pods that are others, each in the state in which it is like this.
    pub fn endpoints(&mut self, pods: &[(State<'s>, &Pod)]) -> Option<()> {
        for (state, pod) in pods {
            self.selecting(*state, &pod.namespace, &pod.labels)?;
        }
        let addresses: BTreeSet<IpAddr> = pods.iter().map(|(_, pod)| pod.address).collect();
        let networks: BTreeSet<Key> = addresses.iter().map(|address| network(*address)).collect();
        let now = self.states[1];
        for reference in networks.iter().flat_map(|network| now.index.of(network)) {
            let Some(entry) = now.mesh.objects.get(reference) else { continue };
            if !self::addresses(&entry.object).any(|address| addresses.contains(&address)) {
                continue;
            }
            if let Object::WorkloadEntry(one) = &entry.object {
                self.selecting(now, one.meta.namespace(), &one.endpoint.labels)?;
            }
            self.ties(entry).made.into_iter().try_for_each(|key| self.touch(key, Touch::Endpoints))?;
        }
        Some(())
    }

    /// What selects workloads with these labels.
    fn selecting(&mut self, state: State<'s>, namespace: &str, labels: &Labels) -> Option<()> {
        for reference in labels.iter().flat_map(|label| state.index.of(&selecting(namespace, label))) {
            let Some(entry) = state.mesh.objects.get(reference) else { continue };
            if selector(&entry.object).is_some_and(|selector| selects(selector, labels)) {
                self.ties(entry).made.into_iter().try_for_each(|key| self.touch(key, Touch::Endpoints))?;
            }
        }
        Some(())
    }

    fn proxies(&mut self, wanted: impl Fn(&Pod) -> bool) {
        let pods = self.states.iter().flat_map(|state| state.mesh.pods.iter());
        self.nodes.extend(pods.filter(|pod| pod.sidecar && wanted(pod)).map(|pod| pod.node()));
    }

    /// The proxies of the pods that are behind a host, or those that it covers.
    fn pods_behind(&mut self, key: &Key) {
        for key in self.expanded(key) {
            for State { mesh, index } in self.states {
                for entry in index.of(&key).filter_map(|reference| mesh.objects.get(reference)) {
                    let Object::Service(service) = &entry.object else { continue };
                    let pods = index.selected(&mesh.pods, service.meta.namespace(), &service.selector);
                    self.nodes.extend(pods.map(|at| &mesh.pods[at]).filter(|pod| pod.sidecar).map(|pod| pod.node()));
                }
            }
        }
    }

    /// A key of what is made again, with all that reads it.
    fn touch(&mut self, key: Key, touch: Touch) -> Option<()> {
        let mut keys = vec![(key, touch)];
        while let Some((key, touch)) = keys.pop() {
            if self.touched.contains(&(key.clone(), Touch::Form)) || !self.touched.insert((key.clone(), touch)) {
                continue;
            }
            for key in self.expanded(&key) {
                for State { mesh, index } in self.states {
                    for reader in index.read.get(&key).into_iter().flatten() {
                        let Some(entry) = mesh.objects.get(reader) else { continue };
                        self.objects.insert(reader.clone());
                        let tied = self.ties(entry);
                        // Of a subset it is told when it has no endpoint.
                        let touch = if tied.subsets { Touch::Form } else { touch };
                        for made in tied.made {
                            self.expanded(&made).into_iter().for_each(|key| self.make(key, touch));
                            // What reads a delegate is made of what the delegate reads.
                            keys.extend(Some((made, touch)).filter(|(made, _)| matches!(made, Key::Object(_))));
                        }
                    }
                }
                self.make(key, touch);
            }
            if self.keys.len() > REACHED_MAX {
                return None;
            }
        }
        Some(())
    }

    fn make(&mut self, key: Key, touch: Touch) {
        if touch == Touch::Form {
            self.formed.insert(key.clone());
        }
        self.keys.insert(key);
    }

    /// A key, with those of the hosts that it covers.
    fn expanded(&self, key: &Key) -> BTreeSet<Key> {
        let mut all = BTreeSet::from([key.clone()]);
        if let Key::Host(host) = key
            && host.starts_with('*')
        {
            all.extend(self.states.iter().flat_map(|state| state.index.covered(host)));
        }
        all
    }

    fn ties(&self, entry: &Entry) -> Tied {
        ties(entry, &self.states[1].mesh.options.cluster_domain)
    }

    fn entries(&self, key: &Key) -> impl Iterator<Item = &'s Entry> + use<'s> {
        let of = |state: State<'s>| state.index.of(key).filter_map(move |found| state.mesh.objects.get(found));
        self.states.map(of).into_iter().flatten().map(|entry| &**entry)
    }

    /// All that is reached, with all that it is made from.
    pub fn around(mut self) -> Option<Around> {
        if self.formed.iter().any(|key| self.entries(key).any(|entry| carries_bytes(&entry.object))) {
            self.proxies(|pod| !pod.stand_in);
        }
        self.add_gates();
        let hosts = self.keys.iter().filter_map(|key| match key {
            Key::Host(host) => Some(host.clone()),
            _ => None,
        });
        let hosts = hosts.collect();
        let keys: BTreeSet<Key> =
            self.keys.iter().cloned().chain([Key::Everything]).chain(self.keys_of_proxies()).collect();
        let mut objects = self.objects.clone();
        objects.extend(keys.iter().flat_map(|key| self.references(key)));
        let objects = self.with_what_they_read(objects);
        let fits = objects.len() <= REACHED_MAX && self.nodes.len() <= NODES_MAX;
        fits.then_some(Around { hosts, nodes: self.nodes, objects })
    }

    fn references(&self, key: &Key) -> impl Iterator<Item = ObjectRef> + use<'s> {
        self.states.map(|state| state.index.of(key)).into_iter().flatten().cloned()
    }

    /// The pods that serve gateways that are reached, and all gateways of pods that are.
    fn add_gates(&mut self) {
        let gates = self.formed.iter().filter_map(|key| match key {
            Key::Object(reference) if GATEWAYS.contains(&&*reference.kind) => Some(reference),
            _ => None,
        });
        let gates: Vec<&Entry> = gates.flat_map(|gate| self.entries(&Key::Object(gate.clone()))).collect();
        let doors = self.states.iter().flat_map(|state| state.index.doors().filter_map(|node| state.mesh.pod(node)));
        let serves = |pod: &Pod| gates.iter().any(|gate| is_gateway_of(&gate.object, pod));
        let reached: Vec<&Pod> = doors.filter(|pod| self.nodes.contains(&pod.node()) || serves(pod)).collect();
        if reached.is_empty() {
            return;
        }
        self.nodes.extend(reached.iter().map(|pod| pod.node()));
        let all = self.states.iter().flat_map(|state| GATEWAYS.map(|kind| state.mesh.objects.of_kind(kind)));
        let all = all.flatten().filter(|gate| reached.iter().any(|pod| is_gateway_of(&gate.object, pod)));
        let all: Vec<_> = all.map(|gate| Key::Object(gate.object.meta().reference.clone())).collect();
        self.keys.extend(all);
    }

    /// What proxies are made from, beside the hosts that they ask for.
    fn keys_of_proxies(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for State { mesh, .. } in self.states {
            for pod in self.nodes.iter().filter_map(|node| mesh.pod(node)) {
                let namespaces = [&pod.namespace, &mesh.options.root_namespace];
                keys.extend(namespaces.map(|namespace| Key::Sidecars(namespace.as_str().into())));
                keys.extend(pod.labels.iter().map(|label| selecting(&pod.namespace, label)));
                keys.extend((!pod.stand_in).then_some(Key::Opaque));
            }
        }
        let made = keys.iter().flat_map(|key| self.entries(key)).flat_map(|entry| self.ties(entry).made);
        let made: Vec<_> = made.collect();
        keys.extend(made);
        keys
    }

    /// With all that is read of what these objects refer to.
    fn with_what_they_read(&self, objects: BTreeSet<ObjectRef>) -> BTreeSet<ObjectRef> {
        let (mut all, mut next) = (objects.clone(), Vec::from_iter(objects));
        let mut read = BTreeSet::new();
        while let Some(reference) = next.pop() {
            let entries = self.states.iter().filter_map(|state| state.mesh.objects.get(&reference));
            for key in entries.flat_map(|entry| self.ties(entry).reads) {
                let delegates = self.references(&key).filter(|_| matches!(key, Key::Object(_)));
                next.extend(delegates.filter(|delegate| all.insert(delegate.clone())));
                read.insert(key);
            }
        }
        all.extend(read.iter().flat_map(|key| self.references(key)));
        let selecting = |reference: &ObjectRef| {
            let mut entries = self.states.iter().filter_map(|state| state.mesh.objects.get(reference));
            entries.any(|entry| selector(&entry.object).is_some())
        };
        let namespaces: BTreeSet<_> =
            all.iter().filter(|reference| selecting(reference)).map(|reference| reference.namespace.clone()).collect();
        all.extend(namespaces.into_iter().flat_map(|namespace| self.references(&Key::Entries(namespace))));
        all
    }
}

impl Around {
    /// The objects in one state.
    pub fn objects(&self, state: State<'_>) -> Objects {
        Objects::sharing(self.objects.iter().filter_map(|reference| state.mesh.objects.get(reference).cloned()))
    }

    /// The pods at which their endpoints are.
    pub fn pods<'s>(&self, state: State<'s>) -> impl Iterator<Item = &'s Pod> {
        let State { mesh, index } = state;
        let mut found = BTreeSet::new();
        for entry in self.objects.iter().filter_map(|reference| mesh.objects.get(reference)) {
            let namespace = entry.object.meta().namespace();
            found
                .extend(selector(&entry.object).into_iter().flat_map(|own| index.selected(&mesh.pods, namespace, own)));
            found.extend(addresses(&entry.object).flat_map(|address| index.at(&mesh.pods, address)));
        }
        found.into_iter().map(|at| &*mesh.pods[at])
    }
}

/// What selects workloads by a label.
fn selecting(namespace: &str, (name, value): (&String, &String)) -> Key {
    Key::Selecting(namespace.into(), name.clone(), value.clone())
}

/// By which an object selects the workloads behind its hosts.
fn selector(object: &Object) -> Option<&Labels> {
    match object {
        Object::Service(service) => Some(&service.selector).filter(|selector| !selector.is_empty()),
        Object::ServiceEntry(entry) => entry.selector.as_ref(),
        _ => None,
    }
}
