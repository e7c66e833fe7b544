//! Answers that the proxy gives itself: refusals, redirects, fixed responses.

use ringway_config::model::Role;
use ringway_engine::slab::Key;
use ringway_engine::{Io, Piece};
use ringway_http::h1::{HeadWriter, reason};
use ringway_http::head::Method;
use ringway_policy::{Answered, Facts, Layers, Local, LocalKind, NoFields, Values, View};

use super::Worker;
use super::encode::{self, Rules};
use super::exchange::{Exchange, Pinned, Response};
use crate::telemetry::Flag;
use crate::telemetry::record::Text;

/// One local answer.
pub struct LocalReply {
    status: u16,
    flag: Flag,
    details: &'static str,
    rule: u32,
    body: Vec<u8>,
    location: Vec<u8>,
    /// Whole header lines.
    lines: Vec<u8>,
    /// The decision behind it, if it is one.
    local: Option<Local>,
}

impl LocalReply {
    /// An answer with the status's own text as body.
    pub fn new(status: u16, flag: Flag, details: &'static str) -> LocalReply {
        let body = format!("{}: {details}\n", reason(status)).into_bytes();
        LocalReply { status, flag, details, rule: 0, body, location: Vec::new(), lines: Vec::new(), local: None }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> LocalReply {
        self.lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        self
    }

    /// What the policy decided to answer.
    pub fn decided(view: &View, local: &Local, facts: &mut Facts<'_>) -> LocalReply {
        let mut reply = LocalReply::new(local.status, Flag::from_name(local.flags()), local.details());
        reply.rule = local.rule.0;
        reply.local = Some(*local);
        match local.kind {
            LocalKind::Redirect { .. } => {
                view.location(local, facts, &mut reply.location);
                reply.body.clear();
            }
            LocalKind::Respond { host, action } => {
                if let Some(respond) = view.respond(host, action) {
                    reply.body = respond.body.clone().into_bytes();
                }
            }
            LocalKind::Preflight { .. } => {
                view.preflight_lines(local, facts, &mut reply.lines);
                reply.body.clear();
            }
            _ => reply.body = local.body().into(),
        }
        reply
    }
}

/// Who gets an answer, and how.
struct Recipient {
    key: Key,
    rule: u32,
    head_only: bool,
    close: bool,
}

impl<I: Io> Worker<I> {
    /// Answers a running exchange here and finishes it.
    pub(super) fn reply(&mut self, key: Key, mut exchange: Box<Exchange>, reply: LocalReply) {
        self.detach(&mut exchange);
        let pinned = exchange.pinned.take();
        exchange.status = reply.status;
        exchange.flag = reply.flag.after(exchange.flag);
        let rule = if reply.rule == 0 { exchange.plan.map_or(0, |plan| plan.rule.0) } else { reply.rule };
        if let Some(record) = &mut exchange.record {
            record.set(Text::Details, reply.details.as_bytes());
            record.numbers.rule = rule;
        }
        // What is left of the request would be read as the next one.
        exchange.keep_downstream &= exchange.request_done && self.drain.is_none();
        let head_only = exchange.method == Method::Head;
        let close = !exchange.keep_downstream;
        exchange.bytes_sent = if head_only { 0 } else { reply.body.len() as u64 };
        let to = Recipient { key, rule, head_only, close };
        self.send_reply(to, &reply, pinned.as_ref(), &mut exchange);
        exchange.response = Response::Done;
        self.finish(key, exchange);
    }

    /// Answers what never became an exchange, and closes: its bytes cannot be trusted.
    pub(super) fn refuse(&mut self, key: Key, status: u16, details: &'static str) {
        if status < 500 {
            self.count(|s| &s.protocol_errors);
        }
        let mut exchange = self.spare_exchange();
        exchange.start = self.now;
        exchange.keep_downstream = false;
        exchange.request_done = false;
        let flag = if status < 500 { Flag::DPE } else { Flag::None };
        if self.active.as_ref().is_some_and(|a| a.view.policy().access_log != ringway_config::model::AccessLog::Off) {
            exchange.record = self.take_record();
        }
        self.reply(key, exchange, LocalReply::new(status, flag, details));
    }

    fn send_reply(&mut self, to: Recipient, reply: &LocalReply, pinned: Option<&Pinned>, exchange: &mut Exchange) {
        let Recipient { key, rule, head_only, close } = to;
        // Whoever asks from outside learns nothing of our rules; the log has them.
        let inside = self.downs.get(key).is_some_and(|down| down.role != Role::Gateway);
        let layers = match (pinned, &reply.local, &exchange.plan) {
            (Some(pinned), Some(local), _) => pinned.view.reply_edits(local),
            (Some(pinned), None, Some(plan)) => {
                let (forward, backend) = pinned.view.forward(plan);
                Layers::of_response(&forward.response, &backend.response)
            }
            _ => Layers::NONE,
        };
        let mut plain = std::mem::take(&mut self.scratch.plain);
        let mut values = Values::default();
        if let (true, Some(pinned)) = (layers.vary(), pinned) {
            std::mem::swap(&mut plain.bytes, &mut exchange.asked);
            plain.read();
            values = self.values(key, &pinned.view, exchange.plan.as_ref(), exchange);
            if let Some(local) = &reply.local {
                values.route = pinned.view.reply_route(local);
                values.cluster = pinned.view.reply_cluster(local);
            }
            values.request = plain.asked();
            let (status, details, flags) = (reply.status, reply.details, exchange.flag.name());
            values.response = Some(Answered { status, details, flags, upstream: None, fields: &NoFields });
        }
        let rules = Rules { layers, values: &values, last: &exchange.cors };
        let lines = reply.lines.len() + exchange.cors.len();
        let room = 512 + lines + reply.body.len() + reply.location.len() + encode::rules_len(&layers, &values);
        let mut out = self.out_buffer(room);
        let mut writer = HeadWriter::new(&mut out);
        writer.status_line(reply.status, reason(reply.status).as_bytes());
        if !reply.location.is_empty() && !rules.drop(b"location") {
            writer.field(b"location", &reply.location);
        }
        let bodiless = reply.status == 204 || reply.status == 304;
        if !bodiless {
            writer.put(b"content-length: ");
            writer.put_u64(reply.body.len() as u64);
            writer.put(b"\r\n");
        }
        if !reply.body.is_empty() && !rules.drop(b"content-type") {
            writer.put(b"content-type: text/plain\r\n");
        }
        if inside && rule != 0 {
            writer.put(b"x-ringway-rule: ");
            writer.put(format!("{rule:08x}\r\n").as_bytes());
        }
        rules.write(&mut writer);
        writer.put(&reply.lines);
        if close {
            writer.put(b"connection: close\r\n");
        }
        let written = writer.end();
        self.scratch.plain = plain;
        let Ok(mut len) = written else { return };
        if !head_only && !bodiless {
            out[len..len + reply.body.len()].copy_from_slice(&reply.body);
            len += reply.body.len();
        }
        out.truncate(len);
        if let Some(down) = self.downs.get(key) {
            self.io.send(down.sock, Piece::Buf(out));
        }
    }
}
