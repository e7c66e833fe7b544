//! The comparison as Markdown.

use std::fmt::Write;

use super::Comparison;
use super::evidence::{PROOF, cpu_ratio, doubts, failed, find, is_proven};
use super::rounds::{Cell, Sample};
use super::trials::Trial;
use super::verdict::Verdict;
use crate::idle::IdleRound;
use crate::lifetime::MemoryRound;
use crate::report::time;
use crate::statistics::{self, Spread};
use crate::trial::Round;

/// A 99.9th percentile of fewer requests is a story of a few.
const P999_REQUESTS_MIN: u64 = 100_000;
/// The bars where there are some, one table, who left what out, and what spoke against the figures.
pub fn markdown(comparison: &Comparison, trials: &[Trial]) -> String {
    let mut out = format!("{}\n\n", setting(comparison));
    verdict_table(&mut out, comparison);
    out += &figures(comparison);
    out.push_str("\nA ratio has the interval of 95 % and how likely it is chance (permutation test over the rounds). System calls and context switches are per request.\n");
    for trial in trials {
        let _ = writeln!(out, "- {}: {}.", trial.name(), trial.describe());
    }
    for remark in remarks(comparison) {
        let _ = writeln!(out, "\n{remark}");
    }
    out
}

/// How and where it was measured.
pub fn setting(comparison: &Comparison) -> String {
    let machine = &comparison.machine;
    format!(
        "Medians of {} rounds of {} (lowest–highest), a fresh process each, contenders in turn. {}, {}; {}; {}.",
        comparison.rounds, comparison.duration, machine.kernel, machine.processor, machine.cores, machine.network
    )
}

/// All tables of figures, with an empty line between two.
pub fn figures(comparison: &Comparison) -> String {
    let mut out = String::new();
    let reference = &comparison.reference;
    let head = format!(
        "| Workload | Server | CPU µs per request | CPU of {reference} ÷ its | requests/s | p50 | p99 | p99.9 | memory fresh · peak, MiB | ready, ms | system calls | context switches |"
    );
    section(&mut out, comparison, &head, |cell| load_line(comparison, cell));
    idle_table(&mut out, comparison);
    lifetime_table(&mut out, comparison);
    out
}

/// What is not the same work, who runs and who is missing, and what speaks against the figures.
pub fn remarks(comparison: &Comparison) -> Vec<String> {
    let lacking = comparison.contenders.iter().filter(|contender| !contender.lacks.is_empty() && !contender.access_log);
    let mut remarks: Vec<String> =
        lacking.map(|contender| format!("{} leaves out: {}.", contender.name, contender.lacks)).collect();
    let versioned =
        comparison.contenders.iter().filter(|contender| !contender.version.is_empty() && !contender.access_log);
    let versions: Vec<String> =
        versioned.map(|contender| format!("{} ({})", contender.name, contender.version)).collect();
    if !versions.is_empty() {
        remarks.push(format!("Versions: {}.", versions.join("; ")));
    }
    remarks.extend(comparison.missing.iter().map(|missing| format!("Left out: {missing}.")));
    let notes = comparison.notes.iter().cloned().chain(doubts(comparison));
    remarks.extend(notes.map(|note| format!("Note: {note}")));
    remarks
}

/// How many bars are met.
pub fn score(verdicts: &[Verdict]) -> String {
    let count = |word: &str| verdicts.iter().filter(|verdict| verdict.outcome.word() == word).count();
    format!(
        "{} of {} bars are met, {} missed, {} unsure, {} open",
        count("met"),
        verdicts.len(),
        count("missed"),
        count("unsure"),
        count("open")
    )
}

/// The bars of the race.
fn verdict_table(out: &mut String, comparison: &Comparison) {
    let verdicts = &comparison.verdicts;
    if verdicts.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "**{}.**\n\n| Workload | Bar | Measured | Ratio | Verdict | With access logs |\n|---|---|---|---|---|---|",
        score(verdicts)
    );
    for verdict in verdicts {
        let logged = verdict.logged.as_ref().map_or("–".to_string(), |judged| {
            format!(
                "{}, {}",
                judged.ratio.map_or(String::new(), |ratio| format!("{:.2}", ratio.median)),
                judged.outcome
            )
        });
        let unfit = if verdict.unfit { " (late generator)" } else { "" };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | **{}**{unfit} | {logged} |",
            verdict.workload,
            verdict.bar,
            verdict.measured,
            verdict.ratio.map_or("–".to_string(), |ratio| interval(&ratio)),
            verdict.outcome
        );
    }
    out.push('\n');
}

