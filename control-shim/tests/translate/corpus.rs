//! The fuzz corpus in a plain test, with mutations of it.

use super::manifests::Seeded;
use ringway_policy::Rng;
use std::path::Path;

fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/translate");
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("readable").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("readable")))
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 10, "only {} seeds", seeds.len());
    seeds
}

#[test]
fn every_seed() {
    for (name, bytes) in seeds() {
        println!("{name}");
        control_shim::fuzz::translate(&bytes);
    }
}

/// A few hundred mutations: bytes changed, lines dropped, doubled and swapped, words exchanged between seeds.
#[test]
fn mutated_seeds() {
    let seeds = seeds();
    let mut rng = Seeded(1);
    for round in 0..300 {
        let (_, seed) = &seeds[(rng.random() as usize) % seeds.len()];
        let mut bytes = seed.clone();
        for _ in 0..1 + rng.random() % 4 {
            mutate(&mut bytes, &mut rng);
        }
        println!("round {round}: {:?}", String::from_utf8_lossy(&bytes));
        control_shim::fuzz::translate(&bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut Seeded) {
    if bytes.is_empty() {
        return;
    }
    let at = (rng.random() as usize) % bytes.len();
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let (one, two) = ((rng.random() as usize) % lines.len(), (rng.random() as usize) % lines.len());
    match rng.random() % 6 {
        0 => bytes[at] = b" :-[]{}*&!|>'\"#%@`,0a\n"[(rng.random() % 22) as usize],
        1 => {
            bytes.remove(at);
        }
        2 => bytes.truncate(at),
        3 => {
            lines.remove(one);
            *bytes = lines.join(&b'\n');
        }
        4 => {
            let copy = lines[one].clone();
            lines.insert(two, copy);
            *bytes = lines.join(&b'\n');
        }
        _ => {
            lines.swap(one, two);
            *bytes = lines.join(&b'\n');
        }
    }
}
