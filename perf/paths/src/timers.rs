//! The timer wheel, as full as a busy worker's.

use std::hint::black_box;
use std::time::Duration;

use ringway_engine::Time;
use ringway_engine::timers::Wheel;

use super::HotPath;

const OPERATIONS: usize = 1_000;
/// Timers that are there all the time.
const OTHERS: u64 = 10_000;

pub fn paths() -> Vec<HotPath> {
    let cancelled = HotPath::new("a timer set and cancelled", OPERATIONS, || {
        let (mut wheel, mut now) = (busy(), Time(0));
        Box::new(move || {
            for _ in 0..OPERATIONS {
                now = now.after(Duration::from_micros(10));
                let id = wheel.insert(now.after(Duration::from_secs(15)), black_box(1)).unwrap();
                assert_eq!(wheel.cancel(id), Some(1));
            }
        })
    });
    let expired = HotPath::new("a timer set and expired", OPERATIONS, || {
        let (mut wheel, mut now, mut due) = (busy(), Time(0), Vec::new());
        Box::new(move || {
            for _ in 0..OPERATIONS {
                wheel.insert(now.after(Duration::from_micros(2_500)), black_box(1)).unwrap();
                now = now.after(Duration::from_micros(1_000));
                due.clear();
                wheel.expire(now, &mut due);
                assert!(black_box(&due).len() <= 1);
            }
        })
    });
    vec![cancelled, expired]
}

/// Deadlines in the hour after the next, none of them soon.
fn busy() -> Wheel<u32> {
    let mut wheel = Wheel::new(Time(0), 1 << 20);
    for n in 0..OTHERS {
        wheel.insert(Time(0).after(Duration::from_millis(3_600_000 + n * 360)), 0).unwrap();
    }
    wheel
}
