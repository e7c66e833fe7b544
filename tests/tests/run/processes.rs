//! The processes of a run: crashes, commands, and an end that leaves nothing behind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ringway_tests::harness::mesh::{address, text};
use ringway_tests::harness::{Client, Mesh, until};

/// Every process of the mesh but the command itself.
fn pids(mesh: &Mesh) -> Vec<u64> {
    mesh.pods().iter().filter_map(|pod| pod["pid"].as_u64()).collect()
}

fn runs(pid: u64) -> bool {
    // A process that ended and was not waited for yet has no executable.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[test]
fn it_stops_within_six_seconds_and_leaves_nothing_behind() {
    let mut mesh = Mesh::start(&["examples/bookshop"]);
    let pids = pids(&mesh);
    assert!(pids.len() >= 8 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    let folder = Path::new(&text(&mesh.pods()[0]["admin"])).parent().unwrap().to_owned();
    // A client that stays connected must not hold up the end.
    let mut client = Client::connect(mesh.gateway(8080));
    assert_eq!(client.get("shop.example", "/").status, 200);
    let asked = Instant::now();
    let status = mesh.stop();
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!(pids.iter().all(|pid| !runs(*pid)), "some of {pids:?} still run");
    assert!(!folder.exists(), "{} is still there", folder.display());
    assert!(mesh.events().iter().all(|event| event["event"] != "ended"), "an asked-for end was told as a crash");
}

#[test]
fn a_killed_run_takes_its_processes_along() {
    let mut mesh = Mesh::start(&["examples/bookshop"]);
    let pids = pids(&mesh);
    mesh.program.signal("KILL");
    mesh.program.wait();
    until("all proxies to end", || pids.iter().all(|pid| !runs(*pid)).then_some(()));
}

#[test]
fn a_crashed_proxy_is_started_again_and_told() {
    let mut mesh = Mesh::start(&["examples/bookshop"]);
    let pid = mesh.pod("storefront-v1")["pid"].as_u64().unwrap();
    let killed = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
    let told = mesh.wait_for("the crash to be told", |event| event["event"] == "ended");
    assert!(text(&told["node"]).starts_with("default/storefront-v1"), "{told}");
    let gateway = mesh.gateway(8080);
    until("the page to be back", || (Client::connect(gateway).get("shop.example", "/").status == 200).then_some(()));
}

#[test]
fn a_command_runs_in_its_pod_and_ends_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo pod=$POD_NAME ip=$POD_IP port=$PORT ns=$POD_NAMESPACE proxy=$HTTP_PROXY colour=$COLOUR pid=$$; exec sleep 1000"#;
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "tool", "namespace": "shed", "annotations": {
            "ringway.dev/command": serde_json::json!(["sh", "-c", script]).to_string(),
            "ringway.dev/env": "{\"COLOUR\": \"blue\"}",
        }},
        "spec": {"containers": [{"name": "tool", "image": "tool", "ports": [{"containerPort": 7000}]}]},
    });
    std::fs::write(folder.path().join("tool.json"), manifest.to_string()).unwrap();
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let said = text(&mesh.wait_for("the command to say something", |event| event["what"] == "command")["text"]);
    let pod = mesh.pod("tool");
    let expected = format!(
        "pod=tool ip={} port=7000 ns=shed proxy=http://{} colour=blue pid=",
        text(&pod["address"]),
        address(&pod["outbound"])
    );
    assert!(said.starts_with(&expected), "{said}\n{expected}");
    let pid: u64 = said[expected.len()..].parse().unwrap();
    assert!(runs(pid));
    mesh.program.signal("KILL");
    mesh.program.wait();
    until("the command to end", || (!runs(pid)).then_some(()));
}

#[test]
fn a_port_that_somebody_else_has_is_named() {
    let holder = std::net::TcpListener::bind("127.233.0.1:15001").unwrap();
    let started = Instant::now();
    let (status, _, said) = Mesh::refused(&["examples/hello.yaml", "--network", "127.233"]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("127.233.0.1:15001"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(holder);
}

#[test]
fn it_ends_with_its_standard_input() {
    let mut mesh = Mesh::start(&["examples/hello.yaml"]);
    mesh.program.close_stdin();
    assert_eq!(mesh.program.wait().code(), Some(0));
    assert!(mesh.events().iter().any(|event| event["event"] == "stopped"));
}
