//! The proxies of a run: one process a pod, kept running, asked whether they are ready and what they counted.

use super::admin;
use super::child::{Keeper, Lines, Spec};
use super::event::Event;
use super::traffic::{self, Observer};
use crate::mesh::{Mesh, Pod};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::mpsc;

/// Graceful drain of one proxy; gateways go first, so the end of a run takes at most twice this and a little more.
const DRAIN_SECONDS: u32 = 2;
/// After this a proxy is killed.
const GRACE: Duration = Duration::from_millis(2_600);
/// Between two questions whether a proxy is ready.
const READY_POLL: Duration = Duration::from_millis(10);
/// Between two looks at what the proxies counted.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// How proxies are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program.
    pub program: PathBuf,
    /// Private folder for sockets.
    pub folder: PathBuf,
    /// Socket of the config stream.
    pub config: PathBuf,
    /// `--io-backend`.
    pub io_backend: String,
    /// `--workers`.
    pub workers: u16,
    /// `--dns`.
    pub dns: Vec<std::net::SocketAddr>,
}

/// All proxies of a run.
pub struct Proxies {
    options: Options,
    running: BTreeMap<String, Proxy>,
    /// Numbers admin sockets: pod names may be too long for a socket's path.
    started: u32,
    events: mpsc::Sender<Event>,
    observed: Observed,
}

struct Proxy {
    keeper: Keeper,
    admin: PathBuf,
    gateway: bool,
}

type Observed = Arc<Mutex<Vec<(String, PathBuf)>>>;

/// A proxy that does not serve.
#[derive(Clone, Debug)]
pub struct NotReady {
    /// `namespace/pod`.
    pub node: String,
    /// Why.
    pub reason: String,
    /// Its last words.
    pub last_lines: Vec<String>,
}

impl Proxies {
    /// None yet. Traffic is told once a second from now on.
    pub fn new(options: Options, events: mpsc::Sender<Event>) -> Proxies {
        let observed = Observed::default();
        tokio::spawn(observe(observed.clone(), events.clone()));
        Proxies { options, running: BTreeMap::new(), started: 0, events, observed }
    }

    /// Starts those that `mesh` has and that do not run yet; their nodes are returned.
    pub fn apply(&mut self, mesh: &Mesh) -> Vec<String> {
        let mut added = Vec::new();
        for pod in mesh.pods.iter().filter(|pod| pod.sidecar) {
            let node = pod.node();
            if !self.running.contains_key(&node) {
                let proxy = self.start(pod);
                self.running.insert(node.clone(), proxy);
                added.push(node);
            }
        }
        self.note();
        added
    }

    /// Ends those that `mesh` has no more, gracefully and in the background; their nodes are returned.
    pub fn retain(&mut self, mesh: &Mesh) -> Vec<String> {
        let kept: HashSet<String> = mesh.pods.iter().filter(|pod| pod.sidecar).map(|pod| pod.node()).collect();
        let gone: Vec<String> = self.running.keys().filter(|node| !kept.contains(*node)).cloned().collect();
        for node in &gone {
            if let Some(proxy) = self.running.remove(node) {
                drop(proxy.keeper.stop());
            }
        }
        self.note();
        gone
    }

    /// Admin socket and process id of a proxy.
    pub fn report(&self, node: &str) -> Option<(String, Option<u32>)> {
        let proxy = self.running.get(node)?;
        Some((proxy.admin.display().to_string(), proxy.keeper.pid()))
    }

