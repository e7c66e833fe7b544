//! A server under test: started, waited for, and looked at from outside through `/proc`.
//!
//! Everything that the command starts counts as the server: its threads, its children and theirs, as long as they stay its descendants.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cores::Cores;

/// A server that does not listen after this is given up.
pub const READY_WITHIN: Duration = Duration::from_secs(30);
/// An address where something else listens for longer than this is taken.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// After SIGTERM; then SIGKILL.
const STOP_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Bytes of a server's own words that an error repeats.
const WORDS_MAX: usize = 2000;

/// A running server. Dropped, it is stopped with all that it started.
pub struct Server {
    child: Child,
    log: File,
    /// From its start until it took the first connection.
    pub ready_after: Duration,
}

/// What a server had used up to some moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    threads: HashMap<(u32, u32), Thread>,
    /// CPU of all processes in the kernel's ticks, ended threads and children included.
    ticks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    cpu_ns: u64,
    switches: u64,
}

/// What a server used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// CPU of all threads.
    pub cpu: Duration,
    /// Context switches of all threads, voluntary or not.
    pub switches: u64,
}

/// Resident memory of all processes; a page that they share counts once in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now, bytes.
    pub now: u64,
    /// The most that it ever was, bytes.
    pub peak: u64,
}

impl Server {
    /// Starts `command` with a shell, on the server's processors, and waits until one of `addresses` takes a connection.
    pub fn start(command: &str, cores: &Cores, addresses: &[SocketAddr]) -> Result<Server, String> {
        let connects = || addresses.iter().any(|address| listens(*address));
        // A listener of a ring goes a moment after its process.
        let looked = Instant::now();
        while connects() {
            if looked.elapsed() > FREE_WITHIN {
                let addresses = list(addresses);
                return Err(format!("{addresses}: something listens there before `{command}` is started"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let started = Instant::now();
        let mut server = Server::shell(command, cores, Stdio::null())?;
        while !connects() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!(
                    "`{command}` ended with {status} and never listened on {}{}",
                    list(addresses),
                    server.words()
                ));
            }
            if started.elapsed() > READY_WITHIN {
                let waited = READY_WITHIN.as_secs();
                return Err(format!(
                    "`{command}` does not listen on {} after {waited} s{}",
                    list(addresses),
                    server.words()
                ));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    /// Starts a shell that waits to be told to start `command`: how long the command takes to start is then its own time, not the shell's.
    pub fn held(command: &str, cores: &Cores) -> Result<Held, String> {
        let (mut ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
        let waits = format!("echo >&0; read -r _ || exit; exec </dev/null; {command}");
        let mut server = Server::shell(&waits, cores, Stdio::from(OwnedFd::from(theirs)))?;
        match ours.read(&mut [0]) {
            Ok(1) => Ok(Held { server, line: ours }),
            _ => Err(format!("sh does not start{}", server.words())),
        }
    }

    fn shell(command: &str, cores: &Cores, input: Stdio) -> Result<Server, String> {
        let log = tempfile::tempfile().map_err(|e| e.to_string())?;
        let write = || log.try_clone().map(Stdio::from).map_err(|e| e.to_string());
        let mut shell = Command::new("sh");
        // A group of its own, so that all of it can be ended.
        shell.args(["-c", command]).process_group(0).stdin(input).stdout(write()?).stderr(write()?);
        let child = cores.spawn_server(&mut shell).map_err(|e| format!("sh: {e}"))?;
        Ok(Server { child, log, ready_after: Duration::ZERO })
    }

    /// The process that was started; what it started hangs below it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used up to now.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }

    /// Its memory.
    pub fn memory(&self) -> Memory {
        Memory::of(self.pid())
    }

    /// The end of what it wrote, to be put behind a message.
    pub fn words(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.log.rewind().and_then(|()| self.log.read_to_end(&mut text));
        if read.is_err() || text.is_empty() {
            return String::new();
        }
        let from = text.len().saturating_sub(WORDS_MAX);
        format!("; it says:\n{}", String::from_utf8_lossy(&text[from..]).trim_end())
    }

    /// False once the process that was started has ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// A shell that waits; dropped, it is ended.
pub struct Held {
    server: Server,
    line: UnixStream,
}

impl Held {
    /// Starts the command; the moment is when it was told to.
    pub fn go(mut self) -> Result<(Server, Instant), String> {
        let started = Instant::now();
        self.line.write_all(b"\n").map_err(|e| format!("sh: {e}"))?;
        Ok((self.server, started))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) else { return };
        // What is gone already cannot be signalled.
        let _ = kill_process_group(group, Signal::TERM);
        let asked = Instant::now();
        while self.is_running() && asked.elapsed() < STOP_WITHIN {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Usage {
    /// What a process and all below it have used up to now.
    pub fn of(root: u32) -> Usage {
        let mut usage = Usage::default();
        for pid in family(root) {
            usage.ticks += ticks(pid);
            for tid in numbers(&format!("/proc/{pid}/task")) {
                let read =
                    |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).unwrap_or_default();
                let cpu_ns = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
                let status = read("status");
                let switches =
                    field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
                usage.threads.insert((pid, tid), Thread { cpu_ns, switches });
            }
        }
        usage
    }

    /// There was no such process.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// What was used since `before`. Threads that ended in between are missing from the exact count; where the kernel's ticks show clearly more,
    /// those are taken.
    pub fn since(&self, before: &Usage) -> Spent {
        let (mut cpu_ns, mut switches) = (0, 0);
        for (thread, now) in &self.threads {
            let then = before.threads.get(thread).copied().unwrap_or_default();
            cpu_ns += now.cpu_ns.saturating_sub(then.cpu_ns);
            switches += now.switches.saturating_sub(then.switches);
        }
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let exact = Duration::from_nanos(cpu_ns);
        let by_ticks = Duration::from_nanos(self.ticks.saturating_sub(before.ticks) * tick);
        // Each count is rounded: two ticks are no difference.
        let cpu = if by_ticks > exact + Duration::from_nanos(2 * tick) { by_ticks } else { exact };
        Spent { cpu, switches }
    }
}

impl Memory {
    /// Of a process and all below it.
    pub fn of(root: u32) -> Memory {
        family(root).into_iter().fold(Memory::default(), |sum, pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            Memory { now: sum.now + field(&status, "VmRSS:") * 1024, peak: sum.peak + field(&status, "VmHWM:") * 1024 }
        })
    }
}

/// A process and all below it.
pub fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        numbers("/proc").into_iter().filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect();
    let mut family = vec![root];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(pid, of)| *of == parent && *pid != parent).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

fn ticks(pid: u32) -> u64 {
    // utime, stime, cutime, cstime: proc(5) counts them from 14; the list starts behind the name, with the third.
    stat(pid).map_or(0, |fields| fields.iter().skip(11).take(4).filter_map(|n| n.parse::<u64>().ok()).sum())
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_string).collect())
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The number of a line of `/proc/…/status`.
fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Takes a connection. One that found nobody but itself (its own port by chance) does not count.
fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().ok() != Some(address))
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ")
}
