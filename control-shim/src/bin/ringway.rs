//! `ringway`: the one command for people. Help lists nothing that does not work.

use clap::{Parser, Subcommand};
use control_shim::cli;
use std::process::ExitCode;

/// A service mesh that runs Istio's and the Gateway API's manifests.
#[derive(Parser)]
#[command(name = "ringway", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a mesh on this machine, from manifests alone.
    Run(cli::run::Arguments),
    /// Say what is wrong with manifests, with file, line and how to mend it.
    Check(cli::check::Arguments),
    /// Say what changes for traffic between two sets of manifests.
    Plan(cli::plan::Arguments),
    /// Say why a request goes where it goes, with the manifest line behind every step.
    Explain(cli::explain::Arguments),
    /// Say what the status of the Gateway API's objects would be: who is accepted, what is attached.
    Status(cli::status::Arguments),
    /// Show a snapshot file in readable form.
    Dump(cli::dump::Arguments),
    #[command(hide = true)]
    Leash(cli::leash::Arguments),
}

fn main() -> ExitCode {
    // clap itself exits with 2 on wrong usage and with 0 after help.
    match Arguments::parse().command {
        Command::Run(arguments) => cli::run::run(arguments),
        Command::Check(arguments) => cli::check::run(&arguments),
        Command::Plan(arguments) => cli::plan::run(&arguments),
        Command::Explain(arguments) => cli::explain::run(&arguments),
        Command::Status(arguments) => cli::status::run(&arguments),
        Command::Dump(arguments) => cli::dump::run(&arguments),
        Command::Leash(arguments) => cli::leash::run(&arguments),
    }
}
