//! The JSON of a run: what `--output json` prints, `--baseline` reads, and reports are drawn from.

use std::collections::BTreeMap;
use std::path::Path;

use hdrhistogram::Histogram;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use serde::{Deserialize, Serialize};

use super::hdr::Packed;
use crate::plan::{Plan, Security};
use crate::run::{Doubt, Measured};
use crate::tally::{Cause, Handshakes, Tally};

/// Says what the JSON is; a reader refuses another one.
pub const SCHEMA: &str = "ringway-load/1";
/// Seconds of a run that is read: a year.
const SECONDS_MAX: u64 = 365 * 86_400;
/// Percentiles in every report.
const PERCENTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was asked.
    pub target: String,
    /// `open` or `closed`.
    pub load: String,
    /// Requests per second that were due; 0 in a closed loop.
    pub target_rate: f64,
    /// Connections and threads.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// `uring` or `epoll`.
    pub backend: String,
    /// Seconds that were counted.
    pub duration_s: f64,
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Of those per second.
    pub rate: f64,
    /// Requests that were due and never got a connection.
    pub unsent: u64,
    /// From when requests were due.
    pub latency: Latency,
    /// Failures.
    pub errors: Errors,
    /// Replies by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests by name in the mix.
    pub kinds: BTreeMap<String, u64>,
    /// Handshakes of TLS, where that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsOfRun>,
    /// Connections opened while counting.
    pub connects: u64,
    /// Bytes of replies.
    pub bytes_read: u64,
    /// Bytes of requests.
    pub bytes_written: u64,
    /// How the generator itself did.
    pub generator: Generator,
    /// What the server's process used, where somebody watched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerOfRun>,
    /// By second.
    pub seconds: Vec<SecondOfRun>,
}

/// Latency, nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The mean.
    pub mean_ns: f64,
    /// The longest.
    pub max_ns: u64,
    /// Percentile to value.
    pub percentiles: Vec<(f64, u64)>,
    /// All of it: HdrHistogram V2, compressed, base64.
    #[serde(with = "super::hdr::packed")]
    pub histogram: Histogram<u64>,
}

/// Failures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Errors {
    /// As a part of all requests that were due.
    pub share: f64,
    /// By cause; causes without failures are left out.
    pub causes: BTreeMap<String, u64>,
    /// More about those whose cause does not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
}

/// TLS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TlsOfRun {
    /// Servers' certificates were verified.
    pub verified: bool,
    /// Handshakes with certificates and signatures.
    pub full: u64,
    /// Handshakes of sessions that went on.
    pub resumed: u64,
    /// From when TCP was connected until both sides were done.
    pub handshake: Latency,
    /// Connections by version, cipher suite and group of the key exchange; also those that were opened in the warm-up.
    pub agreed: BTreeMap<String, u64>,
}

/// The generator's own part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generator {
    /// The part of its threads that it used, 0 to 1.
    pub cpu_share: f64,
    /// CPU microseconds per request.
    pub cpu_us_per_request: f64,
    /// Bytes of requests and replies per second of its CPU; 0 in runs of programs that did not say it.
    #[serde(default)]
    pub bytes_per_cpu_second: f64,
    /// How late requests were sent, nanoseconds.
    pub lateness_p50_ns: u64,
    /// The same, 99.9th percentile.
    pub lateness_p999_ns: u64,
    /// All of it: HdrHistogram V2, compressed, base64.
    #[serde(with = "super::hdr::packed")]
    pub lateness: Histogram<u64>,
    /// The generator was too late or too busy for the times to be trusted.
    pub unfit: bool,
    /// What makes the figures doubtful, for people.
    pub doubts: Vec<String>,
}

/// The server's process, with its threads and children, while it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerOfRun {
    /// The process.
    pub pid: u32,
    /// CPU microseconds per request.
    pub cpu_us_per_request: f64,
    /// Context switches per request, voluntary or not.
    pub switches_per_request: f64,
    /// The most resident memory that it ever had, bytes.
    pub memory_peak: u64,
}

/// A second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecondOfRun {
    /// Since counting began.
    pub second: u64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Of those, failed.
    pub errors: u64,
    /// Latency.
    pub p50_ns: u64,
    /// Latency.
    pub p99_ns: u64,
    /// Latency.
    pub max_ns: u64,
    /// All of it: HdrHistogram V2, compressed, base64.
    pub latency: Packed,
}

impl Latency {
    /// Of what was counted.
    pub fn of(histogram: Histogram<u64>) -> Latency {
        Latency {
            mean_ns: histogram.mean(),
            max_ns: histogram.max(),
            percentiles: PERCENTILES.map(|p| (p, histogram.value_at_percentile(p))).to_vec(),
            histogram,
        }
    }
}

