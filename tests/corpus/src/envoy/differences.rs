//! Where we and Envoy do not do the same: the rows of `docs/envoy-differences.md`, each with how it shows.

use super::reading::AsRead;
use crate::generate::Place;
use crate::generate::request::{ID, Request};
use crate::message::{Answer, Head};
use crate::predict::{BROKEN, Keys, Layers, Oracle, PEER, Prediction, Reading, Retries};
use serde_json::Value;
use std::collections::BTreeSet;

/// Rows that were looked up.
pub type Rows = BTreeSet<&'static str>;

/// Headers that only Envoy writes.
const THEIR_HEADERS: [(&str, &str); 4] = [
    ("expected-timeout-header", "x-envoy-expected-rq-timeout-ms"),
    ("external-address-header", "x-envoy-external-address"),
    ("original-host-header", "x-envoy-original-host"),
    ("original-path-header", "x-envoy-original-path"),
];

/// The rows of the table, by name. The table and this list are compared.
pub const ROWS: [&str; 18] = [
    "answers-that-break-off",
    "authority-as-sent",
    "consistent-hash-choice",
    "content-length-zero",
    "copies-are-requests-from-inside",
    "edits-of-rule-and-destination",
    "expected-timeout-header",
    "external-address-header",
    "forwarded-for-of-loopback",
    "original-host-header",
    "original-path-header",
    "peer-metadata",
    "query-decoding",
    "redirect-authority-with-port",
    "redirect-default-port",
    "redirect-listener-port",
    "request-id-at-gateways",
    "retries-by-default",
];

/// Whether rules look at the authority, and this request writes it unlike they do: Envoy compares it as it was sent.
pub fn is_authority_as_sent(request: &Request, conditions: &[Value]) -> bool {
    request.authority.bytes().any(|b| b.is_ascii_uppercase())
        && conditions.iter().any(|one| one["authority"].is_object())
}

/// What Envoy may do by our rules as it reads them, and the rows that say why it reads them so.
pub struct Settled {
    /// The rows that had to be looked up.
    pub rows: Rows,
    /// What may happen at Envoy, but for the differences of answers.
    pub theirs: Prediction,
    /// The request means the same to both.
    pub same_rule: bool,
    /// Envoy's hash decides.
    pub other_hash: bool,
    /// And always for the same endpoint.
    pub keeps: bool,
}

/// Takes out of a copy what Envoy writes because it sends it as a request of its own.
pub fn settle_copy(answer: &Answer, copy: &mut Head) -> Option<&'static str> {
    const FORWARDED_FOR: &str = "x-forwarded-for";
    let Answer::Endpoint { head, .. } = answer else { return None };
    let mut own = copy.remove("x-envoy-internal");
    let before = head.get(FORWARDED_FOR);
    if let Some((_, value)) = copy.fields.iter_mut().find(|(name, _)| name == FORWARDED_FOR)
        && before != Some(value.as_str())
    {
        own = true;
        match before {
            Some(before) if value.starts_with(before) => *value = before.to_owned(),
            Some(_) => {}
            None => copy.fields.retain(|(name, _)| name != FORWARDED_FOR),
        }
    }
    own.then_some("copies-are-requests-from-inside")
}

/// Compares Envoy's answer with the possible ones. Without `Some`, nothing settles the disagreement.
pub fn settle(oracle: &mut Oracle, request: &Request, ours: &Prediction, theirs: &Answer) -> Option<Settled> {
    let read = AsRead::new(oracle, request, ours);
    let layers = [Layers::RuleFirst, Layers::ByKind, Layers::DestinationFirst];
    let readings = [(Keys::Told, Retries::Safe), (Keys::Anywhere, Retries::Safe), (Keys::Anywhere, Retries::Listed)]
        .map(|(keys, retries)| layers.map(|layers| Reading { layers, retries, keys }));
    readings.into_iter().flatten().find_map(|reading| {
        let prediction = read.predict(oracle, reading);
        let told = read.predict(oracle, Reading { keys: Keys::Told, ..reading });
        let mut rows = settle_one_of(request, &prediction, theirs)?;
        rows.extend((reading.layers != Layers::RuleFirst).then_some("edits-of-rule-and-destination"));
        let other_hash = reading.keys != Keys::Told && prediction != told;
        rows.extend(other_hash.then_some("consistent-hash-choice"));
        rows.extend((reading.retries != Retries::Safe).then_some("retries-by-default"));
        let same_rule = read.rows.is_empty();
        rows.extend(&read.rows);
        Some(Settled { rows, theirs: prediction, same_rule, other_hash, keeps: other_hash && told.outcomes.len() == 1 })
    })
}

