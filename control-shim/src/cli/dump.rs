//! `ringway dump`: a snapshot file in readable form, or what differs between two.

use super::Output;
use ringway_config::diff::{Change, What, diff};
use ringway_config::{Snapshot, dump};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `ringway dump`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The snapshot file, as `dataplane --state-dir` keeps it.
    pub snapshot: PathBuf,
    /// A later one: say what differs. Where rules stand is no difference.
    pub later: Option<PathBuf>,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints the snapshot, 1 when it is none; or what differs, 1 when anything does, 2 when one of the two is no snapshot.
pub fn run(arguments: &Arguments) -> ExitCode {
    match written(arguments) {
        Ok((text, differs)) => {
            let written = super::print(&text);
            if differs { ExitCode::from(1) } else { written }
        }
        Err(message) => {
            eprintln!("error: {message}");
            // 1 beside another snapshot means that they differ.
            ExitCode::from(if arguments.later.is_some() { 2 } else { 1 })
        }
    }
}

fn written(arguments: &Arguments) -> Result<(String, bool), String> {
    let snapshot = read(&arguments.snapshot)?;
    let Some(later) = &arguments.later else {
        let mut text = String::new();
        match arguments.output {
            Output::Text => dump::text(&snapshot, &mut text).map_err(|_| "the dump could not be written")?,
            Output::Json => text = format!("{:#}\n", dump::json(&snapshot)),
        }
        return Ok((text, false));
    };
    let changes = diff(&snapshot, &read(later)?);
    let text = match arguments.output {
        Output::Text => changes.iter().map(|change| format!("{change}\n")).collect(),
        Output::Json => format!("{:#}\n", json!({"changes": changes.iter().map(told).collect::<Vec<_>>()})),
    };
    Ok((text, !changes.is_empty()))
}

fn read(path: &Path) -> Result<Snapshot, String> {
    Snapshot::read_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn told(change: &Change) -> Value {
    let (kind, name) = (format!("{:?}", change.kind), &change.name);
    match &change.what {
        What::Added => json!({"change": "added", "kind": kind, "name": name}),
        What::Removed => json!({"change": "removed", "kind": kind, "name": name}),
        What::Changed { field, old, new } => {
            json!({"change": "changed", "kind": kind, "name": name, "field": field, "old": old, "new": new})
        }
    }
}
