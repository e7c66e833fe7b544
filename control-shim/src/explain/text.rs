//! An explanation for people: one step a line, the manifest line that decided at its end.

use super::{Destination, Endpoint, Explanation, Outcome, Request, Rule};
use crate::diagnostic::visible;
use ringway_config::model::Role;
use serde_json::Value;
use std::fmt::Write as _;

/// Colours, or none.
pub struct Palette {
    bold: &'static str,
    dim: &'static str,
    good: &'static str,
    bad: &'static str,
    off: &'static str,
}

impl Palette {
    /// For a terminal, or for a pipe.
    pub fn new(colour: bool) -> &'static Palette {
        const COLOURS: Palette =
            Palette { bold: "\x1b[1m", dim: "\x1b[2m", good: "\x1b[32m", bad: "\x1b[31m", off: "\x1b[0m" };
        const PLAIN: Palette = Palette { bold: "", dim: "", good: "", bad: "", off: "" };
        if colour { &COLOURS } else { &PLAIN }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.origin {
            Some(o) => {
                let slash = if o.namespace.is_empty() { "" } else { "/" };
                write!(
                    f,
                    "{} {}{slash}{} {} at {}:{}:{}",
                    o.kind, o.namespace, o.name, o.field, o.file, o.line, o.column
                )
            }
            None if self.id.0 == 0 => f.write_str("no rule"),
            None => write!(f, "rule {:08x}", self.id.0),
        }
    }
}

impl Explanation {
    /// Several lines, the last one ended.
    pub fn text(&self, request: &Request, paint: &Palette) -> String {
        let Palette { bold, off, .. } = paint;
        let mut out = String::new();
        let asked = if request.method.is_empty() { "connection to" } else { &request.method };
        let url = if request.method.is_empty() {
            &request.authority
        } else {
            &format!("{}{}", request.authority, request.target)
        };
        let _ = writeln!(out, "{bold}{} {}{off} at the proxy {}\n", visible(asked), visible(url), self.node);
        let role = match self.role {
            Some(Role::Outbound) => "outbound",
            Some(Role::Inbound) => "inbound",
            Some(Role::Gateway) => "gateway",
            None => "",
        };
        let address = self.address.map_or(String::new(), |address| format!(", {role} on {address}"));
        step(&mut out, "listener", &format!("{}{address}", self.listener));
        match &self.host {
            Some(host) => {
                step(&mut out, "host", &format!("{}, for {}", host.name, host.domains.join(" ")));
                place(&mut out, &host.rule, paint);
            }
            None if self.rule.id.0 != 0 && self.action.is_null() && matches!(self.outcome, Outcome::Forward { .. }) => {
            }
            None => step(&mut out, "host", &format!("none has the authority {:?}", request.authority)),
        }
        for passed in &self.passed {
            step(&mut out, "passed", &visible(&passed.why));
            place(&mut out, &passed.rule, paint);
        }
        if let Some(route) = &self.route {
            let name = if route.name.is_empty() { "without a name".to_string() } else { format!("{:?}", route.name) };
            step(&mut out, "route", &name);
            place(&mut out, &route.rule, paint);
        } else if self.host.is_some() {
            step(&mut out, "route", "none matches");
        }
        settings(&mut out, &self.action);
        if let Some(fault) = &self.fault {
            if fault.delay_probability > 0.0 {
                step(&mut out, "fault", &format!("{} wait {} ms", percent(fault.delay_probability), fault.delay_ms));
            }
            if fault.abort_probability > 0.0 {
                let share = percent(fault.abort_probability);
                step(&mut out, "fault", &format!("{share} are answered with {}", fault.abort_status));
            }
            place(&mut out, &fault.rule, paint);
        }
        self.outcome.text(&mut out, paint);
        if self.rule.id.0 != 0 {
            step(&mut out, "rule", &format!("{:08x} in the access log", self.rule.id.0));
            place(&mut out, &self.rule, paint);
        }
        out
    }
}

