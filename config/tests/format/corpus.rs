//! Every committed fuzz input, through the function that the fuzz target calls; and the inputs that this crate can make anew are what the format
//! says today.

use std::path::{Path, PathBuf};

use ringway_config::message::{self, Message};
use ringway_config::model::Model;
use ringway_config::{Blob, Root, fuzz};

use crate::sample::{all_models, snapshot};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config_view")
}

#[test]
fn config_view() {
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| fuzz::config_view(&bytes)).is_err() {
            panic!("{} breaks an invariant", path.display());
        }
        inputs += 1;
    }
    assert!(inputs >= 20, "only {inputs} inputs");
}

/// Seeds of good input, by file name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let blob = |m: &Model| Blob::encode(m).unwrap().bytes().to_vec();
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    for model in all_models() {
        let kind = format!("blob-{:?}", model.kind()).to_lowercase();
        let same = seeds.iter().filter(|(name, _)| name.trim_end_matches(|c: char| c.is_ascii_digit()) == kind).count();
        let name = if same == 0 { kind } else { format!("{kind}{}", same + 1) };
        seeds.push((name, blob(&model)));
    }
    let snapshot = snapshot();
    seeds.push(("snapshot-file".into(), snapshot.to_bytes()));
    let mut stream = Vec::new();
    for blob in snapshot.blobs() {
        message::encode(&Message::Blob { bytes: blob.bytes().clone() }, &mut stream);
    }
    let delta = Root::delta(&Root::default(), snapshot.root());
    message::encode(&Message::Root { delta, order: snapshot.order() }, &mut stream);
    seeds.push(("stream-of-a-snapshot".into(), stream));
    seeds
}

/// A change of the format changes the seeds; old ones would only test that they are refused.
#[test]
fn good_seeds_are_good_today() {
    for (name, bytes) in seeds() {
        let path = folder().join(&name);
        if std::env::var_os("RINGWAY_WRITE_SEEDS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == bytes, "{name} is another today; run this test with RINGWAY_WRITE_SEEDS=1");
    }
}
