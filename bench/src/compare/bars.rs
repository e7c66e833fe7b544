//! The bars of the race: what ours has to come in at, workload by workload.

use super::rounds::Sample;
use super::trials::{Trial, Workload};
use crate::report::{bytes, time};

/// The contender that has to meet a bar, where no driver is named: the one that runs as it comes.
const OURS: &str = "ringway";
const BOTH: Against = Against::Best(&["haproxy", "nginx"]);
const MIB: f64 = (1 << 20) as f64;

/// A bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Name of the trial.
    pub trial: &'static str,
    /// Who has to meet it.
    pub contender: &'static str,
    /// What is looked at.
    pub measure: Measure,
    /// How much of it.
    pub bound: Bound,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// CPU per request, microseconds.
    Cpu,
    /// Bytes of replies per CPU-second.
    Throughput,
    /// Latency, nanoseconds.
    P50,
    /// Latency, nanoseconds.
    P99,
    /// From the start until it listened, milliseconds.
    Ready,
    /// From the start to the first reply 200, milliseconds.
    Served,
    /// Resident memory once it listened, bytes.
    MemoryFresh,
    /// Resident memory after the first reply, bytes.
    MemoryServed,
    /// Resident memory a while after a load, bytes.
    MemoryRested,
    /// Memory of a silent connection, bytes.
    ConnectionMemory,
    /// CPU with silent connections, as a part of a processor.
    IdleCpu,
    /// Wake-ups per second with silent connections.
    WakeUps,
}

/// How much of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// In its own unit.
    AtMost(f64),
    /// So many times that of another.
    Times(f64, Against),
    /// At least so many times that of another.
    AtLeast(f64, Against),
    /// That of another and so much, in its own unit.
    Plus(f64, Against),
    /// A latency that is not worse than that of another by more than [`WORSE_PART`] or [`WORSE_NS`], whichever is more.
    NoWorse(Against),
}

/// Whose measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// A contender's.
    One(&'static str),
    /// The better one's of these.
    Best(&'static [&'static str]),
    /// The best one's of all peers.
    BestPeer,
    /// The best one's of the bare yardsticks.
    BestBare,
    /// Its own in another trial.
    Own(&'static str),
}

/// A latency is worse beyond this part of the other, …
pub const WORSE_PART: f64 = 0.05;
/// … and beyond these nanoseconds.
pub const WORSE_NS: f64 = 20_000.0;

const fn bar(trial: &'static str, measure: Measure, bound: Bound) -> Bar {
    Bar { trial, contender: OURS, measure, bound }
}

const fn cpu(trial: &'static str, bound: Bound) -> Bar {
    bar(trial, Measure::Cpu, bound)
}

/// All of them.
pub const BARS: [Bar; 36] = [
    cpu("keepalive-64", Bound::Times(0.65, Against::One("haproxy"))),
    cpu("keepalive-64", Bound::Times(0.75, Against::One("nginx"))),
    cpu("keepalive-64", Bound::Times(0.22, Against::One("envoy"))),
    cpu("keepalive-64", Bound::Plus(1.5, Against::BestBare)),
    cpu("keepalive-256", Bound::Times(0.65, Against::One("haproxy"))),
    cpu("keepalive-256", Bound::Times(0.75, Against::One("nginx"))),
    cpu("keepalive-256", Bound::Times(0.22, Against::One("envoy"))),
    cpu("keepalive-256", Bound::Plus(1.5, Against::BestBare)),
    cpu("keepalive-16", Bound::Times(0.85, Against::One("nginx"))),
    cpu("keepalive-16", Bound::Plus(1.5, Against::BestBare)),
    cpu("rate-1000", Bound::Times(0.8, BOTH)),
    bar("rate-1000", Measure::P99, Bound::NoWorse(Against::BestPeer)),
    cpu("rate-15000", Bound::Times(0.8, BOTH)),
    bar("rate-15000", Measure::P99, Bound::NoWorse(Against::BestPeer)),
    bar("half-load", Measure::P99, Bound::NoWorse(Against::BestPeer)),
    bar("one-connection", Measure::P50, Bound::NoWorse(Against::BestPeer)),
    bar("one-connection", Measure::P99, Bound::NoWorse(Against::BestPeer)),
    cpu("large-16", Bound::Times(0.85, BOTH)),
    cpu("large-16", Bound::Times(1.15, Against::BestBare)),
    Bar { contender: "ringway-uring", ..cpu("new-connections", Bound::Times(1.0, BOTH)) },
    Bar { contender: "ringway-epoll", ..cpu("new-connections", Bound::Times(0.95, BOTH)) },
    bar("tcp-bulk", Measure::Throughput, Bound::AtLeast(1.3, Against::One("haproxy"))),
    bar("tcp-bulk", Measure::Throughput, Bound::AtLeast(0.9, Against::BestBare)),
    cpu("routes-10000", Bound::Times(1.05, Against::Own("routes-10"))),
    bar("routes-10000", Measure::Ready, Bound::Times(0.05, Against::One("envoy"))),
    bar("routes-10000", Measure::MemoryFresh, Bound::Times(0.05, Against::One("envoy"))),
    cpu("workers-2", Bound::Times(1.05, Against::Own("workers-1"))),
    bar("idle-100", Measure::IdleCpu, Bound::AtMost(0.001)),
    bar("idle-100", Measure::WakeUps, Bound::AtMost(5.0)),
    bar("idle-8000", Measure::ConnectionMemory, Bound::AtMost(1024.0)),
    bar("memory", Measure::MemoryServed, Bound::AtMost(6.0 * MIB)),
    bar("memory", Measure::MemoryRested, Bound::AtMost(10.0 * MIB)),
    bar("memory-one-route", Measure::MemoryServed, Bound::AtMost(6.0 * MIB)),
    bar("memory-one-route", Measure::MemoryRested, Bound::AtMost(10.0 * MIB)),
    bar("start", Measure::Served, Bound::AtMost(8.0)),
    bar("start-one-route", Measure::Served, Bound::AtMost(8.0)),
];

