//! Copies of requests for mirrors: sent when the request is whole, answered to nobody.
//!
//! A copy owns its upstream connection's turn ([`UpPhase::Mirror`]) and nothing of the exchange that it was taken from, so it can neither delay
//! nor fail it. Everything is bounded: the body that is kept, copies under way, and the time of each.

use std::time::Duration;

use ringway_config::model::Role;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Io, Piece, Time};
use ringway_http::h1::{BodyDecoder, HeadWriter, Output, Parse};
use ringway_http::head::{Framing, Method, RequestHead};
use ringway_policy::outlier::Outcome;
use ringway_policy::{Choose, Plan, Rng as _, drawn, pick};

use super::Worker;
use super::connection::{Life, UpPhase};
use super::encode::{self, RequestEdits};
use super::exchange::{Exchange, Pinned};
use crate::ledger::ClusterLimits;

/// Bytes of a body as sent. Requests with a longer one are not copied.
pub const MIRROR_BODY_BYTES_MAX: usize = 64 << 10;
/// A copy is given up after this long, or after the route's timeout if that is shorter.
const MIRROR_TIME_MAX: Duration = Duration::from_secs(15);
/// Interim (1xx) responses that a copy may get.
const INTERIM_MAX: u8 = 8;

/// The copies of one request while its body comes in.
pub struct Copies {
    /// Gives the cluster ids their meaning.
    pinned: Pinned,
    /// Cluster and encoded head of each.
    heads: Vec<(u32, Vec<u8>)>,
    body: Vec<u8>,
    method: Method,
    time: Duration,
}

/// One copy on its connection.
pub struct Copy {
    /// What waits for the connection.
    waiting: Option<Buf>,
    method: Method,
    deadline: Time,
    interim: u8,
    /// The body of its answer, once the head came.
    answer: Option<BodyDecoder>,
    /// What outlier detection is told of it.
    outcome: Outcome,
    /// The connection goes on afterwards.
    keep: bool,
}

impl Copy {
    /// When it is given up.
    pub fn deadline(&self) -> Time {
        self.deadline
    }
}

impl<I: Io> Worker<I> {
    /// Draws who gets a copy of a request and keeps its head for them. The body follows by [`Self::copy_body`].
    pub(super) fn copy_head(
        &mut self,
        exchange: &mut Exchange,
        pinned: &Pinned,
        plan: &Plan,
        head: &[u8],
        request: &RequestHead,
        edits: &RequestEdits<'_>,
    ) {
        let mut heads = Vec::new();
        for (cluster, per_million) in pinned.view.host(plan.host).mirrors(plan.action) {
            if !drawn(&mut self.dice, per_million) {
                continue;
            }
            let authority = shadow(edits.authority.unwrap_or(request.authority.of(head)));
            let ours = pinned.view.cluster(cluster).settings.mesh_internal && edits.role != Role::Inbound;
            let edits = RequestEdits {
                authority: Some(&authority),
                peer_headers: if ours { &pinned.peer_headers } else { &[] },
                ..*edits
            };
            let mut out = vec![0; head.len() + edits.extra_bytes()];
            let mut writer = HeadWriter::new(&mut out);
            encode::request_head(&mut writer, head, request, &edits);
            if let Ok(len) = writer.end() {
                out.truncate(len);
                heads.push((cluster, out));
            }
        }
        if heads.is_empty() {
            return;
        }
        let time = if plan.timeout_ms > 0 { Duration::from_millis(plan.timeout_ms) } else { MIRROR_TIME_MAX };
        let (pinned, time) = (pinned.clone(), time.min(MIRROR_TIME_MAX));
        exchange.copies = Some(Box::new(Copies { pinned, heads, body: Vec::new(), method: request.method, time }));
    }

    /// Keeps a piece of the body for the copies.
    pub(super) fn copy_body(&mut self, exchange: &mut Exchange, piece: &[u8]) {
        let Some(copies) = &mut exchange.copies else { return };
        if copies.body.len() + piece.len() > MIRROR_BODY_BYTES_MAX {
            exchange.copies = None;
            return self.count(|s| &s.mirrors_dropped);
        }
        copies.body.extend_from_slice(piece);
    }

    /// The request is whole: its copies go out, after itself.
    pub(super) fn send_copies(&mut self, copies: Option<Box<Copies>>) {
        let Some(copies) = copies else { return };
        let Copies { pinned, heads, body, method, time } = *copies;
        for (cluster, mut bytes) in heads {
            bytes.extend_from_slice(&body);
            let copy = Copy {
                waiting: Some(Buf::heap(bytes)),
                method,
                deadline: self.now.after(time),
                interim: 0,
                answer: None,
                outcome: Outcome::Broken,
                keep: true,
            };
            match self.start_copy(&pinned, cluster, copy) {
                Some(()) => self.count(|s| &s.mirrors_sent),
                None => self.count(|s| &s.mirrors_dropped),
            }
        }
    }

