//! Scenario files: a run in TOML. The command line is the same structure, laid over the file's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_engine::choose::Choice;
use ringway_http::head::Method;
use serde::Deserialize;

use crate::arrivals::{Spacing, Stage};
use crate::gate;
use crate::plan::{
    CONNECTIONS_MAX, Expect, Load, MESSAGE_BYTES_MAX, Part, Plan, REQUESTS_MAX, ROWS_MAX, Request, Speech, Wire,
};
use crate::replay::{Recorded, Recording};

/// Requests per second of one run.
const RATE_MAX: f64 = 1e8;
/// A recording is counted for as long at least.
const RECORDED_MIN: Duration = Duration::from_secs(1);
/// Bytes of one request's body.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A scenario file. Every field may be missing; the command line wins over it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// `http://host[:port][/path]`: the path is the first part of every request's. `ws://host[:port][/path]` and `tcp://host:port` are echoes.
    pub url: Option<String>,
    /// Of an echo: bytes of a message.
    pub message_bytes: Option<usize>,
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
    /// Header lines of every request.
    pub headers: BTreeMap<String, String>,
    /// What a good reply to any request is, where the request does not say.
    pub expect: Option<ExpectText>,
    /// The mix.
    pub request: Vec<RequestText>,
    /// Requests that were recorded; in place of rate and mix.
    #[serde(skip)]
    pub recording: Option<Recording>,
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

    /// Checks everything and looks names up.
    pub fn plan(&self) -> Result<Plan, String> {
        let url = self.url.as_deref().ok_or("no URL: give one, as in http://127.0.0.1:8080/path")?;
        let target = Target::parse(url)?;
        let time = |text: &Option<String>, default: Duration| text.as_deref().map_or(Ok(default), gate::duration);
        // What was recorded is counted from its first request on.
        let warmup = if self.recording.is_some() { Duration::ZERO } else { Duration::from_secs(2) };
        let warmup = time(&self.warmup, warmup)?;
        let counted = time(&self.duration, Duration::from_secs(10))?;
        let timeout = time(&self.timeout, Duration::from_secs(10))?;
        let (load, duration) = self.load(warmup, counted)?;
        let threads = self.threads.unwrap_or(1);
        let connections = self.connections.unwrap_or(50);
        if threads == 0 || threads > 1024 {
            return Err("threads: from 1 to 1024".into());
        }
        if connections < threads || connections > CONNECTIONS_MAX {
            return Err(format!("connections: at least one a thread ({threads}) and at most {CONNECTIONS_MAX}"));
        }
        if timeout.is_zero() || duration.is_zero() {
            return Err("duration and timeout: longer than 0".into());
        }
        let (columns, rows) = self.rows(&target)?;
        let addresses: Vec<_> = (target.host.as_str(), target.port)
            .to_socket_addrs()
            .map_err(|e| format!("{}: {e}", target.host))?
            .collect();
        if addresses.is_empty() {
            return Err(format!("{} has no address", target.host));
        }
        let speech = self.speech(&target)?;
        let texts = self.requests();
        if texts.len() > REQUESTS_MAX {
            return Err(format!("{} requests in the mix; at most {REQUESTS_MAX}", texts.len()));
        }
        let mut mix: Vec<Request> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| {
                self.request(text, n, &target, &columns, &rows).map_err(|e| format!("request {}: {e}", n + 1))
            })
            .collect::<Result<_, String>>()?;
        match speech {
            Speech::Http1 => {}
            Speech::WebSocketEcho(message) => mix[0].name = format!("echo of {} bytes", message.len()),
            Speech::TcpEcho(message) => {
                mix = vec![Request::of_message(&format!("echo of {} bytes", message.len()), message)];
            }
        }
        if mix.iter().all(|request| request.weight == 0) {
            return Err("every weight of the mix is 0".into());
        }
        Ok(Plan {
            url: url.to_string(),
            addresses,
            load,
            warmup,
            duration,
            connections,
            threads,
            timeout,
            new_connections: self.new_connections.unwrap_or(false),
            speech,
            mix,
            rows,
            seed: self.seed.unwrap_or(1),
            backend: self.backend,
        })
    }

    /// An echo has one message and nothing else that an HTTP scenario has.
    fn speech(&self, target: &Target) -> Result<Speech, String> {
        let scheme = target.scheme;
        if scheme == Scheme::Http {
            return match self.message_bytes {
                Some(_) => Err("message-bytes: only for ws:// and tcp://".into()),
                None => Ok(Speech::Http1),
            };
        }
        if !self.request.is_empty() || self.recording.is_some() || self.data.is_some() || self.expect.is_some() {
            return Err(
                "an echo has no requests, data or expectations: it sends one message and checks that it comes back"
                    .into(),
            );
        }
        let len = self.message_bytes.unwrap_or(64);
        if !(1..=MESSAGE_BYTES_MAX).contains(&len) {
            return Err(format!("message-bytes: from 1 to {MESSAGE_BYTES_MAX}"));
        }
        let message: Vec<u8> = (0..len).map(|n| b'a' + (n % 26) as u8).collect();
        match scheme {
            Scheme::WebSocket => Ok(Speech::WebSocketEcho(message.leak())),
            _ if !self.headers.is_empty() => Err("headers: TCP has none".into()),
            _ => Ok(Speech::TcpEcho(message.leak())),
        }
    }

    /// The mix. What was recorded has a request for every method, filled with host and path.
    fn requests(&self) -> Cow<'_, [RequestText]> {
        let Some(recording) = &self.recording else {
            return if self.request.is_empty() {
                vec![RequestText::default()].into()
            } else {
                (&self.request[..]).into()
            };
        };
        let has_host = self.headers.keys().any(|name| name.eq_ignore_ascii_case("host"));
        let host = (!has_host).then(|| ("Host".to_string(), "{authority}".to_string()));
        let of_method = |method: &String| RequestText {
            name: Some(method.clone()),
            method: Some(method.clone()),
            path: Some("/{path}".into()),
            headers: host.clone().into_iter().collect(),
            ..RequestText::default()
        };
        recording.methods.iter().map(of_method).collect()
    }

    fn load(&self, warmup: Duration, counted: Duration) -> Result<(Load, Duration), String> {
        if let Some(recording) = &self.recording {
            let due: Vec<u64> = recording.requests.iter().map(|request| request.due).collect();
            let kinds = recording.requests.iter().map(|request| request.method).collect();
            let last = Duration::from_nanos(due.last().map_or(0, |due| due + 1));
            return Ok((Load::Recorded { due, kinds }, last.max(RECORDED_MIN)));
        }
        let closed = self.closed.unwrap_or(false);
        if !closed && self.think.is_some() {
            return Err("think: only in a closed loop (closed = true, --closed)".into());
        }
        if closed {
            if self.rate.is_some() || !self.stages.is_empty() || self.arrivals.is_some() {
                return Err(
                    "a closed loop has no rate, stages or arrivals: its connections ask as fast as they are answered"
                        .into(),
                );
            }
            let think = self.think.as_deref().map_or(Ok(Duration::ZERO), gate::duration)?;
            return Ok((Load::Closed { think }, counted));
        }
        let mut stages = match (self.rate, self.stages.is_empty()) {
            (Some(_), false) => return Err("rate and stages: only one of them".into()),
            (Some(rate), true) => vec![Stage::constant(checked_rate(rate)?, counted.as_nanos() as u64)],
            (None, false) => self.stages.iter().map(StageText::stage).collect::<Result<_, _>>()?,
            (None, true) => {
                return Err("no rate: say how many requests a second are due (--rate 1000), or ask for a closed loop (--closed)".into());
            }
        };
        if !self.stages.is_empty() && self.duration.is_some() {
            return Err("duration and stages: the stages say how long it takes".into());
        }
        let duration = Duration::from_nanos(stages.iter().map(|stage| stage.nanos).sum());
        if stages.iter().map(Stage::area).sum::<f64>() <= 0.0 {
            return Err("no request would ever be due: every rate is 0".into());
        }
        if !warmup.is_zero() {
            stages.insert(0, Stage::constant(stages[0].from, warmup.as_nanos() as u64));
        }
        let spacing = match self.arrivals {
            None | Some(Arrivals::Constant) => Spacing::Constant,
            Some(Arrivals::Poisson) => Spacing::Poisson,
        };
        Ok((Load::Open { stages, spacing }, duration))
    }

    fn rows(&self, target: &Target) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
        if let Some(recording) = &self.recording {
            let row = |request: &Recorded| {
                vec![request.path.clone(), request.authority.as_ref().unwrap_or(&target.authority).clone()]
            };
            return Ok((vec!["path".into(), "authority".into()], recording.requests.iter().map(row).collect()));
        }
        let Some(path) = &self.data else { return Ok((Vec::new(), Vec::new())) };
        let path = self.folder.join(path);
        let wrong = |e: csv::Error| format!("{}: {e}", path.display());
        let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
        let columns: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_string).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            if rows.len() == ROWS_MAX {
                return Err(format!("{}: more than {ROWS_MAX} rows", path.display()));
            }
            rows.push(record.map_err(wrong)?.iter().map(str::to_string).collect());
        }
        if rows.is_empty() {
            return Err(format!("{}: no row behind the names of the columns", path.display()));
        }
        Ok((columns, rows))
    }

    fn request(
        &self,
        text: &RequestText,
        number: usize,
        target: &Target,
        columns: &[String],
        rows: &[Vec<String>],
    ) -> Result<Request, String> {
        let method = text.method.as_deref().unwrap_or("GET");
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(format!("method `{method}`: letters, digits, - and _"));
        }
        if method == "CONNECT" {
            return Err("method CONNECT: tunnels are not asked for".into());
        }
        let path =
            format!("{}{}", target.base, text.path.as_deref().unwrap_or(if target.base.is_empty() { "/" } else { "" }));
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!(
                "path `{path}`: starts with / and has no spaces or other than ASCII; percent-encode those"
            ));
        }
        let body = self.body(text)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut lines: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, value) in self.headers.iter().chain(&text.headers) {
            check_line(name, value)?;
            lines.insert(name.to_ascii_lowercase(), (name.clone(), value.clone()));
        }
        let mut line = |name: &str, value: &str| {
            if !lines.contains_key(&name.to_ascii_lowercase()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        line("Host", &target.authority);
        line("User-Agent", concat!("ringway-load/", env!("CARGO_PKG_VERSION")));
        match target.scheme {
            Scheme::WebSocket => {
                line("Connection", "Upgrade");
                line("Upgrade", "websocket");
                line("Sec-WebSocket-Version", "13");
            }
            _ if self.new_connections == Some(true) => line("Connection", "close"),
            _ => {}
        }
        for (name, value) in lines.values() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
        let mut parts = split(head.as_bytes(), columns)?;
        check_values(&parts, columns, rows)?;
        if has_length {
            parts.extend([Part::Text(b"Content-Length: ".to_vec()), Part::BodyLength, Part::Text(b"\r\n".to_vec())]);
        }
        parts.extend([Part::Text(b"\r\n".to_vec()), Part::Body]);
        parts.extend(split(&body, columns)?);
        let wire = if parts.iter().any(|part| matches!(part, Part::Column(_))) {
            Wire::Filled(parts)
        } else {
            let mut bytes = Vec::new();
            crate::plan::fill(&parts, &[], &mut bytes);
            // Lives as long as the program, which makes few plans.
            Wire::Fixed(bytes.leak())
        };
        let expect = text.expect.as_ref().or(self.expect.as_ref()).map_or(Ok(Expect::default()), ExpectText::expect)?;
        let name = text.name.clone().unwrap_or_else(|| {
            if self.request.len() > 1 { format!("{} {method} {path}", number + 1) } else { format!("{method} {path}") }
        });
        Ok(Request { name, weight: text.weight.unwrap_or(1), method: method_of(method), wire, expect })
    }

    fn body(&self, text: &RequestText) -> Result<Vec<u8>, String> {
        let body = match (&text.body, &text.body_file) {
            (Some(_), Some(_)) => return Err("body and body-file: only one of them".into()),
            (Some(body), None) => body.clone().into_bytes(),
            (None, Some(path)) => {
                let path = self.folder.join(path);
                std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?
            }
            (None, None) => Vec::new(),
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(format!("a body of {} bytes; at most {BODY_BYTES_MAX}", body.len()));
        }
        Ok(body)
    }
}

