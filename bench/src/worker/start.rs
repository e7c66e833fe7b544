//! What is due, and which connection it goes to.

use std::cmp::Reverse;

use ringway_engine::{Io, Time};

use super::Worker;
use super::connection::{Asked, Link, cause_of_connect};
use crate::arrivals::{Arrivals, Recorded};
use crate::plan::{Load, Request, Wire};
use crate::protocol::Protocol;

/// Connects under way at once: fewer than a listener's queue holds.
const CONNECTING_MAX: usize = 128;

/// When requests are due.
pub(super) enum Due<'a> {
    Profile(Arrivals),
    Recorded(Recorded<'a>),
    /// In a closed loop: whenever a connection is free.
    WhenFree,
}

impl Due<'_> {
    pub(super) fn next(&mut self) -> Option<u64> {
        match self {
            Due::Profile(arrivals) => arrivals.next_due(),
            Due::Recorded(recorded) => recorded.next_due(),
            Due::WhenFree => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Due::WhenFree)
    }
}

/// The weights of the mix laid end to end: where each ends. A mix may have thousands of kinds, and one is drawn for every request.
pub(super) fn shares(mix: &[Request]) -> Vec<u64> {
    let mut end = 0;
    let next = |request: &Request| {
        end += u64::from(request.weight);
        end
    };
    mix.iter().map(next).collect()
}

impl<I: Io, P: Protocol> Worker<'_, I, P> {
    /// Connects ahead of the first requests, a few at a time.
    pub(super) fn open_connections(&mut self) {
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

    pub(super) fn start_due(&mut self, now: Time) {
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
        self.counts.started(due, connection.free_since);
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
        let at = self.random.below(self.shares.last().copied().unwrap_or(1));
        self.shares.partition_point(|end| *end <= at) as u32
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

    /// Requests that were due before the end and never got a connection.
    pub(super) fn unsent(&mut self) -> u64 {
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
