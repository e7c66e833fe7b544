//! `ringway-load ab`: two servers in turn, and an exit code that says whether the second is worse.
//!
//! A difference counts when it is larger than allowed and chance is ruled out: the median of the rounds' ratios is beyond the allowance, and a permutation
//! test over the rounds finds less than one in a hundred. The first alone would alarm on a noisy machine, the second on differences nobody minds.

use std::path::PathBuf;

use clap::Args;
use ringway_engine::choose::Choice;
use serde::Serialize;

use crate::cli::{INCONCLUSIVE, MET, MISSED, Output};
use crate::gate::Figure;
use crate::scenario::Scenario;
use crate::statistics::{self, Ratio, Spread};
use crate::trial::{Allowed, Bench, Measure, Round, with_free_port};

/// A difference is no chance below this.
const SIGNIFICANT: f64 = 0.01;
/// With fewer rounds no difference is that sure: 2⁻⁷ < 0.01.
const ROUNDS_MIN: usize = 7;
/// Rounds of one comparison.
const ROUNDS_MAX: usize = 1000;
/// Failed requests beyond this part of all are no noise.
const ERRORS_MAX: f64 = 0.001;

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
}

/// The outcome, as JSON.
#[derive(Debug, Serialize)]
struct Outcome {
    schema: &'static str,
    a: String,
    b: String,
    verdict: &'static str,
    measures: Vec<Compared>,
    rounds_a: Vec<Round>,
    rounds_b: Vec<Round>,
}

/// One measure of both.
#[derive(Debug, Serialize)]
struct Compared {
    measure: String,
    a: Spread,
    b: Spread,
    /// b ÷ a.
    ratio: Option<Ratio>,
    /// Part of 1, where one was asked for.
    allowed: Option<f64>,
    verdict: Option<&'static str>,
    #[serde(skip)]
    of: Measure,
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
    let bench = Bench::new(args.server_cores)?;
    eprintln!("{}", bench.cores.describe());
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
    let (measures, code) = judge(&args.max_regression, &rounds_a, &rounds_b);
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
        rounds_a,
        rounds_b,
    };
    let json = serde_json::to_string_pretty(&outcome).unwrap_or_default() + "\n";
    if let Some(path) = &args.json {
        std::fs::write(path, &json).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    crate::cli::print(&match args.output {
        Output::Json => json,
        Output::Text => text(&outcome),
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

/// Every measure of both sides, and the exit code.
fn judge(allowed: &[Allowed], a: &[Round], b: &[Round]) -> (Vec<Compared>, u8) {
    let shown = [
        Measure::Cpu,
        Measure::Load(Figure::Rate),
        Measure::Load(Figure::Percentile(50.0)),
        Measure::Load(Figure::Percentile(99.0)),
        Measure::Memory,
        Measure::Switches,
    ];
    let others = allowed.iter().map(|allowed| allowed.measure).filter(|measure| !shown.contains(measure));
    let unfit = a.iter().chain(b).filter(|round| round.report.generator.unfit).count() * 2 > a.len() + b.len();
    let mut code = MET;
    let mut measures = Vec::new();
    for measure in shown.into_iter().chain(others) {
        let values = |rounds: &[Round]| rounds.iter().map(|round| measure.of(round)).collect::<Vec<_>>();
        let pairs: Vec<(f64, f64)> = values(b).into_iter().zip(values(a)).collect();
        let ratio = statistics::ratio(&pairs);
        let limit =
            allowed.iter().filter(|allowed| allowed.measure == measure).map(|allowed| allowed.part).reduce(f64::min);
        let verdict = limit.map(|limit| match ratio {
            Some(_) if unfit && measure.needs_fit_generator() => INCONCLUSIVE,
            Some(ratio) => judge_one(measure, &pairs, ratio, limit),
            None => INCONCLUSIVE,
        });
        // A miss outweighs a doubt.
        code = match (code, verdict) {
            (_, Some(MISSED)) | (MISSED, _) => MISSED,
            (_, Some(INCONCLUSIVE)) | (INCONCLUSIVE, _) => INCONCLUSIVE,
            _ => MET,
        };
        measures.push(Compared {
            measure: measure.to_string(),
            a: statistics::spread(&values(a)),
            b: statistics::spread(&values(b)),
            ratio,
            allowed: limit,
            verdict: verdict.map(|verdict| match verdict {
                MET => "met",
                MISSED => "missed",
                _ => "inconclusive",
            }),
            of: measure,
        });
    }
    let errors =
        |rounds: &[Round]| statistics::spread(&rounds.iter().map(|round| round.errors).collect::<Vec<_>>()).median;
    match (errors(a) > ERRORS_MAX, errors(b) > ERRORS_MAX) {
        (false, true) => {
            eprintln!("missed: {:.2} % of b's requests failed", errors(b) * 100.0);
            code = MISSED;
        }
        (true, _) => {
            eprintln!("inconclusive: {:.2} % of a's requests failed", errors(a) * 100.0);
            code = code.max(INCONCLUSIVE);
        }
        (false, false) => {}
    }
    (measures, code)
}

fn judge_one(measure: Measure, pairs: &[(f64, f64)], ratio: Ratio, limit: f64) -> u8 {
    let (worse, chance) = if measure.more_is_better() {
        let turned: Vec<(f64, f64)> = pairs.iter().map(|(b, a)| (*a, *b)).collect();
        // Its parts are above 0, or there were no ratio.
        (1.0 - ratio.median, statistics::ratio(&turned).map_or(1.0, |turned| turned.p_more))
    } else {
        (ratio.median - 1.0, ratio.p_more)
    };
    if worse <= limit {
        MET
    } else if chance < SIGNIFICANT {
        MISSED
    } else {
        INCONCLUSIVE
    }
}

fn text(outcome: &Outcome) -> String {
    let mut out = format!("{} rounds of each, in turn. b ÷ a with the interval of 95 %.\n\n", outcome.rounds_a.len());
    out += &format!("{:<9} {:>10} {:>10}  {:<27} {:<12} {}\n", "", "a", "b", "b ÷ a", "chance", "verdict");
    for compared in &outcome.measures {
        let show = |spread: Spread| compared.of.show(spread.median);
        let (ratio, chance) = compared.ratio.map_or(("–".to_string(), "–".to_string()), |ratio| {
            (format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.low, ratio.high), format!("{:.4}", ratio.p_differs))
        });
        let verdict = match (compared.verdict, compared.allowed) {
            (Some(verdict), Some(part)) => format!("{verdict} (allowed: {:.1} % worse)", part * 100.0),
            _ => String::new(),
        };
        let line = format!(
            "{:<9} {:>10} {:>10}  {ratio:<27} {chance:<12} {verdict}",
            compared.measure,
            show(compared.a),
            show(compared.b)
        );
        out += line.trim_end();
        out.push('\n');
    }
    out
}