impl StageText {
    fn stage(&self) -> Result<Stage, String> {
        let nanos = gate::duration(&self.r#for)?.as_nanos() as u64;
        if nanos == 0 {
            return Err("stages: each takes longer than 0".into());
        }
        let (from, to) = match (self.rate, self.from, self.to) {
            (Some(rate), None, None) => (rate, rate),
            (None, Some(from), Some(to)) => (from, to),
            _ => return Err("stages: each has `rate`, or `from` and `to`".into()),
        };
        Ok(Stage { from: checked_rate(from)?, to: checked_rate(to)?, nanos })
    }
}

impl ExpectText {
    fn expect(&self) -> Result<Expect, String> {
        if let Some(status) = self.status.iter().find(|status| !(200..=999).contains(*status)) {
            return Err(format!("expect: status {status} is no final one"));
        }
        let body_sha256 = match &self.body_sha256 {
            None => None,
            Some(text) => Some(hash(text).ok_or("expect: body-sha256 has 64 hexadecimal digits")?),
        };
        let headers = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        Ok(Expect { statuses: self.status.clone(), headers, body_sha256, body_bytes: self.body_bytes })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    WebSocket,
    Tcp,
}

struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: String,
    base: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target, String> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("ws", rest)) => (Scheme::WebSocket, rest),
            Some(("tcp", rest)) => (Scheme::Tcp, rest),
            Some(("https", _)) => return Err(format!("{url}: TLS is not spoken yet; use http")),
            Some(("wss", _)) => return Err(format!("{url}: TLS is not spoken yet; use ws")),
            Some((scheme, _)) => return Err(format!("{url}: scheme `{scheme}` is not spoken; use http, ws or tcp")),
            None => return Err(format!("{url}: write the scheme, as in http://{url}")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, base) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let base = if base.starts_with('?') { format!("/{base}") } else { base.to_string() };
        if authority.contains('@') {
            return Err(format!("{url}: user information is not sent; use an Authorization header"));
        }
        let bad_port = || format!("{url}: the port is no number from 1 to 65535");
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|p| *p > 0).ok_or_else(bad_port)?)
            }
            _ if scheme == Scheme::Tcp => return Err(format!("{url}: no port")),
            _ => (authority, 80),
        };
        if scheme == Scheme::Tcp && !base.is_empty() {
            return Err(format!("{url}: TCP has no path"));
        }
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("{url}: no host"));
        }
        Ok(Target { scheme, host: host.to_string(), port, authority: authority.to_string(), base })
    }
}

