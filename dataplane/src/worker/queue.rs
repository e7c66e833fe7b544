//! Requests to clusters with limits. They are counted in the cluster's account; where the connections are spent they wait here, first come first
//! served, until one is free, the route's timeout is over or the client leaves.
//!
//! A worker serves its own queue from what comes free on it, and after a while of that lets another worker's go first. What it has no use for it
//! gives up when another waits: an idle connection is closed, because it cannot change its worker, and the other may open one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringway_engine::slab::Key;
use ringway_engine::{Buf, Io, Time};
use ringway_policy::{Plan, Slot};

use super::Worker;
use super::connection::{Life, Phase, UpPhase};
use super::exchange::{Exchange, Pinned};
use super::local::LocalReply;
use crate::ledger::{Account, ClusterLimits};
use crate::messages::ToWorker;
use crate::telemetry::Flag;

/// Requests of one worker served in a row while another worker's wait.
const IN_A_ROW_MAX: u32 = 16;
/// Requests at the head of a queue that are looked at for one whose endpoint is that of an idle connection.
const LOOK_MAX: usize = 8;
/// Times that the first of a queue may be overtaken by such a one.
const OVERTAKEN_MAX: u32 = 8;
/// Places left by requests that went away, before a queue is tidied.
const LEFT_MAX: usize = 32;
/// When a message that found no room is tried again.
const UNSENT_LOOK: Duration = Duration::from_millis(1);

/// One cluster's requests that wait for a connection, on one worker. It is there only while it is needed.
pub struct Queue {
    account: Arc<Account>,
    /// Connections of clients with the tickets of their exchanges; those that went away meanwhile are still listed.
    places: VecDeque<(Key, u64)>,
    /// How many of them still wait.
    live: usize,
    in_a_row: u32,
    overtaken: u32,
}

impl<I: Io> Worker<I> {
    /// Gives a decided exchange of a limited cluster a connection, or a place in the queue, or a refusal.
    pub(super) fn attach_limited(&mut self, key: Key, exchange: Box<Exchange>, plan: Plan, account: Arc<Account>) {
        let limits = limits_of(&exchange);
        // Who came earlier goes first.
        let behind = self.queue_of(&account).is_some();
        if !behind
            && !exchange.replayed
            && let Some(up) = self.checkout(plan.slot)
        {
            return self.serve_on(key, exchange, up, limits);
        }
        if !account.pending.take(limits.pending) {
            return self.overflow(key, exchange);
        }
        if !behind && self.take_connection(&account, limits) {
            return self.connect_for(key, exchange, plan, Some(account));
        }
        self.enqueue(key, exchange, account);
    }

    /// Sends an exchange on an idle connection of its limited cluster.
    fn serve_on(&mut self, key: Key, mut exchange: Box<Exchange>, up: Key, limits: ClusterLimits) {
        if !self.begin_request(up, limits) {
            self.make_idle(up);
            return self.overflow(key, exchange);
        }
        self.count(|s| &s.upstream_reused);
        if let Some(up) = self.ups.get_mut(up) {
            up.phase = UpPhase::Busy(key);
        }
        exchange.up = Some(up);
        self.flush_waiting(&mut exchange);
        self.resume_downstream(key, &mut exchange);
        self.put_busy(key, exchange);
        self.arm_try(key);
    }

    /// Counts a request on a connection; false when the cluster's limit is reached.
    pub(super) fn begin_request(&mut self, up: Key, limits: ClusterLimits) -> bool {
        let Some(up) = self.ups.get_mut(up) else { return true };
        let Some(account) = &up.account else { return true };
        if std::mem::take(&mut up.pending) {
            account.pending.give();
        }
        up.serving = account.requests.take(limits.requests);
        up.serving
    }

    /// Refuses a request because of a limit (Envoy's answer on an overflow).
    pub(super) fn overflow(&mut self, key: Key, exchange: Box<Exchange>) {
        self.count(|s| &s.upstream_overflows);
        let details = "upstream_reset_before_response_started{overflow}";
        self.reply(key, exchange, LocalReply::new(503, Flag::UO, details).with("x-envoy-overloaded", "true"));
    }

