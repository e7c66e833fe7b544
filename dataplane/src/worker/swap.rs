//! A new configuration: the pointer is swapped between two events; requests under way keep what they were decided on.

use std::rc::Rc;
use std::time::Duration;

use ringway_engine::slab::Key;
use ringway_engine::{Io, Time};
use ringway_policy::{Plan, Slot, View};

use super::Worker;
use super::connection::{Phase, UpPhase};
use super::exchange::{Exchange, Pinned};
use crate::messages::FromWorker;
use crate::planted::{Bug, is_planted};
use crate::telemetry::names::{Service, UNKNOWN};

/// Interned label ids by the current view's dense ids; `UNSET` until first used.
#[derive(Default)]
pub struct LabelCache {
    /// The proxy's own workload.
    pub own: u16,
    endpoints: Vec<u16>,
    clusters: Vec<u16>,
}

const UNSET: u16 = u16::MAX;

impl<I: Io> Worker<I> {
    pub(super) fn swap(&mut self, new: Pinned) {
        self.count(|s| &s.swaps);
        let mut gone = std::mem::take(&mut self.gone);
        self.state.adopt(&new.view, self.now.0, &mut self.dice, &mut gone);
        self.pools.resize_with(self.state.slots().max(self.pools.len()), Vec::new);
        self.labels.own = self.names.workload(new.view.node());
        self.labels.endpoints.clear();
        self.labels.endpoints.resize(new.view.endpoints_len(), UNSET);
        self.labels.clusters.clear();
        self.labels.clusters.resize(new.view.clusters().len(), UNSET);
        if let Some(old) = self.active.replace(new) {
            self.retiring.push(old);
        }
        self.gone = gone;
        self.close_gone();
        self.requeue_all();
        self.unpark(&[]);
        let _ = self.wiring.house.send(FromWorker::Swapped);
    }

    pub(super) fn absent(&mut self, names: &[Box<[u8]>]) {
        self.unpark(names);
    }

    /// Pooled connections of removed endpoints are closed; those in use are, when they are released.
    fn close_gone(&mut self) {
        if is_planted(Bug::StalePoolUsed) {
            return;
        }
        let gone = std::mem::take(&mut self.gone);
        for slot in &gone {
            while let Some(key) = self.pools.get_mut(slot.0 as usize).and_then(Vec::pop) {
                if self.ups.get(key).is_some_and(|u| u.phase == UpPhase::Idle) {
                    self.close_up(key);
                }
            }
        }
        self.gone = gone;
    }

    /// Hands snapshots that no exchange of this worker holds any more back to housekeeping, which drops them off this thread.
    pub(super) fn retire_snapshots(&mut self) {
        let mut i = 0;
        while i < self.retiring.len() {
            if Rc::strong_count(&self.retiring[i]) > 1 {
                i += 1;
                continue;
            }
            if let Ok(arc) = Rc::try_unwrap(self.retiring.swap_remove(i)) {
                // A full mailbox means that housekeeping is far behind: then it is dropped here.
                let _ = self.wiring.house.send(FromWorker::Retired(arc));
            }
        }
        if !self.gone.is_empty() {
            let state = &mut self.state;
            self.gone.retain(|slot| !state.forget(*slot));
        }
    }

    /// The current view and the id in it of a cluster of `pinned`'s.
    pub(super) fn current_cluster(&self, pinned: &Pinned, cluster: u32) -> Option<(Pinned, u32)> {
        let current = self.active.clone()?;
        if Rc::ptr_eq(&current, pinned) {
            return Some((current, cluster));
        }
        let id = current.view.cluster_named(&pinned.view.cluster(cluster).name)?;
        Some((current, id))
    }

    /// Interns the labels of the chosen destination, once per endpoint and snapshot.
    pub(super) fn label_destination(&mut self, exchange: &mut Exchange, view: &View, plan: &Plan) {
        (exchange.destination, exchange.service) = self.destination_labels(view, plan.cluster, plan.endpoint);
    }

    pub(super) fn destination_labels(&mut self, view: &View, cluster: u32, endpoint: u32) -> (u16, u16) {
        let LabelCache { endpoints, clusters, .. } = &mut self.labels;
        let (Some(destination), Some(service)) =
            (endpoints.get_mut(endpoint as usize), clusters.get_mut(cluster as usize))
        else {
            return (UNKNOWN, UNKNOWN);
        };
        if *destination == UNSET {
            *destination = view.endpoint(endpoint).workload.as_deref().map_or(UNKNOWN, |w| self.names.workload(w));
        }
        if *service == UNSET {
            let model = view.cluster(cluster).decode();
            let words =
                Service { host: model.service_host, name: model.service_name, namespace: model.service_namespace };
            *service = self.names.service(&words);
        }
        (*destination, *service)
    }

    /// Answers say `Connection: close` from now on; what is open may finish until `within` is over. Accepting goes on: the platform still sends
    /// connections here until everyone has heard that this endpoint is leaving.
    pub(super) fn start_drain(&mut self, within: Duration) {
        if self.drain.is_none() {
            self.drain = Some(self.now.after(within));
            self.drain_quiet_since = self.now;
            self.drain_quiet = (within / 4).min(Duration::from_secs(1));
        }
    }

    /// Ends the drain when nothing has been open for a while, or when its time is over.
    pub(super) fn check_drained(&mut self) {
        let Some(until) = self.drain else { return };
        if self.drained {
            return;
        }
        if !self.downs.is_empty() {
            self.drain_quiet_since = self.now;
        }
        let over = self.now >= until;
        let quiet = self.now >= self.drain_quiet_since.after(self.drain_quiet);
        if !over && !quiet {
            return;
        }
        for listening in std::mem::take(&mut self.listeners) {
            self.io.accept_stop(listening.handle);
        }
        let open: Vec<Key> = self.downs.iter().map(|(key, _)| key).collect();
        for key in open {
            self.drain_down(key);
        }
        let idle: Vec<Key> = self.pools.iter().flatten().copied().collect();
        for key in idle {
            self.close_up(key);
        }
        if self.downs.is_empty() && self.ups.is_empty() || self.now >= until.after(DRAIN_EXTRA_MAX) {
            self.drained = true;
            let _ = self.wiring.house.send(FromWorker::Drained);
        }
    }

    /// When the drain must look again although nothing happens.
    pub(super) fn drain_due(&self) -> Time {
        match self.drain {
            Some(_) if !self.drained => self.now.after(DRAIN_LOOK),
            _ => Time::NEVER,
        }
    }

    /// Ends a connection without losing a request: between requests at once, otherwise after the running one. A tunnel has no such point: it is cut.
    pub(super) fn drain_down(&mut self, key: Key) {
        let Some(down) = self.downs.get_mut(key) else { return };
        match &mut down.phase {
            Phase::Idle | Phase::Hello { .. } => self.end_down(key),
            Phase::Busy(exchange) => exchange.keep_downstream = false,
            Phase::Tunnel(_) => self.cut_tunnel(key),
            _ => {}
        }
    }

    /// The slot of an endpoint is leaving the config.
    pub(super) fn slot_gone(&self, slot: Slot) -> bool {
        self.gone.contains(&slot)
    }
}

/// Exchanges that still run when the drain is over get this much longer.
const DRAIN_EXTRA_MAX: Duration = Duration::from_secs(5);
/// How often a drain looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
