//! One core's share of a run: its connections, its arrivals, its counts.
//!
//! In every round of the loop the worker starts what is due on connections that are free, reads the clock once for all of it (that is how late the
//! generator was), lets the driver work, and handles what came. A request that is due while no connection is free waits; its latency
//! counts all the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_engine::io::{CREDIT_UNLIMITED, End};
use ringway_engine::{Buf, Class, Completion, Errno, Io, Piece, SMALL_BYTES, Sock, Time, Token};

use crate::arrivals::{Arrivals, Random, Recorded};
use crate::plan::{Load, Plan, Wire};
use crate::protocol::{Progress, Protocol, Reply};
use crate::tally::{Cause, Interval, Tally};

/// Connects under way at once: fewer than a listener's queue holds.
const CONNECTING_MAX: usize = 128;
/// In a closed loop, before a connection that failed is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);
const SECOND: u64 = 1_000_000_000;

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
    tell: Sender<Interval>,
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
    weights: u64,
    next_row: usize,
    /// Since when the requests of this round could have been sent.
    started: Vec<Time>,
    interval: Interval,
    scratch: Vec<u8>,
}

#[derive(Default)]
struct Connection<S> {
    sock: Option<Sock>,
    link: Link,
    class: Option<Class>,
    /// The request under way.
    asked: Option<Asked>,
    /// Counts requests, so that a stale deadline is known.
    turn: u32,
    free_since: Time,
    stream: S,
}

/// How far a socket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    /// There is none, or none that is any good.
    #[default]
    Down,
    Connecting,
    /// Connected; the handshake of the protocol is under way.
    Opening,
    Up,
}

#[derive(Clone, Copy)]
struct Asked {
    kind: u32,
    /// That it is filled from.
    row: u32,
    due: Time,
}

/// When requests are due.
enum Due<'a> {
    Profile(Arrivals),
    Recorded(Recorded<'a>),
    /// In a closed loop: whenever a connection is free.
    WhenFree,
}

impl Due<'_> {
    fn next(&mut self) -> Option<u64> {
        match self {
            Due::Profile(arrivals) => arrivals.next_due(),
            Due::Recorded(recorded) => recorded.next_due(),
            Due::WhenFree => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Due::WhenFree)
    }
}

