//! The comparison as one HTML page: the bars of the race with their verdicts, CPU per request, latency, memory, and every figure.
//!
//! It is made of the parts of a run's page (`report/html`): whole, without scripts, readable on a phone.

use std::fmt::Write;

use super::bars::Measure;
use super::rounds::Cell;
use super::table;
use super::trials::Trial;
use super::verdict::{Outcome, Verdict};
use super::{Comparison, Described};
use crate::report::escape;
use crate::report::html::bars::{Bar, Bars};
use crate::report::html::chart::COLOURS;
use crate::report::html::{self, Run};
use crate::statistics;

/// What is drawn of a trial, where it measured that.
const DRAWN: [(Measure, &str); 6] = [
    (Measure::Cpu, "CPU of the server per request"),
    (Measure::ConnectionMemory, "Memory of each silent connection"),
    (Measure::WakeUps, "Wake-ups per second with silent connections"),
    (Measure::MemoryServed, "Memory after the first reply"),
    (Measure::MemoryRested, "Memory after a load and a rest"),
    (Measure::Served, "Time from the start to the first reply"),
];

/// The page.
pub fn page(comparison: &Comparison, trials: &[Trial]) -> String {
    let names: Vec<&str> = comparison.contenders.iter().map(|contender| &*contender.name).collect();
    let mut out =
        html::begin(&format!("{} beside others", names.first().unwrap_or(&"Servers")), &table::setting(comparison));
    if !comparison.verdicts.is_empty() {
        let said = "A bar beyond which ours is by no chance is missed; where it may be chance, nobody can say.";
        html::section(&mut out, &table::score(&comparison.verdicts), said, &verdicts(&comparison.verdicts));
    }
    for trial in trials {
        let cells: Vec<&Cell> = comparison.results.iter().filter(|cell| cell.workload == trial.name()).collect();
        let mut body = String::new();
        for (measure, title) in DRAWN {
            body += &bars(comparison, &cells, trial, measure, title);
        }
        body += &percentiles(comparison, &cells);
        if !body.is_empty() {
            html::section(&mut out, &trial.name(), &(trial.describe() + "."), &body);
        }
    }
    let said =
        "Medians. The interval of a ratio holds the true one with 95 %; p is how likely the difference is chance.";
    html::section(&mut out, "Figures", said, &figures(comparison));
    let remarks = table::remarks(comparison)
        .iter()
        .fold(String::new(), |out, remark| format!("{out}<p>{}</p>\n", escape(remark)));
    html::section(
        &mut out,
        "What to know",
        "What is not the same work, who is missing, and what speaks against the figures.",
        &remarks,
    );
    out.push_str(html::END);
    out
}

/// The bars of the race.
fn verdicts(verdicts: &[Verdict]) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table class=\"verdicts\">\n<thead><tr><th>Bar</th><th>Measured</th><th>Ratio</th><th>Verdict</th><th>With access logs</th></tr></thead>\n<tbody>\n",
    );
    let outcome =
        |outcome: &Outcome| format!("<span class=\"{}\">{}</span>", outcome.word(), escape(&outcome.to_string()));
    for verdict in verdicts {
        let unfit = if verdict.unfit { "<small>late generator</small>" } else { "" };
        let logged = verdict.logged.as_ref().map_or(String::new(), |judged| {
            outcome(&judged.outcome)
                + &judged.ratio.map_or(String::new(), |ratio| format!("<small>{:.2}</small>", ratio.median))
        });
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\"><b>{}</b><small>{}</small></th><td>{}</td><td class=\"ratio\">{}</td><td>{}{unfit}</td><td class=\"logged\">{logged}</td></tr>",
            escape(verdict.workload),
            escape(&verdict.bar),
            escape(&verdict.measured),
            verdict.ratio.map_or(String::new(), |ratio| table::interval(&ratio)),
            outcome(&verdict.outcome)
        );
    }
    out + "</tbody>\n</table></div>\n"
}

/// A measure of all who have it.
fn bars(comparison: &Comparison, cells: &[&Cell], trial: &Trial, measure: Measure, title: &str) -> String {
    let workload = trial.workload();
    let bar = |cell: &&Cell| {
        let values: Vec<f64> = cell.rounds.iter().filter_map(|sample| measure.of(sample, &workload)).collect();
        let (median, low, high) = statistics::interval(&values)?;
        Some(Bar {
            name: cell.contender.clone(),
            colour: colour(comparison, &cell.contender),
            value: median,
            interval: (low, high),
            text: format!("{} ({}–{})", measure.show(median), measure.show(low), measure.show(high)),
            short: measure.show(median),
        })
    };
    let bars: Vec<Bar> = cells.iter().filter_map(bar).collect();
    if bars.is_empty() {
        return String::new();
    }
    let label = format!("{title}, {}", trial.name());
    format!("<h3>{}</h3>\n{}", escape(title), Bars { label: &label, bars }.draw(|value| measure.show(value)))
}

/// Latency of those without access logs, as many as there are colours: of each the round whose p99 is the middle one.
fn percentiles(comparison: &Comparison, cells: &[&Cell]) -> String {
    let plain = |cell: &&&Cell| described(comparison, &cell.contender).is_some_and(|contender| !contender.access_log);
    let middle = |cell: &&Cell| {
        let mut rounds: Vec<_> = cell.loads().collect();
        rounds.sort_by(|a, b| a.p99_ns.total_cmp(&b.p99_ns));
        let round = rounds.get(rounds.len() / 2)?;
        Some(Run { name: cell.contender.clone(), report: round.report.clone() })
    };
    let runs: Vec<Run> = cells.iter().filter(plain).filter_map(middle).take(COLOURS).collect();
    if runs.is_empty() {
        return String::new();
    }
    format!("<h3>Latency by percentile</h3>\n{}", html::percentiles(&runs))
}

/// The tables of the Markdown, as they are.
fn figures(comparison: &Comparison) -> String {
    let mut out = String::new();
    for lines in table::figures(comparison).split("\n\n") {
        let mut rows = lines.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
        let cells = |row: &str, tag: &str| {
            let row = escape(row.trim_matches('|').trim()).replace("**", "");
            row.split(" | ").map(|cell| format!("<{tag}>{}</{tag}>", cell.trim())).collect::<String>()
        };
        let Some(head) = rows.next() else { continue };
        let body = rows.fold(String::new(), |out, row| format!("{out}<tr>{}</tr>\n", cells(row, "td")));
        let _ = write!(
            out,
            "<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n",
            cells(head, "th")
        );
    }
    out
}

fn described<'a>(comparison: &'a Comparison, name: &str) -> Option<&'a Described> {
    comparison.contenders.iter().find(|contender| contender.name == name)
}

/// The same on the whole page; one with an access log has that of the one without.
fn colour(comparison: &Comparison, name: &str) -> usize {
    let name = name.strip_suffix(super::contender::LOGGED).unwrap_or(name);
    let plain = comparison.contenders.iter().filter(|contender| !contender.access_log);
    plain.enumerate().find(|(_, contender)| contender.name == name).map_or(0, |(n, _)| n)
}
