//! `docs/config-format.md` is enough to write a reader: `reader.py` was written from it alone, and says of a snapshot what our own dump says.

#![allow(clippy::unwrap_used)]

#[path = "format/sample.rs"]
mod sample;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringway_config::{Snapshot, dump};

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the reader says; none when there is no Python.
fn read(file: &Path) -> Option<Output> {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.py");
    match Command::new("python3").arg("-I").arg(reader).arg(file).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: python3 is not installed");
            None
        }
        Err(error) => panic!("python3: {error}"),
    }
}

#[test]
fn a_reader_written_from_the_document_agrees() {
    let folder = Folder::new("reader");
    let (file, snapshot) =
        (folder.0.join("snapshot"), Snapshot::from_models(sample::ORDER, &sample::all_models()).unwrap());
    snapshot.write_file(&file).unwrap();
    let Some(output) = read(&file) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours = dump::json(&snapshot);
    for (ours, theirs) in ours["blobs"].as_array().unwrap().iter().zip(theirs["blobs"].as_array().unwrap()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours, theirs);
}

#[test]
fn it_too_refuses_damage() {
    let folder = Folder::new("damage");
    let (file, good) = (folder.0.join("snapshot"), sample::snapshot().to_bytes());
    for at in [0, 6, 20, 41, 57, 70, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&file, &bad).unwrap();
        let Some(output) = read(&file) else { return };
        assert!(!output.status.success(), "byte {at}");
    }
}
