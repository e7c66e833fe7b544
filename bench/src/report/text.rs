//! A run for people.

use std::fmt::Write;

use super::json::{Report, TlsOfRun};
use super::{bytes, rate, time};

/// Width of the longest bar.
const BAR_WIDTH: usize = 40;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let per_second = |count: u64| if report.duration_s > 0.0 { (count as f64 / report.duration_s) as u64 } else { 0 };
    let asked = match report.load.as_str() {
        "open" => format!("{} requests/s due", rate(report.target_rate)),
        _ => "each connection as fast as it is answered".to_string(),
    };
    writeln!(
        out,
        "{}: {asked}, {} connection{}, {} thread{} ({}), {} counted",
        report.target,
        report.connections,
        plural(report.connections),
        report.threads,
        plural(report.threads),
        report.backend,
        time((report.duration_s * 1e9) as u64)
    )?;
    writeln!(out)?;
    writeln!(out, "Requests   {:>12}   {:.1}/s", report.requests, report.rate)?;
    let causes: Vec<String> = report.errors.causes.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
    let failed = report.errors.causes.values().fold(0u64, |sum, count| sum.saturating_add(*count));
    let causes = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(", ")) };
    writeln!(out, "Failed     {failed:>12}   {:.3} %{causes}", report.errors.share * 100.0)?;
    for (reason, count) in &report.errors.reasons {
        writeln!(out, "           {reason} × {count}")?;
    }
    if report.unsent > 0 {
        writeln!(out, "Never sent {:>12}   no connection was free", report.unsent)?;
    }
    let statuses: Vec<String> = report.statuses.iter().map(|(status, n)| format!("{status} × {n}")).collect();
    if !statuses.is_empty() {
        writeln!(out, "Statuses   {}", statuses.join(", "))?;
    }
    if report.kinds.len() > 1 {
        let kinds: Vec<String> = report.kinds.iter().map(|(name, n)| format!("{name} × {n}")).collect();
        writeln!(out, "Kinds      {}", kinds.join(", "))?;
    }
    writeln!(
        out,
        "Bytes      {} read ({}/s), {} written ({}/s); {} connections opened",
        bytes(report.bytes_read),
        bytes(per_second(report.bytes_read)),
        bytes(report.bytes_written),
        bytes(per_second(report.bytes_written)),
        report.connects
    )?;
    if let Some(tls) = &report.tls {
        write_tls(tls, out)?;
    }
    writeln!(out)?;
    write_latency(report, out)?;
    writeln!(out)?;
    if let Some(server) = &report.server {
        writeln!(
            out,
            "Server:    {:.2} µs of CPU a request, {:.2} context switches; {} of memory at its peak",
            server.cpu_us_per_request,
            server.switches_per_request,
            bytes(server.memory_peak)
        )?;
    }
    let generator = &report.generator;
    writeln!(
        out,
        "Generator: {:.0} % of its threads, {:.2} µs of CPU a request, {} per CPU second; sent {} late (p50), {} (p99.9)",
        generator.cpu_share * 100.0,
        generator.cpu_us_per_request,
        bytes(generator.bytes_per_cpu_second as u64),
        time(generator.lateness_p50_ns),
        time(generator.lateness_p999_ns)
    )?;
    for doubt in &generator.doubts {
        writeln!(out, "warning: {doubt}")?;
    }
    Ok(())
}

fn write_latency(report: &Report, out: &mut String) -> std::fmt::Result {
    if report.latency.histogram.is_empty() {
        return writeln!(out, "No latency: no request was answered");
    }
    let from = if report.load == "open" { "when it was due" } else { "when the connection was free" };
    writeln!(
        out,
        "Latency of a request, from {from} to the end of its reply: mean {}",
        time(report.latency.mean_ns as u64)
    )?;
    let longest = report.latency.max_ns.max(1) as f64;
    for (percentile, value) in &report.latency.percentiles {
        let bar = "▇".repeat((*value as f64 / longest * BAR_WIDTH as f64).round() as usize);
        let name = match percentile {
            p if *p == 0.0 => "min".to_string(),
            p if *p == 100.0 => "max".to_string(),
            p => format!("p{p}"),
        };
        writeln!(out, "{}", format!("  {name:<7}{:>9}  {bar}", time(*value)).trim_end())?;
    }
    Ok(())
}

fn write_tls(tls: &TlsOfRun, out: &mut String) -> std::fmt::Result {
    write!(out, "TLS        {} full handshakes, {} resumed", tls.full, tls.resumed)?;
    let times = &tls.handshake.histogram;
    if !times.is_empty() {
        let at = |quantile| time(times.value_at_quantile(quantile));
        write!(out, ": p50 {}, p99 {}, max {}", at(0.5), at(0.99), time(times.max()))?;
    }
    writeln!(out)?;
    for (agreed, count) in &tls.agreed {
        writeln!(out, "           {agreed} × {count}")?;
    }
    if !tls.verified {
        writeln!(out, "           certificates were not verified (--insecure)")?;
    }
    Ok(())
}
