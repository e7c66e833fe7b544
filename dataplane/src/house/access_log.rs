//! Access-log lines in Istio's text and JSON formats, made here from binary records and written by a thread of their own.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ringway_config::log_format::{self, LogField, LogPart};
use ringway_config::model::{AccessLog, PolicySet};
use ringway_config::time_format::{self, Rfc3339};

use crate::telemetry::record::{Record, Text};

/// Batches waiting for a slow standard output; beyond that, batches are dropped and counted.
const BATCHES_MAX: usize = 64;
const BATCH_BYTES: usize = 32 << 10;

/// Formats records and hands batches of lines to the writing thread.
#[derive(Default)]
pub struct Writer {
    batch: String,
    /// The format in force and what it comes to.
    format: ((AccessLog, String), Vec<LogPart>),
    thread: Option<SyncSender<String>>,
    /// Lines that standard output did not take.
    pub dropped_batches: u64,
}

impl Writer {
    /// Adds one record's line.
    pub fn line(&mut self, policy: &PolicySet, record: &Record) {
        let (encoding, own) = (policy.access_log, policy.access_log_format.as_str());
        match (encoding, own) {
            (AccessLog::Off, _) => return,
            (AccessLog::Text, "") => text(&mut self.batch, record),
            _ => {
                if (self.format.0.0, self.format.0.1.as_str()) != (encoding, own) {
                    // What does not verify is in no snapshot.
                    let parts = log_format::of(encoding, if own.is_empty() { log_format::JSON } else { own });
                    self.format = ((encoding, own.to_string()), parts.unwrap_or_default());
                }
                formatted(&mut self.batch, &self.format.1, record);
                self.batch.push('\n');
            }
        }
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Passes the batch on; false when it is empty.
    pub fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return false;
        }
        let batch = std::mem::replace(&mut self.batch, String::with_capacity(BATCH_BYTES));
        let thread = self.thread.get_or_insert_with(|| {
            let (tx, rx) = sync_channel::<String>(BATCHES_MAX);
            std::thread::spawn(move || {
                let mut out = std::io::stdout();
                while let Ok(batch) = rx.recv() {
                    let _ = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
                }
            });
            tx
        });
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = thread.try_send(batch) {
            self.dropped_batches += 1;
        }
        true
    }
}

/// Istio's default text line, and one word more: the rule's id, as the JSON format's key `rule` has it.
fn text(out: &mut String, r: &Record) {
    let n = &r.numbers;
    let or_dash = |field: Text| Escaped(r.get(field), '-');
    let _ = writeln!(
        out,
        "[{}] \"{} {} {}\" {} {} {} - \"{}\" {} {} {} {} \"{}\" \"{}\" \"{}\" \"{}\" \"{}\" {} {} {} {} {} {} {:08x}",
        Rfc3339(n.start_us),
        or_dash(Text::Method),
        or_dash(Text::Path),
        or_dash(Text::Protocol),
        n.status,
        or_dash(Text::Flags),
        or_dash(Text::Details),
        or_dash(Text::TransportFailure),
        n.bytes_received,
        n.bytes_sent,
        n.duration_us / 1000,
        Ms(n.upstream_service_us),
        or_dash(Text::XForwardedFor),
        or_dash(Text::UserAgent),
        or_dash(Text::RequestId),
        or_dash(Text::Authority),
        Address(n.upstream_host),
        or_dash(Text::UpstreamCluster),
        Address(n.upstream_local),
        Address(n.downstream_local),
        Address(n.downstream_remote),
        or_dash(Text::ServerName),
        or_dash(Text::RouteName),
        n.rule,
    );
}

/// Parts of a line; what is unknown is `-` in a text, and null where a JSON value is nothing but that.
fn formatted(out: &mut String, parts: &[LogPart], r: &Record) {
    for part in parts {
        match part {
            LogPart::Json(parts) => match &parts[..] {
                [LogPart::Field(field, 0)] => match value(*field, r) {
                    None => out.push_str("null"),
                    Some(Value::Number(number)) => {
                        let _ = write!(out, "{number}");
                    }
                    Some(value) => quoted(out, &value.text()),
                },
                parts => {
                    let mut text = String::new();
                    parts
                        .iter()
                        .for_each(|part| put(&mut text, part, r, |bytes| String::from_utf8_lossy(bytes).into_owned()));
                    quoted(out, &text);
                }
            },
            part => put(out, part, r, |bytes| Escaped(bytes, '-').to_string()),
        }
    }
}

