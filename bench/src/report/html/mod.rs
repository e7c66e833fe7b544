//! Runs as one HTML page: latency by percentile, throughput, latency and failures over time, and every figure side by side.
//!
//! The page is whole: it loads nothing, runs nothing, and says so to the browser in a content security policy. What a place of a chart holds
//! is told by pointing at it.

pub mod bars;
pub mod chart;
mod table;

use std::fmt::Write;

use self::chart::{Axis, COLOURS, Chart, Line, Note};
use super::json::{Report, SecondOfRun};
use super::{escape, time};
use crate::tally;

/// Runs on one page: as many as its charts have colours.
pub const RUNS_MAX: usize = COLOURS;
/// Points of one line over time. Longer runs are drawn in steps of several seconds.
const STEPS_MAX: usize = 120;
/// Points of one line of percentiles.
const PERCENTILE_POINTS: usize = 160;

/// A run and its name on the page.
#[derive(Clone, Debug)]
pub struct Run {
    /// In legends and tables.
    pub name: String,
    /// Its figures.
    pub report: Report,
}

/// The page. The first run is what the others are compared with.
pub fn page(runs: &[Run]) -> String {
    let title = match runs {
        [run] => run.report.target.clone(),
        _ => format!("{} runs compared", runs.len()),
    };
    let mut out = begin(
        &format!("Load: {title}"),
        "Latencies count from when a request was due (closed loop: from when its connection was free) to the end of its reply.",
    );
    for run in runs {
        for doubt in &run.report.generator.doubts {
            let name = if runs.len() > 1 { format!("{}: ", run.name) } else { String::new() };
            let _ = writeln!(out, "<section class=\"warning\">{}{}</section>", escape(&name), escape(doubt));
        }
    }
    section(
        &mut out,
        "Latency by percentile",
        "Both axes are logarithmic: each mark to the right is ten times rarer.",
        &percentiles(runs),
    );
    let steps = Steps::of(runs);
    let per = steps.said();
    let cut: Vec<Vec<Step>> = runs.iter().map(|run| steps.cut(run)).collect();
    section(
        &mut out,
        "Throughput",
        &format!("Requests per second that ended in {per}."),
        &(legend(runs, false) + &throughput(runs, &steps, &cut).draw()),
    );
    section(
        &mut out,
        "Latency over time",
        &format!("p99 and p50 of the requests that ended in {per}."),
        &(legend(runs, true) + &latency(runs, &steps, &cut).draw()),
    );
    let failures = if runs.iter().any(|run| run.report.seconds.iter().any(|second| second.errors > 0)) {
        legend(runs, false) + &failures(runs, &steps, &cut).draw()
    } else {
        "<p>No request failed.</p>".to_string()
    };
    section(&mut out, "Failures", &format!("Requests per second that failed in {per}."), &failures);
    let compared = if runs.len() > 1 { "Small figures: the change against the first run." } else { "" };
    section(&mut out, "Figures", compared, &table::table(runs));
    out.push_str(END);
    out
}

/// The end of every page.
pub const END: &str = "</main>\n</body>\n</html>\n";

/// The beginning of every page: it loads nothing and runs nothing.
pub fn begin(title: &str, said: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>\n{1}</style>\n</head>\n\
         <body>\n<main>\n<h1>{0}</h1>\n<p class=\"quiet\">ringway-load {2}. {3}</p>\n",
        escape(title),
        include_str!("style.css"),
        env!("CARGO_PKG_VERSION"),
        escape(said)
    )
}

/// A part of a page; `body` is HTML.
pub fn section(out: &mut String, title: &str, said: &str, body: &str) {
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p class=\"quiet\">{}</p>\n{body}</section>",
        escape(title),
        escape(said)
    );
}

fn legend(runs: &[Run], two_lines: bool) -> String {
    let mut out = String::new();
    for (n, run) in runs.iter().enumerate() {
        let name = if runs.len() > 1 { escape(&run.name) } else { String::new() };
        for (key, figure) in if two_lines { &[("", " p99"), (" dashed", " p50")][..] } else { &[("", "")] } {
            let text = format!("{name}{figure}");
            if !text.is_empty() {
                let _ = write!(out, "<li><span class=\"key{key} c{n}\"></span>{}</li>", text.trim());
            }
        }
    }
    if out.is_empty() { out } else { format!("<ul class=\"legend\">{out}</ul>\n") }
}

/// Where a percentile is on the horizontal axis: how many nines it has.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

