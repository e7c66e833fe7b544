//! `merge`: the runs of several generators as one.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::outcome::OutcomeArgs;
use crate::merge::merge;
use crate::report::json::Report;

/// Runs that are merged.
const RUNS_MAX: usize = 1024;

#[derive(Args, Debug)]
pub(super) struct MergeArgs {
    /// Runs of generators that ran at the same time (`--output json`).
    #[arg(value_name = "RUN.json", required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    outcome: OutcomeArgs,
}

pub(super) fn merged(args: &MergeArgs) -> Result<ExitCode, String> {
    if args.runs.len() > RUNS_MAX {
        return Err(format!("{} runs to merge; at most {RUNS_MAX}", args.runs.len()));
    }
    let mut named = HashSet::new();
    if let Some(twice) = args.runs.iter().find(|run| !named.insert(*run)) {
        return Err(format!("{}: named twice; its requests would be counted twice", twice.display()));
    }
    let checks = args.outcome.checks()?;
    let read = |path: &PathBuf| Ok((path.display().to_string(), Report::read(path)?));
    let runs = args.runs.iter().map(read).collect::<Result<Vec<_>, String>>()?;
    let sum = merge(&runs)?;
    checks.suit(&sum.load, sum.server.is_some())?;
    checks.conclude(&sum)
}