    /// What to ask whether these proxies are ready.
    pub fn readiness<'a>(&self, nodes: impl IntoIterator<Item = &'a String>) -> Readiness {
        let asked = nodes.into_iter().filter_map(|node| Some((node.clone(), self.running.get(node)?.admin.clone())));
        Readiness { waiting: asked.map(|(node, admin)| (node, admin, "it has not started".to_string())).collect() }
    }

    /// Turns those that did not get ready into a report.
    pub fn not_ready(&self, readiness: &Readiness) -> Vec<NotReady> {
        let tail = |node: &String| self.running.get(node).map(|proxy| proxy.keeper.last_lines()).unwrap_or_default();
        let report = |(node, _, reason): &(String, PathBuf, String)| NotReady {
            node: node.clone(),
            reason: reason.clone(),
            last_lines: tail(node),
        };
        readiness.waiting.iter().map(report).collect()
    }

    /// `uring` or `epoll`, as any of them says.
    pub async fn backend(&self) -> String {
        let Some(proxy) = self.running.values().next() else { return "no proxy".into() };
        let info = admin::get(&proxy.admin, "/server_info").await.ok();
        let json = info.and_then(|(_, text)| serde_json::from_str::<serde_json::Value>(&text).ok());
        json.and_then(|json| json["backend"].as_str().map(String::from)).unwrap_or_else(|| "unknown".into())
    }

    /// Ends those that are gateways. They go before the others, so that what they still forward finds its way.
    pub async fn stop_gateways(&mut self) {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let nodes: Vec<String> =
            self.running.iter().filter(|(_, proxy)| proxy.gateway).map(|(node, _)| node.clone()).collect();
        let ending: Vec<_> = nodes.iter().filter_map(|node| Some(self.running.remove(node)?.keeper.stop())).collect();
        for end in ending {
            let _ = end.await;
        }
    }

    /// Ends all.
    pub async fn stop(self) {
        let ending: Vec<_> = self.running.into_values().map(|proxy| proxy.keeper.stop()).collect();
        for end in ending {
            let _ = end.await;
        }
    }

    fn start(&mut self, pod: &Pod) -> Proxy {
        let admin = self.options.folder.join(format!("{}.sock", self.started));
        self.started += 1;
        let gateway = !pod.gateway.is_empty();
        let (options, node, socket) = (self.options.clone(), pod.node(), admin.clone());
        let spec = Spec {
            node: pod.node(),
            what: if gateway { "gateway" } else { "sidecar" },
            command: Box::new(move || {
                let mut command = Command::new(&options.program);
                command.arg("--config").arg(format!("unix:{}", options.config.display()));
                command.arg("--admin").arg(format!("unix:{}", socket.display()));
                command.args(["--node", &node, "--io-backend", &options.io_backend]);
                command.args(["--workers", &options.workers.to_string(), "--drain-time", &DRAIN_SECONDS.to_string()]);
                for server in &options.dns {
                    command.args(["--dns", &server.to_string()]);
                }
                command.arg("--exit-with-stdin");
                command
            }),
            stdout: Lines::Tell("access-log"),
            stderr: Lines::Keep,
            grace: GRACE,
        };
        Proxy { keeper: Keeper::start(spec, self.events.clone()), admin, gateway }
    }

    fn note(&self) {
        let list = self.running.iter().map(|(node, proxy)| (node.clone(), proxy.admin.clone())).collect();
        *self.observed.lock().unwrap_or_else(PoisonError::into_inner) = list;
    }
}

/// Proxies that have not said that they are ready, with what they said instead.
pub struct Readiness {
    waiting: Vec<(String, PathBuf, String)>,
}

impl Readiness {
    /// Asks until all are ready or the time is over; whether all are. May be dropped and called again.
    pub async fn wait(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let mut at = 0;
            while at < self.waiting.len() {
                match admin::get(&self.waiting[at].1, "/ready").await {
                    Ok((200, _)) => drop(self.waiting.swap_remove(at)),
                    Ok((status, text)) => {
                        self.waiting[at].2 = format!("it says {status} {}", text.trim());
                        at += 1;
                    }
                    Err(error) => {
                        self.waiting[at].2 = error;
                        at += 1;
                    }
                }
            }
            if self.waiting.is_empty() || Instant::now() >= end {
                return self.waiting.is_empty();
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

async fn observe(observed: Observed, events: mpsc::Sender<Event>) {
    let mut observer = Observer::default();
    let mut last = Instant::now();
    let mut quiet = false;
    let mut ticks = tokio::time::interval(OBSERVE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let proxies = observed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut totals = Vec::with_capacity(proxies.len());
        for (node, socket) in proxies {
            // One that does not answer now (it is being started) is left out of this look.
            if let Ok((200, page)) = admin::get(&socket, "/stats/prometheus").await {
                totals.push((node, traffic::read(&page)));
            }
        }
        let now = Instant::now();
        let flows = observer.observe(totals, now - std::mem::replace(&mut last, now));
        let was_quiet = std::mem::replace(&mut quiet, flows.iter().all(|flow| flow.rate == 0.0));
        // Silence is told once.
        if !(quiet && was_quiet) && events.send(Event::Traffic(flows)).await.is_err() {
            return;
        }
    }
}
