//! From the client: the bytes of request heads and bodies.

use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Io, Piece, Time};
use ringway_http::h1::{HeadLimits, Parse};
use ringway_http::head::Framing;

use super::Worker;
use super::begin::Begun;
use super::connection::{BULK_BYTES_MIN, CREDIT, CREDIT_BULK, LINGER_BYTES_MAX, Phase, QUEUE_HIGH, QUEUE_HIGH_BULK};
use super::exchange::{Exchange, Keep, Response};
use super::local::LocalReply;
use crate::telemetry::Flag;

impl<I: Io> Worker<I> {
    pub(super) fn down_received(&mut self, key: Key, buf: Buf) {
        let Some(down) = self.downs.get_mut(key) else { return };
        match &mut down.phase {
            Phase::Idle | Phase::Head if down.pipe.is_empty() => self.head_in_buffer(key, buf),
            Phase::Idle | Phase::Head => {
                if self.hold(key, &buf) {
                    drop(buf);
                    self.head_in_pipe(key);
                }
            }
            Phase::Parked | Phase::Delayed(_) => drop(self.hold(key, &buf)),
            Phase::Busy(exchange) if exchange.request_done => drop(self.hold(key, &buf)),
            Phase::Busy(_) => self.request_body(key, buf),
            Phase::Tunnel(_) => self.tunnel_from_down(key, buf),
            Phase::Hello { .. } => self.hello_received(key, buf),
            Phase::Linger => {
                down.discarded = down.discarded.saturating_add(buf.len() as u32);
                if down.discarded > LINGER_BYTES_MAX {
                    return self.close_down(key);
                }
                self.io.recv(down.sock, Class::Small, CREDIT);
            }
            Phase::Away => {}
        }
    }

    /// The common case: the head starts in this very buffer.
    fn head_in_buffer(&mut self, key: Key, mut buf: Buf) {
        let mut request = std::mem::take(&mut self.scratch.request);
        match request.parse(&buf, 0, &self.head_limits()) {
            Ok(Parse::Complete) => {
                let head = buf.split_to(request.len);
                match self.begin(key, &head, &request) {
                    Begun::Busy => self.input_after_head(key, buf),
                    Begun::Parked => self.keep_input(key, &[&head, &buf], 0),
                    Begun::Over => {}
                }
            }
            Ok(Parse::Partial { scanned }) => {
                self.keep_input(key, &[&buf], scanned);
                self.head_unfinished(key);
            }
            Err(error) => self.refuse(key, error.status(), error.name()),
        }
        self.scratch.request = request;
    }

    /// The head arrived in several pieces, or was pipelined behind another request.
    pub(super) fn head_in_pipe(&mut self, key: Key) {
        let limits = self.head_limits();
        let Some(down) = self.downs.get_mut(key) else { return };
        let (at, scanned) = (down.pipe_at, down.scanned);
        let pipe = self.take_pipe(key);
        let mut request = std::mem::take(&mut self.scratch.request);
        let rest = match request.parse(&pipe[at..], scanned, &limits) {
            Ok(Parse::Complete) => match self.begin(key, &pipe[at..at + request.len], &request) {
                Begun::Busy => Some(at + request.len),
                Begun::Parked => {
                    self.put_pipe(key, pipe, at, 0);
                    self.scratch.request = request;
                    return;
                }
                Begun::Over => None,
            },
            Ok(Parse::Partial { scanned }) => {
                self.put_pipe(key, pipe, at, scanned);
                self.scratch.request = request;
                return self.head_unfinished(key);
            }
            Err(error) => {
                self.refuse(key, error.status(), error.name());
                None
            }
        };
        let body = request.framing != Framing::None;
        self.scratch.request = request;
        match rest {
            // Pipelined requests stay where they are; a body moves on in a buffer of its own.
            Some(rest) if !body && rest < pipe.len() => {
                self.put_pipe(key, pipe, rest, 0);
                self.input_after_head(key, Buf::empty());
            }
            Some(rest) => {
                let body = if rest < pipe.len() { Buf::heap(pipe[rest..].to_vec()) } else { Buf::empty() };
                self.keep_bytes(pipe);
                self.input_after_head(key, body);
            }
            None => self.keep_bytes(pipe),
        }
    }