/// A part of a text.
fn put(out: &mut String, part: &LogPart, r: &Record, bytes_as: impl Fn(&[u8]) -> String) {
    let start = out.len();
    let bytes_max = match part {
        LogPart::Text(text) => {
            out.push_str(text);
            0
        }
        LogPart::Json(parts) => {
            formatted(out, parts, r);
            0
        }
        LogPart::Time(format, bytes_max) => {
            // What does not verify is in no snapshot.
            let _ = time_format::write(out, format, r.numbers.start_us);
            *bytes_max
        }
        LogPart::Field(field, bytes_max) => {
            match value(*field, r) {
                None => out.push('-'),
                Some(Value::Bytes(bytes)) => out.push_str(&bytes_as(bytes)),
                Some(value) => out.push_str(&value.text()),
            }
            *bytes_max
        }
    };
    if bytes_max > 0 && out.len() - start > bytes_max {
        out.truncate(out.floor_char_boundary(start + bytes_max));
    }
}

fn quoted(out: &mut String, text: &str) {
    if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        let _ = write!(out, "{}", serde_json::Value::from(text));
    } else {
        out.extend(["\"", text, "\""]);
    }
}

/// What a field comes to.
enum Value<'a> {
    Bytes(&'a [u8]),
    Number(u64),
    /// Milliseconds, which a header says.
    Millis(u64),
    Address(SocketAddr),
    Time(u64),
    Rule(u32),
}

impl Value<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
            Value::Number(number) | Value::Millis(number) => number.to_string().into(),
            Value::Address(address) => address.to_string().into(),
            Value::Time(us) => Rfc3339(*us).to_string().into(),
            Value::Rule(rule) => format!("{rule:08x}").into(),
        }
    }
}

/// None: there is no such thing.
fn value(field: LogField, r: &Record) -> Option<Value<'_>> {
    let n = &r.numbers;
    let text = |text: Text| Some(Value::Bytes(r.get(text))).filter(|_| !r.get(text).is_empty());
    let address = |address: Option<SocketAddr>| address.map(Value::Address);
    match field {
        LogField::StartTime => Some(Value::Time(n.start_us)),
        LogField::Method => text(Text::Method),
        LogField::Path => text(Text::Path),
        LogField::Authority => text(Text::Authority),
        LogField::ForwardedFor => text(Text::XForwardedFor),
        LogField::UserAgent => text(Text::UserAgent),
        LogField::RequestId => text(Text::RequestId),
        LogField::Protocol => text(Text::Protocol),
        LogField::ResponseCode => Some(Value::Number(n.status.into())),
        LogField::ResponseCodeDetails => text(Text::Details),
        LogField::ResponseFlags => text(Text::Flags),
        LogField::Termination => text(Text::Termination),
        LogField::TransportFailure => text(Text::TransportFailure),
        LogField::BytesReceived => Some(Value::Number(n.bytes_received)),
        LogField::BytesSent => Some(Value::Number(n.bytes_sent)),
        LogField::Duration => Some(Value::Number(n.duration_us / 1000)),
        LogField::UpstreamServiceTime => {
            (n.upstream_service_us != u64::MAX).then_some(Value::Millis(n.upstream_service_us / 1000))
        }
        LogField::UpstreamHost => address(n.upstream_host),
        LogField::UpstreamCluster => text(Text::UpstreamCluster),
        LogField::UpstreamLocal => address(n.upstream_local),
        LogField::DownstreamLocal => address(n.downstream_local),
        LogField::DownstreamRemote => address(n.downstream_remote),
        LogField::ServerName => text(Text::ServerName),
        LogField::RouteName => text(Text::RouteName),
        LogField::Rule => Some(Value::Rule(n.rule)),
    }
}

