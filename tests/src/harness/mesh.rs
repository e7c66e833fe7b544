//! A mesh that `ringway run` runs, told by its JSON events: no fixed ports, no guessed addresses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::binary;
use super::child::Program;
use super::http::Client;
use super::wait::until;

/// A dozen processes each: several meshes at once would only disturb each other's timing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running mesh. Ends when dropped.
pub struct Mesh {
    /// The command.
    pub program: Program,
    events: Vec<Value>,
    /// Bytes of its output that have been read.
    read: usize,
    /// The `ready` event.
    pub ready: Value,
    _turn: MutexGuard<'static, ()>,
    // Last: the folder goes after the process, which is killed and cannot clear up.
    _temporary: tempfile::TempDir,
}

impl Mesh {
    /// Starts `ringway run` with these arguments in the repository's folder, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Mesh {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let temporary = temporary();
        let program = command(arguments, &temporary);
        let (events, ready) = (Vec::new(), Value::Null);
        let mut mesh = Mesh { program, events, read: 0, ready, _turn: turn, _temporary: temporary };
        mesh.ready = mesh.wait_for("the mesh to be ready", |event| event["event"] == "ready");
        mesh
    }

    /// Starts `ringway run` on what it has to refuse: how it ended, its events, and its standard error.
    pub fn refused(arguments: &[&str]) -> (ExitStatus, Vec<Value>, String) {
        let temporary = temporary();
        let mut program = command(arguments, &temporary);
        let status = program.wait();
        (status, program.stdout().lines().map(parse).collect(), program.stderr())
    }

    /// Everything told so far.
    pub fn events(&mut self) -> &[Value] {
        let text = self.program.stdout();
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if whole > self.read {
            self.events.extend(text[self.read..whole].lines().map(parse));
            self.read = whole;
        }
        &self.events
    }

    /// The first event, past or to come, for which this holds.
    pub fn wait_for(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_after(0, what, holds)
    }

    /// The same, without the first `from` events.
    pub fn wait_for_after(&mut self, from: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let found = self.events()[from..].iter().find(|event| holds(event)).cloned();
            if found.is_none() {
                assert!(self.program.exited().is_none(), "ringway ended while we waited for {what}");
            }
            found
        })
    }

    /// Where the only gateway port with this number is bound.
    pub fn gateway(&self, port: u16) -> SocketAddr {
        let doors = self.ready["gateways"].as_array().expect("a list of gateways");
        let door = doors.iter().find(|door| door["port"] == port);
        address(&door.unwrap_or_else(|| panic!("no gateway port {port} in {doors:?}"))["address"])
    }

    /// The report on the first pod of a workload.
    pub fn pod(&self, workload: &str) -> &Value {
        let found = self.pods().iter().find(|pod| pod["workload"] == workload);
        found.unwrap_or_else(|| panic!("no pod of {workload} in {}", self.ready))
    }

    /// The reports on all pods.
    pub fn pods(&self) -> &[Value] {
        self.ready["pods"].as_array().expect("a list of pods")
    }

    /// Every proxy's metrics page, by pod.
    pub fn metrics(&self) -> Vec<(String, String)> {
        let proxies = self.pods().iter().filter(|pod| pod["admin"] != "");
        proxies.map(|pod| (text(&pod["name"]), admin(Path::new(&text(&pod["admin"])), "/stats/prometheus"))).collect()
    }

    /// Asks it to stop and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.program.signal("TERM");
        self.program.wait()
    }
}

/// An address in an event.
pub fn address(value: &Value) -> SocketAddr {
    text(value).parse().unwrap_or_else(|e| panic!("{value} is no address: {e}"))
}

/// A text in an event.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// GET on an admin socket.
fn admin(socket: &Path, path: &str) -> String {
    let mut client = Client::try_unix(socket).unwrap_or_else(|e| panic!("{}: {e}", socket.display()));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    client.response().text()
}

/// A copy of a folder of manifests that a test may edit.
pub fn copy_of(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let from = binary::repository().join(folder);
    for entry in std::fs::read_dir(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().expect("an entry has a name");
        std::fs::copy(&path, copy.path().join(name)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    copy
}

/// Replaces text in a file; it has to be there.
pub fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(text.contains(from), "{} does not contain {from:?}", file.display());
    // As editors do: a reader sees the old file or the new one, never half of one.
    let beside: PathBuf = file.with_extension("edited");
    std::fs::write(&beside, text.replace(from, to)).expect("a temporary folder takes a file");
    std::fs::rename(&beside, file).expect("a file of the same folder");
}

/// Short: a Unix socket's path is limited to 107 bytes.
fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("rw").tempdir_in("/tmp").expect("/tmp takes a folder")
}

fn command(arguments: &[&str], temporary: &tempfile::TempDir) -> Program {
    let mut command = Command::new(binary::ringway());
    command.env("TMPDIR", temporary.path());
    command.current_dir(binary::repository()).arg("run").args(arguments).args([
        "--output",
        "json",
        "--exit-with-stdin",
    ]);
    Program::start(command)
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}"))
}
