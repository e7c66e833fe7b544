//! Answers that the proxy gives itself: refusals, redirects, fixed responses.

use ringway_config::model::{Action, HeaderEdits, Role};
use ringway_engine::slab::Key;
use ringway_engine::{Io, Piece};
use ringway_http::h1::HeadWriter;
use ringway_http::head::Method;
use ringway_policy::{Facts, Local, LocalKind, View};

use super::Worker;
use super::exchange::{Exchange, Response};
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
    edits: HeaderEdits,
}

impl LocalReply {
    /// An answer with the status's own text as body.
    pub fn new(status: u16, flag: Flag, details: &'static str) -> LocalReply {
        let body = format!("{}: {details}\n", reason(status)).into_bytes();
        let edits = HeaderEdits::default();
        LocalReply { status, flag, details, rule: 0, body, location: Vec::new(), lines: Vec::new(), edits }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> LocalReply {
        self.edits.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the policy decided to answer.
    pub fn decided(view: &View, local: &Local, facts: &mut Facts<'_>) -> LocalReply {
        let mut reply = LocalReply::new(local.status, Flag::from_name(local.flags()), local.details());
        reply.rule = local.rule.0;
        match local.kind {
            LocalKind::Redirect { host, action } => {
                view.location(local, facts, &mut reply.location);
                reply.body.clear();
                if let Some(Action::Redirect(redirect)) = view.action(host, action) {
                    reply.edits = redirect.response.clone();
                }
            }
            LocalKind::Respond { host, action } => {
                if let Some(Action::Respond(respond)) = view.action(host, action) {
                    reply.body = respond.body.clone().into_bytes();
                    reply.edits = respond.response.clone();
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

impl<I: Io> Worker<I> {
    /// Answers a running exchange here and finishes it.
    pub(super) fn reply(&mut self, key: Key, mut exchange: Box<Exchange>, reply: LocalReply) {
        self.detach(&mut exchange);
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
        self.send_reply(key, &reply, &exchange.cors, rule, head_only, close);
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

    fn send_reply(&mut self, key: Key, reply: &LocalReply, cors: &[u8], rule: u32, head_only: bool, close: bool) {
        // Whoever asks from outside learns nothing of our rules; the log has them.
        let inside = self.downs.get(key).is_some_and(|down| down.role != Role::Gateway);
        let lines = reply.lines.len() + cors.len();
        let room = 512 + lines + reply.body.len() + reply.location.len() + super::encode::edits_len(&reply.edits);
        let mut out = self.out_buffer(room);
        let mut writer = HeadWriter::new(&mut out);
        writer.status_line(reply.status, reason(reply.status).as_bytes());
        if !reply.location.is_empty() {
            writer.field(b"location", &reply.location);
        }
        let bodiless = reply.status == 204 || reply.status == 304;
        if !bodiless {
            writer.put(b"content-length: ");
            writer.put_u64(reply.body.len() as u64);
            writer.put(b"\r\n");
        }
        if !reply.body.is_empty() && !reply.edits.set.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
            writer.put(b"content-type: text/plain\r\n");
        }
        if inside && rule != 0 {
            writer.put(b"x-ringway-rule: ");
            writer.put(format!("{rule:08x}\r\n").as_bytes());
        }
        for (name, value) in reply.edits.set.iter().chain(&reply.edits.add) {
            writer.field(name.as_bytes(), value.as_bytes());
        }
        writer.put(&reply.lines);
        writer.put(cors);
        if close {
            writer.put(b"connection: close\r\n");
        }
        let Ok(mut len) = writer.end() else { return };
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

/// Reason phrases of the statuses we answer with ourselves (RFC 9110 §15).
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Response",
    }
}
