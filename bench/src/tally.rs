//! What a run counts: one [`Interval`] a worker and second, merged into one [`Tally`].

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::protocol::Session;

/// The longest latency that is told apart: an hour, in nanoseconds.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// What latencies are rounded to at least, nanoseconds; three digits of larger ones are kept.
const LATENCY_MIN: u64 = 100;

/// Different reasons that are told apart; the rest is `other`.
const REASONS_MAX: usize = 16;
/// Different agreements of TLS that are told apart.
const AGREEMENTS_MAX: usize = 16;

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
    /// The handshake of TLS failed, or what came later is not TLS.
    Tls,
    /// A whole reply with a status that was not expected.
    Status,
    /// A whole reply whose headers or body were not as expected, or an echo of something else.
    Check,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 10] = [
        Cause::Refused,
        Cause::Connect,
        Cause::Reset,
        Cause::Closed,
        Cause::Timeout,
        Cause::ShortReply,
        Cause::Malformed,
        Cause::Tls,
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
            Cause::Tls => "tls",
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
    /// More about failures whose cause does not say it.
    pub reasons: BTreeMap<String, u64>,
    /// Handshakes of TLS, if there were any.
    pub handshakes: Option<Box<Handshakes>>,
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Connections opened.
    pub connects: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// Handshakes of TLS.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// With certificates and signatures.
    pub full: u64,
    /// Of sessions that went on.
    pub resumed: u64,
    /// From when TCP was connected until both sides were done, nanoseconds.
    pub time: Histogram<u64>,
    /// What was agreed, as version, suite and group; also by connections that were opened in the warm-up.
    pub agreed: BTreeMap<(u16, u16, u16), u64>,
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
            reasons: BTreeMap::new(),
            handshakes: None,
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

    /// Counts what is known besides of a failure.
    pub fn reason(&mut self, reason: String) {
        count(&mut self.reasons, reason, 1);
    }

    /// Counts a handshake of TLS that took so many nanoseconds.
    pub fn secured(&mut self, session: Session, nanos: u64) {
        let handshakes = self.handshakes.get_or_insert_with(Box::default);
        *(if session.resumed { &mut handshakes.resumed } else { &mut handshakes.full }) += 1;
        handshakes.time.saturating_record(nanos);
        handshakes.agree((session.version, session.suite, session.group), 1);
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
        for (reason, n) in &other.reasons {
            count(&mut self.reasons, reason.clone(), *n);
        }
        if let Some(other) = &other.handshakes {
            self.handshakes.get_or_insert_with(Box::default).add(other);
        }
        self.requests += other.requests;
        self.connects += other.connects;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes { full: 0, resumed: 0, time: histogram(), agreed: BTreeMap::new() }
    }
}

impl Handshakes {
    /// The warm-up is over: what was agreed still holds.
    pub fn begin(&mut self) {
        (self.full, self.resumed) = (0, 0);
        self.time.reset();
    }

    fn agree(&mut self, agreed: (u16, u16, u16), n: u64) {
        if self.agreed.len() < AGREEMENTS_MAX || self.agreed.contains_key(&agreed) {
            *self.agreed.entry(agreed).or_default() += n;
        }
    }

    fn add(&mut self, other: &Handshakes) {
        self.full += other.full;
        self.resumed += other.resumed;
        // Equal bounds, so nothing is refused.
        let _ = self.time.add(&other.time);
        for (agreed, n) in &other.agreed {
            self.agree(*agreed, *n);
        }
    }
}

/// Adds to the count of `reason`, or of all others where the table is full.
pub fn count(reasons: &mut BTreeMap<String, u64>, reason: String, n: u64) {
    let known = reasons.len() < REASONS_MAX || reasons.contains_key(&reason);
    let counted = reasons.entry(if known { reason } else { "other".to_string() }).or_default();
    *counted = counted.saturating_add(n);
}

/// Three digits from 100 ns to an hour.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, 3).unwrap_or_else(|_| unreachable!("the bounds are sound"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_none_is_lost() {
        let (mut one, mut two) = (Tally::new(0), Tally::new(0));
        for n in 0..20 {
            one.reason(format!("a{n}"));
            two.reason(format!("b{n}"));
            two.reason("a0".into());
        }
        one.add(&two);
        assert_eq!((one.reasons.len(), one.reasons["a0"]), (REASONS_MAX + 1, 21));
        assert_eq!(one.reasons.values().sum::<u64>(), 60);
    }
}
