//! Access logs as load: Istio's JSON format, a request a line. What is due, and when, is what the log says; the reply is the target's own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::plan::ROWS_MAX;

/// Bytes of one line.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// How much faster than it was recorded, or slower.
const SPEED_RANGE: std::ops::RangeInclusive<f64> = 1e-3..=1e6;

/// The requests of a log, in the order of their start.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Methods that occur.
    pub methods: Vec<String>,
    /// The requests.
    pub requests: Vec<Recorded>,
    /// Lines that are no request that can be sent: not JSON, TCP connections, CONNECT.
    pub left_out: usize,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Nanoseconds after the first one.
    pub due: u64,
    /// Which of the methods.
    pub method: u32,
    /// Path and query without the first slash.
    pub path: String,
    /// The host that was asked for; none where the log says none.
    pub authority: Option<String>,
    /// The status of the reply; 0 where there was none.
    pub status: u16,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    start_time: Option<String>,
    method: Option<String>,
    path: Option<String>,
    authority: Option<String>,
    response_code: Option<Value>,
}

impl Recording {
    /// Reads a log. With a speed of 2 everything is due in half the time.
    pub fn read(path: &Path, speed: f64) -> Result<Recording, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
        let log = BufReader::new(std::fs::File::open(path).map_err(wrong)?);
        Recording::parse(log, speed).map_err(|e| format!("{}{e}", path.display()))
    }

    /// Reads lines. The error starts with `:line: `, or with `: ` where it is about all of them.
    fn parse(mut log: impl BufRead, speed: f64) -> Result<Recording, String> {
        if !SPEED_RANGE.contains(&speed) {
            return Err(format!(": speed {speed}: from {} to {}", SPEED_RANGE.start(), SPEED_RANGE.end()));
        }
        let mut recording = Recording::default();
        let mut starts: Vec<u64> = Vec::new();
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let read = log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let at = |e: String| format!(":{number}: {e}");
            match read.map_err(|e| at(e.to_string()))? {
                0 => break,
                n if n as u64 == LINE_BYTES_MAX => return Err(at(format!("longer than {LINE_BYTES_MAX} bytes"))),
                _ => {}
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            // A container's output also has lines of the proxy's own log.
            if !line.starts_with(b"{") {
                recording.left_out += 1;
                continue;
            }
            let line: Line = serde_json::from_slice(line).map_err(|e| at(format!("no line of an access log: {e}")))?;
            let Some((method, path)) = sendable(&line) else {
                recording.left_out += 1;
                continue;
            };
            let start = line.start_time.as_deref().ok_or_else(|| at("no `start_time`: when is it due?".into()))?;
            let start =
                nanos(start).ok_or_else(|| at(format!("start_time `{start}`: no time as 2026-01-31T12:00:00.000Z")))?;
            if starts.len() == ROWS_MAX {
                return Err(at(format!("more than {ROWS_MAX} requests")));
            }
            starts.push(start);
            let path = path.to_string();
            let method = recording.number_of(method);
            let authority = line.authority.filter(|authority| !authority.is_empty() && authority != "-");
            let status = line.response_code.and_then(|code| u16::try_from(code.as_u64()?).ok()).unwrap_or(0);
            recording.requests.push(Recorded { due: start, method, path, authority, status });
        }
        let Some(first) = starts.iter().min() else {
            return Err(format!(": no request in it; {} lines are something else", recording.left_out));
        };
        for request in &mut recording.requests {
            request.due = ((request.due - first) as f64 / speed) as u64;
        }
        // A log is written in the order of the replies.
        recording.requests.sort_by_key(|request| request.due);
        Ok(recording)
    }

    fn number_of(&mut self, method: &str) -> u32 {
        let known = self.methods.iter().position(|known| known == method);
        let number = known.unwrap_or_else(|| {
            self.methods.push(method.to_string());
            self.methods.len() - 1
        });
        number as u32
    }
}

/// Method and path without its slash, if it is a request that an HTTP/1.1 client can send.
fn sendable(line: &Line) -> Option<(&str, &str)> {
    let method = line.method.as_deref()?;
    let path = line.path.as_deref()?.strip_prefix('/')?;
    let is_token = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let host = line.authority.as_deref().unwrap_or_default();
    let is_graphic = path.bytes().chain(host.bytes()).all(|b| b.is_ascii_graphic());
    (is_token && is_graphic && method != "CONNECT").then_some((method, path))
}

