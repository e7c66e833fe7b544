//! Housekeeping: the one thread that touches files, the control shim, the admin port and the access log. It compiles configurations and posts them
//! to the workers; nothing here is on the path of a request.

pub mod access_log;
pub mod admin;
pub(crate) mod dns;
pub mod options;
mod outliers;
pub mod prometheus;
mod shim;
mod state_dir;
mod workers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ringway_config::message::Message;
use ringway_config::model::RuleId;
use ringway_config::{Order, Snapshot};
use ringway_engine::net;
use ringway_policy::View;
use ringway_policy::outlier::{Detector, Verdict};

use crate::active::{Active, SNAPSHOTS_ALIVE_MAX};
use crate::messages::{FromWorker, ToWorker};
use options::Options;
use shim::{Shim, ShimEvent};
use workers::Workers;

/// Authorities asked for and not yet answered.
const ASKED_MAX: usize = 1024;
/// How long a new configuration waits for names that it is the first to have: less than a request waits for it.
const NAMES_WAIT_MAX: Duration = Duration::from_secs(1);
/// Answers "no such host" remembered.
const ABSENT_MAX: usize = 4096;
/// Until housekeeping looks at everything again: while something waits, and otherwise.
const LOOK_OFTEN: Duration = Duration::from_millis(250);
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// After lines for the access log, more of them are let come together: a wake-up of ours, one of the worker and a write for each would cost as much as
/// the request.
const LOG_GATHER: Duration = Duration::from_millis(10);

/// A listener that was bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Our id for it.
    pub id: u32,
    /// Its name in the config.
    pub name: String,
    /// The address asked for; its port may be 0.
    pub wanted: std::net::SocketAddr,
    /// The address bound.
    pub address: std::net::SocketAddr,
}

/// What the process is doing, as `/ready` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No config yet.
    Starting,
    /// Config applied by all workers, listeners bound.
    Live,
    /// Finishing.
    Draining,
}

/// Housekeeping's state.
pub struct House {
    options: Options,
    workers: Workers,
    started: Instant,
    phase: Phase,
    failing: bool,
    current: Option<Arc<Active>>,
    snapshot: Option<Snapshot>,
    /// Waits until fewer snapshots are alive; only the newest is kept.
    pending: Option<Snapshot>,
    /// Waits for the addresses of names that were never asked for, at most until then; only the newest is kept.
    unresolved: Option<(Snapshot, Instant)>,
    names: dns::Names,
    /// Names have other addresses than those in force.
    stale: bool,
    alive: Vec<Weak<Active>>,
    bound: Vec<Bound>,
    next_listener: u32,
    /// The order posted last, and how many workers run it.
    posted: Option<(Order, usize)>,
    assembler: ringway_config::Assembler,
    asked: HashMap<Box<[u8]>, ()>,
    absent: HashMap<Box<[u8]>, Instant>,
    shim: Option<Shim>,
    log: access_log::Writer,
    drained: usize,
    detector: Detector,
    /// Of the detector, on their way to the workers.
    verdicts: Vec<Verdict>,
    snapshots_applied: u64,
    snapshots_refused: u64,
    saved: Option<Order>,
    acked: Option<Order>,
}

/// Runs the proxy until it has drained or a worker is lost. The exit code is returned.
pub fn run(options: Options) -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start housekeeping: {error}"));
            return 1;
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, main_loop(options))
}

/// One line to the operator.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

