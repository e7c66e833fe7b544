//! What a run does: the typed form of a command line or a scenario file.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringway_engine::choose::Choice;
use ringway_http::head::Method;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use crate::arrivals::{Spacing, Stage};

/// Connections of one run, over all threads.
pub const CONNECTIONS_MAX: usize = 1 << 20;
/// Kinds of requests in one mix.
pub const REQUESTS_MAX: usize = 10_000;
/// Bytes of one message of an echo, or of one block in bulk.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of one block in bulk: no buffer that arrives has more than one of them.
pub const BLOCK_BYTES_MIN: usize = 128 << 10;
/// Sessions of TLS that a worker keeps.
const SESSIONS_MAX: usize = 256;
/// Lines of one data file.
pub const ROWS_MAX: usize = 1_000_000;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As the user wrote it, for reports.
    pub url: String,
    /// Where connections go, in turn.
    pub addresses: Vec<SocketAddr>,
    /// When requests are due.
    pub load: Load,
    /// Before anything is counted.
    pub warmup: Duration,
    /// While it is counted.
    pub duration: Duration,
    /// Connections over all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// A request without a whole reply after this has failed.
    pub timeout: Duration,
    /// A connection for every request.
    pub new_connections: bool,
    /// What connections speak.
    pub speech: Speech,
    /// TLS around it.
    pub tls: Option<Security>,
    /// What is sent.
    pub mix: Vec<Request>,
    /// Rows that requests are filled from; empty without a data file.
    pub rows: Vec<Vec<String>>,
    /// Makes runs repeatable: Poisson arrivals and the choice from the mix.
    pub seed: u64,
    /// The driver.
    pub backend: Choice,
}

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1.
    Http1,
    /// Messages in WebSocket frames, each of which comes back. The request of the mix is the upgrade.
    WebSocketEcho(&'static [u8]),
    /// Messages over TCP, each of which comes back.
    TcpEcho(&'static [u8]),
    /// Blocks like this one over TCP, to a server that reads on.
    BulkSend(&'static [u8]),
    /// Blocks of so many bytes over TCP, from a server that sends on.
    BulkReceive(usize),
}

/// How a server is trusted, and who the client says it is.
#[derive(Clone, Debug)]
pub struct Security {
    /// All of it but the sessions, which every worker has for itself.
    pub config: Arc<ClientConfig>,
    /// What is asked for, and what the certificate must be for.
    pub name: ServerName<'static>,
    /// Certificates are verified.
    pub verifies: bool,
    /// Sessions of earlier connections go on.
    pub resumes: bool,
}

/// Open or closed loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Requests are due whatever the target does.
    Open {
        /// The rate over time, warm-up included.
        stages: Vec<Stage>,
        /// Even or Poisson.
        spacing: Spacing,
    },
    /// Requests are due when they were recorded: the n-th is filled from the n-th row.
    Recorded {
        /// Nanoseconds from the start, in order; as many as there are rows.
        due: Vec<u64>,
        /// Which request of the mix each one is.
        kinds: Vec<u32>,
        /// The status that each one is expected to have, 0 where that is any; empty where that is so for all of them.
        statuses: Vec<u16>,
    },
    /// Every connection asks again as soon as it has its reply and has thought.
    Closed {
        /// Between a reply and the next request.
        think: Duration,
    },
}

/// One kind of request of the mix.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its name in reports.
    pub name: String,
    /// Its share of the mix.
    pub weight: u32,
    /// For the framing of the reply.
    pub method: Method,
    /// The whole request on the wire.
    pub wire: Wire,
    /// What a good reply is.
    pub expect: Expect,
}

/// Bytes of a request.
#[derive(Clone, Debug)]
pub enum Wire {
    /// The same every time.
    Fixed(&'static [u8]),
    /// Put together for every request from the next row.
    Filled(Vec<Part>),
}

/// A piece of a request that is filled from data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(Vec<u8>),
    /// The value of this column.
    Column(usize),
    /// The length of the body, which follows the head.
    BodyLength,
    /// Where the body starts.
    Body,
}

/// What a good reply is.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Statuses; empty: 200 to 399.
    pub statuses: Vec<u16>,
    /// Any status; what was recorded says which.
    pub any_status: bool,
    /// Header lines that must be there, name in lower case, with this value.
    pub headers: Vec<(String, String)>,
    /// SHA-256 of the body.
    pub body_sha256: Option<[u8; 32]>,
    /// Length of the body without framing.
    pub body_bytes: Option<u64>,
}

impl Security {
    /// With a memory of sessions of its own, if they go on.
    pub fn config_of_worker(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption =
            if self.resumes { Resumption::in_memory_sessions(SESSIONS_MAX) } else { Resumption::disabled() };
        Arc::new(config)
    }
}

impl Load {
    /// `open` or `closed`.
    pub fn name(&self) -> &'static str {
        if matches!(self, Load::Closed { .. }) { "closed" } else { "open" }
    }

    /// The same without the stage that stands for a warm-up of this length.
    pub fn without_warmup(self, warmup: Duration) -> Load {
        match self {
            Load::Open { mut stages, spacing } if !warmup.is_zero() => {
                stages.remove(0);
                Load::Open { stages, spacing }
            }
            load => load,
        }
    }
}

impl Expect {
    /// This status is a good one.
    pub fn status_is_good(&self, status: u16) -> bool {
        if self.any_status {
            return true;
        }
        if self.statuses.is_empty() { (200..400).contains(&status) } else { self.statuses.contains(&status) }
    }
}

impl Request {
    /// One that is the same every time and has no expectations of its own.
    pub fn of_message(name: &str, wire: &'static [u8]) -> Request {
        let (name, wire) = (name.to_string(), Wire::Fixed(wire));
        Request { name, weight: 1, method: Method::Get, wire, expect: Expect::default() }
    }
}

impl Plan {
    /// Requests per second that are due when nothing is counted any more; 0 in a closed loop.
    pub fn target_rate(&self) -> f64 {
        match &self.load {
            Load::Closed { .. } => 0.0,
            Load::Recorded { due, .. } => due.len() as f64 / self.duration.as_secs_f64(),
            Load::Open { stages, .. } => {
                let seconds = stages.iter().map(|stage| stage.nanos).sum::<u64>() as f64 / 1e9;
                if seconds > 0.0 { stages.iter().map(Stage::area).sum::<f64>() / seconds } else { 0.0 }
            }
        }
    }
}

/// Puts a filled request together behind what `out` holds.
pub fn fill(parts: &[Part], row: &[String], out: &mut Vec<u8>) {
    let column = |c: &usize| row.get(*c).map_or(&b""[..], |value| value.as_bytes());
    let body_at = parts.iter().position(|part| *part == Part::Body).unwrap_or(parts.len());
    let length = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::Column(c) => column(c).len(),
        Part::BodyLength | Part::Body => 0,
    };
    let body_len: usize = parts[body_at..].iter().map(length).sum();
    for part in parts {
        match part {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Column(c) => out.extend_from_slice(column(c)),
            Part::BodyLength => out.extend_from_slice(body_len.to_string().as_bytes()),
            Part::Body => {}
        }
    }
}
