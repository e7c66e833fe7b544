//! A run from the command line: Ctrl-C ends it, and a terminal and Prometheus look on.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::live::View;
use crate::plan::Plan;
use crate::prometheus::Exposition;
use crate::report::json::Report;
use crate::run::{self, Second};

pub(super) fn measure(plan: &Plan, watch: &mut Watch) -> Result<Report, String> {
    let stop = Arc::new(AtomicBool::new(false));
    // The first Ctrl-C ends the run and reports it, the second one ends the program.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).map_err(|e| e.to_string())?;
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| e.to_string())?;
    }
    let total = plan.duration.as_secs();
    let measured = run::run(plan, &stop, |second| watch.second(second, total));
    watch.end();
    Ok(Report::new(plan, &measured?))
}

/// Whoever looks on while the load runs.
pub(super) struct Watch {
    view: Option<View>,
    prometheus: Option<Exposition>,
}

impl Watch {
    pub(super) fn new(prometheus: Option<SocketAddr>) -> Result<Watch, String> {
        let listening = prometheus.map(Exposition::listen).transpose()?;
        if let Some((_, address)) = &listening {
            eprintln!("prometheus: http://{address}/metrics");
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let draws = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Ok(Watch {
            view: draws.then(|| View::new(!set("NO_COLOR"))),
            prometheus: listening.map(|(exposition, _)| exposition),
        })
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