/// Cuts `{column}` out of a text. Braces around anything but a name are themselves, as JSON has them.
fn split(text: &[u8], columns: &[String]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut plain = Vec::new();
    while let Some(open) = rest.iter().position(|b| *b == b'{').filter(|_| !columns.is_empty()) {
        let name_len = rest[open + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)).count();
        let close = open + 1 + name_len;
        plain.extend_from_slice(&rest[..open]);
        if name_len > 0 && rest.get(close) == Some(&b'}') {
            let name = String::from_utf8_lossy(&rest[open + 1..close]);
            let column = columns.iter().position(|column| *column == name);
            let column =
                column.ok_or_else(|| format!("{{{name}}} is no column of the data: {}", columns.join(", ")))?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Column(column));
            rest = &rest[close + 1..];
        } else {
            plain.push(b'{');
            rest = &rest[open + 1..];
        }
    }
    plain.extend_from_slice(rest);
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// Values that go into heads must not end their lines.
fn check_values(head: &[Part], columns: &[String], rows: &[Vec<String>]) -> Result<(), String> {
    for part in head {
        let Part::Column(column) = part else { continue };
        let bad = |row: &Vec<String>| row.get(*column).is_none_or(|v| v.bytes().any(|b| b < b' ' || b == 0x7f));
        if let Some(row) = rows.iter().position(bad) {
            return Err(format!(
                "row {} of the data: column {} has control characters and goes into a head",
                row + 1,
                columns[*column]
            ));
        }
    }
    Ok(())
}

