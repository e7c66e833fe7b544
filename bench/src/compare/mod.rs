//! `ringway-load compare`: servers that do the same work, side by side in one run.
//!
//! Every round starts a fresh process of each contender in turn (A B C, A B C, …), so that a noisy moment hits all alike, and every figure that is compared is
//! compared within a round. The origin is this program's own (`serve`), the same for all. One processor for the proxy, the others for load and origin.

mod bars;
mod contender;
mod evidence;
mod namespace;
pub(crate) mod ours;
mod page;
mod peers;
mod place;
mod rounds;
pub(crate) mod routes;
mod table;
mod trials;
mod verdict;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::{Output, print, writable};
use crate::cores::Cores;
use crate::server::Server;
use crate::trial::{Bench, free_port};
use contender::Contender;
use place::quoted;
use rounds::{Cell, Field, Settings};
use trials::Trial;
use verdict::Verdict;

/// Rounds of one comparison.
const ROUNDS_MAX: usize = 1000;
/// Rounds of each, and how long each is counted, where nothing is said.
const USUAL: (usize, &str) = (5, "5s");
/// The same in the race: a latency needs so many to be judged.
const RACING: (usize, &str) = (10, "20s");

/// What is asked for.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Another contender: `NAME=COMMAND`. `{port}` in the command is where it listens, `{upstream}` the origin's address and `{upstream_port}` its port; may be repeated.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = named)]
    peer: Vec<(String, String)>,
    /// Only these contenders, by name; `--list` names all, those with an access log too.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// The contender that the ratios are of [default: the first].
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// All that the race consists of, and which of its bars are met; with --workload or --only a part of it.
    #[arg(long)]
    race: bool,
    /// What they are put to; `--list` names all [default: keepalive-64, keepalive-256, keepalive-16, large-16].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Name the workloads and the contenders that are found, and end.
    #[arg(long)]
    list: bool,
    /// Rounds of each [default: 5, in the race 10].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long each round is counted [default: 5s, in the race 20s].
    #[arg(short, long, value_name = "TIME")]
    duration: Option<String>,
    /// How long each round runs before it is counted.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warmup: String,
    /// Of the workload `memory`: how long its load is, and the rest behind it.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    rest: String,
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
    /// Also write an HTML page here.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
    /// Of the race.
    verdicts: Vec<Verdict>,
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
    peer: bool,
    access_log: bool,
}

/// Runs it.
pub fn compare(args: &CompareArgs) -> Result<(), String> {
    let (contenders, missing) = contenders(args)?;
    let settings = settings(args)?;
    let trials = trials(args)?;
    if args.list {
        return print(&list(&contenders, &missing));
    }
    let reference = match &args.reference {
        None => contenders[0].name.clone(),
        Some(name) if contenders.iter().any(|contender| contender.name == *name) => name.clone(),
        Some(name) => return Err(format!("--reference: there is no contender `{name}`")),
    };
    writable(&[&args.json, &args.html])?;
    let network = if args.no_namespace { "the machine's network".to_string() } else { namespace::enter() };
    let bench = Bench::new(1)?;
    let machine = Machine::of(&bench.cores, network);
    eprintln!("{}; {}", machine.cores, machine.network);
    missing.iter().for_each(|name| eprintln!("left out: {name}"));

    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    open_to_all(folder.path())?;
    let (_origin, origin_port) = start_origin("", &bench.cores)?;
    let (_source, source_port) = start_origin("--bulk source", &bench.cores)?;
    let mut field = Field {
        bench,
        settings,
        folder: folder.path().to_path_buf(),
        origin_port,
        source_port,
        notes: Vec::new(),
        plans: HashMap::new(),
    };
    let results = field.run(&trials, &contenders)?;
    if results.is_empty() {
        return Err(format!("nobody could be measured: {}", field.notes.join("; ")));
    }
    let described = |c: &Contender| Described {
        name: c.name.clone(),
        version: c.version.clone(),
        lacks: c.lacks,
        bare: c.is_bare(),
        peer: c.is_peer(),
        access_log: c.access_log,
    };
    let mut comparison = Comparison {
        schema: "ringway-load-compare/1",
        machine,
        rounds: field.settings.rounds,
        duration: field.settings.duration.clone(),
        reference,
        contenders: contenders.iter().map(described).collect(),
        missing,
        results,
        verdicts: Vec::new(),
        notes: field.notes,
    };
    if args.race {
        comparison.verdicts = verdict::verdicts(&comparison, &trials);
    }
    let json = serde_json::to_string_pretty(&comparison).unwrap_or_default() + "\n";
    let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    args.json.as_deref().map_or(Ok(()), |path| write(path, &json))?;
    args.html.as_deref().map_or(Ok(()), |path| write(path, &page::page(&comparison, &trials)))?;
    print(&match args.output {
        Output::Json => json,
        Output::Text => table::markdown(&comparison, &trials),
    })
}

