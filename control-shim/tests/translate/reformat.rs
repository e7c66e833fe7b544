//! Where a thing stands is in no hash but the provenance's.

use super::manifests::{World, app, good, shared, world};
use ringway_config::model::Kind;
use ringway_config::{Hash, Order};
use std::collections::BTreeMap;

/// (node, kind, name) → hash.
type Content = BTreeMap<(String, Kind, String), Hash>;

/// Every blob of every proxy, with all its hosts; provenance apart, by node.
fn hashes(world: &World) -> (Content, BTreeMap<String, Hash>) {
    let (mut content, mut provenance) = (BTreeMap::new(), BTreeMap::new());
    for proxy in world.compiled.proxies() {
        let namespace = proxy.node.split_once('/').expect("a node").0;
        let hosts: Vec<_> = world.compiled.hosts(namespace).into_values().filter(|_| proxy.asks).cloned().collect();
        for ((kind, name), blob) in world.compiled.blobs(proxy, &hosts).expect("fits") {
            match kind {
                Kind::Provenance => provenance.insert(name, blob.hash()),
                kind => content.insert((proxy.node.clone(), kind, name), blob.hash()),
            };
        }
    }
    (content, provenance)
}

/// Comments and empty lines wherever YAML allows them.
fn reformatted(text: &str) -> String {
    let mut out = String::from("# moved down\n\n");
    let mut block = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if !line.trim().is_empty() && block.is_some_and(|start| indent <= start) {
            block = None;
        }
        // Inside a block scalar a comment would be text.
        if block.is_none() && !line.trim().is_empty() {
            out.push_str("\n# why this line\n");
        }
        out.push_str(line);
        if block.is_none()
            && (line.trim_end().ends_with('|') || line.trim_end().ends_with('>') || line.trim_end().ends_with("|-"))
        {
            block = Some(indent);
        }
        out.push('\n');
    }
    out
}

fn check(text: &str) {
    let (before, after) = (world(text), world(&reformatted(text)));
    assert!(!before.loaded.objects.is_empty());
    assert_eq!(before.codes(), after.codes());
    let (before, after) = (hashes(&before), hashes(&after));
    assert_eq!(before.0, after.0);
    for (node, hash) in &before.1 {
        assert_ne!(*hash, after.1[node], "{node}: every line moved");
    }
}

#[test]
fn a_small_mesh() {
    check(
        &(app("a", &["v1", "v2"])
            + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http: [{route: [{destination: {host: a}}]}]\n"),
    );
}

#[test]
fn every_example_and_sample() {
    let mut files = Vec::new();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for folder in std::fs::read_dir(examples).expect("examples are part of the repository") {
        let (manifests, _) =
            control_shim::source::folder::manifests_of(&folder.expect("readable").path()).unwrap_or_default();
        files.extend(manifests);
    }
    assert!(!files.is_empty(), "{examples} has manifests");
    for sample in [
        "bookinfo/platform/kube/bookinfo.yaml",
        "bookinfo/platform/kube/bookinfo-versions.yaml",
        "httpbin/httpbin.yaml",
        "tcp-echo/tcp-echo-services.yaml",
    ] {
        files.extend(shared(&format!("istio-samples/{sample}")));
    }
    for path in files {
        check(&std::fs::read_to_string(&path).expect("readable"));
    }
}

#[test]
fn an_edit_of_one_weight_changes_one_host_alone() {
    let route = |weight: u32| {
        app("a", &["v1"])
            + &app("b", &["v1"])
            + &format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a]\n  http: [{{route: [{{destination: {{host: a}}, weight: {weight}}}, {{destination: {{host: b}}, weight: 10}}]}}]\n"
            )
    };
    let (before, after) = (hashes(&good(&route(90))).0, hashes(&good(&route(50))).0);
    let changed: Vec<_> = before
        .iter()
        .filter(|(key, hash)| after[*key] != **hash)
        .map(|((_, kind, name), _)| (*kind, name.as_str()))
        .collect();
    assert_eq!(changed, [(Kind::Host, "a.default.svc.cluster.local:80"); 2], "one for each proxy that holds it");
}

#[test]
fn rules_resolve_to_their_lines() {
    let world = good(&app("a", &["v1"]));
    let snapshot =
        world.compiled.snapshot(&world.node("a-v1"), &["a"], Order::default()).expect("known").expect("closed");
    let host = world.compiled.host("default", "a").expect("known");
    let ringway_config::model::Model::Host(host) = host.blobs[0].model() else { panic!() };
    let origin = world.compiled.origin(host.rule).expect("remembered");
    assert_eq!(
        (origin.kind.as_str(), origin.field.as_str(), origin.file.as_str(), origin.line),
        ("Service", "ports[80]", "t.yaml", 7)
    );
    assert!(snapshot.blobs().any(|blob| blob.kind() == Kind::Provenance));
}