async fn main_loop(options: Options) -> i32 {
    let notify = Arc::new(tokio::sync::Notify::new());
    let workers = match Workers::start(&options, &notify) {
        Ok(workers) => workers,
        Err(error) => {
            say(&format!("error: {error}"));
            return 1;
        }
    };
    let (shim, mut events) = Shim::start(&options);
    let house = Rc::new(RefCell::new(House::new(options, workers, shim)));
    if let Err(error) = admin::start(&house).await {
        say(&format!("error: {error}"));
        return 1;
    }
    let mut stop = Stop::new(&house);
    let outcomes = house.borrow_mut().names.outcomes();
    let Some(mut outcomes) = outcomes else { return 1 };
    house.borrow_mut().load_at_start();
    let mut read_from = Instant::now();
    loop {
        let outliers_due = house.borrow().outliers_due();
        let look = house.borrow().look_again_in();
        tokio::select! {
            () = mail(&notify, read_from) => {}
            Some(event) = events.recv() => house.borrow_mut().on_shim(event),
            Some(outcome) = outcomes.recv() => house.borrow_mut().names.take(outcome),
            within = stop.asked() => house.borrow_mut().drain(within),
            () = tokio::time::sleep(look) => {}
            () = at(outliers_due) => house.borrow_mut().sweep_outliers(),
        }
        let mut house = house.borrow_mut();
        if house.read_mail() {
            read_from = Instant::now() + LOG_GATHER;
        }
        house.apply_pending();
        house.apply_names();
        if let Some(code) = house.exit_code() {
            house.workers.stop();
            house.log.flush();
            return code;
        }
    }
}

/// Mail of workers, once it is time to read it.
async fn mail(notify: &tokio::sync::Notify, from: Instant) {
    tokio::time::sleep_until(from.into()).await;
    notify.notified().await;
}

/// At this time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Everything that asks the process to end.
struct Stop {
    terminate: Option<tokio::signal::unix::Signal>,
    interrupt: Option<tokio::signal::unix::Signal>,
    stdin_closed: tokio::sync::mpsc::Receiver<()>,
    watch_stdin: bool,
    drain: Duration,
}

impl Stop {
    fn new(house: &Rc<RefCell<House>>) -> Stop {
        use tokio::signal::unix::{SignalKind, signal};
        let (tx, stdin_closed) = tokio::sync::mpsc::channel(1);
        let options = &house.borrow().options;
        if options.exit_with_stdin {
            // A blocked read of stdin belongs on a thread of its own.
            std::thread::spawn(move || {
                let mut sink = [0u8; 256];
                while std::io::Read::read(&mut std::io::stdin(), &mut sink).is_ok_and(|n| n > 0) {}
                let _ = tx.blocking_send(());
            });
        }
        Stop {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
            stdin_closed,
            watch_stdin: options.exit_with_stdin,
            drain: options.drain_time,
        }
    }

    /// Waits for a reason to stop; tells how long the drain may take.
    async fn asked(&mut self) -> Duration {
        async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = next(&mut self.terminate) => self.drain,
            () = next(&mut self.interrupt) => self.drain,
            // The parent is gone: nobody is left to serve for.
            _ = self.stdin_closed.recv(), if self.watch_stdin => { self.watch_stdin = false; Duration::ZERO }
        }
    }
}

impl House {
    fn new(options: Options, workers: Workers, shim: Option<Shim>) -> House {
        House {
            workers,
            started: Instant::now(),
            phase: Phase::Starting,
            failing: false,
            current: None,
            snapshot: None,
            pending: None,
            unresolved: None,
            names: dns::Names::new(options.dns.clone()),
            stale: false,
            acked: None,
            alive: Vec::new(),
            bound: Vec::new(),
            next_listener: 0,
            posted: None,
            assembler: ringway_config::Assembler::new(None),
            asked: HashMap::new(),
            absent: HashMap::new(),
            shim,
            log: access_log::Writer::default(),
            drained: 0,
            detector: Detector::new(),
            verdicts: Vec::new(),
            snapshots_applied: 0,
            snapshots_refused: 0,
            saved: None,
            options,
        }
    }

    /// How long nothing may have to happen before everything is looked at again: what waits is looked at often. An idle proxy sleeps.
    fn look_again_in(&self) -> Duration {
        let waits = self.pending.is_some() || self.unresolved.is_some() || self.posted.is_some();
        if waits || self.workers.have_backlog() || !self.names.is_empty() { LOOK_OFTEN } else { LOOK_SELDOM }
    }

