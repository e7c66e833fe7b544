//! What one worker remembers about endpoints: requests in flight and whose turn it is. Owned by the worker, never shared, survives swaps.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::balance::{Live, Seen};
use crate::facts::Rng;
use crate::outlier::{Change, Outcome, Rules, Signal, Suspicion, Verdict};
use crate::view::{Group, View};

/// Stable small index of an endpoint identity, reused only after [`State::forget`]. The identity is an address, and the cluster too where that
/// one is [`apart`](crate::view::ClusterView::apart).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

/// One worker's counters.
#[derive(Default)]
pub struct State {
    slots: Vec<Entry>,
    /// Beside `slots`: requests in flight. Every decision reads two of them, so they lie close together.
    in_flight: Vec<u32>,
    by_identity: HashMap<Identity, u32>,
    free: Vec<u32>,
    /// Slot of each dense endpoint id of the adopted view.
    of_endpoint: Vec<u32>,
    /// The adopted view's clusters.
    clusters: Vec<Turns>,
    /// For values that a match has to put together.
    pub(crate) scratch: Vec<u8>,
    /// Slots that are ejected.
    ejected: u32,
}

/// The cluster, if it is apart, and the address.
type Identity = (Option<Arc<str>>, SocketAddr);

struct Entry {
    identity: Identity,
    /// When it came into a view, in nanoseconds.
    since: u64,
    /// Set where the detector wants to hear of it.
    rules: Option<Arc<Rules>>,
    suspicion: Suspicion,
    /// The detector's last word; counts unless too few others are healthy.
    condemned: bool,
    /// Takes no requests until it is restored.
    ejected: bool,
    /// Endpoints of the adopted view that have this address.
    uses: u32,
    forgotten: bool,
}

/// One cluster of the adopted view.
pub(crate) struct Turns {
    name: Arc<str>,
    pub group: Arc<Group>,
    apart: bool,
    /// First dense endpoint id.
    first: u32,
    /// Where round robin stands.
    pub point: u64,
    /// What endpoints get, where that is not simply their weight.
    pub live: Option<Box<Live>>,
}

/// What endpoints are doing, beside [`Turns`].
#[derive(Clone, Copy)]
pub(crate) struct Loads<'a> {
    ejected: u32,
    slots: &'a [Entry],
    in_flight: &'a [u32],
    of_endpoint: &'a [u32],
}

impl State {
    /// Nothing adopted yet.
    pub fn new() -> State {
        State::default()
    }

    /// After a swap: maps the view's endpoints to slots (keeping in-flight counts) and starts round robin at random offsets. `gone` loses the slots
    /// that are in the view again and gains those that are in no cluster any more. Costs a step for each endpoint and a lookup for each changed
    /// one. Endpoints that were in no cluster are new from `now` (nanoseconds) on.
    pub fn adopt(&mut self, view: &View, now: u64, rng: &mut impl Rng, gone: &mut Vec<Slot>) {
        let old_slots = std::mem::take(&mut self.of_endpoint);
        let old_clusters = std::mem::take(&mut self.clusters);
        self.of_endpoint.reserve_exact(view.endpoints_len());
        self.clusters.reserve_exact(view.clusters().len());
        let mut released = Vec::new();
        // Both lists are sorted by name.
        let mut old = old_clusters.iter().peekable();
        for cluster in view.clusters() {
            while let Some(passed) = old.next_if(|c| c.name < cluster.name) {
                released.push(passed.range());
            }
            let same = old.next_if(|c| Arc::ptr_eq(&c.name, &cluster.name) || c.name == cluster.name);
            match same {
                Some(before) if Arc::ptr_eq(&before.group, &cluster.group) && before.apart == cluster.apart => {
                    self.of_endpoint.extend_from_slice(&old_slots[before.range()]);
                }
                changed => {
                    released.extend(changed.map(Turns::range));
                    self.take_slots(&cluster.group, cluster.apart.then_some(&cluster.name), now);
                }
            }
            let (name, group, first) = (cluster.name.clone(), cluster.group.clone(), cluster.endpoints.start);
            let point = group.weights.start(rng);
            let live = if cluster.varies || self.ejected > 0 {
                let loads = self.loads();
                let seen = |position| loads.seen(first + position);
                Live::new(cluster.settings.warmup, cluster.tiers.clone(), group.endpoints(), seen, now)
            } else {
                None
            };
            self.clusters.push(Turns { name, apart: cluster.apart, first, point, live: live.map(Box::new), group });
        }
        released.extend(old.map(Turns::range));
        gone.retain(|slot| self.entry(*slot).is_some_and(|e| e.uses == 0));
        for slot in released.into_iter().flat_map(|range| &old_slots[range]) {
            let entry = &mut self.slots[*slot as usize];
            entry.uses -= 1;
            if entry.uses == 0 {
                (entry.condemned, entry.suspicion) = Default::default();
                self.ejected -= u32::from(std::mem::take(&mut entry.ejected));
                gone.push(Slot(*slot));
            }
        }
        for (number, cluster) in view.clusters().iter().enumerate().filter(|(_, cluster)| cluster.apart) {
            for slot in &self.of_endpoint[self.clusters[number].range()] {
                self.slots[*slot as usize].rules = cluster.outlier.clone();
            }
            if cluster.outlier.is_some() {
                self.carry_out(view, number, now);
            }
        }
    }

