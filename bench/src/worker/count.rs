//! What one worker counts, told second by second.

use std::sync::mpsc::Sender;

use ringway_engine::{Io, Time};

use super::connection::Asked;
use crate::protocol::Reply;
use crate::tally::{Cause, Interval, Tally};

const SECOND: u64 = 1_000_000_000;

/// The counts of the second under way.
pub(super) struct Counts {
    /// Requests that were due earlier are the warm-up's.
    from: Time,
    interval: Interval,
    tell: Sender<Interval>,
    /// Since when the requests of this round could have been sent.
    started: Vec<Time>,
}

impl Counts {
    pub(super) fn new(from: Time, kinds: usize, tell: Sender<Interval>) -> Counts {
        Counts { from, interval: Interval { second: 0, tally: Tally::new(kinds) }, tell, started: Vec::new() }
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.interval.tally
    }

    /// The warm-up is over. Requests are known by when they were due, connections and bytes are not.
    pub(super) fn begin(&mut self) {
        let tally = &mut self.interval.tally;
        (tally.connects, tally.bytes_read, tally.bytes_written) = (0, 0, 0);
        if let Some(handshakes) = &mut tally.handshakes {
            handshakes.begin();
        }
    }

    /// A request that was due then is on its way, on a connection that was free since.
    pub(super) fn started(&mut self, due: Time, free_since: Time) {
        if due >= self.from {
            self.started.push(due.max(free_since));
        }
    }

    /// Reads the clock for all that started in this round.
    pub(super) fn note_lateness<I: Io>(&mut self, io: &mut I) {
        if self.started.is_empty() {
            return;
        }
        let now = io.clock();
        for ready in self.started.drain(..) {
            self.interval.tally.lateness.saturating_record(now.since(ready));
        }
    }

    /// A whole reply, where one of the status `recorded` was expected if that is not 0.
    pub(super) fn reply(&mut self, asked: Asked, reply: Reply, recorded: u16, now: Time) {
        if asked.due < self.from {
            return;
        }
        let tally = &mut self.interval.tally;
        tally.latency.saturating_record(now.since(asked.due));
        if let Some(status) = reply.status {
            *tally.statuses.entry(status).or_default() += 1;
        }
        tally.kinds[asked.kind as usize] += 1;
        tally.requests += 1;
        match reply.fault {
            Some(cause) => tally.fail(cause),
            None if recorded == 0 => {}
            None => {
                if let Some(status) = reply.status.filter(|status| *status != recorded) {
                    tally.fail(Cause::Status);
                    tally.reason(format!("status {status}, recorded {recorded}"));
                }
            }
        }
    }

    /// No reply; `why` may say more than the cause.
    pub(super) fn failure(&mut self, asked: Asked, cause: Cause, why: Option<String>, now: Time) {
        if asked.due < self.from {
            return;
        }
        let tally = &mut self.interval.tally;
        tally.fail(cause);
        if let Some(why) = why {
            tally.reason(why);
        }
        tally.kinds[asked.kind as usize] += 1;
        tally.requests += 1;
        if cause == Cause::Timeout {
            tally.latency.saturating_record(now.since(asked.due));
        }
    }

    /// When the second under way ends.
    pub(super) fn second_ends(&self) -> Time {
        Time(self.from.0 + (self.interval.second + 1) * SECOND)
    }

    pub(super) fn next_second(&mut self, now: Time) {
        let second = now.since(self.from) / SECOND;
        // Also those that it slept through: what all workers have told is whole.
        while second > self.interval.second {
            self.flush();
            self.interval.second += 1;
        }
    }

    /// Tells what there is.
    pub(super) fn flush(&mut self) {
        let kinds = self.interval.tally.kinds.len();
        let full = std::mem::replace(&mut self.interval.tally, Tally::new(kinds));
        // Nobody listens any more when the run was given up.
        let _ = self.tell.send(Interval { second: self.interval.second, tally: full });
    }
}
