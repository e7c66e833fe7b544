//! Counts the instructions of every hot path under callgrind and compares them with a baseline. Counts do not depend on how busy the machine is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringway_paths::counts::{self, Counts, Verdict};

/// Instructions of the hot paths, beside a baseline.
#[derive(Parser)]
struct Options {
    /// Counts only those with this in their names.
    #[arg(default_value = "")]
    part: String,
    /// Lines of counts to compare with.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Makes what was counted the baseline of this kind of machine; nothing is too much then.
    #[arg(long, requires = "baseline")]
    accept: bool,
    /// How much more than in the baseline is too much.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    allow: f64,
    /// Writes what was counted, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Does one path's work for callgrind.
    #[arg(long, hide = true)]
    count: Option<String>,
    /// Turns of a loop that every decision takes besides.
    #[cfg(feature = "planted-cost")]
    #[arg(long, hide = true, default_value_t = 0)]
    planted: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    run(&options).unwrap_or_else(|mistake| {
        eprintln!("error: {mistake}");
        ExitCode::from(2)
    })
}

fn run(options: &Options) -> Result<ExitCode, String> {
    if let Some(name) = &options.count {
        #[cfg(feature = "planted-cost")]
        ringway_policy::planted::plant(options.planted);
        let path = ringway_paths::all().into_iter().find(|path| path.name == *name);
        counts::work(&path.ok_or_else(|| format!("no path is called {name:?}"))?);
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = match () {
        #[cfg(feature = "planted-cost")]
        () => vec![format!("--planted={}", options.planted)],
        #[cfg(not(feature = "planted-cost"))]
        () => Vec::new(),
    };
    if let Some(reason) = counts::not_here() {
        println!("SKIPPED: instruction counts: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let counted = Counts::count(&options.part, &arguments)?;
    if let Some(file) = &options.write {
        counted.write(file)?;
    }
    let baseline = match &options.baseline {
        Some(file) => Counts::read(file)?,
        None => Counts::default(),
    };
    let compared = counted.compare(&baseline.clone().only(&options.part), options.allow / 100.0);
    print!("{}", compared.table());
    if options.accept
        && let Some(file) = &options.baseline
    {
        baseline.with(&counted, &options.part).write(file)?;
        println!("accepted: {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    match compared.verdict() {
        Verdict::Fine => Ok(ExitCode::SUCCESS),
        Verdict::NoBaseline if options.baseline.is_none() => Ok(ExitCode::SUCCESS),
        Verdict::NoBaseline => {
            println!(
                "SKIPPED: comparison of instruction counts: no baseline of {} (ACCEPT=1 writes one)",
                counts::machine()
            );
            Ok(ExitCode::SUCCESS)
        }
        Verdict::More(names) => {
            println!(
                "{} of {} took over {} % more instructions than in the baseline",
                names,
                counted.len(),
                options.allow
            );
            Ok(ExitCode::FAILURE)
        }
    }
}
