//! The apps of a run: stand-ins on a thread of their own, and commands as child processes.

use super::annotations::{Wishes, wishes};
use super::app::{App, Identity, serve_echo};
use super::child::{Keeper, Lines, Spec};
use super::event::Event;
use crate::diagnostic::Diagnostic;
use crate::mesh::{Mesh, Pod, Selectors};
use crate::object::service::Carried;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Connections that wait to be accepted: a load test opens hundreds at once, and a refused one would look like the mesh's fault.
const BACKLOG: u32 = 4096;
/// Time for a command to end after SIGTERM.
const COMMAND_GRACE: Duration = Duration::from_secs(2);

/// Everything that runs behind the proxies.
pub struct Apps {
    runtime: Handle,
    /// Dropped: the thread ends.
    _stop: oneshot::Sender<()>,
    pods: HashMap<String, PodApps>,
    events: mpsc::Sender<Event>,
}

/// What runs in one pod.
enum PodApps {
    StandIn { app: Arc<App>, ports: HashMap<SocketAddr, (Carried, AbortHandle)> },
    Command { spec: CommandSpec, keeper: Keeper },
}

#[derive(Clone, Debug, PartialEq)]
struct CommandSpec {
    words: Vec<String>,
    env: Vec<(String, String)>,
}

impl Apps {
    /// Starts the thread of the stand-ins.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<Apps> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("apps".into()).spawn(move || {
            // Ends with an error when the other half is dropped; either way it is over.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Apps { runtime: handle, _stop: stop, pods: HashMap::new(), events })
    }

    /// Starts what `mesh` has and does not run yet, and changes what changed. What left is kept: see [`Apps::retain`].
    pub fn apply(&mut self, mesh: &Mesh) -> Vec<Diagnostic> {
        let selectors = Selectors::new(&mesh.objects);
        let mut found = Vec::new();
        for pod in mesh.pods.iter().filter(|pod| !pod.stand_in) {
            let wishes = wishes(pod);
            if wishes.command.is_empty() {
                self.stand_in(pod, wishes, &carried(pod, &selectors), &mut found);
            } else {
                self.command(pod, wishes);
            }
        }
        found
    }

    /// Stops the apps of pods that are not in `mesh`. Connections to stand-ins live on until their clients close them.
    pub fn retain(&mut self, mesh: &Mesh) {
        let kept: HashSet<String> = mesh.pods.iter().map(|pod| pod.node()).collect();
        self.pods.retain(|node, apps| {
            let keep = kept.contains(node);
            if !keep && let PodApps::StandIn { ports, .. } = apps {
                ports.values().for_each(|(_, task)| task.abort());
            }
            // A dropped keeper ends its child.
            keep
        });
    }

    /// Ends every command. The stand-ins answer on until this is dropped.
    pub async fn stop_commands(&mut self) {
        let commands = self.pods.extract_if(|_, apps| matches!(apps, PodApps::Command { .. }));
        let ending: Vec<_> = commands
            .filter_map(|(_, apps)| match apps {
                PodApps::Command { keeper, .. } => Some(keeper.stop()),
                PodApps::StandIn { .. } => None,
            })
            .collect();
        for end in ending {
            let _ = end.await;
        }
    }

    fn stand_in(&mut self, pod: &Pod, wishes: Wishes, carried: &HashMap<u16, Carried>, found: &mut Vec<Diagnostic>) {
        let identity = identity(pod, wishes);
        let entry = self.pods.entry(pod.node()).and_modify(|apps| {
            if matches!(apps, PodApps::Command { .. }) {
                *apps = new_stand_in(identity.clone());
            }
        });
        let PodApps::StandIn { app, ports } = entry.or_insert_with(|| new_stand_in(identity.clone())) else { return };
        app.become_known_as(identity);
        let wanted: HashMap<SocketAddr, Carried> =
            pod.app.iter().map(|(port, at)| (*at, carried.get(port).copied().unwrap_or(Carried::Http))).collect();
        ports.retain(|at, (how, task)| {
            let keep = wanted.get(at) == Some(how);
            if !keep {
                task.abort();
            }
            keep
        });
        for (at, how) in wanted {
            if ports.contains_key(&at) {
                continue;
            }
            match listen(&self.runtime, at) {
                Ok(listener) => {
                    let task = match how {
                        Carried::Http => self.runtime.spawn(app.clone().serve_http(listener)),
                        Carried::Tcp => self.runtime.spawn(serve_echo(listener)),
                    };
                    ports.insert(at, (how, task.abort_handle()));
                }
                Err(error) => {
                    let message = format!("the app of {} cannot listen on {at}: {error}", pod.node());
                    found.push(Diagnostic::error("app-port", message, "").about(pod.object.clone()));
                }
            }
        }
    }

    fn command(&mut self, pod: &Pod, wishes: Wishes) {
        let spec = CommandSpec { env: environment(pod, &wishes), words: wishes.command };
        if let Some(PodApps::Command { spec: running, .. }) = self.pods.get(&pod.node())
            && *running == spec
        {
            return;
        }
        if let Some(PodApps::StandIn { ports, .. }) = self.pods.get(&pod.node()) {
            ports.values().for_each(|(_, task)| task.abort());
        }
        let child = spec.clone();
        let keeper = Keeper::start(
            Spec {
                node: pod.node(),
                what: "command",
                command: Box::new(move || leashed(&child)),
                stdout: Lines::Tell("command"),
                stderr: Lines::Tell("command"),
                grace: COMMAND_GRACE,
            },
            self.events.clone(),
        );
        self.pods.insert(pod.node(), PodApps::Command { spec, keeper });
    }
}

