//! `search`: the highest rate that meets an objective.

use std::process::ExitCode;

use clap::Args;

use super::client::LoadArgs;
use super::watch::{Watch, measure};
use super::{INCONCLUSIVE, MET, MISSED, Output, print};
use crate::gate::Condition;
use crate::report::json::Report;
use crate::report::time;
use crate::scenario::Scenario;

#[derive(Args, Debug)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// What must hold: `p99=5ms`. Fewer than 0.1 % failures and no unsent requests are asked for besides.
    #[arg(long, value_name = "FIGURE=TIME")]
    slo: String,
    /// The first rate tried.
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    from: f64,
    /// The highest rate tried.
    #[arg(long, value_name = "N", default_value_t = 1e6)]
    to: f64,
    /// How the result is written to standard output.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Doubles the rate until the objective is missed, then halves the gap until it is within 5 %.
pub(super) fn search(args: &SearchArgs) -> Result<ExitCode, String> {
    let (figure, bound) = args.slo.split_once('=').ok_or("--slo: write p99=5ms")?;
    let conditions = [
        format!("{figure}>{bound}").parse::<Condition>()?,
        "errors>0.1%".parse::<Condition>()?,
        "unsent>0".parse::<Condition>()?,
    ];
    let scenario = args.load.scenario()?;
    if scenario.closed == Some(true) || !scenario.stages.is_empty() {
        return Err("search: sets the rate itself; the scenario must not have `closed` or `stages`".into());
    }
    if !(args.from > 0.0 && args.from <= args.to) {
        return Err("search: --from is above 0 and not above --to".into());
    }
    let mut watch = Watch::new(args.load.client.prometheus)?;
    let (mut met, mut missed): (Option<(f64, Report)>, Option<f64>) = (None, None);
    let mut rate = args.from;
    loop {
        let plan = Scenario { rate: Some(rate), ..scenario.clone() }.plan()?;
        let report = measure(&plan, &mut watch)?;
        let failures: Vec<String> = conditions.iter().filter_map(|c| c.verdict(&report)).collect();
        let p99 = time(report.percentile(99.0) as u64);
        if failures.is_empty() {
            eprintln!("{rate:.0}/s: met (p99 {p99})");
            met = Some((rate, report));
        } else {
            eprintln!("{rate:.0}/s: missed ({})", failures.join("; "));
            if report.generator.unfit {
                eprintln!("inconclusive: {}", report.generator.doubts.join("; "));
                return Ok(ExitCode::from(INCONCLUSIVE));
            }
            missed = Some(rate);
        }
        rate = match (&met, missed) {
            (Some((met, _)), None) if *met >= args.to => break,
            (Some((met, _)), None) => (met * 2.0).min(args.to),
            (Some((met, _)), Some(missed)) if missed / met <= 1.05 => break,
            (Some((met, _)), Some(missed)) => (met * missed).sqrt(),
            (None, _) => break,
        };
    }
    let Some((rate, report)) = met else {
        eprintln!("missed: not even {:.0}/s meets {}", args.from, args.slo);
        return Ok(ExitCode::from(MISSED));
    };
    if args.output == Output::Text {
        print(&format!("{rate:.0} requests/s meet {}\n\n", args.slo))?;
    }
    args.output.print(&report)?;
    Ok(ExitCode::from(MET))
}
