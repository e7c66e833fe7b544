//! `ringway check` beyond what stops a manifest: findings about rules that work and do not do what was meant.

use serde_json::Value;
use std::process::{Command, Output};

/// A service `web` on port 80 with a gateway on 8080; each test adds its VirtualService.
const BASE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web, version: v1}}
spec: {containers: [{name: web, ports: [{containerPort: 80}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
";

const SERVICE: &str = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec:\n  hosts: [web]\n  http:\n";
const TO_V1: &str = "    route: [{destination: {host: web, subset: v1}}]\n";

fn check(manifests: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("m.yaml"), manifests).expect("written");
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .current_dir(folder.path())
        .args(["check", "m.yaml"])
        .args(arguments)
        .output()
        .expect("starts")
}

/// Code, line and message of every finding.
fn findings(manifests: &str) -> Vec<(String, u64, String)> {
    let output = check(manifests, &["--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or("").to_string();
    let findings = json["findings"].as_array().expect("a list").iter();
    findings.map(|f| (text(&f["code"]), f["line"].as_u64().unwrap_or(0), text(&f["message"]))).collect()
}

fn only(manifests: &str, code: &str) -> (u64, String) {
    let mut found = findings(manifests);
    found.retain(|(other, ..)| other == code);
    assert_eq!(found.len(), 1, "{code}: {found:?}");
    let (_, line, message) = found.remove(0);
    (line, message)
}

fn line_of(manifests: &str, text: &str) -> u64 {
    manifests.lines().position(|line| line.contains(text)).map_or(0, |at| at as u64 + 1)
}

#[test]
fn a_rule_behind_one_that_takes_everything_is_unreachable() {
    let text = format!(
        "{BASE}{SERVICE}  - match: [{{uri: {{prefix: /a}}}}]\n{TO_V1}  - match: [{{uri: {{exact: /a/b}}, method: {{exact: GET}}}}]\n{TO_V1}"
    );
    let (line, message) = only(&text, "unreachable-rule");
    assert_eq!(line, line_of(&text, "exact: /a/b"));
    assert!(message.contains("`http[1].match[0]`") && message.contains("`http[0].match[0]` at m.yaml"), "{message}");
}

#[test]
fn a_narrower_rule_above_hides_nothing() {
    let text = format!(
        "{BASE}{SERVICE}  - match: [{{uri: {{prefix: /a/b}}}}]\n{TO_V1}  - match: [{{uri: {{prefix: /a}}}}]\n{TO_V1}"
    );
    assert!(findings(&text).is_empty(), "{:?}", findings(&text));
}

#[test]
fn a_rule_that_some_host_still_reaches_is_no_finding() {
    let other = "---\napiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {selector: {app: web}, ports: [{name: http, port: 81, targetPort: 80}]}\n";
    let service = SERVICE.replace("[web]", "[web, other]");
    let text = format!("{BASE}{other}{service}  - match: [{{port: 80}}]\n{TO_V1}  - name: rest\n{TO_V1}");
    assert!(findings(&text).is_empty(), "{:?}", findings(&text));
}

/// Under each form of paths, those that requests still have.
#[test]
fn a_path_in_no_normal_form_is_unreachable() {
    for (arguments, uri, normal) in [
        (&[][..], "exact: /a/../b", Some("`/b`")),
        (&[], "exact: /b", None),
        (&[], "prefix: /a/./b", Some("`/a/b`")),
        (&[], "prefix: /a/.", None),
        (&[], "exact: /%61", Some("`/a`")),
        (&[], "exact: /a%2Fb", None),
        (&[], "prefix: /a//b", None),
        (&["--path-normalization", "MERGE_SLASHES"], "prefix: /a//b", Some("`/a/b`")),
        (&["--path-normalization", "MERGE_SLASHES"], "prefix: /a//", Some("`/a/`")),
        (&["--path-normalization", "DECODE_AND_MERGE_SLASHES"], "exact: /a%2Fb", Some("`/a/b`")),
        (&["--path-normalization", "NONE"], "exact: /a/../b", None),
        (&["--profile", "strict"], "prefix: /a//b", Some("`/a/b`")),
        (&["--profile", "strict"], "exact: /a%2Fb", Some("")),
    ] {
        let text = format!("{BASE}{SERVICE}  - match: [{{uri: {{{uri}}}}}]\n{TO_V1}");
        let output = check(&text, &[arguments, &["--output", "json"]].concat());
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut found = json["findings"].as_array().expect("a list").iter().filter(|f| f["code"] == "unreachable-path");
        let help = found.next().map(|finding| finding["help"].as_str().unwrap_or_default().to_string());
        let as_expected = match (&help, normal) {
            (Some(help), Some(normal)) => help.contains(normal),
            (found, wanted) => found.is_some() == wanted.is_some(),
        };
        assert!(as_expected, "{arguments:?} {uri}: {help:?}");
    }
}

#[test]
fn weights_that_do_not_add_up_to_100() {
    let text = format!(
        "{BASE}{SERVICE}  - route:\n    - {{destination: {{host: web, subset: v1}}, weight: 60}}\n    - {{destination: {{host: web}}, weight: 30}}\n"
    );
    let (line, message) = only(&text, "weights");
    assert_eq!(line, line_of(&text, "weight: 60"));
    assert!(message.contains("add up to 90") && message.contains("66.7 %, 33.3 %"), "{message}");
}

#[test]
fn a_subset_without_a_route_is_a_notice() {
    let (line, message) = only(BASE, "unused-subset");
    assert_eq!((line, message.contains("`v1`")), (line_of(BASE, "name: v1"), true));
    assert_eq!(check(BASE, &[]).status.code(), Some(0));
    assert_eq!(check(BASE, &["--fail-on", "warning"]).status.code(), Some(0));
    assert_eq!(check(BASE, &["--fail-on", "notice"]).status.code(), Some(1));
}

#[test]
fn a_gateway_without_routes_answers_everything_with_404() {
    let gateway = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: door}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 8080, name: http, protocol: HTTP}\n    hosts: ['*']\n";
    let (line, _) = only(&format!("{BASE}{gateway}"), "idle-gateway");
    assert_eq!(line, line_of(&format!("{BASE}{gateway}"), "number: 8080"));
}

#[test]
fn sarif_has_a_result_for_each_finding() {
    let text = BASE.replace("targetPort", "x").replace("port: 80}", "prot: 80}");
    let output = check(&text, &["--output", "sarif"]);
    assert_eq!(output.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("a list");
    let unknown = results.iter().find(|result| result["ruleId"] == "unknown-field").expect("the finding");
    let place = &unknown["locations"][0]["physicalLocation"];
    assert_eq!((&unknown["level"], &place["artifactLocation"]["uri"]), (&"error".into(), &"m.yaml".into()));
    assert_eq!(place["region"]["startLine"], line_of(&text, "prot: 80"));
    assert!(unknown["message"]["text"].as_str().is_some_and(|text| text.contains("did you mean `port`?")));
    // What the standard asks of every log (§3.13, 3.14, 3.27).
    assert_eq!((&log["version"], run["tool"]["driver"]["name"].is_string()), (&"2.1.0".into(), true));
    let rules = run["tool"]["driver"]["rules"].as_array().expect("a list");
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
}
