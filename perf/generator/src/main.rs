//! What ringway-load itself costs and how true its times are, one JSON object a line: beside wrk in turn where that is installed, and against its budgets.
//!
//! `make bench-load` builds and runs it. Wants a quiet machine with two processors: the server has the first, the generators have the second.

mod generator;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ringway_load::report::json::Report;
use ringway_load::server::Server;
use ringway_load::statistics;
use ringway_load::trial::{Bench, free_port};
use serde_json::{Value, json};

use crate::generator::{Generator, Run};

/// Connections of a load that keeps the generator busy.
const BUSY_CONNECTIONS: usize = 64;
/// Of one that keeps the server busy, and what a request costs that: about 10,000 of them a second leave the generators time.
const STEADY_CONNECTIONS: usize = 16;
const STEADY_WORK: &str = "--work 80us";
/// Requests per second that one core has to send on time.
const RATE: usize = 10_000;
/// A long reply.
const LONG_BYTES: usize = 1 << 20;

/// Figures of ringway-load, beside wrk.
#[derive(Parser)]
struct Options {
    /// The program.
    #[arg(long, value_name = "FILE")]
    load: PathBuf,
    /// Rounds of each comparison.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each round is; that of the rate takes five times as long.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
}

/// What is measured with, and what came out beyond its budget.
struct Figures {
    bench: Bench,
    options: Options,
    /// Where certificate and key are.
    folder: tempfile::TempDir,
    wrk: bool,
    beyond: usize,
}

/// What a figure has to be.
enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

fn main() -> ExitCode {
    let measured = Figures::new(Options::parse()).and_then(|mut figures| figures.all().map(|()| figures.beyond));
    match measured {
        Ok(0) => ExitCode::SUCCESS,
        Ok(beyond) => {
            eprintln!("{beyond} figures are beyond their budget");
            ExitCode::FAILURE
        }
        Err(mistake) => {
            eprintln!("error: {mistake}");
            ExitCode::from(2)
        }
    }
}

impl Figures {
    fn new(options: Options) -> Result<Figures, String> {
        let bench = Bench::new(1)?;
        eprintln!("{}", bench.cores.describe());
        let wrk = Generator::Wrk.is_there();
        if !wrk {
            println!("SKIPPED: comparisons with wrk: it is not installed (Debian: apt-get install wrk)");
        }
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        certify(folder.path())?;
        Ok(Figures { bench, options, folder, wrk, beyond: 0 })
    }

    fn all(&mut self) -> Result<(), String> {
        self.cost()?;
        self.truth()?;
        self.lateness()?;
        self.tls()
    }

    /// Requests per second of the generator's own CPU, in a closed loop.
    fn cost(&mut self) -> Result<(), String> {
        let (_server, address) = self.serve("")?;
        let rounds = self.in_turn(&format!("http://{address}/128"), BUSY_CONNECTIONS)?;
        self.tell_cost("closed_loop", &rounds, Some(Budget::AtLeast(1.2)));
        Ok(())
    }

    /// Latency in a closed loop that the server is the bottleneck of: both are told the same.
    fn truth(&mut self) -> Result<(), String> {
        let (_server, address) = self.serve(STEADY_WORK)?;
        let rounds = self.in_turn(&format!("http://{address}/128"), STEADY_CONNECTIONS)?;
        for (name, of, budget) in [("p50", Run::p50 as fn(&Run) -> f64, 0.05), ("p99", Run::p99, 0.15)] {
            let pairs: Vec<(f64, f64)> =
                rounds.iter().filter_map(|(ours, wrk)| Some((of(ours), of(wrk.as_ref()?)))).collect();
            self.tell(&format!("{name}_of_a_busy_server"), median(rounds.iter().map(|(ours, _)| of(ours))), "us", None);
            if let Some(ratio) = statistics::ratio(&pairs) {
                let apart = (ratio.median - 1.0).abs();
                self.tell(&format!("{name}_apart_from_wrk"), apart, "part", Some(Budget::AtMost(budget)));
            }
        }
        Ok(())
    }

    /// An open loop on one core.
    fn lateness(&mut self) -> Result<(), String> {
        let (_server, address) = self.serve("")?;
        let seconds = self.options.seconds * 5;
        let rate = RATE.to_string();
        let more = ["--rate", &rate, "-c", "64", "--warmup", "1s"];
        let report = self.report(&format!("http://{address}/128"), seconds, &more)?;
        let generator = &report.generator;
        self.tell("rate_on_one_core", report.rate, "requests/s", Some(Budget::AtLeast(RATE as f64 * 0.999)));
        let late = generator.lateness_p999_ns as f64 / 1e6;
        self.tell("lateness_p99.9", late, "ms", Some(Budget::AtMost(1.0)));
        self.tell("share_of_the_core_at_that_rate", generator.cpu_share, "part", None);
        Ok(())
    }

