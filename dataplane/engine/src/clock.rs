//! Where a driver of this machine gets its time and its randomness from.

use rustix::time::{ClockId, clock_gettime};

use crate::io::Time;

/// Monotonic time now.
pub(crate) fn monotonic() -> Time {
    let t = clock_gettime(ClockId::Monotonic);
    Time(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// SplitMix64: fast, and good enough for balance and hash seeds; not for keys.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the kernel.
    pub(crate) fn from_kernel() -> Random {
        let mut seed = [0u8; 8];
        // SAFETY: writes at most 8 bytes into `seed`.
        let n = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
        // Without randomness from the kernel (a call filtered away) time has to do.
        let fallback = monotonic().0 ^ (std::process::id() as u64) << 32;
        Random(if n == 8 { u64::from_ne_bytes(seed) } else { fallback })
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
