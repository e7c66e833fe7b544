//! What a worker holds at this moment, counted from its tables: for tests that must show that nothing leaks.

use ringway_engine::{Io, Time};
use ringway_policy::Slot;

use super::Worker;

/// Everything of a worker that must be given back sooner or later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Downstream connections.
    pub downs: usize,
    /// Upstream connections, pooled ones included.
    pub ups: usize,
    /// Pooled upstream connections.
    pub pooled: usize,
    /// Requests that wait for a connection.
    pub queued: usize,
    /// Requests and tunnels in flight, summed over endpoints.
    pub in_flight: u64,
    /// Connections that wait for on-demand config.
    pub parked: usize,
    /// Endpoints that left the config and are not forgotten yet.
    pub gone: usize,
    /// Former configurations that something still uses.
    pub retiring: usize,
    /// Armed timers.
    pub timers: usize,
}

impl<I: Io> Worker<I> {
    /// Counts what is held now.
    pub fn holdings(&self) -> Holdings {
        let slots = u32::try_from(self.state.slots()).unwrap_or(u32::MAX);
        Holdings {
            downs: self.downs.len(),
            ups: self.ups.len(),
            pooled: self.pools.iter().map(Vec::len).sum(),
            queued: self.queued(),
            in_flight: (0..slots).map(|slot| u64::from(self.state.in_flight(Slot(slot)))).sum(),
            parked: self.parked.len(),
            gone: self.gone.len(),
            retiring: self.retiring.len(),
            timers: self.timers.len(),
        }
    }

    /// When the worker wants its next turn although no I/O happens.
    pub fn due(&self) -> Time {
        if self.ready.is_empty() {
            self.timers.next_deadline().min(self.drain_due()).min(self.unsent_due())
        } else {
            self.now
        }
    }
}
