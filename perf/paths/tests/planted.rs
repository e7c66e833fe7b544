//! Counting instructions finds 5 % that are planted in a decision, and nothing where nothing is planted.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use ringway_paths::counts;

/// A decision, and something that decides nothing.
const DECISION: &str = "decide among 1000 routes of one host (Mixed)";
const OTHER: &str = "parse a request head of 3 lines";

fn count(part: &str, planted: u32, more: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_instructions");
    Command::new(program).arg(part).arg(format!("--planted={planted}")).args(more).output().unwrap()
}

/// What was counted, from the file.
fn counted(file: &Path, figure: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["figure"] == figure);
    line.and_then(|line| line["instructions"].as_f64()).unwrap()
}

#[test]
fn five_percent_planted_in_a_decision_are_found() {
    if let Some(reason) = counts::not_here() {
        println!("SKIPPED: instruction counts: {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [baseline, more] = ["baseline", "more"].map(|name| folder.path().join(name));
    let (baseline_text, more_text) = (baseline.to_str().unwrap(), more.to_str().unwrap());
    for part in [DECISION, OTHER] {
        assert!(count(part, 0, &["--accept", "--baseline", baseline_text]).status.success());
        let again = count(part, 0, &["--baseline", baseline_text, "--allow", "0.1"]);
        assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
        if part == OTHER {
            let other = count(part, 1000, &["--baseline", baseline_text]);
            assert_eq!(other.status.code(), Some(0), "{}", String::from_utf8_lossy(&other.stdout));
            continue;
        }
        const TURNS: u32 = 1000;
        assert!(count(part, TURNS, &["--write", more_text]).status.success());
        let whole = counted(&baseline, DECISION);
        let turn = (counted(&more, DECISION) - whole) / f64::from(TURNS);
        let turns = (whole * 0.05 / turn).round() as u32;
        let found = count(part, turns, &["--baseline", baseline_text, "--write", more_text]);
        let said = String::from_utf8_lossy(&found.stdout);
        assert_eq!(found.status.code(), Some(1), "{said}");
        assert!(said.contains("1 of 1 took over 2 % more instructions than in the baseline"), "{said}");
        let grown = counted(&more, DECISION) / whole;
        assert!((1.04..1.07).contains(&grown), "{grown}: {said}");
        println!("{turns} turns of {turn:.1} instructions:\n{said}");
    }
}
