//! Requests that aim at a rule: most meet it, many nearly.

use super::destination_rule::COOKIE;
use super::words::{METHODS, TAILS, VALUES, pattern};
use super::{Mesh, Place, Site};
use crate::dice::Dice;
use serde_json::Value;
use std::fmt;

/// The header that tells requests apart, in access logs too.
pub const ID: &str = "x-request-id";
/// The same for endpoints: a gateway may give a request another id.
pub const CASE: &str = "x-case";
/// The header by which a request asks endpoints to fail.
pub const FAIL: &str = "x-fail";

/// Lines that end here, that a gateway believes nobody about, and a second value of what rules look at.
const ODD_LINES: [(&str, &str); 8] = [
    ("Connection", "x-env"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("x-envoy-original-path", "/made/up"),
    ("x-envoy-attempt-count", "7"),
    ("x-envoy-peer-metadata", "bWFkZS11cA=="),
    ("x-user", "alice"),
    ("X-Tier", ""),
];

/// What proxies in front may have written: one line, as Envoy makes one of several.
const FORWARDED: [&str; 5] = [
    "203.0.113.9",
    "198.51.100.7, 203.0.113.9",
    "192.0.2.77,198.51.100.7 , 203.0.113.9",
    "unknown, 203.0.113.9",
    "2001:db8::1, unknown",
];

/// What endpoints do with the first tries of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    /// What becomes of them.
    pub what: What,
    /// How many tries fail.
    pub times: usize,
}

/// How a try fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An answer with this status.
    Status(u16),
    /// An answer with status 200 and this `grpc-status`.
    Grpc(u8),
    /// The connection ends within the answer's first line.
    Cut,
}

impl Fail {
    /// What these headers ask for.
    pub fn of(headers: &[(String, String)]) -> Option<Fail> {
        let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(FAIL))?;
        let mut words = value.split(' ');
        let (what, number, times) = (words.next()?, words.next()?, words.next()?);
        let what = match what {
            "status" => What::Status(number.parse().ok()?),
            "grpc" => What::Grpc(number.parse().ok()?),
            _ => What::Cut,
        };
        Some(Fail { what, times: times.parse().ok()? })
    }

    fn some(dice: &mut Dice) -> String {
        let what = dice.pick(&["status 500", "status 503", "status 503", "status 409", "grpc 14", "cut 0"]);
        format!("{what} {}", 1 + dice.below(3))
    }
}

/// One request, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it enters.
    pub place: Place,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Host.
    pub authority: String,
    /// Other headers in order; names as written.
    pub headers: Vec<(String, String)>,
    /// Body; there is none where this is empty.
    pub body: String,
}

