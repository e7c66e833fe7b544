//! One round: a fresh process of a server, warmed up, loaded, and looked at before and after.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::cores::Cores;
use crate::gate::{self, Figure};
use crate::plan::Plan;
use crate::report::json::Report;
use crate::report::{bytes, time};
use crate::run;
use crate::scenario::Scenario;
use crate::server::Server;

/// While system calls are counted.
const COUNTED: Duration = Duration::from_secs(1);

/// What a round needs besides its server.
pub struct Bench {
    /// Who runs where.
    pub cores: Cores,
    /// Set by Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

/// What a round measured.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Requests per second that ended.
    pub rate: f64,
    /// Requests that were counted.
    pub requests: u64,
    /// CPU microseconds of the server per request.
    pub cpu_us_per_request: f64,
    /// Latency.
    pub p50_ns: f64,
    /// Latency.
    pub p99_ns: f64,
    /// Latency.
    pub p999_ns: f64,
    /// Context switches of the server per request.
    pub switches_per_request: f64,
    /// System calls of the server per request, where `perf` can count them.
    pub system_calls_per_request: Option<f64>,
    /// Resident memory when the server had just started, bytes.
    pub memory_fresh: u64,
    /// The most resident memory that it ever had, bytes.
    pub memory_peak: u64,
    /// From the start of the process until it took a connection.
    pub ready_ms: f64,
    /// Failed requests as a part of all.
    pub errors: f64,
    /// The whole report of the load.
    #[serde(skip)]
    pub report: Report,
}

/// Something of a round that two servers can be compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// CPU of the server per request, nanoseconds.
    Cpu,
    /// Its peak memory, bytes.
    Memory,
    /// Its context switches per request.
    Switches,
    /// A figure of the load.
    Load(Figure),
}

impl Bench {
    /// Divides the processors, moves this thread to the load's, and lets Ctrl-C and SIGTERM end rounds.
    pub fn new(server_cores: usize) -> Result<Bench, String> {
        ringway_engine::net::raise_nofile();
        let cores = Cores::divide(server_cores).map_err(|e| format!("processors: {e}"))?;
        cores.pin_load().map_err(|e| format!("processors: {e}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, stop.clone()).map_err(|e| e.to_string())?;
        }
        Ok(Bench { cores, stop })
    }

    /// Runs one round: `command` serves what is planned.
    pub fn round(&self, command: &str, plan: Plan) -> Result<Round, String> {
        let mut server = Server::start(command, &self.cores, &plan.addresses)?;
        let fresh = server.memory().now;
        let measured_plan = run::warm_up(Plan { warmup: plan.warmup.min(plan.duration), ..plan }, &self.stop)?;
        let before = server.usage();
        let measured = run::run(&measured_plan, &self.stop, |_| {})?;
        let spent = server.usage().since(&before);
        let memory = server.memory();
        self.check_interrupted()?;
        if !server.is_running() {
            return Err(format!("`{command}` ended under load{}", server.words()));
        }
        let report = Report::new(&measured_plan, &measured);
        if measured.total.requests == measured.total.failed() {
            let causes: Vec<&String> = report.errors.causes.keys().collect();
            return Err(format!("`{command}` answered no request ({causes:?}){}", server.words()));
        }
        let requests = measured.total.requests as f64;
        Ok(Round {
            rate: report.rate,
            requests: report.requests,
            cpu_us_per_request: spent.cpu.as_secs_f64() * 1e6 / requests,
            p50_ns: report.percentile(50.0),
            p99_ns: report.percentile(99.0),
            p999_ns: report.percentile(99.9),
            switches_per_request: spent.switches as f64 / requests,
            system_calls_per_request: None,
            memory_fresh: fresh,
            memory_peak: memory.peak,
            ready_ms: server.ready_after.as_secs_f64() * 1e3,
            errors: report.errors.share,
            report,
        })
    }

    /// System calls per request in a round of their own, as counting them costs time; `None` where `perf` cannot count them.
    pub fn system_calls(&self, command: &str, plan: Plan) -> Result<Option<f64>, String> {
        let load = plan.load.without_warmup(plan.warmup);
        let plan = Plan { load, duration: COUNTED, warmup: Duration::ZERO, ..plan };
        let server = Server::start(command, &self.cores, &plan.addresses)?;
        let pids = crate::server::family(server.pid()).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(perf) = perf else { return Ok(None) };
        let measured = run::run(&plan, &self.stop, |_| {});
        // perf writes its count when it is interrupted.
        if let Some(pid) = i32::try_from(perf.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let output = perf.wait_with_output().map_err(|e| format!("perf: {e}"))?;
        self.check_interrupted()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let count = text
            .lines()
            .find(|l| l.contains("raw_syscalls:sys_enter"))
            .and_then(|l| l.split(',').next()?.parse::<f64>().ok());
        let requests = measured?.total.requests;
        Ok(count.filter(|_| requests > 0).map(|count| count / requests as f64))
    }

    /// Ctrl-C was pressed.
    pub fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error once Ctrl-C was pressed.
    pub fn check_interrupted(&self) -> Result<(), String> {
        if self.is_interrupted() { Err("interrupted".into()) } else { Ok(()) }
    }
}

/// Puts a free port wherever `{port}` stands.
pub fn with_free_port(command: &str, scenario: &Scenario) -> Result<(String, Scenario), String> {
    let port = free_port()?.to_string();
    let fill = |text: &str| text.replace("{port}", &port);
    Ok((fill(command), Scenario { url: scenario.url.as_deref().map(fill), ..scenario.clone() }))
}

/// A port of 127.0.0.1 that nobody has just now.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|e| format!("no free port: {e}"))
}

impl Measure {
    /// Its value in a round.
    pub fn of(self, round: &Round) -> f64 {
        match self {
            Measure::Cpu => round.cpu_us_per_request * 1e3,
            Measure::Memory => round.memory_peak as f64,
            Measure::Switches => round.switches_per_request,
            // A round in which nobody was answered is none.
            Measure::Load(figure) => figure.of(&round.report).unwrap_or_default(),
        }
    }

