//! Times of the hot paths, one JSON object a line: the shortest of many, for a quiet machine. `times [PART OF A NAME]`.

use std::time::{Duration, Instant};

use ringway_paths::HotPath;
use serde_json::json;

/// Timings of which the shortest counts. All paths take turns, so that all of them meet the same machine.
const ROUNDS: usize = 200;

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let paths: Vec<HotPath> = ringway_paths::all().into_iter().filter(|path| path.name.contains(&part)).collect();
    let mut works: Vec<_> = paths.iter().map(|path| (path.prepared(), Duration::MAX)).collect();
    for _ in 0..ROUNDS {
        for (work, shortest) in &mut works {
            let start = Instant::now();
            work();
            *shortest = start.elapsed().min(*shortest);
        }
    }
    for (path, (_, shortest)) in paths.iter().zip(&works) {
        let value = shortest.as_secs_f64() * 1e9 / path.operations as f64;
        println!("{}", json!({"figure": path.name, "value": (value * 10.0).round() / 10.0, "unit": "ns"}));
    }
}
