//! `replay`: an access log as load.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::client::ClientArgs;
use super::outcome::OutcomeArgs;
use super::watch::{Watch, measure};
use crate::replay::Recording;
use crate::scenario::Scenario;

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// An access log in Istio's JSON format. Lines that are no HTTP requests are left out.
    log: PathBuf,
    /// Where the requests go: `http://host[:port]`, with a path if one goes before those of the log.
    url: String,
    /// How much faster than it was recorded.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// A good reply has the status that was recorded, whatever that is; one that was recorded without may have any.
    #[arg(long, conflicts_with = "expect_status")]
    expect_recorded_status: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    outcome: OutcomeArgs,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<ExitCode, String> {
    let checks = args.outcome.checks()?;
    let recording = Recording::read(&args.log, args.speed)?;
    let (requests, left_out) = (recording.requests.len(), recording.left_out);
    let mut scenario = Scenario::replay(args.url.trim_end_matches('/'), recording);
    scenario.expect_recorded_status = args.expect_recorded_status;
    args.client.apply(&mut scenario)?;
    let plan = scenario.plan()?;
    eprintln!("{requests} requests in {:.1} s; {left_out} lines of the log are none", plan.duration.as_secs_f64());
    checks.suit(plan.load.name(), args.client.server_pid.is_some())?;
    let mut watch = Watch::new(&args.client)?;
    checks.conclude(&measure(&plan, &mut watch)?)
}