    /// None: too many are under way, or there is nobody to send it to.
    fn start_copy(&mut self, pinned: &Pinned, cluster: u32, copy: Copy) -> Option<()> {
        if self.copies >= self.limits.mirrors_max {
            return None;
        }
        let (current, cluster) = self.current_cluster(pinned, cluster)?;
        // Nobody is bound to an endpoint by a copy of his request, so a key is as good as any.
        let choose = Choose { now: self.now.0, key: self.dice.random(), avoid: None };
        let (_, slot) = pick(&current.view, cluster, &mut self.state, &mut self.dice, choose)?;
        let key = match self.checkout(slot) {
            Some(key) => key,
            None => {
                let settings = &current.view.cluster(cluster).settings;
                self.open_at_once(&current, cluster, slot, UpPhase::Mirror, Life::of(settings)).ok()?
            }
        };
        let pooled = self.ups.get(key)?.phase == UpPhase::Idle;
        if !self.begin_request(key, ClusterLimits::of(&current.view.cluster(cluster).settings)) {
            if pooled {
                self.make_idle(key)
            } else {
                self.close_up(key)
            }
            self.count(|s| &s.upstream_overflows);
            return None;
        }
        let up = self.ups.get_mut(key)?;
        up.phase = UpPhase::Mirror;
        up.copy = Some(Box::new(copy));
        self.copies += 1;
        self.state.started(slot);
        if pooled {
            self.copy_connected(key);
        }
        self.arm_up(key);
        Some(())
    }

    /// The connection is there: sends the copy.
    pub(super) fn copy_connected(&mut self, key: Key) {
        let Some(up) = self.ups.get_mut(key) else { return };
        up.requests += 1;
        up.answered = false;
        let slot = up.slot;
        if let Some(bytes) = up.copy.as_mut().and_then(|copy| copy.waiting.take()) {
            self.io.send(up.sock, Piece::Buf(bytes));
        }
        self.observe(slot, Outcome::Sent);
    }

    /// Bytes of an answer that nobody waits for: read to its end, so that the connection can be used again.
    pub(super) fn copy_answered(&mut self, key: Key, buf: Buf) {
        match self.read_answer(key, buf) {
            Some(false) => {
                if let Some(up) = self.ups.get_mut(key) {
                    super::response::receive(&mut self.io, up);
                }
            }
            Some(true) => {
                let keep = self.copy_over(key);
                self.give_back(key, keep);
            }
            None => self.close_up(key),
        }
    }

    /// Whether the answer is whole; none when the connection is of no use any more.
    fn read_answer(&mut self, key: Key, mut buf: Buf) -> Option<bool> {
        let limits = self.active.as_ref().map_or_else(Default::default, |a| a.head_limits);
        let up = self.ups.get_mut(key)?;
        let copy = up.copy.as_mut()?;
        if copy.waiting.is_some() {
            return None;
        }
        if copy.answer.is_none() && !up.head.is_empty() {
            up.head.extend_from_slice(&buf);
            buf = Buf::heap(std::mem::take(&mut up.head));
        }
        while copy.answer.is_none() {
            let response = &mut self.scratch.response;
            match response.parse(&buf, up.scanned, copy.method, &limits).ok()? {
                Parse::Partial { scanned } => {
                    up.head.extend_from_slice(&buf);
                    up.scanned = scanned;
                    return Some(false);
                }
                Parse::Complete => up.scanned = 0,
            }
            drop(buf.split_to(response.len));
            match response.status {
                101 => return None,
                100..200 => {
                    copy.interim += 1;
                    if copy.interim > INTERIM_MAX {
                        return None;
                    }
                }
                _ => {
                    copy.keep = response.keep_alive && response.framing != Framing::UntilClose;
                    copy.answer = Some(BodyDecoder::new(response.framing, Output::Data));
                    copy.outcome = Outcome::Status(response.status);
                }
            }
        }
        let answer = copy.answer.as_mut()?;
        while !buf.is_empty() && !answer.is_done() {
            let consumed = answer.decode(&buf).ok()?.consumed;
            buf.advance(consumed);
        }
        // More than it announced: the connection is not to be trusted with another request.
        copy.keep &= buf.is_empty();
        Some(answer.is_done())
    }

    /// Takes the copy off its connection; whether that may be used again.
    pub(super) fn copy_over(&mut self, key: Key) -> bool {
        let Some(up) = self.ups.get_mut(key) else { return false };
        let (slot, Some(copy)) = (up.slot, up.copy.take()) else { return false };
        self.copies -= 1;
        self.state.finished(slot);
        self.observe(slot, copy.outcome);
        copy.keep && copy.answer.is_some_and(|answer| answer.is_done())
    }
}

/// `a.b:80` becomes `a.b-shadow:80`, as Envoy writes it: whoever reads a log sees that it is a copy.
fn shadow(authority: &[u8]) -> Vec<u8> {
    const SUFFIX: &[u8] = b"-shadow";
    let is_port = |colon: &usize| authority[colon + 1..].iter().all(u8::is_ascii_digit);
    let end = authority.iter().rposition(|b| *b == b':').filter(is_port).unwrap_or(authority.len());
    match authority {
        b"" => Vec::new(),
        _ => [&authority[..end], SUFFIX, &authority[end..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows() {
        for (authority, expected) in [
            ("a.b", "a.b-shadow"),
            ("a.b:80", "a.b-shadow:80"),
            ("10.0.0.1:80", "10.0.0.1-shadow:80"),
            ("[2001:db8::a]", "[2001:db8::a]-shadow"),
            ("[2001:db8::1]:80", "[2001:db8::1]-shadow:80"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(shadow(authority.as_bytes())).unwrap(), expected);
        }
    }
}