fn new_stand_in(identity: Identity) -> PodApps {
    PodApps::StandIn { app: App::new(identity), ports: HashMap::new() }
}

/// The command, started by ourselves as `ringway leash`, which ties it to our life before it becomes it.
fn leashed(spec: &CommandSpec) -> Command {
    // /proc/self/exe stays right when the file was replaced by a build.
    let mut command = Command::new("/proc/self/exe");
    command.arg("leash").arg(std::process::id().to_string()).arg("--").args(&spec.words);
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command
}

/// What a command needs to know, then what its annotation says.
fn environment(pod: &Pod, wishes: &Wishes) -> Vec<(String, String)> {
    let mut env = vec![
        ("POD_IP".to_string(), pod.address.to_string()),
        ("POD_NAME".to_string(), pod.name.clone()),
        ("POD_NAMESPACE".to_string(), pod.namespace.clone()),
    ];
    if let Some(at) = pod.app.values().next() {
        env.push(("PORT".into(), at.port().to_string()));
    }
    if pod.sidecar {
        let proxy = format!("http://{}", pod.outbound);
        env.push(("HTTP_PROXY".into(), proxy.clone()));
        env.push(("http_proxy".into(), proxy));
    }
    env.extend(wishes.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

fn identity(pod: &Pod, wishes: Wishes) -> Identity {
    let workload = &pod.workload;
    Identity {
        app: if workload.app.is_empty() { workload.name.clone() } else { workload.app.clone() },
        version: workload.version.clone(),
        workload: workload.name.clone(),
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        calls: wishes.calls,
        proxy: pod.sidecar.then_some(pod.outbound),
        tcp: pod.tcp.iter().map(|((host, port), at)| (host.clone(), *port, *at)).collect(),
    }
}

/// How each port of the pod is carried, as the services that select it say.
fn carried(pod: &Pod, selectors: &Selectors<'_>) -> HashMap<u16, Carried> {
    let mut all = HashMap::new();
    for service in selectors.of(&pod.namespace, &pod.labels) {
        for port in &service.ports {
            if let Some(number) = pod.port(&port.target) {
                all.insert(number, port.carried);
            }
        }
    }
    all
}

fn listen(runtime: &Handle, at: SocketAddr) -> std::io::Result<TcpListener> {
    let _context = runtime.enter();
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}