    /// What became of a request or connection on an endpoint; gives what the detector has to hear.
    pub fn observe(&mut self, slot: Slot, outcome: Outcome) -> Option<Signal> {
        let entry = self.slots.get_mut(slot.0 as usize)?;
        let signal = entry.rules.as_deref()?.signal(outcome)?;
        entry.suspicion.learn(signal).then_some(signal)
    }

    /// The cluster and address of a slot whose cluster is apart.
    pub fn identity(&self, slot: Slot) -> Option<(Arc<str>, SocketAddr)> {
        let (cluster, address) = &self.entry(slot)?.identity;
        Some((cluster.clone()?, *address))
    }

    /// Takes a verdict of the detector in. An endpoint that is not in the adopted view, which `view` is, is nobody's.
    pub fn judge(&mut self, view: &View, verdict: &Verdict, now: u64) {
        let identity = (Some(verdict.cluster.clone()), verdict.address);
        let Some(slot) = self.by_identity.get(&identity) else { return };
        let entry = &mut self.slots[*slot as usize];
        match verdict.change {
            Change::Suspect(suspicion) => {
                entry.suspicion = entry.suspicion.and(suspicion);
                return;
            }
            Change::Eject => entry.condemned = entry.uses > 0,
            Change::Restore => entry.condemned = false,
        }
        if let Ok(number) = self.clusters.binary_search_by(|c| c.name.cmp(&verdict.cluster)) {
            self.carry_out(view, number, now);
        }
    }

    /// Ejects those that are condemned, unless fewer would be left than the cluster wants.
    fn carry_out(&mut self, view: &View, number: usize, now: u64) {
        let turns = &self.clusters[number];
        let Some(cluster) = view.clusters().get(number).filter(|cluster| cluster.name == turns.name) else { return };
        let percent = cluster.settings.outlier.as_ref().map_or(0, |outlier| usize::from(outlier.min_health_percent));
        let slots: Vec<u32> = self.of_endpoint[turns.range()].to_vec();
        let live = || slots.iter().zip(turns.group.endpoints()).filter(|(_, e)| !e.draining);
        let out = live().filter(|(slot, _)| self.slots[**slot as usize].condemned).count();
        let enough = 100 * (live().count() - out) >= percent * live().count();
        for slot in slots {
            let ejected = enough && self.slots[slot as usize].condemned;
            self.set_ejected(view, Slot(slot), ejected, now);
        }
    }

    /// The slot of a dense endpoint id of the adopted view.
    pub fn slot(&self, endpoint: u32) -> Slot {
        self.slot_of(endpoint).unwrap_or(Slot(u32::MAX))
    }