    /// What TLS costs: requests on open connections, bytes, and handshakes.
    fn tls(&mut self) -> Result<(), String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let (_server, address) =
            self.serve(&format!("--tls-cert '{}' --tls-key '{}'", file("cert.pem"), file("key.pem")))?;
        let rounds = self.in_turn(&format!("https://{address}/128"), BUSY_CONNECTIONS)?;
        self.tell_cost("tls_closed_loop", &rounds, None);
        let seconds = self.options.seconds;
        let closed = ["--closed", "-c", "16", "--insecure"];
        let long = self.report(&format!("https://{address}/{LONG_BYTES}"), seconds, &closed)?;
        self.tell("tls_bytes_per_cpu_second", long.generator.bytes_per_cpu_second / f64::from(1 << 20), "MiB/s", None);
        for (name, more) in
            [("full", &["--new-connections", "--no-resumption"][..]), ("resumed", &["--new-connections"])]
        {
            let flags = [&closed, more].concat();
            let report = self.report(&format!("https://{address}/128"), seconds, &flags)?;
            self.tell(&format!("tls_handshakes_{name}"), report.rate, "handshakes/s", None);
            self.tell(
                &format!("tls_handshakes_{name}_per_cpu_second"),
                1e6 / report.generator.cpu_us_per_request,
                "handshakes/s",
                None,
            );
        }
        Ok(())
    }

    /// The program's own server, on its processor.
    fn serve(&self, flags: &str) -> Result<(Server, SocketAddr), String> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let command = format!("exec '{}' serve --listen {address} {flags}", self.options.load.display());
        Ok((Server::start(&command, &self.bench.cores, &[address])?, address))
    }

    /// Rounds of ours and, where it is there, wrk.
    fn in_turn(&self, url: &str, connections: usize) -> Result<Vec<(Run, Option<Run>)>, String> {
        let ours = Generator::Ours(self.options.load.clone());
        let run = |generator: &Generator| generator.run(url, connections, self.options.seconds);
        // The first one warms the server up.
        run(&ours)?;
        (0..self.options.rounds)
            .map(|_| {
                self.bench.check_interrupted()?;
                Ok((run(&ours)?, self.wrk.then(|| run(&Generator::Wrk)).transpose()?))
            })
            .collect()
    }

    fn report(&self, url: &str, seconds: u32, more: &[&str]) -> Result<Report, String> {
        self.bench.check_interrupted()?;
        generator::report(&self.options.load, url, seconds, more)
    }

    fn tell_cost(&mut self, name: &str, rounds: &[(Run, Option<Run>)], budget: Option<Budget>) {
        self.tell(&format!("{name}_rate"), median(rounds.iter().map(|(ours, _)| ours.rate)), "requests/s", None);
        let ours = median(rounds.iter().map(|(ours, _)| ours.per_cpu_second));
        self.tell(&format!("{name}_requests_per_cpu_second"), ours, "requests/s", None);
        let pairs: Vec<(f64, f64)> =
            rounds.iter().filter_map(|(ours, wrk)| Some((ours.per_cpu_second, wrk.as_ref()?.per_cpu_second))).collect();
        if let Some(ratio) = statistics::ratio(&pairs) {
            let figure = format!("{name}_requests_per_cpu_second_to_wrk");
            self.tell(&figure, ratio.median, "times", budget);
        }
    }

    fn tell(&mut self, figure: &str, value: f64, unit: &str, budget: Option<Budget>) {
        let mut line = json!({"figure": figure, "value": rounded(value), "unit": unit});
        let (name, bound, holds) = match budget {
            None => return println!("{line}"),
            Some(Budget::AtMost(most)) => ("at most", most, value <= most),
            Some(Budget::AtLeast(least)) => ("at least", least, value >= least),
        };
        line[name] = json!(bound);
        line["holds"] = Value::Bool(holds);
        self.beyond += usize::from(!holds);
        println!("{line}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    statistics::spread(&values.collect::<Vec<_>>()).median
}

/// To four digits.
fn rounded(value: f64) -> f64 {
    let digits = 10f64.powi(3 - value.abs().max(1e-9).log10().floor() as i32);
    (value * digits).round() / digits
}

/// A certificate of nobody for 127.0.0.1, and its key.
fn certify(folder: &Path) -> Result<(), String> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).map_err(|e| e.to_string())?;
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        std::fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}
