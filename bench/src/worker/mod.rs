//! One core's share of a run: its connections, its arrivals, its counts.
//!
//! In every round of the loop the worker starts what is due on connections that are free, reads the clock once for all of it (that is how late the
//! generator was), lets the driver work, and handles what came. A request that is due while no connection is free waits; its latency
//! counts all the same.
//!
//! `start.rs` has what is due and who sends it, `connection.rs` what becomes of it, `count.rs` the counts.

mod connection;
mod count;
mod start;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_engine::{Io, Time};

use self::connection::Connection;
use self::count::Counts;
use self::start::{Due, shares};
use crate::arrivals::{Arrivals, Random, Recorded};
use crate::plan::{Load, Plan};
use crate::protocol::Protocol;
use crate::tally::Interval;

/// The clock of a run, the same for all its workers.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the first request is due.
    pub start: Time,
    /// When counting begins.
    pub counted_from: Time,
    /// No request is due from here on.
    pub end: Time,
}

/// Which worker this is.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub workers: usize,
}

impl Share {
    /// This worker's part of `total`.
    pub fn of(self, total: usize) -> usize {
        total / self.workers + usize::from(self.index < total % self.workers)
    }
}

/// What a worker is given besides a driver and a protocol.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Which part of it.
    pub share: Share,
    /// When.
    pub clock: Clock,
    /// Ends the run early.
    pub stop: &'a AtomicBool,
    /// Where the counts go.
    pub tell: Sender<Interval>,
}

/// What a worker says at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Requests that were due and never got a connection.
    pub unsent: u64,
    /// CPU of the thread while counting.
    pub cpu: Duration,
    /// How long was counted.
    pub counted: Duration,
}

/// A worker.
pub struct Worker<'a, I: Io, P: Protocol> {
    io: I,
    protocol: P,
    plan: &'a Plan,
    share: Share,
    clock: Clock,
    stop: &'a AtomicBool,
    counts: Counts,
    connections: Vec<Connection<P::Stream>>,
    /// Free connections, the one that waited longest first. Unconnected ones among them connect when they are used.
    free: VecDeque<u32>,
    /// Connections that are free from then on.
    resting: BinaryHeap<Reverse<(u64, u32)>>,
    /// How many connections have been opened for the first time, and how many connect just now.
    opened: usize,
    connecting: usize,
    busy: usize,
    /// In order of their deadlines; those that have ended meanwhile are skipped.
    deadlines: VecDeque<(Time, u32, u32)>,
    arrivals: Due<'a>,
    next_due: Option<Time>,
    random: Random,
    /// Where the share of each kind of request ends, with all weights laid end to end.
    shares: Vec<u64>,
    next_row: usize,
    scratch: Vec<u8>,
}

impl<'a, I: Io, P: Protocol> Worker<'a, I, P> {
    /// A worker that has not begun.
    pub fn new(io: I, protocol: P, seat: Seat<'a>) -> Worker<'a, I, P> {
        let Seat { plan, share, clock, stop, tell } = seat;
        let count = share.of(plan.connections);
        let mut arrivals = match &plan.load {
            Load::Open { stages, spacing } => {
                Due::Profile(Arrivals::new(stages, *spacing, share.index, share.workers, plan.seed))
            }
            Load::Recorded { due, .. } => Due::Recorded(Recorded::new(due, share.index, share.workers)),
            Load::Closed { .. } => Due::WhenFree,
        };
        let next_due = arrivals.next().map(|due| Time(clock.start.0 + due));
        Worker {
            io,
            protocol,
            plan,
            share,
            clock,
            stop,
            counts: Counts::new(clock.counted_from, plan.mix.len(), tell),
            connections: (0..count).map(|_| Connection::default()).collect(),
            free: VecDeque::with_capacity(count),
            resting: BinaryHeap::new(),
            opened: 0,
            connecting: 0,
            busy: 0,
            deadlines: VecDeque::new(),
            arrivals,
            next_due,
            random: Random::new(plan.seed.wrapping_add(share.index as u64 + 1)),
            shares: shares(&plan.mix),
            next_row: share.index,
            scratch: Vec::new(),
        }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Outcome {
        let mut completions = Vec::new();
        let mut cpu_before = None;
        let (mut over, mut cpu) = (false, Duration::ZERO);
        loop {
            let now = self.io.now();
            if cpu_before.is_none() && now >= self.clock.counted_from {
                cpu_before = Some(thread_cpu());
                self.counts.begin();
            }
            let ends = !over && (now >= self.clock.end || self.stop.load(Ordering::Relaxed));
            if ends {
                over = true;
                cpu = cpu_before.map_or(Duration::ZERO, |before| thread_cpu().saturating_sub(before));
                self.clock.end = self.clock.end.min(now);
            }
            // Also in the round that ends: what was due until then is sent.
            if !over || ends {
                self.open_connections();
                self.start_due(now);
            }
            if over && self.busy == 0 {
                break;
            }
            self.expire(now);
            self.counts.next_second(now);
            self.counts.note_lateness(&mut self.io);
            let deadline = self.deadline(now);
            self.io.turn(deadline, &mut completions);
            for completion in completions.drain(..) {
                self.handle(completion);
            }
        }
        self.counts.flush();
        let unsent = self.unsent();
        let counted = Duration::from_nanos(self.clock.end.since(self.clock.counted_from));
        Outcome { unsent, cpu, counted }
    }

    fn deadline(&self, now: Time) -> Time {
        let mut deadline = self.counts.second_ends();
        if now < self.clock.end {
            deadline = deadline.min(self.clock.end);
            if let Some(due) = self.next_due
                && !self.free.is_empty()
            {
                deadline = deadline.min(due);
            }
            if let Some(Reverse((since, _))) = self.resting.peek() {
                deadline = deadline.min(Time(*since));
            }
            if self.arrivals.is_closed() && !self.free.is_empty() {
                deadline = deadline.min(self.clock.start.max(now));
            }
        }
        if let Some((limit, _, _)) = self.deadlines.front() {
            deadline = deadline.min(*limit);
        }
        deadline
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
