//! One run: workers, housekeeping, clients and upstreams in one world, until everybody is done and the proxy has drained.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dataplane::active::{Active, SNAPSHOTS_ALIVE_MAX};
use dataplane::messages::{FromWorker, ToWorker};
use dataplane::telemetry::series::SeriesTable;
use dataplane::worker::{Holdings, Wiring, Worker, WorkerLimits, WorkerStats};
use ringway_engine::io::Limits;
use ringway_engine::mailbox::{self, Receiver, Sender};
use ringway_engine::sim::{Faults, PeerId, Sim, World};
use ringway_engine::{Io, Time};

use crate::client::Client;
use crate::dice::Dice;
use crate::mesh::{LISTENER_IDS, Version, http_address, listening, tcp_address};
use crate::model::Model;
use crate::plan::{Pace, Plan, TunnelPlan};
use crate::server::Server;
use crate::trace::Trace;
use crate::tunnel::TunnelClient;

/// What all actors share.
pub struct Stage {
    /// The network.
    pub world: World,
    /// The time now.
    pub now: Time,
    /// What should be.
    pub model: Model,
    /// What was.
    pub trace: Trace,
    /// The actors' chance.
    pub dice: Dice,
    /// For bytes on their way.
    pub scratch: Vec<u8>,
    /// Tunnels by id.
    pub tunnels: BTreeMap<u32, TunnelPlan>,
}

/// What a run that found nothing wrong says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of the trace: equal for equal seeds.
    pub hash: u64,
    /// Events in the trace.
    pub events: u64,
    /// Requests with a whole answer.
    pub answered: usize,
    /// Requests of the plan.
    pub requests: usize,
    /// Tunnels that carried everything.
    pub tunnels: usize,
    /// Configurations taken into use after the first.
    pub swaps: usize,
    /// Requests that were replayed on a fresh connection.
    pub replays: u64,
}

/// Virtual time after which a run is stuck.
const SPAN_MAX: Duration = Duration::from_secs(600);
/// Turns after which a run is stuck.
const TURNS_MAX: u64 = 1_000_000;
/// Steps after the drain for clients that still try to connect, and for connections that outlive it.
const LATE_STEPS_MAX: usize = 20_000;
/// Time for connections to a removed endpoint to close.
const SETTLE: Duration = Duration::from_millis(300);
/// With several drivers, no turn waits longer.
const DRIVERS_LOOK: Duration = Duration::from_millis(10);
/// Time that a drain may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// What a worker gives running exchanges beyond that.
const DRAIN_EXTRA: Duration = Duration::from_secs(5);

/// Plays one seed. The error says what went wrong and how to replay it.
pub fn run(seed: u64, print: bool) -> Result<Report, String> {
    let result = run_plan(seed, Plan::of(seed), print);
    result.map_err(|what| {
        format!(
            "seed {seed}: {what}\n  replay: RINGWAY_SEED={seed} cargo test -p ringway-sim --test seeds -- --nocapture"
        )
    })
}

/// Plays a plan; the seed decides only what the plan leaves open.
pub fn run_plan(seed: u64, plan: Plan, print: bool) -> Result<Report, String> {
    let played = catch_unwind(AssertUnwindSafe(|| Run::new(seed, plan, print).play()));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()))
    })
}

struct Run {
    stage: Stage,
    plan: Plan,
    epoch: Time,
    workers: Vec<Worker<Sim>>,
    house: House,
    stats: Arc<[WorkerStats]>,
    series: Vec<Arc<SeriesTable>>,
    clients: Vec<Client>,
    tunnels: Vec<TunnelClient>,
    servers: BTreeMap<PeerId, Server>,
    accepted: usize,
    touched: Vec<PeerId>,
}

/// Housekeeping's end of the mailboxes.
struct House {
    to: Vec<Sender<ToWorker>>,
    from: Vec<Receiver<FromWorker>>,
    current: Arc<Active>,
    swapped: Vec<usize>,
    retired: usize,
    drained: usize,
    drain_from: Time,
    /// A drain took too long: what is open then is cut with the process.
    gave_up: bool,
    logged: u64,
}

