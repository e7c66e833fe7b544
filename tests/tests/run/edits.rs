//! Edits of a running mesh: what is broken keeps its last good version, everything else is applied; pods come and go without a failed request.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ringway_tests::harness::mesh::{copy_of, edit};
use ringway_tests::harness::{Client, Mesh};
use serde_json::Value;

use super::load::Load;

const OBJECTS: usize = 20;

const APP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 8000}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v2}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v2}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 8000}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*"]
"#;

/// Twenty VirtualServices in one file, each with a host of its own.
fn routes() -> String {
    let mut text = String::new();
    for n in 0..OBJECTS {
        let _ = write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: r{n}}}\nspec:\n  hosts: [h{n}.example]\n  \
             gateways: [gate]\n  http:\n  - route:\n    - destination: {{host: web, subset: v1}} # of {n}.\n"
        );
    }
    text
}

fn version(client: &mut Client, n: usize) -> String {
    let response = client.get(&format!("h{n}.example"), "/");
    assert_eq!(response.status, 200, "h{n}: {}", response.text());
    response.json()["version"].as_str().expect("a version").to_owned()
}

fn route(n: usize, subset: &str) -> String {
    format!("{{host: web, subset: {subset}}} # of {n}.")
}

fn write(folder: &Path) -> std::path::PathBuf {
    std::fs::write(folder.join("app.yaml"), APP).expect("a temporary folder takes a file");
    let file = folder.join("routes.yaml");
    std::fs::write(&file, routes()).expect("a temporary folder takes a file");
    file
}

#[test]
fn one_object_of_twenty_broken_and_another_edited() {
    const BROKEN: usize = 7;
    const EDITED: usize = 13;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let mut client = Client::connect(mesh.gateway(8080));
    for n in 0..OBJECTS {
        assert_eq!(version(&mut client, n), "v1");
    }

    // Both in one write: a typo in one object, another subset in the other.
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&route(BROKEN, "v1"), &route(BROKEN, "v2").replace("subset", "subzet"));
    let text = text.replace(&route(EDITED, "v1"), &route(EDITED, "v2"));
    let line = text.lines().position(|line| line.contains("subzet")).unwrap() + 1;
    std::fs::write(&file, text).unwrap();
    mesh.wait_for("the edit to be applied", |event| event["event"] == "applied");
    let said = mesh.wait_for("the mistake to be named", |event| event["severity"] == "error");
    assert_eq!((&said["line"], &said["object"]["name"]), (&Value::from(line), &Value::from(format!("r{BROKEN}"))));
    for n in 0..OBJECTS {
        assert_eq!(version(&mut client, n), if n == EDITED { "v2" } else { "v1" }, "h{n}");
    }

    // Mended: what it says now holds.
    let from = mesh.events().len();
    edit(&file, "subzet", "subset");
    mesh.wait_for_after(from, "the mended edit to be applied", |event| event["event"] == "applied");
    assert_eq!(version(&mut client, BROKEN), "v2");

    // A file that is no YAML at all keeps everything it held.
    let from = mesh.events().len();
    std::fs::write(&file, "{ this: is: no yaml").unwrap();
    mesh.wait_for_after(from, "the broken file to be named", |event| event["severity"] == "error");
    for n in 0..OBJECTS {
        version(&mut client, n);
    }
}

/// Written in place, slowly, and cut where it is good YAML: nothing of it holds before it is whole.
#[test]
fn a_half_written_file_takes_nothing_along() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let mut client = Client::connect(mesh.gateway(8080));
    let text = routes().replace("subset: v1", "subset: v2");
    let half = text.match_indices("---").nth(OBJECTS / 2).expect("a document in the middle").0;
    let from = mesh.events().len();
    let mut written = std::fs::File::create(&file).unwrap();
    written.write_all(&text.as_bytes()[..half]).unwrap();
    // Several times what the watch takes for the end of a burst.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        assert_eq!(version(&mut client, OBJECTS - 1), "v1");
    }
    written.write_all(&text.as_bytes()[half..]).unwrap();
    drop(written);
    mesh.wait_for_after(from, "the edit to be applied", |event| event["event"] == "applied");
    assert_eq!((version(&mut client, 0), version(&mut client, OBJECTS - 1)), ("v2".into(), "v2".into()));
}

