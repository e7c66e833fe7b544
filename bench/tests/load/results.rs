//! What becomes of a run: exit codes, files, pages, sums, and counts while it goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::common::{json, ringway_load};
use crate::server::{Server, reply, until};

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