impl Run {
    fn new(seed: u64, plan: Plan, print: bool) -> Run {
        let world = World::new(seed, plan.faults.clone());
        let mut dice = Dice::new(seed, 2);
        let version = Version::first(&mut dice);
        let current = version.build(1, None);
        let mut model = Model::new(&plan);
        model.versions.push((version, None));
        let base = plan.requests.len() as u32;
        let stage = Stage {
            now: world.now(),
            world,
            model,
            trace: Trace::new(print),
            dice,
            scratch: Vec::new(),
            tunnels: (base..).zip(plan.tunnels.iter().cloned()).collect(),
        };
        let (workers, house, stats, series) = workers(&stage.world, plan.workers, current);
        for address in listening() {
            stage.world.peer_listen(address);
        }
        let epoch = stage.now;
        let client = |(number, plan): (usize, &crate::plan::ClientPlan)| Client::new(number, plan.clone(), epoch);
        let clients = plan.clients.iter().enumerate().map(client).collect();
        let tunnels = stage.tunnels.iter().map(|(id, plan)| TunnelClient::new(*id, plan.clone(), epoch)).collect();
        Run {
            stage,
            epoch,
            workers,
            house,
            stats,
            series,
            clients,
            tunnels,
            servers: BTreeMap::new(),
            accepted: 0,
            touched: Vec::new(),
            plan,
        }
    }

    fn play(mut self) -> Result<Report, String> {
        self.house.post_all(|active| ToWorker::Swap(active.clone()));
        for (id, address) in LISTENER_IDS.into_iter().zip([http_address(), tcp_address()]) {
            let _ = self.house.to[0].send(ToWorker::Listen { id, socket: self.stage.world.listen(address) });
        }
        let mut turns = 0;
        while self.house.drained < self.workers.len() {
            self.step()?;
            turns += 1;
            if turns > TURNS_MAX || self.stage.now > self.epoch.after(SPAN_MAX) {
                let held: Vec<Holdings> = self.workers.iter().map(Worker::holdings).collect();
                let busy: Vec<_> = self.clients.iter().filter(|c| !c.done).map(|c| c.standing(&self.stage)).collect();
                let tunnels: Vec<_> =
                    self.tunnels.iter().filter(|t| !t.done).map(|t| t.standing(&self.stage)).collect();
                let what = format!("busy clients {busy:?} tunnels {tunnels:?}, workers hold {held:?}");
                return Err(format!("stuck after {turns} turns at {:?}: {what}", self.stage.now));
            }
        }
        self.finish()
    }

    /// One turn of every worker, and everybody's reaction.
    fn step(&mut self) -> Result<(), String> {
        self.housekeeping()?;
        let (count, drained) = (self.workers.len(), self.house.drained);
        let first = self.stage.dice.below(count);
        if count > 1 {
            // Time passes in a turn: before that nobody may have anything left to do at this instant.
            (0..count).for_each(|i| self.settle((first + i) % count));
            self.stage.now = self.stage.world.now();
            self.collect();
            self.accept();
            self.act()?;
            if self.house.drained > drained {
                return Ok(());
            }
        }
        let others = self.workers.iter().map(Worker::due).min().unwrap_or(Time::NEVER);
        let now = self.stage.world.now();
        // One driver does not know what another's back-offs are due.
        let others = if count > 1 { others.min(now.after(DRIVERS_LOOK)) } else { others };
        let deadline = self.wake().min(others).max(now);
        self.workers[first].turn(deadline);
        self.stage.now = self.stage.world.now();
        self.collect();
        self.accept();
        self.act()
    }

    /// Turns without waiting until two in a row bring nothing: what the first left queued, the second has sent.
    fn settle(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let mut quiet = 0;
        while quiet < 2 {
            let before = worker.io().stats().completions;
            worker.turn(self.stage.world.now());
            quiet = if worker.io().stats().completions == before { quiet + 1 } else { 0 };
        }
    }

