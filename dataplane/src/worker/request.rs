//! From the client: request heads and bodies, what is decided on them, and what goes upstream.

use std::net::IpAddr;

use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Io, Piece, Time};
use ringway_http::h1::{BodyDecoder, HeadLimits, HeadWriter, Output, Parse};
use ringway_http::head::{Fields, Framing, Known, Method, RequestHead, Upgrade, Version};
use ringway_policy::{Authority, Facts, LocalKind, Plan, Step, View, decide, normal_target};

use ringway_config::limits::HEAD_BYTES_MAX;
use ringway_config::model::{AccessLog, Profile, Role};

use super::Worker;
use super::connection::{BULK_BYTES_MIN, CREDIT, CREDIT_BULK, LINGER_BYTES_MAX, Phase, QUEUE_HIGH, QUEUE_HIGH_BULK};
use super::encode::{self, RequestEdits};
use super::exchange::{Exchange, Keep, Pinned, Response};
use super::local::LocalReply;
use crate::telemetry::record::Text;
use crate::telemetry::{Flag, names};

/// What became of a whole head.
#[derive(PartialEq, Eq)]
enum Begun {
    /// An exchange runs (or was answered here); body bytes may follow.
    Busy,
    /// It waits for config; its bytes must be kept.
    Parked,
    /// The connection is gone or going.
    Over,
}

