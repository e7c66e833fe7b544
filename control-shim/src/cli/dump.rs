//! `ringway dump`: a snapshot file in readable form.

use super::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ringway dump`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The snapshot file, as `dataplane --state-dir` keeps it.
    pub snapshot: PathBuf,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints the snapshot. 1 when the file is not a valid snapshot.
pub fn run(arguments: &Arguments) -> ExitCode {
    let snapshot = match ringway_config::Snapshot::read_file(&arguments.snapshot) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.snapshot.display());
            return ExitCode::from(1);
        }
    };
    match arguments.output {
        Output::Text => {
            let mut text = String::new();
            if ringway_config::dump::text(&snapshot, &mut text).is_err() {
                eprintln!("error: {}: the dump could not be written", arguments.snapshot.display());
                return ExitCode::from(1);
            }
            super::print(&text)
        }
        Output::Json => super::print(&format!("{:#}\n", ringway_config::dump::json(&snapshot))),
    }
}
