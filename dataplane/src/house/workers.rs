//! Starts the workers and keeps the mailboxes to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_engine::choose;
use ringway_engine::io::{Backend, Io, Limits, Wake, Waker};
use ringway_engine::mailbox::{self, Receiver, Sender};
use ringway_engine::{Epoll, Uring};

use super::options::Options;
use super::say;
use crate::messages::{FromWorker, ToWorker};
use crate::telemetry::series::SeriesTable;
use crate::worker::{Wiring, Worker, WorkerLimits, WorkerStats};

/// Messages waiting for a worker. What does not fit waits here, in order, and is posted at the next look.
const TO_WORKER_MAX: usize = 4096;
/// Messages waiting for housekeeping, per worker.
const FROM_WORKER_MAX: usize = 8192;
/// Connections in hand-over between two workers.
const HAND_OVER_MAX: usize = 1024;

struct Handle {
    to: Sender<ToWorker>,
    backlog: VecDeque<ToWorker>,
    from: Receiver<FromWorker>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// All workers of the process.
pub struct Workers {
    handles: Vec<Handle>,
    /// What each publishes about itself.
    pub stats: Arc<[WorkerStats]>,
    /// Metric cells of each.
    pub series: Vec<Arc<SeriesTable>>,
    /// The I/O driver in use.
    pub backend: Backend,
    /// The errno with which io_uring was refused; empty when it was not.
    pub backend_reason: &'static str,
    /// A worker ended although nobody told it to, or housekeeping cannot go on.
    pub lost: bool,
}

/// Wakes housekeeping from a worker.
struct HouseWaker(Arc<tokio::sync::Notify>);

impl Wake for HouseWaker {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// What a worker's thread tells once its driver is open.
struct Opened {
    waker: Waker,
    now_ns: u64,
}

impl Workers {
    /// Opens a driver on each thread, wires the mailboxes, and lets them run.
    pub fn start(options: &Options, notify: &Arc<tokio::sync::Notify>) -> Result<Workers, String> {
        let count = options.workers;
        let (_, files_max) = ringway_engine::net::raise_nofile();
        let (driver_limits, limits) = sizes(files_max, count);
        print_budget(&driver_limits, &limits, count);
        let stats: Arc<[WorkerStats]> = (0..count).map(|_| WorkerStats::default()).collect();
        let series: Vec<Arc<SeriesTable>> = (0..count).map(|_| Arc::default()).collect();
        let chosen = choose::probe(options.driver, driver_limits).map_err(|e| format!("io: {e}"))?;
        match chosen.refused {
            Some(refused) => say(&format!("io: epoll, because io_uring is refused: {refused}")),
            None => say(&format!("io: {}", chosen.backend.name())),
        }
        let mut starting = Vec::new();
        for id in 0..count {
            let (opened_tx, opened_rx) = mpsc::channel();
            let (wiring_tx, wiring_rx) = mpsc::channel();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || worker_thread(chosen.backend, driver_limits, limits, &opened_tx, &wiring_rx))
                .map_err(|e| format!("cannot start worker {id}: {e}"))?;
            let opened = opened_rx.recv().map_err(|_| format!("worker {id} ended at start"))?;
            starting.push((thread, opened.map_err(|e| format!("worker {id}: {e}"))?, wiring_tx));
        }
        let handles = wire(starting, notify, &stats, &series)?;
        Ok(Workers { handles, stats, series, backend: chosen.backend, backend_reason: chosen.reason(), lost: false })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Posts to one worker; order is kept.
    pub fn post(&mut self, worker: usize, message: ToWorker) {
        self.handles[worker].backlog.push_back(message);
        self.push(worker);
    }

    /// Posts to every worker.
    pub fn post_all(&mut self, message: impl Fn() -> ToWorker) {
        for worker in 0..self.handles.len() {
            self.post(worker, message());
        }
    }

    /// Whether a message waits for room in a worker's mailbox.
    pub fn have_backlog(&self) -> bool {
        self.handles.iter().any(|handle| !handle.backlog.is_empty())
    }

    fn push(&mut self, worker: usize) {
        let handle = &mut self.handles[worker];
        while let Some(message) = handle.backlog.pop_front() {
            if let Err(message) = handle.to.send(message) {
                handle.backlog.push_front(message);
                return;
            }
        }
    }

    /// The next message of a worker.
    pub fn recv(&mut self, worker: usize) -> Option<FromWorker> {
        self.push(worker);
        let handle = &mut self.handles[worker];
        if handle.thread.as_ref().is_some_and(|t| t.is_finished()) {
            self.lost = true;
        }
        handle.from.recv()
    }

