//! Starts the workers, merges what they tell, and says how trustworthy the outcome is.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ringway_engine::choose;
use ringway_engine::io::{Backend, Limits};
use ringway_engine::{Epoll, Io, Time, Uring};

use crate::plan::{Load, Plan, Speech};
use crate::protocol::Protocol;
use crate::protocol::bulk::{BulkReceive, BulkSend};
use crate::protocol::http1::Http1;
use crate::protocol::tcp::TcpEcho;
use crate::protocol::tls::Tls;
use crate::protocol::websocket::WebSocketEcho;
use crate::report::json::SecondOfRun;
use crate::tally::{Interval, Tally};
use crate::worker::{Clock, Outcome, Seat, Share, Worker};

/// From the start of the threads to the first request: the connections open meanwhile.
const HEAD_START: Duration = Duration::from_millis(100);
/// Sockets of one connection: the open one, and those on their way out.
const CLOSING_AT_ONCE: usize = 4;
/// A generator whose 99.9th percentile of lateness is beyond this was late.
pub const LATENESS_MAX: Duration = Duration::from_millis(1);
/// A generator that used more of its threads than this may have been the bottleneck.
pub const OWN_CPU_MAX: f64 = 0.8;

/// What a run measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Everything that was counted.
    pub total: Tally,
    /// By second since counting began.
    pub seconds: Vec<SecondOfRun>,
    /// How long was counted; shorter than planned when the run was ended early.
    pub duration: Duration,
    /// Requests that were due and never got a connection.
    pub unsent: u64,
    /// CPU of all threads while counting, over the time they had: 1.0 is all of it.
    pub own_cpu: f64,
    /// CPU of all threads while counting.
    pub own_cpu_time: Duration,
    /// Which driver ran.
    pub backend: Backend,
}

/// One second of a run, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Second<'a> {
    /// Since counting began.
    pub second: u64,
    /// Its counts.
    pub tally: &'a Tally,
    /// The counts of all seconds so far.
    pub total: &'a Tally,
}

/// Why a run is not to be trusted.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// The generator sent late; its 99.9th percentile.
    Late(Duration),
    /// The generator used this share of its own threads.
    Busy(f64),
    /// This part of the due requests was never sent, because every connection was busy.
    Unsent(f64),
}

impl Doubt {
    /// For people.
    pub fn message(&self) -> String {
        match self {
            Doubt::Late(lateness) => format!(
                "the generator was late: 0.1 % of the requests were sent more than {} after they were due. The latencies contain that. Give it more threads or a quieter machine",
                crate::report::time(lateness.as_nanos() as u64)
            ),
            Doubt::Busy(share) => format!(
                "the generator used {:.0} % of its threads: it may have been the bottleneck. Give it more threads (--threads)",
                share * 100.0
            ),
            Doubt::Unsent(part) => format!(
                "{:.1} % of the requests that were due were never sent: every connection was busy. The target is slower than the rate, or there are too few connections (--connections)",
                part * 100.0
            ),
        }
    }
}

impl Measured {
    /// Requests per second that ended while it was counted.
    pub fn rate(&self) -> f64 {
        let seconds = self.duration.as_secs_f64();
        if seconds > 0.0 { self.total.requests as f64 / seconds } else { 0.0 }
    }

    /// Failed requests as a part of all that were due.
    pub fn error_share(&self) -> f64 {
        let due = self.total.requests + self.unsent;
        if due == 0 { 0.0 } else { self.total.failed() as f64 / due as f64 }
    }

    /// What makes the figures doubtful. A closed loop has no due times to be late for, so only its CPU speaks.
    pub fn doubts(&self, load: &Load) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let lateness = Duration::from_nanos(self.total.lateness.value_at_quantile(0.999));
        let open = !matches!(load, Load::Closed { .. });
        if open && lateness > LATENESS_MAX {
            doubts.push(Doubt::Late(lateness));
        }
        if self.own_cpu > OWN_CPU_MAX {
            doubts.push(Doubt::Busy(self.own_cpu));
        }
        if self.unsent > 0 {
            doubts.push(Doubt::Unsent(self.unsent as f64 / (self.total.requests + self.unsent) as f64));
        }
        doubts
    }
}