    /// A generator that was late or busy spoils it.
    pub fn needs_fit_generator(self) -> bool {
        matches!(self, Measure::Load(_))
    }

    /// For people.
    pub fn show(self, value: f64) -> String {
        match self {
            Measure::Cpu => time(value as u64),
            Measure::Memory => bytes(value as u64),
            Measure::Switches => format!("{value:.2}"),
            Measure::Load(figure) => figure.show(value),
        }
    }

    /// A greater value is the better one.
    pub fn more_is_better(self) -> bool {
        matches!(self, Measure::Load(figure) if figure.more_is_better())
    }
}

impl std::str::FromStr for Measure {
    type Err = String;
    fn from_str(text: &str) -> Result<Measure, String> {
        match text {
            "cpu" => Ok(Measure::Cpu),
            "memory" => Ok(Measure::Memory),
            "switches" => Ok(Measure::Switches),
            "errors" | "unsent" => Err(format!("`{text}` has no ratio; failed requests make `ab` fail by themselves")),
            _ => text.parse().map(Measure::Load).map_err(|e: String| format!("{e}; or memory, switches")),
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Measure::Cpu => f.write_str("cpu"),
            Measure::Memory => f.write_str("memory"),
            Measure::Switches => f.write_str("switches"),
            Measure::Load(figure) => figure.fmt(f),
        }
    }
}

/// `cpu=3%`: how much worse a measure may get.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// Of what.
    pub measure: Measure,
    /// As a part of 1.
    pub part: f64,
}

impl std::str::FromStr for Allowed {
    type Err = String;
    fn from_str(text: &str) -> Result<Allowed, String> {
        let wrong = || format!("`{text}` is no allowance: write cpu=3%");
        let (measure, part) = text.split_once('=').ok_or_else(wrong)?;
        let part = gate::number(part.trim().strip_suffix('%').ok_or_else(wrong)?)? / 100.0;
        Ok(Allowed { measure: measure.trim().parse()?, part })
    }
}