impl Outcome {
    fn text(&self, out: &mut String, paint: &Palette) {
        let Palette { bad, off, .. } = paint;
        match self {
            Outcome::Forward { target, authority, destinations } => {
                if !target.is_empty() {
                    step(out, "sent as", &format!("{} with Host: {}", visible(target), visible(authority)));
                }
                destinations.iter().for_each(|destination| destination.text(out, paint));
            }
            Outcome::Reply { status, flags, details, location, body } => {
                step(out, "answer", &format!("{bad}{status}{off} by the proxy itself, {details}, flag {flags}"));
                if !location.is_empty() {
                    step(out, "location", &visible(location));
                }
                if !body.is_empty() {
                    step(out, "body", &visible(body));
                }
            }
            Outcome::Reject { flags, details } => {
                step(out, "closed", &format!("{bad}without an answer{off}, {details}, flag {flags}"));
            }
            Outcome::Ask => step(out, "waits", "this proxy has not asked its control shim for the host yet"),
        }
    }
}

impl Destination {
    fn text(&self, out: &mut String, paint: &Palette) {
        let Palette { bad, off, .. } = paint;
        let share = percent(self.probability);
        match (&*self.cluster, self.status) {
            (_, Some(status)) if !self.location.is_empty() => {
                step(out, "→", &format!("{share}  answered with {status} by the proxy itself"));
                step(out, "location", &visible(&self.location));
            }
            ("", status) => step(
                out,
                "→",
                &format!("{share}  {bad}answered with {}{off}: the destination does not exist", status.unwrap_or(503)),
            ),
            (cluster, Some(status)) => step(
                out,
                "→",
                &format!("{share}  {cluster}  {bad}answered with {status}{off}: no endpoint takes requests"),
            ),
            (cluster, None) => step(out, "→", &format!("{share}  {cluster}")),
        }
        if !self.target.is_empty() {
            step(out, "sent as", &format!("{} with Host: {}", visible(&self.target), visible(&self.authority)));
        }
        place(out, &self.rule, paint);
        if self.cluster_rule.id != self.rule.id {
            place(out, &self.cluster_rule, paint);
        }
        settings(out, &self.settings);
        if !self.head.is_empty() {
            let _ = writeln!(out, "{:>12}with these header lines:", "");
        }
        for (name, value) in &self.head {
            let _ = writeln!(out, "{:>14}{}{}: {}{}", "", paint.dim, visible(name), visible(value), paint.off);
        }
        if !self.endpoints.is_empty() {
            let _ = writeln!(out, "{:>12}to one of:", "");
        }
        self.endpoints.iter().for_each(|endpoint| endpoint.text(out, paint));
    }
}

impl Endpoint {
    fn text(&self, out: &mut String, paint: &Palette) {
        let Palette { good, dim, off, .. } = paint;
        let (colour, note) = match (self.draining, self.ejected) {
            (true, _) => (dim, "  draining"),
            (_, true) => (dim, "  ejected"),
            _ if self.probability == 0.0 => (dim, ""),
            _ => (good, ""),
        };
        let locality = if self.locality.is_empty() { String::new() } else { format!("  in {}", self.locality) };
        let version = if self.version.is_empty() { String::new() } else { format!(" {}", self.version) };
        let share = percent(self.probability);
        let _ = writeln!(
            out,
            "{:>12}{share:>7}  {colour}{}{off}  {}{version}{locality}{note}",
            "", self.address, self.workload
        );
    }
}

fn step(out: &mut String, word: &str, what: &str) {
    let _ = writeln!(out, "{word:>10}  {what}");
}

fn place(out: &mut String, rule: &Rule, paint: &Palette) {
    if rule.id.0 != 0 {
        let _ = writeln!(out, "{:>12}{}{}{}", "", paint.dim, visible(&rule.to_string()), paint.off);
    }
}

