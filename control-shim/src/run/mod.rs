//! `ringway run`: a whole mesh on this machine, from manifests alone: a stand-in app or a command for each pod, a real proxy beside it.
//!
//! [`start`] reads the manifests or says why not, [`live`] brings them up and applies edits, [`proxies`] and [`apps`] own the processes, [`view`] shows them.
//! Pods are told apart by loopback addresses ([`placement`]); no rights are needed.

pub mod annotations;
pub mod app;

mod admin;
mod apps;
mod changes;
mod child;
mod distribution;
mod event;
mod live;
mod network;
mod placement;
mod program;
mod proxies;
mod start;
mod traffic;
mod view;

use event::Event;
use ringway_config::model::AccessLog;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use view::View;

/// Events waiting to be shown; whoever has more to tell waits.
const EVENTS_MAX: usize = 1024;
/// Time for the last events to be shown.
const DISPLAY_END: Duration = Duration::from_millis(200);

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and folders, applied in order.
    pub paths: Vec<PathBuf>,
    /// List every pod's ports once it runs.
    pub list_ports: bool,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Security that is not enforced yet is no error.
    pub allow_unenforced: bool,
    /// `127.N`; the first free network when unset.
    pub network: Option<String>,
    /// Where people reach gateways.
    pub gateway_address: IpAddr,
    /// Ports below 1024 are opened as they are.
    pub privileged_ports: bool,
    /// `auto`, `uring` or `epoll`.
    pub io_backend: String,
    /// Threads of each proxy.
    pub workers: u16,
    /// DNS servers that the proxies ask; those of the system when there are none.
    pub dns: Vec<std::net::SocketAddr>,
    /// Format of the proxies' access logs, which are shown unless off; `None` leaves it to MeshConfig.
    pub access_log: Option<AccessLog>,
    /// How the proxies take request heads.
    pub heads: crate::cli::heads::Heads,
    /// Stop when standard input ends.
    pub exit_with_stdin: bool,
}

/// Why a run ended before it was asked to.
#[derive(Debug)]
enum Failure {
    /// The manifests have errors; they have been shown.
    Manifests,
    /// Something that a run needs is missing or does not work.
    Environment(String),
    /// Nobody reads what we write.
    Unread,
}

/// Runs until SIGINT, SIGTERM or SIGHUP, or the end of standard input if that counts. 0 when it was asked to stop, 1 otherwise.
pub fn run(options: Options) -> ExitCode {
    raise_descriptor_limit();
    // One thread: children are tied to the life of the thread that starts them, and this one lives to the end.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no event loop: {error}")),
    };
    match runtime.block_on(run_mesh(options)) {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Manifests) => ExitCode::from(1),
        Err(Failure::Environment(why)) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(1)
}

async fn run_mesh(options: Options) -> Result<(), Failure> {
    let mut stop = Stop::new(options.exit_with_stdin)
        .map_err(|error| Failure::Environment(format!("signals or threads: {error}")))?;
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let mut mesh = start::prepare(options, &events)?;
    let mut display =
        display(mesh.view(), told).map_err(|error| Failure::Environment(format!("no thread: {error}")))?;
    let outcome = tokio::select! {
        outcome = mesh.live() => outcome,
        () = stop.asked() => Ok(()),
        _ = &mut display => Err(Failure::Unread),
    };
    tell_end(&events, Event::Stopping).await;
    tokio::select! {
        () = mesh.stop() => {}
        // The second signal is for those who cannot wait: what is left is killed when it is dropped.
        () = stop.asked() => {}
    }
    tell_end(&events, Event::Stopped).await;
    // A held terminal must not hold up the end.
    let _ = tokio::time::timeout(DISPLAY_END, display).await;
    outcome
}

/// Shows events until the last one, or until nobody reads them. On a thread of its own: a terminal may be held (Ctrl-S), and the mesh goes on.
fn display(mut view: View<std::io::Stdout>, mut told: mpsc::Receiver<Event>) -> std::io::Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("display".into()).spawn(move || {
        while let Some(event) = told.blocking_recv() {
            let last = matches!(event, Event::Stopped);
            if view.show(&event).is_err() || last {
                break;
            }
        }
        // Nobody may wait any more.
        let _ = done.send(());
    })?;
    Ok(ended)
}

/// Tells, unless nobody has taken an event for a while.
async fn tell_end(events: &mpsc::Sender<Event>, event: Event) {
    let _ = tokio::time::timeout(DISPLAY_END, events.send(event)).await;
}

/// The ways in which a run is asked to stop.
struct Stop {
    signals: [Signal; 3],
    /// Ends when standard input does, if that counts.
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stop {
    fn new(with_stdin: bool) -> std::io::Result<Stop> {
        let signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        Ok(Stop { signals, stdin: if with_stdin { Some(stdin_end()?) } else { None } })
    }

    /// Waits for the next reason.
    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        let stdin = async {
            match &mut self.stdin {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = stdin => self.stdin = None,
        }
    }
}

/// A blocking read belongs on a thread of its own.
fn stdin_end() -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut sink = [0; 256];
        while std::io::stdin().read(&mut sink).is_ok_and(|n| n > 0) {}
        // Nobody may wait any more.
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// Every connection of a mesh ends in this process or a child: the soft limit of 1,024 is too small for a load test, and children inherit it.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused the old limit stands, and connections beyond it wait.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
