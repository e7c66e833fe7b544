//! A plan for people and for programs; the schema is in docs/plan.md.

use super::{Change, Example, Kind, Plan, Replay};
use crate::diagnostic::visible;
use crate::explain::{Explanation, Outcome, percent};
use clap::ValueEnum as _;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Requests that the text shows in full.
const SHOWN_MAX: usize = 10;

impl Kind {
    /// Its word.
    pub fn word(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_string())
    }
}

impl Plan {
    /// Whether anything of these kinds changes.
    pub fn touches(&self, kinds: &[Kind]) -> bool {
        let wanted = |kind: &Kind| kinds.is_empty() || kinds.contains(kind);
        self.changes.iter().any(|change| wanted(&change.kind))
            || wanted(&Kind::Decision) && self.replay.as_ref().is_some_and(|replay| replay.differ > 0)
    }

    /// Several lines, the last one ended.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for change in self.changes.iter().filter(|change| change.kind != Kind::Decision) {
            change.text(&mut out);
        }
        let different = self.changes.iter().filter(|change| change.kind == Kind::Decision).count();
        if different > 0 {
            let _ =
                writeln!(out, "\n{different} of {} requests made from the rules are decided differently:", self.tried);
        }
        self.examples.iter().take(SHOWN_MAX).for_each(|example| example.text(&mut out));
        if different > SHOWN_MAX {
            let _ =
                writeln!(out, "  … ({} more; --output json has up to {})", different - SHOWN_MAX, super::EXAMPLES_MAX);
        }
        if let Some(replay) = &self.replay {
            replay.text(&mut out);
        }
        if out.is_empty() {
            let _ = writeln!(out, "nothing changes for traffic ({} requests tried)", self.tried);
        }
        out
    }

    /// Everything.
    pub fn json(&self) -> Value {
        json!({
            "changes": self.changes.iter().filter(|c| c.kind != Kind::Decision).map(Change::json).collect::<Vec<_>>(),
            "requests": {
                "tried": self.tried,
                "different": self.changes.iter().filter(|c| c.kind == Kind::Decision).count(),
                "examples": self.examples.iter().map(Example::json).collect::<Vec<_>>(),
            },
            "log": self.replay.as_ref().map(Replay::json),
        })
    }
}

impl Change {
    fn text(&self, out: &mut String) {
        let seat = if self.seat.is_empty() { String::new() } else { format!("  ({})", self.seat) };
        let _ = writeln!(out, "{:<10}{}  {}{seat}", self.kind.word(), visible(&self.what), visible(&self.text));
        if !self.place.is_empty() {
            let _ = writeln!(out, "{:<10}  at {}", "", visible(&self.place));
        }
    }

    fn json(&self) -> Value {
        json!({"kind": self.kind.word(), "what": self.what, "text": self.text, "place": self.place, "seat": self.seat})
    }
}

impl Example {
    fn text(&self, out: &mut String) {
        let request = &self.request;
        let _ =
            write!(out, "  {} {}{}", visible(&request.method), visible(&request.authority), visible(&request.target));
        request.headers.iter().for_each(|(name, value)| {
            let _ = write!(out, "  {}: {}", visible(name), visible(value));
        });
        let _ = writeln!(out, "  ({})", self.seat);
        for (word, told) in [("before", &self.before), ("after", &self.after)] {
            let _ = writeln!(out, "    {word:>6}  {}", visible(&summary(told)));
            if told.rule.id.0 != 0 {
                let _ = writeln!(out, "{:>14}{}", "", visible(&told.rule.to_string()));
            }
        }
    }

    fn json(&self) -> Value {
        let request = &self.request;
        let headers: Vec<Value> = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
        json!({
            "seat": self.seat,
            "request": {"method": request.method, "authority": request.authority, "target": request.target, "headers": headers},
            "before": self.before.json(), "after": self.after.json(),
        })
    }
}

/// What becomes of a request, on one line.
fn summary(told: &Explanation) -> String {
    match &told.outcome {
        Outcome::Forward { target, destinations, .. } => {
            let list: Vec<String> = destinations
                .iter()
                .map(|d| {
                    let to = match (&*d.cluster, &*d.location) {
                        ("", "") => "nowhere",
                        ("", location) => location,
                        (cluster, _) => cluster,
                    };
                    let status = d.status.map_or(String::new(), |status| format!(" (answered with {status})"));
                    format!("{} {to}{status}", percent(d.probability))
                })
                .collect();
            format!("{target} to {}", list.join(", "))
        }
        Outcome::Reply { status, location, .. } if !location.is_empty() => format!("{status} to {location}"),
        Outcome::Reply { status, details, .. } => format!("{status} by the proxy, {details}"),
        Outcome::Reject { details, .. } => format!("closed, {details}"),
        Outcome::Ask => "waits for the host's configuration".into(),
    }
}

impl Replay {
    fn text(&self, out: &mut String) {
        let _ =
            writeln!(out, "\nof {} requests in the log, {} would be decided differently", self.requests, self.differ);
        if self.unread > 0 {
            let _ = writeln!(out, "  {} lines tell of no request", self.unread);
        }
        for moved in self.moved.iter().take(SHOWN_MAX) {
            let request = &moved.request;
            let line = format!("{} {}{}", request.method, request.authority, request.target);
            let _ = writeln!(out, "  {} like {}", moved.count, visible(&line));
            let _ = writeln!(out, "    before  {}\n     after  {}", visible(&moved.before), visible(&moved.after));
        }
    }

    fn json(&self) -> Value {
        let moved = |moved: &super::replay::Moved| {
            let request = &moved.request;
            json!({
                "count": moved.count, "before": moved.before, "after": moved.after,
                "request": {"method": request.method, "authority": request.authority, "target": request.target},
            })
        };
        json!({
            "requests": self.requests, "unread": self.unread, "different": self.differ,
            "moved": self.moved.iter().map(moved).collect::<Vec<_>>(),
        })
    }
}