/// The trials of the race: those with a bar, what bars refer to, and echoes over TCP beside the bulk.
pub fn trials() -> Vec<Trial> {
    let own = |bar: &Bar| match bar.bound {
        Bound::Times(_, Against::Own(trial)) => Some(trial),
        _ => None,
    };
    let named = |name: &str| name == "tcp-64" || BARS.iter().any(|bar| bar.trial == name || own(bar) == Some(name));
    Trial::all().into_iter().filter(|trial| named(&trial.name())).collect()
}

impl Measure {
    /// Of a round, where it was measured there.
    pub fn of(self, sample: &Sample, workload: &Workload) -> Option<f64> {
        Some(match (self, sample) {
            (Measure::Cpu, Sample::Load(round)) => round.cpu_us_per_request,
            (Measure::Throughput, Sample::Load(round)) => {
                workload.reply_bytes as f64 / (round.cpu_us_per_request / 1e6)
            }
            (Measure::P50, Sample::Load(round)) => round.p50_ns,
            (Measure::P99, Sample::Load(round)) => round.p99_ns,
            (Measure::Ready, Sample::Load(round)) => round.ready_ms,
            (Measure::MemoryFresh, Sample::Load(round)) => round.memory_fresh as f64,
            (Measure::Served, Sample::Start(round)) => round.served_ms,
            (Measure::MemoryServed, Sample::Memory(round)) => round.memory_served as f64,
            (Measure::MemoryRested, Sample::Memory(round)) => round.memory_rested as f64,
            (Measure::ConnectionMemory, Sample::Idle(round)) => round.memory_per_connection,
            (Measure::IdleCpu, Sample::Idle(round)) => round.cpu_share,
            (Measure::WakeUps, Sample::Idle(round)) => round.wakeups_per_s,
            _ => return None,
        })
    }

    /// More of it is better.
    pub fn more_is_better(self) -> bool {
        self == Measure::Throughput
    }

    /// The generator's own lateness is in it.
    pub fn is_latency(self) -> bool {
        matches!(self, Measure::P50 | Measure::P99)
    }

    /// With its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Measure::Cpu => format!("{value:.2} µs"),
            Measure::Throughput => format!("{}/CPU-s", bytes(value as u64)),
            Measure::P50 | Measure::P99 => time(value as u64),
            Measure::Ready | Measure::Served => format!("{value:.1} ms"),
            Measure::MemoryFresh | Measure::MemoryServed | Measure::MemoryRested | Measure::ConnectionMemory => {
                bytes(value as u64)
            }
            Measure::IdleCpu => format!("{:.3} %", value * 100.0),
            Measure::WakeUps => format!("{value:.1}/s"),
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Measure::Cpu => "CPU per request",
            Measure::Throughput => "bytes per CPU-second",
            Measure::P50 => "p50",
            Measure::P99 => "p99",
            Measure::Ready => "time until it listens",
            Measure::Served => "time to the first reply",
            Measure::MemoryFresh => "memory, fresh",
            Measure::MemoryServed => "memory after the first reply",
            Measure::MemoryRested => "memory after a load and a rest",
            Measure::ConnectionMemory => "memory of a silent connection",
            Measure::IdleCpu => "share of a processor",
            Measure::WakeUps => "wake-ups",
        })
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.contender != OURS {
            write!(f, "{}: ", self.contender)?;
        }
        write!(f, "{} ", self.measure)?;
        match self.bound {
            Bound::AtMost(most) => write!(f, "≤ {}", self.measure.show(most)),
            Bound::Times(factor, other) => write!(f, "≤ {factor} × {other}"),
            Bound::AtLeast(factor, other) => write!(f, "≥ {factor} × {other}"),
            Bound::Plus(more, other) => write!(f, "≤ {other} + {}", self.measure.show(more)),
            Bound::NoWorse(other) => write!(f, "no worse than {other}"),
        }
    }
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Against::One(name) => f.write_str(name),
            Against::Best(names) => write!(f, "the best of {}", names.join(", ")),
            Against::BestPeer => f.write_str("the best peer"),
            Against::BestBare => f.write_str("bare"),
            Against::Own(trial) => write!(f, "its own at {trial}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_about_a_trial_that_measures_it() {
        let trials: Vec<String> = trials().iter().map(Trial::name).collect();
        for bar in BARS {
            let kind = Trial::named(bar.trial).unwrap();
            let of_load = matches!(kind, Trial::Load(_));
            let measures_loads = !matches!(
                bar.measure,
                Measure::Served
                    | Measure::MemoryServed
                    | Measure::MemoryRested
                    | Measure::ConnectionMemory
                    | Measure::IdleCpu
                    | Measure::WakeUps
            );
            assert!(of_load == measures_loads && trials.contains(&bar.trial.to_string()), "{bar}");
        }
        assert!(trials.contains(&"routes-10".to_string()) && !trials.contains(&"one-route".to_string()));
    }
}
