//! Access-log lines in Istio's text and JSON formats, made here from binary records and written by a thread of their own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ringway_config::log_format::{self, LogField, LogPart};
use ringway_config::model::{AccessLog, PolicySet};

use crate::telemetry::record::{Record, Text};

/// Batches waiting for a slow standard output; beyond that, batches are dropped and counted.
const BATCHES_MAX: usize = 64;
const BATCH_BYTES: usize = 32 << 10;

/// Formats records and hands batches of lines to the writing thread.
#[derive(Default)]
pub struct Writer {
    batch: String,
    /// The format in force and what it comes to.
    format: (String, Vec<LogPart>),
    thread: Option<SyncSender<String>>,
    /// Lines that standard output did not take.
    pub dropped_batches: u64,
}

impl Writer {
    /// Adds one record's line.
    pub fn line(&mut self, policy: &PolicySet, record: &Record) {
        match policy.access_log {
            AccessLog::Off => return,
            AccessLog::Text if !policy.access_log_format.is_empty() => {
                if self.format.0 != policy.access_log_format {
                    // What does not verify is in no snapshot.
                    let parts = log_format::parse(&policy.access_log_format).unwrap_or_default();
                    self.format = (policy.access_log_format.clone(), parts);
                }
                formatted(&mut self.batch, &self.format.1, record);
            }
            AccessLog::Text => text(&mut self.batch, record),
            AccessLog::Json => json(&mut self.batch, record),
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

/// A line of the user's own format.
fn formatted(out: &mut String, parts: &[LogPart], r: &Record) {
    for part in parts {
        match part {
            LogPart::Text(text) => out.push_str(text),
            LogPart::Field(field, bytes_max) => {
                let start = out.len();
                value(out, *field, r);
                if *bytes_max > 0 && out.len() - start > *bytes_max {
                    // All that is written is ASCII.
                    out.truncate(start + bytes_max);
                }
            }
        }
    }
    out.push('\n');
}

fn value(out: &mut String, field: LogField, r: &Record) {
    let n = &r.numbers;
    let known = |text: Text| Escaped(r.get(text), '-');
    let _ = match field {
        LogField::StartTime => write!(out, "{}", Rfc3339(n.start_us)),
        LogField::Method => write!(out, "{}", known(Text::Method)),
        LogField::Path => write!(out, "{}", known(Text::Path)),
        LogField::Authority => write!(out, "{}", known(Text::Authority)),
        LogField::ForwardedFor => write!(out, "{}", known(Text::XForwardedFor)),
        LogField::UserAgent => write!(out, "{}", known(Text::UserAgent)),
        LogField::RequestId => write!(out, "{}", known(Text::RequestId)),
        LogField::Protocol => write!(out, "{}", known(Text::Protocol)),
        LogField::ResponseCode => write!(out, "{}", n.status),
        LogField::ResponseCodeDetails => write!(out, "{}", known(Text::Details)),
        LogField::ResponseFlags => write!(out, "{}", known(Text::Flags)),
        LogField::Termination => write!(out, "{}", known(Text::Termination)),
        LogField::TransportFailure => write!(out, "{}", known(Text::TransportFailure)),
        LogField::BytesReceived => write!(out, "{}", n.bytes_received),
        LogField::BytesSent => write!(out, "{}", n.bytes_sent),
        LogField::Duration => write!(out, "{}", n.duration_us / 1000),
        LogField::UpstreamServiceTime => write!(out, "{}", Ms(n.upstream_service_us)),
        LogField::UpstreamHost => write!(out, "{}", Address(n.upstream_host)),
        LogField::UpstreamCluster => write!(out, "{}", known(Text::UpstreamCluster)),
        LogField::UpstreamLocal => write!(out, "{}", Address(n.upstream_local)),
        LogField::DownstreamLocal => write!(out, "{}", Address(n.downstream_local)),
        LogField::DownstreamRemote => write!(out, "{}", Address(n.downstream_remote)),
        LogField::ServerName => write!(out, "{}", known(Text::ServerName)),
        LogField::RouteName => write!(out, "{}", known(Text::RouteName)),
        LogField::Rule => write!(out, "{:08x}", n.rule),
    };
}

/// Istio's JSON keys; what is unknown is null.
fn json(out: &mut String, r: &Record) {
    let n = &r.numbers;
    let _ = write!(out, "{{\"start_time\":\"{}\"", Rfc3339(n.start_us));
    for (key, field) in [
        ("route_name", Text::RouteName),
        ("method", Text::Method),
        ("path", Text::Path),
        ("protocol", Text::Protocol),
        ("response_flags", Text::Flags),
        ("response_code_details", Text::Details),
        ("connection_termination_details", Text::Termination),
        ("upstream_transport_failure_reason", Text::TransportFailure),
        ("x_forwarded_for", Text::XForwardedFor),
        ("user_agent", Text::UserAgent),
        ("request_id", Text::RequestId),
        ("authority", Text::Authority),
        ("upstream_cluster", Text::UpstreamCluster),
        ("requested_server_name", Text::ServerName),
    ] {
        let value = r.get(field);
        let _ = match value.is_empty() {
            true => write!(out, ",\"{key}\":null"),
            false => write!(out, ",\"{key}\":{}", serde_json::Value::from(String::from_utf8_lossy(value))),
        };
    }
    for (key, address) in [
        ("upstream_host", n.upstream_host),
        ("upstream_local_address", n.upstream_local),
        ("downstream_local_address", n.downstream_local),
        ("downstream_remote_address", n.downstream_remote),
    ] {
        let _ = match address {
            Some(address) => write!(out, ",\"{key}\":\"{address}\""),
            None => write!(out, ",\"{key}\":null"),
        };
    }
    let _ = write!(
        out,
        ",\"response_code\":{},\"bytes_received\":{},\"bytes_sent\":{},\"duration\":{}",
        n.status,
        n.bytes_received,
        n.bytes_sent,
        n.duration_us / 1000
    );
    let _ = match n.upstream_service_us {
        u64::MAX => write!(out, ",\"upstream_service_time\":null"),
        us => write!(out, ",\"upstream_service_time\":\"{}\"", us / 1000),
    };
    let _ = writeln!(out, ",\"rule\":\"{:08x}\"}}", n.rule);
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

/// Microseconds since 1970 as `2026-11-21T04:05:06.789Z` (days to civil date after Howard Hinnant's `civil_from_days`).
struct Rfc3339(u64);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ms, seconds) = (self.0 / 1000 % 1000, self.0 / 1_000_000);
        let (day, second) = ((seconds / 86_400) as i64, seconds % 86_400);
        let z = day + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let y = yoe + era * 400 + i64::from(m <= 2);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{ms:03}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_231_506_789_000, "2026-11-21T03:25:06.789Z"),
        ] {
            assert_eq!(Rfc3339(us).to_string(), text);
        }
    }

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
        json(&mut object, &record);
        assert!(line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains("/\\x1b[2J\\x0d\\x0a\\\"x"));
        let parsed: serde_json::Value = serde_json::from_str(&object).expect("one JSON object");
        assert_eq!(parsed["path"], "/\u{1b}[2J\r\n\"x");
        assert_eq!(object.matches('\n').count(), 1);
        assert!(!object.contains('\u{1b}'));
    }
}
