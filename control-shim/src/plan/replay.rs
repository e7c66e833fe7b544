//! A recorded access log, decided on both sides.

use super::{Seat, essence};
use crate::explain::{LogLine, Request, Verdict};
use crate::mesh::Pod;
use std::collections::HashMap;
use std::io::BufRead;

/// What a log says of a plan.
#[derive(Debug, Default)]
pub struct Replay {
    /// Lines that tell of a request.
    pub requests: u64,
    /// Lines that tell of none.
    pub unread: u64,
    /// Requests that are decided differently.
    pub differ: u64,
    /// Those, by what decided them before and what does now; the most frequent first.
    pub moved: Vec<Moved>,
}

/// Requests that one rule decided and another one does, or the same one otherwise.
#[derive(Debug)]
pub struct Moved {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub request: Request,
    /// The rule before, with its place.
    pub before: String,
    /// The rule now, with its place.
    pub after: String,
}

/// Requests from one report to the next.
const HEARD_EVERY: u64 = 10_000;
/// Longest line that is read.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The seat of a pod's proxy.
pub(super) fn seat_of<'s>(seats: &'s [Seat], pod: &Pod) -> Option<&'s Seat> {
    let named = |name: String| seats.iter().find(|seat| seat.name == name);
    named(format!("gateway {}", pod.node()))
        .or_else(|| named(format!("sidecars in {}", pod.namespace)))
        .or_else(|| named("sidecars".into()))
}

/// Decides on every request of a log on both sides of a seat. What headers the log does not keep are not there.
///
/// `hear` is told from time to time how far it is.
///
/// # Errors
/// When the log cannot be read, or nobody stands at one side of the seat.
pub(super) fn replay(seat: &Seat, mut log: impl BufRead, mut hear: impl FnMut(&Replay)) -> Result<Replay, String> {
    let (Some(old), Some(new)) = (&seat.old, &seat.new) else {
        return Err(format!("{} is on one side only", seat.name));
    };
    let mut found = Replay::default();
    // Whether the answers differ depends on who gives them, not on the single request.
    let mut known: HashMap<(Verdict, Verdict), Option<usize>> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line).map_err(|error| format!("the log: {error}"))? == 0 {
            break;
        }
        if line.len() > LINE_BYTES_MAX || line.trim_ascii().is_empty() {
            found.unread += u64::from(!line.trim_ascii().is_empty());
            continue;
        }
        let Ok(parsed) = LogLine::parse(&String::from_utf8_lossy(&line)) else {
            found.unread += 1;
            continue;
        };
        let request = parsed.request;
        let (before_at, after_at) = (old.listener(&request), new.listener(&request));
        let (Some(before_at), Some(after_at)) = (before_at, after_at) else {
            found.unread += 1;
            continue;
        };
        found.requests += 1;
        if found.requests % HEARD_EVERY == 0 {
            hear(&found);
        }
        let verdicts = (old.subject.verdict(before_at, &request), new.subject.verdict(after_at, &request));
        let moved = *known.entry(verdicts).or_insert_with(|| {
            let (before, after) =
                (old.subject.explain(before_at, &request, true), new.subject.explain(after_at, &request, true));
            (essence(&before) != essence(&after)).then(|| {
                let (before, after) = (before.rule.to_string(), after.rule.to_string());
                found.moved.push(Moved { count: 0, request: request.clone(), before, after });
                found.moved.len() - 1
            })
        });
        if let Some(moved) = moved.and_then(|at| found.moved.get_mut(at)) {
            moved.count += 1;
            found.differ += 1;
        }
    }
    found.moved.sort_by_key(|moved| std::cmp::Reverse(moved.count));
    Ok(found)
}
