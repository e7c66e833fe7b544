//! Connections that are open and silent: what they cost in CPU, wake-ups and memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::probe::ask;
use crate::server::Server;
use crate::trial::Bench;

/// After the last answer, until the server has put its things away.
const SETTLE: Duration = Duration::from_millis(500);
/// While nothing is asked: how often Ctrl-C is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a server used while nobody asked it for anything.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IdleRound {
    /// CPU as a part of one processor.
    pub cpu_share: f64,
    /// Context switches per second: each is a thread that ran.
    pub wakeups_per_s: f64,
    /// Resident memory beyond that of the fresh server, per connection, bytes.
    pub memory_per_connection: f64,
    /// Resident memory, bytes.
    pub memory: u64,
}

impl Bench {
    /// Opens `connections`, sends `request` once on each, leaves them open, and looks at the server for `duration`.
    pub fn idle(
        &self,
        command: &str,
        address: SocketAddr,
        request: &[u8],
        connections: usize,
        duration: Duration,
    ) -> Result<IdleRound, String> {
        let mut server = Server::start(command, &self.cores, &[address])?;
        let fresh = server.memory().now;
        let mut open = Vec::with_capacity(connections);
        for n in 0..connections {
            self.check_interrupted()?;
            let (stream, _) = ask(address, request).map_err(|e| {
                format!("`{command}` did not answer on connection {} of {connections}: {e}{}", n + 1, server.words())
            })?;
            open.push(stream);
        }
        self.rest(SETTLE)?;
        let (before, from) = (server.usage(), Instant::now());
        self.rest(duration)?;
        let (spent, seconds) = (server.usage().since(&before), from.elapsed().as_secs_f64());
        let memory = server.memory().now;
        if !server.is_running() {
            return Err(format!("`{command}` ended while it was idle{}", server.words()));
        }
        Ok(IdleRound {
            cpu_share: spent.cpu.as_secs_f64() / seconds,
            wakeups_per_s: spent.switches as f64 / seconds,
            memory_per_connection: memory.saturating_sub(fresh) as f64 / connections as f64,
            memory,
        })
    }

    /// Waits, and ends with an error when Ctrl-C is pressed.
    pub(crate) fn rest(&self, duration: Duration) -> Result<(), String> {
        let from = Instant::now();
        while let Some(left) = duration.checked_sub(from.elapsed()) {
            self.check_interrupted()?;
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        Ok(())
    }
}