    /// Ends all workers and waits for them.
    pub fn stop(&mut self) {
        self.post_all(|| ToWorker::Exit);
        for handle in &mut self.handles {
            if let Some(thread) = handle.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

fn wire(
    starting: Vec<(std::thread::JoinHandle<()>, Opened, mpsc::Sender<Wiring>)>,
    notify: &Arc<tokio::sync::Notify>,
    stats: &Arc<[WorkerStats]>,
    series: &[Arc<SeriesTable>],
) -> Result<Vec<Handle>, String> {
    let count = starting.len();
    let mut inboxes: Vec<Vec<Receiver<ToWorker>>> = (0..count).map(|_| Vec::new()).collect();
    let mut others: Vec<Vec<(usize, Sender<ToWorker>)>> = (0..count).map(|_| Vec::new()).collect();
    let mut handles = Vec::new();
    let mut houses = Vec::new();
    for (id, (_, opened, _)) in starting.iter().enumerate() {
        let (mut to, inbox) = mailbox::channel(TO_WORKER_MAX);
        to.set_waker(opened.waker.clone());
        let (mut house, from) = mailbox::channel(FROM_WORKER_MAX);
        house.set_waker(Arc::new(HouseWaker(notify.clone())));
        inboxes[id].push(inbox);
        houses.push(house);
        handles.push(Handle { to, backlog: VecDeque::new(), from, thread: None });
    }
    for (from, others) in others.iter_mut().enumerate() {
        for to in (0..count).filter(|to| *to != from) {
            let (mut sender, receiver) = mailbox::channel(HAND_OVER_MAX);
            sender.set_waker(starting[to].1.waker.clone());
            others.push((to, sender));
            inboxes[to].push(receiver);
        }
    }
    let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as u64;
    let parts = starting.into_iter().zip(inboxes).zip(others).zip(houses).enumerate();
    for (id, ((((thread, opened, wiring_tx), inboxes), others), house)) in parts {
        let wall_offset_us = wall_us.saturating_sub(opened.now_ns / 1000);
        let wiring =
            Wiring { id, inboxes, house, others, stats: stats.clone(), series: series[id].clone(), wall_offset_us };
        wiring_tx.send(wiring).map_err(|_| format!("worker {id} ended at start"))?;
        handles[id].thread = Some(thread);
    }
    Ok(handles)
}

fn worker_thread(
    backend: Backend,
    driver_limits: Limits,
    limits: WorkerLimits,
    opened: &mpsc::Sender<Result<Opened, String>>,
    wiring: &mpsc::Receiver<Wiring>,
) {
    // The ring belongs to the thread that opens it, so each worker opens its own.
    match backend {
        Backend::Uring => match Uring::open(driver_limits) {
            Ok(io) => serve(io, limits, opened, wiring),
            Err(error) => drop(opened.send(Err(error.to_string()))),
        },
        _ => match Epoll::open(driver_limits) {
            Ok(io) => serve(io, limits, opened, wiring),
            Err(error) => drop(opened.send(Err(format!("epoll: {error}")))),
        },
    }
}

fn serve<I: Io>(
    mut io: I,
    limits: WorkerLimits,
    opened: &mpsc::Sender<Result<Opened, String>>,
    wiring: &mpsc::Receiver<Wiring>,
) {
    let now_ns = io.clock().0;
    let told = opened.send(Ok(Opened { waker: io.waker(), now_ns }));
    if let (Ok(()), Ok(wiring)) = (told, wiring.recv()) {
        Worker::new(io, wiring, limits).run();
    }
}

/// Tables sized by what the process may open: at most half of its descriptors for connections of each kind.
fn sizes(files_max: u64, workers: usize) -> (Limits, WorkerLimits) {
    let sockets = (files_max.saturating_sub(64) / workers as u64).clamp(256, 65_536) as u32;
    let driver = Limits { sockets_max: sockets, ..Limits::default() };
    let worker = WorkerLimits { downstream_max: sockets / 2, upstream_max: sockets / 2, ..WorkerLimits::default() };
    (driver, worker)
}

/// The sum of everything that is bounded in bytes, so that an operator can set a memory limit.
fn print_budget(driver: &Limits, limits: &WorkerLimits, workers: usize) {
    let small = usize::from(driver.small_buffers) * 4096;
    let bulk = usize::from(driver.bulk_buffers) * (128 << 10);
    let sockets = driver.sockets_max as usize * 1024;
    let bytes = driver.spill_bytes_max + limits.held_bytes_max + limits.replay_bytes_max;
    let total = (small + bulk + sockets + bytes) * workers;
    say(&format!(
        "memory budget: {} MiB at most = {workers} worker(s) × (buffers {} MiB + slow readers {} MiB + unconsumed input {} MiB + requests kept to be tried again {} MiB + {} connections × 1 KiB); config and labels beside it",
        total >> 20,
        (small + bulk) >> 20,
        driver.spill_bytes_max >> 20,
        limits.held_bytes_max >> 20,
        limits.replay_bytes_max >> 20,
        driver.sockets_max,
    ));
}