/// Nanoseconds since 1970 of a time as RFC 3339 has it.
fn nanos(text: &str) -> Option<u64> {
    let number = |from: usize, len: usize| -> Option<u64> {
        let digits = text.get(from..from + len)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let marks = [4, 7, 10, 13, 16].map(|at| text.as_bytes().get(at).copied());
    if marks[..2] != [Some(b'-'); 2] || !matches!(marks[2], Some(b'T' | b't' | b' ')) || marks[3..] != [Some(b':'); 2] {
        return None;
    }
    // Years that fit into 64 bits of nanoseconds.
    if !(1970..=2400).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut rest = &text[19..];
    let mut fraction = 0;
    if let Some(digits) = rest.strip_prefix('.') {
        let len = digits.bytes().take_while(u8::is_ascii_digit).count();
        let kept = &digits[..len.min(9)];
        fraction = kept.parse::<u64>().ok()? * 10u64.pow(9 - kept.len() as u32);
        rest = &digits[len..];
    }
    // Minutes east of Greenwich.
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let minutes = (number(at, 2)? * 60 + number(at + 3, 2)?) as i64;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    // Days of the years before, with March as the first month, so that a leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = (days * 86_400 + hour * 3_600 + minute * 60 + second) as i64 - offset * 60;
    Some(u64::try_from(seconds).ok()? * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-03-01T00:00:00.5Z", Some(951_868_800_500_000_000)),
            ("2016-04-15T20:17:00.310Z", Some(1_460_751_420_310_000_000)),
            ("2024-02-29T23:59:59.123456789Z", Some(1_709_251_199_123_456_789)),
            ("2024-03-01T01:59:59+02:00", Some(1_709_251_199_000_000_000)),
            ("2024-02-29T20:29:59-03:30", Some(1_709_251_199_000_000_000)),
            ("2024-02-29T23:59:59", None),
            ("2024-13-01T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("9999-01-01T00:00:00Z", None),
            ("2024-02-29T23:59:59.Z", None),
            ("2024-02-29T23:59:5é", None),
            ("yesterday", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    fn parse(log: &str, speed: f64) -> Result<Recording, String> {
        Recording::parse(log.as_bytes(), speed)
    }

    #[test]
    fn requests_are_due_as_they_started_and_not_as_they_ended() {
        let log = r#"
            {"start_time":"2024-01-01T00:00:02.000Z","method":"GET","path":"/b?x=1","authority":"shop","response_code":200}
            2024-01-01T00:00:02.1Z info xdsproxy connected
            {"start_time":"2024-01-01T00:00:00.000Z","method":"POST","path":"/a","authority":null}
            {"start_time":"2024-01-01T00:00:03.000Z","method":null,"path":null,"upstream_host":"10.0.0.1:3306"}
            {"start_time":"2024-01-01T00:00:04.000Z","method":"CONNECT","path":"/","authority":"x:443"}
            {"start_time":"2024-01-01T00:00:04.000Z","method":"OPTIONS","path":"*"}
        "#;
        let recording = parse(log, 2.0).unwrap();
        assert_eq!((recording.left_out, recording.methods.as_slice()), (4, &["GET".into(), "POST".into()][..]));
        let request = |due, method, path: &str, authority: Option<&str>, status| Recorded {
            due,
            method,
            path: path.into(),
            authority: authority.map(str::to_string),
            status,
        };
        let second = request(1_000_000_000, 0, "b?x=1", Some("shop"), 200);
        assert_eq!(recording.requests, [request(0, 1, "a", None, 0), second]);
    }

    #[test]
    fn wrong_logs_say_where() {
        for (log, speed, said) in [
            ("{\"method\":\"GET\"", 1.0, ":1: no line of an access log"),
            ("\n{\"method\":\"GET\",\"path\":\"/\"}", 1.0, ":2: no `start_time`"),
            ("{\"method\":\"GET\",\"path\":\"/\",\"start_time\":\"noon\"}", 1.0, ":1: start_time `noon`"),
            ("hello", 1.0, ": no request in it; 1 lines"),
            ("", 0.0, ": speed 0"),
            ("", f64::NAN, ": speed NaN"),
        ] {
            let got = parse(log, speed).unwrap_err();
            assert!(got.starts_with(said), "{log}: {got}");
        }
    }
}
