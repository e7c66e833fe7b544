//! Says when manifests changed: by the system's file watches, or by polling where those fail.
//!
//! Watches the folders that hold the files, so that editors which write a new file and rename it over the old one are seen; a file that is written in
//! place is left alone until its writer closes it. It only says *that* something changed; whoever listens looks at everything again.

use super::folder::is_manifest;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

/// Quiet time after a change before it is reported, so that a burst of writes is one change.
pub const DEBOUNCE: Duration = Duration::from_millis(50);
/// A stream of changes is reported at least this often.
pub const DEBOUNCE_MAX: Duration = Duration::from_millis(500);
/// A file that is being written is waited for at most this long.
pub const WRITING_MAX: Duration = Duration::from_secs(5);
/// How often files are looked at when the system cannot tell. With watches it is the safety net for what they miss.
pub const POLL: Duration = Duration::from_millis(500);

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    /// Watches files and folders; calls `changed` from its own thread until that returns false.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(args: &[PathBuf], changed: impl FnMut() -> bool + Send + 'static) -> std::io::Result<Watcher> {
        let stop = Arc::new(AtomicBool::new(false));
        let args = args.to_vec();
        let flag = stop.clone();
        // What is there now is taken before the call returns: a change right after it must not be taken for the start.
        let start = fingerprint(&args);
        let thread =
            std::thread::Builder::new().name("watch".into()).spawn(move || run(&args, start, &flag, changed))?;
        Ok(Watcher { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread wakes within one poll; waiting for it is not worth the delay at exit.
            drop(thread);
        }
    }
}

/// What the system told.
#[derive(Debug, PartialEq)]
enum Told {
    /// Something is another than before.
    Changed,
    /// Somebody writes to these files.
    Writing(Vec<PathBuf>),
    /// And is done with them.
    Written(Vec<PathBuf>),
}

impl Told {
    /// Nothing for events that change nothing, such as our own reading.
    fn of(event: notify::Result<notify::Event>) -> Option<Told> {
        let Ok(event) = event else { return Some(Told::Changed) };
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) if event.paths.iter().any(|path| is_manifest(path)) => {
                Some(Told::Writing(event.paths))
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Told::Written(event.paths)),
            EventKind::Access(_) => None,
            _ => Some(Told::Changed),
        }
    }
}

type Fingerprint = BTreeMap<PathBuf, (u64, Option<SystemTime>, u64)>;

fn run(args: &[PathBuf], mut last: Fingerprint, stop: &AtomicBool, mut changed: impl FnMut() -> bool) {
    let (tx, rx) = mpsc::channel::<Told>();
    // Kept alive for as long as the thread runs. An error means that the system has no watches left: polling below does the work alone.
    let watcher = watch_folders(args, tx.clone());
    drop(watcher.is_none().then_some(tx));
    while !stop.load(Ordering::Relaxed) {
        match rx.recv_timeout(POLL) {
            Ok(told) => settle(told, &rx),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
        }
        let now = fingerprint(args);
        if now != last {
            last = now;
            if !changed() {
                return;
            }
        }
    }
}

/// Waits until events stop coming for [`DEBOUNCE`] and nobody is writing.
fn settle(first: Told, rx: &mpsc::Receiver<Told>) {
    let start = Instant::now();
    let mut writing = BTreeSet::new();
    let mut next = Some(first);
    while let Some(told) = next {
        match told {
            Told::Writing(files) => writing.extend(files),
            Told::Written(files) => writing.retain(|file| !files.contains(file)),
            Told::Changed => {}
        }
        let wait = if writing.is_empty() { DEBOUNCE } else { WRITING_MAX.saturating_sub(start.elapsed()) };
        let late = writing.is_empty() && start.elapsed() >= DEBOUNCE_MAX;
        next = if late { None } else { rx.recv_timeout(wait).ok() };
    }
}

fn watch_folders(args: &[PathBuf], tx: mpsc::Sender<Told>) -> Option<notify::RecommendedWatcher> {
    // An event, or a lost one (an error), both only mean: look.
    let mut watcher = notify::recommended_watcher(move |event| {
        if let Some(told) = Told::of(event) {
            let _ = tx.send(told);
        }
    })
    .ok()?;
    let folders: BTreeSet<PathBuf> = args.iter().map(|arg| folder_of(arg)).collect();
    folders.iter().all(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()).then_some(watcher)
}

fn folder_of(arg: &Path) -> PathBuf {
    if arg.is_dir() {
        return arg.to_path_buf();
    }
    match arg.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Size, time and inode of every manifest: what tells one state from another without reading it.
fn fingerprint(args: &[PathBuf]) -> Fingerprint {
    use std::os::unix::fs::MetadataExt;
    let mut all = Fingerprint::new();
    for arg in args {
        let files = match arg.is_dir() {
            true => super::folder::manifests_of(arg).map(|(files, _)| files).unwrap_or_default(),
            false => vec![arg.clone()],
        };
        for file in files {
            let state =
                std::fs::metadata(&file).map_or((0, None, 0), |meta| (meta.len(), meta.modified().ok(), meta.ino()));
            all.insert(file, state);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a report; several edits may share one.
    fn reported(rx: &mpsc::Receiver<()>, what: &str) {
        rx.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} was not reported"));
    }

    #[test]
    fn edits_renames_new_and_removed_files_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "a: 1\n").unwrap();
        let (tx, rx) = mpsc::channel();
        let _watcher = Watcher::start(&[folder.path().to_path_buf()], move || tx.send(()).is_ok()).unwrap();
        std::fs::write(&file, "a: 12\n").unwrap();
        reported(&rx, "a write");
        let temporary = folder.path().join(".a.yaml.swp");
        std::fs::write(&temporary, "a: 1\n").unwrap();
        std::fs::rename(&temporary, &file).unwrap();
        reported(&rx, "a rename");
        std::fs::write(folder.path().join("b.yml"), "b: 1\n").unwrap();
        reported(&rx, "a new file");
        std::fs::remove_file(&file).unwrap();
        reported(&rx, "a removal");
    }

    #[test]
    fn a_file_is_looked_at_when_its_writer_is_done() {
        let (tx, rx) = mpsc::channel();
        let (settled, is_settled) = mpsc::channel();
        let file = || vec![PathBuf::from("a.yaml")];
        std::thread::spawn(move || {
            settle(Told::Writing(file()), &rx);
            settled.send(()).unwrap();
        });
        tx.send(Told::Changed).unwrap();
        assert_eq!(is_settled.recv_timeout(3 * DEBOUNCE), Err(RecvTimeoutError::Timeout));
        tx.send(Told::Writing(file())).unwrap();
        tx.send(Told::Written(file())).unwrap();
        is_settled.recv_timeout(WRITING_MAX).unwrap();
    }

    #[test]
    fn what_is_no_manifest_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let before = fingerprint(&[folder.path().to_path_buf()]);
        for name in [".hidden.yaml", "a.yaml~", "#a.yaml#", "notes.txt", "4913"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(fingerprint(&[folder.path().to_path_buf()]), before);
    }
}