    /// A request (or connection) starts on an endpoint.
    pub fn started(&mut self, slot: Slot) {
        if let Some(count) = self.in_flight.get_mut(slot.0 as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// It is over.
    pub fn finished(&mut self, slot: Slot) {
        if let Some(count) = self.in_flight.get_mut(slot.0 as usize) {
            debug_assert!(*count > 0, "finished more often than started");
            *count = count.saturating_sub(1);
        }
    }

    /// Requests in flight on an endpoint, from this worker.
    pub fn in_flight(&self, slot: Slot) -> u32 {
        self.in_flight.get(slot.0 as usize).copied().unwrap_or(0)
    }

    /// Requests in flight on a cluster of the adopted view, from this worker. A step for each of its endpoints; where two clusters have an address in
    /// common, what one sends there counts for both.
    pub fn under_way(&self, cluster: u32) -> u64 {
        let Some(turns) = self.clusters.get(cluster as usize) else { return 0 };
        self.of_endpoint[turns.range()].iter().map(|slot| u64::from(self.in_flight(Slot(*slot)))).sum()
    }

    /// Where the endpoint listens; unspecified for a slot that never was.
    pub fn address(&self, slot: Slot) -> SocketAddr {
        self.entry(slot).map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |e| e.identity.1)
    }

    /// Upper bound of slot indices, for arrays beside it.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Gives a gone slot back once nothing is in flight and its pool is empty. False when it may not yet be forgotten (in flight, or in the view
    /// again).
    pub fn forget(&mut self, slot: Slot) -> bool {
        let in_flight = self.in_flight(slot);
        let Some(entry) = self.slots.get_mut(slot.0 as usize) else { return false };
        if entry.forgotten || in_flight > 0 || entry.uses > 0 {
            return false;
        }
        entry.forgotten = true;
        self.ejected -= u32::from(std::mem::take(&mut entry.ejected));
        self.by_identity.remove(&entry.identity);
        self.free.push(slot.0);
        true
    }

    /// Takes an endpoint out of all choices (outlier detection), or lets it in again. What its clusters' other endpoints and localities get is laid
    /// out anew. Costs a step for each endpoint of the view. `view` is the adopted one.
    pub fn set_ejected(&mut self, view: &View, slot: Slot, ejected: bool, now: u64) {
        let Some(entry) = self.slots.get_mut(slot.0 as usize).filter(|entry| entry.ejected != ejected) else { return };
        entry.ejected = ejected;
        self.ejected = if ejected { self.ejected + 1 } else { self.ejected - 1 };
        let loads = Loads {
            ejected: self.ejected,
            slots: &self.slots,
            in_flight: &self.in_flight,
            of_endpoint: &self.of_endpoint,
        };
        for (turns, cluster) in self.clusters.iter_mut().zip(view.clusters()) {
            if self.of_endpoint[turns.range()].contains(&slot.0) {
                let seen = |position| loads.seen(turns.first + position);
                let (warmup, tiers) = (cluster.settings.warmup, cluster.tiers.clone());
                turns.live = Live::new(warmup, tiers, turns.group.endpoints(), seen, now).map(Box::new);
            }
        }
    }

    pub(crate) fn slot_of(&self, endpoint: u32) -> Option<Slot> {
        self.of_endpoint.get(endpoint as usize).map(|slot| Slot(*slot))
    }

    /// A cluster of the adopted view, and what is known of endpoints.
    #[inline]
    pub(crate) fn split(&mut self, cluster: u32) -> Option<(&mut Turns, Loads<'_>)> {
        let State { slots, in_flight, of_endpoint, clusters, ejected, .. } = self;
        Some((clusters.get_mut(cluster as usize)?, Loads { ejected: *ejected, slots, in_flight, of_endpoint }))
    }

    fn loads(&self) -> Loads<'_> {
        let State { slots, in_flight, of_endpoint, ejected, .. } = self;
        Loads { ejected: *ejected, slots, in_flight, of_endpoint }
    }

    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot.0 as usize)
    }

    fn take_slots(&mut self, group: &Group, owner: Option<&Arc<str>>, now: u64) {
        for endpoint in group.endpoints() {
            let identity = (owner.cloned(), endpoint.address);
            let slot = match self.by_identity.get(&identity) {
                Some(slot) => *slot,
                None => self.new_slot(identity, now),
            };
            let entry = &mut self.slots[slot as usize];
            if entry.uses == 0 {
                entry.since = now;
            }
            entry.uses += 1;
            self.of_endpoint.push(slot);
        }
    }

    fn new_slot(&mut self, identity: Identity, now: u64) -> u32 {
        let entry = Entry {
            identity: identity.clone(),
            since: now,
            rules: None,
            suspicion: Suspicion::default(),
            condemned: false,
            ejected: false,
            uses: 0,
            forgotten: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                self.in_flight.push(0);
                self.slots.len() as u32 - 1
            }
        };
        self.by_identity.insert(identity, slot);
        slot
    }
}

impl Loads<'_> {
    pub(crate) fn slot_of(&self, endpoint: u32) -> Option<Slot> {
        self.of_endpoint.get(endpoint as usize).map(|slot| Slot(*slot))
    }

    /// Requests in flight on a dense endpoint id.
    pub(crate) fn load(&self, endpoint: u32) -> u32 {
        let slot = self.of_endpoint.get(endpoint as usize);
        slot.and_then(|slot| self.in_flight.get(*slot as usize)).copied().unwrap_or(0)
    }

    /// When it was first seen, and whether it is ejected.
    pub(crate) fn seen(&self, endpoint: u32) -> Seen {
        self.entry(endpoint).map_or(Seen { since: 0, ejected: false }, |e| Seen { since: e.since, ejected: e.ejected })
    }

    /// Whether any endpoint of any cluster is ejected.
    #[inline]
    pub(crate) fn any_ejected(&self) -> bool {
        self.ejected > 0
    }

    fn entry(&self, endpoint: u32) -> Option<&Entry> {
        self.slots.get(*self.of_endpoint.get(endpoint as usize)? as usize)
    }
}

impl Turns {
    fn range(&self) -> std::ops::Range<usize> {
        let first = self.first as usize;
        first..first + self.group.endpoints().len()
    }
}