    /// The snapshot file given as config, or the last good one of an earlier life.
    fn load_at_start(&mut self) {
        match (&self.options.config, &self.options.state_dir) {
            (options::ConfigFrom::File(path), _) => self.load(path.clone(), true),
            (options::ConfigFrom::Unix(_), Some(dir)) if state_dir::file(dir).exists() => {
                self.load(state_dir::file(dir), false)
            }
            (options::ConfigFrom::Unix(_), _) => {}
        }
        if let Some(shim) = &mut self.shim {
            shim.connect_from(self.assembler.current());
        }
    }

    /// Loads a snapshot file; one that `must` be good and is not ends the process.
    fn load(&mut self, path: std::path::PathBuf, must: bool) {
        match Snapshot::read_file(&path) {
            Ok(snapshot) => {
                say(&format!("config: {} from {}", order_text(snapshot.order()), path.display()));
                self.assembler = ringway_config::Assembler::new(Some(snapshot.clone()));
                if let Err((reason, _)) = self.apply(snapshot)
                    && must
                {
                    self.fatal(&reason);
                }
            }
            Err(error) if must => self.fatal(&format!("{}: {error}", path.display())),
            Err(error) => say(&format!("warning: the last good config in {} cannot be used: {error}", path.display())),
        }
    }

    fn fatal(&mut self, reason: &str) {
        say(&format!("error: {reason}"));
        self.workers.lost = true;
    }