/// A chart of latency by percentile, with its legend.
pub fn percentiles(runs: &[Run]) -> String {
    legend(runs, false) + &percentile_chart(runs).draw()
}

fn percentile_chart(runs: &[Run]) -> Chart<'_> {
    // A run of n requests says nothing about what is rarer than one in n.
    let ends = runs.iter().map(|run| (run.report.latency.histogram.len().max(10) as f64).log10());
    let end = ends.clone().fold(1.0, f64::max);
    let at = |run: &Run, nines: f64| run.report.latency.histogram.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64;
    let mut lines = Vec::new();
    let (mut least, mut most) = (f64::MAX, 0f64);
    for (colour, (run, end)) in runs.iter().zip(ends).enumerate() {
        if run.report.latency.histogram.is_empty() {
            continue;
        }
        let points: Vec<(f64, f64)> = (0..=PERCENTILE_POINTS)
            .map(|n| n as f64 / PERCENTILE_POINTS as f64 * end)
            .map(|nines| (nines, at(run, nines)))
            .collect();
        least = points.iter().map(|p| p.1).fold(least, f64::min);
        most = points.iter().map(|p| p.1).fold(most, f64::max);
        lines.push(Line { colour, dashed: false, points });
    }
    let marks = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 99.9999, 99.99999];
    let marks: Vec<f64> = marks.into_iter().filter(|p| nines(*p) <= end).collect();
    let notes = marks.iter().enumerate().map(|(n, p)| {
        let middle = |other: Option<&f64>, edge: f64| other.map_or(edge, |q| (nines(*p) + nines(*q)) / 2.0);
        let from = middle(n.checked_sub(1).and_then(|n| marks.get(n)), 0.0);
        let to = middle(marks.get(n + 1), end);
        let values = runs.iter().map(|run| (run, time(run.report.latency.histogram.value_at_percentile(*p))));
        Note { from, to, text: said(&format!("p{p}"), values) }
    });
    let ticks = marks.iter().filter(|p| [0.0, 50.0].contains(*p) || (nines(**p).fract() + 1e-9).fract() < 1e-6);
    Chart {
        label: "Latency by percentile",
        x: Axis::with_ticks(0.0, end, ticks.map(|p| (nines(*p), format!("p{p}"))).collect()),
        y: Axis::log(least.min(most), most, |nanos| time(nanos as u64)),
        notes: notes.collect(),
        lines,
    }
}

/// How seconds are put together so that a long run fits into a chart.
struct Steps {
    /// Seconds in one of them.
    width: usize,
    count: usize,
}

/// Some seconds of a run.
#[derive(Clone, Copy, Default)]
struct Step {
    requests: u64,
    errors: u64,
    p50_ns: u64,
    p99_ns: u64,
}

impl Steps {
    fn of(runs: &[Run]) -> Steps {
        let seconds =
            runs.iter().filter_map(|run| run.report.seconds.last()).map(|s| s.second as usize + 1).max().unwrap_or(1);
        let width = seconds.div_ceil(STEPS_MAX);
        Steps { width, count: seconds.div_ceil(width) }
    }

    fn cut(&self, run: &Run) -> Vec<Step> {
        let mut steps = vec![Step::default(); self.count];
        for seconds in run.report.seconds.chunk_by(|a, b| self.step(a) == self.step(b)) {
            let step = &mut steps[self.step(&seconds[0])];
            step.requests = seconds.iter().fold(0, |sum, second| second.requests.saturating_add(sum));
            step.errors = seconds.iter().fold(0, |sum, second| second.errors.saturating_add(sum));
            (step.p50_ns, step.p99_ns) = match seconds {
                [second] => (second.p50_ns, second.p99_ns),
                _ => {
                    let mut sum = tally::histogram();
                    for second in seconds {
                        // Only a file that another program wrote has values that do not fit.
                        let _ = sum.add(second.latency.unpack());
                    }
                    (sum.value_at_quantile(0.5), sum.value_at_quantile(0.99))
                }
            };
        }
        steps
    }

    fn step(&self, second: &SecondOfRun) -> usize {
        second.second as usize / self.width
    }

    /// Steps that lie in the time that was counted; what ended later is not throughput.
    fn whole(&self, run: &Run) -> usize {
        ((run.report.duration_s + 1e-6) as usize / self.width).clamp(1, self.count)
    }