fn contenders(args: &CompareArgs) -> Result<(Vec<Contender>, Vec<String>), String> {
    for (flag, path) in [("--dataplane", &args.dataplane), ("--yardsticks", &args.yardsticks)] {
        if let Some(path) = path.as_ref().filter(|path| !path.exists()) {
            return Err(format!("{flag} {}: there is no such file", path.display()));
        }
    }
    let (mut found, missing) = Contender::find(args.dataplane.as_deref(), args.yardsticks.as_deref(), &args.peer);
    for (n, contender) in found.iter().enumerate() {
        if found[..n].iter().any(|other| other.name == contender.name) {
            return Err(format!("--peer: there are two contenders `{}`", contender.name));
        }
    }
    if args.only.is_empty() {
        found.retain(if args.race { Contender::is_racing } else { Contender::is_usual });
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

fn settings(args: &CompareArgs) -> Result<Settings, String> {
    let (rounds, duration) = if args.race { RACING } else { USUAL };
    let settings = Settings {
        rounds: args.rounds.unwrap_or(rounds),
        duration: args.duration.clone().unwrap_or(duration.to_string()),
        warmup: args.warmup.clone(),
        rest: args.rest.clone(),
        system_calls: !args.no_system_calls,
    };
    if settings.rounds == 0 || settings.rounds > ROUNDS_MAX {
        return Err(format!("--rounds: from 1 to {ROUNDS_MAX}"));
    }
    settings.check()?;
    Ok(settings)
}

fn trials(args: &CompareArgs) -> Result<Vec<Trial>, String> {
    if args.workload.is_empty() && args.race {
        return Ok(bars::trials());
    }
    if args.workload.is_empty() {
        return Ok(Trial::all().into_iter().filter(Trial::is_usual).collect());
    }
    args.workload.iter().map(|name| Trial::named(name)).collect()
}

fn list(contenders: &[Contender], missing: &[String]) -> String {
    let mut out = String::from("Workloads\n");
    for trial in Trial::all() {
        let usual = if trial.is_usual() { " (usual)" } else { "" };
        out += &format!("  {:<20} {}{usual}\n", trial.name(), trial.describe());
    }
    out += "\nContenders\n";
    for contender in contenders {
        out += format!("  {:<20} {}", contender.name, contender.version).trim_end();
        out.push('\n');
    }
    missing.iter().for_each(|name| out += &format!("  missing: {name}\n"));
    out
}

/// An origin runs beside the load.
fn start_origin(flags: &str, cores: &Cores) -> Result<(Server, u16), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let port = free_port()?;
    let command = format!("exec {} serve --listen 127.0.0.1:{port} {flags}", quoted(&program));
    let beside = Cores { server: cores.load.clone(), load: cores.load.clone() };
    Ok((Server::start(&command, &beside, &[([127, 0, 0, 1], port).into()])?, port))
}

/// Peers that give up root still read their files.
fn open_to_all(folder: &Path) -> Result<(), String> {
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
