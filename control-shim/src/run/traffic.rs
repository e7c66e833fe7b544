//! Who calls whom: read from the proxies' own metrics, so that the live view shows what a Prometheus server would see.
//!
//! Counters only ever grow, except when a proxy was started anew; what is shown is the growth between two looks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// One line of the live view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Workload that calls.
    pub source: String,
    /// Workload that answers, or the service when no workload was reached.
    pub destination: String,
    /// Version of the workload that answers.
    pub version: String,
    /// Opaque TCP: connections are counted, not requests.
    pub tcp: bool,
}

/// Counters of one edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests, or TCP connections opened.
    pub requests: u64,
    /// Of these, answered with 500 or more, or by the proxy itself.
    pub errors: u64,
    /// Bytes in both directions, TCP only.
    pub bytes: u64,
    /// Upper bound in milliseconds → requests up to it, cumulative and sorted.
    pub buckets: Vec<(f64, u64)>,
}

/// All edges that one proxy reports.
pub type Totals = BTreeMap<Edge, Counts>;

/// An edge with its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Who calls whom.
    pub edge: Edge,
    /// Requests (TCP: connections) per second.
    pub rate: f64,
    /// Milliseconds; `None` without requests.
    pub p50_ms: Option<f64>,
    /// Milliseconds; `None` without requests.
    pub p99_ms: Option<f64>,
    /// Errors per second.
    pub error_rate: f64,
    /// Bytes per second, TCP only.
    pub byte_rate: f64,
}

/// What the proxies had counted at the last look.
#[derive(Debug, Default)]
pub struct Observer {
    last: HashMap<String, Totals>,
}

impl Observer {
    /// The growth since the last look; `totals` by proxy. The first look at a proxy counts from nothing.
    pub fn observe(&mut self, totals: Vec<(String, Totals)>, elapsed: Duration) -> Vec<Flow> {
        let mut grown = Totals::new();
        for (proxy, now) in &totals {
            let before = self.last.get(proxy);
            for (edge, counts) in now {
                let growth = counts.since(before.and_then(|before| before.get(edge)));
                grown.entry(edge.clone()).or_default().add(&growth);
            }
        }
        // One that did not answer this time keeps its place: its next growth counts from here.
        self.last.extend(totals);
        let seconds = elapsed.as_secs_f64().max(0.001);
        grown.into_iter().map(|(edge, counts)| Flow::new(edge, &counts, seconds)).collect()
    }
}

impl Counts {
    fn since(&self, before: Option<&Counts>) -> Counts {
        // A counter below its former value belongs to a new process, which counts from 0.
        let Some(before) = before.filter(|before| before.requests <= self.requests) else { return self.clone() };
        let earlier =
            |bound: f64| before.buckets.iter().find(|(other, _)| *other == bound).map_or(0, |(_, count)| *count);
        Counts {
            requests: self.requests - before.requests,
            errors: self.errors.saturating_sub(before.errors),
            bytes: self.bytes.saturating_sub(before.bytes),
            buckets: self
                .buckets
                .iter()
                .map(|(bound, count)| (*bound, count.saturating_sub(earlier(*bound))))
                .collect(),
        }
    }

    fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes += other.bytes;
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
                *count += more;
            }
        }
    }

    /// Interpolated within its bucket, as Prometheus does.
    fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0)?;
        let rank = q * total as f64;
        let (mut lower, mut below) = (0.0, 0);
        for (bound, count) in &self.buckets {
            if *count as f64 >= rank && *count > below {
                if bound.is_infinite() {
                    return Some(lower);
                }
                return Some(lower + (bound - lower) * (rank - below as f64) / (count - below) as f64);
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

impl Flow {
    fn new(edge: Edge, counts: &Counts, seconds: f64) -> Flow {
        Flow {
            edge,
            rate: counts.requests as f64 / seconds,
            p50_ms: counts.quantile(0.5),
            p99_ms: counts.quantile(0.99),
            error_rate: counts.errors as f64 / seconds,
            byte_rate: counts.bytes as f64 / seconds,
        }
    }
}

/// What becomes [`Counts`].
const COUNTED: [&str; 4] = [
    "istio_requests_total{",
    "istio_request_duration_milliseconds_bucket{",
    "istio_tcp_connections_opened_total{",
    // Sent and received, the only ones with bytes of TCP.
    "istio_tcp_",
];
/// In every line that the caller's side reports.
const CALLER: &str = "reporter=\"source\"";

/// Reads a proxy's metrics page. Only what the caller's side reports is taken: the callee's side reports the same requests again.
pub fn read(page: &str) -> Totals {
    let mut totals = Totals::new();
    // Looked at before labels are taken apart: most of a page is sizes, and the callee's view.
    let wanted = |line: &&str| COUNTED.iter().any(|name| line.starts_with(name)) && line.contains(CALLER);
    for line in page.lines().filter(wanted) {
        if let Some((name, labels, value)) = sample(line)
            && labels.get("reporter") == Some(&"source".into())
        {
            count(&mut totals, name, &labels, value);
        }
    }
    for counts in totals.values_mut() {
        counts.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    totals
}

fn count(totals: &mut Totals, name: &str, labels: &HashMap<&str, String>, value: u64) {
    let tcp = name.starts_with("istio_tcp_");
    let label = |name| labels.get(name).map_or("", String::as_str);
    let known = |name| Some(label(name)).filter(|value| !matches!(*value, "" | "unknown")).map(String::from);
    let edge = || Edge {
        source: known("source_workload").unwrap_or_else(|| "unknown".into()),
        destination: known("destination_workload")
            .or_else(|| known("destination_service_name"))
            .or_else(|| known("destination_service"))
            .unwrap_or_else(|| "unknown".into()),
        version: known("destination_version").unwrap_or_default(),
        tcp,
    };
    match name {
        "istio_requests_total" => {
            let counts = totals.entry(edge()).or_default();
            counts.requests += value;
            let failed = label("response_code").parse::<u16>().is_ok_and(|code| code >= 500 || code == 0);
            if failed || !matches!(label("response_flags"), "" | "-") {
                counts.errors += value;
            }
        }
        "istio_request_duration_milliseconds_bucket" => {
            let bound = match label("le") {
                "+Inf" => f64::INFINITY,
                text => text.parse().unwrap_or(f64::INFINITY),
            };
            let buckets = &mut totals.entry(edge()).or_default().buckets;
            match buckets.iter_mut().find(|(other, _)| *other == bound) {
                Some((_, count)) => *count += value,
                None => buckets.push((bound, value)),
            }
        }
        "istio_tcp_connections_opened_total" => {
            let counts = totals.entry(edge()).or_default();
            counts.requests += value;
            if !matches!(label("response_flags"), "" | "-") {
                counts.errors += value;
            }
        }
        "istio_tcp_sent_bytes_total" | "istio_tcp_received_bytes_total" => {
            totals.entry(edge()).or_default().bytes += value
        }
        _ => {}
    }
}

/// `name{label="value",…} number`; comments and what does not parse are `None`.
fn sample(line: &str) -> Option<(&str, HashMap<&str, String>, u64)> {
    let (name, rest) = line.split_once('{')?;
    let mut labels = HashMap::new();
    let mut rest = rest;
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(label, value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let value = rest[1..].split_whitespace().next()?.parse::<f64>().ok()?;
    Some((name, labels, value as u64))
}

/// The text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(requests: [u64; 3], opened: u64) -> String {
        let labels = r#"reporter="source",source_workload="gate",destination_workload="reviews-v1",destination_version="v1",note="a\"},b""#;
        let [ok, bad, slow] = requests;
        let tcp = r#"reporter="source",source_workload="gate",destination_workload="unknown",destination_service_name="cache",response_flags="-""#;
        format!(
            "# TYPE istio_requests_total counter\n\
             istio_requests_total{{{labels},response_code=\"200\",response_flags=\"-\"}} {ok}\n\
             istio_requests_total{{{labels},response_code=\"503\",response_flags=\"UF\"}} {bad}\n\
             istio_requests_total{{reporter=\"destination\",source_workload=\"gate\"}} 999\n\
             istio_request_duration_milliseconds_bucket{{{labels},response_code=\"200\",le=\"1\"}} {fast}\n\
             istio_request_duration_milliseconds_bucket{{{labels},response_code=\"200\",le=\"10\"}} {all}\n\
             istio_request_duration_milliseconds_bucket{{{labels},response_code=\"200\",le=\"+Inf\"}} {all}\n\
             istio_tcp_connections_opened_total{{{tcp}}} {opened}\n\
             istio_tcp_sent_bytes_total{{{tcp}}} 100\n\
             ringway_turns 7\n",
            fast = ok + bad - slow,
            all = ok + bad,
        )
    }

    #[test]
    fn growth_between_two_looks_becomes_rates() {
        let mut observer = Observer::default();
        observer.observe(vec![("gate".into(), read(&page([100, 0, 0], 1)))], Duration::from_secs(1));
        let flows = observer.observe(vec![("gate".into(), read(&page([190, 10, 50], 3)))], Duration::from_secs(2));
        let [cache, http] = &flows[..] else { panic!("{flows:?}") };
        assert_eq!((http.edge.destination.as_str(), http.edge.version.as_str()), ("reviews-v1", "v1"));
        assert_eq!((http.rate, http.error_rate), (50.0, 5.0));
        // 50 of 100 are within 1 ms, the rest within 10.
        assert_eq!(http.p50_ms, Some(1.0));
        assert!((http.p99_ms.unwrap() - (1.0 + 9.0 * 49.0 / 50.0)).abs() < 1e-9, "{http:?}");
        assert_eq!((cache.edge.destination.as_str(), cache.edge.tcp, cache.rate), ("cache", true, 1.0));
        assert_eq!((cache.p50_ms, cache.byte_rate), (None, 0.0));
    }

    #[test]
    fn a_proxy_started_anew_counts_from_nothing() {
        let mut observer = Observer::default();
        observer.observe(vec![("gate".into(), read(&page([100, 0, 0], 1)))], Duration::from_secs(1));
        let flows = observer.observe(vec![("gate".into(), read(&page([7, 0, 0], 1)))], Duration::from_secs(1));
        assert_eq!(flows.iter().find(|flow| !flow.edge.tcp).unwrap().rate, 7.0);
    }

    #[test]
    fn what_does_not_parse_is_left_out() {
        for line in ["", "x", "x{", "x{a=\"b", "x{a=\"b\"}", "x{a=\"b\"} y", "# HELP x{a=\"b\"} 1e"] {
            assert!(sample(line).is_none(), "{line}");
        }
        assert_eq!(sample("x{} 3").unwrap().2, 3);
    }
}
