//! The command line.

mod merge;
mod outcome;
mod replay;
mod report;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ringway_engine::choose::{self, Choice};
use ringway_engine::io::Backend;
use ringway_engine::{Epoll, Uring};

use self::outcome::OutcomeArgs;
pub(crate) use self::outcome::Output;
use crate::ab::{self, AbArgs};
use crate::compare::{self, CompareArgs};
use crate::gate::{self, Condition};
use crate::live::View;
use crate::plan::Plan;
use crate::prometheus::Exposition;
use crate::report::json::Report;
use crate::report::time;
use crate::run::{self, Second};
use crate::scenario::{Arrivals, RequestText, Scenario, StageText};
use crate::serve;

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
    Search(Box<SearchArgs>),
    /// Send the requests of an access log when they were due.
    Replay(Box<replay::ReplayArgs>),
    /// Put runs side by side in one HTML page.
    Report(report::ReportArgs),
    /// Compare two servers in turn; the exit code says whether the second is worse.
    Ab(Box<AbArgs>),
    /// Measure servers that do the same work side by side, and print a table.
    Compare(Box<CompareArgs>),
    /// Serve replies of known sizes: `GET /N` is answered with N bytes.
    Serve(ServeArgs),
    /// Add up the runs of several generators.
    Merge(merge::MergeArgs),
}

/// How the target is spoken to, whatever is asked of it.
#[derive(Args, Debug)]
struct ClientArgs {
    /// Connections over all threads [default: 50].
    #[arg(short, long, value_name = "N")]
    connections: Option<usize>,
    /// Threads [default: 1].
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
    /// A request without a whole reply after this has failed [default: 10s].
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// A new connection for every request.
    #[arg(long)]
    new_connections: bool,
    /// A header line, as in `-H 'accept: text/html'`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// A good reply has one of these statuses [default: 200 to 399].
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    expect_status: Vec<u16>,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
    /// Serve the counts for Prometheus while the load runs; port 0 is any free one.
    #[arg(long, value_name = "ADDR:PORT")]
    prometheus: Option<SocketAddr>,
}

