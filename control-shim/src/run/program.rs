//! Finds the proxy that belongs to this command, and the private folder that both talk in.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The proxy's file name.
const DATAPLANE: &str = "dataplane";
/// Time for `dataplane --version`.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// A Unix socket's path may have 107 bytes; this leaves room for the names inside.
const FOLDER_BYTES_MAX: usize = 80;

/// `dataplane` beside this program, else in PATH; its version has to be ours.
///
/// # Errors
/// A sentence that says what is missing and how to mend it.
pub fn find_dataplane() -> Result<PathBuf, String> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(DATAPLANE)));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = beside.into_iter().chain(std::env::split_paths(&in_path).map(|folder| folder.join(DATAPLANE)));
    let found = candidates.into_iter().find(|path| path.is_file());
    let path =
        found.ok_or("the proxy `dataplane` is neither beside this program nor in PATH: build it with `make build`")?;
    let said = version(&path).map_err(|error| format!("{} --version: {error}", path.display()))?;
    let ours = concat!("dataplane ", env!("CARGO_PKG_VERSION"));
    if said.trim() != ours {
        return Err(format!(
            "{} says `{}`, and this is ringway {}: build both with `make build`",
            path.display(),
            said.trim(),
            env!("CARGO_PKG_VERSION")
        ));
    }
    Ok(path)
}

fn version(path: &Path) -> std::io::Result<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    // A line fits into the pipe, so the child can end before we read.
    while child.try_wait()?.is_none() {
        if started.elapsed() > VERSION_TIMEOUT {
            let _ = child.kill();
            return Err(std::io::Error::other("no answer"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder that only this user may enter, gone when dropped.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Makes one among the system's temporary folders.
    ///
    /// # Errors
    /// When no folder can be made there.
    pub fn create() -> std::io::Result<PrivateFolder> {
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() > FOLDER_BYTES_MAX - 24 {
            base = "/tmp".into();
        }
        // The process id tells folders of living runs apart; the number passes those that a killed run left behind.
        for number in 0.. {
            let path = base.join(format!("ringway-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(PrivateFolder(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::Error::other("no name is free"))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Left-overs in a temporary folder are the system's to clear.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_private_and_temporary() {
        let (one, two) = (PrivateFolder::create().unwrap(), PrivateFolder::create().unwrap());
        assert_ne!(one.path(), two.path());
        assert_eq!(std::fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(one.path().as_os_str().len() <= FOLDER_BYTES_MAX);
        let path = one.path().to_path_buf();
        drop(one);
        assert!(!path.exists());
    }
}
