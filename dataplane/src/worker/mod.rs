//! A worker: one thread, one driver, its own connections, pools, counters and timers. It shares nothing mutable with another worker.
//!
//! The loop takes a turn of I/O, handles each completion, then timers, then what became ready. Handlers never call each other through the driver.
//! Every handler is a method of [`Worker`], grouped by what it is about: `accept`, `request`, `response`, `upstream`, `hello`, `tunnel`, `finish`, `deadlines`.

mod accept;
mod begin;
mod connection;
mod deadlines;
pub mod encode;
mod exchange;
mod finish;
mod hello;
mod holdings;
mod lines;
mod local;
mod mirror;
mod outcome;
mod queue;
mod request;
mod response;
mod retry;
mod swap;
mod token;
mod tunnel;
mod upstream;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ringway_engine::mailbox::{Receiver, Sender};
use ringway_engine::slab::{Key, Slab};
use ringway_engine::timers::Wheel;
use ringway_engine::{Completion, Io, Time, Token};
use ringway_http::head::{RequestHead, ResponseHead};
use ringway_policy::State;

use crate::ledger::Account;
use crate::messages::{FromWorker, ToWorker};
use crate::telemetry::names::Names;
use crate::telemetry::record::Record;
use crate::telemetry::series::{SeriesTable, SeriesWriter, add};
use connection::{Down, Up};
use exchange::{Exchange, Pinned};
use token::Target;

pub use holdings::Holdings;
pub use stats::WorkerStats;
mod stats;

/// Sizes of one worker; every table in it is bounded by one of these.
#[derive(Clone, Copy, Debug)]
pub struct WorkerLimits {
    /// Downstream connections.
    pub downstream_max: u32,
    /// Upstream connections.
    pub upstream_max: u32,
    /// Idle upstream connections kept per endpoint.
    pub idle_per_endpoint_max: usize,
    /// Bytes of input that all connections together may hold unconsumed: unfinished heads, pipelined requests.
    pub held_bytes_max: usize,
    /// Bytes of requests that all exchanges together may keep to send them again.
    pub replay_bytes_max: usize,
    /// Exchanges waiting for on-demand config.
    pub parked_max: usize,
    /// Copies for mirrors under way.
    pub mirrors_max: u32,
    /// Blank exchanges and buffers kept for re-use.
    pub spare_max: usize,
    /// Access-log records a worker owns.
    pub records_max: usize,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        WorkerLimits {
            downstream_max: 32_768,
            upstream_max: 32_768,
            idle_per_endpoint_max: 1024,
            held_bytes_max: 32 << 20,
            replay_bytes_max: 16 << 20,
            parked_max: 4096,
            mirrors_max: 1024,
            spare_max: 4096,
            records_max: 4096,
        }
    }
}

/// How a worker is wired to housekeeping and to the other workers.
pub struct Wiring {
    /// This worker's number, from 0.
    pub id: usize,
    /// From housekeeping, then from each other worker.
    pub inboxes: Vec<Receiver<ToWorker>>,
    /// To housekeeping.
    pub house: Sender<FromWorker>,
    /// To each other worker, with its number.
    pub others: Vec<(usize, Sender<ToWorker>)>,
    /// What every worker publishes about itself, by number.
    pub stats: Arc<[WorkerStats]>,
    /// Metric cells of this worker.
    pub series: Arc<SeriesTable>,
    /// Wall clock minus [`Io::now`] at start, microseconds: turns driver time into log time.
    pub wall_offset_us: u64,
}

