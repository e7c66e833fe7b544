//! `snapshot`: the proxy's configuration as `compare` writes it, for other tools that put the proxy in front of one origin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::compare::ours::{self, Front};
use crate::compare::routes::Routes;

#[derive(Args, Debug)]
pub(super) struct SnapshotArgs {
    /// The file to write; start the proxy with `--config file:FILE --node default/sample`.
    file: PathBuf,
    /// Where the proxy listens.
    listen: SocketAddr,
    /// What it forwards to.
    origin: SocketAddr,
    /// Route by the 2,000 rules of `compare` instead of one.
    #[arg(long)]
    table: bool,
    /// Bytes of a reply, which exact paths of the table end in.
    #[arg(long, value_name = "N", default_value_t = 128, requires = "table")]
    reply_bytes: usize,
    /// Write a line for every request.
    #[arg(long)]
    access_log: bool,
}

pub(super) fn snapshot(args: &SnapshotArgs) -> Result<ExitCode, String> {
    let routes = if args.table { Routes::Full } else { Routes::One };
    let front = Front::Http { routes, reply_bytes: args.reply_bytes, access_log: args.access_log };
    ours::write_snapshot(&args.file, args.listen, args.origin, &front)?;
    Ok(ExitCode::SUCCESS)
}