    /// One connection of the limit, if need be in exchange for an idle one of this worker.
    fn take_connection(&mut self, account: &Account, limits: ClusterLimits) -> bool {
        account.connections.take(limits.connections)
            || self.close_idle(account) && account.connections.take(limits.connections)
    }

    fn close_idle(&mut self, account: &Account) -> bool {
        let idle = self.idle_of(account);
        if let Some((up, _)) = idle {
            self.close_up(up);
        }
        idle.is_some()
    }

    /// The longest idle connection of an account's cluster on some endpoint.
    fn idle_of(&self, account: &Account) -> Option<(Key, Slot)> {
        let view = &self.active.as_ref()?.view;
        let cluster = view.cluster(view.cluster_named(account.cluster())?);
        cluster.endpoints.clone().find_map(|endpoint| {
            let slot = self.state.slot(endpoint);
            let pool = self.pools.get(slot.0 as usize)?;
            // Those from before the cluster had limits are counted nowhere.
            let own = |up: &&Key| self.ups.get(**up)?.account.as_deref().map(|other| std::ptr::eq(other, account));
            let up = pool.iter().find(|up| own(up) == Some(true))?;
            Some((*up, slot))
        })
    }

    /// Starts a connect for what does not wait for a limit (as in Envoy), or says why not.
    pub(super) fn open_at_once(
        &mut self,
        pinned: &Pinned,
        cluster: u32,
        slot: Slot,
        phase: UpPhase,
        life: Life,
    ) -> Result<Key, &'static str> {
        let account = pinned.ledger.account(cluster).cloned();
        let limits = ClusterLimits::of(&pinned.view.cluster(cluster).settings);
        if let Some(account) = &account
            && !self.take_connection(account, limits)
        {
            self.count(|s| &s.upstream_overflows);
            return Err("overflow");
        }
        match (self.open(slot, phase, life), account) {
            (Ok(key), account) => {
                if let Some(up) = self.ups.get_mut(key) {
                    up.account = account;
                }
                Ok(key)
            }
            (Err(_), account) => {
                if let Some(account) = account {
                    account.connections.give();
                    self.freed.push(account);
                }
                Err("upstream_connections_exhausted")
            }
        }
    }

    fn queue_of(&mut self, account: &Arc<Account>) -> Option<usize> {
        self.queues.iter().position(|queue| Arc::ptr_eq(&queue.account, account))
    }

    fn enqueue(&mut self, key: Key, mut exchange: Box<Exchange>, account: Arc<Account>) {
        let bytes: usize = exchange.waiting.iter().map(|buf| buf.len()).sum();
        if self.held + bytes > self.limits.held_bytes_max {
            account.pending.give();
            self.count(|s| &s.input_budget_cuts);
            return self.reply(key, exchange, LocalReply::new(503, Flag::OM, "overload_input"));
        }
        for _ in 0..exchange.waiting.len() {
            if let Some(buf) = exchange.waiting.pop_front() {
                self.charge(&mut exchange, &buf);
            }
        }
        self.count(|s| &s.upstream_queued);
        self.tickets += 1;
        exchange.ticket = self.tickets;
        let first = self.queue_of(&account).is_none();
        if first {
            let (places, live, in_a_row, overtaken) = Default::default();
            self.queues.push(Queue { account: account.clone(), places, live, in_a_row, overtaken });
        }
        if let Some(queue) = self.queue_of(&account).and_then(|at| self.queues.get_mut(at)) {
            queue.places.push_back((key, self.tickets));
            queue.live += 1;
        }
        self.put_busy(key, exchange);
        self.arm_down(key);
        if first {
            account.wait(self.wiring.id);
            self.ask_to_yield(&account);
            // Who gave something back before the mark was set did not see it: look again.
            self.freed.push(account);
        }
    }

    /// Keeps bytes of a queued request on the heap: the ring's buffers are for all connections, and a queue may be long.
    pub(super) fn charge(&mut self, exchange: &mut Exchange, piece: &[u8]) {
        let mut bytes = self.spare_bytes();
        bytes.extend_from_slice(piece);
        self.held += piece.len();
        exchange.charged += piece.len();
        exchange.waiting.push_back(Buf::heap(bytes));
    }

    /// A queued exchange goes away without a connection.
    pub(super) fn leave_queue(&mut self, exchange: &mut Exchange) {
        self.uncharge(exchange);
        let Some(account) = account_of(exchange) else { return };
        account.pending.give();
        let Some(at) = self.queue_of(&account) else { return };
        let (queue, downs) = (&mut self.queues[at], &self.downs);
        queue.live -= 1;
        if queue.places.len() > 2 * queue.live + LEFT_MAX {
            let waits = |key: Key, ticket: u64| {
                downs.get(key).is_some_and(|d| matches!(&d.phase, Phase::Busy(e) if e.ticket == ticket))
            };
            queue.places.retain(|(key, ticket)| waits(*key, *ticket));
        }
        if queue.live == 0 {
            self.freed.push(account);
        }
    }

    fn uncharge(&mut self, exchange: &mut Exchange) {
        self.held -= std::mem::take(&mut exchange.charged);
        exchange.ticket = 0;
    }

    /// Requests that wait now.
    pub(super) fn queued(&self) -> usize {
        self.queues.iter().map(|queue| queue.live).sum()
    }

    /// Under a new configuration limits may be wider, or none.
    pub(super) fn requeue_all(&mut self) {
        self.freed.extend(self.queues.iter().map(|queue| queue.account.clone()));
    }

    /// Something was given back: whoever waits for it goes on, here or on another worker.
    pub(super) fn serve_freed(&mut self) {
        while let Some(account) = self.freed.pop() {
            self.serve(&account);
        }
        if !self.unsent.is_empty() {
            self.send_unsent();
        }
    }

    fn serve(&mut self, account: &Arc<Account>) {
        let limits = self.limits_now(account);
        let mut granted = false;
        while let Some(at) = self.queue_of(account) {
            let others = account.waiter_after(self.wiring.id).is_some();
            let queue = &mut self.queues[at];
            if queue.live == 0 {
                self.queues.swap_remove(at);
                account.unwait(self.wiring.id);
                break;
            }
            if others && queue.in_a_row >= IN_A_ROW_MAX {
                queue.in_a_row = 0;
                break;
            }
            let Some((place, idle)) = self.next_place(at, account) else { continue };
            match idle {
                Some(up) => self.dequeue(at, place, |worker, key, exchange| {
                    account.pending.give();
                    worker.checkout_this(up);
                    worker.serve_on(key, exchange, up, limits);
                }),
                None if self.take_connection(account, limits) => {
                    granted = true;
                    self.dequeue(at, place, |worker, key, exchange| worker.connect_queued(key, exchange, account));
                }
                None if granted => return self.ask_to_yield(account),
                None => return,
            }
        }
        self.pass_on(account, limits);
    }

    /// Who is next in a queue, and the idle connection for it if there is one to its endpoint. None when the first was gone already.
    fn next_place(&mut self, at: usize, account: &Account) -> Option<(usize, Option<Key>)> {
        let idle = self.idle_of(account);
        let (queue, downs) = (&mut self.queues[at], &self.downs);
        // What met a closed one needs a connection of its own making.
        let slot_at = |place: usize| {
            let (key, ticket) = *queue.places.get(place)?;
            match &downs.get(key)?.phase {
                Phase::Busy(e) if e.ticket == ticket => Some(e.plan.filter(|_| !e.replayed).map(|plan| plan.slot)),
                _ => None,
            }
        };
        if slot_at(0).is_none() {
            queue.places.pop_front();
            return None;
        }
        let Some((up, slot)) = idle else { return Some((0, None)) };
        let look = if queue.overtaken < OVERTAKEN_MAX { LOOK_MAX } else { 1 };
        Some((0..look).find(|place| slot_at(*place) == Some(Some(slot))).map_or((0, None), |place| (place, Some(up))))
    }

    fn dequeue(&mut self, at: usize, place: usize, go_on: impl FnOnce(&mut Self, Key, Box<Exchange>)) {
        let queue = &mut self.queues[at];
        let Some((key, _)) = queue.places.remove(place) else { return };
        queue.live -= 1;
        queue.in_a_row += 1;
        queue.overtaken = if place == 0 { 0 } else { queue.overtaken + 1 };
        let Some(down) = self.downs.get_mut(key) else { return };
        if let Phase::Busy(mut exchange) = std::mem::replace(&mut down.phase, Phase::Away) {
            self.uncharge(&mut exchange);
            exchange.progress = self.now;
            go_on(self, key, exchange);
        }
    }

    /// Takes an idle connection out of its pool.
    fn checkout_this(&mut self, up: Key) {
        let Some(slot) = self.ups.get(up).map(|u| u.slot) else { return };
        if let Some(pool) = self.pools.get_mut(slot.0 as usize) {
            pool.retain(|key| *key != up);
        }
    }

    /// A connection for a request that waited; both are counted already.
    fn connect_queued(&mut self, key: Key, mut exchange: Box<Exchange>, account: &Arc<Account>) {
        let gone = exchange.plan.is_none_or(|plan| self.slot_gone(plan.slot));
        if gone && let Some(counted) = exchange.counted.take() {
            self.state.finished(counted);
        }
        if gone && !self.choose_another(&mut exchange) {
            account.connections.give();
            account.pending.give();
            self.freed.push(account.clone());
            return self.reply(key, exchange, LocalReply::new(503, Flag::UH, "no_healthy_upstream"));
        }
        if let Some(plan) = exchange.plan {
            self.connect_for(key, exchange, plan, Some(account.clone()));
        }
    }

    /// Nobody here needs what is left: another worker's requests may.
    fn pass_on(&mut self, account: &Arc<Account>, limits: ClusterLimits) {
        let Some(waiter) = account.waiter_after(self.wiring.id) else { return };
        if account.connections.has_room(limits.connections) {
            self.tell(waiter, ToWorker::Freed(account.clone()));
        } else {
            // Closing leads here again.
            self.close_idle(account);
        }
    }

    fn ask_to_yield(&mut self, account: &Arc<Account>) {
        for at in 0..self.wiring.others.len() {
            let other = self.wiring.others[at].0;
            self.tell(other, ToWorker::Yield(account.clone()));
        }
    }

    fn tell(&mut self, worker: usize, message: ToWorker) {
        if !self.unsent.iter().any(|(to, other)| *to == worker && same(other, &message)) {
            self.unsent.push_back((worker, message));
        }
    }

    fn send_unsent(&mut self) {
        for _ in 0..self.unsent.len() {
            let Some((worker, message)) = self.unsent.pop_front() else { return };
            let sender = self.wiring.others.iter_mut().find(|(id, _)| *id == worker);
            if let Some(Err(message)) = sender.map(|(_, sender)| sender.send(message)) {
                self.unsent.push_back((worker, message));
            }
        }
    }

    /// When messages that found no room are to be tried again.
    pub(super) fn unsent_due(&self) -> Time {
        if self.unsent.is_empty() { Time::NEVER } else { self.now.after(UNSENT_LOOK) }
    }

    /// The limits in force; none when the cluster is gone.
    fn limits_now(&self, account: &Account) -> ClusterLimits {
        let view = self.active.as_ref().map(|active| &active.view);
        let cluster = view.and_then(|view| Some(view.cluster(view.cluster_named(account.cluster())?)));
        cluster.map_or_else(ClusterLimits::default, |cluster| ClusterLimits::of(&cluster.settings))
    }
}

/// The limits under which an exchange was decided.
pub(super) fn limits_of(exchange: &Exchange) -> ClusterLimits {
    match (&exchange.pinned, exchange.plan) {
        (Some(pinned), Some(plan)) => ClusterLimits::of(&pinned.view.cluster(plan.cluster).settings),
        _ => ClusterLimits::default(),
    }
}

/// The account of an exchange's cluster; none when that has no limit.
pub(super) fn account_of(exchange: &Exchange) -> Option<Arc<Account>> {
    exchange.pinned.as_ref()?.ledger.account(exchange.plan?.cluster).cloned()
}

fn same(a: &ToWorker, b: &ToWorker) -> bool {
    match (a, b) {
        (ToWorker::Yield(a), ToWorker::Yield(b)) | (ToWorker::Freed(a), ToWorker::Freed(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}
