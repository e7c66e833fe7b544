//! From the upstream: response heads, bodies, and early ends.

use ringway_config::model::Role;
use ringway_engine::io::End;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Io, Piece};
use ringway_http::h1::{BodyDecoder, HeadWriter, Output, Parse};
use ringway_http::head::{Framing, ResponseHead, Upgrade, Version};
use ringway_policy::outlier::Outcome;
use ringway_policy::{Answered, Failure, Layers, Values};

use super::Worker;
use super::connection::{BULK_BYTES_MIN, CREDIT, CREDIT_BULK, Phase, QUEUE_HIGH, QUEUE_HIGH_BULK, Up, UpPhase};
use super::encode::{self, ResponseEdits};
use super::exchange::{Exchange, Keep, Response};
use super::lines::Received;
use crate::planted::{Bug, is_planted};
use crate::telemetry::Flag;

/// Interim (1xx) responses passed on for one request.
const INTERIM_MAX: u8 = 8;
/// Body bytes that are copied behind their head rather than sent from where they are: one piece is cheaper than two.
const COPY_BEHIND_HEAD_MAX: usize = 1024;

/// What to do after a piece of response was handled.
enum After {
    /// More is to come.
    Wait,
    /// The response is complete.
    Done,
    /// It broke HTTP's rules, or never came.
    Bad(&'static str),
    /// It became a tunnel; these bytes follow the 101.
    Tunnel(Buf),
    /// It is thrown away for another try; this is what came of its body.
    Retry(Buf),
}

impl<I: Io> Worker<I> {
    pub(super) fn up_received(&mut self, key: Key, buf: Buf) {
        let Some(up) = self.ups.get_mut(key) else { return };
        match up.phase {
            // Nobody asked: the connection cannot be trusted with a request any more.
            UpPhase::Idle | UpPhase::Connecting(_) => self.close_up(key),
            UpPhase::Closing => {}
            UpPhase::Mirror => self.copy_answered(key, buf),
            UpPhase::Tunnel(down) => self.tunnel_from_up(down, buf),
            UpPhase::Busy(down_key) => {
                up.answered = true;
                let Some(down) = self.downs.get_mut(down_key) else { return self.close_up(key) };
                match std::mem::replace(&mut down.phase, Phase::Away) {
                    Phase::Busy(exchange) => self.response_bytes(down_key, key, exchange, buf),
                    other => {
                        down.phase = other;
                        self.close_up(key);
                    }
                }
            }
        }
    }

    fn response_bytes(&mut self, down_key: Key, up_key: Key, mut exchange: Box<Exchange>, buf: Buf) {
        exchange.progress = self.now;
        let after = match exchange.response {
            Response::Awaited { .. } => self.response_head(down_key, up_key, &mut exchange, buf),
            Response::Body => self.response_body(down_key, &mut exchange, buf),
            Response::Done => After::Done,
        };
        match after {
            After::Wait => {
                self.pace_upstream(down_key, &mut exchange);
                let body = exchange.response == Response::Body;
                if let Some(down) = self.downs.get_mut(down_key) {
                    down.phase = Phase::Busy(exchange);
                }
                if body {
                    self.arm_down(down_key);
                }
            }
            After::Done => self.finish(down_key, exchange),
            After::Bad(name) => self.bad_response(down_key, exchange, name),
            After::Tunnel(rest) => self.become_tunnel(down_key, up_key, exchange, rest),
            After::Retry(rest) => {
                let head = std::mem::take(&mut self.scratch.response);
                self.retry_answered(down_key, exchange, &head, rest);
                self.scratch.response = head;
            }
        }
    }

