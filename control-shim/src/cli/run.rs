//! `ringway run`: a mesh on this machine, from manifests alone.

use super::Output;
use crate::run::{self, Options};
use ringway_config::model::AccessLog;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ringway run`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Pods without a command of their own (annotation ringway.dev/command, a JSON array) get a stand-in app that says who it \
                        is and calls whom ringway.dev/calls names. Edits of the files apply at once. Ctrl-C stops everything."
)]
pub struct Arguments {
    /// Manifests: files, or folders with .yaml, .yml and .json files; applied in order.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// List every pod's addresses and ports.
    #[arg(long)]
    ports: bool,
    /// How to tell what happens: a live view (plain lines where there is no terminal), or one JSON object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Run although the manifests ask for security that is not enforced yet.
    #[arg(long)]
    allow_unenforced: bool,
    /// Take pods' addresses from 127.N; default is the first network that no other run has.
    #[arg(long, value_name = "127.N")]
    network: Option<String>,
    /// Where gateways listen; a pod's own address is taken where a port is not free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    gateway_address: IpAddr,
    /// Open ports below 1024 as they are, not 8000 higher.
    #[arg(long)]
    privileged_ports: bool,
    /// The proxies' I/O driver.
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = ["auto", "uring", "epoll"])]
    io_backend: String,
    /// Threads of each proxy.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Show the proxies' access logs; without it, MeshConfig's `accessLogFile` decides.
    #[arg(long, value_name = "FORMAT", value_enum)]
    access_log: Option<Log>,
    #[command(flatten)]
    heads: super::heads::Heads,
    /// Stop when standard input ends: for programs that start this one.
    #[arg(long)]
    exit_with_stdin: bool,
    /// DNS server that the proxies ask for hosts of ServiceEntries, up to 3; those of /etc/resolv.conf when none is given
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns: Vec<std::net::SocketAddr>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Log {
    Off,
    Text,
    Json,
}

/// Runs until it is asked to stop. 1 when the manifests have errors or something does not start.
pub fn run(arguments: Arguments) -> ExitCode {
    let access_log = arguments.access_log.map(|format| match format {
        Log::Off => AccessLog::Off,
        Log::Text => AccessLog::Text,
        Log::Json => AccessLog::Json,
    });
    run::run(Options {
        paths: arguments.paths,
        list_ports: arguments.ports,
        json: arguments.output == Output::Json,
        allow_unenforced: arguments.allow_unenforced,
        network: arguments.network,
        gateway_address: arguments.gateway_address,
        privileged_ports: arguments.privileged_ports,
        io_backend: arguments.io_backend,
        workers: arguments.workers,
        dns: arguments.dns,
        access_log,
        heads: arguments.heads,
        exit_with_stdin: arguments.exit_with_stdin,
    })
}
