//! What is done with a report: conditions are judged, files written, an exit code found. The same for every command that makes one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::report::page;
use super::{INCONCLUSIVE, MET, MISSED, print};
use crate::gate::{Allowance, Condition, Figure};
use crate::report::ci::{self, Ending, Verdict};
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
        let checks = Checks {
            args: self,
            conditions: parsed("--fail-if", &self.fail_if)?,
            allowances: parsed("--max-regression", &self.max_regression)?,
            baseline: self.baseline.as_deref().map(Report::read).transpose()?,
        };
        writable(&[&self.json, &self.html, &self.hdr, &self.junit, &self.step_summary])?;
        Ok(checks)
    }
}

impl Checks<'_> {
    /// What is asked can be told of such a run: of `load` (open or closed), which knows the server's CPU or does not.
    pub(super) fn suit(&self, load: &str, knows_cpu: bool) -> Result<(), String> {
        let mut figures =
            self.conditions.iter().map(|c| c.figure).chain(self.allowances.iter().map(|allowance| allowance.figure));
        if !knows_cpu && figures.any(|figure| figure == Figure::Cpu) {
            return Err("cpu: say which process is the server (--server-pid)".into());
        }
        let Some((path, baseline)) = self.args.baseline.as_ref().zip(self.baseline.as_ref()) else { return Ok(()) };
        if baseline.load != load {
            let (path, other) = (path.display(), &baseline.load);
            return Err(format!(
                "{path} is of loop `{other}`, this run of loop `{load}`: what they measure is not the same thing"
            ));
        }
        if baseline.server.is_none() && self.allowances.iter().any(|allowance| allowance.figure == Figure::Cpu) {
            return Err(format!("{}: does not know the server's cpu: make it with --server-pid", path.display()));
        }
        Ok(())
    }

    /// Writes everything that was asked for.
    pub(super) fn conclude(&self, report: &Report) -> Result<ExitCode, String> {
        let mut verdicts = Vec::new();
        for (text, condition) in self.args.fail_if.iter().zip(&self.conditions) {
            verdicts.push(Verdict { condition: format!("not {text}"), ending: condition.judge(report) });
        }
        if let Some(baseline) = &self.baseline {
            for (text, allowance) in self.args.max_regression.iter().zip(&self.allowances) {
                let ending = allowance.judge(report, baseline);
                verdicts.push(Verdict { condition: format!("baseline {text}"), ending });
            }
        }
        // First what cannot fail for want of space.
        self.args.output.print(report)?;
        self.write_files(report, &verdicts)?;
        Ok(ExitCode::from(code(&verdicts)))
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

/// The exit code, with its reasons on standard error. A miss outweighs a doubt.
fn code(verdicts: &[Verdict]) -> u8 {
    let mut code = MET;
    for Verdict { condition, ending } in verdicts {
        match ending {
            Ending::Held => {}
            Ending::Failed(why) => {
                eprintln!("missed: {why}");
                code = MISSED;
            }
            Ending::Open(why) => {
                eprintln!("inconclusive: {condition}: {why}");
                code = if code == MET { INCONCLUSIVE } else { code };
            }
        }
    }
    code
}

/// Whether these files can be written is found out before anything is measured. One that was not there is not there afterwards.
pub(crate) fn writable(files: &[&Option<PathBuf>]) -> Result<(), String> {
    for path in files.iter().filter_map(|file| file.as_ref()) {
        let tried = match File::create_new(path) {
            Ok(_) => std::fs::remove_file(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path).map(drop),
            Err(e) => Err(e),
        };
        tried.map_err(|e| named(path, &e))?;
    }
    Ok(())
}

fn parsed<T: std::str::FromStr<Err = String>>(flag: &str, texts: &[String]) -> Result<Vec<T>, String> {
    texts.iter().map(|text| text.parse().map_err(|e| format!("{flag}: {e}"))).collect()
}

fn pretty(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

fn named(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