    /// Heads, interim ones included, until the final one is out.
    fn response_head(&mut self, down_key: Key, up_key: Key, exchange: &mut Exchange, mut buf: Buf) -> After {
        let limits = self.active.as_ref().map_or_else(Default::default, |a| a.head_limits);
        let Some(up) = self.ups.get_mut(up_key) else { return After::Bad("connection_lost") };
        let mut scanned = up.scanned;
        if !up.head.is_empty() {
            up.head.extend_from_slice(&buf);
            buf = Buf::heap(std::mem::take(&mut up.head));
        }
        let mut response = std::mem::take(&mut self.scratch.response);
        let after = loop {
            match response.parse(&buf, scanned, exchange.method, &limits) {
                Ok(Parse::Partial { scanned }) => {
                    if let Some(up) = self.ups.get_mut(up_key) {
                        up.head.extend_from_slice(&buf);
                        up.scanned = scanned;
                    }
                    break After::Wait;
                }
                Err(error) => break After::Bad(error.name()),
                Ok(Parse::Complete) => {}
            }
            let head = buf.split_to(response.len);
            scanned = 0;
            if let Some(up) = self.ups.get_mut(up_key) {
                up.scanned = 0;
            }
            match response.status {
                101 => {
                    if !exchange.upgrade || response.upgrade != Upgrade::WebSocket {
                        break After::Bad("upgrade_not_asked_for_or_invalid");
                    }
                    exchange.status = 101;
                    self.observe_exchange(exchange, Outcome::Status(101));
                    self.send_head(down_key, exchange, &head, &response, Buf::empty());
                    break After::Tunnel(buf);
                }
                100..200 => {
                    let Response::Awaited { interim } = &mut exchange.response else {
                        break After::Bad("interim_after_final");
                    };
                    *interim += 1;
                    if *interim > INTERIM_MAX {
                        break After::Bad("too_many_interim_responses");
                    }
                    if exchange.version == Version::Http11 {
                        self.send_head(down_key, exchange, &head, &response, Buf::empty());
                    }
                    if buf.is_empty() {
                        break After::Wait;
                    }
                }
                _ => break self.final_head(down_key, exchange, &head, &response, buf),
            }
        };
        self.scratch.response = response;
        after
    }

    fn final_head(
        &mut self,
        down_key: Key,
        exchange: &mut Exchange,
        head: &[u8],
        response: &ResponseHead,
        rest: Buf,
    ) -> After {
        self.observe_exchange(exchange, Outcome::Status(response.status));
        if self.is_to_retry(exchange, head, response) {
            return After::Retry(rest);
        }
        self.keep_nothing(exchange);
        exchange.try_deadline = ringway_engine::Time::NEVER;
        let dechunk = exchange.version == Version::Http10 && response.framing == Framing::Chunked;
        exchange.status = response.status;
        exchange.upstream_head = self.now;
        exchange.keep_upstream &= response.keep_alive && response.framing != Framing::UntilClose;
        exchange.keep_downstream &=
            response.framing != Framing::UntilClose && !dechunk && exchange.request_done && self.drain.is_none();
        exchange.response_body =
            BodyDecoder::new(response.framing, if dechunk { Output::Data } else { Output::Verbatim });
        exchange.response = Response::Body;
        // A refused upgrade leaves both sides with ordinary framing, and us with no reason to trust what was pipelined behind it.
        exchange.keep_downstream &= !exchange.upgrade;
        let bulk = matches!(response.framing, Framing::Length(n) if n > BULK_BYTES_MIN);
        if let Some(up) = exchange.up.and_then(|k| self.ups.get_mut(k))
            && up.bulk != bulk
        {
            up.bulk = bulk;
            receive(&mut self.io, up);
        }
        self.send_head(down_key, exchange, head, response, rest)
    }

