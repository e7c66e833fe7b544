//! A child process that is kept running: started again when it ends by itself, asked to end when the run ends, and never outliving it.

use super::event::Event;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Pause before the first new start; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause before a new start.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Who ran this long is taken for healthy: the next pause is short again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Last lines kept for a report.
const LAST_LINES_MAX: usize = 40;
/// Time for the last lines of a child that has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Longest line taken; a longer one is cut into several.
const LINE_BYTES_MAX: usize = 4096;

/// What to run.
pub struct Spec {
    /// `namespace/pod`.
    pub node: String,
    /// `sidecar`, `gateway` or `command`, as events name it.
    pub what: &'static str,
    /// Makes the command line, anew for each start.
    pub command: Box<dyn Fn() -> Command + Send>,
    /// What to do with lines on its standard output.
    pub stdout: Lines,
    /// What to do with lines on its standard error.
    pub stderr: Lines,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
}

/// What becomes of lines that a child writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Kept for a report; those that start with `error` or `warning` are told at once.
    Keep,
    /// Told, one by one, under this name.
    Tell(&'static str),
}

/// A child that is kept running.
pub struct Keeper {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// 0 while it does not run.
    pid: AtomicU32,
    last_lines: Mutex<VecDeque<String>>,
}

impl Keeper {
    /// Starts it. Must be called on the thread that lives as long as the run.
    pub fn start(spec: Spec, events: mpsc::Sender<Event>) -> Keeper {
        let (stop, stopped) = oneshot::channel();
        let state = Arc::new(State::default());
        let task = tokio::spawn(keep(spec, state.clone(), events, stopped));
        Keeper { stop: Some(stop), task, state }
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        Some(self.state.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// What it said last.
    pub fn last_lines(&self) -> Vec<String> {
        self.state.lines()
    }

    /// Asks it to end and returns what to wait for. It is killed when its grace is over.
    pub fn stop(mut self) -> JoinHandle<()> {
        if let Some(stop) = self.stop.take() {
            // Gone already: nothing to stop.
            let _ = stop.send(());
        }
        self.task
    }
}

impl State {
    fn lines(&self) -> Vec<String> {
        self.last_lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, line: &str) {
        let mut lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.to_string());
    }
}

async fn keep(spec: Spec, state: Arc<State>, events: mpsc::Sender<Event>, mut stopped: oneshot::Receiver<()>) {
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let how = match start(&spec, &state, &events) {
            Err(error) => format!("it cannot be started: {error}"),
            Ok((mut child, followers)) => {
                // Held for as long as the child may live; waiting for it would close it.
                let _stdin = child.stdin.take();
                let ended = tokio::select! {
                    ended = child.wait() => ended,
                    _ = &mut stopped => return end(&mut child, followers, spec.grace).await,
                };
                state.pid.store(0, Ordering::Relaxed);
                // What it said last is still on its way; a grandchild may hold the pipe open for longer.
                let _ = tokio::time::timeout(LAST_WORDS, followers.join_all()).await;
                ended.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
        };
        if started.elapsed() >= HEALTHY_AFTER {
            pause = PAUSE_MIN;
        }
        let again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let event =
            Event::Ended { node: spec.node.clone(), what: spec.what, how, last_lines: state.lines(), again_in_ms };
        if events.send(event).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut stopped => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn start(spec: &Spec, state: &Arc<State>, events: &mpsc::Sender<Event>) -> std::io::Result<(Child, JoinSet<()>)> {
    let mut command = (spec.command)();
    // A group of its own: Ctrl-C on the terminal reaches us alone, and we end children in order.
    // Standard input is a pipe that we hold: a child that watches it ends with us, however we end.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    state.last_lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    state.pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
    let mut followers = JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        followers.spawn(follow(stdout, spec.stdout, spec.node.clone(), state.clone(), events.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        followers.spawn(follow(stderr, spec.stderr, spec.node.clone(), state.clone(), events.clone()));
    }
    Ok((child, followers))
}

async fn end(child: &mut Child, followers: JoinSet<()>, grace: Duration) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // An error means that it has ended already.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    let _ = tokio::time::timeout(LAST_WORDS, followers.join_all()).await;
}

/// Reads lines until the other end closes.
async fn follow(
    mut from: impl AsyncRead + Unpin,
    lines: Lines,
    node: String,
    state: Arc<State>,
    events: mpsc::Sender<Event>,
) {
    let mut block = vec![0; LINE_BYTES_MAX];
    let mut line = Vec::new();
    while let Ok(n @ 1..) = from.read(&mut block).await {
        for byte in &block[..n] {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte != b'\n' && line.len() < LINE_BYTES_MAX {
                continue;
            }
            let text = visible(&line);
            line.clear();
            state.keep(&text);
            let told = match lines {
                Lines::Tell(what) => Some(what),
                Lines::Keep if text.starts_with("error") || text.starts_with("warning") => Some("proxy"),
                Lines::Keep => None,
            };
            if let Some(what) = told
                && events.send(Event::Line { node: node.clone(), what, text }).await.is_err()
            {
                return;
            }
        }
    }
}

/// Text with control characters (a terminal's escapes) made visible.
fn visible(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end()
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &'static str, grace: Duration) -> Spec {
        Spec {
            node: "default/a".into(),
            what: "command",
            command: Box::new(move || {
                let mut command = Command::new("sh");
                command.args(["-c", script]);
                command
            }),
            stdout: Lines::Tell("command"),
            stderr: Lines::Keep,
            grace,
        }
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_told_and_started_again() {
        let (events, mut told) = mpsc::channel(16);
        let keeper = Keeper::start(shell("echo last words >&2; echo said; exit 3", PAUSE_MAX), events);
        let (mut ends, mut said, mut words) = (0, 0, 0);
        while ends < 2 {
            match told.recv().await.unwrap() {
                Event::Ended { how, again_in_ms, last_lines, .. } => {
                    ends += 1;
                    words += last_lines.iter().filter(|line| *line == "last words").count();
                    assert!(how.contains('3'), "{how}");
                    assert_eq!(again_in_ms, 100 * ends);
                }
                Event::Line { text, .. } => {
                    said += 1;
                    assert_eq!(text, "said");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(said >= 1 && words >= 1);
        keeper.stop().await.unwrap();
    }

    #[tokio::test]
    async fn standard_input_stays_open_until_the_end() {
        let (events, mut told) = mpsc::channel(16);
        let keeper =
            Keeper::start(shell("trap 'echo asked; exit' TERM; echo up; read line; echo closed", PAUSE_MAX), events);
        assert!(matches!(told.recv().await, Some(Event::Line { text, .. }) if text == "up"));
        keeper.stop().await.unwrap();
        assert!(matches!(told.recv().await, Some(Event::Line { text, .. }) if text == "asked"));
    }

    #[tokio::test]
    async fn what_does_not_listen_is_killed() {
        let (events, mut told) = mpsc::channel(16);
        let keeper =
            Keeper::start(shell("trap '' TERM; echo up; while :; do sleep 1; done", Duration::from_millis(50)), events);
        assert!(matches!(told.recv().await, Some(Event::Line { .. })));
        let pid = keeper.pid().unwrap();
        keeper.stop().await.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
        assert!(told.recv().await.is_none(), "an asked-for end is no news");
    }
}
