//! Which processors the server under test has, and which the load and the origin: never the same.

use std::io;
use std::process::{Child, Command};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A division of the processors that this program may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's; empty: not pinned, as there are too few.
    pub server: Vec<usize>,
    /// The load's and the origin's.
    pub load: Vec<usize>,
}

impl Cores {
    /// The first `server` processors for the server, the rest for the load. With none left over nothing is pinned.
    pub fn divide(server: usize) -> io::Result<Cores> {
        let allowed = sched_getaffinity(None)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        Ok(if server < all.len() {
            Cores { server: all[..server].to_vec(), load: all[server..].to_vec() }
        } else {
            Cores { server: Vec::new(), load: Vec::new() }
        })
    }

    /// Puts this thread, and all that it starts from now on, beside the server.
    pub fn pin_load(&self) -> io::Result<()> {
        pin(&self.load)
    }

    /// Starts the server on its own processors: a child inherits them from the thread that starts it.
    pub fn spawn_server(&self, command: &mut Command) -> io::Result<Child> {
        let before = sched_getaffinity(None)?;
        pin(&self.server)?;
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        child
    }

    /// For reports.
    pub fn describe(&self) -> String {
        if self.server.is_empty() {
            "nothing pinned (too few processors)".to_string()
        } else {
            format!("server on processor {}, load and origin on {}", list(&self.server), list(&self.load))
        }
    }
}

fn pin(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    cores.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

fn list(cores: &[usize]) -> String {
    match cores {
        [one] => one.to_string(),
        [first, .., last] if last - first + 1 == cores.len() => format!("{first}–{last}"),
        _ => cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    }
}
