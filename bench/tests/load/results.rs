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
    let first = read(&log).lines().find_map(|l| Some(l.strip_prefix("Tag=latency,0.000,1.000,")?.to_string())).unwrap();
    // What it begins with says that it is V2 and compressed.
    assert!(first.split_once(',').is_some_and(|(_, histogram)| histogram.starts_with("HISTFAAAA")), "{first}");
}

#[test]
fn a_server_that_answers_nobody_meets_no_bound() {
    let bad = Server::start(|_| None);
    let url = bad.url();
    for load in [&["--rate", "200"][..], &["--closed", "-c", "2"]] {
        for condition in ["p99>5s", "mean>5s", "rate<1"] {
            let fixed = ["run", url.as_str(), "-d", "200ms", "--warmup", "0s", "--fail-if", condition];
            let output = ringway_load(&[&fixed[..], load].concat());
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let latency = condition != "rate<1";
            // How late this machine sends is no matter where a latency is not known.
            assert!(output.status.code() == Some(1) || !latency && output.status.code() == Some(3), "{output:?}");
            assert!(said.contains("No latency: no request was answered"), "{said}");
        }
    }
}

#[test]
fn a_server_that_is_watched_has_its_cpu_told_and_judged() {
    let server = Server::start(|_| reply("ok"));
    let folder = tempfile::tempdir().unwrap();
    let baseline = folder.path().join("run.json").to_str().unwrap().to_string();
    // The server of this test is a thread of it.
    let (url, pid) = (server.url(), std::process::id().to_string());
    let run = |args: &[&str]| {
        ringway_load(&[&["run", &url, "--rate", "200", "-d", "300ms", "--warmup", "100ms"][..], args].concat())
    };
    let watched = run(&["--server-pid", &pid, "--fail-if", "cpu>1ns", "--json", &baseline]);
    assert_eq!(watched.status.code(), Some(1), "{watched:?}");
    let cpu: serde_json::Value = serde_json::from_slice(&std::fs::read(&baseline).unwrap()).unwrap();
    assert!(cpu["server"]["cpu_us_per_request"].as_f64().unwrap() > 0.0, "{cpu:#}");
    let again = run(&["--server-pid", &pid, "--baseline", &baseline, "--max-regression", "cpu=1000000%"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    for (args, said) in [
        (&["--fail-if", "cpu>1ms"][..], "say which process is the server (--server-pid)"),
        (&["--server-pid", "4294967295"], "there is no process 4294967295"),
    ] {
        let wrong = run(args);
        let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(wrong.status.code() == Some(2) && told.contains(said), "{wrong:?}");
    }
}

#[test]
fn wrong_use_is_said_before_anything_is_measured() {
    let server = Server::start(|_| reply("ok"));
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open.json").to_str().unwrap().to_string();
    let url = server.url();
    let short = ["-d", "100ms", "--warmup", "0s"];
    assert_eq!(
        ringway_load(&[&["run", &url, "--rate", "50", "--json", &open], &short[..]].concat()).status.code(),
        Some(0)
    );
    // A day would be noticed.
    let long = ["run", url.as_str(), "-d", "24h"];
    for (args, said) in [
        (&["--rate", "1", "--json", "/nowhere/run.json"][..], "/nowhere/run.json: "),
        (
            &["--closed", "--baseline", &open, "--max-regression", "p99=5%"],
            "is of loop `open`, this run of loop `closed`",
        ),
        (&["--rate", "1", "--fail-if", "errors>5"], "--fail-if: `errors>5`: a part of all requests"),
        (&["--rate", "-1"], "rate -1: from 0"),
    ] {
        let output = ringway_load(&[&long[..], args].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(said), "{output:?}");
    }
    let twice = ringway_load(&["merge", &open, &open]);
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
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
