//! `/stats/prometheus`: Istio's metrics with Istio's labels, summed over the workers, and our own counters.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use ringway_config::model::Workload;

use super::House;
use crate::telemetry::series::{BUCKETS_MILLI, Histogram, Labels, Protocol, Reporter, Series};

/// Sums of one label set.
#[derive(Default)]
struct Sum {
    tcp: bool,
    requests: u64,
    histograms: [HistogramSum; 3],
    tcp_cells: [u64; 4],
}

#[derive(Default)]
struct HistogramSum {
    buckets: [u64; BUCKETS_MILLI.len() + 1],
    sum_milli: u64,
}

/// The whole page.
pub fn page(house: &mut House) -> String {
    let mut out = String::with_capacity(64 << 10);
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for table in &house.workers.series {
        for (labels, series) in table.iter() {
            sums.entry(label_text(labels)).or_default().add(labels, series);
        }
    }
    istio(&mut out, &sums);
    own(&mut out, house);
    out
}

impl Sum {
    fn add(&mut self, labels: &Labels, s: &Series) {
        self.tcp = labels.protocol == Protocol::Tcp;
        self.requests += s.requests.load(Relaxed);
        for (sum, cells) in self.histograms.iter_mut().zip([&s.duration_ms, &s.request_bytes, &s.response_bytes]) {
            sum.add(cells);
        }
        for (sum, cell) in self.tcp_cells.iter_mut().zip([&s.tcp_sent, &s.tcp_received, &s.tcp_opened, &s.tcp_closed]) {
            *sum += cell.load(Relaxed);
        }
    }
}

impl HistogramSum {
    fn add(&mut self, cells: &Histogram) {
        for (sum, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *sum += cell.load(Relaxed);
        }
        self.sum_milli += cells.sum_milli.load(Relaxed);
    }
}

fn istio(out: &mut String, sums: &BTreeMap<String, Sum>) {
    let http = || sums.iter().filter(|(_, s)| !s.tcp);
    let tcp = || sums.iter().filter(|(_, s)| s.tcp);
    let _ = writeln!(out, "# TYPE istio_requests_total counter");
    for (labels, sum) in http() {
        let _ = writeln!(out, "istio_requests_total{{{labels}}} {}", sum.requests);
    }
    for (i, name) in
        ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"].iter().enumerate()
    {
        let _ = writeln!(out, "# TYPE {name} histogram");
        for (labels, sum) in http() {
            histogram(out, name, labels, &sum.histograms[i]);
        }
    }
    let names = [
        "istio_tcp_sent_bytes_total",
        "istio_tcp_received_bytes_total",
        "istio_tcp_connections_opened_total",
        "istio_tcp_connections_closed_total",
    ];
    for (i, name) in names.iter().enumerate() {
        let _ = writeln!(out, "# TYPE {name} counter");
        for (labels, sum) in tcp() {
            let _ = writeln!(out, "{name}{{{labels}}} {}", sum.tcp_cells[i]);
        }
    }
}

fn histogram(out: &mut String, name: &str, labels: &str, h: &HistogramSum) {
    let mut below = 0;
    for (bound, count) in BUCKETS_MILLI.iter().zip(&h.buckets) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", *bound as f64 / 1000.0);
    }
    below += h.buckets[BUCKETS_MILLI.len()];
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {below}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", h.sum_milli as f64 / 1000.0);
    let _ = writeln!(out, "{name}_count{{{labels}}} {below}");
}

