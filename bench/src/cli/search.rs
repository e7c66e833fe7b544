//! `search`: the highest rate that meets an objective.

use std::process::ExitCode;

use clap::Args;

use super::client::LoadArgs;
use super::watch::{Watch, measure};
use super::{INCONCLUSIVE, MET, MISSED, Output, print};
use crate::gate::Condition;
use crate::report::ci::Ending;
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
    let slo: Condition = format!("{figure}>{bound}").parse().map_err(|e| format!("--slo {}: {e}", args.slo))?;
    if !slo.figure.is_latency() {
        return Err(format!("--slo {}: a latency, as in p99=5ms, mean=1ms or max=1s", args.slo));
    }
    let failures: Condition = "errors>0.1%".parse()?;
    let unsent: Condition = "unsent>0".parse()?;
    let scenario = args.load.scenario()?;
    if scenario.closed == Some(true) || !scenario.stages.is_empty() {
        return Err("search: sets the rate itself; the scenario must not have `closed` or `stages`".into());
    }
    if !(args.from > 0.0 && args.from <= args.to) {
        return Err("search: --from is above 0 and not above --to".into());
    }
    let mut watch = Watch::new(&args.load.client)?;
    let (mut met, mut missed): (Option<(f64, Report)>, Option<f64>) = (None, None);
    let mut rate = args.from;
    loop {
        let plan = Scenario { rate: Some(rate), ..scenario.clone() }.plan()?;
        let report = measure(&plan, &mut watch)?;
        let p99 = time(report.percentile(99.0) as u64);
        let endings = [failures.judge(&report), unsent.judge(&report), slo.judge(&report)];
        let holds = [&failures, &unsent, &slo].map(|condition| condition.holds(&report));
        let said = |endings: &[Ending]| {
            let why = endings.iter().filter_map(|ending| match ending {
                Ending::Held => None,
                Ending::Failed(why) | Ending::Open(why) => Some(why.as_str()),
            });
            why.collect::<Vec<_>>().join("; ")
        };
        // A latency contains how late its request was sent: what holds of a late generator holds.
        if holds == [true; 3] {
            eprintln!("{rate:.0}/s: met (p99 {p99})");
            met = Some((rate, report));
        } else if holds[0] && (report.generator.unfit || endings.iter().any(|e| matches!(e, Ending::Open(_)))) {
            eprintln!("{rate:.0}/s: inconclusive ({})", said(&endings));
            report.generator.doubts.iter().for_each(|doubt| eprintln!("warning: {doubt}"));
            return Ok(ExitCode::from(INCONCLUSIVE));
        } else {
            eprintln!("{rate:.0}/s: missed ({})", said(&endings));
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