    /// Steps until its last request had ended.
    fn all(&self, run: &Run) -> usize {
        run.report.seconds.last().map_or(0, |second| self.step(second) + 1)
    }

    fn middle(&self, step: usize) -> f64 {
        (step as f64 + 0.5) * self.width as f64
    }

    fn said(&self) -> String {
        if self.width == 1 { "each second".into() } else { format!("each step of {} seconds", self.width) }
    }

    fn axis(&self) -> Axis {
        let end = (self.count * self.width) as f64;
        let step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].into_iter().find(|s| end / *s as f64 <= 10.0);
        let step = step.unwrap_or((end / 10.0).ceil() as usize);
        let ticks = (0..=(end as usize) / step).map(|n| n * step).map(|s| (s as f64, format!("{s} s")));
        Axis::with_ticks(0.0, end, ticks.collect())
    }

    fn chart<'a>(&self, label: &'a str, y: Axis, lines: Vec<Line>, notes: impl Fn(usize) -> String) -> Chart<'a> {
        let width = self.width as f64;
        let notes =
            (0..self.count).map(|n| Note { from: n as f64 * width, to: (n + 1) as f64 * width, text: notes(n) });
        Chart { label, x: self.axis(), y, lines, notes: notes.collect() }
    }
}

fn throughput<'a>(runs: &[Run], steps: &Steps, cut: &[Vec<Step>]) -> Chart<'a> {
    rate_chart("Requests per second over time", runs, steps, cut, |step| step.requests, |run| steps.whole(run))
}

fn failures<'a>(runs: &[Run], steps: &Steps, cut: &[Vec<Step>]) -> Chart<'a> {
    rate_chart("Failed requests per second over time", runs, steps, cut, |step| step.errors, |run| steps.all(run))
}

fn rate_chart<'a>(
    label: &'a str,
    runs: &[Run],
    steps: &Steps,
    cut: &[Vec<Step>],
    count: impl Fn(&Step) -> u64,
    drawn: impl Fn(&Run) -> usize,
) -> Chart<'a> {
    let rates: Vec<Vec<f64>> = runs
        .iter()
        .zip(cut)
        .map(|(run, all)| {
            // The last of a run that was cut short may be a part of a second.
            all.iter().take(drawn(run)).map(|step| count(step) as f64 / steps.width as f64).collect()
        })
        .collect();
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    let lines = rates.iter().enumerate().map(|(colour, rates)| Line {
        colour,
        dashed: false,
        points: rates.iter().enumerate().map(|(n, rate)| (steps.middle(n), *rate)).collect(),
    });
    let y = Axis::from_zero(most, |rate| format!("{rate}"));
    steps.chart(label, y, lines.collect(), |n| {
        let values = runs.iter().zip(&rates).filter_map(|(run, rates)| Some((run, format!("{:.0}/s", rates.get(n)?))));
        said(&format!("{} s", n * steps.width), values)
    })
}

fn latency<'a>(runs: &[Run], steps: &Steps, cut: &[Vec<Step>]) -> Chart<'a> {
    let mut lines = Vec::new();
    let (mut least, mut most) = (f64::MAX, 0f64);
    for (colour, all) in cut.iter().enumerate() {
        for (dashed, value) in [(false, (|step| step.p99_ns) as fn(&Step) -> u64), (true, |step| step.p50_ns)] {
            // A second without a request has no latency.
            let points: Vec<(f64, f64)> = all
                .iter()
                .enumerate()
                .filter(|(_, step)| value(step) > 0)
                .map(|(n, step)| (steps.middle(n), value(step) as f64))
                .collect();
            least = points.iter().map(|p| p.1).fold(least, f64::min);
            most = points.iter().map(|p| p.1).fold(most, f64::max);
            lines.push(Line { colour, dashed, points });
        }
    }
    let y = Axis::log(least.min(most), most, |nanos| time(nanos as u64));
    steps.chart("Latency over time, p99 and p50", y, lines, |n| {
        let values = runs.iter().zip(cut).filter_map(|(run, all)| {
            let step = all.get(n).filter(|step| step.p99_ns > 0)?;
            Some((run, format!("p99 {}, p50 {}", time(step.p99_ns), time(step.p50_ns))))
        });
        said(&format!("{} s", n * steps.width), values)
    })
}

fn said<'a>(place: &str, values: impl Iterator<Item = (&'a Run, String)>) -> String {
    values.fold(place.to_string(), |text, (run, value)| format!("{text}\n{}: {value}", run.name))
}