/// Istio's label set in Istio's order.
fn label_text(l: &Labels) -> String {
    let mut out = String::with_capacity(512);
    let reporter = if l.reporter == Reporter::Source { "source" } else { "destination" };
    let mut put = |name: &str, value: &str| {
        if !out.is_empty() {
            out.push(',');
        }
        let _ = write!(out, "{name}=\"");
        escape(&mut out, if value.is_empty() { "unknown" } else { value });
        out.push('"');
    };
    put("reporter", reporter);
    workload(&mut put, "source", &l.source);
    workload(&mut put, "destination", &l.destination);
    put("destination_service", &l.service.host);
    put("destination_service_name", &l.service.name);
    put("destination_service_namespace", &l.service.namespace);
    put("request_protocol", if l.protocol == Protocol::Http { "http" } else { "tcp" });
    if l.protocol == Protocol::Http {
        put("response_code", &l.code.to_string());
        put("grpc_response_status", " ");
    }
    put("response_flags", l.flag.name());
    put("connection_security_policy", if l.reporter == Reporter::Source { "unknown" } else { "none" });
    out.replace("grpc_response_status=\" \"", "grpc_response_status=\"\"")
}

fn workload(put: &mut impl FnMut(&str, &str), side: &str, w: &Workload) {
    for (label, value) in [
        ("workload", &w.name),
        ("canonical_service", &w.canonical_name),
        ("canonical_revision", &w.canonical_revision),
        ("workload_namespace", &w.namespace),
        ("principal", &w.principal),
        ("app", &w.app),
        ("version", &w.version),
        ("cluster", &w.cluster),
    ] {
        put(&format!("{side}_{label}"), value);
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

fn own(out: &mut String, house: &mut House) {
    let mut rows: BTreeMap<&'static str, (&'static str, bool, Vec<u64>)> = BTreeMap::new();
    for stats in house.workers.stats.iter() {
        stats.each(|name, help, counter, value| rows.entry(name).or_insert((help, counter, Vec::new())).2.push(value));
    }
    for (name, (help, counter, values)) in rows {
        let kind = if counter { "counter" } else { "gauge" };
        let _ = writeln!(out, "# HELP ringway_{name} {help}\n# TYPE ringway_{name} {kind}");
        for (worker, value) in values.iter().enumerate() {
            let _ = writeln!(out, "ringway_{name}{{worker=\"{worker}\"}} {value}");
        }
    }
    let (backend, reason) = (house.workers.backend.name(), house.workers.backend_reason);
    let _ = writeln!(
        out,
        "# TYPE ringway_io_backend gauge\nringway_io_backend{{backend=\"{backend}\",reason=\"{reason}\"}} 1"
    );
    let _ = writeln!(out, "# TYPE ringway_snapshots_alive gauge\nringway_snapshots_alive {}", house.alive_count());
    let _ = writeln!(
        out,
        "# TYPE ringway_snapshots_applied_total counter\nringway_snapshots_applied_total {}",
        house.snapshots_applied
    );
    let _ = writeln!(
        out,
        "# TYPE ringway_snapshots_refused_total counter\nringway_snapshots_refused_total {}",
        house.snapshots_refused
    );
    let _ = writeln!(
        out,
        "# TYPE ringway_access_log_batches_dropped_total counter\nringway_access_log_batches_dropped_total {}",
        house.log.dropped_batches
    );
    outliers(out, house);
    if let Some(bytes) = resident_bytes() {
        let _ = writeln!(out, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}");
    }
    let _ = writeln!(
        out,
        "# TYPE istio_build gauge\nistio_build{{component=\"proxy\",tag=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
}

/// Of clusters with outlier detection.
fn outliers(out: &mut String, house: &House) {
    let rows: BTreeMap<_, _> = house.detector.ejections().collect();
    for (name, kind, help) in [
        ("active", "gauge", "Endpoints ejected now."),
        ("total", "counter", "Ejections of endpoints."),
        ("overflow_total", "counter", "Endpoints that failed enough and stayed, because too many others were ejected."),
    ] {
        let name = format!("ringway_outlier_ejections_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (cluster, ejections) in &rows {
            let value = match name.as_str() {
                "ringway_outlier_ejections_active" => ejections.active as u64,
                "ringway_outlier_ejections_total" => ejections.total,
                _ => ejections.overflow,
            };
            let _ = write!(out, "{name}{{cluster=\"");
            escape(out, cluster);
            let _ = writeln!(out, "\"}} {value}");
        }
    }
}

/// Resident memory of this process (`/proc/self/status`).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}
