//! The program from outside: real processes, real sockets, and a server whose every pause is known.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod echoes;
mod replay;
mod results;
mod server;
#[path = "../common/web_socket.rs"]
mod web_socket;

use std::net::TcpListener;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::Value;

use self::common::{json, ringway_load};
use self::server::{Server, reply, until};

fn percentile_ms(run: &Value, p: f64) -> f64 {
    let all = run["latency"]["percentiles"].as_array().unwrap();
    let found = all.iter().find(|pair| pair[0].as_f64() == Some(p)).unwrap();
    found[1].as_f64().unwrap() / 1e6
}

/// 3,000 requests are due in 6 s. Those 500 that are due while the server stands still for 1 s wait for what is left of that second, from 1,000 ms down
/// to 0: a tenth of all wait 400 ms or longer, a hundredth 940 ms or longer. A generator that waits for replies before it sends sees next to nothing of it.
fn latencies_of_a_server_that_stops_are_true(backend: &str) {
    let server = Server::start(|_| reply("ok"));
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("a third of the requests", || server.requests.load(SeqCst) >= 1_000);
            server.pause(true);
            std::thread::sleep(Duration::from_secs(1));
            server.pause(false);
        });
        json(&[
            "run",
            &server.url(),
            "--rate",
            "500",
            "--connections",
            "10",
            "--duration",
            "6s",
            "--warmup",
            "0s",
            "--io-backend",
            backend,
        ])
    });
    let (p90, p99) = (percentile_ms(&run, 90.0), percentile_ms(&run, 99.0));
    assert!((375.0..=425.0).contains(&p90), "p90 is {p90} ms\n{run:#}");
    assert!((915.0..=965.0).contains(&p99), "p99 is {p99} ms\n{run:#}");
    assert_eq!((run["requests"].as_u64(), run["unsent"].as_u64()), (Some(3_000), Some(0)), "{run:#}");
}

#[test]
fn latencies_of_a_server_that_stops_are_true_on_uring() {
    latencies_of_a_server_that_stops_are_true("auto");
}

#[test]
fn latencies_of_a_server_that_stops_are_true_on_epoll() {
    latencies_of_a_server_that_stops_are_true("epoll");
}

#[test]
fn every_failure_has_its_cause() {
    let silent = Server::start(|_| reply("never"));
    silent.pause(true);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (Server::start(|_| None), "closed"),
        (Server::start(|_| Some(b"SSH-2.0-x\r\n".to_vec())), "malformed"),
        (
            Server::start(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhi".to_vec())),
            "short-reply",
        ),
        (Server::start(|_| Some(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec())), "status"),
        (silent, "timeout"),
    ];
    let mut urls: Vec<(String, &str)> = cases.iter().map(|(server, cause)| (server.url(), *cause)).collect();
    urls.push((format!("http://{nobody}/"), "refused"));
    for (url, cause) in urls {
        let run =
            json(&["run", &url, "--rate", "100", "-c", "100", "-d", "500ms", "--warmup", "0s", "--timeout", "100ms"]);
        let causes = run["errors"]["causes"].as_object().unwrap();
        assert_eq!(causes.keys().collect::<Vec<_>>(), [cause], "{run:#}");
        assert_eq!(run["requests"], causes[cause], "{run:#}");
        assert!(run["requests"].as_u64() >= Some(45), "{run:#}");
    }
}

#[test]
fn a_closed_loop_keeps_its_connections_and_new_ones_are_new() {
    let server = Server::start(|_| reply("ok"));
    let run = json(&["run", &server.url(), "--closed", "-c", "4", "-d", "300ms", "--warmup", "0s"]);
    assert_eq!((server.connections.load(SeqCst), run["load"].as_str()), (4, Some("closed")), "{run:#}");
    assert!(run["requests"].as_u64() > Some(100) && run["errors"]["share"] == 0.0, "{run:#}");

    let run =
        json(&["run", &server.url(), "--rate", "100", "-c", "4", "-d", "500ms", "--warmup", "0s", "--new-connections"]);
    assert_eq!((run["connects"].as_u64(), run["requests"].as_u64()), (Some(50), Some(50)), "{run:#}");
}

