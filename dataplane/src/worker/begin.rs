//! From a whole request head to what is decided on it: an answer here, a wait, or a request for an upstream.

use ringway_config::limits::HEAD_BYTES_MAX;
use ringway_config::model::{AccessLog, Profile, Role};
use ringway_engine::Io;
use ringway_engine::slab::Key;
use ringway_http::h1::{BodyDecoder, HeadWriter, Output, Parse};
use ringway_http::head::{Known, Method, RequestHead, Upgrade, Version};
use ringway_policy::{Authority, Facts, Layers, LocalKind, Plan, Step, Values, View, decide, normal_target};

use super::Worker;
use super::connection::Phase;
use super::encode::{self, RequestEdits, RequestId};
use super::exchange::{Exchange, Pinned};
use super::lines::{self, Lines, Plain};
use super::local::LocalReply;
use crate::telemetry::record::Text;
use crate::telemetry::{Flag, names};

/// What became of a whole head.
#[derive(PartialEq, Eq)]
pub enum Begun {
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
    /// Decides on a whole head and starts what was decided.
    pub(super) fn begin(&mut self, key: Key, head: &[u8], request: &RequestHead) -> Begun {
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
        let sender = lines::sender(role, view.policy());
        down.forwarded = lines::forwarded_client(head, &request.fields, sender, view.policy());
        let lines = Lines { head, fields: &request.fields, sender, peer };
        let mut facts = Facts {
            listener,
            method: request.method_span.of(head),
            path: target,
            authority: request.authority.of(head),
            scheme: lines::scheme(head, &request.fields, sender),
            client: down.client().ip(),
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
                view.cors_lines(plan.host, plan.action, &facts, &mut exchange.cors);
                self.forward(key, exchange, asked, pinned, plan);
            }
            Step::Reply(local) => {
                if matches!(local.kind, LocalKind::ClusterNotFound | LocalKind::NoHealthyUpstream) {
                    view.cors_lines(local.host, local.action, &facts, &mut exchange.cors);
                }
                let reply = LocalReply::decided(&pinned.view, &local, &mut facts);
                let reads = view.reply_edits(&local).read_request();
                let request_id =
                    if reads || exchange.record.is_some() { self.request_id(&mut exchange, request) } else { None };
                if reads {
                    let none = RequestEdits::none(role, sender, target, peer);
                    self.scratch.plain.write(head, request, &RequestEdits { request_id: request_id.as_ref(), ..none });
                    exchange.asked.extend_from_slice(&self.scratch.plain.bytes);
                }
                if let Some(record) = &mut exchange.record {
                    record.set(Text::UpstreamCluster, view.reply_cluster(&local).as_bytes());
                    record.set(Text::RouteName, view.reply_route(&local).as_bytes());
                }
                exchange.pinned = Some(pinned);
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
        let (role, client) = (down.role, down.peer.ip());
        let sender = lines::sender(role, view.policy());
        let request_id = self.request_id(&mut exchange, request);
        let layers = Layers::of_request(&forward.request, &backend.request);
        let of_answer = Layers::of_response(&forward.response, &backend.response);
        let mut plain = None;
        if layers.read_request() || of_answer.read_request() {
            let plain = plain.insert(std::mem::take(&mut self.scratch.plain));
            let authority = normal_host.as_ref().map(Authority::text);
            let edits = RequestEdits {
                authority,
                request_id: request_id.as_ref(),
                ..RequestEdits::none(role, sender, target, client)
            };
            plain.write(head, request, &edits);
            if of_answer.read_request() {
                exchange.asked.extend_from_slice(&plain.bytes);
            }
        }
        let mut values = Values::default();
        if layers.vary() {
            values = self.values(key, view, Some(&plan), &exchange);
            values.request = plain.as_ref().and_then(Plain::asked);
        }
        let edits = RequestEdits {
            role,
            sender,
            rules: layers,
            values,
            path: if rewritten { &path } else { target },
            authority: match &normal_host {
                _ if !forward.authority.is_empty() => Some(forward.authority.as_bytes()),
                Some(normal) => Some(normal.text()),
                None => None,
            },
            peer_headers: if cluster.settings.mesh_internal && role != Role::Inbound {
                &pinned.peer_headers
            } else {
                &[]
            },
            client,
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
        if let Some(plain) = plain {
            self.scratch.plain = plain;
        }
        let fits = self.scratch.path.len() <= HEAD_BYTES_MAX as usize;
        let Some(len) = written.ok().filter(|_| fits) else {
            return self.reply(key, exchange, LocalReply::new(431, Flag::DPE, "request_headers_too_large_after_edits"));
        };
        out.truncate(len);
        self.keep_request(&mut exchange, forward.retry.as_ref(), request, head, &out);
        if let Some(record) = &mut exchange.record {
            record.set(Text::UpstreamCluster, cluster.name.as_bytes());
            record.set(Text::RouteName, view.route_name(&plan).as_bytes());
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

    /// An id for a request that came without one.
    fn request_id(&mut self, exchange: &mut Exchange, request: &RequestHead) -> Option<RequestId> {
        let missing = request.fields.get(Known::XRequestId).is_none();
        let id = missing.then(|| encode::request_id(&mut self.dice))?;
        if let Some(record) = &mut exchange.record {
            record.set(Text::RequestId, &id);
        }
        Some(id)
    }

    /// What values may say of an exchange on this connection; of its request and its response the caller does.
    pub(super) fn values<'v>(
        &mut self,
        key: Key,
        view: &'v View,
        plan: Option<&Plan>,
        exchange: &Exchange,
    ) -> Values<'v> {
        let down = self.downs.get(key);
        Values {
            request: None,
            client: down.map(|down| down.client()),
            direct: down.map(|down| down.peer),
            local: down.and_then(|down| self.io.local_addr(down.sock)),
            protocol: if exchange.version == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" },
            route: plan.map_or("", |plan| view.route_name(plan)),
            cluster: plan.map_or("", |plan| &view.cluster(plan.cluster).name),
            hostname: view.pod(),
            start_us: self.wall_us(exchange.start),
            response: None,
        }
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
            record.numbers.downstream_remote = Some(down.client());
            record.numbers.downstream_local = self.io.local_addr(down.sock);
        }
        exchange.record = Some(record);
    }
}
