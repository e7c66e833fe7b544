//! What the commands that load a target have in common: how it is spoken to, and what is asked of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use ringway_engine::choose::Choice;

use super::tls::TlsArgs;
use crate::scenario::{Arrivals, Direction, RequestText, Scenario, StageText};

/// How the target is spoken to, whatever is asked of it.
#[derive(Args, Debug)]
pub(super) struct ClientArgs {
    /// Connections over all threads [default: 50].
    #[arg(short, long, value_name = "N")]
    connections: Option<usize>,
    /// Threads [default: 1].
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
    /// A request without a whole reply after this has failed [default: 10s].
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// A new connection for every request.
    #[arg(long)]
    new_connections: bool,
    /// A header line, as in `-H 'accept: text/html'`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// A good reply has one of these statuses [default: 200 to 399].
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    expect_status: Vec<u16>,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    io_backend: Choice,
    #[command(flatten)]
    tls: TlsArgs,
    /// Serve the counts for Prometheus while the load runs; port 0 is any free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) prometheus: Option<SocketAddr>,
    /// The server's process on this machine: what it uses is counted, with its threads and children (`cpu`).
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// `http[s]://host[:port][/path]`, an echo (`ws[s]://host[:port][/path]`, `tcp://host:port` or `tls://host:port`), or a scenario file (TOML).
    #[arg(value_name = "URL|SCENARIO.toml")]
    target: String,
    #[command(flatten)]
    pub(super) client: ClientArgs,
    /// For tcp:// and tls://: bytes in one direction, as fast as they go.
    #[arg(long, value_name = "DIRECTION")]
    bulk: Option<Direction>,
    /// Bytes of a message of an echo [default: 64], or of a block in bulk [default: 1048576].
    #[arg(long, value_name = "N")]
    message_bytes: Option<usize>,
    /// How long is counted [default: 10s].
    #[arg(short, long, value_name = "TIME")]
    duration: Option<String>,
    /// How long the load runs before it is counted [default: 2s].
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// How arrivals are spaced [default: constant].
    #[arg(long, value_enum)]
    arrivals: Option<Arrivals>,
    /// The method [default: GET].
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// The body.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// The body, from a file.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// The same seed makes the same arrivals and the same mix [default: 1].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl ClientArgs {
    /// Lays them over a scenario.
    pub(super) fn apply(&self, scenario: &mut Scenario) -> Result<(), String> {
        scenario.backend = self.io_backend;
        self.tls.apply(scenario)?;
        scenario.connections = self.connections.or(scenario.connections);
        scenario.threads = self.threads.or(scenario.threads);
        scenario.timeout = self.timeout.clone().or(scenario.timeout.take());
        if self.new_connections {
            scenario.new_connections = Some(true);
        }
        for line in &self.headers {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("-H `{line}`: write 'name: value'"))?;
            scenario.headers.insert(name.trim().to_string(), value.trim().to_string());
        }
        if !self.expect_status.is_empty() {
            scenario.expect.get_or_insert_default().status = self.expect_status.clone();
        }
        Ok(())
    }
}

impl LoadArgs {
    /// The file's scenario, or an empty one, under what the command line says.
    pub(super) fn scenario(&self) -> Result<Scenario, String> {
        let mut scenario = Scenario::of(&self.target)?;
        self.client.apply(&mut scenario)?;
        scenario.duration = self.duration.clone().or(scenario.duration);
        scenario.warmup = self.warmup.clone().or(scenario.warmup);
        scenario.arrivals = self.arrivals.or(scenario.arrivals);
        scenario.seed = self.seed.or(scenario.seed);
        scenario.bulk = self.bulk.or(scenario.bulk);
        scenario.message_bytes = self.message_bytes.or(scenario.message_bytes);
        if self.method.is_some() || self.body.is_some() || self.body_file.is_some() {
            if !scenario.request.is_empty() {
                return Err("--method and --body: the scenario has its own requests".into());
            }
            // Relative to where the command runs.
            let folder = std::env::current_dir().map_err(|e| e.to_string())?;
            scenario.request.push(RequestText {
                method: self.method.clone(),
                body: self.body.clone(),
                body_file: self.body_file.as_ref().map(|file| folder.join(file)),
                ..RequestText::default()
            });
        }
        Ok(scenario)
    }
}

/// `100:10s,100-1000:30s`.
pub(super) fn stages(text: &str) -> Result<Vec<StageText>, String> {
    let wrong = |part: &str| format!("--stages: `{part}` is no stage: write 100:10s or 100-1000:30s");
    let number = |text: &str, part: &str| text.trim().parse::<f64>().map_err(|_| wrong(part));
    text.split(',')
        .map(|part| {
            let (rate, time) = part.split_once(':').ok_or_else(|| wrong(part))?;
            let (from, to) = rate.split_once('-').unwrap_or((rate, rate));
            let (from, to) = (Some(number(from, part)?), Some(number(to, part)?));
            Ok(StageText { rate: None, from, to, r#for: time.trim().to_string() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_the_command_line() {
        let stages = stages("100:10s, 100-1000:30s").unwrap();
        assert_eq!((stages[0].from, stages[0].to, stages[0].r#for.as_str()), (Some(100.0), Some(100.0), "10s"));
        assert_eq!((stages[1].from, stages[1].to, stages[1].r#for.as_str()), (Some(100.0), Some(1000.0), "30s"));
        assert!(super::stages("100").unwrap_err().contains("`100` is no stage"));
    }
}
