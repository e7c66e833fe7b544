//! The programs themselves: exit codes, output, and a proxy's first config from `control-shim`.

use ringway_config::message::{self, Message, VERSION};
use ringway_config::model::{ListenerSet, Model, PolicySet};
use ringway_config::{Order, Snapshot};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a-0, labels: {app: a}}\nspec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}\nstatus: {podIP: 127.9.9.9}\n";

fn ringway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).output().expect("starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.yaml");
    let path = path.to_str().expect("utf-8");
    std::fs::write(path, GOOD).expect("written");
    let output = ringway(&["check", path]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "2 objects, 1 pod: 0 errors, 0 warnings\n".into())
    );

    std::fs::write(path, GOOD.replace("targetPort", "targetPrt")).expect("written");
    let output = ringway(&["check", path]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!(" --> {path}:4:59")) && said.contains("help: did you mean `targetPort`?"), "{said}");
    assert!(!said.contains('\x1b'), "no colours into a pipe");

    let json: serde_json::Value =
        serde_json::from_slice(&ringway(&["check", "--output", "json", path]).stdout).expect("JSON");
    assert_eq!((json["errors"].as_u64(), json["findings"][0]["line"].as_u64()), (Some(1), Some(4)));
    assert_eq!(ringway(&["check"]).status.code(), Some(2));
    assert_eq!(ringway(&["check", "/nowhere"]).status.code(), Some(1));
}

#[test]
fn dump_refuses_what_is_no_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    std::fs::write(&path, "not a snapshot").expect("written");
    let output = ringway(&["dump", path.to_str().expect("utf-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
}

#[test]
fn dump_of_two_snapshots_says_what_differs() {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = |name: &str, timeout_ms: u32| {
        let policy = PolicySet { head_timeout_ms: timeout_ms, ..PolicySet::default() };
        let set = ListenerSet { name: "default/a-0".into(), policy: policy.name.clone(), ..ListenerSet::default() };
        let models = [Model::Policy(policy), Model::Listeners(set)];
        let snapshot = Snapshot::from_models(Order { incarnation: 1, sequence: 1 }, &models).expect("closed");
        let path = folder.path().join(name);
        snapshot.write_file(&path).expect("written");
        path.to_str().expect("utf-8").to_string()
    };
    let (old, new) = (snapshot("old", 1000), snapshot("new", 2000));
    let output = ringway(&["dump", &old, &new]);
    let said = text(&output.stdout);
    assert_eq!((output.status.code(), said.as_str()), (Some(1), "~ Policy default head_timeout_ms: 1000 → 2000\n"));
    let output = ringway(&["dump", &old, &new, "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = serde_json::json!({"changes": [
        {"change": "changed", "kind": "Policy", "name": "default", "field": "head_timeout_ms", "old": 1000, "new": 2000}
    ]});
    assert_eq!(json, expected);
    assert_eq!(ringway(&["dump", &old, &old]).status.code(), Some(0));
    assert_eq!(ringway(&["dump", &old, "/nowhere"]).status.code(), Some(2));
}

#[test]
fn control_shim_gives_a_proxy_its_config_and_follows_edits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifests, socket) = (folder.path().join("m"), folder.path().join("s"));
    std::fs::create_dir(&manifests).expect("made");
    std::fs::write(manifests.join("a.yaml"), GOOD).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_control-shim"))
        .arg("--source")
        .arg(&manifests)
        .arg("--listen")
        .arg(format!("unix:{}", socket.display()))
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let stderr = child.stderr.take();
    let _child = Ended(child);
    let mut said = BufReader::new(stderr.expect("piped")).lines();
    let first =
        said.by_ref().map(|line| line.expect("utf-8")).find(|line| line.contains("listening")).expect("it starts");
    assert!(first.contains("1 proxies"), "{first}");
    let mut stream = UnixStream::connect(&socket).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut input = Vec::new();
    send(&mut stream, &Message::Hello { version: VERSION, node: "default/a-0".into(), labels: vec![], root: None });
    assert!(root(&mut stream, &mut input) > 3);
    send(&mut stream, &Message::Want { names: vec!["a".into()] });
    assert!(root(&mut stream, &mut input) > 0);
    // An editor's way to save: a new file renamed over the old one.
    std::fs::write(manifests.join(".a.yaml.tmp"), GOOD.replace("port: 80,", "port: 80, appProtocol: http,") + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], http: [{directResponse: {status: 204}}]}\n").expect("written");
    std::fs::rename(manifests.join(".a.yaml.tmp"), manifests.join("a.yaml")).expect("renamed");
    assert_eq!(root(&mut stream, &mut input), 2, "the host and the provenance");
}

/// Ends the program, however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(stream: &mut UnixStream, message: &Message) {
    let mut bytes = Vec::new();
    message::encode(message, &mut bytes);
    stream.write_all(&bytes).expect("written");
}

/// Reads up to the next root, acknowledges it, and counts the blobs before it.
fn root(stream: &mut UnixStream, input: &mut Vec<u8>) -> usize {
    let mut blobs = 0;
    loop {
        while let Some((message, used)) = message::decode(input).expect("well formed") {
            input.drain(..used);
            match message {
                Message::Blob { .. } => blobs += 1,
                Message::Root { order, .. } => {
                    send(stream, &Message::Ack { order });
                    return blobs;
                }
                other => panic!("{other:?}"),
            }
        }
        let mut piece = [0; 4096];
        let n = match stream.read(&mut piece) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.expect("in time"),
        };
        assert_ne!(n, 0, "the shim closed the stream");
        input.extend_from_slice(&piece[..n]);
    }
}