impl<'a, I: Io, P: Protocol> Worker<'a, I, P> {
    /// A worker that has not begun. `stop` ends the run early.
    pub fn new(
        io: I,
        protocol: P,
        plan: &'a Plan,
        share: Share,
        clock: Clock,
        stop: &'a AtomicBool,
        tell: Sender<Interval>,
    ) -> Worker<'a, I, P> {
        let count = share.of(plan.connections);
        let mut arrivals = match &plan.load {
            Load::Open { stages, spacing } => {
                Due::Profile(Arrivals::new(stages, *spacing, share.index, share.workers, plan.seed))
            }
            Load::Recorded { due, .. } => Due::Recorded(Recorded::new(due, share.index, share.workers)),
            Load::Closed { .. } => Due::WhenFree,
        };
        let next_due = arrivals.next().map(|due| Time(clock.start.0 + due));
        let kinds = plan.mix.len();
        Worker {
            io,
            protocol,
            plan,
            share,
            clock,
            stop,
            tell,
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
            weights: plan.mix.iter().map(|request| u64::from(request.weight)).sum::<u64>().max(1),
            next_row: share.index,
            started: Vec::new(),
            interval: Interval { second: 0, tally: Tally::new(kinds) },
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
                // Of the warm-up: requests are known by when they were due, these are not.
                let tally = &mut self.interval.tally;
                (tally.connects, tally.bytes_read, tally.bytes_written) = (0, 0, 0);
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
            self.next_second(now);
            self.note_lateness();
            let deadline = self.deadline(now);
            self.io.turn(deadline, &mut completions);
            for completion in completions.drain(..) {
                self.handle(completion);
            }
        }
        self.flush();
        let unsent = self.unsent();
        let counted = Duration::from_nanos(self.clock.end.since(self.clock.counted_from));
        Outcome { unsent, cpu, counted }
    }

    /// Connects ahead of the first requests, a few at a time.
    fn open_connections(&mut self) {
        while self.opened < self.connections.len() {
            let index = self.opened as u32;
            if self.plan.new_connections || P::HANDSHAKE {
                self.opened += 1;
                self.release(index, self.clock.start);
                continue;
            }
            if self.connecting >= CONNECTING_MAX {
                return;
            }
            self.opened += 1;
            if self.connect(index).is_err() {
                // Whoever uses it tries again, and counts the failure.
                self.release(index, self.clock.start);
            }
        }
    }

    fn start_due(&mut self, now: Time) {
        while let Some(Reverse((since, index))) = self.resting.peek().copied()
            && since <= now.0
        {
            self.resting.pop();
            self.release(index, Time(since));
        }
        if self.arrivals.is_closed() {
            // A closed loop: every free connection asks.
            while now >= self.clock.start
                && now < self.clock.end
                && let Some(index) = self.free.pop_front()
            {
                let due = self.connections[index as usize].free_since.max(self.clock.start);
                self.start(index, due);
            }
            return;
        }
        while let Some(due) = self.next_due
            && due <= now
            && due < self.clock.end
            && let Some(index) = self.free.pop_front()
        {
            self.start(index, due);
            self.next_due = self.take_due();
        }
    }

    fn take_due(&mut self) -> Option<Time> {
        self.arrivals.next().map(|due| Time(self.clock.start.0 + due))
    }

    /// Sends a request, or connects first.
    fn start(&mut self, index: u32, due: Time) {
        let kind = self.choose();
        let row = self.take_row(kind);
        let connection = &mut self.connections[index as usize];
        connection.asked = Some(Asked { kind, row, due });
        connection.turn = connection.turn.wrapping_add(1);
        let (turn, link) = (connection.turn, connection.link);
        if due >= self.clock.counted_from {
            self.started.push(due.max(connection.free_since));
        }
        self.busy += 1;
        // Whoever waited for a connection has had part of its time; the limit is for the target, so it counts from here.
        self.deadlines.push_back((self.io.now().after(self.plan.timeout), index, turn));
        if link == Link::Up {
            self.send(index);
        } else if let Err(errno) = self.connect(index) {
            self.fail(index, cause_of_connect(errno));
        }
    }

    fn choose(&mut self) -> u32 {
        if self.plan.mix.len() == 1 {
            return 0;
        }
        if let Load::Recorded { kinds, .. } = &self.plan.load {
            return kinds.get(self.next_row).copied().unwrap_or_default();
        }
        let mut at = self.random.below(self.weights);
        for (kind, request) in self.plan.mix.iter().enumerate() {
            match at.checked_sub(u64::from(request.weight)) {
                Some(rest) => at = rest,
                None => return kind as u32,
            }
        }
        0
    }

    /// Rows are taken in turn, by requests that are filled from them.
    fn take_row(&mut self, kind: u32) -> u32 {
        match self.plan.mix[kind as usize].wire {
            Wire::Fixed(_) => 0,
            Wire::Filled(_) => {
                let row = self.next_row as u32;
                self.next_row = (self.next_row + self.share.workers) % self.plan.rows.len().max(1);
                row
            }
        }
    }

    fn connect(&mut self, index: u32) -> Result<(), Errno> {
        let turn = self.connections[index as usize].turn as usize;
        let addresses = &self.plan.addresses;
        let address = addresses[(index as usize * self.share.workers + self.share.index + turn) % addresses.len()];
        let sock = self.io.connect(address, Token(u64::from(index)))?;
        let connection = &mut self.connections[index as usize];
        (connection.sock, connection.link) = (Some(sock), Link::Connecting);
        self.connecting += 1;
        Ok(())
    }

    fn send(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let (Some(sock), Some(asked)) = (connection.sock, connection.asked) else { return };
        let row = self.plan.rows.get(asked.row as usize).map_or(&[][..], Vec::as_slice);
        self.scratch.clear();
        let request = &self.plan.mix[asked.kind as usize];
        match self.protocol.ask(&mut connection.stream, request, row, &mut self.scratch) {
            Some(bytes) => {
                self.interval.tally.bytes_written += bytes.len() as u64;
                self.io.send(sock, Piece::Static(bytes));
            }
            None => self.say(index),
        }
    }

    /// Sends what the protocol has put together.
    fn say(&mut self, index: u32) {
        let Some(sock) = self.connections[index as usize].sock else { return };
        let piece = Piece::Buf(copied(&mut self.io, &self.scratch));
        self.interval.tally.bytes_written += piece.len() as u64;
        self.io.send(sock, piece);
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Connected { token, result } => self.connected(token.0 as u32, result),
            Completion::Received { token, buf } => self.received(token.0 as u32, &buf),
            Completion::ReceiveEnd { token, end } => self.ended(token.0 as u32, end),
            Completion::SendFailed { token, errno } => {
                let index = token.0 as u32;
                if self.connections[index as usize].asked.is_some() {
                    self.fail(index, cause_of_break(errno));
                } else {
                    self.disconnect(index);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, index: u32, result: Result<(), Errno>) {
        self.connecting -= 1;
        let connection = &mut self.connections[index as usize];
        connection.link = if result.is_ok() { Link::Up } else { Link::Down };
        let asked = connection.asked.is_some();
        match (result, connection.sock) {
            (Ok(()), Some(sock)) => {
                self.io.recv(sock, connection.class.unwrap_or(Class::Small), CREDIT_UNLIMITED);
                self.interval.tally.connects += 1;
                if P::HANDSHAKE {
                    self.greet(index);
                } else if asked {
                    self.send(index);
                } else {
                    self.release(index, self.io.now());
                }
            }
            (Err(errno), _) if asked => self.fail(index, cause_of_connect(errno)),
            _ => {
                self.disconnect(index);
                self.release(index, self.io.now());
            }
        }
    }

    /// Begins the handshake for the request that opened the connection.
    fn greet(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let Some(asked) = connection.asked else { return };
        connection.link = Link::Opening;
        self.scratch.clear();
        self.protocol.greet(&mut connection.stream, &self.plan.mix[asked.kind as usize], &mut self.scratch);
        self.say(index);
    }

    fn received(&mut self, index: u32, buf: &Buf) {
        self.interval.tally.bytes_read += buf.len() as u64;
        let connection = &mut self.connections[index as usize];
        self.scratch.clear();
        let progress = match connection.asked {
            Some(asked) => {
                let request = &self.plan.mix[asked.kind as usize];
                self.protocol.read(&mut connection.stream, request, buf, &mut self.scratch)
            }
            None if self.protocol.read_idle(&mut connection.stream, buf, &mut self.scratch) => Progress::More,
            // Nobody asked for this.
            None => return self.disconnect(index),
        };
        if buf.len() == SMALL_BYTES
            && connection.class.is_none()
            && let Some(sock) = connection.sock
        {
            connection.class = Some(Class::Bulk);
            self.io.recv(sock, Class::Bulk, CREDIT_UNLIMITED);
        }
        if !self.scratch.is_empty() {
            self.say(index);
        }
        match progress {
            Progress::More => {}
            Progress::Open => {
                self.connections[index as usize].link = Link::Up;
                self.send(index);
            }
            Progress::Whole(reply) => self.finish(index, reply),
            Progress::Broken(cause) => self.fail(index, cause),
        }
    }

    fn ended(&mut self, index: u32, end: End) {
        let connection = &mut self.connections[index as usize];
        let Some(asked) = connection.asked else { return self.disconnect(index) };
        let progress = match end {
            End::Eof => self.protocol.end(&mut connection.stream, &self.plan.mix[asked.kind as usize]),
            End::Error(errno) => Progress::Broken(cause_of_break(errno)),
        };
        match progress {
            Progress::Whole(reply) => self.finish(index, Reply { keep_alive: false, ..reply }),
            Progress::Broken(cause) => self.fail(index, cause),
            Progress::More | Progress::Open => self.fail(index, Cause::ShortReply),
        }
    }

    /// A whole reply.
    fn finish(&mut self, index: u32, reply: Reply) {
        let now = self.io.now();
        let Some(asked) = self.connections[index as usize].asked.take() else { return };
        self.busy -= 1;
        if asked.due >= self.clock.counted_from {
            let tally = &mut self.interval.tally;
            tally.latency.saturating_record(now.since(asked.due));
            if let Some(status) = reply.status {
                *tally.statuses.entry(status).or_default() += 1;
            }
            tally.kinds[asked.kind as usize] += 1;
            tally.requests += 1;
            if let Some(cause) = reply.fault {
                tally.fail(cause);
            }
        }
        self.protocol.next(&mut self.connections[index as usize].stream);
        if !reply.keep_alive || self.plan.new_connections {
            self.disconnect(index);
        }
        match self.plan.load {
            Load::Closed { think } if !think.is_zero() => self.resting.push(Reverse((now.after(think).0, index))),
            _ => self.release(index, now),
        }
    }

    /// No reply.
    fn fail(&mut self, index: u32, cause: Cause) {
        let now = self.io.now();
        self.disconnect(index);
        let Some(asked) = self.connections[index as usize].asked.take() else { return };
        self.busy -= 1;
        if asked.due >= self.clock.counted_from {
            let tally = &mut self.interval.tally;
            tally.fail(cause);
            tally.kinds[asked.kind as usize] += 1;
            tally.requests += 1;
            if cause == Cause::Timeout {
                tally.latency.saturating_record(now.since(asked.due));
            }
        }
        match self.plan.load {
            Load::Closed { think } => {
                let pause = think.max(PAUSE_AFTER_FAILURE);
                self.resting.push(Reverse((now.after(pause).0, index)));
            }
            Load::Open { .. } | Load::Recorded { .. } => self.release(index, now),
        }
    }

    fn release(&mut self, index: u32, since: Time) {
        self.connections[index as usize].free_since = since;
        self.free.push_back(index);
    }

    fn disconnect(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.stream = P::Stream::default();
        let Some(sock) = connection.sock.take() else { return };
        // With the socket goes the word about its connect.
        self.connecting -= usize::from(std::mem::take(&mut connection.link) == Link::Connecting);
        self.io.close(sock);
    }

    fn expire(&mut self, now: Time) {
        while let Some(&(deadline, index, turn)) = self.deadlines.front() {
            let connection = &self.connections[index as usize];
            let live = connection.turn == turn && connection.asked.is_some();
            if live && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if live {
                self.fail(index, Cause::Timeout);
            }
        }
    }

    fn next_second(&mut self, now: Time) {
        let second = now.since(self.clock.counted_from) / SECOND;
        // Also those that it slept through: what all workers have told is whole.
        while second > self.interval.second {
            self.flush();
            self.interval.second += 1;
        }
    }

    fn flush(&mut self) {
        let kinds = self.plan.mix.len();
        let full = std::mem::replace(&mut self.interval.tally, Tally::new(kinds));
        // Nobody listens any more when the run was given up.
        let _ = self.tell.send(Interval { second: self.interval.second, tally: full });
    }

    fn note_lateness(&mut self) {
        if self.started.is_empty() {
            return;
        }
        let now = self.io.clock();
        for ready in self.started.drain(..) {
            self.interval.tally.lateness.saturating_record(now.since(ready));
        }
    }

    fn deadline(&self, now: Time) -> Time {
        let mut deadline = Time(self.clock.counted_from.0 + (self.interval.second + 1) * SECOND);
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

    /// Requests that were due before the end and never got a connection.
    fn unsent(&mut self) -> u64 {
        let mut count = 0;
        while let Some(due) = self.next_due
            && due < self.clock.end
        {
            count += u64::from(due >= self.clock.counted_from);
            self.next_due = self.take_due();
        }
        count
    }
}

fn copied<I: Io>(io: &mut I, bytes: &[u8]) -> Buf {
    if bytes.len() <= SMALL_BYTES
        && let Some(mut buf) = io.alloc(Class::Small)
    {
        buf[..bytes.len()].copy_from_slice(bytes);
        buf.truncate(bytes.len());
        return buf;
    }
    Buf::heap(bytes.to_vec())
}

fn cause_of_connect(errno: Errno) -> Cause {
    match rustix::io::Errno::from_raw_os_error(errno.0) {
        rustix::io::Errno::CONNREFUSED => Cause::Refused,
        rustix::io::Errno::CONNRESET => Cause::Reset,
        rustix::io::Errno::TIMEDOUT => Cause::Timeout,
        _ => Cause::Connect,
    }
}

fn cause_of_break(errno: Errno) -> Cause {
    match rustix::io::Errno::from_raw_os_error(errno.0) {
        rustix::io::Errno::TIMEDOUT => Cause::Timeout,
        _ => Cause::Reset,
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
