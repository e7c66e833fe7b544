//! `serve`: an origin.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ringway_engine::choose::{self, Choice};
use ringway_engine::io::Backend;
use ringway_engine::{Epoll, Uring};

use crate::{gate, serve};

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// CPU time that every request costs besides: stands for a slower server.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = gate::duration)]
    work: Duration,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
}

pub(super) fn serve(args: &ServeArgs) -> Result<ExitCode, String> {
    let (socket, limits) = serve::bind(args.listen)?;
    let address = socket.local_addr().map_err(|e| e.to_string())?;
    let chosen = choose::probe(args.io_backend, limits).map_err(|e| e.to_string())?;
    eprintln!("serving on http://{address}/N ({})", chosen.backend.name());
    match chosen.backend {
        Backend::Uring => serve::serve(Uring::open(limits).map_err(|e| e.to_string())?, socket, args.work),
        _ => serve::serve(Epoll::open(limits).map_err(|e| format!("epoll: {e}"))?, socket, args.work),
    }?;
    Ok(ExitCode::SUCCESS)
}
