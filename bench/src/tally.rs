//! What a run counts: one [`Interval`] a worker and second, merged into one [`Tally`].

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// The longest latency that is told apart: an hour, in nanoseconds.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// What latencies are rounded to at least, nanoseconds; three digits of larger ones are kept.
const LATENCY_MIN: u64 = 100;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody listens.
    Refused,
    /// No connection for another reason: unreachable, no descriptors, no ports.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection ended before a byte of the reply.
    Closed,
    /// No whole reply in time.
    Timeout,
    /// The reply ended too early.
    ShortReply,
    /// What came is not the protocol.
    Malformed,
    /// A whole reply with a status that was not expected.
    Status,
    /// A whole reply whose headers or body were not as expected, or an echo of something else.
    Check,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 9] = [
        Cause::Refused,
        Cause::Connect,
        Cause::Reset,
        Cause::Closed,
        Cause::Timeout,
        Cause::ShortReply,
        Cause::Malformed,
        Cause::Status,
        Cause::Check,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Refused => "refused",
            Cause::Connect => "connect",
            Cause::Reset => "reset",
            Cause::Closed => "closed",
            Cause::Timeout => "timeout",
            Cause::ShortReply => "short-reply",
            Cause::Malformed => "malformed",
            Cause::Status => "status",
            Cause::Check => "check",
        }
    }
}

/// Counts of some span of time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From when a request was due until its whole reply was there, nanoseconds. Replies of every status, and what ran into the time limit.
    pub latency: Histogram<u64>,
    /// From when a request was due and had a connection until it was handed to the kernel, nanoseconds: the generator's own fault.
    pub lateness: Histogram<u64>,
    /// Replies by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests by kind, in the order of the mix.
    pub kinds: Vec<u64>,
    /// Failures by cause, in the order of [`Cause::ALL`].
    pub failures: [u64; Cause::ALL.len()],
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Connections opened.
    pub connects: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// What one worker counted in one second.
#[derive(Debug)]
pub struct Interval {
    /// Seconds since counting began.
    pub second: u64,
    /// The counts.
    pub tally: Tally,
}

impl Tally {
    /// Nothing yet, for a mix of `kinds` requests.
    pub fn new(kinds: usize) -> Tally {
        Tally {
            latency: histogram(),
            lateness: histogram(),
            statuses: BTreeMap::new(),
            kinds: vec![0; kinds],
            failures: [0; Cause::ALL.len()],
            requests: 0,
            connects: 0,
            bytes_read: 0,
            bytes_written: 0,
        }
    }

    /// Counts a failure.
    pub fn fail(&mut self, cause: Cause) {
        self.failures[cause as usize] += 1;
    }

    /// Failures of this cause.
    pub fn failed_by(&self, cause: Cause) -> u64 {
        self.failures[cause as usize]
    }

    /// Failures of all causes.
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Tally) {
        // Equal bounds, so nothing is refused.
        let _ = self.latency.add(&other.latency);
        let _ = self.lateness.add(&other.lateness);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.kinds.resize(self.kinds.len().max(other.kinds.len()), 0);
        for (sum, count) in self.kinds.iter_mut().zip(&other.kinds) {
            *sum += count;
        }
        for (sum, count) in self.failures.iter_mut().zip(other.failures) {
            *sum += count;
        }
        self.requests += other.requests;
        self.connects += other.connects;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }
}

/// Three digits from 100 ns to an hour.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, 3).unwrap_or_else(|_| unreachable!("the bounds are sound"))
}
