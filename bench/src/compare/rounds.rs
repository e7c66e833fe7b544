//! Rounds in turn: a fresh process of each contender, A B C, A B C, …

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::contender::Contender;
use super::place::Place;
use super::trials::{FULL_LOAD, Pace, Traffic, Trial};
use crate::idle::IdleRound;
use crate::lifetime::{MemoryRound, StartRound};
use crate::plan::{Plan, Wire};
use crate::trial::{Bench, Round, free_port};

/// Of a contender that cannot do a workload.
const NO_MODE: &str = "it has no mode for that here";
/// What hardly differs from round to round is looked at so often at most.
const STEADY_ROUNDS_MAX: usize = 3;
/// Starts for every round of a load: they are short, and differ.
const STARTS_PER_ROUND: usize = 2;
const WARMUP_OF_MEMORY: &str = "0s";

/// One contender in one trial.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Name of the trial.
    pub workload: String,
    /// Its name.
    pub contender: String,
    /// In the order that they were measured in.
    pub rounds: Vec<Sample>,
}

/// What a round of a trial measured.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Sample {
    /// Of a load.
    Load(Box<Round>),
    /// Of silent connections.
    Idle(IdleRound),
    /// Of memory.
    Memory(MemoryRound),
    /// Of a start.
    Start(StartRound),
}

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rounds of each load.
    pub rounds: usize,
    /// How long a load is counted; how long silent connections are looked at.
    pub duration: String,
    /// Before a load is counted.
    pub warmup: String,
    /// Of the trial of memory: how long the load is, and the rest behind it.
    pub rest: String,
    /// Count system calls, in a short run of their own.
    pub system_calls: bool,
}

/// What stays the same for all trials.
pub struct Field {
    /// Processors.
    pub bench: Bench,
    /// How long and how often.
    pub settings: Settings,
    /// For files.
    pub folder: PathBuf,
    /// Of the origin that replies, on 127.0.0.1.
    pub origin_port: u16,
    /// Of the one that sends without end.
    pub source_port: u16,
    /// What went wrong.
    pub notes: Vec<String>,
    /// A plan is made once, as what it sends lives as long as the program: by trial, and whether the contender has routes.
    pub plans: HashMap<(String, bool), Plan>,
}

/// The inner error is the contender's, the outer one ends the comparison.
type Tried<T> = Result<Result<T, String>, String>;

impl Field {
    /// All trials, in their order. Neighbours that are about each other take turns.
    pub fn run(&mut self, trials: &[Trial], contenders: &[Contender]) -> Result<Vec<Cell>, String> {
        let rounds = |trial: &Trial| {
            let suited = contenders.iter().filter(|contender| contender.suits(&trial.workload())).count();
            self.settings.time_of(trial) * (suited * self.settings.rounds_of(trial)) as u32
        };
        eprintln!("takes at least {} min", trials.iter().map(rounds).sum::<Duration>().as_secs().div_ceil(60));
        let mut cells: Vec<Cell> = Vec::new();
        for together in trials.chunk_by(|a, b| a.is_beside(b)) {
            let rate = self.rate(&together[0], &cells)?;
            cells.extend(self.run_together(together, rate, contenders)?);
        }
        Ok(cells)
    }

