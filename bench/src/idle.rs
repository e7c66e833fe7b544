//! Connections that are open and silent: what they cost in CPU, wake-ups and memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::server::Server;
use crate::trial::Bench;

/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
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
    /// Opens `connections`, asks once on each for `path`, leaves them open, and looks at the server for `duration`.
    pub fn idle(
        &self,
        command: &str,
        address: SocketAddr,
        path: &str,
        connections: usize,
        duration: Duration,
    ) -> Result<IdleRound, String> {
        let mut server = Server::start(command, &self.cores, &[address])?;
        let fresh = server.memory().now;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut open = Vec::with_capacity(connections);
        for n in 0..connections {
            self.check_interrupted()?;
            let stream = ask(address, &request).map_err(|e| {
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

    fn rest(&self, duration: Duration) -> Result<(), String> {
        let from = Instant::now();
        while let Some(left) = duration.checked_sub(from.elapsed()) {
            self.check_interrupted()?;
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        Ok(())
    }
}

/// One request and its whole reply, which has a length; the connection stays.
fn ask(address: SocketAddr, request: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut seen = Vec::new();
    let mut buf = [0; 4096];
    loop {
        let length = stream.read(&mut buf)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&buf[..length]);
        if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if body.is_none_or(|body| seen.len() >= end + 4 + body) {
                return Ok(stream);
            }
        }
    }
}
