//! Where we and Envoy do not do the same: the rows of `docs/envoy-differences.md`, each with how it shows.

use super::reading::AsRead;
use crate::generate::Place;
use crate::generate::request::{ID, Request};
use crate::generate::words::HEADERS;
use crate::message::{Answer, Head, is_edited};
use crate::predict::{BROKEN, Keys, Layers, Oracle, PEER, Prediction, Reading, Retries};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;

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
pub const ROWS: [&str; 21] = [
    "answers-that-break-off",
    "authority-as-sent",
    "client-address-at-sidecars",
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
    "status-of-own-answers",
    "unknown-hosts-of-sidecars",
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
        let keeps = other_hash && told.outcomes.len() == 1 && !edits_a_key(request, theirs);
        Some(Settled { rows, theirs: prediction, same_rule, other_hash, keeps })
    })
}

/// Whether a header that keys are made of reached the endpoint otherwise than it was sent: Envoy hashes what rules made of it.
fn edits_a_key(request: &Request, answer: &Answer) -> bool {
    let Answer::Endpoint { head, .. } = answer else { return false };
    let of = |fields: &[(String, String)], name: &str| -> Vec<String> {
        let own = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.clone()).collect()
    };
    HEADERS.iter().any(|name| of(&request.headers, name) != of(&head.fields, name))
}

fn settle_one_of(request: &Request, ours: &Prediction, theirs: &Answer) -> Option<Rows> {
    ours.outcomes.iter().find_map(|outcome| {
        let mut rows = Rows::new();
        let (mut theirs, mut ours) = (theirs.clone(), outcome.answer.clone());
        if let (Answer::Local { reply: theirs, .. }, Answer::Local { reply: ours, status, body, .. }) =
            (&mut theirs, &ours)
        {
            // Whose answer broke off is known too.
            theirs.retain(|line| body != BROKEN || ours.contains(line) || line.1.parse::<SocketAddr>().is_err());
            settle_statuses(*status, theirs, ours, &mut rows);
        }
        settle_clients(request, &mut theirs, &ours, &mut rows);
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
            (Answer::Local { status: theirs @ 502, .. }, Answer::Local { status: 404, .. })
                if request.place == Place::Sidecar =>
            {
                *theirs = 404;
                rows.insert("unknown-hosts-of-sidecars");
            }
            _ => {}
        }
        (theirs == ours).then_some(rows)
    })
}

/// Where a rule of a sidecar writes the client's address.
fn settle_clients(request: &Request, theirs: &mut Answer, ours: &Answer, rows: &mut Rows) {
    let mut lines = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
    let last = lines.next_back().and_then(|(_, value)| value.rsplit(',').next()).map(str::trim);
    let Some(last) = last.filter(|_| request.place == Place::Sidecar) else { return };
    let mut settle = |theirs: &mut [(String, String)], ours: &[(String, String)]| {
        let (theirs, ours) =
            (theirs.iter_mut().filter(|(n, _)| is_edited(n)), ours.iter().filter(|(n, _)| is_edited(n)));
        for (theirs, ours) in theirs.zip(ours).filter(|(theirs, ours)| theirs.1 == last && ours.1 == "127.0.0.1") {
            theirs.1.clone_from(&ours.1);
            rows.insert("client-address-at-sidecars");
        }
    };
    if let (Answer::Endpoint { head: theirs, .. }, Answer::Endpoint { head: ours, .. }) = (&mut *theirs, ours) {
        settle(&mut theirs.fields, &ours.fields);
    }
    let (Answer::Endpoint { reply: theirs, .. } | Answer::Local { reply: theirs, .. }) = theirs;
    let (Answer::Endpoint { reply: ours, .. } | Answer::Local { reply: ours, .. }) = ours;
    settle(theirs, ours);
}

/// Where a rule writes the status into an answer that nobody else gave.
fn settle_statuses(status: u16, theirs: &mut [(String, String)], ours: &[(String, String)], rows: &mut Rows) {
    let status = status.to_string();
    let pairs = theirs.iter_mut().zip(ours);
    for (theirs, ours) in pairs.filter(|(theirs, ours)| theirs.0 == ours.0 && theirs.1 == "0" && ours.1 == status) {
        theirs.1.clone_from(&ours.1);
        rows.insert("status-of-own-answers");
    }
}

fn settle_locations(request: &Request, theirs: &mut String, ours: &str, rows: &mut Rows) {
    let origin = |location: &str| location.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let (their_origin, our_origin) = (origin(theirs), origin(ours));
    if their_origin == our_origin {
        return;
    }
    let default = if our_origin.starts_with("https:") { 443 } else { 80 };
    let row = if their_origin == format!("{our_origin}:{default}")
        || (their_origin == format!("http://{}", request.authority) && request.authority.ends_with(":80"))
    {
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
