//! The program from outside: real processes, real sockets, and a server whose every pause is known.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/web_socket.rs"]
mod web_socket;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::common::{json, listen, ringway_load};
use self::web_socket::web_socket;

/// What the server does with a request; `None` closes the connection without a byte.
type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// A server of threads. It can be stopped and goes on where it was, as a process that got SIGSTOP does.
struct Server {
    address: SocketAddr,
    paused: Arc<(Mutex<bool>, Condvar)>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            paused: Arc::default(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let answer: Arc<Answer> = Arc::new(answer);
        let (paused, requests, connections) =
            (server.paused.clone(), server.requests.clone(), server.connections.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let (answer, paused, requests) = (answer.clone(), paused.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, &*answer, &paused, &requests));
            }
        });
        server
    }

    fn pause(&self, pause: bool) {
        *self.paused.0.lock().unwrap() = pause;
        self.paused.1.notify_all();
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, paused: &(Mutex<bool>, Condvar), requests: &AtomicUsize) {
    let _ = stream.set_nodelay(true);
    let (mut seen, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end + 4]).into_owned();
            let body: usize =
                head.lines().find_map(|l| l.strip_prefix("Content-Length: ").map(|n| n.parse().unwrap())).unwrap_or(0);
            if seen.len() < end + 4 + body {
                break;
            }
            seen.drain(..end + 4 + body);
            requests.fetch_add(1, SeqCst);
            let mut is_paused = paused.0.lock().unwrap();
            while *is_paused {
                is_paused = paused.1.wait(is_paused).unwrap();
            }
            drop(is_paused);
            match answer(&head) {
                Some(bytes) => {
                    let closes = bytes.windows(17).any(|w| w == b"Connection: close");
                    if stream.write_all(&bytes).is_err() || closes {
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    }
                }
                None => return,
            }
        }
        match stream.read(&mut buf) {
            Ok(0) | Err(_) => return,
            Ok(n) => seen.extend_from_slice(&buf[..n]),
        }
    }
}

fn reply(body: &str) -> Option<Vec<u8>> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn percentile_ms(run: &Value, p: f64) -> f64 {
    let all = run["latency"]["percentiles"].as_array().unwrap();
    let found = all.iter().find(|pair| pair[0].as_f64() == Some(p)).unwrap();
    found[1].as_f64().unwrap() / 1e6
}

/// Waits for what a server has seen.
fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
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
fn gates_are_exit_codes() {
    let (good, bad) = (Server::start(|_| reply("ok")), Server::start(|_| None));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (baseline, junit, summary, log) = (path("run.json"), path("junit.xml"), path("summary.md"), path("run.hlog"));
    let code = |server: &Server, args: &[&str]| {
        let url = server.url();
        let fixed = ["run", url.as_str(), "--rate", "200", "-d", "1s", "--warmup", "0s"];
        ringway_load(&[&fixed[..], args].concat()).status.code()
    };
    assert_eq!(code(&good, &["--fail-if", "errors>0.1%", "--json", &baseline, "--hdr", &log]), Some(0));
    assert_eq!(code(&bad, &["--fail-if", "errors>0.1%", "--junit", &junit, "--step-summary", &summary]), Some(1));
    assert_eq!(code(&good, &["--fail-if", "p99>5"]), Some(2));
    assert_eq!(code(&good, &["--baseline", &baseline, "--max-regression", "errors=1%"]), Some(0));
    assert_eq!(code(&bad, &["--baseline", &baseline, "--max-regression", "errors=1%"]), Some(1));

    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&junit).contains("tests=\"1\" failures=\"1\""), "{}", read(&junit));
    assert!(read(&summary).contains("❌ `not errors>0.1%`"), "{}", read(&summary));
    assert!(read(&log).lines().any(|l| l.starts_with("Tag=latency,0.000,1.000,")), "{}", read(&log));
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

