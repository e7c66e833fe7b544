//! Manifests in files and folders, read as `kubectl apply -f` reads them: a folder's own `.yaml`, `.yml` and `.json` files by name, not its subfolders.

use crate::diagnostic::Diagnostic;
use crate::object::decode::Options;
use crate::object::{Loaded, Manifests, SourceFile};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

/// Largest manifest file.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most files of one call.
pub const FILES_MAX: usize = 10_000;
/// Most bytes of one call, all files together.
pub const TOTAL_BYTES_MAX: u64 = 256 << 20;

/// Reads every argument, in order. Security that is not enforced is an error.
pub fn load(args: &[PathBuf]) -> Loaded {
    load_with(args, Options::default())
}

/// Reads every argument, in order.
pub fn load_with(args: &[PathBuf], options: Options) -> Loaded {
    load_again(&mut Manifests::default(), args, options)
}

/// Reads every argument, in order. What did not change since these manifests were read is not decoded again.
pub fn load_again(manifests: &mut Manifests, args: &[PathBuf], options: Options) -> Loaded {
    let mut reader = Reader::default();
    let groups: Vec<_> = args.iter().map(|arg| reader.argument(arg)).collect();
    let mut loaded = manifests.load(&groups, options);
    loaded.unreadable.extend(reader.unreadable);
    loaded.diagnostics.splice(0..0, reader.diagnostics);
    loaded
}

/// Watches the arguments: sends `()` on `tx` after every change, debounced. Returns a guard; watching ends when it is dropped.
///
/// # Errors
/// Never in practice: where the system has no watches left, it polls.
pub fn watch(args: &[PathBuf], tx: mpsc::Sender<()>) -> std::io::Result<super::watch::Watcher> {
    super::watch::Watcher::start(args, move || tx.send(()).is_ok())
}

/// The manifest files of a folder, by name, and its subfolders. Hidden files and editors' leftovers are none.
pub fn manifests_of(folder: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') || name.ends_with('~') || name.starts_with('#') {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_manifest(&path) {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

/// Whether a file of this name in a folder is read.
pub(super) fn is_manifest(path: &Path) -> bool {
    matches!(path.extension().and_then(|ext| ext.to_str()), Some("yaml" | "yml" | "json"))
}

#[derive(Default)]
struct Reader {
    diagnostics: Vec<Diagnostic>,
    unreadable: Vec<Arc<str>>,
    files: usize,
    bytes: u64,
}

impl Reader {
    fn argument(&mut self, arg: &Path) -> Vec<Arc<SourceFile>> {
        if !arg.is_dir() {
            return self.file(arg).into_iter().collect();
        }
        match manifests_of(arg) {
            Ok((files, folders)) => {
                if let Some(first) = folders.first() {
                    let message = format!("subfolders are not entered, such as {}", first.display());
                    self.diagnostics.push(Diagnostic::notice(
                        "subfolder",
                        message,
                        "name them as arguments of their own",
                    ));
                }
                if files.is_empty() {
                    let message = format!("{} holds no .yaml, .yml or .json file", arg.display());
                    self.diagnostics.push(Diagnostic::warning("empty-folder", message, ""));
                }
                files.iter().filter_map(|file| self.file(file)).collect()
            }
            Err(error) => {
                self.failed(arg, &error.to_string());
                Vec::new()
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<Arc<SourceFile>> {
        self.files += 1;
        if self.files > FILES_MAX {
            if self.files == FILES_MAX + 1 {
                self.failed(path, &format!("more than {FILES_MAX} files"));
            }
            return None;
        }
        match read(path) {
            Ok(text) => {
                self.bytes += text.len() as u64;
                if self.bytes > TOTAL_BYTES_MAX {
                    self.failed(path, &format!("more than {TOTAL_BYTES_MAX} bytes of manifests"));
                    return None;
                }
                Some(Arc::new(SourceFile { name: path.display().to_string().into(), text }))
            }
            Err(error) => {
                self.failed(path, &error.to_string());
                None
            }
        }
    }

    fn failed(&mut self, path: &Path, reason: &str) {
        let message = format!("{} cannot be read: {reason}", path.display());
        self.diagnostics.push(Diagnostic::error("unreadable", message, "check the path and its permissions"));
        self.unreadable.push(path.display().to_string().into());
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
}