fn load_line(comparison: &Comparison, cell: &Cell) -> Option<String> {
    cell.loads().next()?;
    let of = |value: fn(&Round) -> f64| statistics::spread(&cell.loads().map(value).collect::<Vec<_>>());
    let cpu = of(|round| round.cpu_us_per_request);
    let memory = |value: fn(&Round) -> f64| of(value).median / f64::from(1 << 20);
    let percentile = |value: fn(&Round) -> f64| time(of(value).median as u64);
    let p999 = if cell.loads().all(|round| round.requests >= P999_REQUESTS_MIN) {
        percentile(|round| round.p999_ns)
    } else {
        "–".to_string()
    };
    let calls = cell.loads().find_map(|round| round.system_calls_per_request);
    Some(format!(
        "{} | {} | {:.0} | {} | {} | {p999} | {:.1} · {:.1} | {:.1} | {} | {:.2}",
        digits(cpu),
        ratio(comparison, cell),
        of(|round| round.rate).median,
        percentile(|round| round.p50_ns),
        percentile(|round| round.p99_ns),
        memory(|round| round.memory_fresh as f64),
        memory(|round| round.memory_peak as f64),
        of(|round| round.ready_ms).median,
        calls.map_or("–".to_string(), |calls| format!("{calls:.2}")),
        of(|round| round.switches_per_request).median
    ))
}

/// What open and silent connections cost.
fn idle_table(out: &mut String, comparison: &Comparison) {
    section(
        out,
        comparison,
        "| Workload | Server | CPU, % of a processor | wake-ups/s | memory per connection, bytes | memory, MiB |",
        |cell| {
            let samples = &cell.rounds;
            let of = |value: fn(&IdleRound) -> f64| {
                median(samples, |sample| if let Sample::Idle(round) = sample { Some(value(round)) } else { None })
            };
            Some(format!(
                "{:.3} | {:.1} | {:.0} | {:.1}",
                of(|round| round.cpu_share)? * 100.0,
                of(|round| round.wakeups_per_s)?,
                of(|round| round.memory_per_connection)?,
                of(|round| round.memory as f64)? / f64::from(1 << 20)
            ))
        },
    );
}

/// How soon they serve, and what they hold.
fn lifetime_table(out: &mut String, comparison: &Comparison) {
    section(out, comparison, "| Workload | Server | memory served · loaded · rested, MiB |", |cell| {
        let samples = &cell.rounds;
        let of = |value: fn(&MemoryRound) -> u64| {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            median(samples, |sample| if let Sample::Memory(round) = sample { Some(mib(value(round))) } else { None })
        };
        let (served, loaded) = (of(|round| round.memory_served)?, of(|round| round.memory_loaded)?);
        Some(format!("{served:.1} · {loaded:.1} · {:.1}", of(|round| round.memory_rested)?))
    });
    section(out, comparison, "| Workload | Server | first reply after, ms |", |cell| {
        let samples = &cell.rounds;
        let served = |sample: &Sample| if let Sample::Start(round) = sample { Some(round.served_ms) } else { None };
        let times: Vec<f64> = samples.iter().filter_map(served).collect();
        (!times.is_empty()).then(|| digits(statistics::spread(&times)))
    });
}

/// A table of the cells that have such a line; nothing where none has.
fn section(out: &mut String, comparison: &Comparison, head: &str, line: impl Fn(&Cell) -> Option<String>) {
    let lines: String = (comparison.results.iter())
        .filter_map(|cell| Some(format!("| {} | {} | {} |\n", cell.workload, cell.contender, line(cell)?)))
        .collect();
    if !lines.is_empty() {
        let before = if out.is_empty() { "" } else { "\n" };
        let _ = write!(out, "{before}{head}\n|{}\n{lines}", "---|".repeat(head.matches('|').count() - 1));
    }
}

fn median(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = samples.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| statistics::spread(&values).median)
}

fn digits(spread: Spread) -> String {
    let digits = if spread.median < 100.0 { 2 } else { 0 };
    format!("**{:.digits$}** ({:.digits$}–{:.digits$})", spread.median, spread.low, spread.high)
}