    /// The next moment at which a script wants to act.
    fn wake(&self) -> Time {
        let clients = self.clients.iter().map(|c| c.wake);
        let tunnels = self.tunnels.iter().map(|t| t.wake);
        let servers = self.servers.values().map(|s| s.wake);
        let swap = self.plan.swaps.first().map(|at| self.epoch.after(*at).max(self.stage.now.after(STALL)));
        let settled = self.settled_at().filter(|at| *at > self.stage.now);
        let drain = self.plan.drain.filter(|_| !self.stage.model.draining).map(|at| self.epoch.after(at));
        clients.chain(tunnels).chain(servers).chain(swap).chain(drain).chain(settled).min().unwrap_or(Time::NEVER)
    }

    fn everybody_is_done(&self) -> bool {
        self.clients.iter().all(|c| c.done) && self.tunnels.iter().all(|t| t.done)
    }

    /// When connections to removed endpoints must be gone; `None` while a configuration is not everywhere.
    fn settled_at(&self) -> Option<Time> {
        let versions = &self.stage.model.versions;
        versions.last().and_then(|(_, since)| *since).map(|since| since.after(SETTLE))
    }

    /// No pooled connection outlives its endpoint.
    fn check_pools(&self) -> Result<(), String> {
        let versions = &self.stage.model.versions;
        let (current, _) = &versions[versions.len() - 1];
        match self.servers.values().find(|server| server.is_idle_at(|address| !current.has(address))) {
            Some(server) => Err(format!("a pooled connection outlives its endpoint ({:?})", server.peer)),
            None => Ok(()),
        }
    }

    fn housekeeping(&mut self) -> Result<(), String> {
        let now = self.stage.now;
        let alive = self.stage.model.versions.len() * self.workers.len() - self.house.retired;
        if self.plan.swaps.first().is_some_and(|at| self.epoch.after(*at) <= now)
            && alive <= (SNAPSHOTS_ALIVE_MAX - 1) * self.workers.len()
        {
            self.plan.swaps.remove(0);
            let versions = &mut self.stage.model.versions;
            let next = versions[versions.len() - 1].0.next(&mut self.stage.dice);
            self.house.current = next.build(versions.len() as u64 + 1, Some(&self.house.current));
            versions.push((next, None));
            let number = versions.len();
            self.house.post_all(|active| ToWorker::Swap(active.clone()));
            self.stage.trace.note(now, "house", 0, "posts a configuration", 0, number as u64);
        }
        let done = self.everybody_is_done();
        let due = self.plan.drain.is_some_and(|at| self.epoch.after(at) <= now);
        let settled = done && self.plan.swaps.is_empty() && self.settled_at().is_some_and(|at| at <= now);
        if !self.stage.model.draining && (settled || due) {
            if settled {
                self.check_pools()?;
                self.stage.world.set_faults(Faults::none());
            }
            self.plan.swaps.clear();
            self.stage.model.draining = true;
            self.house.drain_from = now;
            self.house.post_all(|_| ToWorker::Drain { within: DRAIN_WITHIN });
            self.stage.trace.note(now, "house", 0, "drains", 0, 0);
        }
        Ok(())
    }

    fn collect(&mut self) {
        let now = self.stage.now;
        for worker in 0..self.workers.len() {
            while let Some(message) = self.house.from[worker].recv() {
                match message {
                    FromWorker::Retired(_) => self.house.retired += 1,
                    FromWorker::Swapped => self.house.swapped[worker] += 1,
                    FromWorker::Log(record) => {
                        self.house.logged += 1;
                        let _ = self.house.to[worker].send(ToWorker::Recycle(record));
                    }
                    FromWorker::Drained => {
                        self.house.drained += 1;
                        self.house.gave_up |= now >= self.house.drain_from.after(DRAIN_WITHIN + DRAIN_EXTRA);
                    }
                    FromWorker::Ask(_) | FromWorker::AcceptPaused { .. } | FromWorker::Signal(_) => {}
                }
            }
        }
        let everywhere = self.house.swapped.iter().copied().min().unwrap_or(0);
        for (_, from) in &mut self.stage.model.versions[..everywhere] {
            from.get_or_insert(now);
        }
    }

