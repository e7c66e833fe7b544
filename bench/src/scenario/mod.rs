//! Scenario files: a run in TOML. The command line is the same structure, laid over the file's.
//!
//! Here is the format. [`Scenario::plan`] checks it and makes the typed form of it (`plan.rs`), with requests as bytes (`request.rs`) to where
//! the URL says (`target.rs`).

mod load;
mod plan;
mod request;
mod target;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringway_engine::choose::Choice;
use serde::Deserialize;

pub use self::tls::TlsText;
use crate::replay::Recording;

/// A scenario file. Every field may be missing; the command line wins over it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// `http://host[:port][/path]`: the path is the first part of every request's. `ws://host[:port][/path]` and `tcp://host:port` are echoes.
    /// `https`, `wss` and `tls` are the same over TLS.
    pub url: Option<String>,
    /// Of an echo: bytes of a message; in bulk: of a block.
    pub message_bytes: Option<usize>,
    /// Of `tcp://` and `tls://`: bytes in one direction, in blocks of `message-bytes`.
    pub bulk: Option<Direction>,
    /// Requests per second, over all threads.
    pub rate: Option<f64>,
    /// A rate that changes.
    pub stages: Vec<StageText>,
    /// `constant` or `poisson`.
    pub arrivals: Option<Arrivals>,
    /// Every connection asks again as soon as it has its reply.
    pub closed: Option<bool>,
    /// In a closed loop: between a reply and the next request.
    pub think: Option<String>,
    /// Connections over all threads.
    pub connections: Option<usize>,
    /// Threads.
    pub threads: Option<usize>,
    /// How long is counted.
    pub duration: Option<String>,
    /// How long nothing is counted before.
    pub warmup: Option<String>,
    /// A request without a whole reply after this has failed.
    pub timeout: Option<String>,
    /// A connection for every request.
    pub new_connections: Option<bool>,
    /// Makes runs repeatable.
    pub seed: Option<u64>,
    /// A CSV file whose first line names columns; requests say `{column}`.
    pub data: Option<PathBuf>,
    /// How a server is trusted, and who the client says it is.
    pub tls: Option<TlsText>,
    /// Header lines of every request.
    pub headers: BTreeMap<String, String>,
    /// What a good reply to any request is, where the request does not say.
    pub expect: Option<ExpectText>,
    /// The mix.
    pub request: Vec<RequestText>,
    /// Requests that were recorded; in place of rate and mix.
    #[serde(skip)]
    pub recording: Option<Recording>,
    /// Their replies are expected to have the statuses that were recorded.
    #[serde(skip)]
    pub expect_recorded_status: bool,
    /// The file that it was read from, for what is said about it.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where relative paths start.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The driver.
    #[serde(skip)]
    pub backend: Choice,
}

/// `{ rate = 100, for = "10s" }` or `{ from = 100, to = 1000, for = "30s" }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageText {
    /// A steady rate.
    pub rate: Option<f64>,
    /// A ramp's start.
    pub from: Option<f64>,
    /// A ramp's end.
    pub to: Option<f64>,
    /// How long.
    pub r#for: String,
}

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// As independent clients do.
    Poisson,
}

/// Which way bytes go in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the server.
    Send,
    /// From the server.
    Receive,
}

/// One request of the mix.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestText {
    /// For reports.
    pub name: Option<String>,
    /// Share of the mix.
    pub weight: Option<u32>,
    /// `GET` where nothing is said.
    pub method: Option<String>,
    /// Path and query.
    pub path: Option<String>,
    /// Header lines.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// The body, from a file.
    pub body_file: Option<PathBuf>,
    /// What a good reply is.
    pub expect: Option<ExpectText>,
}

/// What a good reply is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectText {
    /// Statuses; 200 to 399 where nothing is said.
    pub status: Vec<u16>,
    /// Header lines that must be there.
    pub headers: BTreeMap<String, String>,
    /// Of the body, hexadecimal.
    pub body_sha256: Option<String>,
    /// Length of the body.
    pub body_bytes: Option<u64>,
}

impl Scenario {
    /// A URL's, otherwise empty, or a file's.
    pub fn of(target: &str) -> Result<Scenario, String> {
        if target.contains("://") {
            Ok(Scenario { url: Some(target.to_string()), ..Scenario::default() })
        } else if target.ends_with(".toml") {
            Scenario::read(Path::new(target))
        } else {
            Err(format!("`{target}` is neither a URL (http://{target}) nor a scenario (.toml)"))
        }
    }

    /// Of recorded requests, sent to this URL.
    pub fn replay(url: &str, recording: Recording) -> Scenario {
        Scenario { url: Some(url.to_string()), recording: Some(recording), ..Scenario::default() }
    }

    /// Reads a file. The error says where in it.
    pub fn read(path: &Path) -> Result<Scenario, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut scenario = Scenario::parse(&text).map_err(|e| format!("{}:{e}", path.display()))?;
        scenario.file = Some(path.to_path_buf());
        scenario.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(scenario)
    }

    /// Reads TOML. The error starts with line and column.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start).min(text.len());
            let before = &text.as_bytes()[..at];
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            let column = at - before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1) + 1;
            format!("{line}:{column}: {}", e.message())
        })
    }
}
