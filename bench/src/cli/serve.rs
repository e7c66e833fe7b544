//! `serve`: an origin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringway_engine::choose::{self, Choice};
use ringway_engine::io::Backend;
use ringway_engine::{Epoll, Io, ListenSocket, Uring};
use rustls::ServerConfig;

use crate::serve::bulk::{self, Bulk};
use crate::serve::tls;
use crate::{gate, serve};

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// CPU time that every request costs besides: stands for a slower server.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = gate::duration)]
    work: Duration,
    /// No HTTP: read and forget what comes, or send bytes without end, on every connection.
    #[arg(long, value_name = "KIND", conflicts_with = "work")]
    bulk: Option<Bulk>,
    /// TLS, with this certificate and those that lead to its authority, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "bulk")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
}

pub(super) fn serve(args: &ServeArgs) -> Result<ExitCode, String> {
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(tls::config(cert, key)?),
        _ => None,
    };
    let (socket, limits) = serve::bind(args.listen)?;
    let address = socket.local_addr().map_err(|e| e.to_string())?;
    let chosen = choose::probe(args.io_backend, limits).map_err(|e| e.to_string())?;
    let url = match (args.bulk, &tls) {
        (Some(_), _) => format!("tcp://{address}"),
        (None, None) => format!("http://{address}/N"),
        (None, Some(_)) => format!("https://{address}/N"),
    };
    eprintln!("serving on {url} ({})", chosen.backend.name());
    match chosen.backend {
        Backend::Uring => serve_with(Uring::open(limits).map_err(|e| e.to_string())?, socket, tls, args),
        _ => serve_with(Epoll::open(limits).map_err(|e| format!("epoll: {e}"))?, socket, tls, args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn serve_with<I: Io>(
    io: I,
    socket: ListenSocket,
    tls: Option<Arc<ServerConfig>>,
    args: &ServeArgs,
) -> Result<(), String> {
    match args.bulk {
        Some(bulk) => bulk::serve(io, socket, bulk),
        None => serve::serve(io, socket, tls, args.work),
    }
}