    fn accept(&mut self) {
        let connects: u64 = self.stats.iter().map(|s| s.upstream_connects.load(Relaxed)).sum();
        if connects as usize == self.accepted {
            return;
        }
        for address in listening() {
            while let Some(peer) = self.stage.world.peer_accept(address) {
                let pace = match self.stage.dice.below(4) {
                    0 => Pace { bytes: 1024, gap: self.stage.dice.span(Duration::from_millis(2)) },
                    _ => Pace { bytes: usize::MAX, gap: Duration::ZERO },
                };
                self.accepted += 1;
                self.stage.trace.note(self.stage.now, "server", self.accepted, "accepts", 0, 0);
                self.servers.insert(peer, Server::new(self.accepted, peer, address, pace));
            }
        }
    }

    fn act(&mut self) -> Result<(), String> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.clear();
        self.stage.world.peers_touched(&mut touched);
        let now = self.stage.now;
        let is_due = |peer: Option<PeerId>, wake: Time| wake <= now || peer.is_some_and(|p| touched.contains(&p));
        for client in &mut self.clients {
            if is_due(client.peer(), client.wake) {
                client.act(&mut self.stage)?;
            }
        }
        for tunnel in &mut self.tunnels {
            if is_due(tunnel.peer(), tunnel.wake) {
                tunnel.act(&mut self.stage)?;
            }
        }
        let mut over = Vec::new();
        for (peer, server) in &mut self.servers {
            if is_due(Some(*peer), server.wake) {
                server.act(&mut self.stage)?;
                if server.done {
                    over.push(*peer);
                }
            }
        }
        for peer in over {
            self.servers.remove(&peer);
        }
        self.touched = touched;
        Ok(())
    }

    /// Everything must be given back, and every count must add up.
    fn finish(mut self) -> Result<Report, String> {
        // Before any time passes, which could close what leaked.
        (0..self.workers.len()).for_each(|i| self.settle(i));
        self.collect();
        if !self.house.gave_up {
            self.check_leaks()?;
        }
        // Connects into the void end late, and what a drain left open.
        for _ in 0..LATE_STEPS_MAX {
            if self.everybody_is_done() && self.workers.iter().all(|worker| worker.holdings().downs == 0) {
                break;
            }
            self.step()?;
        }
        self.stage.model.settled()?;
        self.check_counts()?;
        let stat = |pick: fn(&WorkerStats) -> &std::sync::atomic::AtomicU64| -> u64 {
            self.stats.iter().map(|s| pick(s).load(Relaxed)).sum()
        };
        Ok(Report {
            hash: self.stage.trace.hash(),
            events: self.stage.trace.events,
            answered: self.stage.model.answered(),
            requests: self.plan.requests.len(),
            tunnels: self.tunnels.iter().filter(|t| t.whole).count(),
            swaps: self.stage.model.versions.len() - 1,
            replays: stat(|s| &s.replays),
        })
    }

    fn check_leaks(&mut self) -> Result<(), String> {
        for (i, worker) in self.workers.iter_mut().enumerate() {
            let held = worker.holdings();
            if held != Holdings::default() {
                return Err(format!("worker {i} still holds {held:?}"));
            }
            let buffers = worker.io().buffers();
            if buffers.small_free != buffers.small || buffers.bulk_free != buffers.bulk {
                return Err(format!("worker {i} has not given back its buffers: {buffers:?}"));
            }
        }
        if self.stage.world.open_sockets() != 0 {
            return Err(format!("{} sockets are open", self.stage.world.open_sockets()));
        }
        let retired = (self.stage.model.versions.len() - 1) * self.workers.len();
        if self.house.retired != retired {
            return Err(format!("{} of {retired} configurations were retired", self.house.retired));
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), String> {
        let stats = &self.stats;
        let requests: u64 = stats.iter().map(|s| s.requests.load(Relaxed)).sum();
        let series = || self.series.iter().flat_map(|table| table.iter());
        let counted: u64 = series().map(|(_, s)| s.requests.load(Relaxed)).sum();
        if requests != counted {
            return Err(format!("{requests} requests ended and {counted} are in the series"));
        }
        let opened: u64 = series().map(|(_, s)| s.tcp_opened.load(Relaxed)).sum();
        let closed: u64 = series().map(|(_, s)| s.tcp_closed.load(Relaxed)).sum();
        if opened != closed {
            return Err(format!("{opened} TCP connections began and {closed} ended"));
        }
        let answered = self.stage.model.answered() as u64;
        let strict = !self.plan.profile.is_hostile() && self.plan.drain.is_none();
        if answered > requests || strict && answered != requests {
            return Err(format!("clients have {answered} answers, the proxy counted {requests} requests"));
        }
        let refused = stats.iter().map(|s| s.log_records_dropped.load(Relaxed)).sum::<u64>();
        let logs = if self.stage.model.versions[0].0.log { requests + closed } else { 0 };
        if self.house.logged + refused < logs || strict && self.house.logged != logs {
            return Err(format!("{} log records of {logs}", self.house.logged));
        }
        Ok(())
    }
}

