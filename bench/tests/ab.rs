//! `ab` and `serve` from outside: servers whose cost per request is known, as it is CPU time that they burn on purpose.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use ringway_load::cores::Cores;
use ringway_load::server::{Server, Usage};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-load");

/// A command for a server that burns this much CPU a request.
fn burning(work: &str) -> String {
    format!("exec {PROGRAM} serve --listen 127.0.0.1:{{port}} --work {work}")
}

fn ab(a: &str, b: &str, more: &[&str]) -> Output {
    let fixed = ["ab", "--a", a, "--b", b, "--scenario", "http://127.0.0.1:{port}/128", "--rounds", "7"];
    let load = ["--rate", "400", "-c", "4", "-d", "300ms", "--warmup", "50ms", "--output", "json"];
    Command::new(PROGRAM).args(fixed).args(load).args(more).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_server_that_burns_more_is_caught_and_by_how_much_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (junit, summary) = (file("ab.xml"), file("summary.md"));
    let told = ["--max-regression", "cpu=3%", "--junit", &junit, "--step-summary", &summary];
    let output = ab(&burning("300us"), &burning("500us"), &told);
    let outcome = json(&output);
    assert_eq!((output.status.code(), outcome["verdict"].as_str()), (Some(1), Some("missed")), "{outcome:#}");
    let cpu = &outcome["measures"][0];
    assert_eq!(cpu["measure"], "cpu");
    let median = |side: &str| cpu[side]["median"].as_f64().unwrap() / 1e3;
    // What both do besides (sockets, wake-ups) is in both.
    let difference = median("b") - median("a");
    assert!((130.0..270.0).contains(&difference), "{difference} µs: {cpu:#}");
    assert!(median("a") > 300.0 && cpu["ratio"]["p_more"].as_f64() < Some(0.01), "{cpu:#}");
    assert!(cpu["finds"].as_f64() > Some(0.03), "{cpu:#}");
    let [junit, summary] = [junit, summary].map(|file| std::fs::read_to_string(file).unwrap());
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{junit}");
    assert!(junit.contains("name=\"cpu at most 3 % worse\"><failure message="), "{junit}");
    assert!(summary.starts_with("### ❌ Two servers in turn: missed\n") && summary.contains("\n| cpu | "), "{summary}");
}

#[test]
fn the_same_server_twice_is_no_alarm() {
    let output = ab(&burning("1ms"), &burning("1ms"), &["--max-regression", "cpu=20%"]);
    assert_eq!(output.status.code(), Some(0), "{:#}", json(&output));
}

#[test]
fn a_faster_server_is_no_regression() {
    let output = ab(&burning("1ms"), &burning("100us"), &["--max-regression", "cpu=0%"]);
    assert_eq!(output.status.code(), Some(0), "{:#}", json(&output));
}

#[test]
fn processes_that_have_ended_are_the_servers_cpu() {
    let address: SocketAddr = ([127, 0, 0, 1], ringway_load::trial::free_port().unwrap()).into();
    let burn = "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done";
    let command = format!("sh -c '{burn}'; exec {PROGRAM} serve --listen {address}");
    let server = Server::start(&command, &Cores::divide(1).unwrap(), &[address]).unwrap();
    // The server itself has only started; what counted to 500,000 before it is gone.
    let spent = server.usage().since(&Usage::default());
    assert!(spent.cpu > Duration::from_millis(40), "{spent:?}");
    let now = server.usage();
    assert!(now.since(&now).cpu.is_zero());
}

#[test]
fn wrong_use_is_told_before_anything_is_measured() {
    for (a, more, said) in [
        ("true", &["--max-regression", "cpu=3"][..], "write cpu=3%"),
        ("true", &["--max-regression", "heat=3%"][..], "or cpu; or memory, switches"),
        ("true", &[][..], "`true` ended with"),
        ("echo out of tea; exit 3", &[][..], "out of tea"),
    ] {
        let output = ab(a, "true", more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(said), "{a} {more:?}: {:?} {text}", output.status);
    }
    let few = Command::new(PROGRAM)
        .args(["ab", "--a", "x", "--b", "x", "--scenario", "http://x/", "--rounds", "3"])
        .output()
        .unwrap();
    assert!(few.status.code() == Some(2) && String::from_utf8_lossy(&few.stderr).contains("from 7"));
}

/// `serve` on a port of its own.
struct Origin(Child, String);

impl Origin {
    fn start(backend: &str) -> Origin {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--io-backend", backend])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
        Origin(child, address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn replies_have_the_size_that_was_asked_for() {
    for backend in ["auto", "epoll"] {
        let origin = Origin::start(backend);
        let ask = |pieces: &[&str]| {
            let mut stream = TcpStream::connect(&origin.1).unwrap();
            stream.set_nodelay(true).unwrap();
            pieces.iter().for_each(|piece| stream.write_all(piece.as_bytes()).unwrap());
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).unwrap();
            reply
        };
        const END: &str = "Host: x\r\nConnection: close\r\n\r\n";
        for (pieces, status, body) in [
            (vec!["GET /5 HTTP/1.1\r\n", END], "200", 5),
            (vec!["GE", "T /1048576 HT", "TP/1.1\r\n", END], "200", 1 << 20),
            (vec!["HEAD /5 HTTP/1.1\r\n", END], "200", 0),
            (vec!["POST /7 HTTP/1.1\r\nContent-Length: 3\r\n", END, "abc"], "200", 7),
            (vec!["GET /x HTTP/1.1\r\n", END], "404", 0),
            (vec!["GET /999999999 HTTP/1.1\r\n", END], "404", 0),
        ] {
            let reply = ask(&pieces);
            let end = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8_lossy(&reply[..end]);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{pieces:?}: {head}");
            assert_eq!(reply.len() - end, body, "{pieces:?}: {head}");
        }
        // Kept alive, two in one piece, a body in between.
        let two = "POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let reply = ask(&[two, "GET /2 HTTP/1.1\r\n", END]);
        assert_eq!(reply.windows(8).filter(|w| w == b"HTTP/1.1").count(), 2);
        assert!(reply.ends_with(b"\r\n\r\nxx"));
    }
}