impl Request {
    /// A request to a site of this mesh.
    pub fn aim(dice: &mut Dice, mesh: &Mesh, site: &Site, id: &str) -> Request {
        let authority = site.authorities[dice.below(site.authorities.len())].clone();
        let mut request = Request {
            place: site.place,
            method: "GET".into(),
            target: String::new(),
            authority,
            headers: vec![(ID.into(), id.into()), (CASE.into(), id.into())],
            body: String::new(),
        };
        let conditions = mesh.conditions(site);
        let null = Value::Null;
        let condition = if conditions.is_empty() { &null } else { &conditions[dice.below(conditions.len())] };
        let mut path = path(dice, condition);
        if dice.percent(20) {
            path.push_str(dice.pick(&TAILS));
        }
        if dice.percent(8) {
            path = written_otherwise(dice, &path);
        }
        let mut query = values(dice, &condition["queryParams"]);
        if let Some(method) = condition["method"]["exact"].as_str() {
            request.method = method.into();
        }
        if dice.percent(15) {
            request.method = dice.pick(&METHODS).into();
        }
        request.headers.extend(values(dice, &condition["headers"]));
        if dice.percent(30) {
            request.headers.extend(values(dice, &condition["withoutHeaders"]));
        }
        if dice.percent(30) {
            request
                .headers
                .push((dice.pick(&["x-gone", "x-set", "x-add", "x-upper", "X-Gone"]).into(), "received".into()));
        }
        if dice.percent(12) {
            let origin = dice.pick(&["https://a.example", "http://b.example", "https://elsewhere.test"]);
            request.headers.push(("Origin".into(), origin.into()));
            if dice.percent(40) {
                request.method = "OPTIONS".into();
                request.headers.push(("Access-Control-Request-Method".into(), "PUT".into()));
                request.headers.push(("Access-Control-Request-Headers".into(), "x-user".into()));
            }
        }
        if dice.percent(5) {
            let (name, value) = dice.pick(&ODD_LINES);
            request.headers.push((name.into(), value.into()));
        }
        if dice.percent(8) {
            request.headers.push(("X-Forwarded-For".into(), dice.pick(&FORWARDED).into()));
        }
        if dice.percent(4) {
            request.headers.push(("X-Forwarded-Proto".into(), dice.pick(&["http", "https"]).into()));
        }
        if dice.percent(8) {
            let other = format!("{COOKIE}x=1");
            let own = format!("other=1; {COOKIE}={}", dice.pick(&["alice", "bob", "carol"]));
            request.headers.push(("Cookie".into(), if dice.percent(80) { own } else { other }));
        }
        if dice.percent(2) {
            request.headers.push((FAIL.into(), Fail::some(dice)));
            if dice.percent(20) {
                request.headers.push(("Idempotency-Key".into(), id.into()));
            }
        }
        if dice.percent(15) {
            query.push((dice.pick(&["q", "other"]).into(), dice.pick(&VALUES).into()));
        }
        request.target = path;
        for (number, (name, value)) in query.iter().enumerate() {
            let value = value.replace(' ', "%20");
            request.target.push_str(&format!("{}{name}={value}", if number == 0 { '?' } else { '&' }));
        }
        if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") && dice.percent(60) {
            request.body = "a=1&b=2".into();
        }
        request
    }

    /// What it is called.
    pub fn id(&self) -> &str {
        &self.headers[0].1
    }

    /// The same request under another name.
    pub fn named(mut self, id: &str) -> Request {
        self.headers[..2].iter_mut().for_each(|(_, value)| *value = id.into());
        self
    }

    /// Its bytes.
    pub fn wire(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.authority);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at the {}:", self.place.name())?;
        f.write_str(&String::from_utf8_lossy(&self.wire()).replace('\r', ""))
    }
}

fn path(dice: &mut Dice, condition: &Value) -> String {
    let uri = &condition["uri"];
    let mut path = match (uri["exact"].as_str(), uri["prefix"].as_str(), uri["regex"].as_str()) {
        (Some(exact), ..) => exact.to_owned(),
        (_, Some(prefix), _) => format!("{prefix}{}", dice.pick(&TAILS)),
        (.., Some(regex)) => example(dice, regex),
        _ => dice.pick(&["/", "/a", "/other"]).to_owned(),
    };
    if condition["ignoreUriCase"] == true && dice.percent(50) {
        path = path.to_uppercase();
    }
    path
}

/// A path that means the same, or nearly, and is not in the normal form.
fn written_otherwise(dice: &mut Dice, path: &str) -> String {
    match dice.below(7) {
        0 => path.replacen('a', "%61", 1),
        1 => path.replacen('/', "/./", 1),
        2 => format!("/x/..{path}"),
        3 => path.replacen('/', "//", 1),
        4 => format!("{path}/y/%2e%2e"),
        5 => path.replacen('/', "/%2F", 1),
        _ => format!("{path};v=1"),
    }
}

/// Names with values that mostly meet these conditions; at times one is left out.
fn values(dice: &mut Dice, conditions: &Value) -> Vec<(String, String)> {
    let Some(conditions) = conditions.as_object() else { return Vec::new() };
    let mut values = Vec::new();
    for (name, condition) in conditions {
        if dice.percent(12) {
            continue;
        }
        let value = match (condition["exact"].as_str(), condition["prefix"].as_str(), condition["regex"].as_str()) {
            _ if dice.percent(12) => dice.pick(&VALUES).to_owned(),
            (Some(exact), ..) => exact.to_owned(),
            (_, Some(prefix), _) => format!("{prefix}{}", dice.pick(&["", "-1"])),
            (.., Some(regex)) => example(dice, regex),
            _ => "any".to_owned(),
        };
        values.push((name.clone(), value));
    }
    values
}

fn example(dice: &mut Dice, text: &str) -> String {
    let Some(pattern) = pattern(text) else { return dice.pick(&VALUES).to_owned() };
    let of = if dice.percent(75) || pattern.misses.is_empty() { pattern.hits } else { pattern.misses };
    dice.pick(of).to_owned()
}
