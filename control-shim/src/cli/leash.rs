//! `ringway leash PARENT -- COMMAND…`: becomes a command that ends with its parent, however that one ends. `ringway run` starts pods' commands by it;
//! it is not listed in the help.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Arguments of `ringway leash`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Process id of the parent.
    parent: u32,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Becomes the command; returns only when that fails: 127, as a shell does.
pub fn run(arguments: &Arguments) -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("error: cannot tie the command to its parent: {error}");
        return ExitCode::from(126);
    }
    // The parent may have ended before the tie was made.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(arguments.parent) {
        return ExitCode::from(126);
    }
    let [program, rest @ ..] = &arguments.command[..] else { return ExitCode::from(127) };
    let error = Command::new(program).args(rest).exec();
    eprintln!("error: {program}: {error}");
    ExitCode::from(127)
}