    /// Encodes a head for the client and sends it with what of the body came along.
    fn send_head(
        &mut self,
        down_key: Key,
        exchange: &mut Exchange,
        head: &[u8],
        response: &ResponseHead,
        rest: Buf,
    ) -> After {
        let is_final = response.status >= 200;
        let pinned = if is_final { exchange.pinned.take() } else { exchange.pinned.clone() };
        let mut rules = Layers::NONE;
        let mut values = Values::default();
        let mut cookie = None;
        let mut plain = None;
        let received = Received { head, fields: &response.fields };
        if let (Some(pinned), Some(plan), true) = (&pinned, exchange.plan, is_final) {
            let (forward, backend) = pinned.view.forward(&plan);
            cookie = plan.cookie.and_then(|value| Some((pinned.view.cluster(plan.cluster).cookie()?, value)));
            rules = Layers::of_response(&forward.response, &backend.response);
            if rules.vary() {
                let plain = plain.insert(std::mem::take(&mut self.scratch.plain));
                std::mem::swap(&mut plain.bytes, &mut exchange.asked);
                plain.read();
                values = self.values(down_key, &pinned.view, Some(&plan), exchange);
                values.request = plain.asked();
                values.response = Some(Answered {
                    status: response.status,
                    details: "via_upstream",
                    flags: Flag::None.name(),
                    upstream: exchange.counted.map(|slot| self.state.address(slot)),
                    fields: &received,
                });
            }
        }
        let edits = ResponseEdits {
            rules,
            values,
            last: if is_final { &exchange.cors } else { &[] },
            cookie,
            close: is_final && !exchange.keep_downstream,
            keep_alive: is_final && exchange.keep_downstream && exchange.version == Version::Http10,
            dechunk: is_final && exchange.version == Version::Http10 && response.framing == Framing::Chunked,
            upgrade: response.status == 101,
            outside: self.downs.get(down_key).is_some_and(|down| down.role == Role::Gateway),
        };
        let room = head.len() + encode::response_extra(&edits);
        let small = rest.len() <= COPY_BEHIND_HEAD_MAX;
        let mut out = self.out_buffer(room + if small { rest.len() } else { 0 });
        let mut writer = HeadWriter::new(&mut out);
        encode::response_head(&mut writer, head, response, &edits);
        let written = writer.end();
        if let Some(plain) = plain {
            self.scratch.plain = plain;
        }
        let Ok(mut len) = written else { return After::Bad("response_headers_too_large_after_edits") };
        if !is_final {
            out.truncate(len);
            self.send_down(down_key, out);
            return After::Wait;
        }
        let mut rest = rest;
        if small {
            while !rest.is_empty() && !exchange.response_body.is_done() {
                let Ok(decoded) = exchange.response_body.decode(&rest) else { return After::Bad("response_body") };
                let part = &rest[decoded.forward.clone()];
                out[len..len + part.len()].copy_from_slice(part);
                len += part.len();
                rest.advance(decoded.consumed);
            }
        }
        out.truncate(len);
        self.send_down(down_key, out);
        self.response_body(down_key, exchange, rest)
    }

    fn response_body(&mut self, down_key: Key, exchange: &mut Exchange, mut buf: Buf) -> After {
        while !buf.is_empty() && !exchange.response_body.is_done() {
            let decoded = match exchange.response_body.decode(&buf) {
                Ok(decoded) => decoded,
                Err(error) => return After::Bad(error.name()),
            };
            if !decoded.before.is_empty() {
                self.send_down(down_key, Buf::heap(decoded.before.to_vec()));
            }
            let mut piece = buf.split_to(decoded.consumed);
            piece.truncate(decoded.forward.end);
            piece.advance(decoded.forward.start);
            let lost = is_planted(Bug::PieceDroppedUnderPressure) && exchange.upstream_paused;
            if !piece.is_empty() && !lost {
                self.send_down(down_key, piece);
            }
        }
        exchange.bytes_sent = exchange.response_body.data_bytes();
        if !exchange.response_body.is_done() {
            return After::Wait;
        }
        if !buf.is_empty() {
            // More than it announced: whatever that is, it is not an answer to the next request.
            exchange.keep_upstream = false;
        }
        exchange.response = Response::Done;
        After::Done
    }

    fn send_down(&mut self, key: Key, buf: Buf) {
        if let Some(down) = self.downs.get(key) {
            self.io.send(down.sock, Piece::Buf(buf));
        }
    }

