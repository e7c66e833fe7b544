//! `ringway plan`: what changes for traffic between two sets of manifests, as a gate.

use super::Output;
use crate::explain::Source;
use crate::mesh::placement;
use crate::object::decode;
use crate::plan::{Kind, Replay, plan, replayed};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `ringway plan`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Manifests in force: a file or a folder.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Manifests to come.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// More manifests of both sides, such as the services that routes lead to.
    #[arg(long, value_name = "FILE|DIR")]
    with: Vec<PathBuf>,
    /// What makes the exit code 1; anything unless given.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    gate: Vec<Kind>,
    /// Decide on every request of this access log (JSON or text lines; - is standard input) on both sides.
    #[arg(long, value_name = "FILE", requires = "from")]
    log: Option<PathBuf>,
    /// Whose log it is: a pod, workload or app.
    #[arg(long, value_name = "[NAMESPACE/]NAME", requires = "log")]
    from: Option<String>,
    /// Take security that is not enforced yet for a warning.
    #[arg(long)]
    allow_unenforced: bool,
    #[command(flatten)]
    heads: super::heads::Heads,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Prints what changes. 0 nothing that the gate is about, 1 something, 2 nothing to compare.
pub fn run(arguments: &Arguments) -> ExitCode {
    let found = compare(arguments);
    let (text, touched) = match found {
        Ok(found) => found,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let written = super::print(&text);
    if touched { ExitCode::from(1) } else { written }
}

fn compare(arguments: &Arguments) -> Result<(String, bool), String> {
    for path in [&arguments.old, &arguments.new].into_iter().chain(&arguments.with) {
        path.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let options = decode::Options { allow_unenforced: arguments.allow_unenforced };
    // One placement for both, so that a pod keeps its address and a moved one is told from a new one.
    let mut placement = placement::Sequential::default();
    let mut side = |path: &PathBuf| {
        let paths: Vec<PathBuf> = arguments.with.iter().chain([path]).cloned().collect();
        Source::compile(&paths, options, arguments.heads.mesh(), &mut placement)
    };
    let (old, new) = (side(&arguments.old), side(&arguments.new));
    let mut plan = plan(&old, &new)?;
    if let (Some(log), Some(from)) = (&arguments.log, &arguments.from) {
        let mut line = ProgressLine::default();
        let hear = |so_far: &Replay| line.tell(so_far);
        plan.replay = Some(match log.as_os_str() == "-" {
            true => replayed(&old, &new, from, std::io::stdin().lock(), hear)?,
            false => {
                let file = std::fs::File::open(log).map_err(|error| format!("{}: {error}", log.display()))?;
                replayed(&old, &new, from, std::io::BufReader::new(file), hear)?
            }
        });
    }
    let text = match arguments.output {
        Output::Text => plan.text(),
        Output::Json => format!("{:#}\n", plan.json()),
    };
    Ok((text, plan.touches(&arguments.gate)))
}

/// How far a long log is, on a terminal's last line; gone when it is done.
#[derive(Default)]
struct ProgressLine {
    told: Option<Instant>,
}

impl ProgressLine {
    const EVERY: Duration = Duration::from_millis(200);

    fn tell(&mut self, so_far: &Replay) {
        let mut out = std::io::stderr();
        if self.told.is_some_and(|told| told.elapsed() < Self::EVERY) || !out.is_terminal() {
            return;
        }
        self.told = Some(Instant::now());
        // Whoever cannot read it misses nothing else.
        let _ = write!(out, "\r{} requests decided, {} differently\x1b[K", so_far.requests, so_far.differ);
        let _ = out.flush();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.told.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