/// Time after which housekeeping looks again whether it may post a configuration.
const STALL: Duration = Duration::from_micros(500);

impl House {
    fn post_all(&mut self, message: impl Fn(&Arc<Active>) -> ToWorker) {
        for to in &mut self.to {
            assert!(to.send(message(&self.current)).is_ok(), "room in a mailbox");
        }
    }
}

type Parts = (Vec<Worker<Sim>>, House, Arc<[WorkerStats]>, Vec<Arc<SeriesTable>>);

/// Workers wired to housekeeping and to each other.
fn workers(world: &World, count: usize, current: Arc<Active>) -> Parts {
    let limits =
        Limits { sockets_max: 512, small_buffers: 64, bulk_buffers: 8, spill_bytes_max: 8 << 20, ..Limits::default() };
    let sims: Vec<Sim> = (0..count).map(|_| world.sim(limits)).collect();
    let stats: Arc<[WorkerStats]> = (0..count).map(|_| WorkerStats::default()).collect();
    let series: Vec<Arc<SeriesTable>> = (0..count).map(|_| Arc::default()).collect();
    let mut inboxes: Vec<Vec<Receiver<ToWorker>>> = (0..count).map(|_| Vec::new()).collect();
    let mut others: Vec<Vec<(usize, Sender<ToWorker>)>> = (0..count).map(|_| Vec::new()).collect();
    let mut house = House {
        to: Vec::new(),
        from: Vec::new(),
        current,
        swapped: vec![0; count],
        retired: 0,
        drained: 0,
        drain_from: Time(0),
        gave_up: false,
        logged: 0,
    };
    let mut ours = Vec::new();
    for (inboxes, sim) in inboxes.iter_mut().zip(&sims) {
        let (mut to, inbox) = mailbox::channel(256);
        to.set_waker(sim.waker());
        let (from_worker, from) = mailbox::channel(4096);
        inboxes.push(inbox);
        house.to.push(to);
        house.from.push(from);
        ours.push(from_worker);
    }
    for (from, others) in others.iter_mut().enumerate() {
        for to in (0..count).filter(|to| *to != from) {
            let (mut sender, receiver) = mailbox::channel(64);
            sender.set_waker(sims[to].waker());
            others.push((to, sender));
            inboxes[to].push(receiver);
        }
    }
    let worker_limits =
        WorkerLimits { downstream_max: 256, upstream_max: 256, records_max: 4096, ..WorkerLimits::default() };
    let mut workers = Vec::new();
    for (id, (((sim, inboxes), others), house)) in sims.into_iter().zip(inboxes).zip(others).zip(ours).enumerate() {
        let wiring =
            Wiring { id, inboxes, house, others, stats: stats.clone(), series: series[id].clone(), wall_offset_us: 0 };
        workers.push(Worker::new(sim, wiring, worker_limits));
    }
    (workers, house, stats, series)
}
