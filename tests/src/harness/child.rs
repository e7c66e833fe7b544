//! A child process that ends with its test and whose output is at hand when the test fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait::until;

/// A running program. Its standard input is held open by us, so that a program started with `--exit-with-stdin` goes when we go.
pub struct Program {
    name: String,
    child: Child,
    stdout: File,
    stderr: File,
    kept: Vec<tempfile::TempDir>,
}

impl Program {
    /// Starts `command`; output goes to unnamed files, not to pipes that could fill up.
    pub fn start(mut command: Command) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdin(Stdio::piped());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Program { name, child, stdout, stderr, kept: Vec::new() }
    }

    /// Removes this folder only after the program's end.
    pub fn keep(&mut self, dir: tempfile::TempDir) {
        self.kept.push(dir);
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        read_all(&self.stderr)
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child that we have not reaped can be waited for")
    }

    /// Sends a signal by name (`TERM`, `INT`, `STOP` …).
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "could not send {name} to {}", self.name);
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        until(&format!("the end of {name}"), || self.exited())
    }

    /// Resident memory now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") << 10
    }

    /// Highest resident memory so far, in bytes.
    pub fn resident_bytes_max(&self) -> u64 {
        self.status_kib("VmHWM:") << 10
    }

    /// CPU time spent so far, by all its threads.
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process is running");
        let spent = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks.filter_map(spent).sum())
    }

    /// Times that its threads went to sleep so far.
    pub fn sleeps(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process is running");
        let counted = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        };
        tasks.filter_map(counted).sum()
    }

    /// Descriptors open now.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process is running").count()
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is running");
        let line = status.lines().find(|l| l.starts_with(key)).expect("a Linux kernel reports it");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let early = self.exited();
        if std::thread::panicking() {
            let how = match early {
                None => "was running".to_owned(),
                Some(s) => format!("had ended: code {:?}, signal {:?}", s.code(), s.signal()),
            };
            eprintln!(
                "--- {} ({how}) wrote on stdout:\n{}--- on stderr:\n{}---",
                self.name,
                self.stdout(),
                self.stderr()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(file: &File) -> String {
    // The child appends through its own descriptor of the same open file, so we must not move the shared offset: reopen by path.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let mut text = Vec::new();
    if let Ok(mut again) = File::open(path) {
        let _ = again.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
