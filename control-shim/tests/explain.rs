//! `ringway explain` on the examples: what it says, and that it says it of the right line.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .current_dir(repository())
        .arg("explain")
        .args(arguments)
        .output()
        .expect("starts")
}

fn explain(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn usage(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The first line of a file that holds `text`.
fn line_of(file: &str, text: &str) -> u64 {
    let content = std::fs::read_to_string(repository().join(file)).expect("an example");
    content.lines().position(|line| line.contains(text)).map_or(0, |at| at as u64 + 1)
}

const CANARY: &str = "examples/canary.yaml";

#[test]
fn the_route_that_matched_and_why_the_one_above_did_not() {
    let told = explain(&[CANARY, "http://any.example:8080/new/things"]);
    assert_eq!(told["proxy"], "istio-system/istio-ingressgateway");
    assert_eq!(told["passed"][0]["why"], "header x-tester is not there, and has to be \"yes\"");
    assert_eq!(told["passed"][0]["rule"]["field"], "http[0].match[0]");
    let route = &told["route"]["rule"];
    assert_eq!(
        (&route["kind"], &route["name"], &route["file"]),
        (&"VirtualService".into(), &"web".into(), &CANARY.into())
    );
    assert_eq!(route["line"], line_of(CANARY, "prefix: /new/"));
    assert_eq!(told["outcome"]["target"], "/things");
    assert_eq!(told["outcome"]["destinations"][0]["cluster"], "outbound|8000|v2|web.default.svc.cluster.local");
    assert_eq!(told["rule"], told["route"]["rule"]);
}

#[test]
fn headers_and_methods_are_looked_at() {
    let told = explain(&[CANARY, "-H", "x-tester: yes", "DELETE", "http://any.example:8080/"]);
    assert_eq!(told["route"]["name"], "testers");
    let told = explain(&[CANARY, "-H", "X-Tester: no", "http://any.example:8080/"]);
    assert_eq!(told["passed"][0]["why"], "header x-tester is \"no\", and has to be \"yes\"");
}

#[test]
fn the_head_that_an_endpoint_sees() {
    let paint = "http://any.example:8080/paint/red";
    let told =
        explain(&["examples/gateway-api.yaml", "-H", "x-own: 1", "-H", "Connection: x-hop", "-H", "x-hop: 1", paint]);
    let head = &told["outcome"]["destinations"][0]["head"];
    let has = |name: &str, value: &str| {
        head.as_array().is_some_and(|lines| lines.contains(&serde_json::json!([name, value])))
    };
    assert!(has("host", "any.example:8080") && has("x-own", "1") && has("x-from", "door"), "{head}");
    assert!(has("x-request-id", "(made by the proxy)") && !head.to_string().contains("x-hop"), "{head}");
}

#[test]
fn shares_of_destinations_and_endpoints_add_up() {
    let told = explain(&["examples/bookshop", "--from", "storefront", "http://reviews:8000/"]);
    let destinations = told["outcome"]["destinations"].as_array().expect("a list");
    let share = |value: &Value| value["probability"].as_f64().expect("a number");
    let sum: f64 = destinations.iter().map(share).sum();
    let of_endpoints: f64 =
        destinations.iter().flat_map(|d| d["endpoints"].as_array().expect("a list")).map(share).sum();
    assert!((sum - 1.0).abs() < 1e-9 && (of_endpoints - 1.0).abs() < 1e-9, "{sum} {of_endpoints}");
    assert!(destinations.len() > 1, "reviews are split");
}

#[test]
fn shares_that_are_answered_each_in_its_own_way_are_told_apart() {
    const MANIFEST: &str = "apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: empty}, ports: [{port: 80, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: nowhere}
spec:
  parentRefs: [{name: door}]
  rules: [{backendRefs: [{name: missing, port: 80, weight: 3}, {name: empty, port: 80, weight: 1}]}]
";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, MANIFEST).expect("a temporary folder takes a file");
    let told = explain(&[file.to_str().expect("a path"), "http://any.example:8080/"]);
    let destinations = told["outcome"]["destinations"].as_array().expect("a list");
    let told: Vec<_> = destinations.iter().map(|one| (one["status"].as_u64(), one["probability"].as_f64())).collect();
    assert_eq!(told, [(Some(500), Some(0.75)), (Some(503), Some(0.25))]);
    // With one status, the answers are two all the same.
    let rule = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nowhere}
spec:
  hosts: [empty]
  http: [{route: [{destination: {host: empty, subset: v9}, weight: 3}, {destination: {host: empty}, weight: 1}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: caller, labels: {app: caller}}
spec: {containers: [{name: app, image: example.com/app, ports: [{containerPort: 8080}]}]}
";
    let service = MANIFEST.split("---").next().expect("the service");
    std::fs::write(&file, format!("{service}---\n{rule}")).expect("a temporary folder takes a file");
    let told = explain(&["--from", "caller", file.to_str().expect("a path"), "http://empty/"]);
    let destinations = told["outcome"]["destinations"].as_array().expect("a list");
    let told: Vec<_> = destinations.iter().map(|one| (one["status"].as_u64(), one["cluster"].is_null())).collect();
    assert_eq!(told, [(Some(503), true), (Some(503), false)]);
}

#[test]
fn shares_that_are_sent_each_in_its_own_way_are_told_apart() {
    const MANIFEST: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shares}
spec:
  parentRefs: [{name: door}]
  rules:
  - backendRefs:
    - {name: web, port: 80, weight: 2}
    - {name: web, port: 80, filters: [{type: URLRewrite, urlRewrite: {hostname: in.test, path: {type: ReplaceFullPath, replaceFullPath: /own}}}]}
    - {name: web, port: 80, filters: [{type: RequestRedirect, requestRedirect: {port: 80, path: {type: ReplaceFullPath, replaceFullPath: /else}}}]}
";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, MANIFEST).expect("a temporary folder takes a file");
    let told = explain(&[file.to_str().expect("a path"), "http://any.example:8080/a"]);
    assert_eq!((&told["outcome"]["target"], &told["outcome"]["authority"]), (&"/a".into(), &"any.example:8080".into()));
    let destinations = told["outcome"]["destinations"].as_array().expect("a list");
    let shown = |one: &Value| {
        let [share, status, target, authority, location] = ["probability", "status", "target", "authority", "location"]
            .map(|key| one[key].to_string().replace('"', ""));
        let host = one["head"].as_array().and_then(|head| head.iter().find(|line| line[0] == "host"));
        format!(
            "{share} {status} {target} {authority} {location} {}",
            host.map_or("", |line| line[1].as_str().unwrap_or(""))
        )
    };
    assert_eq!(
        destinations.iter().map(shown).collect::<Vec<_>>(),
        [
            "0.5 503 null null null any.example:8080",
            "0.25 503 /own in.test null in.test",
            "0.25 302 null null http://any.example/else "
        ]
    );
    assert_eq!(told["action"]["forward"]["backends"][1]["action"]["forward"]["path"]["full"], "/own");
}

#[test]
fn answers_of_the_proxy_itself() {
    let told = explain(&["examples/gateway-api.yaml", "http://any.example:8080/old/page"]);
    assert_eq!((&told["outcome"]["kind"], &told["outcome"]["status"]), (&"reply".into(), &301.into()));
    assert_eq!(told["outcome"]["location"], "http://any.example:8080/new/page");
    let told = explain(&["examples/bookshop", "--from", "storefront", "http://nobody.example/"]);
    assert_eq!((&told["outcome"]["status"], &told["outcome"]["flags"]), (&404.into(), &"NR".into()));
    assert_eq!(told["host"], Value::Null);
}

#[test]
fn opaque_connections_and_the_called_side() {
    let told = explain(&["examples/bookshop", "--from", "catalog", "tcp://cache:6379"]);
    assert_eq!(told["outcome"]["destinations"][0]["endpoints"][0]["workload"], "default/cache");
    let told = explain(&["examples/bookshop", "--from", "catalog", "--inbound", "http://catalog:8000/"]);
    assert_eq!((&told["listener"]["role"], &told["outcome"]["kind"]), (&"inbound".into(), &"forward".into()));
}

#[test]
fn a_head_that_the_proxy_refuses() {
    for (arguments, status, details) in [
        (&["-H", "Content-Length: two"][..], 400, "http1.content_length_invalid"),
        (&["-H", "Expect: more"], 417, "http1.expectation_unknown"),
        (&["-H", "x_y: 1", "--profile", "strict"], 400, "http1.underscore"),
    ] {
        let told = explain(&[arguments, &[CANARY, "http://any.example:8080/"]].concat());
        assert_eq!((&told["outcome"]["status"], &told["outcome"]["flags"]), (&status.into(), &"DPE".into()));
        assert!(told["outcome"]["details"].as_str().is_some_and(|said| said.starts_with(details)), "{told}");
    }
}

#[test]
fn near_endpoints_come_first() {
    const FILE: &str = "near.yaml";
    let folder = tempfile::tempdir().expect("a folder");
    let pod = |name: &str, at: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web, istio-locality: {at}}}}}\nspec: {{containers: [{{name: web, image: x, ports: [{{containerPort: 80}}]}}]}}\n---\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, trafficDistribution: PreferClose, ports: [{name: http, port: 80}]}\n";
    let path = folder.path().join(FILE);
    std::fs::write(&path, pod("near", "eu.a") + &pod("far", "us.b") + service).expect("written");
    let told = explain(&[path.to_str().expect("UTF-8"), "--from", "near", "http://web/"]);
    let endpoints = told["outcome"]["destinations"][0]["endpoints"].as_array().expect("a list");
    let share = |at: &str| {
        let found = endpoints.iter().find(|endpoint| endpoint["locality"] == at);
        found.unwrap_or_else(|| panic!("{at} in {endpoints:#?}"))["probability"].as_f64()
    };
    assert_eq!((share("eu/a"), share("us/b")), (Some(1.0), Some(0.0)));
}

