//! What is done with a report: conditions are judged, files written, an exit code found. The same for every command that makes one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::report::page;
use super::{INCONCLUSIVE, MET, MISSED, print};
use crate::gate::{Allowance, Condition, Figure};
use crate::report::ci::{self, Verdict};
use crate::report::json::Report;
use crate::report::{hdr, text};

#[derive(Args, Debug)]
pub(super) struct OutcomeArgs {
    /// How the result is written to standard output.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Exit with 1 if this holds: `p99>5ms`, `errors>0.1%`, `rate<1000`, `unsent>0`; may be repeated.
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// An earlier run (`--output json`) to compare with.
    #[arg(long, value_name = "RUN.json", requires = "max_regression")]
    baseline: Option<PathBuf>,
    /// How much worse than the baseline figures may be: `p99=5%,rate=3%`.
    #[arg(long, value_name = "FIGURE=PERCENT", value_delimiter = ',', requires = "baseline")]
    max_regression: Vec<String>,
    /// Also write the JSON here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write an HTML page here.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write an HdrHistogram V2 log here.
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// Also write the conditions as JUnit here.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also append a Markdown summary here (in GitHub's CI: "$GITHUB_STEP_SUMMARY").
    #[arg(long, value_name = "FILE")]
    step_summary: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What was asked of the outcome, read before anything is measured: wrong use is said at once.
pub(super) struct Checks<'a> {
    args: &'a OutcomeArgs,
    conditions: Vec<Condition>,
    allowances: Vec<Allowance>,
    baseline: Option<Report>,
}

impl OutcomeArgs {
    pub(super) fn checks(&self) -> Result<Checks<'_>, String> {
        Ok(Checks {
            args: self,
            conditions: parsed(&self.fail_if)?,
            allowances: parsed(&self.max_regression)?,
            baseline: self.baseline.as_deref().map(Report::read).transpose()?,
        })
    }
}

impl Checks<'_> {
    /// Writes everything that was asked for.
    pub(super) fn conclude(&self, report: &Report) -> Result<ExitCode, String> {
        let mut verdicts: Vec<(Figure, Verdict)> = Vec::new();
        for (text, condition) in self.args.fail_if.iter().zip(&self.conditions) {
            let failure = condition.verdict(report);
            verdicts.push((condition.figure, Verdict { condition: format!("not {text}"), failure }));
        }
        if let Some(baseline) = &self.baseline {
            for (text, allowance) in self.args.max_regression.iter().zip(&self.allowances) {
                let failure = allowance.verdict(report, baseline);
                verdicts.push((allowance.figure, Verdict { condition: format!("baseline {text}"), failure }));
            }
        }
        let plain: Vec<Verdict> = verdicts.iter().map(|(_, verdict)| verdict.clone()).collect();
        self.write_files(report, &plain)?;
        self.args.output.print(report)?;
        Ok(ExitCode::from(judge(report, &verdicts)))
    }

    fn write_files(&self, report: &Report, verdicts: &[Verdict]) -> Result<(), String> {
        let args = self.args;
        let write = |path: &Option<PathBuf>, bytes: &dyn Fn() -> Result<Vec<u8>, String>| match path {
            None => Ok(()),
            Some(path) => std::fs::write(path, bytes()?).map_err(|e| named(path, &e)),
        };
        write(&args.json, &|| Ok(pretty(report).into_bytes()))?;
        write(&args.html, &|| Ok(page(report, self.baseline.as_ref()).into_bytes()))?;
        write(&args.hdr, &|| hdr::log(report))?;
        write(&args.junit, &|| Ok(ci::junit(report, verdicts).into_bytes()))?;
        if let Some(path) = &args.step_summary {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let text = ci::markdown(report, verdicts);
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| named(path, &e))?;
        }
        Ok(())
    }
}

impl Output {
    pub(super) fn print(self, report: &Report) -> Result<(), String> {
        match self {
            Output::Text => print(&text::render(report)),
            Output::Json => print(&pretty(report)),
        }
    }
}

/// The exit code, with its reasons on standard error. Failures count whatever the generator did; times only if it was fit to measure them.
fn judge(report: &Report, verdicts: &[(Figure, Verdict)]) -> u8 {
    let missed = || verdicts.iter().filter_map(|(figure, v)| Some((*figure, v.failure.as_ref()?)));
    for (_, failure) in missed() {
        eprintln!("missed: {failure}");
    }
    let is_count = |figure: Figure| matches!(figure, Figure::Errors | Figure::Unsent);
    if missed().any(|(figure, _)| is_count(figure)) {
        MISSED
    } else if report.generator.unfit && verdicts.iter().any(|(figure, _)| !is_count(*figure)) {
        eprintln!("inconclusive: the generator was not fit to measure times (see the warnings)");
        INCONCLUSIVE
    } else if missed().next().is_some() {
        MISSED
    } else {
        MET
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(texts: &[String]) -> Result<Vec<T>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

fn pretty(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

fn named(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
