//! `ringway-load compare`: servers that do the same work, side by side in one run.
//!
//! Every round starts a fresh process of each contender in turn (A B C, A B C, …), so that a noisy moment hits all alike, and every figure that is compared is
//! compared within a round. The origin is this program's own (`serve`), the same for all. One processor for the proxy, the others for load and origin.

mod contender;
mod namespace;
mod ours;
mod table;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::{Output, print};
use crate::cores::Cores;
use crate::idle::IdleRound;
use crate::server::Server;
use crate::trial::{Bench, Round, free_port};
use contender::{Contender, Place};
use workloads::{WORKLOADS, Workload};

/// Of a contender that cannot do a workload.
const NO_MODE: &str = "it has no mode for that here";
/// Open, silent connections: fewer than one address has ports.
const IDLE_MAX: usize = 20_000;
/// Rounds of one comparison.
const ROUNDS_MAX: usize = 1000;

/// What is asked for.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Another contender: `NAME=COMMAND`. `{port}` in the command is where it listens, `{upstream}` the origin's address and `{upstream_port}` its port; may be repeated.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = named)]
    peer: Vec<(String, String)>,
    /// Only these contenders, by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// The contender that the ratios are of [default: the first].
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// What they are put to; `--list` names all [default: keepalive-64, keepalive-16, keepalive-256, large-16; none with --idle].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Also look at contenders that have so many open, silent connections: CPU, wake-ups, memory of each; `100,8000`.
    #[arg(long, value_name = "CONNECTIONS", value_delimiter = ',')]
    idle: Vec<usize>,
    /// Name the workloads and the contenders that are found, and end.
    #[arg(long)]
    list: bool,
    /// Rounds of each.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// How long each round is counted.
    #[arg(short, long, value_name = "TIME", default_value = "5s")]
    duration: String,
    /// How long each round runs before it is counted.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warmup: String,
    /// Our proxy [default: `dataplane` in $RINGWAY_BIN_DIR, or beside this program].
    #[arg(long, value_name = "FILE")]
    dataplane: Option<PathBuf>,
    /// Where the yardsticks are built.
    #[arg(long, value_name = "FOLDER")]
    yardsticks: Option<PathBuf>,
    /// Stay in the machine's network. Otherwise root gets one of its own, with reno as congestion control.
    #[arg(long)]
    no_namespace: bool,
    /// Do not count system calls (a short extra run of each under `perf`).
    #[arg(long)]
    no_system_calls: bool,
    /// A Markdown table, or JSON, to standard output.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Also write the JSON here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The whole outcome.
#[derive(Debug, Serialize)]
struct Comparison {
    schema: &'static str,
    machine: Machine,
    rounds: usize,
    duration: String,
    reference: String,
    contenders: Vec<Described>,
    missing: Vec<String>,
    results: Vec<Cell>,
    idle: Vec<IdleCell>,
    notes: Vec<String>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
struct Machine {
    kernel: String,
    processor: String,
    cores: String,
    network: String,
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    version: String,
    lacks: &'static str,
    bare: bool,
}

/// One contender under one workload.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    workload: &'static str,
    contender: String,
    rounds: Vec<Round>,
}

/// One contender with open, silent connections.
#[derive(Debug, Serialize)]
struct IdleCell {
    connections: usize,
    contender: String,
    rounds: Vec<IdleRound>,
}