    /// What follows a head: the running request's body, or, when it was answered at once, the next request.
    fn input_after_head(&mut self, key: Key, buf: Buf) {
        let Some(down) = self.downs.get(key) else { return };
        if matches!(down.phase, Phase::Busy(_)) {
            return self.request_body(key, buf);
        }
        let more = !buf.is_empty() || !down.pipe.is_empty();
        if matches!(down.phase, Phase::Idle) && more && self.hold(key, &buf) {
            self.ready.push(key);
        }
    }

    fn put_pipe(&mut self, key: Key, mut pipe: Vec<u8>, at: usize, scanned: usize) {
        let Some(down) = self.downs.get_mut(key) else { return self.keep_bytes(pipe) };
        // Move the rest to the front once what was consumed outweighs it, so that a pipeline costs O(n).
        let mut at = at;
        if at > pipe.len() / 2 {
            pipe.copy_within(at.., 0);
            pipe.truncate(pipe.len() - at);
            at = 0;
        }
        self.held += pipe.len();
        (down.pipe, down.pipe_at, down.scanned) = (pipe, at, scanned);
    }

    /// Appends to a connection's unconsumed input. When the worker's budget for that is spent, the connection is cut instead (false).
    pub(super) fn hold(&mut self, key: Key, bytes: &[u8]) -> bool {
        if self.held + bytes.len() > self.limits.held_bytes_max {
            self.count(|s| &s.input_budget_cuts);
            self.cut_down(key, Flag::OM, "overload_input");
            return false;
        }
        self.held += bytes.len();
        if let Some(down) = self.downs.get_mut(key) {
            down.pipe.extend_from_slice(bytes);
        }
        true
    }

    /// Takes a connection's unconsumed input away.
    pub(super) fn take_pipe(&mut self, key: Key) -> Vec<u8> {
        let Some(down) = self.downs.get_mut(key) else { return Vec::new() };
        (down.pipe_at, down.scanned) = (0, 0);
        let pipe = std::mem::take(&mut down.pipe);
        self.held -= pipe.len();
        pipe
    }

    fn keep_input(&mut self, key: Key, parts: &[&[u8]], scanned: usize) {
        let spare = self.spare_bytes();
        self.put_pipe(key, spare, 0, scanned);
        for part in parts {
            if !self.hold(key, part) {
                return;
            }
        }
    }