fn check_line(name: &str, value: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("header `{name}`: no name of a header"));
    }
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(format!("header {name}: control characters in its value"));
    }
    if ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("header {name}: follows from the body"));
    }
    Ok(())
}

fn checked_rate(rate: f64) -> Result<f64, String> {
    if rate.is_finite() && (0.0..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("rate {rate}: from 0 to {RATE_MAX} requests per second"))
    }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(toml: &str) -> Result<String, String> {
        match &Scenario::parse(toml)?.plan()?.mix[0].wire {
            Wire::Fixed(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Wire::Filled(_) => Ok("filled".into()),
        }
    }

    #[test]
    fn a_request_on_the_wire() {
        let agent = concat!("ringway-load/", env!("CARGO_PKG_VERSION"));
        let basic = "url = 'http://127.0.0.1:81/base'\nrate = 1\n";
        assert_eq!(
            wire(basic).unwrap(),
            format!("GET /base HTTP/1.1\r\nHost: 127.0.0.1:81\r\nUser-Agent: {agent}\r\n\r\n")
        );
        let post = format!(
            "{basic}[[request]]\nmethod = 'POST'\npath = '/x?y=1'\nbody = 'hello'\nheaders = {{ user-agent = 'me', X-A = 'b' }}"
        );
        assert_eq!(
            wire(&post).unwrap(),
            "POST /base/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:81\r\nuser-agent: me\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn wrong_scenarios_say_what_and_where() {
        let basic = "url = 'http://127.0.0.1'\nrate = 1\n";
        for (toml, said) in [
            ("rate = 1\nrat = 2".to_string(), "2:1: unknown field `rat`"),
            ("url = 'http://h\nrate = 1".into(), "1:16: "),
            ("rate = 1".into(), "no URL"),
            ("url = 'http://127.0.0.1'".into(), "no rate"),
            ("url = 'https://127.0.0.1'\nrate = 1".into(), "TLS is not spoken yet"),
            ("url = '127.0.0.1:80'\nrate = 1".into(), "write the scheme"),
            (format!("{basic}closed = true"), "a closed loop has no rate"),
            (format!("{basic}think = '1s'"), "only in a closed loop"),
            (format!("{basic}connections = 0"), "connections: at least one a thread"),
            (format!("{basic}warmup = '5 parsecs'"), "no time"),
            (format!("{basic}message-bytes = 5"), "only for ws:// and tcp://"),
            ("url = 'tcp://127.0.0.1'\nrate = 1".into(), "no port"),
            ("url = 'tcp://127.0.0.1:1/x'\nrate = 1".into(), "TCP has no path"),
            ("url = 'tcp://127.0.0.1:1'\nrate = 1\nmessage-bytes = 0".into(), "message-bytes: from 1 to"),
            ("url = 'tcp://127.0.0.1:1'\nrate = 1\nheaders = { a = 'b' }".into(), "TCP has none"),
            ("url = 'ws://127.0.0.1:1'\nrate = 1\n[[request]]\nname = 'x'".into(), "an echo has no requests"),
            ("url = 'wss://127.0.0.1:1'\nrate = 1".into(), "TLS is not spoken yet; use ws"),
            (format!("{basic}[[request]]\npath = '/a b'"), "request 1: path `/a b`"),
            (format!("{basic}[[request]]\nheaders = {{ content-length = '3' }}"), "follows from the body"),
            (format!("{basic}[[request]]\nweight = 0"), "every weight of the mix is 0"),
            (format!("{basic}[[request]]\nexpect = {{ body-sha256 = 'xyz' }}"), "64 hexadecimal digits"),
            (format!("{basic}[[request]]\nmethod = 'CONNECT'"), "CONNECT"),
            (format!("{basic}stages = [{{ rate = 5, for = '1s' }}]"), "only one of them"),
        ] {
            let got = Scenario::parse(&toml).and_then(|s| s.plan().map(|_| ())).unwrap_err();
            assert!(got.contains(said), "{toml}\nsaid: {got}");
        }
    }

    #[test]
    fn columns_fill_path_and_body() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users.csv"), "id,name\n7,\"Ann, B\"\n8,Bo\n").unwrap();
        let scenario = |path: &str, body: &str| {
            let text = format!(
                "url = 'http://127.0.0.1'\nrate = 1\ndata = 'users.csv'\n[[request]]\nmethod = 'PUT'\npath = '{path}'\nbody = '{body}'"
            );
            let mut scenario = Scenario::parse(&text).unwrap();
            scenario.folder = folder.path().to_path_buf();
            scenario.plan()
        };
        let plan = scenario("/users/{id}", "{\"name\": \"{name}\"}").unwrap();
        let Wire::Filled(parts) = &plan.mix[0].wire else { panic!("nothing is filled in") };
        let mut bytes = Vec::new();
        crate::plan::fill(parts, &plan.rows[0], &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("PUT /users/7 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 18\r\n\r\n{\"name\": \"Ann, B\"}"), "{text}");
        assert!(scenario("/{nobody}", "").unwrap_err().contains("{nobody} is no column of the data: id, name"));
    }
}