    /// Pauses the upstream while the client does not read, and grants credit otherwise.
    fn pace_upstream(&mut self, down_key: Key, exchange: &mut Exchange) {
        let (Some(down), Some(up)) = (self.downs.get(down_key), exchange.up.and_then(|k| self.ups.get_mut(k))) else {
            return;
        };
        up.bulk |= exchange.bytes_sent > BULK_BYTES_MIN;
        exchange.upstream_paused = self.io.queued(down.sock) > if up.bulk { QUEUE_HIGH_BULK } else { QUEUE_HIGH };
        if exchange.upstream_paused {
            self.io.recv(up.sock, class_of(up), 0);
        } else {
            receive(&mut self.io, up);
        }
    }

    /// The client took bytes: the upstream may go on.
    pub(super) fn down_sent(&mut self, key: Key) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        // Asked of the driver now: an earlier completion of this turn may have queued more since the bytes were taken.
        let drained = self.io.queued(down.sock) == 0;
        match &mut down.phase {
            Phase::Busy(exchange) => {
                exchange.progress = now;
                if !drained || !exchange.upstream_paused {
                    return;
                }
                if let Phase::Busy(mut exchange) = std::mem::replace(&mut down.phase, Phase::Away) {
                    self.pace_upstream(key, &mut exchange);
                    if let Some(down) = self.downs.get_mut(key) {
                        down.phase = Phase::Busy(exchange);
                    }
                }
            }
            Phase::Tunnel(_) => self.tunnel_drained(key, true, drained),
            Phase::Linger if drained && down.ended => self.close_down(key),
            Phase::Linger => {
                down.since = now;
                self.arm_down(key);
            }
            _ => {}
        }
    }

    fn bad_response(&mut self, down_key: Key, exchange: Box<Exchange>, name: &'static str) {
        self.count(|s| &s.protocol_errors);
        if matches!(exchange.response, Response::Awaited { .. }) {
            return self.fail(down_key, exchange, Failure::Protocol, (502, Flag::UPE, name));
        }
        self.observe_exchange(&exchange, Outcome::Broken);
        self.abort(down_key, exchange, Flag::UPE, name);
    }

    /// The upstream closed or broke while it served this exchange.
    pub(super) fn response_ended(&mut self, down_key: Key, up_key: Key, end: End) {
        let Some(down) = self.downs.get_mut(down_key) else { return self.close_up(up_key) };
        let mut exchange = match std::mem::replace(&mut down.phase, Phase::Away) {
            Phase::Busy(exchange) => exchange,
            other => {
                down.phase = other;
                return self.close_up(up_key);
            }
        };
        exchange.keep_upstream = false;
        match exchange.response {
            Response::Awaited { .. } => self.no_response(down_key, up_key, exchange),
            Response::Body
                if end == End::Eof && !exchange.upstream_reset && exchange.response_body.on_eof().is_ok() =>
            {
                exchange.response = Response::Done;
                self.finish(down_key, exchange);
            }
            // The client must learn that the body is not whole: its connection is cut, not ended.
            _ => {
                self.observe_exchange(&exchange, Outcome::Broken);
                let details = "upstream_reset_after_response_started{connection_termination}";
                self.abort(down_key, exchange, Flag::UC, details);
            }
        }
    }

    fn no_response(&mut self, down_key: Key, up_key: Key, exchange: Box<Exchange>) {
        let unsent = self.is_unsent(up_key);
        let stale = self.ups.get(up_key).is_some_and(|u| u.requests > 1 && !u.answered);
        let at_hand = !exchange.replayed && exchange.keep != Keep::Nothing;
        if stale && at_hand && (unsent || exchange.repeatable) {
            return self.replay(down_key, exchange);
        }
        let failure = if unsent { Failure::Unsent } else { Failure::Reset };
        let details = "upstream_reset_before_response_started{connection_termination}";
        self.fail(down_key, exchange, failure, (503, Flag::UC, details));
    }
}

/// The buffers a connection receives into. It keeps them from one response to the next: changing costs a cancelled receive.
fn class_of(up: &Up) -> Class {
    if up.bulk { Class::Bulk } else { Class::Small }
}

/// Grants a connection its full credit.
pub(super) fn receive<I: Io>(io: &mut I, up: &Up) {
    io.recv(up.sock, class_of(up), if up.bulk { CREDIT_BULK } else { CREDIT });
}