    fn head_unfinished(&mut self, key: Key) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        if !matches!(down.phase, Phase::Head) {
            down.phase = Phase::Head;
            down.since = now;
        }
        if down.ended {
            return self.end_down(key);
        }
        self.io.recv(down.sock, Class::Small, CREDIT);
        self.arm_down(key);
    }

    /// Looks at pipelined input of connections that became free, one request each, so that nobody holds the worker.
    pub(super) fn resume_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for key in ready.drain(..) {
            let Some(down) = self.downs.get(key) else { continue };
            match down.phase {
                Phase::Idle | Phase::Head if !down.pipe.is_empty() => self.head_in_pipe(key),
                Phase::Idle if down.ended => self.end_down(key),
                _ => {}
            }
        }
        // What became ready meanwhile waits for the next turn.
        if self.ready.is_empty() {
            self.ready = ready;
        }
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        self.active.as_ref().map_or_else(HeadLimits::default, |a| a.head_limits)
    }

    /// A buffer with room for `bytes`: a ring's small one, or the heap for what is larger or when all are in use.
    pub(super) fn out_buffer(&mut self, bytes: usize) -> Buf {
        if bytes <= 4096
            && let Some(buf) = self.io.alloc(Class::Small)
        {
            return buf;
        }
        Buf::heap(vec![0; bytes.max(4096)])
    }

    /// Body bytes of the running request; what follows its end is kept for later.
    pub(super) fn request_body(&mut self, key: Key, mut buf: Buf) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        let Phase::Busy(mut exchange) = std::mem::replace(&mut down.phase, Phase::Away) else { return };
        exchange.progress = now;
        while !buf.is_empty() && !exchange.request_done {
            let decoded = match exchange.request_body.decode(&buf) {
                Ok(decoded) => decoded,
                Err(error) => return self.bad_request_body(key, exchange, error.name()),
            };
            let mut piece = buf.split_to(decoded.consumed);
            piece.truncate(decoded.forward.end);
            piece.advance(decoded.forward.start);
            exchange.request_done = decoded.done;
            if exchange.copies.is_some() {
                self.copy_body(&mut exchange, decoded.before);
                self.copy_body(&mut exchange, &piece);
            }
            if !decoded.before.is_empty() {
                self.send_up(&mut exchange, Buf::heap(decoded.before.to_vec()));
            }
            if !piece.is_empty() {
                self.send_up(&mut exchange, piece);
            }
        }
        let copies = if exchange.request_done { exchange.copies.take() } else { None };
        let over = exchange.response == Response::Done;
        if !exchange.request_done && !over {
            self.pace_downstream(key, &mut exchange);
        }
        let unfinished = !exchange.request_done;
        self.put_busy(key, exchange);
        if unfinished {
            self.arm_down(key);
        } else {
            self.arm_try(key);
        }
        if !buf.is_empty() {
            self.hold(key, &buf);
        }
        self.send_copies(copies);
    }

    fn send_up(&mut self, exchange: &mut Exchange, piece: Buf) {
        self.keep_bytes_sent(exchange, &piece);
        match exchange.up.and_then(|up| self.ups.get_mut(up)) {
            Some(up) if exchange.waiting.is_empty() && up.phase != super::connection::UpPhase::Idle => {
                up.given += piece.len();
                self.io.send(up.sock, Piece::Buf(piece))
            }
            // Connecting, queued, about to be tried again, or nobody to send to any more (the answer came early): the last does not keep it.
            Some(_) => exchange.waiting.push_back(piece),
            None if exchange.ticket > 0 => self.charge(exchange, &piece),
            None if exchange.retry_at != Time::NEVER => exchange.waiting.push_back(piece),
            None => {}
        }
    }

    /// Grants the client more credit, unless the upstream has not yet taken what came so far.
    fn pace_downstream(&mut self, key: Key, exchange: &mut Exchange) {
        let Some(down) = self.downs.get(key) else { return };
        let bulk = exchange.request_body.data_bytes() > BULK_BYTES_MIN;
        let high = if bulk { QUEUE_HIGH_BULK } else { QUEUE_HIGH };
        let queued = exchange.up.and_then(|up| self.ups.get(up)).map_or(0, |up| self.io.queued(up.sock));
        exchange.downstream_paused = if exchange.ticket > 0 {
            // One that waits may wait long: that its client leaves is only learnt while something can be received.
            exchange.charged > QUEUE_HIGH || self.held > self.limits.held_bytes_max / 2
        } else {
            !exchange.waiting.is_empty() || queued > high
        };
        match (exchange.downstream_paused, bulk) {
            (true, _) => self.io.recv(down.sock, Class::Small, 0),
            (false, false) => self.io.recv(down.sock, Class::Small, CREDIT),
            (false, true) => self.io.recv(down.sock, Class::Bulk, CREDIT_BULK),
        }
    }

    /// The upstream took bytes: the client may send on.
    pub(super) fn up_sent(&mut self, key: Key) {
        use super::connection::UpPhase;
        let Some(up) = self.ups.get_mut(key) else { return };
        up.touched = true;
        let drained = self.io.queued(up.sock) == 0;
        match up.phase {
            UpPhase::Closing if drained => self.close_up(key),
            UpPhase::Closing => up.since = self.now,
            UpPhase::Busy(down_key) => {
                let Some(down) = self.downs.get_mut(down_key) else { return };
                let Phase::Busy(exchange) = &mut down.phase else { return };
                exchange.progress = self.now;
                let resume = exchange.downstream_paused && drained;
                if !resume && exchange.keep != Keep::UntilSent {
                    return;
                }
                if let Phase::Busy(mut exchange) = std::mem::replace(&mut down.phase, Phase::Away) {
                    if exchange.keep == Keep::UntilSent {
                        self.keep_nothing(&mut exchange);
                    }
                    if resume {
                        self.pace_downstream(down_key, &mut exchange);
                    }
                    self.put_busy(down_key, exchange);
                }
            }
            UpPhase::Tunnel(down_key) => self.tunnel_drained(down_key, false, drained),
            UpPhase::Idle | UpPhase::Connecting(_) | UpPhase::Mirror => {}
        }
    }

    fn bad_request_body(&mut self, key: Key, exchange: Box<Exchange>, name: &'static str) {
        self.count(|s| &s.protocol_errors);
        if matches!(exchange.response, Response::Awaited { .. }) {
            let mut exchange = exchange;
            self.detach_broken(&mut exchange);
            exchange.keep_downstream = false;
            return self.reply(key, exchange, LocalReply::new(400, Flag::DPE, name));
        }
        self.abort(key, exchange, Flag::DPE, name);
    }
}
