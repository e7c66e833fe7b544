//! `ringway explain` against proxies that run: what they do is what it says, and what they log leads back to the manifest.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use ringway_tests::harness::mesh::text;
use ringway_tests::harness::{Client, Mesh, binary};
use serde_json::Value;

const CANARY: &str = "examples/canary.yaml";

fn explain(arguments: &[&str]) -> Value {
    let output = Command::new(binary::ringway())
        .current_dir(binary::repository())
        .arg("explain")
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_running_gateway_does_what_it_says() {
    let mesh = Mesh::start(&[CANARY]);
    let admin = format!("unix:{}", text(&mesh.pod("istio-ingressgateway")["admin"]));
    for (path, header, route) in [
        ("/new/things", "x-other: 1", "new-paths"),
        ("/", "x-tester: yes", "testers"),
        ("/elsewhere", "x-other: 1", ""),
    ] {
        let url = format!("http://any.example:8080{path}");
        let live = explain(&["--live", &admin, "-H", header, &url]);
        let told = explain(&[CANARY, "-H", header, &url]);
        assert_eq!((&live["route"], &live["passed"], &live["rule"]), (&told["route"], &told["passed"], &told["rule"]));
        if !route.is_empty() {
            assert_eq!(live["route"]["name"], route);
        }
        let mut client = Client::connect(mesh.gateway(8080));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: any.example:8080\r\n{header}\r\n\r\n"));
        let seen = client.response().json();
        assert_eq!(seen["path"], live["outcome"]["target"], "{seen}");
        let destinations = live["outcome"]["destinations"].as_array().unwrap();
        let versions = destinations.iter().flat_map(|d| d["endpoints"].as_array().unwrap()).map(|e| &e["version"]);
        assert!(versions.clone().any(|version| *version == seen["version"]), "{seen}");
        // What a proxy makes up stands in parentheses.
        let lines = destinations[0]["head"].as_array().unwrap().iter();
        for (name, value) in lines.map(|line| (text(&line[0]), &line[1])).filter(|(_, v)| !text(v).starts_with('(')) {
            assert_eq!(seen["headers"][name.to_ascii_lowercase()], *value, "{name} in {seen}");
        }
    }
}

#[test]
fn a_logged_line_leads_to_the_manifest() {
    let mut mesh = Mesh::start(&[CANARY, "--access-log", "json"]);
    let admin = format!("unix:{}", text(&mesh.pod("istio-ingressgateway")["admin"]));
    Client::connect(mesh.gateway(8080)).get("any.example:8080", "/new/things");
    let logged = mesh.wait_for("the log line", |event| {
        event["what"] == "access-log" && text(&event["text"]).contains("/new/things")
    });
    let line = text(&logged["text"]);
    let told = explain(&["--live", &admin, "--log", &line]);
    assert_eq!((&told["logged"]["same_rule"], &told["route"]["name"]), (&true.into(), &"new-paths".into()), "{line}");
    let entry: Value = serde_json::from_str(&line).unwrap();
    let rule = explain(&[CANARY, "--rule", entry["rule"].as_str().unwrap()]);
    assert_eq!((&rule["name"], &rule["field"]), (&"web".into(), &"http[1].match[0]".into()));
}
