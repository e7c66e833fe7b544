//! What CI systems show: JUnit, and Markdown for a job's summary.

use std::fmt::Write;

use super::json::Report;
use super::{escape, time};

/// One check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition as the user wrote it.
    pub condition: String,
    /// How it ended.
    pub ending: Ending,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It holds.
    Held,
    /// It does not, and why.
    Failed(String),
    /// Nothing can be said, and why.
    Open(String),
}

/// JUnit XML: one test case a condition.
pub fn junit(report: &Report, verdicts: &[Verdict]) -> String {
    let cases: Vec<_> = verdicts.iter().map(|v| (v.condition.as_str(), v.ending.clone())).collect();
    suite(&report.target, report.duration_s, &cases)
}

/// JUnit XML of named test cases.
pub fn suite(class: &str, seconds: f64, cases: &[(&str, Ending)]) -> String {
    let count = |wanted: fn(&Ending) -> bool| cases.iter().filter(|(_, ending)| wanted(ending)).count();
    let failures = count(|ending| matches!(ending, Ending::Failed(_)));
    let skipped = count(|ending| matches!(ending, Ending::Open(_)));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuite name=\"ringway-load\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        cases.len(),
    );
    let class = escape(class);
    for (name, ending) in cases {
        let case = format!("  <testcase classname=\"{class}\" name=\"{}\"", escape(name));
        let _ = match ending {
            Ending::Held => writeln!(out, "{case}/>"),
            Ending::Failed(why) => writeln!(out, "{case}><failure message=\"{}\"/></testcase>", escape(why)),
            Ending::Open(why) => writeln!(out, "{case}><skipped message=\"{}\"/></testcase>", escape(why)),
        };
    }
    out.push_str("</testsuite>\n");
    out
}

/// Markdown with the figures and the checks.
pub fn markdown(report: &Report, verdicts: &[Verdict]) -> String {
    let mut out = format!("### Load on `{}`\n\n", report.target.replace('`', "'"));
    let told = |nanos: u64| if report.latency.histogram.is_empty() { "–".to_string() } else { time(nanos) };
    let p = |p: f64| told(report.percentile(p) as u64);
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
        told(report.latency.max_ns)
    );
    if !verdicts.is_empty() {
        out.push('\n');
    }
    for verdict in verdicts {
        let _ = match &verdict.ending {
            Ending::Held => writeln!(out, "- ✅ `{}`", verdict.condition),
            Ending::Failed(why) => writeln!(out, "- ❌ `{}`: {why}", verdict.condition),
            Ending::Open(why) => writeln!(out, "- ⚠️ `{}`: {why}", verdict.condition),
        };
    }
    for doubt in &report.generator.doubts {
        let _ = writeln!(out, "\n> ⚠️ {doubt}");
    }
    out
}
