//! Bugs planted on purpose, so that tests can show that they would find them. Without the feature `planted-bugs` there are none: every question here
//! is answered `false` at compile time.

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