#[test]
fn runs_are_compared_on_one_page_that_loads_nothing() {
    let (good, bad) = (Server::start(|_| reply("ok")), Server::start(|_| None));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    for (server, name) in [(&good, "good"), (&bad, "bad")] {
        let (json, page) = (path(&format!("{name}.json")), path(&format!("{name}.html")));
        let fixed = ["run", &server.url(), "--rate", "200", "-d", "1s", "--warmup", "0s"];
        let output = ringway_load(&[&fixed[..], &["--json", &json, "--html", &page]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert!(read("good.html").contains("No request failed."), "{}", read("good.html"));
    assert!(read("bad.html").contains("closed × 200"), "{}", read("bad.html"));

    let both = [format!("<b>efore={}", path("good.json")), path("bad.json")];
    let output = ringway_load(&["report", &both[0], &both[1], "--html", &path("both.html")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = read("both.html");
    for said in ["2 runs compared", "&lt;b&gt;efore", "Latency by percentile", "closed × 200", "200 × 200"] {
        assert!(page.contains(said), "`{said}` is missing: {page}");
    }
    for loads in ["http-equiv=\"refresh", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(loads), "`{loads}`: {page}");
    }

    std::fs::write(path("other.json"), "{}").unwrap();
    let output = ringway_load(&["report", &path("other.json"), "--html", &path("none.html")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("other.json: not a run of ringway-load"), "{output:?}");
}

#[test]
fn generators_are_merged() {
    let server = Server::start(|_| reply("ok"));
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.json", "two.json"].map(|name| folder.path().join(name).to_str().unwrap().to_string());
    let generate = |rate: &str, path: &str| {
        let args = ["run", &server.url(), "--rate", rate, "-d", "1s", "--warmup", "0s", "--json", path];
        assert_eq!(ringway_load(&args).status.code(), Some(0));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| generate("100", &paths[0]));
        scope.spawn(|| generate("300", &paths[1]));
    });
    let sum = json(&["merge", &paths[0], &paths[1], "--fail-if", "errors>0%"]);
    assert_eq!((sum["requests"].as_u64(), sum["statuses"]["200"].as_u64()), (Some(400), Some(400)), "{sum:#}");
    assert_eq!((sum["target_rate"].as_f64(), sum["connections"].as_u64()), (Some(400.0), Some(100)), "{sum:#}");
    let by_second: u64 =
        sum["seconds"].as_array().unwrap().iter().map(|second| second["requests"].as_u64().unwrap()).sum();
    assert_eq!(by_second, 400, "{sum:#}");
}

#[test]
fn prometheus_reads_the_counts_while_the_load_runs() {
    let server = Server::start(|_| reply("ok"));
    let mut running = Command::new(env!("CARGO_BIN_EXE_ringway-load"))
        .args(["run", &server.url(), "--rate", "100", "-d", "60s", "--warmup", "0s", "--prometheus", "127.0.0.1:0"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(running.stderr.as_mut().unwrap()), &mut line).unwrap();
    let address = line.trim().strip_prefix("prometheus: http://").and_then(|l| l.strip_suffix("/metrics")).unwrap();
    let scrape = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let requests = || -> u64 {
        let text = scrape("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"), "{text}");
        let value = text.lines().find_map(|line| line.strip_prefix("ringway_load_requests_total "));
        value.unwrap_or_else(|| panic!("no counter: {text}")).parse().unwrap()
    };
    until("the first second's counts", || requests() >= 99);
    assert!(scrape("GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(scrape("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn an_access_log_is_replayed_as_it_was_recorded() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heads = seen.clone();
    let server = Server::start(move |head| {
        let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap().to_string();
        heads.lock().unwrap().push((head.lines().next().unwrap().to_string(), host, Instant::now()));
        reply("ok")
    });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    // Written in the order of the replies: the first request ended last.
    let line = |start: &str, method: &str, path: &str, authority: &str| {
        format!(
            r#"{{"start_time":"2024-05-01T10:00:{start}Z","method":"{method}","path":"{path}","authority":{authority},"response_code":200}}"#
        )
    };
    let lines = [
        line("01.000", "POST", "/orders?x=1", r#""shop.example""#),
        "2024-05-01T10:00:01Z info a line of the proxy's own log".to_string(),
        line("00.000", "GET", "/slow", r#""shop.example:80""#),
        line("03.000", "GET", "/", "null"),
    ];
    std::fs::write(&log, lines.join("\n")).unwrap();
    let run = json(&["replay", log.to_str().unwrap(), &server.url(), "--speed", "2", "-c", "2", "--threads", "2"]);
    assert_eq!((run["requests"].as_u64(), run["errors"]["share"].as_f64()), (Some(3), Some(0.0)), "{run:#}");
    assert_eq!((run["kinds"]["GET"].as_u64(), run["kinds"]["POST"].as_u64()), (Some(2), Some(1)), "{run:#}");
    let seen = seen.lock().unwrap();
    let lines: Vec<(&str, &str)> = seen.iter().map(|(line, host, _)| (line.as_str(), host.as_str())).collect();
    let own = server.address.to_string();
    assert_eq!(
        lines,
        [
            ("GET /slow HTTP/1.1", "shop.example:80"),
            ("POST /orders?x=1 HTTP/1.1", "shop.example"),
            ("GET / HTTP/1.1", own.as_str())
        ]
    );
    // 3 s at twice the speed; nothing is sent early, and how late it may be is the machine's.
    assert!(seen[2].2 - seen[0].2 > Duration::from_millis(1_400), "{seen:?}");

    std::fs::write(&log, "\n{\"method\":\"GET\",\"path\":\"/\"}\n").unwrap();
    let output = ringway_load(&["replay", log.to_str().unwrap(), &server.url()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("access.log:2: no `start_time`"), "{output:?}");
}

#[test]
fn replies_are_compared_with_what_was_recorded() {
    let server = Server::start(|head| {
        let status = head.split(['/', ' ']).nth(2).unwrap();
        Some(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes())
    });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    // What is answered now, and what was then; 0 is a client that did not wait.
    let pairs =
        [("200", "200"), ("404", "404"), ("503", "200"), ("503", "200"), ("200", "500"), ("418", "0"), ("503", "null")];
    let line = |(now, then): &(&str, &str)| {
        format!(r#"{{"start_time":"2024-05-01T10:00:00Z","method":"GET","path":"/{now}","response_code":{then}}}"#)
    };
    std::fs::write(&log, pairs.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let replay = ["replay", log.to_str().unwrap(), &server.url(), "--threads", "2"];
    let run = json(&[&replay[..], &["--expect-recorded-status"]].concat());
    assert_eq!(run["errors"]["causes"].to_string(), r#"{"status":3}"#, "{run:#}");
    let reasons = r#"{"status 200, recorded 500":1,"status 503, recorded 200":2}"#;
    assert_eq!(run["errors"]["reasons"].to_string(), reasons, "{run:#}");
    // Without it: everything from 400 on has failed.
    let run = json(&replay);
    assert_eq!(run["errors"]["causes"].to_string(), r#"{"status":5}"#, "{run:#}");
}

/// A server that sends back what it gets.
fn echo_server() -> SocketAddr {
    listen(|mut stream| {
        let _ = stream.set_nodelay(true);
        let mut buf = vec![0; 64 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            if stream.write_all(&buf[..n]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn tcp_messages_come_back() {
    let url = format!("tcp://{}", echo_server());
    for backend in ["auto", "epoll"] {
        let fixed = ["run", &url, "-c", "4", "-d", "500ms", "--warmup", "0s", "--io-backend", backend];
        let run = json(&[&fixed[..], &["--rate", "100", "--message-bytes", "1000"]].concat());
        assert_eq!((run["requests"].as_u64(), run["errors"]["share"].as_f64()), (Some(50), Some(0.0)), "{run:#}");
        assert_eq!(
            (run["bytes_read"].as_u64(), run["bytes_written"].as_u64()),
            (Some(50_000), Some(50_000)),
            "{run:#}"
        );
        assert_eq!(run["kinds"]["echo of 1000 bytes"].as_u64(), Some(50), "{run:#}");
        // Far more than a socket's buffers hold: both directions move at once.
        let run = json(&[&fixed[..], &["--closed", "--message-bytes", "16777216"]].concat());
        assert!(run["requests"].as_u64() >= Some(4) && run["errors"]["share"] == 0.0, "{run:#}");
    }
    // The bytes of a warm-up are not counted; its last message may come back when counting has begun.
    let run = json(&["run", &url, "--rate", "100", "-d", "500ms", "--warmup", "500ms", "--message-bytes", "1000"]);
    assert!((50_000..60_000).contains(&run["bytes_read"].as_u64().unwrap()), "{run:#}");
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "--new-connections"]);
    assert_eq!((run["connects"].as_u64(), run["requests"].as_u64()), (Some(25), Some(25)), "{run:#}");
    let other = Server::start(|_| reply("no echo"));
    let url = format!("tcp://{}", other.address);
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "--timeout", "50ms"]);
    assert_eq!(run["errors"]["causes"]["timeout"].as_u64(), Some(25), "{run:#}");
}

#[test]
fn web_socket_messages_come_back() {
    let url = format!("ws://{}/chat", listen(|stream| web_socket(stream, "101 Switching Protocols")));
    for (backend, bytes) in [("auto", "5"), ("epoll", "60000")] {
        let fixed = ["run", &url, "--rate", "100", "-c", "3", "-d", "1s", "--warmup", "0s", "-H", "Cookie: a=b"];
        let run = json(&[&fixed[..], &["--message-bytes", bytes, "--io-backend", backend]].concat());
        assert_eq!((run["requests"].as_u64(), run["errors"]["share"].as_f64()), (Some(100), Some(0.0)), "{run:#}");
        assert_eq!(run["connects"].as_u64(), Some(3), "{run:#}");
    }
    let url = format!("ws://{}/chat", listen(|stream| web_socket(stream, "403 Forbidden")));
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "-H", "Cookie: a=b"]);
    assert_eq!(run["errors"]["causes"]["status"].as_u64(), Some(25), "{run:#}");
}
