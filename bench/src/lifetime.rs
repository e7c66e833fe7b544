//! How soon a server serves, and what memory it holds when a load is over.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::plan::Plan;
use crate::probe::ask;
use crate::run;
use crate::server::{READY_WITHIN, Server};
use crate::trial::Bench;

/// Between two tries to reach a server that starts: how exact the time is.
const TRY_EVERY: Duration = Duration::from_micros(50);

/// How soon it served.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StartRound {
    /// From the start of the process to the end of the first reply with status 200.
    pub served_ms: f64,
}

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryRound {
    /// After the first reply.
    pub memory_served: u64,
    /// The most while it was loaded.
    pub memory_loaded: u64,
    /// When the load had been over for a while.
    pub memory_rested: u64,
}

impl Bench {
    /// Starts it, and sends `request` until the reply is a 200.
    pub fn start(&self, command: &str, address: SocketAddr, request: &[u8]) -> Result<StartRound, String> {
        let (_server, served) = self.served(command, address, request)?;
        Ok(StartRound { served_ms: served.as_secs_f64() * 1e3 })
    }

    /// Looks at it after its first reply, and when it has been left alone for `rest` after what is planned.
    pub fn memory(&self, command: &str, plan: &Plan, request: &[u8], rest: Duration) -> Result<MemoryRound, String> {
        let address = *plan.addresses.first().ok_or("no address")?;
        let (mut server, _) = self.served(command, address, request)?;
        let served = server.memory().now;
        let measured = run::run(plan, &self.stop, |_| {})?;
        self.check_interrupted()?;
        if measured.total.requests == measured.total.failed() {
            return Err(format!("`{command}` answered no request{}", server.words()));
        }
        self.rest(rest)?;
        let memory = server.memory();
        if !server.is_running() {
            return Err(format!("`{command}` ended after the load{}", server.words()));
        }
        Ok(MemoryRound { memory_served: served, memory_loaded: memory.peak, memory_rested: memory.now })
    }

    fn served(&self, command: &str, address: SocketAddr, request: &[u8]) -> Result<(Server, Duration), String> {
        let (mut server, started) = Server::held(command, &self.cores)?.go()?;
        loop {
            let answer = ask(address, request);
            let passed = started.elapsed();
            if matches!(answer, Ok((_, 200))) {
                return Ok((server, passed));
            }
            self.check_interrupted()?;
            if passed > READY_WITHIN || !server.is_running() {
                let said = answer.map_or_else(|error| error.to_string(), |(_, status)| format!("status {status}"));
                return Err(format!("`{command}` did not serve: {said}{}", server.words()));
            }
            std::thread::sleep(TRY_EVERY);
        }
    }
}
