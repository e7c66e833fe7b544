//! `ringway-load ab`: two servers in turn, and an exit code that says whether the second is worse.
//!
//! A difference counts when it is larger than allowed and chance is ruled out: the median of the rounds' ratios is beyond the allowance, and a permutation
//! test over the rounds finds less than one in a hundred. The first alone would alarm on a noisy machine, the second on differences nobody minds.

mod judge;
mod tell;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ringway_engine::choose::Choice;
use serde::Serialize;

use crate::cli::{MET, MISSED, Output, writable};
use crate::scenario::Scenario;
use crate::trial::{Allowed, Bench, Round, with_free_port};
use judge::{Compared, Judged, Unanswered};

/// With fewer rounds no difference is that sure: 2⁻⁷ < 0.01.
const ROUNDS_MIN: usize = 7;
/// Rounds of one comparison.
const ROUNDS_MAX: usize = 1000;

/// What is asked for.
#[derive(Args, Debug)]
pub struct AbArgs {
    /// Starts the first server, the one to compare with; `{port}` becomes a free port.
    #[arg(long, value_name = "COMMAND")]
    a: String,
    /// Starts the second server.
    #[arg(long, value_name = "COMMAND")]
    b: String,
    /// The load: `http://host[:port][/path]`, or a scenario file (TOML). `{port}` in the URL is the server's.
    #[arg(long, value_name = "URL|SCENARIO.toml")]
    scenario: String,
    /// How much worse than `a` a measure of `b` may be: `cpu=3%`, `p99=5%`, `rate=3%`, `memory=10%`, `switches=10%`.
    #[arg(long, value_name = "MEASURE=PERCENT", value_delimiter = ',')]
    max_regression: Vec<Allowed>,
    /// Rounds of both, in turn.
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// Requests per second, whatever the server does.
    #[arg(short, long, value_name = "N", conflicts_with = "closed")]
    rate: Option<f64>,
    /// A closed loop: every connection asks again as soon as it has its reply.
    #[arg(long)]
    closed: bool,
    /// Connections [default: 50].
    #[arg(short, long, value_name = "N")]
    connections: Option<usize>,
    /// How long each round is counted [default: 5s].
    #[arg(short, long, value_name = "TIME")]
    duration: Option<String>,
    /// How long each round runs before it is counted [default: 1s].
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// Processors of the server; the load has the others.
    #[arg(long, value_name = "N", default_value_t = 1)]
    server_cores: usize,
    /// The generator's driver: auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
    /// How the result is written to standard output.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Also write the JSON here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the allowances as JUnit here.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also append a Markdown summary here (in GitHub's CI: "$GITHUB_STEP_SUMMARY").
    #[arg(long, value_name = "FILE")]
    step_summary: Option<PathBuf>,
}

/// The outcome, as JSON.
#[derive(Debug, Serialize)]
struct Outcome {
    schema: &'static str,
    a: String,
    b: String,
    verdict: &'static str,
    measures: Vec<Compared>,
    /// More requests failed than noise explains.
    unanswered: Option<Unanswered>,
    #[serde(skip)]
    seconds: f64,
    rounds_a: Vec<Round>,
    rounds_b: Vec<Round>,
}

/// Runs it and returns the exit code.
pub fn ab(args: &AbArgs) -> Result<u8, String> {
    if !(ROUNDS_MIN..=ROUNDS_MAX).contains(&args.rounds) {
        return Err(format!("--rounds: from {ROUNDS_MIN} (fewer cannot rule chance out) to {ROUNDS_MAX}"));
    }
    if args.server_cores == 0 {
        return Err("--server-cores: at least 1".into());
    }
    let scenario = scenario(args)?;
    writable(&[&args.json, &args.junit, &args.step_summary])?;
    let bench = Bench::new(args.server_cores)?;
    eprintln!("{}", bench.cores.describe());
    let begun = Instant::now();
    let (mut rounds_a, mut rounds_b) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        // A B, B A, …: a machine that becomes slower is no difference.
        let mut both = [(&args.a, &mut rounds_a), (&args.b, &mut rounds_b)];
        if round % 2 == 1 {
            both.reverse();
        }
        for (command, rounds) in both {
            let (command, scenario) = with_free_port(command, &scenario)?;
            rounds.push(bench.round(&command, scenario.plan()?)?);
        }
        if let (Some(a), Some(b)) = (rounds_a.last(), rounds_b.last()) {
            let cpu = |round: &Round| round.cpu_us_per_request;
            eprintln!("round {}/{}: a {:.2}, b {:.2} µs of CPU per request", round + 1, args.rounds, cpu(a), cpu(b));
        }
    }
    let Judged { measures, unanswered, code } = judge::judge(&args.max_regression, &rounds_a, &rounds_b);
    if let Some(Unanswered { verdict, said }) = &unanswered {
        eprintln!("{verdict}: {said}");
    }
    let verdict = match code {
        MET => "met",
        MISSED => "missed",
        _ => "inconclusive",
    };
    let outcome = Outcome {
        schema: "ringway-load-ab/1",
        a: args.a.clone(),
        b: args.b.clone(),
        verdict,
        measures,
        unanswered,
        seconds: begun.elapsed().as_secs_f64(),
        rounds_a,
        rounds_b,
    };
    let json = serde_json::to_string_pretty(&outcome).unwrap_or_default() + "\n";
    let named = |path: &PathBuf, error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(path) = &args.json {
        std::fs::write(path, &json).map_err(|e| named(path, e))?;
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, tell::junit(&outcome)).map_err(|e| named(path, e))?;
    }
    if let Some(path) = &args.step_summary {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let text = tell::markdown(&outcome);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| named(path, e))?;
    }
    crate::cli::print(&match args.output {
        Output::Json => json,
        Output::Text => tell::text(&outcome),
    })?;
    Ok(code)
}

fn scenario(args: &AbArgs) -> Result<Scenario, String> {
    let mut scenario = Scenario::of(&args.scenario)?;
    if args.rate.is_some() || args.closed {
        (scenario.rate, scenario.closed, scenario.stages) = (args.rate, Some(args.closed), Vec::new());
    }
    scenario.backend = args.io_backend;
    scenario.connections = args.connections.or(scenario.connections);
    let stages = !scenario.stages.is_empty();
    scenario.duration = args.duration.clone().or(scenario.duration).or((!stages).then(|| "5s".into()));
    scenario.warmup = args.warmup.clone().or(scenario.warmup).or(Some("1s".into()));
    Ok(scenario)
}
