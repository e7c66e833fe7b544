//! What the contenders are put to, as a table.

use super::routes::Routes;
use crate::scenario::{Direction, Scenario};

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trial {
    /// A load.
    Load(Workload),
    /// So many open, silent connections.
    Idle(usize),
    /// Memory after the first request, and when a load has been over for a while.
    Memory(Routes),
    /// From the start of the process to the first request that it forwarded.
    Start(Routes),
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// How it is chosen.
    pub name: &'static str,
    /// Connections of clients.
    pub connections: usize,
    /// Body of each reply; in bulk, a block.
    pub reply_bytes: usize,
    /// When requests are due.
    pub pace: Pace,
    /// A connection for every request.
    pub new_connections: bool,
    /// What goes through the proxy.
    pub traffic: Traffic,
    /// Threads of the proxy.
    pub workers: usize,
    /// Run when none is named.
    pub usual: bool,
}

/// What goes through the proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic {
    /// HTTP/1.1, routed by a table.
    Http(Routes),
    /// The same as bytes that the proxy does not look into.
    Opaque,
    /// Such bytes from the origin to the client without end; a request is one block of them.
    Bulk,
}

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as they are answered.
    Closed,
    /// So many a second.
    Rate(f64),
    /// Half of what the slowest contender did at [`FULL_LOAD`] in the same run.
    Half,
}

/// Where contenders show how fast they can be.
pub const FULL_LOAD: &str = "keepalive-64";
/// Open, silent connections: fewer than one address has ports.
const IDLE_MAX: usize = 20_000;
/// Silent connections of the race.
const IDLE: [usize; 2] = [100, 8000];

const KEPT: Workload = Workload {
    name: "",
    connections: 64,
    reply_bytes: 128,
    pace: Pace::Closed,
    new_connections: false,
    traffic: Traffic::Http(Routes::Full),
    workers: 1,
    usual: false,
};

/// All loads.
pub const WORKLOADS: [Workload; 17] = [
    Workload { name: FULL_LOAD, usual: true, ..KEPT },
    Workload { name: "keepalive-256", connections: 256, usual: true, ..KEPT },
    Workload { name: "keepalive-16", connections: 16, usual: true, ..KEPT },
    Workload { name: "rate-1000", pace: Pace::Rate(1_000.0), ..KEPT },
    Workload { name: "rate-15000", pace: Pace::Rate(15_000.0), ..KEPT },
    Workload { name: "half-load", pace: Pace::Half, ..KEPT },
    Workload { name: "one-connection", connections: 1, ..KEPT },
    Workload { name: "large-16", connections: 16, reply_bytes: 64 << 10, usual: true, ..KEPT },
    Workload { name: "new-connections", new_connections: true, ..KEPT },
    Workload { name: "tcp-bulk", connections: 4, reply_bytes: 1 << 20, traffic: Traffic::Bulk, ..KEPT },
    Workload { name: "tcp-64", traffic: Traffic::Opaque, ..KEPT },
    Workload { name: "tcp-new-connections", new_connections: true, traffic: Traffic::Opaque, ..KEPT },
    Workload { name: "routes-10", traffic: Traffic::Http(Routes::Many(10)), ..KEPT },
    Workload { name: "routes-10000", traffic: Traffic::Http(Routes::Many(10_000)), ..KEPT },
    Workload { name: "workers-1", pace: Pace::Rate(15_000.0), ..KEPT },
    Workload { name: "workers-2", pace: Pace::Rate(15_000.0), workers: 2, ..KEPT },
    Workload { name: "one-route", traffic: Traffic::Http(Routes::One), ..KEPT },
];

impl Trial {
    /// All of them.
    pub fn all() -> Vec<Trial> {
        let tables = [Routes::Full, Routes::One];
        let others = IDLE.into_iter().map(Trial::Idle).chain(tables.map(Trial::Memory)).chain(tables.map(Trial::Start));
        WORKLOADS.into_iter().map(Trial::Load).chain(others).collect()
    }

    /// By name.
    pub fn named(name: &str) -> Result<Trial, String> {
        if let Some(count) = name.strip_prefix("idle-") {
            let count = count.parse().ok().filter(|count| (1..=IDLE_MAX).contains(count));
            return count.map(Trial::Idle).ok_or_else(|| format!("`{name}`: from 1 to {IDLE_MAX} connections"));
        }
        Trial::all().into_iter().find(|trial| trial.name() == name).ok_or_else(|| {
            let names: Vec<String> = Trial::all().iter().map(Trial::name).collect();
            format!("no workload `{name}`: {}", names.join(", "))
        })
    }

    /// How it is chosen.
    pub fn name(&self) -> String {
        match self {
            Trial::Load(workload) => workload.name.into(),
            Trial::Idle(count) => format!("idle-{count}"),
            Trial::Memory(routes) => format!("memory{}", suffix(*routes)),
            Trial::Start(routes) => format!("start{}", suffix(*routes)),
        }
    }

