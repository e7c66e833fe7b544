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
    let mut command = Command::new(binary::ringway());
    command.current_dir(binary::repository()).args(["explain", "examples/hello.yaml", "--output", "json"]);
    let output = command.arg("http://door.test:8080/a/../b//%63?d=/../e").output().expect("ringway starts");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("explain writes JSON");
    assert_eq!(told["outcome"]["target"], "/b//c?d=/../e", "{told}");
}
