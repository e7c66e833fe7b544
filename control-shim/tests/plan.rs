//! `ringway plan`: edits of an example, and what they mean for traffic.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn canary() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository").join("examples/canary.yaml");
    std::fs::read_to_string(path).expect("an example")
}

fn run(old: &str, new: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("old.yaml", old), ("new.yaml", new)] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    if let Some(log) = arguments.iter().position(|a| *a == "--log").and_then(|at| arguments.get(at + 1)) {
        std::fs::write(folder.path().join(log), LOG).expect("written");
    }
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .current_dir(folder.path())
        .args(["plan", "old.yaml", "new.yaml"])
        .args(arguments)
        .output()
        .expect("starts")
}

/// Three requests and a line of something else.
const LOG: &str = "{\"method\":\"GET\",\"path\":\"/new/a\",\"authority\":\"any.example:8080\"}
{\"method\":\"GET\",\"path\":\"/new/b?c\",\"authority\":\"any.example:8080\"}
{\"method\":\"GET\",\"path\":\"/elsewhere\",\"authority\":\"any.example:8080\"}
proxy: started
";

fn plan(old: &str, new: &str, arguments: &[&str]) -> Value {
    let output = run(old, new, &[arguments, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// `kind: text` of every change.
fn changes(old: &str, new: &str) -> Vec<String> {
    let json = plan(old, new, &[]);
    let words = |change: &Value| {
        format!("{}: {}", change["kind"].as_str().unwrap_or(""), change["text"].as_str().unwrap_or(""))
    };
    json["changes"].as_array().expect("a list").iter().map(words).collect()
}

fn assert_has(changes: &[String], wanted: &str) {
    assert!(changes.iter().any(|change| change.contains(wanted)), "{wanted} in {changes:#?}");
}

/// The example with a piece replaced; it has to be there.
fn edited(from: &str, to: &str) -> String {
    let text = canary();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn comments_and_order_of_documents_change_nothing() {
    let moved = format!("# said\n\n{}", canary());
    let output = run(&canary(), &moved, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("nothing changes for traffic"), "{said}");
}

#[test]
fn a_weight_a_route_and_a_rewrite() {
    let found = changes(&canary(), &edited("weight: 95", "weight: 85"));
    assert_has(
        &found,
        "weights: route for any request: backends[outbound|8000|v1|web.default.svc.cluster.local].weight: 95 → 85",
    );
    let found = changes(&canary(), &edited("prefix: /new/", "prefix: /newer/"));
    assert_has(&found, "route: route for paths that start with \"/new/\" is gone");
    assert_has(&found, "route: route for paths that start with \"/newer/\" is new");
}

#[test]
fn a_rule_inserted_above_is_one_new_route_and_shadows_what_it_takes() {
    let new = edited("  http:\n", "  http:\n  - name: all\n    route:\n    - destination: {host: web, subset: v1}\n");
    let found = changes(&canary(), &new);
    assert_has(&found, "shadowed: route for paths that start with \"/new/\" no longer matches");
    assert!(!found.iter().any(|change| change.contains("is gone")), "{found:#?}");
}

#[test]
fn a_timeout_that_is_lost_is_named_as_such() {
    let found = changes(&canary(), &edited("    timeout: 5s\n", ""));
    assert_has(&found, "timeout: route for any request: timeout_ms is lost, it was 5000");
}

#[test]
fn endpoints_and_refused_objects() {
    let found = changes(
        &edited("spec:\n  selector: {matchLabels", "spec:\n  replicas: 2\n  selector: {matchLabels"),
        &canary(),
    );
    assert_has(&found, "is gone");
    let found = changes(&canary(), &edited("subset: v2", "subset: v3"));
    assert_has(&found, "refused: no DestinationRule gives");
}

#[test]
fn another_destination_is_said_once_and_its_endpoints_are_still_reached() {
    // v1 and v2 are led to by the other routes, before and after.
    let found = changes(&canary(), &edited("subset: v2", "subset: v1"));
    assert_has(
        &found,
        "goes to web.default.svc.cluster.local:8000 subset v1, no longer to web.default.svc.cluster.local:8000 subset v2",
    );
    assert!(!found.iter().any(|change| change.starts_with("endpoints: ")), "{found:#?}");
}

#[test]
fn endpoints_that_nothing_leads_to_any_more() {
    let to_v2 = canary().matches("subset: v2").count();
    let found = changes(&canary(), &canary().replace("subset: v2", "subset: v1"));
    assert!(
        to_v2 > 0
            && found.iter().any(|c| c.starts_with("endpoints: ") && c.contains("is no longer reached by anything")),
        "{found:#?}"
    );
    assert!(!found.iter().any(|change| change.contains("nobody is left")), "{found:#?}");
}

#[test]
fn example_requests_show_both_decisions() {
    let json = plan(&canary(), &edited("prefix: /new/", "prefix: /newer/"), &[]);
    let examples = json["requests"]["examples"].as_array().expect("a list");
    let example = examples.iter().find(|e| e["request"]["target"] == "/new/").expect("the request of the old route");
    assert_eq!(example["before"]["route"]["name"], "new-paths");
    assert_ne!(example["after"]["route"]["name"], "new-paths");
    assert!(json["requests"]["tried"].as_u64() > json["requests"]["different"].as_u64());
}

#[test]
fn the_gate_decides_on_the_exit_code() {
    let new = edited("weight: 95", "weight: 85");
    for (gate, code) in [("weights", 1), ("timeout", 0), ("timeout,decision", 1)] {
        assert_eq!(run(&canary(), &new, &["--gate", gate]).status.code(), Some(code), "{gate}");
    }
    assert_eq!(run(&canary(), &new, &[]).status.code(), Some(1));
    assert_eq!(run(&canary(), &new, &["--gate", "nonsense"]).status.code(), Some(2));
    assert_eq!(run(&canary(), &new, &["--with", "absent.yaml"]).status.code(), Some(2));
}

#[test]
fn a_log_is_decided_on_both_sides() {
    let new = edited("prefix: /new/", "prefix: /newer/");
    let json = plan(&canary(), &new, &["--log", "log", "--from", "istio-ingressgateway"]);
    let log = &json["log"];
    assert_eq!((&log["requests"], &log["unread"], &log["different"]), (&3.into(), &1.into(), &2.into()), "{log:#}");
    assert_eq!((&log["moved"][0]["count"], &log["moved"][0]["request"]["target"]), (&2.into(), &"/new/a".into()));
    let output = run(&canary(), &new, &["--log", "log", "--from", "istio-ingressgateway", "--gate", "decision"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("of 3 requests in the log, 2 would be decided differently"), "{text}");
    assert!(output.stderr.is_empty(), "how far it is, is told to terminals");
}