    /// They are about each other, so their rounds take turns.
    pub fn is_beside(&self, other: &Trial) -> bool {
        let about = |name: String| ["routes-", "workers-"].into_iter().find(|start| name.starts_with(start));
        about(self.name()).is_some() && about(self.name()) == about(other.name())
    }

    /// Run when none is named.
    pub fn is_usual(&self) -> bool {
        matches!(self, Trial::Load(workload) if workload.usual)
    }

    /// What the contender is set up for.
    pub fn workload(&self) -> Workload {
        match self {
            Trial::Load(workload) => *workload,
            Trial::Memory(routes) => Workload { connections: 256, traffic: Traffic::Http(*routes), ..KEPT },
            Trial::Start(routes) => Workload { traffic: Traffic::Http(*routes), ..KEPT },
            Trial::Idle(_) => KEPT,
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Trial::Load(workload) => workload.describe(),
            Trial::Idle(count) => format!("{count} connections that have had one reply each and are silent"),
            Trial::Memory(routes) => format!(
                "{}: resident memory after the first request; then 256 connections in a closed loop for a while, then nothing for as long",
                routes.describe()
            ),
            Trial::Start(routes) => {
                format!(
                    "{}: from the start of the process until the first reply 200 came through it",
                    routes.describe()
                )
            }
        }
    }
}

/// Behind the name of a trial that is there with either table.
fn suffix(routes: Routes) -> &'static str {
    if routes == Routes::One { "-one-route" } else { "" }
}

impl Workload {
    /// The table that the proxy routes by, where it looks into what it forwards.
    pub fn routes(&self) -> Option<Routes> {
        match self.traffic {
            Traffic::Http(routes) => Some(routes),
            Traffic::Opaque | Traffic::Bulk => None,
        }
    }

    fn describe(&self) -> String {
        let kept =
            if self.new_connections { "a new connection per request, which the client ends" } else { "kept alive" };
        let pace = match self.pace {
            Pace::Closed => "closed loop".to_string(),
            Pace::Rate(rate) => format!("{rate} requests/s"),
            Pace::Half => format!("half the requests/s of the slowest at {FULL_LOAD}"),
        };
        let bytes = crate::report::bytes(self.reply_bytes as u64);
        let connections = if self.connections == 1 { "connection" } else { "connections" };
        let over = match self.traffic {
            Traffic::Http(routes) => format!("HTTP/1.1, {}", routes.describe()),
            Traffic::Opaque => "opaque TCP".to_string(),
            Traffic::Bulk => {
                return format!(
                    "opaque TCP, {} {connections}, bytes from the origin without end; a request is a block of {bytes}",
                    self.connections
                );
            }
        };
        let workers = if self.workers == 1 { String::new() } else { format!(", {} workers", self.workers) };
        format!("{over}, {} {connections}, {kept}, replies of {bytes}, {pace}{workers}", self.connections)
    }

    /// Against a proxy on this port. `routed` is false of one that has no routes: it answers what no rule has, too.
    pub fn scenario(&self, port: u16, rate: Option<f64>, routed: bool, duration: &str, warmup: &str) -> Scenario {
        let every = Scenario {
            connections: Some(self.connections),
            duration: Some(duration.to_string()),
            warmup: Some(warmup.to_string()),
            ..Scenario::default()
        };
        if self.traffic == Traffic::Bulk {
            return Scenario {
                url: Some(format!("tcp://127.0.0.1:{port}")),
                bulk: Some(Direction::Receive),
                message_bytes: Some(self.reply_bytes),
                ..every
            };
        }
        Scenario {
            url: Some(format!("http://127.0.0.1:{port}")),
            rate,
            closed: Some(rate.is_none()),
            new_connections: Some(self.new_connections),
            // The client ends its connections itself: a forwarder that passes `close` on would lose its pooled connection by it.
            headers: [("Connection".to_string(), "keep-alive".to_string())].into(),
            request: self.routes().unwrap_or(Routes::One).requests(self.reply_bytes, routed),
            ..every
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_has_a_name_of_its_own_and_a_sound_plan() {
        let all = Trial::all();
        for (n, trial) in all.iter().enumerate() {
            assert!(!trial.name().is_empty() && all[..n].iter().all(|other| other.name() != trial.name()));
            assert_eq!(Trial::named(&trial.name()), Ok(*trial));
            let plan = trial.workload().scenario(80, None, true, "1s", "1s").plan().unwrap();
            let bulk = trial.workload().traffic == Traffic::Bulk;
            assert!(plan.mix.iter().all(|request| bulk || request.expect.statuses.len() == 1));
        }
        assert!(Trial::named("keepalive").unwrap_err().contains("keepalive-64"));
        for wrong in ["idle-0", "idle-20001", "idle-"] {
            assert!(Trial::named(wrong).unwrap_err().contains("from 1 to 20000"), "{wrong}");
        }
    }
}
