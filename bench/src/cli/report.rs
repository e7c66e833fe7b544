//! `report`: runs that were written before, as one page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::MET;
use crate::report::html::{self, RUNS_MAX, Run};
use crate::report::json::Report;

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// Runs (`--output json`), the one that the others are compared with first. A run is named after its file, or as in `before=run.json`.
    #[arg(value_name = "[NAME=]RUN.json", required = true)]
    runs: Vec<String>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

pub(super) fn compare(args: &ReportArgs) -> Result<ExitCode, String> {
    if args.runs.len() > RUNS_MAX {
        return Err(format!("{} runs on one page; at most {RUNS_MAX} can be told apart", args.runs.len()));
    }
    let runs = args.runs.iter().map(|text| read(text)).collect::<Result<Vec<Run>, String>>()?;
    std::fs::write(&args.html, html::page(&runs)).map_err(|e| format!("{}: {e}", args.html.display()))?;
    Ok(ExitCode::from(MET))
}

/// The page of a run, beside what it was compared with.
pub(super) fn page(report: &Report, baseline: Option<&Report>) -> String {
    let named = |name: &str, report: &Report| Run { name: name.to_string(), report: report.clone() };
    let this = named("this run", report);
    match baseline {
        Some(baseline) => html::page(&[named("baseline", baseline), this]),
        None => html::page(&[this]),
    }
}

fn read(text: &str) -> Result<Run, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name, path),
        None => (text.strip_suffix(".json").unwrap_or(text), text),
    };
    Ok(Run { name: name.to_string(), report: Report::read(Path::new(path))? })
}