/// One worker.
pub struct Worker<I: Io> {
    io: I,
    wiring: Wiring,
    limits: WorkerLimits,
    now: Time,
    completions: Vec<Completion>,
    active: Option<Pinned>,
    retiring: Vec<Pinned>,
    state: State,
    dice: Dice,
    listeners: Vec<accept::Listening>,
    downs: Slab<Down>,
    ups: Slab<Up>,
    /// Idle upstream connections by endpoint slot, the most recent last.
    pools: Vec<Vec<Key>>,
    /// Endpoint slots that left the config and still have connections or exchanges.
    gone: Vec<ringway_policy::Slot>,
    parked: Vec<Key>,
    /// Copies for mirrors under way.
    copies: u32,
    /// Requests that wait for a connection, by cluster.
    queues: Vec<queue::Queue>,
    tickets: u64,
    /// Accounts of which something was given back: those who wait are looked at when the turn's completions are handled.
    freed: Vec<Arc<Account>>,
    /// Messages to other workers that found no room.
    unsent: VecDeque<(usize, ToWorker)>,
    /// Bytes in all `pipe`s; see [`WorkerLimits::held_bytes_max`].
    held: usize,
    /// Bytes in all `replay`s; see [`WorkerLimits::replay_bytes_max`].
    replay_bytes: usize,
    /// Connections with pipelined input to look at before the next turn.
    ready: Vec<Key>,
    timers: Wheel<Token>,
    expired: Vec<Token>,
    scratch: Scratch,
    // Boxes, because it is the boxes that move into a connection's phase and back.
    #[allow(clippy::vec_box)]
    spare_exchanges: Vec<Box<Exchange>>,
    spare_bytes: Vec<Vec<u8>>,
    #[allow(clippy::vec_box)]
    spare_records: Vec<Box<Record>>,
    records_made: usize,
    names: Names,
    labels: swap::LabelCache,
    series: SeriesWriter,
    drain: Option<Time>,
    drain_quiet_since: Time,
    drain_quiet: std::time::Duration,
    drained: bool,
    exit: bool,
}

/// Values that are reused from request to request.
#[derive(Default)]
struct Scratch {
    request: RequestHead,
    response: ResponseHead,
    path: Vec<u8>,
    hello: Vec<u8>,
    /// A request's target in normal form, where it was received in another.
    target: Vec<u8>,
    /// The request at hand, for values that read it.
    plain: lines::Plain,
    peers: crate::telemetry::peer::PeerCache,
}

/// The worker's randomness, seeded by the driver: xorshift64*.
struct Dice(u64);

