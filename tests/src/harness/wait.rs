//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Longest wait for anything that must happen. Generous: a loaded two-core machine is no reason to fail, and a passing test never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition that nothing announces.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks until `look` gives a value. Panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, look) {
        Some(value) => value,
        None => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Looks until `look` gives a value or the time is over.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
