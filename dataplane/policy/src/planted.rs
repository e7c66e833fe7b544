//! Cost planted on purpose, so that tests can show that they would find it. Without the feature `planted-cost` there is none.

#[cfg(feature = "planted-cost")]
pub use turns::{plant, spend};

/// Spends what is planted.
#[cfg(not(feature = "planted-cost"))]
#[inline(always)]
pub const fn spend() {}

#[cfg(feature = "planted-cost")]
mod turns {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static TURNS: AtomicU32 = AtomicU32::new(0);

    /// From now on every decision takes so many turns of an empty loop besides.
    pub fn plant(turns: u32) {
        TURNS.store(turns, Relaxed);
    }

    /// Spends what is planted.
    #[inline(never)]
    pub fn spend() {
        for turn in 0..TURNS.load(Relaxed) {
            black_box(turn);
        }
    }
}