impl ringway_policy::Rng for Dice {
    fn random(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl<I: Io> Worker<I> {
    /// Microseconds since 1970.
    fn wall_us(&self, time: Time) -> u64 {
        self.wiring.wall_offset_us + time.0 / 1000
    }

    /// A worker on this driver.
    pub fn new(mut io: I, wiring: Wiring, limits: WorkerLimits) -> Worker<I> {
        let seed = io.random() | 1;
        let series = SeriesWriter::new(wiring.series.clone());
        Worker {
            now: io.now(),
            wiring,
            completions: Vec::with_capacity(256),
            active: None,
            retiring: Vec::new(),
            state: State::new(),
            dice: Dice(seed),
            listeners: Vec::new(),
            downs: Slab::new(limits.downstream_max),
            ups: Slab::new(limits.upstream_max),
            pools: Vec::new(),
            gone: Vec::new(),
            parked: Vec::new(),
            copies: 0,
            queues: Vec::new(),
            tickets: 0,
            freed: Vec::new(),
            unsent: VecDeque::new(),
            held: 0,
            replay_bytes: 0,
            ready: Vec::new(),
            timers: Wheel::new(io.now(), limits.downstream_max + limits.upstream_max),
            expired: Vec::new(),
            scratch: Scratch::default(),
            spare_exchanges: Vec::new(),
            spare_bytes: Vec::new(),
            spare_records: Vec::new(),
            records_made: 0,
            names: Names::default(),
            labels: swap::LabelCache::default(),
            series,
            drain: None,
            drain_quiet_since: Time(0),
            drain_quiet: std::time::Duration::ZERO,
            drained: false,
            exit: false,
            limits,
            io,
        }
    }

    /// Turns until told to exit.
    pub fn run(&mut self) {
        while !self.exit {
            self.turn(Time::NEVER);
        }
    }

    /// Told to exit.
    pub fn exited(&self) -> bool {
        self.exit
    }

    /// The driver.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// One turn: waits for I/O until `deadline`, then handles everything that is due.
    pub fn turn(&mut self, deadline: Time) {
        let deadline = if self.ready.is_empty() {
            deadline.min(self.timers.next_deadline()).min(self.drain_due()).min(self.unsent_due())
        } else {
            self.now
        };
        let mut completions = std::mem::take(&mut self.completions);
        self.io.turn(deadline, &mut completions);
        self.now = self.io.now();
        for completion in completions.drain(..) {
            self.on_completion(completion);
        }
        self.completions = completions;
        self.expire_timers();
        self.resume_ready();
        self.serve_freed();
        self.retire_snapshots();
        if self.drain.is_some() {
            self.check_drained();
        }
        self.publish();
    }

    fn on_completion(&mut self, completion: Completion) {
        match completion {
            Completion::Received { token, buf } => match Target::of(token) {
                Target::Down(key) => self.down_received(key, buf),
                Target::Up(key) => self.up_received(key, buf),
                Target::Listener(_) => {}
            },
            Completion::Sent { token, .. } => match Target::of(token) {
                Target::Down(key) => self.down_sent(key),
                Target::Up(key) => self.up_sent(key),
                Target::Listener(_) => {}
            },
            Completion::ReceiveEnd { token, end } => match Target::of(token) {
                Target::Down(key) => self.down_ended(key, end),
                Target::Up(key) => self.up_ended(key, end),
                Target::Listener(_) => {}
            },
            Completion::SendFailed { token, errno } => match Target::of(token) {
                Target::Down(key) => self.down_send_failed(key, errno),
                Target::Up(key) => self.up_send_failed(key, errno),
                Target::Listener(_) => {}
            },
            Completion::Connected { token, result } => {
                if let Target::Up(key) = Target::of(token) {
                    self.up_connected(key, result);
                }
            }
            Completion::Spliced { token, bytes } => self.spliced(Target::of(token), bytes),
            Completion::Accepted { listener, conn, peer } => self.accepted(listener, conn, peer),
            Completion::AcceptPaused { listener, errno } => self.accept_paused(listener, errno),
            Completion::Woken => self.read_mail(),
        }
    }

    fn read_mail(&mut self) {
        for i in 0..self.wiring.inboxes.len() {
            while let Some(message) = self.wiring.inboxes[i].recv() {
                self.on_message(message);
            }
        }
    }

    fn on_message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Swap(active) => self.swap(Rc::new(active)),
            ToWorker::Listen { id, socket } => self.listen(id, socket),
            ToWorker::Unlisten { id } => self.unlisten(id),
            ToWorker::Adopt { conn, listener, peer } => self.adopt(conn, listener, peer),
            ToWorker::Absent(names) => self.absent(&names),
            ToWorker::Drain { within } => self.start_drain(within),
            ToWorker::Yield(account) | ToWorker::Freed(account) => self.freed.push(account),
            ToWorker::Judge(verdict) => {
                if let Some(active) = &self.active {
                    self.state.judge(&active.view, &verdict, self.now.0);
                }
            }
            ToWorker::Recycle(record) => self.spare_records.push(record),
            ToWorker::Exit => self.exit = true,
        }
    }

    fn publish(&mut self) {
        let mine = &self.wiring.stats[self.wiring.id];
        let driver = self.io.stats();
        mine.downstream.store(self.downs.len() as u64, Relaxed);
        mine.upstream.store(self.ups.len() as u64, Relaxed);
        mine.publish_driver(&driver);
        mine.series_overflowed.store(self.series.overflowed, Relaxed);
    }

    fn count(&self, pick: impl FnOnce(&WorkerStats) -> &std::sync::atomic::AtomicU64) {
        add(pick(&self.wiring.stats[self.wiring.id]), 1);
    }

    fn spare_bytes(&mut self) -> Vec<u8> {
        self.spare_bytes.pop().unwrap_or_default()
    }

    fn keep_bytes(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > 0 && bytes.capacity() <= 64 << 10 && self.spare_bytes.len() < self.limits.spare_max {
            bytes.clear();
            self.spare_bytes.push(bytes);
        }
    }

    fn spare_exchange(&mut self) -> Box<Exchange> {
        self.spare_exchanges.pop().unwrap_or_else(|| Box::new(Exchange::blank()))
    }

    fn keep_exchange(&mut self, mut exchange: Box<Exchange>) {
        if self.spare_exchanges.len() < self.limits.spare_max {
            exchange.reset();
            self.spare_exchanges.push(exchange);
        }
    }
}