/// Runs it.
pub fn compare(args: &CompareArgs) -> Result<(), String> {
    if args.rounds == 0 || args.rounds > ROUNDS_MAX {
        return Err(format!("--rounds: from 1 to {ROUNDS_MAX}"));
    }
    let (contenders, missing) = contenders(args)?;
    let workloads = workloads(args)?;
    if args.list {
        return print(&list(&contenders, &missing));
    }
    let reference = match &args.reference {
        None => contenders[0].name.clone(),
        Some(name) if contenders.iter().any(|contender| contender.name == *name) => name.clone(),
        Some(name) => return Err(format!("--reference: there is no contender `{name}`")),
    };
    let network = if args.no_namespace { "the machine's network".to_string() } else { namespace::enter() };
    let bench = Bench::new(1)?;
    let machine = Machine::of(&bench.cores, network);
    eprintln!("{}; {}", machine.cores, machine.network);
    missing.iter().for_each(|name| eprintln!("left out: {name}"));

    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    open_to_all(folder.path())?;
    let origin_port = free_port()?;
    let _origin = start_origin(origin_port, &bench.cores)?;
    let mut race = Race { bench, args, folder: folder.path().to_path_buf(), origin_port, notes: Vec::new() };
    let mut results = Vec::new();
    for workload in &workloads {
        results.extend(race.run(workload, &contenders)?);
    }
    let mut idle = Vec::new();
    for connections in &args.idle {
        idle.extend(race.idle(*connections, &contenders)?);
    }
    let described = |c: &Contender| Described {
        name: c.name.clone(),
        version: c.version.clone(),
        lacks: c.lacks,
        bare: c.is_bare(),
    };
    let comparison = Comparison {
        schema: "ringway-load-compare/1",
        machine,
        rounds: args.rounds,
        duration: args.duration.clone(),
        reference,
        contenders: contenders.iter().map(described).collect(),
        missing,
        results,
        idle,
        notes: race.notes,
    };
    let json = serde_json::to_string_pretty(&comparison).unwrap_or_default() + "\n";
    if let Some(path) = &args.json {
        std::fs::write(path, &json).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    print(&match args.output {
        Output::Json => json,
        Output::Text => table::markdown(&comparison, &workloads),
    })
}

/// What stays the same for all workloads.
struct Race<'a> {
    bench: Bench,
    args: &'a CompareArgs,
    folder: PathBuf,
    origin_port: u16,
    notes: Vec<String>,
}

impl Race<'_> {
    /// All rounds of one workload. A contender that fails is out of it, and said.
    fn run(&mut self, workload: &Workload, contenders: &[Contender]) -> Result<Vec<Cell>, String> {
        let mut cells: Vec<(usize, Cell)> = contenders
            .iter()
            .enumerate()
            .map(|(n, c)| (n, Cell { workload: workload.name, contender: c.name.clone(), rounds: Vec::new() }))
            .collect();
        for round in 0..self.args.rounds {
            let mut failed = Vec::new();
            for (n, cell) in &mut cells {
                match self.round(workload, &contenders[*n], round == 0)? {
                    Ok(measured) => {
                        eprintln!(
                            "{} {}/{}: {} {:.2} µs of CPU per request, {:.0}/s",
                            workload.name,
                            round + 1,
                            self.args.rounds,
                            cell.contender,
                            measured.cpu_us_per_request,
                            measured.rate
                        );
                        cell.rounds.push(measured);
                    }
                    Err(why) => {
                        self.leave_out(&cell.contender, workload.name, &why);
                        failed.push(*n);
                    }
                }
            }
            cells.retain(|(n, _)| !failed.contains(n));
        }
        Ok(cells.into_iter().map(|(_, cell)| cell).collect())
    }

    fn leave_out(&mut self, contender: &str, of: &str, why: &str) {
        let note = format!("{contender} is left out of {of}: {why}");
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// All rounds with so many open, silent connections.
    fn idle(&mut self, connections: usize, contenders: &[Contender]) -> Result<Vec<IdleCell>, String> {
        let duration = crate::gate::duration(&self.args.duration)?;
        let mut cells: Vec<IdleCell> = contenders
            .iter()
            .map(|c| IdleCell { connections, contender: c.name.clone(), rounds: Vec::new() })
            .collect();
        for _ in 0..self.args.rounds {
            for (contender, cell) in contenders.iter().zip(&mut cells) {
                let port = free_port()?;
                let place = Place { folder: &self.folder, port, origin: self.origin_port };
                let Some(command) = contender.command(&WORKLOADS[0], place)? else { continue };
                eprintln!("{connections} idle connections: {}", contender.name);
                match self.bench.idle(&command, ([127, 0, 0, 1], port).into(), "/128", connections, duration) {
                    Ok(round) => cell.rounds.push(round),
                    Err(why) if self.bench.is_interrupted() => return Err(why),
                    Err(why) => self.leave_out(&contender.name, "a round of idle connections", &why),
                }
            }
        }
        cells.retain(|cell| !cell.rounds.is_empty());
        Ok(cells)
    }

    /// The inner error is the contender's, the outer one ends the comparison.
    fn round(&self, workload: &Workload, contender: &Contender, first: bool) -> Result<Result<Round, String>, String> {
        let at = |port: u16| {
            let place = Place { folder: &self.folder, port, origin: self.origin_port };
            let scenario = workload.scenario(port, &self.args.duration, &self.args.warmup);
            contender.command(workload, place).map(|command| command.map(|command| (command, scenario)))
        };
        let Some((command, scenario)) = at(free_port()?)? else {
            return Ok(Err(NO_MODE.into()));
        };
        let mut measured = match self.bench.round(&command, &scenario) {
            Ok(measured) => measured,
            Err(why) if self.bench.is_interrupted() => return Err(why),
            Err(why) => return Ok(Err(why)),
        };
        if first
            && !self.args.no_system_calls
            && let Some((command, scenario)) = at(free_port()?)?
        {
            measured.system_calls_per_request = match self.bench.system_calls(&command, &scenario) {
                Err(why) if self.bench.is_interrupted() => return Err(why),
                counted => counted.unwrap_or(None),
            };
        }
        Ok(Ok(measured))
    }
}