#[derive(Args, Debug)]
struct LoadArgs {
    /// `http://host[:port][/path]`, an echo (`ws://host[:port][/path]` or `tcp://host:port`), or a scenario file (TOML).
    #[arg(value_name = "URL|SCENARIO.toml")]
    target: String,
    #[command(flatten)]
    client: ClientArgs,
    /// Bytes of a message of an echo [default: 64].
    #[arg(long, value_name = "N")]
    message_bytes: Option<usize>,
    /// How long is counted [default: 10s].
    #[arg(short, long, value_name = "TIME")]
    duration: Option<String>,
    /// How long the load runs before it is counted [default: 2s].
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// How arrivals are spaced [default: constant].
    #[arg(long, value_enum)]
    arrivals: Option<Arrivals>,
    /// The method [default: GET].
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// The body.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// The body, from a file.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// The same seed makes the same arrivals and the same mix [default: 1].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    outcome: OutcomeArgs,
    /// Requests per second, over all threads, whatever the target does.
    #[arg(short, long, value_name = "N", conflicts_with = "closed")]
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

#[derive(Args, Debug)]
struct SearchArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// What must hold: `p99=5ms`. Fewer than 0.1 % failures and no unsent requests are asked for besides.
    #[arg(long, value_name = "FIGURE=TIME")]
    slo: String,
    /// The first rate tried.
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    from: f64,
    /// The highest rate tried.
    #[arg(long, value_name = "N", default_value_t = 1e6)]
    to: f64,
    /// How the result is written to standard output.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// CPU time that every request costs besides: stands for a slower server.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = gate::duration)]
    work: Duration,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run_once(&args),
        Command::Search(args) => search(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Report(args) => report::compare(&args),
        Command::Ab(args) => ab::ab(&args).map(ExitCode::from),
        Command::Compare(args) => compare::compare(&args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve(&args),
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
        scenario.stages = stages(text)?;
    }
    scenario.think = args.think.clone().or(scenario.think);
    let checks = args.outcome.checks()?;
    let plan = scenario.plan()?;
    let mut watch = Watch::new(args.load.client.prometheus)?;
    checks.conclude(&measure(&plan, &mut watch)?)
}

/// Doubles the rate until the objective is missed, then halves the gap until it is within 5 %.
fn search(args: &SearchArgs) -> Result<ExitCode, String> {
    let (figure, bound) = args.slo.split_once('=').ok_or("--slo: write p99=5ms")?;
    let conditions = [
        format!("{figure}>{bound}").parse::<Condition>()?,
        "errors>0.1%".parse::<Condition>()?,
        "unsent>0".parse::<Condition>()?,
    ];
    let scenario = args.load.scenario()?;
    if scenario.closed == Some(true) || !scenario.stages.is_empty() {
        return Err("search: sets the rate itself; the scenario must not have `closed` or `stages`".into());
    }
    if !(args.from > 0.0 && args.from <= args.to) {
        return Err("search: --from is above 0 and not above --to".into());
    }
    let mut watch = Watch::new(args.load.client.prometheus)?;
    let (mut met, mut missed): (Option<(f64, Report)>, Option<f64>) = (None, None);
    let mut rate = args.from;
    loop {
        let plan = Scenario { rate: Some(rate), ..scenario.clone() }.plan()?;
        let report = measure(&plan, &mut watch)?;
        let failures: Vec<String> = conditions.iter().filter_map(|c| c.verdict(&report)).collect();
        let p99 = time(report.percentile(99.0) as u64);
        if failures.is_empty() {
            eprintln!("{rate:.0}/s: met (p99 {p99})");
            met = Some((rate, report));
        } else {
            eprintln!("{rate:.0}/s: missed ({})", failures.join("; "));
            if report.generator.unfit {
                eprintln!("inconclusive: {}", report.generator.doubts.join("; "));
                return Ok(ExitCode::from(INCONCLUSIVE));
            }
            missed = Some(rate);
        }
        rate = match (&met, missed) {
            (Some((met, _)), None) if *met >= args.to => break,
            (Some((met, _)), None) => (met * 2.0).min(args.to),
            (Some((met, _)), Some(missed)) if missed / met <= 1.05 => break,
            (Some((met, _)), Some(missed)) => (met * missed).sqrt(),
            (None, _) => break,
        };
    }
    let Some((rate, report)) = met else {
        eprintln!("missed: not even {:.0}/s meets {}", args.from, args.slo);
        return Ok(ExitCode::from(MISSED));
    };
    if args.output == Output::Text {
        print(&format!("{rate:.0} requests/s meet {}\n\n", args.slo))?;
    }
    args.output.print(&report)?;
    Ok(ExitCode::from(MET))
}

fn serve(args: &ServeArgs) -> Result<ExitCode, String> {
    let (socket, limits) = serve::bind(args.listen)?;
    let address = socket.local_addr().map_err(|e| e.to_string())?;
    let chosen = choose::probe(args.io_backend, limits).map_err(|e| e.to_string())?;
    eprintln!("serving on http://{address}/N ({})", chosen.backend.name());
    match chosen.backend {
        Backend::Uring => serve::serve(Uring::open(limits).map_err(|e| e.to_string())?, socket, args.work),
        _ => serve::serve(Epoll::open(limits).map_err(|e| format!("epoll: {e}"))?, socket, args.work),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn measure(plan: &Plan, watch: &mut Watch) -> Result<Report, String> {
    let stop = Arc::new(AtomicBool::new(false));
    // The first Ctrl-C ends the run and reports it, the second one ends the program.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).map_err(|e| e.to_string())?;
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| e.to_string())?;
    }
    let total = plan.duration.as_secs();
    let measured = run::run(plan, &stop, |second| watch.second(second, total));
    watch.end();
    Ok(Report::new(plan, &measured?))
}

/// Whoever looks on while the load runs.
struct Watch {
    view: Option<View>,
    prometheus: Option<Exposition>,
}

impl Watch {
    fn new(prometheus: Option<SocketAddr>) -> Result<Watch, String> {
        let listening = prometheus.map(Exposition::listen).transpose()?;
        if let Some((_, address)) = &listening {
            eprintln!("prometheus: http://{address}/metrics");
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let draws = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Ok(Watch {
            view: draws.then(|| View::new(!set("NO_COLOR"))),
            prometheus: listening.map(|(exposition, _)| exposition),
        })
    }

    fn second(&mut self, second: Second, total: u64) {
        if let Some(view) = &mut self.view {
            eprint!("{}", view.draw(second, total));
        }
        if let Some(prometheus) = &self.prometheus {
            prometheus.publish(second.total);
        }
    }

    fn end(&mut self) {
        if let Some(view) = &mut self.view {
            eprint!("{}", view.erase());
        }
    }
}

impl ClientArgs {
    /// Lays them over a scenario.
    fn apply(&self, scenario: &mut Scenario) -> Result<(), String> {
        scenario.backend = self.io_backend;
        scenario.connections = self.connections.or(scenario.connections);
        scenario.threads = self.threads.or(scenario.threads);
        scenario.timeout = self.timeout.clone().or(scenario.timeout.take());
        if self.new_connections {
            scenario.new_connections = Some(true);
        }
        for line in &self.headers {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("-H `{line}`: write 'name: value'"))?;
            scenario.headers.insert(name.trim().to_string(), value.trim().to_string());
        }
        if !self.expect_status.is_empty() {
            scenario.expect.get_or_insert_default().status = self.expect_status.clone();
        }
        Ok(())
    }
}

impl LoadArgs {
    /// The file's scenario, or an empty one, under what the command line says.
    fn scenario(&self) -> Result<Scenario, String> {
        let mut scenario = Scenario::of(&self.target)?;
        self.client.apply(&mut scenario)?;
        scenario.duration = self.duration.clone().or(scenario.duration);
        scenario.warmup = self.warmup.clone().or(scenario.warmup);
        scenario.arrivals = self.arrivals.or(scenario.arrivals);
        scenario.seed = self.seed.or(scenario.seed);
        scenario.message_bytes = self.message_bytes.or(scenario.message_bytes);
        if self.method.is_some() || self.body.is_some() || self.body_file.is_some() {
            if !scenario.request.is_empty() {
                return Err("--method and --body: the scenario has its own requests".into());
            }
            // Relative to where the command runs.
            let folder = std::env::current_dir().map_err(|e| e.to_string())?;
            scenario.request.push(RequestText {
                method: self.method.clone(),
                body: self.body.clone(),
                body_file: self.body_file.as_ref().map(|file| folder.join(file)),
                ..RequestText::default()
            });
        }
        Ok(scenario)
    }
}

/// `100:10s,100-1000:30s`.
fn stages(text: &str) -> Result<Vec<StageText>, String> {
    let wrong = |part: &str| format!("--stages: `{part}` is no stage: write 100:10s or 100-1000:30s");
    let number = |text: &str, part: &str| text.trim().parse::<f64>().map_err(|_| wrong(part));
    text.split(',')
        .map(|part| {
            let (rate, time) = part.split_once(':').ok_or_else(|| wrong(part))?;
            let (from, to) = rate.split_once('-').unwrap_or((rate, rate));
            let (from, to) = (Some(number(from, part)?), Some(number(to, part)?));
            Ok(StageText { rate: None, from, to, r#for: time.trim().to_string() })
        })
        .collect()
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

    #[test]
    fn stages_of_the_command_line() {
        let stages = stages("100:10s, 100-1000:30s").unwrap();
        assert_eq!((stages[0].from, stages[0].to, stages[0].r#for.as_str()), (Some(100.0), Some(100.0), "10s"));
        assert_eq!((stages[1].from, stages[1].to, stages[1].r#for.as_str()), (Some(100.0), Some(1000.0), "30s"));
        assert!(super::stages("100").unwrap_err().contains("`100` is no stage"));
    }
}
