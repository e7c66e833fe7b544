//! Copies for mirrors: who has to get one of a request, and whether it is the same request.

use crate::message::{Answer, Head};
use crate::origins::Copied;
use crate::predict::PEER;
use std::net::SocketAddr;

/// What copies end their Host with, before the port.
pub const SHADOW: &str = "-shadow";
/// Lines that tell of a try, or of who has a proxy: a copy may have others.
const OWN: [&str; 4] = ["x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", PEER, "x-envoy-peer-metadata-id"];

/// One mirror of a rule: each request that is sent on is copied to one of these.
pub type Mirror = Vec<SocketAddr>;

/// Whether these copies are what the mirrors have to get of a request that was answered so.
pub fn check(mirrors: &[Mirror], answer: &Answer, copies: &[Copied]) -> Result<(), String> {
    let wanted = expected(mirrors, answer);
    let differ = |why: &str| Err(format!("{why}: {copies:#?}\nfor the mirrors {mirrors:?}"));
    if copies.len() != wanted {
        return differ("not as many copies as mirrors");
    }
    if wanted > 0 && !each_has_one(mirrors, &copies.iter().map(|copy| copy.address).collect::<Vec<_>>()) {
        return differ("a mirror has no copy");
    }
    let Answer::Endpoint { head, .. } = answer else { return Ok(()) };
    let head = shadowed(head);
    match copies.iter().all(|copy| plain(&copy.head) == head) {
        true => Ok(()),
        false => differ(&format!("a copy is not the request\n{head}")),
    }
}

/// How many copies there are of a request that was answered so.
pub fn expected(mirrors: &[Mirror], answer: &Answer) -> usize {
    let (Answer::Endpoint { tries, .. } | Answer::Local { tries, .. }) = answer;
    if *tries > 0 { mirrors.len() } else { 0 }
}

/// Whether every mirror finds a copy of its own.
fn each_has_one(mirrors: &[Mirror], copies: &[SocketAddr]) -> bool {
    let Some((mirror, others)) = mirrors.split_first() else { return copies.is_empty() };
    (0..copies.len()).filter(|at| mirror.contains(&copies[*at])).any(|at| {
        let left: Vec<_> = copies.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, copy)| *copy).collect();
        each_has_one(others, &left)
    })
}

/// The head that a copy has of a request with this one.
fn shadowed(head: &Head) -> Head {
    let mut head = plain(head);
    for (_, value) in head.fields.iter_mut().filter(|(name, _)| name == "host") {
        let at = value.find(':').unwrap_or(value.len());
        value.insert_str(at, SHADOW);
    }
    head
}

fn plain(head: &Head) -> Head {
    let mut head = head.clone();
    head.fields.retain(|(name, _)| !OWN.contains(&name.as_str()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mirror_needs_a_copy_of_its_own() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for (mirrors, copies, fits) in [
            (vec![], vec![], true),
            (vec![vec![a, b]], vec![b], true),
            (vec![vec![a, b]], vec![c], false),
            (vec![vec![a, b], vec![a]], vec![a, b], true),
            (vec![vec![a], vec![a, b]], vec![b, b], false),
            (vec![vec![a]], vec![a, a], false),
        ] {
            assert_eq!(each_has_one(&mirrors, &copies), fits, "{mirrors:?} {copies:?}");
        }
    }
}
