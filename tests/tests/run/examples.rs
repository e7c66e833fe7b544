//! Every example passes `ringway check`, and does what its first lines promise.

use std::process::Command;

use ringway_tests::harness::{Client, Mesh, binary, skip, until};
use serde_json::Value;

#[test]
fn check_finds_nothing_wrong() {
    let folder = binary::repository().join("examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // There to be wrong: control-shim/tests/examples.rs sees to it.
        if path.ends_with("outcomes") {
            continue;
        }
        if path.extension().is_none_or(|ext| ext == "yaml") {
            let output = Command::new(binary::ringway()).arg("check").arg(&path).args(["--output", "json"]).output();
            let output = output.unwrap();
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(output.status.success(), "{}: {found:#}", path.display());
            assert_eq!(
                (&found["errors"], &found["warnings"]),
                (&Value::from(0), &Value::from(0)),
                "{}",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked >= 6, "only {checked} examples");
}

#[test]
fn hello() {
    let mesh = Mesh::start(&["examples/hello.yaml"]);
    assert_eq!(Client::connect(mesh.gateway(8080)).get("any.example", "/").json()["app"], "hello");
}

#[test]
fn canary() {
    let mesh = Mesh::start(&["examples/canary.yaml"]);
    let mut client = Client::connect(mesh.gateway(8080));
    client.send("GET / HTTP/1.1\r\nHost: any.example\r\nx-tester: yes\r\n\r\n");
    assert_eq!(client.response().json()["version"], "v2");
    let new = client.get("any.example", "/new/things");
    assert_eq!(new.header("x-served-by"), Some("canary"));
    let seen = new.json();
    assert_eq!((&seen["version"], &seen["path"]), (&Value::from("v2"), &Value::from("/things")));
}

#[test]
fn retries() {
    let mesh = Mesh::start(&["examples/retries.yaml"]);
    let mut client = Client::connect(mesh.gateway(8080));
    let tries = || {
        let of_gateway = |(name, _): &(String, String)| name.contains("gateway");
        let (_, page) = mesh.metrics().into_iter().find(of_gateway).expect("the gateway's metrics");
        let lines = page.lines().filter_map(|l| l.strip_prefix("ringway_retries_total{"));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let mut before = 0.0;
    for (request, status, retries) in [
        ("GET /status/503", 503, 2.0),
        ("POST /status/503", 503, 0.0),
        ("GET /reports/status/500", 500, 4.0),
        ("GET /once/status/503", 503, 0.0),
        ("GET /", 200, 0.0),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: any.example\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status, status, "{request}");
        let now = tries();
        assert_eq!(now - before, retries, "{request}");
        before = now;
    }
}

#[test]
fn gateway_api() {
    let mesh = Mesh::start(&["examples/gateway-api.yaml"]);
    let mut client = Client::connect(mesh.gateway(8080));
    let colour = client.get("any.example", "/").json()["app"].clone();
    assert!(colour == "blue" || colour == "green", "{colour}");
    let moved = client.get("any.example", "/old/page");
    assert_eq!(moved.status, 301);
    assert!(moved.header("location").is_some_and(|to| to.ends_with("/new/page")), "{moved:?}");
    let paint = client.get("any.example", "/paint/red").json();
    assert_eq!((&paint["namespace"], &paint["path"]), (&Value::from("workshop"), &Value::from("/red")));
    assert_eq!(paint["headers"]["x-from"], "door");
}

#[test]
fn command() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|said| said.status.success()) {
        return skip("python3 is missing: the example runs a file server of it. Debian: apt-get install python3");
    }
    let mesh = Mesh::start(&["examples/command.yaml"]);
    let gateway = mesh.gateway(8080);
    // The program takes its time to listen; the mesh is ready without it.
    let page = until("the file server to answer", || {
        let answer = Client::connect(gateway).get("any.example", "/");
        (answer.status == 200).then(|| answer.text())
    });
    assert!(page.contains("bookshop"), "{page}");
}

#[test]
fn external() {
    let mesh = Mesh::start(&["examples/external.yaml"]);
    assert_eq!(mesh.pods().len(), 1);
}