    /// A contender that fails in a trial is out of it, and said.
    fn run_together(
        &mut self,
        trials: &[Trial],
        rate: Option<f64>,
        contenders: &[Contender],
    ) -> Result<Vec<Cell>, String> {
        let mut entries: Vec<(Trial, &Contender, Cell)> = Vec::new();
        for contender in contenders {
            let suited = trials.iter().filter(|trial| contender.suits(&trial.workload()));
            entries.extend(suited.map(|trial| {
                let (workload, contender_name) = (trial.name(), contender.name.clone());
                (*trial, contender, Cell { workload, contender: contender_name, rounds: Vec::new() })
            }));
        }
        let rounds = self.settings.rounds_of(&trials[0]);
        for round in 0..rounds {
            let mut failed = Vec::new();
            for (n, (trial, contender, cell)) in entries.iter_mut().enumerate() {
                match self.round(trial, rate, contender, round == 0)? {
                    Ok(sample) => {
                        eprintln!("{} {}/{rounds}: {} {}", cell.workload, round + 1, cell.contender, sample.brief());
                        cell.rounds.push(sample);
                    }
                    Err(why) => {
                        let note = format!("{} is left out of {}: {why}", cell.contender, cell.workload);
                        eprintln!("{note}");
                        self.notes.push(note);
                        failed.push(n);
                    }
                }
            }
            for n in failed.into_iter().rev() {
                entries.remove(n);
            }
        }
        let cells = entries.into_iter().map(|(_, _, cell)| cell);
        Ok(cells.map(Cell::lightened).collect())
    }

    /// Requests per second that are due, `None` in a closed loop.
    fn rate(&self, trial: &Trial, cells: &[Cell]) -> Result<Option<f64>, String> {
        match trial.workload().pace {
            Pace::Closed => Ok(None),
            Pace::Rate(rate) => Ok(Some(rate)),
            Pace::Half => {
                let full = cells.iter().filter(|cell| cell.workload == FULL_LOAD).filter_map(|cell| {
                    let rates: Vec<f64> = cell.loads().map(|round| round.rate).collect();
                    (!rates.is_empty()).then(|| crate::statistics::spread(&rates).median)
                });
                let slowest = full.fold(f64::INFINITY, f64::min);
                if slowest.is_finite() {
                    Ok(Some((slowest / 2.0).round()))
                } else {
                    Err(format!("half-load: half of what is done at {FULL_LOAD}, which has to run before it"))
                }
            }
        }
    }

    fn round(&mut self, trial: &Trial, rate: Option<f64>, contender: &Contender, first: bool) -> Tried<Sample> {
        let port = free_port()?;
        let workload = trial.workload();
        let origin = if workload.traffic == Traffic::Bulk { self.source_port } else { self.origin_port };
        let command_at = |port| contender.command(&workload, Place { folder: &self.folder, port, origin });
        let Some(command) = command_at(port)? else { return Ok(Err(NO_MODE.into())) };
        let plan = self.plan(trial, rate, contender.routes(), port)?;
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let request = match plan.mix[0].wire {
            Wire::Fixed(bytes) => bytes,
            Wire::Filled(_) => return Err("a comparison has no data to fill requests from".into()),
        };
        let bench = &self.bench;
        let measured = match trial {
            Trial::Load(_) => bench.round(&command, plan).map(|round| Sample::Load(Box::new(round))),
            Trial::Idle(connections) => {
                let duration = crate::gate::duration(&self.settings.duration)?;
                bench.idle(&command, address, request, *connections, duration).map(Sample::Idle)
            }
            Trial::Memory(_) => {
                let rest = crate::gate::duration(&self.settings.rest)?;
                bench.memory(&command, &plan, request, rest).map(Sample::Memory)
            }
            Trial::Start(_) => bench.start(&command, address, request).map(Sample::Start),
        };
        let mut sample = match measured {
            Ok(sample) => sample,
            Err(why) if self.bench.is_interrupted() => return Err(why),
            Err(why) => return Ok(Err(why)),
        };
        if let Sample::Load(round) = &mut sample
            && first
            && self.settings.system_calls
        {
            let port = free_port()?;
            let command = contender.command(&workload, Place { folder: &self.folder, port, origin })?;
            let plan = self.plan(trial, rate, contender.routes(), port)?;
            round.system_calls_per_request = match self.bench.system_calls(command.as_deref().unwrap_or_default(), plan)
            {
                Err(why) if self.bench.is_interrupted() => return Err(why),
                counted => counted.unwrap_or(None),
            };
        }
        Ok(Ok(sample))
    }

