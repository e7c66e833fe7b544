//! The proxy under test: the real binary, started with a snapshot file or fed over the local socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_config::Snapshot;
use ringway_config::model::Role;
use tempfile::TempDir;

use super::binary;
use super::child::Program;
use super::config::{AUTHORITY, Config, MAIN};
use super::http::{Client, Response};
use super::matrix::{Backend, Case};
use super::shim::{Link, Shim};
use super::wait::until;

/// How to start a proxy.
pub struct ProxyBuilder {
    config: Config,
    backend: Option<Backend>,
    workers: usize,
    drain_time_s: Option<u32>,
    dns: Option<SocketAddr>,
    state_dir: Option<PathBuf>,
    descriptors_max: Option<u64>,
    environment: Vec<(String, String)>,
    refusal: Option<Refusal>,
}

/// How a seccomp profile refuses io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As Docker and containerd do.
    Eperm,
    /// As Podman and CRI-O do.
    Enosys,
}

/// A running proxy. Ends when dropped.
pub struct Proxy {
    /// The process.
    pub program: Program,
    admin: PathBuf,
    listeners: Vec<(String, SocketAddr)>,
    backend: String,
    // Last: the folder goes after the process.
    _dir: TempDir,
}

impl ProxyBuilder {
    /// A proxy for this cell of the matrix.
    pub fn new(case: Case, config: Config) -> ProxyBuilder {
        ProxyBuilder { backend: Some(case.backend), workers: case.workers, ..ProxyBuilder::auto(config) }
    }

    /// A proxy that chooses its driver itself.
    pub fn auto(config: Config) -> ProxyBuilder {
        ProxyBuilder {
            config,
            backend: None,
            workers: 1,
            drain_time_s: None,
            dns: None,
            state_dir: None,
            descriptors_max: None,
            environment: Vec::new(),
            refusal: None,
        }
    }

    /// A proxy with nothing behind it, to see what this machine allows.
    pub fn probe() -> ProxyBuilder {
        ProxyBuilder::auto(Config::http(Role::Outbound))
    }

    /// `--dns`.
    pub fn dns(mut self, server: SocketAddr) -> ProxyBuilder {
        self.dns = Some(server);
        self
    }

    /// `--drain-time`, in seconds.
    pub fn drain_time(mut self, seconds: u32) -> ProxyBuilder {
        self.drain_time_s = Some(seconds);
        self
    }

    /// `--state-dir`.
    pub fn state_dir(mut self, dir: &Path) -> ProxyBuilder {
        self.state_dir = Some(dir.to_owned());
        self
    }

    /// Starts it under this hard limit of open files.
    pub fn descriptors_max(mut self, n: u64) -> ProxyBuilder {
        self.descriptors_max = Some(n);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> ProxyBuilder {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// `--workers`.
    pub fn workers(mut self, n: usize) -> ProxyBuilder {
        self.workers = n;
        self
    }

    /// Starts it under a seccomp filter that refuses io_uring's system calls.
    pub fn refuse_io_uring(mut self, refusal: Refusal) -> ProxyBuilder {
        self.refusal = Some(refusal);
        self
    }

    /// Starts it on a snapshot file and waits until it serves.
    pub fn start(self) -> Proxy {
        let (program, dir) = self.start_on_file();
        Proxy::when_ready(program, dir)
    }

    /// Starts it on a snapshot file and does not wait.
    pub fn start_unready(self) -> Program {
        let (mut program, dir) = self.start_on_file();
        program.keep(dir);
        program
    }

    fn start_on_file(self) -> (Program, TempDir) {
        let dir = temporary_dir();
        let snapshot = dir.path().join("snapshot");
        self.config.snapshot().write_file(&snapshot).expect("a temporary folder takes a file");
        let program = self.spawn(dir.path(), &format!("file:{}", snapshot.display()));
        (program, dir)
    }

    /// Starts it on this snapshot file, whatever is in it, and waits for its end.
    pub fn start_refused(self, snapshot: &[u8]) -> Program {
        let dir = temporary_dir();
        let path = dir.path().join("snapshot");
        std::fs::write(&path, snapshot).expect("a temporary folder takes a file");
        let mut program = self.spawn(dir.path(), &format!("file:{}", path.display()));
        program.wait();
        program
    }

    /// Starts it on the local socket of a shim that the test plays, with the builder's config as the first one.
    pub fn start_with_shim(self) -> (Proxy, Link) {
        let snapshot = self.config.snapshot();
        let (program, dir, shim) = self.spawn_with_shim();
        let mut link = shim.accept();
        link.publish(&snapshot);
        (Proxy::when_ready(program, dir), link)
    }

    /// Starts it on the local socket of a shim that has not answered yet.
    pub fn spawn_with_shim(self) -> (Program, TempDir, Shim) {
        let dir = temporary_dir();
        let shim = Shim::bind(&dir.path().join("config.sock"));
        let program = self.spawn(dir.path(), &format!("unix:{}", shim.path().display()));
        (program, dir, shim)
    }

    fn spawn(&self, dir: &Path, config: &str) -> Program {
        let mut command = match self.descriptors_max {
            None => Command::new(binary::dataplane()),
            Some(n) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {n} && exec \"$0\" \"$@\"")).arg(binary::dataplane());
                shell
            }
        };
        command.args(["--config", config, "--node", &self.config.listeners.name]);
        command.args(["--workers", &self.workers.to_string(), "--exit-with-stdin"]);
        command.arg("--admin").arg(format!("unix:{}", admin_socket(dir).display()));
        if let Some(backend) = self.backend {
            command.args(["--io-backend", backend.name()]);
        }
        if let Some(seconds) = self.drain_time_s {
            command.args(["--drain-time", &seconds.to_string()]);
        }
        if let Some(server) = self.dns {
            command.args(["--dns", &server.to_string()]);
        }
        if let Some(dir) = &self.state_dir {
            command.arg("--state-dir").arg(dir);
        }
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        match self.refusal {
            None => Program::start(command),
            Some(refusal) => start_filtered(command, refusal),
        }
    }
}

