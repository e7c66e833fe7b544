//! A run from the command line: Ctrl-C ends it, and a terminal and Prometheus look on.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::client::ClientArgs;
use crate::live::View;
use crate::plan::Plan;
use crate::prometheus::Exposition;
use crate::report::json::{Report, ServerOfRun};
use crate::run::{self, Measured, Second};
use crate::server::{Memory, Usage};

pub(super) fn measure(plan: &Plan, watch: &mut Watch) -> Result<Report, String> {
    let stop = Arc::new(AtomicBool::new(false));
    // The first Ctrl-C ends the run and reports it, the second one ends the program.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).map_err(|e| e.to_string())?;
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| e.to_string())?;
    }
    let Some(pid) = watch.server else { return Ok(Report::new(plan, &watch.run(plan, &stop)?)) };
    let plan = run::warm_up(plan.clone(), &stop)?;
    let before = Usage::of(pid);
    let measured = watch.run(&plan, &stop)?;
    let (after, memory) = (Usage::of(pid), Memory::of(pid));
    let mut report = Report::new(&plan, &measured);
    if after.is_empty() {
        report.generator.doubts.push(format!("process {pid} has ended: what the server used is not known"));
    } else if report.requests > 0 {
        let (spent, requests) = (after.since(&before), report.requests as f64);
        report.server = Some(ServerOfRun {
            pid,
            cpu_us_per_request: spent.cpu.as_secs_f64() * 1e6 / requests,
            switches_per_request: spent.switches as f64 / requests,
            memory_peak: memory.peak,
        });
    }
    Ok(report)
}

/// Whoever looks on while the load runs.
pub(super) struct Watch {
    /// The process that serves.
    server: Option<u32>,
    view: Option<View>,
    prometheus: Option<Exposition>,
}

impl Watch {
    pub(super) fn new(args: &ClientArgs) -> Result<Watch, String> {
        if let Some(pid) = args.server_pid.filter(|pid| Usage::of(*pid).is_empty()) {
            return Err(format!("--server-pid: there is no process {pid}"));
        }
        let prometheus = args.prometheus;
        let listening = prometheus.map(Exposition::listen).transpose()?;
        if let Some((_, address)) = &listening {
            eprintln!("prometheus: http://{address}/metrics");
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let draws = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Ok(Watch {
            server: args.server_pid,
            view: draws.then(|| View::new(!set("NO_COLOR"))),
            prometheus: listening.map(|(exposition, _)| exposition),
        })
    }

    fn run(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Measured, String> {
        let total = plan.duration.as_secs();
        let measured = run::run(plan, stop, |second| self.second(second, total));
        self.end();
        measured
    }

    fn second(&mut self, second: Second, total: u64) {
        if let Some(view) = &mut self.view {
            eprint!("{}", view.draw(second, total));
        }
        if let Some(prometheus) = &self.prometheus {
            prometheus.publish(second.total);
        }
    }

    fn end(&mut self) {
        if let Some(view) = &mut self.view {
            eprint!("{}", view.erase());
        }
    }
}
