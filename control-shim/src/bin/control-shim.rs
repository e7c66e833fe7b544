//! `control-shim`: serves the proxies of a machine from folders of manifests over a Unix socket.
//!
//! Starts only on manifests without errors; later, a broken object keeps its last good version and everything else advances.

use clap::Parser;
use control_shim::diagnostic::Diagnostic;
use control_shim::mesh::{Mesh, Options, placement};
use control_shim::object::{Manifests, Objects, decode};
use control_shim::publish::{self, Publisher};
use control_shim::source::{folder, watch::Watcher};
use control_shim::translate::{Compiled, translate};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{Notify, watch};

/// Translates manifests into compact config and serves it to proxies.
#[derive(Parser)]
#[command(name = "control-shim", version, max_term_width = 100)]
struct Arguments {
    /// Manifest files and folders; pods run where `status.podIP` says.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE|DIR")]
    source: Vec<PathBuf>,
    /// Where proxies connect.
    #[arg(long, value_name = "unix:PATH", value_parser = unix_path)]
    listen: PathBuf,
    /// Take security that is not enforced yet for a warning.
    #[arg(long)]
    allow_unenforced: bool,
    /// Bind gateway ports below 1024 as they are instead of 8000 higher.
    #[arg(long)]
    privileged_ports: bool,
    #[command(flatten)]
    heads: control_shim::cli::heads::Heads,
}

fn unix_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("write unix:PATH".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime cannot start: {error}")),
    };
    match runtime.block_on(run(&arguments)) {
        Ok(code) => code,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(1)
}

async fn run(arguments: &Arguments) -> io::Result<ExitCode> {
    let changed = Arc::new(Notify::new());
    // Watching starts before reading, so that no edit falls between the two.
    let notify = changed.clone();
    let _watcher = Watcher::start(&arguments.source, move || {
        notify.notify_one();
        true
    })?;
    let mut source = Source::new(arguments);
    let (first, errors) = source.advance(None);
    if errors > 0 {
        eprintln!("error: {errors} errors; nothing is served until they are mended");
        return Ok(ExitCode::from(1));
    }
    let (state, receiver) = watch::channel(Arc::new(first));
    let listener = listen(&arguments.listen)?;
    eprintln!(
        "control-shim: {} proxies, listening on {}",
        state.borrow().proxies().count(),
        arguments.listen.display()
    );
    let publisher = Publisher::starting_now();
    let served = publish::serve(listener, receiver, publisher);
    tokio::pin!(served);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            result = &mut served => {
                result?;
                break;
            }
            () = changed.notified() => {
                let previous = state.borrow().clone();
                let (next, _) = source.advance(Some(&previous));
                eprintln!("control-shim: version {} of the mesh", next.version);
                state.send_replace(Arc::new(next));
            }
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // Only its own socket is removed; a missing one is fine.
    let _ = std::fs::remove_file(&arguments.listen);
    Ok(ExitCode::SUCCESS)
}

/// Manifests on disk and what of them is in force.
struct Source<'a> {
    arguments: &'a Arguments,
    placement: placement::Manifest,
    manifests: Manifests,
    mesh: Option<Mesh>,
}

impl<'a> Source<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let placement = placement::Manifest::new(arguments.privileged_ports);
        Source { arguments, placement, manifests: Manifests::default(), mesh: None }
    }

    /// Reads and compiles everything, says what was found, and counts the errors.
    fn advance(&mut self, previous: Option<&Compiled>) -> (Compiled, usize) {
        let options = decode::Options { allow_unenforced: self.arguments.allow_unenforced };
        let loaded = folder::load_again(&mut self.manifests, &self.arguments.source, options);
        let mut options = Options { stand_in_gateways: false, ..Options::default() };
        self.arguments.heads.apply(&mut options);
        let mesh = match &self.mesh {
            Some(mesh) => mesh.edited(Objects::update(&mesh.objects, &loaded), &mut self.placement, options),
            None => Mesh::new(loaded.objects.clone(), &mut self.placement, options),
        };
        let mesh = self.mesh.insert(mesh);
        let compiled = translate(mesh, previous);
        let found = loaded.diagnostics.iter().chain(&mesh.diagnostics).chain(&compiled.diagnostics);
        let colour = control_shim::cli::colour_on_stderr();
        found.clone().for_each(|diagnostic| eprintln!("{}", diagnostic.render(colour)));
        let errors = found.filter(|diagnostic: &&Diagnostic| diagnostic.is_error()).count();
        (compiled, errors)
    }
}

/// Binds the socket for this user alone. A socket that nobody answers on is left over from a crash and is replaced.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::other(format!("{}: another control-shim listens there", path.display())));
        }
        std::fs::remove_file(path).map_err(named)?;
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(named)?;
    Ok(listener)
}