    fn on_shim(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Connected => {
                let names: Vec<String> = self.asked.keys().filter_map(|n| String::from_utf8(n.to_vec()).ok()).collect();
                self.want(names);
            }
            ShimEvent::Message(Message::Blob { bytes }) => {
                if let Err(error) = self.assembler.blob(bytes) {
                    self.nack(Order::default(), &error.to_string(), RuleId(0));
                }
            }
            ShimEvent::Message(Message::Root { delta, order }) => match self.assembler.root(delta, order) {
                Ok(snapshot) => self.receive(snapshot),
                Err(error) => self.nack(order, &error.to_string(), RuleId(0)),
            },
            ShimEvent::Message(Message::Absent { names, lifetime_ms }) => self.on_absent(names, lifetime_ms),
            ShimEvent::Message(_) => {}
            ShimEvent::Said(line) => say(&line),
        }
    }

    fn receive(&mut self, snapshot: Snapshot) {
        if self.alive_count() >= SNAPSHOTS_ALIVE_MAX {
            self.pending = Some(snapshot);
            return;
        }
        let known: Vec<&Snapshot> = [&snapshot].into_iter().chain(&self.snapshot).collect();
        self.names.keep(&known);
        if !self.names.know(&snapshot) {
            self.unresolved = Some((snapshot, Instant::now() + NAMES_WAIT_MAX));
            return;
        }
        self.unresolved = None;
        self.apply_or_refuse(snapshot);
    }

    fn apply_or_refuse(&mut self, snapshot: Snapshot) {
        let order = snapshot.order();
        if let Err((reason, rule)) = self.apply(snapshot) {
            // The next delta will be against what is in force, not against what was refused.
            self.assembler = ringway_config::Assembler::new(self.snapshot.clone());
            self.nack(order, &reason, rule);
        }
    }

    fn apply_pending(&mut self) {
        if self.pending.is_some()
            && self.alive_count() < SNAPSHOTS_ALIVE_MAX
            && let Some(snapshot) = self.pending.take()
        {
            self.receive(snapshot);
        }
    }

    /// Applies what waited for names, and the snapshot in force again when names have other addresses.
    fn apply_names(&mut self) {
        let now = Instant::now();
        self.names.ask(now);
        self.stale |= self.names.changed();
        if self.alive_count() >= SNAPSHOTS_ALIVE_MAX {
            return;
        }
        if let Some((snapshot, until)) = self.unresolved.take() {
            match self.names.know(&snapshot) || now >= until {
                true => self.apply_or_refuse(snapshot),
                false => self.unresolved = Some((snapshot, until)),
            }
        } else if std::mem::take(&mut self.stale)
            && self.pending.is_none()
            && let Some(snapshot) = self.snapshot.clone()
            && let Err((reason, _)) = self.apply(snapshot)
        {
            say(&format!("warning: dns: new addresses are not used: {reason}"));
        }
    }

    /// Snapshots that some worker, exchange or this thread still holds.
    pub fn alive_count(&mut self) -> usize {
        self.alive.retain(|w| w.strong_count() > 0);
        self.alive.len()
    }

    /// Compiles, binds what is new, and posts to every worker. On an error nothing has changed.
    fn apply(&mut self, snapshot: Snapshot) -> Result<(), (String, RuleId)> {
        let order = snapshot.order();
        let previous = self.current.as_deref().map(|a| &a.view);
        let resolved = self.names.resolved(&snapshot).map_err(|e| (e, RuleId(0)))?;
        let view = View::build(&resolved, previous).map_err(|e| (e.to_string(), e.rule))?;
        let (ids, fresh) = self.bind(&view)?;
        let gone: Vec<u32> = self.bound.iter().map(|b| b.id).filter(|id| !ids.contains(id)).collect();
        let active = Active::new(view, ids, self.current.as_deref());
        self.alive.push(Arc::downgrade(&active));
        self.workers.post_all(|| ToWorker::Swap(active.clone()));
        for (bound, socket) in fresh {
            self.workers.post(0, ToWorker::Listen { id: bound.id, socket });
            self.bound.push(bound);
        }
        for id in gone {
            self.workers.post_all(|| ToWorker::Unlisten { id });
            self.bound.retain(|b| b.id != id);
        }
        self.current = Some(active);
        self.names.keep(&[&snapshot]);
        self.snapshot = Some(snapshot);
        self.stale = false;
        self.watch_outliers();
        self.posted = Some((order, 0));
        self.asked.clear();
        self.absent.clear();
        self.snapshots_applied += 1;
        Ok(())
    }

    /// Ids of the view's listeners, and sockets for those that were not bound before.
    #[allow(clippy::type_complexity)]
    fn bind(
        &mut self,
        view: &View,
    ) -> Result<(Vec<u32>, Vec<(Bound, ringway_engine::ListenSocket)>), (String, RuleId)> {
        let (mut ids, mut fresh) = (Vec::new(), Vec::new());
        for listener in view.listeners() {
            let known = self.bound.iter().find(|b| *b.name == *listener.name && b.wanted == listener.address);
            if let Some(bound) = known {
                ids.push(bound.id);
                continue;
            }
            let mend = "free the address, or change the port in the manifest named by the rule";
            let fail = |e: std::io::Error| {
                (
                    format!("listener {} cannot listen on {}: {e}; {mend}", listener.name, listener.address),
                    listener.rule,
                )
            };
            let socket = net::listen(listener.address).map_err(fail)?;
            let address = socket.local_addr().map_err(fail)?;
            let id = self.next_listener;
            self.next_listener += 1;
            ids.push(id);
            fresh.push((Bound { id, name: listener.name.to_string(), wanted: listener.address, address }, socket));
        }
        Ok((ids, fresh))
    }

    fn nack(&mut self, order: Order, reason: &str, rule: RuleId) {
        self.snapshots_refused += 1;
        say(&format!("config refused: {} : {reason}", order_text(order)));
        if let Some(shim) = &mut self.shim {
            shim.send(Message::Nack { order, reason: reason.to_owned(), rule });
        }
    }

    /// True when there were lines for the access log.
    fn read_mail(&mut self) -> bool {
        for worker in 0..self.workers.len() {
            while let Some(message) = self.workers.recv(worker) {
                self.on_worker(worker, message);
            }
        }
        self.log.flush()
    }

    fn on_worker(&mut self, worker: usize, message: FromWorker) {
        match message {
            FromWorker::Retired(active) => drop(active),
            FromWorker::Swapped => self.on_swapped(),
            FromWorker::Ask(name) => self.on_ask(worker, &name),
            FromWorker::Log(record) => {
                if let Some(active) = &self.current {
                    self.log.line(active.view.policy(), &record);
                }
                self.workers.post(worker, ToWorker::Recycle(record));
            }
            FromWorker::AcceptPaused { listener, errno } => {
                let name = self.bound.iter().find(|b| b.id == listener).map_or("?", |b| b.name.as_str());
                let why = std::io::Error::from_raw_os_error(errno);
                say(&format!("warning: accepting on {name} is paused: {why}; it resumes by itself"));
            }
            FromWorker::Drained => self.drained += 1,
            FromWorker::Signal(seen) => self.on_signal(&seen.cluster, seen.address, seen.signal),
        }
    }

    fn on_swapped(&mut self) {
        let Some((order, done)) = &mut self.posted else { return };
        *done += 1;
        if *done < self.workers.len() {
            return;
        }
        let order = *order;
        self.posted = None;
        if self.phase == Phase::Starting {
            self.phase = Phase::Live;
        }
        if let Some(shim) = &mut self.shim {
            shim.connect_from(self.assembler.current());
            // New addresses of names are no news to the shim.
            if self.acked.replace(order) != Some(order) {
                shim.send(Message::Ack { order });
            }
        }
        if let (Some(dir), Some(snapshot)) = (&self.options.state_dir, &self.snapshot)
            && self.saved != Some(order)
            && self.shim.is_some()
        {
            state_dir::save(dir.clone(), snapshot.clone());
            self.saved = Some(order);
        }
    }

    fn on_ask(&mut self, worker: usize, name: &[u8]) {
        let name: Box<[u8]> = name.to_ascii_lowercase().into();
        let now = Instant::now();
        let known_absent = self.absent.get(&name).is_some_and(|until| *until > now);
        let text = String::from_utf8(name.to_vec()).ok();
        let Some(text) = text.filter(|_| self.shim.is_some() && !known_absent) else {
            self.workers.post(worker, ToWorker::Absent(vec![name]));
            return;
        };
        if self.asked.len() < ASKED_MAX && self.asked.insert(name, ()).is_none() {
            self.want(vec![text]);
        }
    }

    fn want(&mut self, names: Vec<String>) {
        if let (false, Some(shim)) = (names.is_empty(), &mut self.shim) {
            for chunk in names.chunks(128) {
                shim.send(Message::Want { names: chunk.to_vec() });
            }
        }
    }

    fn on_absent(&mut self, names: Vec<String>, lifetime_ms: u32) {
        let until = Instant::now() + Duration::from_millis(lifetime_ms.into());
        let names: Vec<Box<[u8]>> = names.into_iter().map(|n| n.into_bytes().into_boxed_slice()).collect();
        if self.absent.len() + names.len() > ABSENT_MAX {
            self.absent.clear();
        }
        for name in &names {
            self.asked.remove(name);
            self.absent.insert(name.clone(), until);
        }
        self.workers.post_all(|| ToWorker::Absent(names.clone()));
    }

    /// Starts the graceful end.
    pub fn drain(&mut self, within: Duration) {
        if self.phase == Phase::Draining {
            return;
        }
        say(&format!("draining for at most {} s", within.as_secs_f32()));
        self.phase = Phase::Draining;
        self.workers.post_all(|| ToWorker::Drain { within });
    }

    fn exit_code(&self) -> Option<i32> {
        if self.workers.lost {
            return Some(1);
        }
        (self.drained >= self.workers.len()).then_some(0)
    }
}

/// An order in words.
pub fn order_text(order: Order) -> String {
    format!("order {}.{}", order.incarnation, order.sequence)
}
