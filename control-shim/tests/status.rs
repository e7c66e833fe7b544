//! `ringway status` as a program: what it prints, and how it ends.

use serde_json::Value;
use std::process::{Command, Output};

const DOOR: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec:
  gatewayClassName: ringway
  listeners: [{name: http, port: 80, protocol: HTTP}]
";

const ROUTE: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, generation: 3}
spec:
  parentRefs: [{name: door}, {name: wall}]
  rules: [{backendRefs: [{name: nobody, port: 80}]}]
";

fn status(manifests: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("m.yaml"), manifests).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.current_dir(folder.path()).args(["status", "m.yaml"]).args(arguments).output().expect("starts")
}

#[test]
fn what_is_well_ends_with_0() {
    let output = status(DOOR, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        output.stdout.starts_with(b"Gateway.gateway.networking.k8s.io default/door\n  Accepted, Programmed"),
        "{output:?}"
    );
}

#[test]
fn what_is_not_ends_with_1_and_says_why() {
    let output = status(&format!("{DOOR}{ROUTE}"), &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("    Accepted\n    not ResolvedRefs (BackendNotFound): there is no Service default/nobody\n"),
        "{text}"
    );
    assert!(text.ends_with("  Gateway.gateway.networking.k8s.io default/wall: not there\n"), "{text}");
}

#[test]
fn json_is_a_list_of_patches() {
    let output = status(&format!("{DOOR}{ROUTE}"), &["--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (gateway, route) = (&json["items"][0], &json["items"][1]);
    assert_eq!(
        (&json["kind"], &gateway["kind"], &route["kind"]),
        (&"List".into(), &"Gateway".into(), &"HTTPRoute".into())
    );
    assert_eq!(gateway["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 1);
    let parents = route["status"]["parents"].as_array().expect("a list");
    assert_eq!(parents.len(), 1);
    assert_eq!(parents[0]["conditions"][1]["observedGeneration"], 3);
}

#[test]
fn what_has_no_name_is_said_on_standard_error() {
    let output = status(&format!("{DOOR}---\nkind: Gateway\n"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-kind"), "{output:?}");
}
