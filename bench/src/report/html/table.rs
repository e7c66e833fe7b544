//! The figures of runs side by side.

use std::fmt::Write;

use super::Run;
use crate::report::json::{Report, TlsOfRun};
use crate::report::{bytes, escape, rate, time};

/// One row: what it is called, how it reads, and its value where a change against the first run means something.
struct Row {
    name: &'static str,
    words: bool,
    text: fn(&Report) -> String,
    value: Option<fn(&Report) -> f64>,
}

const fn figure(name: &'static str, text: fn(&Report) -> String, value: fn(&Report) -> f64) -> Row {
    Row { name, words: false, text, value: Some(value) }
}

const fn plain(name: &'static str, text: fn(&Report) -> String) -> Row {
    Row { name, words: false, text, value: None }
}

const fn words(name: &'static str, text: fn(&Report) -> String) -> Row {
    Row { name, words: true, text, value: None }
}

const ROWS: [Row; 25] = [
    words("Target", |r| r.target.clone()),
    words("Load", |r| match r.load.as_str() {
        "open" => format!("{} requests/s due", rate(r.target_rate)),
        other => format!("{other} loop"),
    }),
    plain("Connections", |r| r.connections.to_string()),
    words("Threads", |r| format!("{} ({})", r.threads, r.backend)),
    plain("Counted", |r| format!("{:.1} s", r.duration_s)),
    plain("Requests", |r| r.requests.to_string()),
    figure("Requests/s", |r| format!("{:.1}", r.rate), |r| r.rate),
    figure("p50", |r| percentile(r, 50.0), |r| r.percentile(50.0)),
    figure("p90", |r| percentile(r, 90.0), |r| r.percentile(90.0)),
    figure("p99", |r| percentile(r, 99.0), |r| r.percentile(99.0)),
    figure("p99.9", |r| percentile(r, 99.9), |r| r.percentile(99.9)),
    figure("Longest", |r| latency(r, r.latency.max_ns), |r| r.latency.max_ns as f64),
    figure("Mean", |r| latency(r, r.latency.mean_ns as u64), |r| r.latency.mean_ns),
    plain("Failed", |r| format!("{:.3} %", r.errors.share * 100.0)),
    words("Failures", |r| {
        let causes = counts(r.errors.causes.iter());
        if r.errors.reasons.is_empty() { causes } else { format!("{causes} ({})", counts(r.errors.reasons.iter())) }
    }),
    plain("Never sent", |r| r.unsent.to_string()),
    words("Statuses", |r| counts(r.statuses.iter())),
    plain("Connections opened", |r| r.connects.to_string()),
    words("TLS", |r| r.tls.as_ref().map_or("none".into(), tls)),
    plain("TLS handshake (p99)", |r| {
        let times = r.tls.as_ref().map(|tls| &tls.handshake.histogram).filter(|times| !times.is_empty());
        times.map_or("none".into(), |times| time(times.value_at_quantile(0.99)))
    }),
    plain("Read", |r| bytes(r.bytes_read)),
    plain("Written", |r| bytes(r.bytes_written)),
    figure(
        "Server's CPU per request",
        |r| r.server.map_or("not watched".into(), |server| format!("{:.2} µs", server.cpu_us_per_request)),
        |r| r.server.map_or(0.0, |server| server.cpu_us_per_request),
    ),
    plain("Generator's CPU", |r| format!("{:.0} %", r.generator.cpu_share * 100.0)),
    plain("Sent late (p99.9)", |r| time(r.generator.lateness_p999_ns)),
];

/// A table with a column a run.
pub fn table(runs: &[Run]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n");
    if runs.len() > 1 {
        let names: String =
            runs.iter().enumerate().map(|(n, run)| format!("<th class=\"c{n}\">{}</th>", escape(&run.name))).collect();
        let _ = writeln!(out, "<thead><tr><th></th>{names}</tr></thead>");
    }
    out.push_str("<tbody>\n");
    for row in &ROWS {
        let class = if row.words { " class=\"words\"" } else { "" };
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", row.name);
        for (n, run) in runs.iter().enumerate() {
            let first = runs.first().filter(|_| n > 0).map(|first| &first.report);
            let change = match (row.value, first) {
                (Some(value), Some(first)) => change(value(first), value(&run.report)),
                _ => String::new(),
            };
            let _ = write!(out, "<td{class}>{}{change}</td>", escape(&(row.text)(&run.report)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn tls(tls: &TlsOfRun) -> String {
    let verified = if tls.verified { "" } else { "; certificates were not verified" };
    format!("{} full handshakes, {} resumed; {}{verified}", tls.full, tls.resumed, counts(tls.agreed.iter()))
}

fn percentile(report: &Report, p: f64) -> String {
    latency(report, report.percentile(p) as u64)
}

fn latency(report: &Report, nanos: u64) -> String {
    if report.latency.histogram.is_empty() { "none".into() } else { time(nanos) }
}

fn counts<K: std::fmt::Display>(all: impl Iterator<Item = (K, impl std::fmt::Display)>) -> String {
    let all: Vec<String> = all.map(|(name, count)| format!("{name} × {count}")).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

fn change(before: f64, after: f64) -> String {
    if before <= 0.0 || after <= 0.0 {
        return String::new();
    }
    let percent = (after / before - 1.0) * 100.0;
    let sign = if percent < 0.0 { "−" } else { "+" };
    format!("<small>{sign}{:.1} %</small>", percent.abs())
}
