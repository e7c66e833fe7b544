//! The command line.

mod client;
mod merge;
mod outcome;
mod replay;
mod report;
mod search;
mod serve;
mod snapshot;
mod tls;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::client::LoadArgs;
use self::outcome::OutcomeArgs;
pub(crate) use self::outcome::{Output, writable};
use self::watch::{Watch, measure};
use crate::ab::{self, AbArgs};
use crate::compare::{self, CompareArgs};

pub(crate) const MET: u8 = 0;
pub(crate) const MISSED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const INCONCLUSIVE: u8 = 3;

/// Load for servers of HTTP/1.1, WebSocket and TCP, with latencies that count from when each request was due.
#[derive(Parser, Debug)]
#[command(name = "ringway-load", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one load and report it.
    Run(Box<RunArgs>),
    /// Find the highest rate at which an objective is met.
    Search(Box<search::SearchArgs>),
    /// Send the requests of an access log when they were due.
    Replay(Box<replay::ReplayArgs>),
    /// Put runs side by side in one HTML page.
    Report(report::ReportArgs),
    /// Compare two servers in turn; the exit code says whether the second is worse.
    Ab(Box<AbArgs>),
    /// Measure servers that do the same work side by side, and print a table.
    Compare(Box<CompareArgs>),
    /// Serve replies of known sizes: `GET /N` is answered with N bytes.
    Serve(serve::ServeArgs),
    /// Write the proxy's configuration with one origin behind it, as `compare` does.
    Snapshot(snapshot::SnapshotArgs),
    /// Add up the runs of several generators.
    Merge(merge::MergeArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    outcome: OutcomeArgs,
    /// Requests per second, over all threads, whatever the target does.
    #[arg(short, long, value_name = "N", conflicts_with = "closed", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// A rate that changes: `100:10s,100-1000:30s`.
    #[arg(long, value_name = "STAGES", conflicts_with_all = ["rate", "closed", "duration"])]
    stages: Option<String>,
    /// A closed loop: every connection asks again as soon as it has its reply.
    #[arg(long)]
    closed: bool,
    /// In a closed loop: the pause between a reply and the next request.
    #[arg(long, value_name = "TIME", requires = "closed")]
    think: Option<String>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run_once(&args),
        Command::Search(args) => search::search(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Report(args) => report::compare(&args),
        Command::Ab(args) => ab::ab(&args).map(ExitCode::from),
        Command::Compare(args) => compare::compare(&args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::serve(&args),
        Command::Snapshot(args) => snapshot::snapshot(&args),
        Command::Merge(args) => merge::merged(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(USAGE)
    })
}

fn run_once(args: &RunArgs) -> Result<ExitCode, String> {
    let mut scenario = args.load.scenario()?;
    if args.rate.is_some() || args.closed || args.stages.is_some() {
        (scenario.rate, scenario.closed, scenario.stages) = (args.rate, Some(args.closed), Vec::new());
    }
    if let Some(text) = &args.stages {
        scenario.stages = client::stages(text)?;
    }
    scenario.think = args.think.clone().or(scenario.think);
    let checks = args.outcome.checks()?;
    let plan = scenario.plan()?;
    checks.suit(plan.load.name(), args.load.client.server_pid.is_some())?;
    let mut watch = Watch::new(&args.load.client)?;
    checks.conclude(&measure(&plan, &mut watch)?)
}

pub(crate) fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