/// A whole request head.
#[derive(Clone, Copy)]
struct Asked<'a> {
    head: &'a [u8],
    request: &'a RequestHead,
    /// Path and query in the one form that everything goes by.
    target: &'a [u8],
}

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

    fn head_limits(&self) -> HeadLimits {
        self.active.as_ref().map_or_else(HeadLimits::default, |a| a.head_limits)
    }

    /// Decides on a whole head and starts what was decided.
    fn begin(&mut self, key: Key, head: &[u8], request: &RequestHead) -> Begun {
        let Some(pinned) = self.active.clone() else {
            self.refuse(key, 503, "no_config");
            return Begun::Over;
        };
        let mut normal = std::mem::take(&mut self.scratch.target);
        let begun = match normal_target(pinned.view.policy(), request.path.of(head), &mut normal) {
            Ok(target) => self.begin_on(key, Asked { head, request, target }, pinned),
            Err(error) => {
                self.refuse(key, 400, error.name());
                Begun::Over
            }
        };
        self.scratch.target = normal;
        begun
    }

    fn begin_on(&mut self, key: Key, asked: Asked<'_>, pinned: Pinned) -> Begun {
        let Asked { head, request, target } = asked;
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return Begun::Over };
        let Some(listener) = pinned.listener(down.listener) else {
            self.refuse(key, 503, "listener_removed");
            return Begun::Over;
        };
        if request.method == Method::Connect {
            self.refuse(key, 405, "connect_refused");
            return Begun::Over;
        }
        let host_absent = std::mem::take(&mut down.host_absent);
        let delayed = down.delayed.take();
        let (role, peer) = (down.role, down.peer.ip());
        let view = &pinned.view;
        let client = (role == Role::Gateway).then_some(peer);
        let lines = Lines { head, fields: &request.fields, client };
        let mut facts = Facts {
            listener,
            method: request.method_span.of(head),
            path: target,
            authority: request.authority.of(head),
            scheme: "http",
            client: peer,
            fields: &lines,
            host_absent,
            delayed: delayed.is_some(),
        };
        let step = decide(view, &mut facts, &mut self.state, &mut self.dice, now.0, &mut ());
        match step {
            Step::Ask(_) => {
                down.delayed = delayed;
                return self.park(key, request.authority.of(head));
            }
            Step::Delay(delay) => return self.delay(key, delay.ms),
            Step::Forward(_) | Step::Reply(_) | Step::Reject(_) => {}
        }
        let mut exchange = self.spare_exchange();
        exchange.start = delayed.unwrap_or(now);
        exchange.flag = if delayed.is_some() { Flag::DI } else { Flag::None };
        exchange.progress = now;
        exchange.method = request.method;
        exchange.version = request.version;
        exchange.keep_downstream = request.keep_alive;
        exchange.upgrade = request.upgrade == Upgrade::WebSocket;
        exchange.request_body = BodyDecoder::new(request.framing, Output::Verbatim);
        exchange.request_done = exchange.request_body.is_done();
        self.label_source(&mut exchange, role, head, request);
        if pinned.view.policy().access_log != AccessLog::Off {
            self.start_record(&mut exchange, key, view, &facts, asked);
        }
        match step {
            Step::Forward(plan) => {
                view.cors_lines(plan.host, plan.route, &facts, &mut exchange.cors);
                self.forward(key, exchange, asked, pinned, plan);
            }
            Step::Reply(local) => {
                if matches!(local.kind, LocalKind::ClusterNotFound | LocalKind::NoHealthyUpstream) {
                    view.cors_lines(local.host, local.route, &facts, &mut exchange.cors);
                }
                let reply = LocalReply::decided(&pinned.view, &local, &mut facts);
                self.reply(key, exchange, reply);
            }
            Step::Reject(reason) => self.reply(key, exchange, LocalReply::new(403, Flag::None, reason.details())),
            Step::Ask(_) | Step::Delay(_) => {}
        }
        Begun::Busy
    }

    /// The request stays where it is, unread, and is decided on again when the time is over.
    fn delay(&mut self, key: Key, ms: u64) -> Begun {
        let now = self.now;
        if let Some(down) = self.downs.get_mut(key) {
            down.phase = Phase::Delayed(now.after(std::time::Duration::from_millis(ms)));
            down.since = now;
        }
        self.arm_down(key);
        Begun::Parked
    }

    fn park(&mut self, key: Key, authority: &[u8]) -> Begun {
        if self.parked.len() >= self.limits.parked_max {
            // Those that timed out or left are still listed until the next answer; they do not count.
            let downs = &self.downs;
            self.parked.retain(|key| downs.get(*key).is_some_and(|down| matches!(down.phase, Phase::Parked)));
        }
        let ask = self.wiring.house.send(crate::messages::FromWorker::Ask(authority.into()));
        if self.parked.len() >= self.limits.parked_max || ask.is_err() {
            self.refuse(key, 503, "on_demand_config_overflow");
            return Begun::Over;
        }
        self.count(|s| &s.parked);
        self.parked.push(key);
        let now = self.now;
        if let Some(down) = self.downs.get_mut(key) {
            down.phase = Phase::Parked;
            down.since = now;
        }
        self.arm_down(key);
        Begun::Parked
    }

    /// New config or an answer is here: decides again on every waiting request. Those that ask again go on waiting.
    pub(super) fn unpark(&mut self, absent: &[Box<[u8]>]) {
        let mut parked = std::mem::take(&mut self.parked);
        for key in parked.drain(..) {
            let Some(down) = self.downs.get_mut(key) else { continue };
            if !matches!(down.phase, Phase::Parked) {
                continue;
            }
            let (phase, since) = (Phase::Head, down.since);
            down.phase = phase;
            if !absent.is_empty()
                && self.parked_authority_is(key, absent)
                && let Some(down) = self.downs.get_mut(key)
            {
                down.host_absent = true;
            }
            self.head_in_pipe(key);
            if let Some(down) = self.downs.get_mut(key)
                && matches!(down.phase, Phase::Parked)
            {
                down.since = since;
            }
        }
    }

    fn parked_authority_is(&mut self, key: Key, names: &[Box<[u8]>]) -> bool {
        let limits = self.head_limits();
        let Some(down) = self.downs.get(key) else { return false };
        let head = &down.pipe[down.pipe_at..];
        let mut request = RequestHead::default();
        matches!(request.parse(head, 0, &limits), Ok(Parse::Complete))
            && names.iter().any(|n| n.eq_ignore_ascii_case(request.authority.of(head)))
    }

    fn forward(&mut self, key: Key, mut exchange: Box<Exchange>, asked: Asked<'_>, pinned: Pinned, plan: Plan) {
        let Asked { head, request, target } = asked;
        let view = &pinned.view;
        let cluster = view.cluster(plan.cluster);
        let (forward, backend) = view.forward(&plan);
        self.label_destination(&mut exchange, view, &plan);
        if plan.timeout_ms > 0 {
            exchange.deadline = self.now.after(std::time::Duration::from_millis(plan.timeout_ms));
        }
        let Some(down) = self.downs.get(key) else { return };
        let normal_host = match (view.policy().profile, pinned.listener(down.listener)) {
            (Profile::Strict, Some(listener)) => view.normal_authority(listener, request.authority.of(head)),
            _ => None,
        };
        let mut path = std::mem::take(&mut self.scratch.path);
        path.clear();
        let rewritten = view.rewrite_path(&plan, target, &mut path);
        let request_id = if request.fields.get(Known::XRequestId).is_none() {
            Some(encode::request_id(&mut self.dice))
        } else {
            None
        };
        if let (Some(record), Some(id)) = (&mut exchange.record, &request_id) {
            record.set(Text::RequestId, id);
        }
        let edits = RequestEdits {
            role: down.role,
            forward,
            backend,
            path: if rewritten { &path } else { target },
            authority: match &normal_host {
                _ if !forward.authority.is_empty() => Some(forward.authority.as_bytes()),
                Some(normal) => Some(normal.text()),
                None => None,
            },
            peer_headers: if cluster.model.mesh_internal && down.role != Role::Inbound {
                &pinned.peer_headers
            } else {
                &[]
            },
            client: down.peer.ip(),
            request_id: request_id.as_ref(),
            upgrade: exchange.upgrade,
        };
        let mut out = self.out_buffer(head.len() + edits.extra_bytes());
        let mut writer = HeadWriter::new(&mut out);
        encode::request_head(&mut writer, head, request, &edits);
        let written = writer.end();
        if !exchange.upgrade && view.host(plan.host).copies(plan.action) {
            self.copy_head(&mut exchange, &pinned, &plan, head, request, &edits);
        }
        self.scratch.path = path;
        let fits = self.scratch.path.len() <= HEAD_BYTES_MAX as usize;
        let Some(len) = written.ok().filter(|_| fits) else {
            return self.reply(key, exchange, LocalReply::new(431, Flag::DPE, "request_headers_too_large_after_edits"));
        };
        out.truncate(len);
        self.keep_request(&mut exchange, forward.retry.as_ref(), request, head, &out);
        if let Some(record) = &mut exchange.record {
            record.set(Text::UpstreamCluster, cluster.name.as_bytes());
            record.set(Text::RouteName, view.route(&plan).name.as_bytes());
            record.numbers.rule = plan.rule.0;
        }
        let copies = if exchange.request_done { exchange.copies.take() } else { None };
        self.state.started(plan.slot);
        exchange.counted = Some(plan.slot);
        exchange.plan = Some(plan);
        exchange.waiting.push_back(out);
        exchange.pinned = Some(pinned);
        self.attach(key, exchange);
        self.send_copies(copies);
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

    /// Which workload is asking: told by peer metadata on the inbound side, ourselves on the other.
    fn label_source(&mut self, exchange: &mut Exchange, role: Role, head: &[u8], request: &RequestHead) {
        if role != Role::Inbound {
            return;
        }
        exchange.source = match request.fields.get(Known::XEnvoyPeerMetadata) {
            Some(field) => self.scratch.peers.id(&mut self.names, field.value.of(head)),
            None => names::UNKNOWN,
        };
    }

    fn start_record(&mut self, exchange: &mut Exchange, key: Key, view: &View, facts: &Facts<'_>, asked: Asked<'_>) {
        let Asked { head, request, .. } = asked;
        let Some(mut record) = self.take_record() else { return };
        record.set(Text::Method, facts.method);
        record.set(Text::Path, facts.path);
        record.set(Text::Protocol, if request.version == Version::Http11 { b"HTTP/1.1" } else { b"HTTP/1.0" });
        let authority = view.normal_authority(facts.listener, facts.authority);
        record.set(Text::Authority, authority.as_ref().map_or(facts.authority, Authority::text));
        for (text, known) in [
            (Text::XForwardedFor, Known::XForwardedFor),
            (Text::UserAgent, Known::UserAgent),
            (Text::RequestId, Known::XRequestId),
        ] {
            if let Some(field) = request.fields.get(known) {
                record.set(text, field.value.of(head));
            }
        }
        if let Some(down) = self.downs.get(key) {
            record.numbers.downstream_remote = Some(down.peer);
            record.numbers.downstream_local = self.io.local_addr(down.sock);
        }
        exchange.record = Some(record);
    }
}

