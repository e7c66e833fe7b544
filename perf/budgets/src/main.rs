//! The figures that have a budget and need no running proxy: what a decision costs however large the config is, what a translation costs whole and after an
//! edit, what a snapshot costs to check. One JSON object a line; ends with an error when a budget does not hold.
//!
//! `make budgets` runs all of it, `make budgets ONLY=decisions` a part. Wants a quiet machine; every time is the shortest of many.

// A measurement that cannot be made ends with a panic that says why.
#![allow(clippy::unwrap_used)]

mod decisions;
mod mesh;
mod snapshot;
mod translation;
mod views;

use serde_json::json;
use std::cell::Cell;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measures and tells.
type Part = fn(&Figures);

/// What was measured and told.
#[derive(Default)]
struct Figures {
    broken: Cell<usize>,
}

fn main() -> ExitCode {
    let only = std::env::args().nth(1).unwrap_or_default();
    let figures = Figures::default();
    let parts: [(&str, Part); 4] = [
        // First: its memory is that of the whole process.
        ("translation", translation::run),
        ("decisions", decisions::run),
        ("snapshot", snapshot::run),
        ("views", views::run),
    ];
    assert!(only.is_empty() || parts.iter().any(|(name, _)| *name == only), "no such part: {only}");
    parts.iter().filter(|(name, _)| only.is_empty() || *name == only).for_each(|(_, run)| run(&figures));
    match figures.broken.get() {
        0 => ExitCode::SUCCESS,
        broken => {
            eprintln!("{broken} figures are over their budget");
            ExitCode::FAILURE
        }
    }
}

impl Figures {
    /// A figure without a budget.
    fn tell(&self, figure: &str, value: f64, unit: &str) {
        println!("{}", json!({"figure": figure, "value": rounded(value), "unit": unit}));
    }

    /// A figure that may be at most `budget`.
    fn hold(&self, figure: &str, value: f64, budget: f64, unit: &str) {
        let holds = value <= budget;
        self.broken.set(self.broken.get() + usize::from(!holds));
        println!(
            "{}",
            json!({"figure": figure, "value": rounded(value), "unit": unit, "budget": budget, "holds": holds})
        );
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The shortest time of several: other work on the machine only ever adds.
fn timed<T>(rounds: usize, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut fastest = Duration::MAX;
    for _ in 1..rounds {
        let start = Instant::now();
        black_box(run());
        fastest = fastest.min(start.elapsed());
    }
    let start = Instant::now();
    let result = black_box(run());
    (fastest.min(start.elapsed()), result)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
