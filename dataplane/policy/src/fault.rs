//! Injected faults: first the delay, then the answer in place of the destination's (Envoy's fault filter).

use ringway_config::limits::PER_MILLION_MAX;
use ringway_config::model::Fault;

use crate::balance::below;
use crate::facts::Rng;

/// What happens to one request.
pub(crate) enum Injected {
    /// It waits so many milliseconds.
    Delay(u64),
    /// It is answered with this status.
    Abort(u16),
}

/// Draws what a fault does to one request. `delayed`: it has waited already.
pub(crate) fn inject(fault: &Fault, delayed: bool, rng: &mut impl Rng) -> Option<Injected> {
    if fault.delay_ms > 0 && !delayed && drawn(rng, fault.delay_per_million) {
        return Some(Injected::Delay(fault.delay_ms));
    }
    (fault.abort_status > 0 && drawn(rng, fault.abort_per_million)).then_some(Injected::Abort(fault.abort_status))
}

/// Whether something happens that happens to so many requests of a million.
pub fn drawn(rng: &mut impl Rng, per_million: u32) -> bool {
    // What always or never happens takes no randomness from others.
    match per_million {
        0 => false,
        PER_MILLION_MAX.. => true,
        share => below(rng, u64::from(PER_MILLION_MAX)).is_some_and(|point| point < u64::from(share)),
    }
}