/// The policy's look at header lines: as the upstream will see them, so that no rule decides by what is taken away, or was never to be believed.
struct Lines<'a> {
    head: &'a [u8],
    fields: &'a Fields,
    /// The client of a gateway, which is told to the mesh.
    client: Option<IpAddr>,
}

impl ringway_policy::Fields for Lines<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        let gateway = self.client.is_some();
        for field in self.fields.iter() {
            if field.name.of(self.head).eq_ignore_ascii_case(name.as_bytes())
                && !encode::is_withheld(field, self.head, gateway)
                && field.known != Known::TransferEncoding
            {
                visit(field.value.of(self.head));
            }
        }
        match (name, self.client) {
            ("x-forwarded-for", Some(client)) => {
                visit(encode::address_text(client, &mut [0; encode::ADDRESS_BYTES_MAX]));
            }
            ("x-forwarded-proto", Some(_)) => visit(b"http"),
            _ => {}
        }
    }
}

/// The last few peer-metadata values seen, compared as bytes: spares a keyed hash of some 400 bytes a request.
pub struct PeerCache {
    lines: [(Vec<u8>, u16); PeerCache::LINES],
}

impl Default for PeerCache {
    fn default() -> Self {
        PeerCache { lines: std::array::from_fn(|_| (Vec::new(), names::UNKNOWN)) }
    }
}

impl PeerCache {
    const LINES: usize = 16;

    fn id(&mut self, names: &mut names::Names, value: &[u8]) -> u16 {
        let tail = value.rchunks(8).nth(1).unwrap_or(value);
        let slot = tail.iter().fold(value.len(), |h, b| h.wrapping_mul(31).wrapping_add(*b as usize)) % Self::LINES;
        let line = &mut self.lines[slot];
        if line.0 != value || value.is_empty() {
            line.0.clear();
            line.0.extend_from_slice(&value[..value.len().min(crate::telemetry::peer::METADATA_BYTES_MAX)]);
            line.1 = names.peer(value);
        }
        line.1
    }
}
