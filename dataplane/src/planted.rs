//! Bugs planted on purpose, so that tests can show that they would find them. Without the feature `planted-bugs` there are none: every question here
//! is answered `false` at compile time. `planted-cost` is a feature of its own, for the tests of what measures.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A piece of a response body is lost while the client is slow.
    PieceDroppedUnderPressure,
    /// An upstream connection goes back to its pool although its response is not whole.
    UndrainedConnectionPooled,
    /// A tunnel does not pass the client's FIN on.
    FinNotForwarded,
    /// An exchange ends without leaving its endpoint's in-flight count.
    InFlightLeaked,
    /// A request that must not be repeated is replayed.
    PostReplayed,
    /// Pooled connections of an endpoint that left the config stay in use.
    StalePoolUsed,
}

/// True when this bug is planted in this thread.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use thread::{is_planted, plant};

/// Makes every decision take as many nanoseconds longer as `RINGWAY_PLANTED_NS` says.
#[cfg(feature = "planted-cost")]
pub fn plant_cost() -> Result<(), String> {
    use ringway_policy::planted::{plant, spend};
    const TURNS: u32 = 10_000_000;
    let Ok(wanted) = std::env::var("RINGWAY_PLANTED_NS") else { return Ok(()) };
    let wanted: f64 = wanted.parse().map_err(|_| format!("RINGWAY_PLANTED_NS: {wanted:?} is no number"))?;
    // The first time the processor may still be waking up.
    let turn_ns = || {
        plant(TURNS);
        let start = std::time::Instant::now();
        spend();
        start.elapsed().as_secs_f64() * 1e9 / f64::from(TURNS)
    };
    let turn_ns = turn_ns().min(turn_ns());
    plant((wanted / turn_ns).round() as u32);
    Ok(())
}

#[cfg(feature = "planted-bugs")]
mod thread {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants one bug in this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// True when this bug is planted in this thread.
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
