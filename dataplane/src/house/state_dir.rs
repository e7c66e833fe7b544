//! The last good config on disk, so that a restart serves before the control shim answers, or without it.

use std::path::{Path, PathBuf};

use ringway_config::Snapshot;

/// The snapshot file in a state directory.
pub fn file(dir: &Path) -> PathBuf {
    dir.join("last-good.ringway")
}

/// Writes in the background: fsync may take long, and nothing waits for it.
pub fn save(dir: PathBuf, snapshot: Snapshot) {
    tokio::task::spawn_blocking(move || {
        let path = file(&dir);
        if let Err(error) = std::fs::create_dir_all(&dir).and_then(|()| snapshot.write_file(&path)) {
            super::say(&format!("warning: the config cannot be saved to {}: {error}", path.display()));
        }
    });
}
