//! A run's counts while it runs, for Prometheus: a thread that serves the text format, one scrape after the other.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::tally::{Cause, Tally};

/// Bytes of a scrape's head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// A scrape that asks or reads more slowly than this is dropped: there is one thread for all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Upper bounds of the buckets, nanoseconds: 1, 2.5 and 5 in each decade from 10 µs to 10 s.
const BUCKETS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// What is served.
#[derive(Clone, Debug)]
pub struct Exposition {
    text: Arc<Mutex<String>>,
}

impl Exposition {
    /// Serves at this address until the program ends. Says where, as port 0 is any free one.
    pub fn listen(address: SocketAddr) -> Result<(Exposition, SocketAddr), String> {
        let wrong = |e: std::io::Error| format!("--prometheus {address}: {e}");
        let listener = TcpListener::bind(address).map_err(wrong)?;
        let local = listener.local_addr().map_err(wrong)?;
        let exposition = Exposition { text: Arc::new(Mutex::new(render(&Tally::new(0)))) };
        let served = exposition.clone();
        let thread = std::thread::Builder::new().name("prometheus".into());
        let spawned = thread.spawn(move || {
            for stream in listener.incoming().flatten() {
                // A scrape that went wrong is the scraper's to report.
                let _ = served.answer(stream);
            }
        });
        spawned.map_err(wrong)?;
        Ok((exposition, local))
    }

    /// The counts since counting began.
    pub fn publish(&self, total: &Tally) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = render(total);
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = [0; HEAD_BYTES_MAX];
        let mut len = 0;
        while !head[..len].windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut head[len..])? {
                0 => return Ok(()),
                n => len += n,
            }
        }
        let mut words = head[..len].split(|b| *b == b' ');
        let (status, body) = match (words.next(), words.next()) {
            (Some(b"GET"), Some(b"/metrics" | b"/")) => {
                ("200 OK", self.text.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
            (Some(b"GET"), _) => ("404 Not Found", "see /metrics\n".to_string()),
            _ => ("405 Method Not Allowed", "GET only\n".to_string()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

fn render(total: &Tally) -> String {
    let mut out = String::new();
    let counters = [
        ("requests", "Requests that ended, well or not.", total.requests),
        ("connects", "Connections opened.", total.connects),
        ("read_bytes", "Bytes read.", total.bytes_read),
        ("written_bytes", "Bytes written.", total.bytes_written),
    ];
    for (name, help, value) in counters {
        family(&mut out, &format!("{name}_total"), "counter", help);
        let _ = writeln!(out, "ringway_load_{name}_total {value}");
    }
    family(&mut out, "replies_total", "counter", "Whole replies by status.");
    for (status, count) in &total.statuses {
        let _ = writeln!(out, "ringway_load_replies_total{{status=\"{status}\"}} {count}");
    }
    family(&mut out, "failures_total", "counter", "Failed requests by cause.");
    for cause in Cause::ALL {
        let _ = writeln!(out, "ringway_load_failures_total{{cause=\"{}\"}} {}", cause.name(), total.failed_by(cause));
    }
    if let Some(handshakes) = &total.handshakes {
        family(&mut out, "handshakes_total", "counter", "Handshakes of TLS.");
        for (kind, count) in [("full", handshakes.full), ("resumed", handshakes.resumed)] {
            let _ = writeln!(out, "ringway_load_handshakes_total{{kind=\"{kind}\"}} {count}");
        }
        let help = "From when TCP was connected until both sides of TLS were done.";
        histogram(&mut out, "handshake_seconds", help, &handshakes.time);
    }
    histogram(&mut out, "latency_seconds", "From when a request was due to the end of its reply.", &total.latency);
    histogram(
        &mut out,
        "lateness_seconds",
        "From when a request could be sent until it was: the generator's own fault.",
        &total.lateness,
    );
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP ringway_load_{name} {help}\n# TYPE ringway_load_{name} {kind}");
}

fn histogram(out: &mut String, name: &str, help: &str, values: &Histogram<u64>) {
    family(out, name, "histogram", help);
    let mut below = 0;
    let mut last = 0;
    for bound in BUCKETS {
        below += values.count_between(last, bound);
        // A value on a bound belongs to the bucket below it, and is counted once.
        last = values.next_non_equivalent(bound);
        let _ = writeln!(out, "ringway_load_{name}_bucket{{le=\"{}\"}} {below}", bound as f64 / 1e9);
    }
    let count = values.len();
    let _ = writeln!(out, "ringway_load_{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "ringway_load_{name}_sum {}", values.mean() * count as f64 / 1e9);
    let _ = writeln!(out, "ringway_load_{name}_count {count}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Session;

    #[test]
    fn handshakes_are_there_when_there_were_any() {
        let mut tally = Tally::new(0);
        assert!(!render(&tally).contains("handshake"));
        for resumed in [false, true, true] {
            tally.secured(Session { resumed, version: 0x304, suite: 0x1302, group: 0 }, 1_000_000);
        }
        let text = render(&tally);
        for line in
            ["handshakes_total{kind=\"full\"} 1", "handshakes_total{kind=\"resumed\"} 2", "handshake_seconds_count 3"]
        {
            assert!(text.contains(&format!("ringway_load_{line}\n")), "{line}\n{text}");
        }
    }

    #[test]
    fn buckets_are_cumulative_and_count_every_value_once() {
        let mut tally = Tally::new(0);
        for nanos in [5_000, 10_000, 30_000, 1_000_000, 20_000_000_000] {
            tally.latency.record(nanos).unwrap();
        }
        let text = render(&tally);
        for (bound, count) in [("0.00001", 2), ("0.000025", 2), ("0.00005", 3), ("0.001", 4), ("10", 4), ("+Inf", 5)] {
            let line = format!("ringway_load_latency_seconds_bucket{{le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("ringway_load_latency_seconds_count 5\n"), "{text}");
    }
}
