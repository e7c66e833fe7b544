//! Real manifests that nobody here wrote, read in place: Istio's samples and the Gateway API's examples.
//!
//! `samples.golden` keeps for each file its path, its SHA-256 and what came of it, never its text. `BLESS=1 cargo test` writes it anew.

use super::manifests::{Request, Text, shared};
use control_shim::diagnostic::Diagnostic;
use control_shim::mesh::{Mesh, Options, placement};
use control_shim::source::folder;
use control_shim::translate::translate;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/translate/samples.golden");

fn files(root: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            into.push(path);
        }
    }
}

/// `objects pods code@line,line …`; what has no line is about a file as a whole, or a kind.
fn outcome(path: &Path) -> String {
    let loaded = folder::load(&[path.to_path_buf()]);
    let mesh = Mesh::new(loaded.objects.clone(), &mut placement::Sequential::default(), Options::default());
    let compiled = translate(&mesh, None);
    control_shim::fuzz::check(&compiled);
    let mut codes: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for diagnostic in loaded.diagnostics.iter().chain(&mesh.diagnostics).chain(&compiled.diagnostics) {
        let lines = codes.entry(format!("{}:{}", diagnostic.severity.word(), diagnostic.code)).or_default();
        lines.extend(diagnostic.place.as_ref().map(|place| place.line));
        if diagnostic.is_error() {
            assert!(is_precise(diagnostic), "{}: {diagnostic}", path.display());
        }
    }
    let codes: Vec<String> = codes
        .iter()
        .map(|(code, lines)| format!("{code}@{}", lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")))
        .collect();
    format!("{} {} {}", loaded.objects.len(), mesh.pods.len(), codes.join(" ")).trim_end().to_string()
}

/// Whether a refusal says what, where and how to mend it, of one object where there is one.
fn is_precise(error: &Diagnostic) -> bool {
    let named = error.object.is_some() || matches!(error.code, "yaml-syntax" | "not-supported-yet" | "not-enforced");
    named && error.place.is_some() && error.message.len() > 10 && !error.mend.is_empty()
}

#[test]
fn each_file_alone() {
    let Some(samples) = shared("istio-samples") else { return };
    let data = samples.parent().expect("a folder").to_path_buf();
    let mut all = Vec::new();
    for folder in ["istio-samples", "gateway-api-examples", "boutique"] {
        files(&data.join(folder), &mut all);
    }
    all.sort();
    let mut lines = BTreeMap::new();
    for path in &all {
        let digest = Sha256::digest(std::fs::read(path).expect("readable"));
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix(&data).expect("within").display().to_string();
        lines.insert(name, (hash, outcome(path)));
    }
    if std::env::var_os("BLESS").is_some() {
        let text: String = lines.iter().map(|(name, (hash, outcome))| format!("{name}\t{hash}\t{outcome}\n")).collect();
        std::fs::write(GOLDEN, text).expect("written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file is part of the repository");
    let mut compared = 0;
    for line in golden.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, hash, expected] = fields[..] else { panic!("{line:?}") };
        match lines.get(name) {
            Some((found, outcome)) if found == hash => {
                compared += 1;
                assert_eq!(outcome, expected, "{name}");
            }
            _ => println!("skipped: {name} is another version"),
        }
    }
    assert!(compared > 100, "only {compared} files were compared");
}

fn sample_world(paths: &[&str]) -> Option<super::manifests::World> {
    let files: Option<Vec<PathBuf>> = paths.iter().map(|path| shared(&format!("istio-samples/{path}"))).collect();
    Some(super::manifests::from(folder::load(&files?), None))
}

#[test]
fn bookinfo_splits_as_its_own_manifests_say() {
    let Some(world) = sample_world(&[
        "bookinfo/platform/kube/bookinfo.yaml",
        "bookinfo/networking/bookinfo-gateway.yaml",
        "bookinfo/networking/destination-rule-all.yaml",
        "bookinfo/networking/virtual-service-reviews-90-10.yaml",
    ]) else {
        return;
    };
    assert_eq!(world.codes(), Vec::<&str>::new());
    let page = Request { path: "/productpage?u=normal", ..Request::default() };
    let door = world.ask_many("istio-ingressgateway", "gateway-8080", "localhost:8080", page, 1);
    assert_eq!(
        door.into_keys().next().map(|text| text.0).as_deref(),
        Some("outbound|9080||productpage.default.svc.cluster.local")
    );
    let split = world.ask_many("productpage-v1", "outbound", "reviews:9080", Request::default(), 10_000);
    let v2 = split[&Text("outbound|9080|v2|reviews.default.svc.cluster.local".into())];
    assert!((850..1150).contains(&v2), "{split:?}");
    let workloads: BTreeSet<_> = world.mesh.pods.iter().map(|pod| pod.workload.canonical_name.clone()).collect();
    assert!(workloads.contains("productpage") && !workloads.contains(""));
}

#[test]
fn bookinfo_by_gateway_api() {
    let Some(world) = sample_world(&[
        "bookinfo/platform/kube/bookinfo.yaml",
        "bookinfo/platform/kube/bookinfo-versions.yaml",
        "bookinfo/gateway-api/bookinfo-gateway.yaml",
        "bookinfo/gateway-api/route-reviews-90-10.yaml",
    ]) else {
        return;
    };
    assert_eq!(world.codes(), Vec::<&str>::new());
    let split = world.ask_many("productpage-v1", "outbound", "reviews:9080", Request::default(), 10_000);
    let v2 = split[&Text("outbound|9080||reviews-v2.default.svc.cluster.local".into())];
    assert!((850..1150).contains(&v2), "{split:?}");
}
