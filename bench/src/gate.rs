//! `--fail-if` and `--baseline`: turns a run into an exit code.

use std::fmt;
use std::str::FromStr;

use crate::report::ci::Ending;
use crate::report::json::Report;
use crate::report::time;

/// Lateness beyond this part of a latency's bound decides nothing against the target.
const LATENESS_OF_BOUND_MAX: f64 = 0.01;

/// A figure of a run that conditions can speak of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// A percentile of latency, 0 to 100.
    Percentile(f64),
    /// The mean latency.
    Mean,
    /// The longest latency.
    Max,
    /// Failed requests as a part of all.
    Errors,
    /// Requests per second.
    Rate,
    /// Requests that were due and never sent.
    Unsent,
    /// CPU of the server's process per request.
    Cpu,
}

/// How a figure compares with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Greater.
    Above,
    /// Less.
    Below,
}

/// A condition under which a run has failed: `p99>5ms`, `errors>0.1%`, `rate<1000`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Of what.
    pub figure: Figure,
    /// Which way.
    pub comparison: Comparison,
    /// Nanoseconds, a part of 1, requests per second, or a count.
    pub bound: f64,
}

/// How much worse than in the baseline a figure may be: `p99=5%`.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// Of what.
    pub figure: Figure,
    /// As a part of 1.
    pub part: f64,
}

impl Figure {
    /// Its value in a report: nanoseconds, a part of 1, requests per second or a count. `None` where the run does not know it: where no request has a
    /// latency, and where nobody watched the server.
    pub fn of(self, report: &Report) -> Option<f64> {
        let has_latency = !report.latency.histogram.is_empty();
        match self {
            Figure::Percentile(p) => has_latency.then(|| report.percentile(p)),
            Figure::Mean => has_latency.then_some(report.latency.mean_ns),
            Figure::Max => has_latency.then_some(report.latency.max_ns as f64),
            Figure::Errors => Some(report.errors.share),
            Figure::Rate => Some(report.rate_of_good()),
            Figure::Unsent => Some(report.unsent as f64),
            Figure::Cpu => report.server.as_ref().map(|server| server.cpu_us_per_request * 1e3),
        }
    }

    /// A latency.
    pub fn is_latency(self) -> bool {
        matches!(self, Figure::Percentile(_) | Figure::Mean | Figure::Max)
    }

    /// A generator that was late or busy spoils it.
    pub fn needs_fit_generator(self) -> bool {
        self.is_latency() || self == Figure::Rate
    }

    fn is_time(self) -> bool {
        self.is_latency() || self == Figure::Cpu
    }

    /// A greater value is the better one.
    pub fn more_is_better(self) -> bool {
        self == Figure::Rate
    }

    /// For people.
    pub fn show(self, value: f64) -> String {
        match self {
            figure if figure.is_time() => time(value as u64),
            Figure::Errors => format!("{:.3} %", value * 100.0),
            Figure::Rate => format!("{value:.1}/s"),
            _ => format!("{value}"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Percentile(p) => write!(f, "p{p}"),
            Figure::Mean => f.write_str("mean"),
            Figure::Max => f.write_str("max"),
            Figure::Errors => f.write_str("errors"),
            Figure::Rate => f.write_str("rate"),
            Figure::Unsent => f.write_str("unsent"),
            Figure::Cpu => f.write_str("cpu"),
        }
    }
}

impl FromStr for Figure {
    type Err = String;
    fn from_str(text: &str) -> Result<Figure, String> {
        match text {
            "mean" => Ok(Figure::Mean),
            "max" => Ok(Figure::Max),
            "errors" => Ok(Figure::Errors),
            "rate" => Ok(Figure::Rate),
            "unsent" => Ok(Figure::Unsent),
            "cpu" => Ok(Figure::Cpu),
            _ => {
                let percent = text.strip_prefix('p').and_then(|p| p.parse::<f64>().ok());
                percent.filter(|p| (0.0..=100.0).contains(p)).map(Figure::Percentile).ok_or_else(|| {
                    format!("`{text}` is no figure: p50, p99, p99.9, …, mean, max, errors, rate, unsent or cpu")
                })
            }
        }
    }
}

impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Condition, String> {
        let at =
            text.find(['>', '<']).ok_or_else(|| format!("`{text}` is no condition: write p99>5ms or rate<1000"))?;
        let comparison = if text.as_bytes()[at] == b'>' { Comparison::Above } else { Comparison::Below };
        let figure: Figure = text[..at].trim().parse()?;
        let bound = text[at + 1..].trim();
        if bound.starts_with(['=', '<', '>']) {
            return Err(format!("`{text}`: compare by > or <, as in p99>5ms"));
        }
        let bound = match (figure, bound.strip_suffix('%')) {
            (figure, _) if figure.is_time() => duration(bound)?.as_nanos() as f64,
            (Figure::Errors, Some(percent)) => number(percent)? / 100.0,
            (Figure::Errors, None) => return Err(format!("`{text}`: a part of all requests: write errors>0.1%")),
            (_, Some(_)) => return Err(format!("`{text}`: {figure} is no percentage: write {figure}>1000")),
            (_, None) => number(bound)?,
        };
        Ok(Condition { figure, comparison, bound })
    }
}

impl FromStr for Allowance {
    type Err = String;
    fn from_str(text: &str) -> Result<Allowance, String> {
        let wrong = || format!("`{text}` is no allowance: write p99=5%");
        let (figure, part) = text.split_once('=').ok_or_else(wrong)?;
        let part = number(part.trim().strip_suffix('%').ok_or_else(wrong)?)? / 100.0;
        Ok(Allowance { figure: figure.trim().parse()?, part })
    }
}

