//! What the figures may be taken for: who has proven itself, whose requests failed, and whether the load was fit to measure.

use std::collections::BTreeMap;

use super::rounds::Cell;
use super::trials::FULL_LOAD;
use super::{Comparison, Described};
use crate::statistics;

/// The workload at which a bare yardstick proves itself, and what it may take of nginx's CPU per request. One that takes more is badly made or badly
/// run, and being close to it would say nothing.
pub const PROOF: (&str, f64) = (FULL_LOAD, 0.72);
/// Failed requests beyond this part of all make a comparison unfair.
const ERRORS_MAX: f64 = 0.001;

/// Everybody but a bare yardstick; that one only when it came in well under nginx in this very run.
pub fn is_proven(comparison: &Comparison, contender: &Described) -> bool {
    let proof = || {
        let (bare, nginx) = (find(comparison, PROOF.0, &contender.name)?, find(comparison, PROOF.0, "nginx")?);
        Some(cpu_ratio(bare, nginx)?.median <= PROOF.1)
    };
    !contender.bare || proof() == Some(true)
}

/// CPU of one in parts of the other's.
pub fn cpu_ratio(first: &Cell, second: &Cell) -> Option<statistics::Ratio> {
    let cpu = |cell: &Cell| cell.loads().map(|round| round.cpu_us_per_request).collect::<Vec<_>>();
    statistics::ratio(&cpu(first).into_iter().zip(cpu(second)).collect::<Vec<_>>())
}

/// One contender in one trial.
pub fn find<'a>(comparison: &'a Comparison, workload: &str, contender: &str) -> Option<&'a Cell> {
    comparison.results.iter().find(|cell| cell.workload == workload && cell.contender == contender)
}

/// Too many of its requests failed for its figures to count.
pub fn failed(cell: &Cell) -> bool {
    cell.loads().any(|round| round.errors > ERRORS_MAX)
}

/// Failures, and what the generator said of itself.
pub fn doubts(comparison: &Comparison) -> Vec<String> {
    let mut notes = Vec::new();
    let mut unfit = Vec::new();
    for cell in &comparison.results {
        let who = format!("{} under {}", cell.contender, cell.workload);
        let errors = cell.loads().map(|round| round.errors).fold(0.0, f64::max);
        if errors > ERRORS_MAX {
            let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
            for (cause, count) in cell.loads().flat_map(|round| &round.report.errors.causes) {
                *causes.entry(cause).or_default() += count;
            }
            let causes: Vec<String> = causes.iter().map(|(cause, count)| format!("{cause} × {count}")).collect();
            notes.push(format!("{who}: up to {:.2} % of the requests failed ({}).", errors * 100.0, causes.join(", ")));
        }
        if cell.loads().any(|round| round.report.generator.unfit) {
            unfit.push(who);
        }
    }
    if !unfit.is_empty() {
        notes.push(format!(
            "the generator was late or used more than 80 % of its thread: rates and latencies may be its own, CPU per request is the server's all the same ({}).",
            unfit.join(", ")
        ));
    }
    notes
}
