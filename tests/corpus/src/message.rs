//! What went over the wire, in a form that can be compared.

use ringway_tests::harness::Response;
use std::fmt;
use std::net::SocketAddr;

/// The header by which an endpoint says who it is.
pub const ORIGIN: &str = "x-origin";

/// A request's head as an endpoint saw it: names in lower case, lines sorted by name, lines of one name in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Method and target.
    pub line: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// By an endpoint.
    Endpoint {
        /// Which one.
        address: SocketAddr,
        /// Status.
        status: u16,
        /// How many tries endpoints saw.
        tries: usize,
        /// What it saw.
        head: Head,
        /// Its answer's headers, as far as rules edit them.
        reply: Vec<(String, String)>,
    },
    /// By the proxy.
    Local {
        /// Status.
        status: u16,
        /// How many tries endpoints saw.
        tries: usize,
        /// Where a redirect points.
        location: Option<String>,
        /// Body of a fixed answer; empty for all others.
        body: String,
        /// Its headers, as far as rules edit them.
        reply: Vec<(String, String)>,
    },
}

/// The headers by which an answer says which origins may read it, and the cookies that it gives without their values, sorted. [`crate::predict`] knows nothing of them: they are compared with Envoy's.
pub type Sharing = Vec<(String, String)>;

impl Head {
    /// From a request line (`GET /path`) and header lines.
    pub fn new(line: &str, fields: impl IntoIterator<Item = (String, String)>) -> Head {
        let mut head = Head { line: line.into(), fields: fields.into_iter().collect() };
        for (name, value) in &mut head.fields {
            name.make_ascii_lowercase();
            // Space around a value is no part of it (RFC 9110 §5.5).
            *value = value.trim_matches([' ', '\t']).to_owned();
        }
        head.fields.sort_by(|a, b| a.0.cmp(&b.0));
        head
    }

    /// From received text.
    pub fn parse(text: &str) -> Head {
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Head::new(first.strip_suffix(" HTTP/1.1").unwrap_or(first), lines.filter_map(field))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Takes a name's lines out; whether there were any.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields.retain(|(n, _)| n != name);
        self.fields.len() != before
    }
}

impl Answer {
    /// What a client received after so many tries.
    pub fn received(response: &Response, tries: usize) -> Answer {
        let reply = edited(&response.headers);
        match response.header(ORIGIN) {
            Some(origin) => Answer::Endpoint {
                address: origin.parse().unwrap_or_else(|e| panic!("{ORIGIN}: {origin}: {e}")),
                status: response.status,
                tries,
                head: Head::parse(&response.text()),
                reply,
            },
            None => Answer::Local {
                status: response.status,
                tries,
                location: response.header("location").map(str::to_owned),
                body: if response.header("location").is_some() { String::new() } else { response.text() },
                reply,
            },
        }
    }
}

/// The [`Sharing`] of a response.
pub fn sharing(response: &Response) -> Sharing {
    let shares = |name: &str| name.to_ascii_lowercase().starts_with("access-control-");
    let cookies = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies = cookies.map(|(name, value)| {
        let (key, rest) = value.split_once('=').unwrap_or((value, ""));
        (name.clone(), format!("{key}=;{}", rest.split_once(';').map_or("", |(_, attributes)| attributes)))
    });
    let shares = response.headers.iter().filter(|(name, _)| shares(name)).cloned();
    Head::new("", shares.chain(cookies)).fields
}

/// The headers that generated rules edit, sorted.
pub fn edited(fields: &[(String, String)]) -> Vec<(String, String)> {
    Head::new("", fields.iter().filter(|(name, _)| is_edited(name)).cloned()).fields
}

/// Whether generated rules edit this header.
pub fn is_edited(name: &str) -> bool {
    crate::generate::words::EDITED.iter().any(|edited| edited.eq_ignore_ascii_case(name))
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {}", self.line)?;
        self.fields.iter().try_for_each(|(name, value)| writeln!(f, "    {name}: {value}"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reply, head) = match self {
            Answer::Endpoint { address, status, tries, head, reply } => {
                writeln!(f, "  endpoint {address} answered {status} after {tries} tries, and saw")?;
                (reply, Some(head))
            }
            Answer::Local { status, tries, location, body, reply } => {
                writeln!(f, "  local {status} {} {body:?} after {tries} tries", location.as_deref().unwrap_or("-"))?;
                (reply, None)
            }
        };
        head.map_or(Ok(()), |head| head.fmt(f))?;
        reply.iter().try_for_each(|(name, value)| writeln!(f, "  reply {name}: {value}"))
    }
}