/// A filter is inherited by children and cannot be taken off again, so it is put on a thread that does nothing but start the child.
fn start_filtered(command: Command, refusal: Refusal) -> Program {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    /// io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
    const IO_URING: [i64; 3] = [425, 426, 427];
    let errno = match refusal {
        Refusal::Eperm => 1,
        Refusal::Enosys => 38,
    };
    let start = move || {
        let rules = IO_URING.iter().map(|call| (*call, Vec::new())).collect();
        let arch = std::env::consts::ARCH.try_into().expect("seccomp knows this architecture");
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch).expect("a valid filter");
        let program: BpfProgram = filter.try_into().expect("a filter that compiles");
        seccompiler::apply_filter(&program).expect("seccomp filters are allowed");
        Program::start(command)
    };
    std::thread::spawn(start).join().expect("the child starts")
}

impl Proxy {
    /// A proxy of one HTTP listener of this role, sending everything to `upstream`.
    pub fn to(case: Case, role: Role, upstream: SocketAddr) -> Proxy {
        ProxyBuilder::new(case, Config::http(role).upstream(upstream)).start()
    }

    /// Takes over a started process once `/ready` says 200.
    pub fn when_ready(mut program: Program, dir: TempDir) -> Proxy {
        let admin = admin_socket(dir.path());
        until("the proxy to be ready", || {
            assert!(program.exited().is_none(), "the proxy ended instead of serving:\n{}", program.stderr());
            let mut client = Client::try_unix(&admin).ok()?;
            client.try_send("GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
            (client.try_response(false).ok()?.status == 200).then_some(())
        });
        let mut proxy = Proxy { program, admin, listeners: Vec::new(), backend: String::new(), _dir: dir };
        proxy.look();
        proxy
    }

    /// Reads `/server_info` again: listeners may have come and gone.
    pub fn look(&mut self) {
        let info = self.admin("/server_info").json();
        let text =
            |v: &serde_json::Value| v.as_str().unwrap_or_else(|| panic!("a string in /server_info: {info}")).to_owned();
        let listeners = info["listeners"].as_array().unwrap_or_else(|| panic!("listeners in /server_info: {info}"));
        let listener = |l: &serde_json::Value| (text(&l["name"]), text(&l["address"]).parse().expect("an address"));
        self.listeners = listeners.iter().map(listener).collect();
        self.backend = text(&info["backend"]);
    }

    /// The driver in use.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Where the main listener listens.
    pub fn address(&self) -> SocketAddr {
        self.listener(MAIN)
    }

    /// Where this listener listens.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("no listener {name} among {:?}", self.listeners)).1
    }

    /// All listeners: name and address.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// A new connection to the main listener.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        self.client().get(AUTHORITY, path)
    }

    /// GET on the admin socket.
    pub fn admin(&self, path: &str) -> Response {
        self.admin_request(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// POST on the admin socket.
    pub fn admin_post(&self, path: &str) -> Response {
        self.admin_request(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Any request on the admin socket.
    pub fn admin_request(&self, request: &str) -> Response {
        let mut client = Client::try_unix(&self.admin).expect("the admin socket is open");
        client.send(request);
        client.response()
    }

    /// A metric's value, summed over all series that carry these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let page = self.admin("/stats/prometheus").text();
        let of_name = page.lines().filter_map(|l| l.strip_prefix(name)).filter(|l| l.starts_with(['{', ' ']));
        let wanted: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        of_name
            .filter(|l| wanted.iter().all(|w| l.contains(w)))
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// Compiled and written to bytes, for tests that damage it.
pub fn bytes_of(snapshot: &Snapshot) -> Vec<u8> {
    snapshot.to_bytes()
}

fn temporary_dir() -> TempDir {
    // Short: a Unix socket's path is limited to 107 bytes.
    tempfile::Builder::new().prefix("rw").tempdir_in("/tmp").expect("/tmp takes a folder")
}

fn admin_socket(dir: &Path) -> PathBuf {
    dir.join("admin.sock")
}