/// Bytes of a peer, made harmless for a terminal and for whoever splits lines and quotes: everything but printable ASCII is escaped.
struct Escaped<'a>(&'a [u8], char);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_char(self.1);
        }
        for byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", *byte as char)?,
                0x20..=0x7e => f.write_char(*byte as char)?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

struct Address(Option<SocketAddr>);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_char('-'),
        }
    }
}

struct Ms(u64);

impl std::fmt::Display for Ms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == u64::MAX { f.write_char('-') } else { write!(f, "{}", self.0 / 1000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_line_has_istio_s_fields_in_istio_s_order() {
        let mut record = Record::default();
        for (field, value) in [
            (Text::Method, "GET"),
            (Text::Path, "/a?b=c"),
            (Text::Protocol, "HTTP/1.1"),
            (Text::Flags, "-"),
            (Text::Details, "via_upstream"),
            (Text::UserAgent, "curl/8"),
            (Text::RequestId, "id"),
            (Text::Authority, "reviews:9080"),
            (Text::UpstreamCluster, "outbound|9080|v1|reviews"),
            (Text::RouteName, "default"),
        ] {
            record.set(field, value.as_bytes());
        }
        let address = |s: &str| s.parse().ok();
        record.numbers = crate::telemetry::record::Numbers {
            start_us: 951_782_400_000_000,
            duration_us: 12_345,
            upstream_service_us: 11_000,
            bytes_received: 5,
            bytes_sent: 128,
            status: 200,
            rule: 7,
            upstream_host: address("10.0.0.2:9080"),
            upstream_local: address("10.0.0.1:40000"),
            downstream_local: address("10.0.0.1:15001"),
            downstream_remote: address("10.0.0.1:50000"),
        };
        let mut line = String::new();
        text(&mut line, &record);
        assert_eq!(
            line,
            "[2000-02-29T00:00:00.000Z] \"GET /a?b=c HTTP/1.1\" 200 - via_upstream - \"-\" 5 128 12 11 \"-\" \"curl/8\" \"id\" \"reviews:9080\" \
             \"10.0.0.2:9080\" outbound|9080|v1|reviews 10.0.0.1:40000 10.0.0.1:15001 10.0.0.1:50000 - default 00000007\n"
        );
    }

    #[test]
    fn row_63_what_peers_send_cannot_break_a_line_or_a_terminal() {
        let mut record = Record::default();
        record.set(Text::Path, b"/\x1b[2J\r\n\"x");
        record.set(Text::UserAgent, "é\u{9b}".as_bytes());
        let (mut line, mut object) = (String::new(), String::new());
        text(&mut line, &record);
        formatted(&mut object, &log_format::of(AccessLog::Json, log_format::JSON).expect("a format"), &record);
        assert!(line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains("/\\x1b[2J\\x0d\\x0a\\\"x"));
        let parsed: serde_json::Value = serde_json::from_str(&object).expect("one JSON object");
        assert_eq!(parsed["path"], "/\u{1b}[2J\r\n\"x");
        assert_eq!(object.matches('\n').count(), 0);
        assert!(!object.contains('\u{1b}'));
    }

    #[test]
    fn a_json_line_of_one_s_own() {
        let mut record = Record::default();
        record.set(Text::Method, b"GET");
        record.numbers.status = 418;
        record.numbers.start_us = 951_782_400_000_000;
        record.numbers.upstream_service_us = u64::MAX;
        let format = r#"{"code": "%RESPONSE_CODE%", "texts": ["%RESPONSE_CODE% %REQ(:METHOD):1%", "%START_TIME(%F)%"], "none": "%UPSTREAM_HOST%",
            "half": "%UPSTREAM_HOST% %RESP(x-envoy-upstream-service-time)%", "fix": {"a\"b": 1.5}, "rule": "%RINGWAY_RULE%"}"#;
        let mut line = String::new();
        formatted(&mut line, &log_format::of(AccessLog::Json, format).expect("a format"), &record);
        assert_eq!(
            line,
            r#"{"code":418,"texts":["418 G","2000-02-29"],"none":null,"half":"- -","fix":{"a\"b":1.5},"rule":"00000000"}"#
        );
    }
}