    fn plan(&mut self, trial: &Trial, rate: Option<f64>, routed: bool, port: u16) -> Result<Plan, String> {
        let settings = &self.settings;
        let (duration, warmup) = match trial {
            Trial::Memory(_) => (&settings.rest[..], WARMUP_OF_MEMORY),
            _ => (&settings.duration[..], &settings.warmup[..]),
        };
        let plan = match self.plans.entry((trial.name(), routed)) {
            std::collections::hash_map::Entry::Occupied(made) => made.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(trial.workload().scenario(port, rate, routed, duration, warmup).plan()?)
            }
        };
        Ok(Plan { addresses: vec![([127, 0, 0, 1], port).into()], ..plan.clone() })
    }
}

impl Settings {
    fn rounds_of(&self, trial: &Trial) -> usize {
        match trial {
            Trial::Load(_) => self.rounds,
            Trial::Idle(_) | Trial::Memory(_) => self.rounds.min(STEADY_ROUNDS_MAX),
            Trial::Start(_) => self.rounds * STARTS_PER_ROUND,
        }
    }

    /// How long a round takes beside what the contender needs to start.
    fn time_of(&self, trial: &Trial) -> Duration {
        let time = |text: &str| crate::gate::duration(text).unwrap_or_default();
        match trial {
            Trial::Load(_) => time(&self.duration) + time(&self.warmup),
            Trial::Idle(_) => time(&self.duration),
            Trial::Memory(_) => 2 * time(&self.rest),
            Trial::Start(_) => Duration::ZERO,
        }
    }

    /// Wrong times are told before anything is started.
    pub fn check(&self) -> Result<(), String> {
        let time = |flag: &str, text: &str| crate::gate::duration(text).map_err(|e| format!("{flag}: {e}"));
        let duration = time("--duration", &self.duration)?;
        time("--warmup", &self.warmup)?;
        let rest = time("--rest", &self.rest)?;
        match [("--duration", duration), ("--rest", rest)].iter().find(|(_, time)| *time < Duration::from_millis(100)) {
            Some((flag, _)) => Err(format!("{flag}: at least 100ms")),
            None => Ok(()),
        }
    }
}

impl Cell {
    /// A race has thousands of rounds: what only a run's own page needs of their reports is let go, and latencies by percentile are kept of the
    /// round alone whose p99 is the middle one.
    fn lightened(mut self) -> Cell {
        let mut p99s: Vec<f64> = self.loads().map(|round| round.p99_ns).collect();
        p99s.sort_by(f64::total_cmp);
        let middle = p99s.get(p99s.len() / 2).copied();
        for sample in &mut self.rounds {
            let Sample::Load(round) = sample else { continue };
            round.report.kinds.clear();
            round.report.seconds.clear();
            forget(&mut round.report.generator.lateness);
            if middle != Some(round.p99_ns) {
                forget(&mut round.report.latency.histogram);
            }
        }
        self
    }

    /// Its rounds under load.
    pub fn loads(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter_map(|sample| match sample {
            Sample::Load(round) => Some(&**round),
            _ => None,
        })
    }
}

/// Leaves an empty histogram that takes no room.
fn forget(histogram: &mut Histogram<u64>) {
    if let Ok(small) = Histogram::new(1) {
        *histogram = small;
    }
}

impl Sample {
    /// While it runs.
    fn brief(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match self {
            Sample::Load(round) => {
                format!("{:.2} µs of CPU per request, {:.0}/s", round.cpu_us_per_request, round.rate)
            }
            Sample::Idle(round) => {
                format!("{:.0} bytes a connection, {:.1} wake-ups/s", round.memory_per_connection, round.wakeups_per_s)
            }
            Sample::Memory(round) => {
                format!("{:.1} MiB, rested {:.1} MiB", mib(round.memory_served), mib(round.memory_rested))
            }
            Sample::Start(round) => format!("{:.1} ms", round.served_ms),
        }
    }
}