/// What is left out of the text: it has lines of its own.
const TOLD: [&str; 11] = [
    "backends",
    "body",
    "endpoints",
    "fault",
    "location",
    "mesh_internal",
    "rule",
    "service_host",
    "service_name",
    "service_namespace",
    "status",
];

/// Every setting that is not its kind's zero: timeouts, retries, edits, limits.
fn settings(out: &mut String, of: &Value) {
    let Some(map) = of.as_object() else { return };
    for (key, value) in map {
        match key.as_str() {
            "forward" | "redirect" | "respond" => settings(out, value),
            key if TOLD.contains(&key) || blank(value) => {}
            key => setting(out, key, value),
        }
    }
}

fn setting(out: &mut String, key: &str, value: &Value) {
    if let Some(said) = said(key, value) {
        let word = match key {
            "retry" => "retries",
            "retry_budget" => "retry budget",
            "request" => "request headers",
            _ => "response headers",
        };
        let _ = writeln!(out, "{:>12}{word}: {}", "", visible(&said));
        return;
    }
    let text = match (key.strip_suffix("_ms"), value.as_u64()) {
        (Some(_), Some(ms)) if ms % 1000 == 0 => format!("{} s", ms / 1000),
        (Some(_), Some(ms)) => format!("{ms} ms"),
        _ => value.as_str().map_or_else(|| value.to_string(), String::from),
    };
    let key = key.strip_suffix("_ms").unwrap_or(key).replace('_', " ");
    let _ = writeln!(out, "{:>12}{key}: {}", "", visible(&text));
}

/// A setting with parts, in words; none for one that says itself what it is.
pub fn said(key: &str, value: &Value) -> Option<String> {
    if !value.is_object() {
        return None;
    }
    match key {
        "retry" => Some(retry(value)),
        "retry_budget" => Some(retry_budget(value)),
        "request" | "response" => Some(edits(value)),
        _ => None,
    }
}

/// Such as `up to 2 after connect-failure; where repeating is harmless also after reset, 503; 25 to 250 ms apart`.
fn retry(value: &Value) -> String {
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    let statuses: Vec<String> = value["statuses"].as_array().into_iter().flatten().map(Value::to_string).collect();
    let reasons = |key: &str| {
        let words = value[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let said = words.map(|word| match word {
            "retriable-status-codes" => statuses.join(", "),
            word => word.to_string(),
        });
        said.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("up to {} after {}", number("attempts"), reasons("on"));
    let repeatable = reasons("on_repeatable");
    if !repeatable.is_empty() {
        let _ = write!(text, "; where repeating is harmless also after {repeatable}");
    }
    let shortest = number("backoff_min_ms").max(number("backoff_ms"));
    let _ = write!(text, "; up to {shortest} ms apart, growing to {} ms", number("backoff_max_ms"));
    if number("try_timeout_ms") > 0 {
        let _ = write!(text, "; each within {} ms", number("try_timeout_ms"));
    }
    text
}

/// `share` is in hundredths of a per cent.
fn retry_budget(value: &Value) -> String {
    const HUNDREDTHS: f64 = 10_000.0;
    let (share, floor) = (value["share"].as_f64().unwrap_or(0.0), &value["floor"]);
    format!("{} of the requests under way, {floor} at least", percent(share / HUNDREDTHS))
}

/// In the order in which they are done.
fn edits(value: &Value) -> String {
    let names = value["remove"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut all: Vec<String> = names.map(|name| format!("remove {name}")).collect();
    for word in ["set", "add"] {
        for pair in value[word].as_array().into_iter().flatten() {
            // A value with variables stands as it is written.
            let part = |at: usize| pair[at].as_str().or(pair[at]["format"].as_str()).unwrap_or("");
            all.push(format!("{word} {}: {}", part(0), part(1)));
        }
    }
    all.join(", ")
}

/// Nothing that anybody asked for.
fn blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => matches!(number.as_u64(), Some(0) | Some(0xffff_ffff)),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(blank),
        Value::Bool(true) => false,
    }
}

/// Such as `12.5 %`.
pub fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}
