//! Row 63: the admin port is for this machine's operator alone, and logs say one line for one request.

use ringway_config::model::{AccessLog, Role};
use ringway_tests::harness::{Case, Client, Config, Program, ProxyBuilder, Upstream, binary, until};
use ringway_tests::matrix;

matrix!(row_63_changes_need_a_post_from_here, row_63_logs_cannot_be_forged);

/// Other addresses than loopback are refused at start.
#[test]
fn row_63_the_admin_port_is_not_for_the_network() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "1.2.3.4:15000"] {
        let mut command = std::process::Command::new(binary::dataplane());
        command.args(["--config", "file:/nonexistent", "--node", "tests/x", "--exit-with-stdin", "--admin", address]);
        let mut program = Program::start(command);
        assert!(!program.wait().success());
        assert!(program.stderr().contains("loopback"), "{address}: {}", program.stderr());
    }
}

/// A web page on a name that resolves to this machine (DNS rebinding) reads nothing and changes nothing.
#[test]
fn row_63_a_foreign_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("snapshot");
    Config::http(Role::Outbound).snapshot().write_file(&snapshot).unwrap();
    let mut command = std::process::Command::new(binary::dataplane());
    command.arg("--config").arg(format!("file:{}", snapshot.display()));
    command.args(["--node", "tests/x", "--exit-with-stdin", "--admin", "127.0.0.1:0"]);
    let program = Program::start(command);
    let admin = until("the admin address", || {
        let said = program.stderr();
        said.lines().find_map(|l| l.strip_prefix("admin: http://")).and_then(|a| a.parse().ok())
    });
    let ask = |method: &str, path: &str, host: &str| {
        let mut client = Client::connect(admin);
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        client.response().status
    };
    for host in ["evil.test", "evil.test:15000", "localhost.evil.test", "10.0.0.1"] {
        assert_eq!(ask("GET", "/config_dump", host), 403, "{host}");
        assert_eq!(ask("POST", "/quitquitquit", host), 403, "{host}");
    }
    assert_eq!(ask("GET", "/server_info", &admin.to_string()), 200);
}

fn row_63_changes_need_a_post_from_here(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy = ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).start();
    for path in ["/quitquitquit", "/drain_listeners"] {
        assert_eq!(proxy.admin(path).status, 405, "GET {path}");
        for line in ["Origin: http://evil.test", "Origin: http://localhost:1", "Origin: null"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            assert_eq!(proxy.admin_request(&request).status, 403, "{path} with {line}");
        }
    }
    assert_eq!(proxy.admin("/nothing-here").status, 404);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.admin_post("/quitquitquit").status, 200);
    assert!(proxy.program.wait().success());
}

fn row_63_logs_cannot_be_forged(case: Case) {
    let upstream = Upstream::echo();
    for format in [AccessLog::Text, AccessLog::Json] {
        let mut config = Config::http(Role::Gateway).upstream(upstream.address());
        config.policy.access_log = format;
        let proxy = ProxyBuilder::new(case, config).start();
        let mut client = proxy.client();
        client.send(b"GET /a%0d%0aforged%1b[31m HTTP/1.1\r\nHost: up.test\r\nUser-Agent: \xff\xc2\x85\xe2\x80\xa8\"\\ forged\t\"\r\n\r\n");
        assert_eq!(client.response().status, 200);
        client.send(b"GET /last HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status, 200);
        let log = until("the second line of the log", || Some(proxy.program.stdout()).filter(|l| l.contains("/last")));
        let lines: Vec<&str> = log.lines().filter(|l| l.contains("forged") || l.contains("/last")).collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(!log.bytes().any(|b| (b < 0x20 && b != b'\n') || b == 0x7f), "{log:?}");
        match format {
            AccessLog::Json => lines.iter().for_each(|l| {
                let value: serde_json::Value = serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"));
                assert_eq!(value["response_code"], 200, "{l}");
            }),
            _ => lines.iter().for_each(|l| assert!(l.starts_with('[') && l.contains("\" 200 "), "{l}")),
        }
    }
}