impl TlsOfRun {
    /// Of what was counted.
    pub fn new(security: &Security, handshakes: Option<&Handshakes>) -> TlsOfRun {
        let Handshakes { full, resumed, time, agreed } = handshakes.cloned().unwrap_or_default();
        let named = |((version, suite, group), n)| {
            let version = format!("{:?}", ProtocolVersion::from(version)).replace('_', ".");
            let suite = format!("{:?}", CipherSuite::from(suite)).replace("TLS13_", "TLS_");
            let group = if group == 0 { String::new() } else { format!(" {:?}", NamedGroup::from(group)) };
            (format!("{version} {suite}{group}"), n)
        };
        let agreed = agreed.into_iter().map(named).collect();
        TlsOfRun { verified: security.verifies, full, resumed, handshake: Latency::of(time), agreed }
    }
}

impl SecondOfRun {
    /// Of what was counted in it.
    pub fn new(second: u64, tally: &Tally) -> SecondOfRun {
        SecondOfRun {
            second,
            requests: tally.requests,
            errors: tally.failed(),
            p50_ns: tally.latency.value_at_quantile(0.5),
            p99_ns: tally.latency.value_at_quantile(0.99),
            max_ns: tally.latency.max(),
            latency: Packed::new(&tally.latency),
        }
    }
}

impl Report {
    /// Of a finished run.
    pub fn new(plan: &Plan, measured: &Measured) -> Report {
        let doubts = measured.doubts(&plan.load);
        let total = &measured.total;
        let requests = total.requests.max(1) as f64;
        Report {
            schema: SCHEMA.to_string(),
            target: plan.url.clone(),
            load: plan.load.name().to_string(),
            target_rate: plan.target_rate(),
            connections: plan.connections,
            threads: plan.threads,
            backend: measured.backend.name().to_string(),
            duration_s: measured.duration.as_secs_f64(),
            requests: total.requests,
            rate: measured.rate(),
            unsent: measured.unsent,
            latency: Latency::of(total.latency.clone()),
            errors: Errors {
                share: measured.error_share(),
                causes: Cause::ALL
                    .iter()
                    .filter(|cause| total.failed_by(**cause) > 0)
                    .map(|cause| (cause.name().to_string(), total.failed_by(*cause)))
                    .collect(),
                reasons: total.reasons.clone(),
            },
            statuses: total.statuses.clone(),
            kinds: plan.mix.iter().map(|r| r.name.clone()).zip(total.kinds.iter().copied()).collect(),
            tls: plan.tls.as_ref().map(|security| TlsOfRun::new(security, total.handshakes.as_deref())),
            connects: total.connects,
            bytes_read: total.bytes_read,
            bytes_written: total.bytes_written,
            generator: Generator {
                cpu_share: measured.own_cpu,
                cpu_us_per_request: measured.own_cpu_time.as_secs_f64() * 1e6 / requests,
                bytes_per_cpu_second: match measured.own_cpu_time.as_secs_f64() {
                    seconds if seconds > 0.0 => total.bytes_read.saturating_add(total.bytes_written) as f64 / seconds,
                    _ => 0.0,
                },
                lateness_p50_ns: total.lateness.value_at_quantile(0.5),
                lateness_p999_ns: total.lateness.value_at_quantile(0.999),
                lateness: total.lateness.clone(),
                unfit: doubts.iter().any(|doubt| matches!(doubt, Doubt::Late(_) | Doubt::Busy(_))),
                doubts: doubts.iter().map(Doubt::message).collect(),
            },
            server: None,
            seconds: measured.seconds.clone(),
        }
    }

    /// Reads the file of a run.
    pub fn read(path: &Path) -> Result<Report, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Report::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads what [`Report::new`] wrote.
    pub fn parse(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text).map_err(|e| format!("not a run of ringway-load: {e}"))?;
        if report.schema != SCHEMA {
            return Err(format!("its schema is `{}`, this program reads `{SCHEMA}`", report.schema));
        }
        let seconds = &report.seconds;
        if !seconds.is_sorted_by(|a, b| a.second < b.second) || seconds.last().is_some_and(|s| s.second > SECONDS_MAX) {
            return Err(format!("its seconds are not in order, or beyond {SECONDS_MAX}"));
        }
        Ok(report)
    }

    /// Requests per second that were answered as they should be.
    pub fn rate_of_good(&self) -> f64 {
        let failed = self.errors.causes.values().fold(0u64, |sum, count| sum.saturating_add(*count));
        let good = self.requests.saturating_sub(failed);
        if good == 0 { 0.0 } else { self.rate * good as f64 / self.requests as f64 }
    }

    /// A percentile of latency, nanoseconds.
    pub fn percentile(&self, p: f64) -> f64 {
        self.latency.histogram.value_at_percentile(p) as f64
    }
}
