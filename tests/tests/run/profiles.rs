//! `--profile` and `--path-normalization`: from the command line to what a gateway answers and an app sees.

use std::process::Command;

use ringway_tests::harness::{Client, Mesh, binary};

#[test]
fn every_proxy_takes_heads_as_the_command_line_says() {
    // Arguments; then for each target the status, and the path that the app saw.
    type Seen = (&'static str, u16, &'static str);
    let table: [(&[&str], &[Seen]); 3] = [
        (&[], &[("/a/../b//c", 200, "/b//c"), ("/a%2fb", 200, "/a%2fb")]),
        (&["--path-normalization", "DECODE_AND_MERGE_SLASHES"], &[("/a//b%2f..%5Cc", 200, "/a/c")]),
        (&["--profile", "strict"], &[("/a/../b//c", 200, "/b/c"), ("/a%2fb", 400, "")]),
    ];
    for (arguments, requests) in table {
        let mesh = Mesh::start(&[&["examples/hello.yaml"], arguments].concat());
        for (target, status, path) in requests {
            let mut client = Client::connect(mesh.gateway(8080));
            let response = client.get("door.test", target);
            assert_eq!(response.status, *status, "{arguments:?} {target}");
            if *status == 200 {
                assert_eq!(response.json()["path"], *path, "{arguments:?} {target}");
            }
        }
    }
}

#[test]
fn explain_goes_by_the_same_form() {
    const HELLO: &str = "examples/hello.yaml";
    let folder = settings("pathNormalization: {normalization: MERGE_SLASHES}");
    let of_mesh = folder.path().to_str().expect("UTF-8");
    let table: [(&[&str], &str); 4] = [
        (&[HELLO], "/b//c?d=/../e"),
        (&[HELLO, "--path-normalization", "NONE"], "/a/../b//%63?d=/../e"),
        (&[HELLO, of_mesh], "/b/c?d=/../e"),
        (&[HELLO, of_mesh, "--path-normalization", "BASE"], "/b//c?d=/../e"),
    ];
    for (arguments, path) in table {
        let mut command = Command::new(binary::ringway());
        command.current_dir(binary::repository()).arg("explain").args(arguments).args(["--output", "json"]);
        let output = command.arg("http://door.test:8080/a/../b//%63?d=/../e").output().expect("ringway starts");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("explain writes JSON");
        assert_eq!(told["outcome"]["target"], path, "{arguments:?}: {told}");
    }
}

/// A folder with the ConfigMap of a mesh's settings.
fn settings(line: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, line);
    folder
}

fn write(folder: &tempfile::TempDir, line: &str) {
    let head =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    ";
    std::fs::write(folder.path().join("mesh.yaml"), format!("{head}{line}\n"))
        .expect("a temporary folder takes a file");
}

#[test]
fn mesh_config_holds_for_running_proxies_and_so_do_its_edits() {
    let folder = settings("pathNormalization: {normalization: NONE}");
    let mut mesh = Mesh::start(&["examples/hello.yaml", folder.path().to_str().expect("UTF-8")]);
    let mut client = Client::connect(mesh.gateway(8080));
    assert_eq!(client.get("door.test", "/a//../b").json()["path"], "/a//../b");
    write(
        &folder,
        "{pathNormalization: {normalization: MERGE_SLASHES}, accessLogFile: /dev/stdout, accessLogEncoding: JSON}",
    );
    mesh.wait_for("the edit to be applied", |event| event["event"] == "applied");
    assert_eq!(client.get("door.test", "/a//../b").json()["path"], "/a/b");
    mesh.wait_for("the log line", |event| event["what"] == "access-log" && event["text"].to_string().contains("/a/b"));
}

#[test]
fn a_gateway_believes_the_proxies_that_mesh_config_trusts_or_its_pod() {
    let hello = std::fs::read_to_string(binary::repository().join("examples/hello.yaml")).expect("an example");
    for (of_mesh, of_pod, scheme) in
        [(0, None, "http"), (1, None, "https"), (0, Some(1), "https"), (1, Some(0), "http")]
    {
        let folder = settings(&format!("defaultConfig: {{gatewayTopology: {{numTrustedProxies: {of_mesh}}}}}"));
        let annotation = of_pod.map_or(String::new(), |count| {
            format!("\n  annotations: {{proxy.istio.io/config: '{{gatewayTopology: {{numTrustedProxies: {count}}}}}'}}")
        });
        let gateway = format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: door\n  namespace: istio-system\n  labels: {{istio: ingressgateway}}{annotation}\nspec: {{containers: [{{name: istio-proxy, image: auto}}]}}\n"
        );
        std::fs::write(folder.path().join("hello.yaml"), format!("{hello}\n{gateway}")).expect("written");
        let mesh = Mesh::start(&[folder.path().to_str().expect("UTF-8")]);
        let mut client = Client::connect(mesh.gateway(8080));
        client.send("GET / HTTP/1.1\r\nHost: door.test\r\nX-Forwarded-Proto: https\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.json()["headers"]["x-forwarded-proto"], scheme, "{of_mesh} {of_pod:?}");
    }
}

#[test]
fn lines_of_the_access_log_are_as_mesh_config_says() {
    let json = r#"{"own": ["%REQ(:METHOD)% %RESPONSE_CODE%", "%START_TIME(%Y)%"], "code": "%RESPONSE_CODE%"}"#;
    for (encoding, format, expected) in [
        ("TEXT", "%REQ(:METHOD)%+%RESPONSE_CODE%+%START_TIME(%s)%", "GET+200+1"),
        ("JSON", json, r#"{"own":["GET 200","20"#),
    ] {
        let all = format!("{{accessLogFile: /dev/stdout, accessLogEncoding: {encoding}, accessLogFormat: '{format}'}}");
        let folder = settings(&all);
        let mut mesh = Mesh::start(&["examples/hello.yaml", folder.path().to_str().expect("UTF-8")]);
        assert_eq!(Client::connect(mesh.gateway(8080)).get("door.test", "/").status, 200);
        mesh.wait_for(encoding, |event| {
            event["what"] == "access-log" && event["text"].as_str().is_some_and(|line| line.starts_with(expected))
        });
    }
}