fn contenders(args: &CompareArgs) -> Result<(Vec<Contender>, Vec<String>), String> {
    let (mut found, missing) = Contender::find(args.dataplane.as_deref(), args.yardsticks.as_deref(), &args.peer);
    for (n, contender) in found.iter().enumerate() {
        if found[..n].iter().any(|other| other.name == contender.name) {
            return Err(format!("--peer: there are two contenders `{}`", contender.name));
        }
    }
    if args.only.is_empty() {
        return if found.is_empty() { Err("nobody to compare".into()) } else { Ok((found, missing)) };
    }
    if let Some(name) = args.only.iter().find(|name| found.iter().all(|contender| contender.name != **name)) {
        let names: Vec<&str> = found.iter().map(|contender| contender.name.as_str()).collect();
        return Err(format!("--only: no contender `{name}`; there are {}", names.join(", ")));
    }
    // In the order asked for: the first is the reference.
    found.retain(|contender| args.only.contains(&contender.name));
    found.sort_by_key(|contender| args.only.iter().position(|name| *name == contender.name));
    Ok((found, Vec::new()))
}

fn workloads(args: &CompareArgs) -> Result<Vec<Workload>, String> {
    // A wrong time is told before anything is started.
    let time = |flag: &str, text: &str| crate::gate::duration(text).map_err(|e| format!("{flag}: {e}"));
    let (duration, _) = (time("--duration", &args.duration)?, time("--warmup", &args.warmup)?);
    if duration < Duration::from_millis(100) {
        return Err("--duration: at least 100ms".into());
    }
    if args.idle.iter().any(|connections| *connections == 0 || *connections > IDLE_MAX) {
        return Err(format!("--idle: from 1 to {IDLE_MAX} connections"));
    }
    if args.workload.is_empty() && !args.idle.is_empty() {
        return Ok(Vec::new());
    }
    if args.workload.is_empty() {
        return Ok(WORKLOADS.into_iter().filter(|workload| workload.usual).collect());
    }
    args.workload.iter().map(|name| Workload::named(name)).collect()
}

fn list(contenders: &[Contender], missing: &[String]) -> String {
    let mut out = String::from("Workloads\n");
    for workload in WORKLOADS {
        out += &format!(
            "  {:<20} {}{}\n",
            workload.name,
            workload.describe(),
            if workload.usual { " (usual)" } else { "" }
        );
    }
    out += "\nContenders\n";
    for contender in contenders {
        out += format!("  {:<20} {}", contender.name, contender.version).trim_end();
        out.push('\n');
    }
    missing.iter().for_each(|name| out += &format!("  missing: {name}\n"));
    out
}

/// The origin runs beside the load.
fn start_origin(port: u16, cores: &Cores) -> Result<Server, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let command =
        format!("exec '{}' serve --listen 127.0.0.1:{port}", program.display().to_string().replace('\'', r"'\''"));
    let beside = Cores { server: cores.load.clone(), load: cores.load.clone() };
    Server::start(&command, &beside, &[([127, 0, 0, 1], port).into()])
}

/// Peers that give up root still read their files.
fn open_to_all(folder: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, command) = text.split_once('=').ok_or("write NAME=COMMAND")?;
    if name.is_empty() || command.trim().is_empty() || name.contains(['|', ',', '\n']) {
        return Err("write NAME=COMMAND; a name has no comma and no bar".into());
    }
    Ok((name.to_string(), command.to_string()))
}

impl Machine {
    fn of(cores: &Cores, network: String) -> Machine {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            processor: model.map_or("unknown processor", |(_, name)| name).to_string(),
            cores: cores.describe(),
            network,
        }
    }
}