#[test]
fn the_first_start_refuses_any_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    edit(&file, &route(3, "v1"), &route(3, "v9"));
    let (status, events, _) = Mesh::refused(&[folder.path().to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    let errors: Vec<_> = events.iter().filter(|event| event["severity"] == "error").collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["object"]["name"], "r3");
    assert!(!events.iter().any(|event| event["event"] == "ready"));
}

#[test]
fn security_that_is_not_enforced_stops_the_start_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let policy = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}\nspec: {mtls: {mode: STRICT}}\n";
    std::fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    let path = folder.path().to_str().unwrap();
    let (status, events, _) = Mesh::refused(&[path]);
    assert_eq!(status.code(), Some(1));
    assert!(events.iter().any(|event| event["severity"] == "error"), "{events:?}");
    let mesh = Mesh::start(&[path, "--allow-unenforced"]);
    assert_eq!(version(&mut Client::connect(mesh.gateway(8080)), 0), "v1");
}

#[test]
fn pods_come_and_go_under_load_without_a_failed_request() {
    fn catalog(page: &Value) -> String {
        let pod = &page["calls"][0]["answer"]["pod"];
        pod.as_str().unwrap_or_else(|| panic!("the catalog did not answer: {page}")).to_owned()
    }
    let folder = copy_of("examples/bookshop");
    let file = folder.path().join("catalog.yaml");
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let load = Load::start(mesh.gateway(8080), "/", 20, Duration::from_millis(100), catalog);
    for (from, to, event) in [(2, 4, "pod-added"), (4, 1, "pod-removed")] {
        let seen = mesh.events().len();
        edit(&file, &format!("replicas: {from}"), &format!("replicas: {to}"));
        mesh.wait_for_after(seen, "the edit to be applied", |told| told["event"] == "applied");
        mesh.wait_for_after(seen, "pods to come or go", |told| told["event"] == event);
        // Answers that are sure to have been asked for after it.
        std::thread::sleep(Duration::from_millis(500));
    }
    let answers = load.finish();
    let pods: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.version.as_str()).collect();
    assert!(pods.len() > 2, "only {pods:?} ever answered");
}

#[test]
fn a_broken_annotation_keeps_what_runs() {
    let folder = copy_of("examples/bookshop");
    let file = folder.path().join("ratings.yaml");
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    edit(&file, r#"'["tcp://cache:6379"]'"#, "'tcp://cache:6379'");
    let said = mesh.wait_for("the mistake to be named", |event| event["code"] == "annotation");
    assert_eq!(said["object"]["name"], "ratings-v1");
    mesh.wait_for("the edit to be looked at", |event| event["event"] == "unchanged");
    let stars = Client::connect(mesh.gateway(8081)).get("shop.example", "/api/stars").json();
    assert_eq!(stars["calls"][0]["tcp"], true, "{stars}");
}

#[test]
fn a_folder_that_vanishes_takes_nothing_along() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("mesh");
    std::fs::create_dir(&folder).unwrap();
    let file = write(&folder);
    let mut mesh = Mesh::start(&[folder.to_str().unwrap()]);
    let mut client = Client::connect(mesh.gateway(8080));
    std::fs::rename(&folder, outer.path().join("moved")).unwrap();
    mesh.wait_for("the loss to be told", |event| event["code"] == "edit-refused");
    assert_eq!(version(&mut client, 0), "v1");
    // Back again, and edited.
    std::fs::rename(outer.path().join("moved"), &folder).unwrap();
    edit(&file, &route(0, "v1"), &route(0, "v2"));
    mesh.wait_for("the edit to be applied", |event| event["event"] == "applied");
    assert_eq!(version(&mut client, 0), "v2");

    // Without a pod there is no mesh: more likely a file that is being written.
    std::fs::write(folder.join("app.yaml"), "").unwrap();
    mesh.wait_for("the empty mesh to be refused", |event| {
        event["code"] == "edit-refused" && event["message"].to_string().contains("no pod")
    });
    assert_eq!(version(&mut client, 1), "v1");
}