impl Condition {
    /// The figure is known and within its bound, whoever measured it.
    pub fn holds(&self, report: &Report) -> bool {
        self.figure.of(report).is_some_and(|value| !self.is_beyond(value))
    }

    fn is_beyond(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.bound,
            Comparison::Below => value < self.bound,
        }
    }

    /// Whether the run keeps clear of it.
    pub fn judge(&self, report: &Report) -> Ending {
        let figure = self.figure;
        let Some(value) = figure.of(report) else { return unknown(figure, report) };
        let failed = self.is_beyond(value);
        let word = if self.comparison == Comparison::Above { "above" } else { "below" };
        let said = || format!("{figure} is {}: {word} {}", figure.show(value), figure.show(self.bound));
        ending(figure, report, failed.then(said), self.comparison == Comparison::Above, value, self.bound)
    }
}

impl Allowance {
    /// Whether the run is no worse than the baseline by more than is allowed.
    pub fn judge(&self, report: &Report, baseline: &Report) -> Ending {
        let figure = self.figure;
        let Some(before) = figure.of(baseline) else {
            return Ending::Open(format!("{figure} is not known of the baseline"));
        };
        let Some(now) = figure.of(report) else { return unknown(figure, report) };
        if figure.needs_fit_generator() && baseline.generator.unfit {
            return Ending::Open("the baseline's generator was not fit to measure it".into());
        }
        let worse = if figure.more_is_better() { before - now } else { now - before };
        let percent = self.part * 100.0;
        let said = || {
            let (now, before) = (figure.show(now), figure.show(before));
            format!("{figure} is {now}, and was {before} in the baseline: more than {percent} % worse")
        };
        let failed = worse > before * self.part;
        ending(figure, report, failed.then(said), !figure.more_is_better(), now, before * (1.0 + self.part))
    }
}

/// A figure that the run does not know. Where requests were due, none was answered, which no bound allows.
fn unknown(figure: Figure, report: &Report) -> Ending {
    if figure == Figure::Cpu {
        Ending::Open("cpu is not known: the server's process ended, or no request did".into())
    } else if report.requests == 0 && report.unsent == 0 {
        Ending::Open(format!("{figure} is not known: nothing was measured"))
    } else {
        Ending::Failed(format!("{figure} is not known: no request was answered"))
    }
}

/// A failure counts as far as the generator was fit to tell.
fn ending(
    figure: Figure,
    report: &Report,
    failure: Option<String>,
    is_ceiling: bool,
    value: f64,
    bound: f64,
) -> Ending {
    if report.requests == 0 && report.unsent == 0 {
        return Ending::Open("nothing was measured".into());
    }
    if report.generator.unfit && figure.needs_fit_generator() {
        return Ending::Open("the generator was not fit to measure times (see the warnings)".into());
    }
    let Some(failure) = failure else { return Ending::Held };
    // A latency contains how late its request was sent.
    let late = if report.load == "open" { report.generator.lateness_p999_ns as f64 } else { 0.0 };
    if figure.is_latency() && is_ceiling && late > bound * LATENESS_OF_BOUND_MAX && value - late <= bound {
        let late = time(late as u64);
        return Ending::Open(format!("{failure}, but by no more than requests were sent late ({late}, p99.9)"));
    }
    Ending::Failed(failure)
}

/// `250us`, `5ms`, `1.5s`, `2m`.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.find(|c: char| c.is_alphabetic() || c == 'µ').unwrap_or(text.len());
    let unit = match &text[digits..] {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return Err(format!("`{text}` is no time: write 250us, 5ms, 1.5s, 2m or 1h")),
    };
    let value = number(text[..digits].trim())? * unit;
    // A year: sums of such times stay far from any overflow.
    if value > 365.0 * 86_400e9 {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(std::time::Duration::from_nanos(value as u64))
}

/// A number that is not negative.
pub fn number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    number.ok_or_else(|| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let condition = |figure, comparison, bound| Ok(Condition { figure, comparison, bound });
        for (text, expected) in [
            ("p99>5ms", condition(Figure::Percentile(99.0), Comparison::Above, 5e6)),
            ("p99.9 > 250us", condition(Figure::Percentile(99.9), Comparison::Above, 250e3)),
            ("errors>0.1%", condition(Figure::Errors, Comparison::Above, 0.001)),
            ("rate<1000", condition(Figure::Rate, Comparison::Below, 1000.0)),
        ] {
            assert_eq!(text.parse::<Condition>(), expected, "{text}");
        }
        for (text, error) in [
            ("p99", "no condition"),
            ("p101>1ms", "no figure"),
            ("p99>5", "no time"),
            ("errors>x%", "no number"),
            ("errors>5", "write errors>0.1%"),
            ("rate<50%", "rate is no percentage"),
            ("p99>=5ms", "compare by > or <"),
            ("cpu>5", "no time"),
            ("mean>-1ms", "no number"),
        ] {
            let said = text.parse::<Condition>().unwrap_err();
            assert!(said.contains(error), "{text}: {said}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, nanos) in [("250us", 250_000), ("250µs", 250_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(duration(text).map(|d| d.as_nanos()), Ok(nanos), "{text}");
        }
        for text in ["", "5", "ms", "5 parsecs", "1e40s", "-1s", "nans"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn allowances_are_read() {
        assert_eq!("p99=5%".parse(), Ok(Allowance { figure: Figure::Percentile(99.0), part: 0.05 }));
        assert!("p99=5".parse::<Allowance>().is_err() && "p99".parse::<Allowance>().is_err());
    }
}