/// Runs a plan. `each_second` sees the counts of a second when all workers have told it; `stop` ends the run early.
pub fn run(plan: &Plan, stop: &AtomicBool, mut each_second: impl FnMut(Second)) -> Result<Measured, String> {
    // One that was closed keeps its place until the kernel is done with it, and its successor connects meanwhile.
    let lives = if plan.new_connections { CLOSING_AT_ONCE } else { 1 };
    let sockets = plan.connections.div_ceil(plan.threads).max(1) * lives + 16;
    let limits = Limits { sockets_max: u32::try_from(sockets).unwrap_or(u32::MAX), ..Limits::default() };
    let chosen = choose::probe(plan.backend, limits).map_err(|e| e.to_string())?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
    let start = now.after(HEAD_START);
    let counted_from = start.after(plan.warmup);
    let clock = Clock { start, counted_from, end: counted_from.after(plan.duration) };

    let (tell, told) = mpsc::channel();
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|index| {
                let share = Share { index, workers: plan.threads };
                let seat = Seat { plan, share, clock, stop, tell: tell.clone() };
                scope.spawn(move || work(chosen.backend, limits, seat))
            })
            .collect();
        drop(tell);
        let mut total = Tally::new(plan.mix.len());
        let seconds = collect(&told, plan.threads, |second, tally| {
            total.add(tally);
            each_second(Second { second, tally, total: &total });
        });
        let outcomes: Result<Vec<Outcome>, String> =
            workers.into_iter().map(|w| w.join().map_err(|_| "a worker panicked".to_string())?).collect();
        outcomes.map(|outcomes| (outcomes, seconds, total))
    });
    let (outcomes, seconds, total) = outcomes?;
    let duration = outcomes.iter().map(|o| o.counted).max().unwrap_or_default();
    let own_cpu_time: Duration = outcomes.iter().map(|o| o.cpu).sum();
    let available = duration.as_secs_f64() * plan.threads as f64;
    let own_cpu = if available > 0.0 { own_cpu_time.as_secs_f64() / available } else { 0.0 };
    let unsent = outcomes.iter().map(|o| o.unsent).sum();
    Ok(Measured { total, seconds, duration, unsent, own_cpu, own_cpu_time, backend: chosen.backend })
}

/// Runs the warm-up by itself and returns what follows it: what a server uses from then on belongs to what is counted.
pub fn warm_up(plan: Plan, stop: &AtomicBool) -> Result<Plan, String> {
    if !plan.warmup.is_zero() {
        run(&Plan { warmup: Duration::ZERO, duration: plan.warmup, ..plan.clone() }, stop, |_| {})?;
    }
    Ok(Plan { load: plan.load.without_warmup(plan.warmup), warmup: Duration::ZERO, ..plan })
}

fn work(backend: Backend, limits: Limits, seat: Seat) -> Result<Outcome, String> {
    // The ring belongs to the thread that opens it.
    match backend {
        Backend::Uring => Ok(speak(Uring::open(limits).map_err(|e| e.to_string())?, seat)),
        _ => Ok(speak(Epoll::open(limits).map_err(|e| format!("epoll: {e}"))?, seat)),
    }
}

/// The worker of every driver and protocol is compiled by itself.
fn speak<I: Io>(io: I, seat: Seat) -> Outcome {
    match seat.plan.speech {
        Speech::Http1 => secure(io, Http1::default(), seat),
        Speech::TcpEcho(message) => secure(io, TcpEcho::new(message), seat),
        Speech::BulkSend(block) => secure(io, BulkSend::new(block), seat),
        Speech::BulkReceive(block) => secure(io, BulkReceive::new(block), seat),
        Speech::WebSocketEcho(message) => {
            let seed = seat.plan.seed.wrapping_add(seat.share.index as u64);
            secure(io, WebSocketEcho::new(message, seed), seat)
        }
    }
}

fn secure<I: Io, P: Protocol>(io: I, protocol: P, seat: Seat) -> Outcome {
    match &seat.plan.tls {
        None => Worker::new(io, protocol, seat).run(),
        Some(tls) => Worker::new(io, Tls::new(protocol, tls.config_of_worker(), tls.name.clone()), seat).run(),
    }
}

/// Merges the workers' seconds until the last of them has ended. Only those that some worker has not told yet are kept as they are counted.
fn collect(told: &Receiver<Interval>, workers: usize, mut whole: impl FnMut(u64, &Tally)) -> Vec<SecondOfRun> {
    let mut open: BTreeMap<u64, (usize, Tally)> = BTreeMap::new();
    let mut seconds = Vec::new();
    let mut end = |second: u64, tally: Tally| {
        whole(second, &tally);
        seconds.push(SecondOfRun::new(second, &tally));
    };
    while let Ok(Interval { second, tally }) = told.recv() {
        match open.get_mut(&second) {
            Some((count, sum)) => {
                *count += 1;
                sum.add(&tally);
            }
            None => drop(open.insert(second, (1, tally))),
        }
        while let Some(first) = open.first_entry()
            && first.get().0 >= workers
        {
            let (second, (_, tally)) = first.remove_entry();
            end(second, tally);
        }
    }
    // The rest: seconds in which some worker had ended already.
    open.into_iter().for_each(|(second, (_, tally))| end(second, tally));
    seconds
}
