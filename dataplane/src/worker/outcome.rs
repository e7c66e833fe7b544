//! What became of requests and connections, for outlier detection. Most of it is worth no message: see [`ringway_policy::outlier`].

use ringway_engine::Io;
use ringway_policy::Slot;
use ringway_policy::outlier::Outcome;

use super::Worker;
use super::exchange::Exchange;
use crate::messages::{FromWorker, Observed};

impl<I: Io> Worker<I> {
    /// Something became of a request or connection on this endpoint.
    pub(super) fn observe(&mut self, slot: Slot, outcome: Outcome) {
        let Some(signal) = self.state.observe(slot, outcome) else { return };
        let Some((cluster, address)) = self.state.identity(slot) else { return };
        if self.wiring.house.send(FromWorker::Signal(Box::new(Observed { cluster, address, signal }))).is_err() {
            self.count(|s| &s.signals_dropped);
        }
    }

    /// The same, on the endpoint that an exchange was sent to.
    pub(super) fn observe_exchange(&mut self, exchange: &Exchange, outcome: Outcome) {
        if let Some(plan) = exchange.plan {
            self.observe(plan.slot, outcome);
        }
    }
}
