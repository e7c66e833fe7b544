//! Access logs, sent again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{json, ringway_load};
use crate::server::{Server, reply};

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