#[test]
fn a_rule_id_leads_to_its_line() {
    let told = explain(&[CANARY, "http://any.example:8080/new/things"]);
    let id = told["rule"]["id"].as_str().expect("an id");
    let rule = explain(&[CANARY, "--rule", id]);
    assert_eq!(rule, told["rule"]);
    let (code, said) = usage(&[CANARY, "--rule", "00000001"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no rule in force"), "{said}");
}

#[test]
fn a_line_of_the_access_log_is_explained() {
    let told = explain(&[CANARY, "http://any.example:8080/new/things"]);
    let id = told["rule"]["id"].as_str().expect("an id");
    let line =
        format!("{{\"method\":\"GET\",\"path\":\"/new/things\",\"authority\":\"any.example:8080\",\"rule\":\"{id}\"}}");
    let again = explain(&[CANARY, "--log", &line]);
    assert_eq!((&again["route"], &again["logged"]["same_rule"]), (&told["route"], &true.into()));
    let other = explain(&[CANARY, "--log", &line, "-H", "x-tester: yes"]);
    assert_eq!((&other["route"]["name"], &other["logged"]["same_rule"]), (&"testers".into(), &false.into()));
    assert_eq!(other["logged"]["rule"], told["rule"]);
}

#[test]
fn a_snapshot_file_stands_in_for_manifests() {
    use control_shim::explain::Source;
    use control_shim::mesh::placement::Sequential;
    let paths = [repository().join(CANARY)];
    let source = Source::compile(&paths, Default::default(), Default::default(), &mut Sequential::default());
    let Source::Manifests { compiled, .. } = source else { panic!("these are manifests") };
    let order = ringway_config::Order { incarnation: 1, sequence: 1 };
    let snapshot =
        compiled.snapshot("istio-system/istio-ingressgateway", &[], order).expect("a proxy").expect("closed");
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("snapshot");
    std::fs::write(&file, snapshot.to_bytes()).expect("written");
    let told = explain(&[file.to_str().expect("utf-8"), "http://any.example:8080/new/things"]);
    assert_eq!(told["route"]["name"], "new-paths");
    let id = told["rule"]["id"].as_str().expect("an id");
    assert_eq!(explain(&[file.to_str().expect("utf-8"), "--rule", id])["name"], "web");
}

#[test]
fn wrong_questions_say_what_is_wrong() {
    for (arguments, code, words) in [
        (&[][..], 2, "a URL is missing"),
        (&["http://a/"], 2, "manifests are missing"),
        (&[CANARY, "ftp://a/"], 2, "not ftp"),
        (&[CANARY, "-H", "nonsense", "http://a/"], 2, "no header line"),
        (&[CANARY, "--rule", "xyz"], 2, "no rule id"),
        (&[CANARY, "--log", "nonsense"], 2, "words of the text format"),
        (&[CANARY, "--from", "nobody", "http://a/"], 1, "default/web-v1"),
        (&[CANARY, "http://a:81/"], 1, "no gateway serves port 81, only 8080; "),
        (&["--live", "/nowhere/at/all", "http://a/"], 1, "/nowhere/at/all"),
    ] {
        let (found, said) = usage(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn the_text_names_every_step() {
    let output = run(&[CANARY, "http://any.example:8080/new/things"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for step in ["listener", "host", "passed", "route", "sent as", "→", "rule"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(step)), "{step} in {text}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe");
}
