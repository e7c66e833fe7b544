//! The way to a running mesh: manifests that have no errors, and everything that a run needs.

use super::apps::Apps;
use super::distribution::Distribution;
use super::event::Event;
use super::live::{Findings, Running};
use super::network::Network;
use super::placement::Loopback;
use super::program::{PrivateFolder, find_dataplane};
use super::proxies::{self, Proxies};
use super::{Failure, Options, annotations};
use crate::diagnostic::Diagnostic;
use crate::mesh::{self, Mesh};
use crate::object::{Loaded, Manifests, decode};
use crate::source::{folder, watch::Watcher};
use crate::translate::translate;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Each pod is a process with buffers of its own.
pub const PODS_MAX: usize = 500;
/// Name of the config stream's socket in the private folder.
const CONFIG_SOCKET: &str = "config.sock";

/// Reads and compiles the manifests, shows what is wrong with them, and makes ready what will run. Nothing runs yet.
pub fn prepare(options: Options, events: &mpsc::Sender<Event>) -> Result<Running, Failure> {
    let began = Instant::now();
    let program = find_dataplane().map_err(Failure::Environment)?;
    let network =
        Network::choose(options.network.as_deref()).map_err(|error| Failure::Environment(error.to_string()))?;
    let mut placement = Loopback::new(network, options.gateway_address, options.privileged_ports);

    // From before the files are read, so that no edit is missed.
    let (edited, edits) = mpsc::channel::<()>(1);
    let watcher = Watcher::start(&options.paths, move || match edited.try_send(()) {
        // One edit is waiting already: this one is seen with it.
        Ok(()) | Err(mpsc::error::TrySendError::Full(())) => true,
        Err(mpsc::error::TrySendError::Closed(())) => false,
    });
    let watcher = watcher.map_err(|error| Failure::Environment(format!("cannot watch the files: {error}")))?;
    let mut manifests = Manifests::default();
    let loaded = load(&mut manifests, &options);
    let mut found = loaded.diagnostics;
    let mesh = Mesh::new(loaded.objects, &mut placement, mesh_options(&options));
    let compiled = translate(&mesh, None);
    found.extend(mesh.diagnostics.iter().cloned());
    found.extend(placement.take_notices());
    found.extend(compiled.diagnostics.iter().cloned());
    show(&found, options.json);
    if found.iter().any(Diagnostic::is_error) {
        return Err(Failure::Manifests);
    }
    if mesh.pods.is_empty() {
        return Err(Failure::Environment(
            "the manifests have no pod to run: add a Deployment, StatefulSet or Pod".into(),
        ));
    }

    let unavailable = |what: &str, error: std::io::Error| Failure::Environment(format!("{what}: {error}"));
    let folder = PrivateFolder::create().map_err(|error| unavailable("a private folder", error))?;
    let socket = folder.path().join(CONFIG_SOCKET);
    let compiled = Arc::new(compiled);
    let distribution = Distribution::start(&socket, compiled.clone());
    let distribution = distribution.map_err(|error| unavailable("the config socket", error))?;
    let proxies = Proxies::new(
        proxies::Options {
            program,
            folder: folder.path().to_path_buf(),
            config: socket,
            io_backend: options.io_backend.clone(),
            workers: options.workers,
            dns: options.dns.clone(),
        },
        events.clone(),
    );
    let apps = Apps::start(events.clone()).map_err(|error| unavailable("the stand-in apps", error))?;
    Ok(Running {
        options,
        began,
        placement,
        manifests,
        mesh,
        compiled,
        distribution,
        proxies: Some(proxies),
        apps: Some(apps),
        events: events.clone(),
        findings: Findings::of(found),
        edits,
        _watcher: watcher,
        _folder: folder,
    })
}

/// Why a mesh cannot run here, whatever its manifests say.
pub fn unfit(mesh: &Mesh) -> Option<String> {
    match mesh.pods.len() {
        0 => Some("the manifests have no pod to run: add a Deployment, StatefulSet or Pod".into()),
        1..=PODS_MAX => None,
        pods => Some(format!("{pods} pods are more than the {PODS_MAX} that one machine runs: lower `replicas`")),
    }
}

/// Reads the manifests; of those read before, what changed.
pub fn load(manifests: &mut Manifests, options: &Options) -> Loaded {
    let decoding = decode::Options { allow_unenforced: options.allow_unenforced };
    let mut loaded = folder::load_again(manifests, &options.paths, decoding);
    annotations::refuse_broken(&mut loaded);
    loaded
}

/// Settings of the mesh that the command line decides.
pub fn mesh_options(options: &Options) -> mesh::Options {
    let mut all = mesh::Options::default();
    all.fixed.access_log = options.access_log;
    options.heads.apply(&mut all);
    all
}

/// Programs get findings with everything else on standard output, people on standard error, where they are seen in a script too.
fn show(found: &[Diagnostic], json: bool) {
    for diagnostic in found {
        // A reader that is gone misses them; the run itself notices soon enough.
        let _ = match json {
            true => writeln!(std::io::stdout(), "{}", Event::Diagnostic(diagnostic.clone()).to_json()),
            false => writeln!(std::io::stderr(), "{}", diagnostic.render(crate::cli::colour_on_stderr())),
        };
    }
}