/// CPU of the reference in parts of this contender's, or why there is none.
fn ratio(comparison: &Comparison, cell: &Cell) -> String {
    if cell.contender == comparison.reference {
        return "1".into();
    }
    let Some(reference) = find(comparison, &cell.workload, &comparison.reference) else { return "–".into() };
    if failed(cell) || failed(reference) {
        return "none: requests failed".into();
    }
    let sides = [&cell.contender, &comparison.reference];
    if comparison.contenders.iter().any(|of| sides.contains(&&of.name) && !is_proven(comparison, of)) {
        return format!("withheld: not proven at {}", PROOF.0);
    }
    match cpu_ratio(reference, cell) {
        None => "–".into(),
        Some(ratio) => format!("{}, {}", interval(&ratio), chance(ratio.p_differs)),
    }
}

/// A ratio with where it may lie.
pub fn interval(ratio: &statistics::Ratio) -> String {
    format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.low, ratio.high)
}

fn chance(p: f64) -> String {
    if p < 0.001 { "p < 0.001".into() } else { format!("p = {p:.3}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_engine::io::Backend;

    use super::*;
    use crate::compare::{Described, Machine};
    use crate::report::json::Report;
    use crate::run::Measured;
    use crate::scenario::Scenario;
    use crate::tally::Tally;

    fn cell(contender: &str, cpu: &[f64]) -> Cell {
        let scenario = Scenario { closed: Some(true), ..Scenario::of("http://127.0.0.1:1/").unwrap() };
        let measured = Measured {
            total: Tally::new(1),
            seconds: Vec::new(),
            duration: Duration::ZERO,
            unsent: 0,
            own_cpu: 0.0,
            own_cpu_time: Duration::ZERO,
            backend: Backend::Epoll,
        };
        let report = Report::new(&scenario.plan().unwrap(), &measured);
        let round = |cpu: &f64| Round {
            rate: 1000.0,
            requests: 1000,
            cpu_us_per_request: *cpu,
            p50_ns: 1e6,
            p99_ns: 2e6,
            p999_ns: 3e6,
            switches_per_request: 0.5,
            system_calls_per_request: None,
            memory_fresh: 3 << 20,
            memory_peak: 5 << 20,
            ready_ms: 4.0,
            errors: 0.0,
            report: report.clone(),
        };
        let rounds = cpu.iter().map(|cpu| Sample::Load(Box::new(round(cpu)))).collect();
        Cell { workload: PROOF.0.into(), contender: contender.into(), rounds }
    }

    /// A row of these cells.
    fn row(who: &str, reference: &str, results: Vec<Cell>) -> String {
        let described = |cell: &Cell| Described {
            name: cell.contender.clone(),
            version: String::new(),
            lacks: "",
            bare: cell.contender.starts_with("bare"),
            peer: cell.contender == "nginx",
            access_log: false,
        };
        let text = String::new;
        let comparison = Comparison {
            schema: "",
            machine: Machine { kernel: text(), processor: text(), cores: text(), network: text() },
            rounds: 3,
            duration: "1s".into(),
            reference: reference.into(),
            contenders: results.iter().map(described).collect(),
            missing: Vec::new(),
            results,
            verdicts: Vec::new(),
            notes: Vec::new(),
        };
        let table = markdown(&comparison, &[Trial::named(PROOF.0).unwrap()]);
        table.lines().find(|line| line.contains(&format!("| {who} |"))).unwrap().to_string()
    }

    #[test]
    fn a_bare_yardstick_has_to_prove_itself_beside_nginx() {
        let (ours, bare) = (|| cell("ours", &[8.0, 8.1, 7.9]), || cell("bare-epoll", &[6.0, 6.1, 5.9]));
        let shown = row("bare-epoll", "ours", vec![ours(), bare(), cell("nginx", &[8.9, 8.8, 9.0])]);
        assert!(shown.contains("| **6.00** (5.90–6.10) | 1.33 (1.33–1.34), p = 0.250 |"), "{shown}");
        assert!(shown.contains("| 1.00 ms | 2.00 ms | – | 3.0 · 5.0 | 4.0 | – | 0.50 |"), "{shown}");
        for others in [vec![cell("nginx", &[8.0, 8.0, 8.0])], vec![]] {
            for (who, reference) in [("bare-epoll", "ours"), ("ours", "bare-epoll")] {
                let shown = row(who, reference, [vec![ours(), bare()], others.clone()].concat());
                assert!(shown.contains("withheld: not proven at keepalive-64"), "{shown}");
            }
        }
    }
}
