//! What CI systems show: JUnit, and Markdown for a job's summary.

use std::fmt::Write;

use super::json::Report;
use super::{escape, time};

/// One check and what was wrong, if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition as the user wrote it.
    pub condition: String,
    /// Why it failed; `None` when it holds.
    pub failure: Option<String>,
}

/// JUnit XML: one test case a condition.
pub fn junit(report: &Report, verdicts: &[Verdict]) -> String {
    let failures = verdicts.iter().filter(|v| v.failure.is_some()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuite name=\"ringway-load\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{:.3}\">",
        verdicts.len(),
        report.duration_s
    );
    for verdict in verdicts {
        let name = escape(&verdict.condition);
        let class = escape(&report.target);
        match &verdict.failure {
            None => {
                let _ = writeln!(out, "  <testcase classname=\"{class}\" name=\"{name}\"/>");
            }
            Some(failure) => {
                let _ = writeln!(
                    out,
                    "  <testcase classname=\"{class}\" name=\"{name}\"><failure message=\"{}\"/></testcase>",
                    escape(failure)
                );
            }
        }
    }
    out.push_str("</testsuite>\n");
    out
}

/// Markdown with the figures and the checks.
pub fn markdown(report: &Report, verdicts: &[Verdict]) -> String {
    let mut out = format!("### Load on `{}`\n\n", report.target.replace('`', "'"));
    let p = |p: f64| time(report.percentile(p) as u64);
    let _ = writeln!(
        out,
        "| Requests | Rate | Failed | p50 | p90 | p99 | p99.9 | max |\n|---|---|---|---|---|---|---|---|"
    );
    let _ = writeln!(
        out,
        "| {} | {:.1}/s | {:.3} % | {} | {} | {} | {} | {} |",
        report.requests,
        report.rate,
        report.errors.share * 100.0,
        p(50.0),
        p(90.0),
        p(99.0),
        p(99.9),
        time(report.latency.max_ns)
    );
    if !verdicts.is_empty() {
        out.push('\n');
    }
    for verdict in verdicts {
        let _ = match &verdict.failure {
            None => writeln!(out, "- ✅ `{}`", verdict.condition),
            Some(failure) => writeln!(out, "- ❌ `{}`: {failure}", verdict.condition),
        };
    }
    for doubt in &report.generator.doubts {
        let _ = writeln!(out, "\n> ⚠️ {doubt}");
    }
    out
}