fn settle_one_of(request: &Request, ours: &Prediction, theirs: &Answer) -> Option<Rows> {
    ours.outcomes.iter().find_map(|outcome| {
        let mut rows = Rows::new();
        let (mut theirs, mut ours) = (theirs.clone(), outcome.answer.clone());
        match (&mut theirs, &mut ours) {
            (Answer::Endpoint { head: theirs, .. }, Answer::Endpoint { head: ours, .. }) => {
                settle_heads(request, theirs, ours, &mut rows);
            }
            (Answer::Local { location: Some(theirs), .. }, Answer::Local { location: Some(ours), .. }) => {
                settle_locations(request, theirs, ours, &mut rows);
            }
            (
                Answer::Local { status: their_status, body: their_body, .. },
                Answer::Local { status: status @ 400.., body, .. },
            ) if body == BROKEN && their_body.ends_with("reset reason: protocol error") => {
                their_body.clone_from(body);
                *their_status = *status;
                rows.insert("answers-that-break-off");
            }
            _ => {}
        }
        (theirs == ours).then_some(rows)
    })
}

fn settle_locations(request: &Request, theirs: &mut String, ours: &str, rows: &mut Rows) {
    let origin = |location: &str| location.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let (their_origin, our_origin) = (origin(theirs), origin(ours));
    if their_origin == our_origin {
        return;
    }
    let row = if their_origin == format!("http://{}", request.authority) && request.authority.ends_with(":80") {
        "redirect-default-port"
    } else if their_origin.starts_with("https://") && our_origin == format!("{their_origin}:80") {
        "redirect-listener-port"
    } else if their_origin.contains("://else.example:8080") {
        "redirect-authority-with-port"
    } else {
        return;
    };
    *theirs = theirs.replacen(&their_origin, &our_origin, 1);
    rows.insert(row);
}

fn settle_heads(request: &Request, theirs: &mut Head, ours: &mut Head, rows: &mut Rows) {
    for (row, name) in THEIR_HEADERS {
        // What a caller says there goes on, and Envoy writes over it.
        let said = request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        if theirs.get(name) != ours.get(name) && ours.get(name).is_none_or(|own| said == Some(own)) {
            ours.remove(name);
            theirs.remove(name);
            rows.insert(row);
        }
    }
    if theirs.get("content-length") == Some("0") && ours.get("content-length").is_none() {
        theirs.remove("content-length");
        rows.insert("content-length-zero");
    }
    // Ours are there where the peer is of the mesh, and a client's nowhere.
    if ours.remove(PEER) | theirs.remove(PEER) {
        rows.insert("peer-metadata");
    }
    if request.place == Place::Sidecar {
        return;
    }
    for (row, name) in [("request-id-at-gateways", ID), ("forwarded-for-of-loopback", "x-forwarded-for")] {
        if theirs.get(name) != ours.get(name) && theirs.remove(name) && ours.remove(name) {
            rows.insert(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_has_these_rows_and_no_others() {
        let path = ringway_tests::harness::binary::repository().join("docs/envoy-differences.md");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let differences = text.split("\n## ").next().unwrap_or_default();
        let rows = differences.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: Vec<&str> = rows.map(|(name, _)| name).collect();
        assert_eq!(documented, ROWS);
    }
}
