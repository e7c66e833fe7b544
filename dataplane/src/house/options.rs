//! The command line: parsed to what was typed, then resolved to what it means.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use ringway_engine::choose::Choice;

use crate::ledger::WORKERS_MAX;

/// The Ringway proxy: sidecar and gateway.
#[derive(Parser, Debug)]
#[command(name = "dataplane", version, about, long_about = None, max_term_width = 110)]
struct Arguments {
    /// Where the config comes from: a control shim's socket, or a snapshot file
    #[arg(long, value_name = "unix:PATH|file:SNAPSHOT")]
    config: String,
    /// Which pod this proxy serves
    #[arg(long, value_name = "NAMESPACE/POD")]
    node: String,
    /// I/O driver; auto takes io_uring unless the kernel or a seccomp profile refuses it
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = ["auto", "uring", "epoll"])]
    io_backend: String,
    /// Threads, each with its own connections; a sidecar needs one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=WORKERS_MAX as i64))]
    workers: u16,
    /// Admin HTTP server: a Unix socket or a loopback address
    #[arg(long, value_name = "unix:PATH|127.0.0.1:PORT")]
    admin: Option<String>,
    /// Keeps the last good config here and starts from it
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Longest graceful drain after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    drain_time: f64,
    /// DNS server for endpoints that are names, up to 3; those of /etc/resolv.conf when none is given
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns: Vec<SocketAddr>,
    /// Exit when standard input is closed: the proxy ends with its parent
    #[arg(long)]
    exit_with_stdin: bool,
}

/// Where the config comes from.
#[derive(Clone, Debug)]
pub enum ConfigFrom {
    /// A control shim listens here.
    Unix(PathBuf),
    /// A snapshot file.
    File(PathBuf),
}

/// Where the admin server listens.
#[derive(Clone, Debug)]
pub enum AdminAt {
    /// A Unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// What the command line means.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Options {
    pub config: ConfigFrom,
    pub node: String,
    pub driver: Choice,
    pub workers: usize,
    pub admin: Option<AdminAt>,
    pub state_dir: Option<PathBuf>,
    pub drain_time: Duration,
    pub dns: Vec<SocketAddr>,
    pub exit_with_stdin: bool,
}

impl Options {
    /// Parses the process's arguments; prints help or the mistake and exits (2) where clap would.
    pub fn from_args() -> Result<Options, String> {
        Self::resolve(Arguments::parse())
    }

    fn resolve(a: Arguments) -> Result<Options, String> {
        let config = match a.config.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => ConfigFrom::Unix(path.into()),
            Some(("file", path)) if !path.is_empty() => ConfigFrom::File(path.into()),
            _ => return Err(format!("--config {}: must be unix:PATH or file:SNAPSHOT", a.config)),
        };
        if !a.node.split_once('/').is_some_and(|(ns, pod)| !ns.is_empty() && !pod.is_empty() && !pod.contains('/')) {
            return Err(format!("--node {}: must be NAMESPACE/POD", a.node));
        }
        if !(0.0..=3600.0).contains(&a.drain_time) {
            return Err(format!("--drain-time {}: must be 0 to 3600 seconds", a.drain_time));
        }
        if a.dns.len() > super::dns::SERVERS_MAX {
            return Err(format!("--dns: at most {} servers", super::dns::SERVERS_MAX));
        }
        let driver = a.io_backend.parse().map_err(|e| format!("--io-backend {}: {e}", a.io_backend))?;
        Ok(Options {
            config,
            node: a.node,
            driver,
            workers: a.workers.into(),
            admin: a.admin.as_deref().map(admin_at).transpose()?,
            state_dir: a.state_dir,
            drain_time: Duration::from_secs_f64(a.drain_time),
            dns: if a.dns.is_empty() { super::dns::system_servers() } else { a.dns },
            exit_with_stdin: a.exit_with_stdin,
        })
    }
}

fn admin_at(text: &str) -> Result<AdminAt, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(AdminAt::Unix(path.into()));
    }
    let address: SocketAddr =
        text.parse().map_err(|_| format!("--admin {text}: must be unix:PATH or a loopback ADDRESS:PORT"))?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if !loopback {
        return Err(format!("--admin {text}: the admin server listens on loopback or a Unix socket only"));
    }
    Ok(AdminAt::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_server_is_never_exposed() {
        for (text, ok) in [
            ("unix:/run/a.sock", true),
            ("127.0.0.1:15000", true),
            ("127.3.2.1:0", true),
            ("[::1]:15000", true),
            ("0.0.0.0:15000", false),
            ("10.0.0.1:15000", false),
            ("[::]:1", false),
            ("localhost:1", false),
        ] {
            assert_eq!(admin_at(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |config: &str, node: &str| {
            Options::resolve(Arguments::parse_from(["dataplane", "--config", config, "--node", node]))
        };
        assert!(parse("unix:/s", "ns/pod").is_ok());
        for (config, node) in [("unix:", "ns/pod"), ("http://x", "ns/pod"), ("file:/s", "pod"), ("file:/s", "a/b/c")] {
            assert!(parse(config, node).is_err(), "{config} {node}");
        }
    }
}
