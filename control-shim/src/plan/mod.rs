//! What changes for traffic between two sets of manifests: both are compiled, their routes, clusters and endpoints are compared, and requests made from the
//! conditions of both sides are decided on both.

mod changes;
mod replay;
mod report;
mod requests;
mod seats;

pub use replay::{Moved, Replay};
pub use seats::Seat;

use crate::explain::{Explanation, Outcome, Request, Source, pod_named};
use serde_json::Value;
use std::collections::BTreeSet;

/// What kind of thing changed. Its word is that of `--gate` and of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// An object that was taken is refused.
    Refused,
    /// A host is added or removed.
    Host,
    /// A route is added, removed, or does something else.
    Route,
    /// A route that matched is now behind one that takes everything it would.
    Shadowed,
    /// A destination's weight.
    Weights,
    /// A timeout.
    Timeout,
    /// Retries.
    Retries,
    /// TLS towards a destination.
    Tls,
    /// How a destination is talked to: balancing, limits, outlier detection.
    Settings,
    /// Addresses behind a destination.
    Endpoints,
    /// A request made from the rules, or taken from a log, is decided differently.
    Decision,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Where: the host, cluster or object.
    pub what: String,
    /// What happened, in a few words.
    pub text: String,
    /// The manifest line, if there is one.
    pub place: String,
    /// For whom.
    pub seat: String,
}

/// A request that is decided differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// For whom.
    pub seat: String,
    /// The request.
    pub request: Request,
    /// How it was decided.
    pub before: Explanation,
    /// How it is decided now.
    pub after: Explanation,
}

/// Everything that changes.
#[derive(Debug, Default)]
pub struct Plan {
    /// By kind.
    pub changes: Vec<Change>,
    /// Requests decided differently.
    pub examples: Vec<Example>,
    /// Requests that were tried.
    pub tried: usize,
    /// What a log says, if one was given.
    pub replay: Option<Replay>,
}

/// Most requests that one plan keeps as examples; the others are only counted.
pub const EXAMPLES_MAX: usize = 100;

/// Compares two sources of manifests.
///
/// # Errors
/// When one of them is no set of manifests, or does not come to a whole configuration.
pub fn plan(old: &Source, new: &Source) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let seats = seats::seats(old, new)?;
    let mut said = BTreeSet::new();
    plan.changes = changes::refused(old, new);
    for seat in &seats {
        for change in changes::of_seat(seat) {
            if said.insert((change.kind, change.what.clone(), change.text.clone())) {
                plan.changes.push(change);
            }
        }
    }
    plan.changes.sort();
    let mut asked = BTreeSet::new();
    for seat in seats.iter().filter(|seat| seat.differs()) {
        for (listener, request) in requests::of_seat(seat) {
            let (Some(before), Some(after)) = (seat.before(&listener, &request), seat.after(&listener, &request))
            else {
                continue;
            };
            plan.tried += 1;
            let verdict = (essence(&before), essence(&after));
            // The same answer for another namespace is no news.
            if verdict.0 == verdict.1 || !asked.insert(format!("{listener} {request:?} {} {}", verdict.0, verdict.1)) {
                continue;
            }
            plan.changes.push(Change {
                kind: Kind::Decision,
                what: format!("{} {}{}", request.method, request.authority, request.target),
                text: "is decided differently".into(),
                place: String::new(),
                seat: seat.name.clone(),
            });
            if plan.examples.len() < EXAMPLES_MAX {
                plan.examples.push(Example { seat: seat.name.clone(), request, before, after });
            }
        }
    }
    Ok(plan)
}

/// Decides on every request of an access log of `from`'s proxy on both sides. `hear` is told from time to time how far it is.
///
/// # Errors
/// When there is no such proxy, or the log cannot be read.
pub fn replayed(
    old: &Source,
    new: &Source,
    from: &str,
    log: impl std::io::BufRead,
    hear: impl FnMut(&Replay),
) -> Result<Replay, String> {
    let Source::Manifests { mesh, .. } = old else { return Err("a log is decided on with manifests".into()) };
    let pod = pod_named(mesh, from)?;
    let seats = seats::seats(old, new)?;
    let seat = replay::seat_of(&seats, pod).ok_or_else(|| format!("{from} has no proxy"))?;
    replay::replay(seat, log, hear)
}

/// What a decision comes to, without where its rules stand and which addresses are behind it.
pub fn essence(told: &Explanation) -> Value {
    let outcome = match &told.outcome {
        Outcome::Forward { target, authority, destinations } => serde_json::json!({
            "target": target, "authority": authority,
            "destinations": destinations
                .iter()
                .map(|d| serde_json::json!([d.cluster, d.probability, d.status, d.target, d.authority, d.location]))
                .collect::<Vec<_>>(),
        }),
        other => other.json(),
    };
    serde_json::json!([without_rules(told.action.clone()), outcome])
}

/// Ids of rules name lines, and lines move.
pub fn without_rules(mut value: Value) -> Value {
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("rule");
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}
