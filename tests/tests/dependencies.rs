//! The dependency policy of `deny.toml`, checked without any tool but cargo: licences, bans, sources, and the proxy's budget of crates.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use ringway_tests::harness::binary::repository;
use serde_json::Value;

/// Crates of others that may be linked into `dataplane`.
const DATAPLANE_CRATES_MAX: usize = 120;
/// The one registry.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn licences_are_allowed() {
    let allowed = list("licenses", "allow");
    for package in foreign_packages() {
        let expression = text(&package, "license");
        // SPDX: OR needs one side, AND needs both; `/` is an old spelling of OR.
        let sound = |one: &str| allowed.contains(one.trim_matches(['(', ')', ' ']));
        let sound_all = |all: &str| all.split(" AND ").all(|part| part.split(" OR ").any(sound));
        let fine = sound_all(&expression.replace('/', " OR "))
            || expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(sound));
        assert!(fine, "{} is under {expression:?}", text(&package, "name"));
    }
}

#[test]
fn nothing_banned_and_one_source() {
    let banned = list("bans", "deny");
    assert!(banned.contains("ring") && banned.contains("openssl"), "{banned:?}");
    for package in foreign_packages() {
        let name = text(&package, "name");
        assert!(!banned.contains(&name), "{name} is banned");
        assert_eq!(text(&package, "source"), CRATES_IO, "{name}");
    }
}

#[test]
fn the_proxy_stays_within_its_budget() {
    let metadata = metadata();
    let nodes: BTreeMap<&str, &Value> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|n| (n["id"].as_str().unwrap(), n)).collect();
    let is_ours = |id: &str| !id.contains("registry+");
    let root = nodes
        .keys()
        .find(|id| is_ours(id) && (id.contains("/dataplane#") || id.contains("dataplane@")))
        .expect("the proxy's package");
    let (mut seen, mut open) = (BTreeSet::new(), vec![*root]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dep in nodes[id]["deps"].as_array().unwrap() {
            // Build scripts and tests are not linked in.
            if dep["dep_kinds"].as_array().unwrap().iter().any(|k| k["kind"].is_null()) {
                open.push(dep["pkg"].as_str().unwrap());
            }
        }
    }
    let foreign: Vec<&&str> = seen.iter().filter(|id| !is_ours(id)).collect();
    assert!(foreign.len() > 5, "{foreign:?}");
    assert!(foreign.len() <= DATAPLANE_CRATES_MAX, "{} crates: {foreign:?}", foreign.len());
    for unwanted in ["kube", "tonic", "axum", "rustls-native-certs"] {
        assert!(!foreign.iter().any(|id| id.contains(&format!("#{unwanted}@"))), "{unwanted} is linked into the proxy");
    }
}

/// What is built, by any of us for any purpose. The lock file also has crates that nobody turned on.
fn foreign_packages() -> Vec<Value> {
    let tree = cargo(&["tree", "--workspace", "--all-features", "--prefix", "none", "--format", "{p}", "--target"]);
    let built: BTreeSet<&str> = tree.lines().map(|line| line.split(" (").next().unwrap_or(line)).collect();
    let packages = metadata()["packages"].as_array().unwrap().clone();
    let named = |p: &Value| format!("{} v{}", text(p, "name"), text(p, "version"));
    let foreign: Vec<Value> =
        packages.into_iter().filter(|p| !p["source"].is_null() && built.contains(named(p).as_str())).collect();
    assert!(foreign.len() > 50, "{} of {built:?}", foreign.len());
    foreign
}

fn metadata() -> Value {
    let said = cargo(&["metadata", "--format-version", "1", "--filter-platform"]);
    serde_json::from_str(&said).expect("cargo speaks JSON")
}

/// What cargo says, for one platform; that is the last argument.
fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let out = Command::new(cargo)
        .current_dir(repository())
        .args(args)
        .args([&target, "--locked", "--offline"])
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("cargo speaks UTF-8")
}

fn text(package: &Value, key: &str) -> String {
    package[key].as_str().unwrap_or_default().to_owned()
}

/// The names in `key = [ … ]` of a section of `deny.toml`, which we write ourselves and keep this plain.
fn list(section: &str, key: &str) -> BTreeSet<String> {
    let file = std::fs::read_to_string(repository().join("deny.toml")).expect("deny.toml is in the repository");
    let lines = file.lines().skip_while(|l| *l != format!("[{section}]")).skip_while(|l| *l != format!("{key} = ["));
    let items = lines.skip(1).take_while(|l| *l != "]").filter(|l| !l.trim_start().starts_with('#'));
    let found: BTreeSet<String> = items.filter_map(|l| Some(l.split('"').nth(1)?.to_owned())).collect();
    assert!(!found.is_empty(), "{key} of [{section}] in deny.toml");
    found
}