#[test]
fn nothing_is_drawn_where_nobody_looks() {
    let server = Server::start(|_| reply("ok"));
    let output = ringway_load(&["run", &server.url(), "--rate", "20", "-d", "1s", "--warmup", "0s"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(!output.stdout.contains(&0x1b), "{output:?}");
}

#[test]
fn what_is_due_in_the_last_moment_is_sent() {
    let server = Server::start(|_| reply("ok"));
    // The eleventh is due 100 ns before the end.
    let run = json(&["run", &server.url(), "--rate", "10", "-d", "1.0000001s", "--warmup", "0s"]);
    assert_eq!((run["requests"].as_u64(), run["unsent"].as_u64()), (Some(11), Some(0)), "{run:#}");
}

#[test]
fn connections_that_are_ended_make_room_for_new_ones() {
    let server = Server::start(|_| reply("ok"));
    for backend in ["auto", "epoll"] {
        // The server would keep them: the client ends each after one reply and connects again at once.
        let run = json(&[
            "run",
            &server.url(),
            "--closed",
            "-c",
            "16",
            "-d",
            "500ms",
            "--warmup",
            "0s",
            "--new-connections",
            "-H",
            "Connection: keep-alive",
            "--io-backend",
            backend,
        ]);
        assert_eq!(run["errors"]["causes"].as_object().unwrap().len(), 0, "{run:#}");
        assert!(run["requests"].as_u64() > Some(50), "{run:#}");
    }
}

#[test]
fn a_scenario_mixes_requests_in_their_proportion() {
    let server = Server::start(|head| {
        let (method, rest) = head.split_once(' ').unwrap();
        assert!(head.contains("\r\nX-Team: tea\r\n"), "{head}");
        match (method, rest.split(' ').next().unwrap()) {
            ("GET", path) if ["/users/1", "/users/2"].contains(&path) => reply("user"),
            ("POST", "/orders") => Some(
                b"HTTP/1.1 201 Created\r\nLocation: /orders/1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            ),
            _ => None,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mix.toml");
    std::fs::write(folder.path().join("users.csv"), "id\n1\n2\n").unwrap();
    let text = format!(
        "url = 'http://{}'\nrate = 1000\nduration = '1s'\nwarmup = '0s'\nthreads = 2\narrivals = 'poisson'\ndata = 'users.csv'\n\
         headers = {{ X-Team = 'tea' }}\n\
         [[request]]\nname = 'read'\nweight = 3\npath = '/users/{{id}}'\nexpect = {{ status = [200], body-bytes = 4 }}\n\
         [[request]]\nname = 'write'\nmethod = 'POST'\npath = '/orders'\nbody = 'x'\nexpect = {{ status = [201], headers = {{ Location = '/orders/1' }} }}\n",
        server.address
    );
    std::fs::write(&file, text).unwrap();
    let run = json(&["run", file.to_str().unwrap()]);
    assert_eq!(run["errors"]["share"], 0.0, "{run:#}");
    let (reads, all) = (run["kinds"]["read"].as_f64().unwrap(), run["requests"].as_f64().unwrap());
    // Five standard deviations of 1,000 throws.
    assert!((reads / all - 0.75).abs() < 5.0 * (0.75f64 * 0.25 / 1000.0).sqrt(), "{run:#}");
    // The same seed, the same arrivals: what differs is how many of the last ones still found a connection.
    let due = |run: &Value| run["requests"].as_u64().unwrap() + run["unsent"].as_u64().unwrap();
    assert_eq!(due(&json(&["run", file.to_str().unwrap()])), due(&run));
}

#[test]
fn overload_is_said_and_not_hidden() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(20));
        reply("slow")
    });
    // One connection of 50 requests a second, for 200 that are due.
    let run = json(&["run", &server.url(), "--rate", "200", "-c", "1", "-d", "1s", "--warmup", "0s"]);
    let (done, unsent) = (run["requests"].as_u64().unwrap(), run["unsent"].as_u64().unwrap());
    assert_eq!(done + unsent, 200, "{run:#}");
    assert!(unsent >= 140, "{run:#}");
    assert!(run["generator"]["doubts"].to_string().contains("every connection was busy"), "{run:#}");
}

#[test]
fn wrong_use_says_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    std::fs::write(&file, "url = 'http://127.0.0.1'\n\nconections = 5\n").unwrap();
    for (args, said) in [
        (vec!["run", "127.0.0.1:80"], "neither a URL"),
        (vec!["run", "http://127.0.0.1:1"], "no rate"),
        (vec!["run", file.to_str().unwrap()], "x.toml:3:1: unknown field `conections`"),
        (vec!["run", "https://127.0.0.1:1", "--closed", "--cert", "x.pem"], "cert and key belong together"),
    ] {
        let output = ringway_load(&args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(said), "{args:?}: {:?} {text}", output.status);
    }
}
