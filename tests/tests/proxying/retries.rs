//! What is tried again, what is not, where, how long and how often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringway_config::model::{AccessLog, Action, Protocol, Retry, RetryBudget, RetryOn, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::upstream::Request;
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

use crate::tunnels::nobody;

matrix!(
    by_default_a_503_is_tried_again_for_what_may_be_repeated,
    a_policy_that_somebody_wrote_is_obeyed,
    without_a_policy_there_is_one_try,
    a_request_beyond_the_replay_buffer_has_one_try,
    a_whole_body_is_sent_again,
    a_try_that_takes_too_long_is_followed_by_another,
    the_route_s_timeout_holds_for_all_tries,
    a_retry_goes_elsewhere_first,
    a_grpc_status_is_a_reason,
    an_overloaded_proxy_is_left_alone,
    the_budget_is_the_proxy_s_and_not_a_worker_s,
    a_thrown_away_answer_leaves_its_connection_usable,
);

/// Waits that a test does not notice.
fn quick(policy: Retry) -> Retry {
    Retry { backoff_ms: 1, backoff_max_ms: 10, ..policy }
}

fn written(on: RetryOn) -> Retry {
    Retry { on, on_repeatable: RetryOn::NONE, ..quick(Retry::default()) }
}

fn with_policy(upstream: &Upstream, retry: Option<Retry>) -> Config {
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.policy.access_log = AccessLog::Json;
    set(&mut config, retry);
    config
}

fn set(config: &mut Config, policy: Option<Retry>) {
    if let Action::Forward(forward) = &mut config.hosts[0].actions[0] {
        forward.retry = policy;
    }
}

/// Answers the first tries of each path with `first`, and what comes after them with 200.
fn fails_first(tries: usize, first: &'static str) -> Upstream {
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    Upstream::serve(move |request: &Request| {
        let mut seen = seen.lock().unwrap();
        let count = seen.entry(request.target.clone()).or_default();
        *count += 1;
        if *count <= tries { Reply::raw(first) } else { Reply::ok(&request.body) }
    })
}

const UNAVAILABLE: &str = "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno";

fn by_default_a_503_is_tried_again_for_what_may_be_repeated(case: Case) {
    let upstream = fails_first(2, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let mut client = proxy.client();
    for (number, (method, header, status)) in [
        ("GET", "", 200),
        ("HEAD", "", 200),
        ("OPTIONS", "", 200),
        ("PUT", "", 200),
        ("DELETE", "", 200),
        ("POST", "", 503),
        ("PATCH", "", 503),
        ("BREW", "", 503),
        ("GET", "x-envoy-attempt-count: 9\r\n", 200),
        ("POST", "Idempotency-Key: 7\r\n", 200),
        ("PATCH", "idempotency-key: 7\r\n", 200),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(format!("{method} /{number} HTTP/1.1\r\nHost: up.test\r\n{header}Content-Length: 0\r\n\r\n"));
        let response = if method == "HEAD" { client.response_to_head() } else { client.response() };
        assert_eq!(response.status, status, "{method} {header}");
        let tries = upstream.take_requests();
        assert_eq!(tries.len(), if status == 200 { 3 } else { 1 }, "{method} {header}");
        assert!(tries.iter().all(|t| t.target == tries[0].target && t.method == method), "{tries:?}");
        let counts: Vec<_> = tries.iter().map(|t| t.header("x-envoy-attempt-count")).collect();
        assert_eq!(counts, [Some("1"), Some("2"), Some("3")][..tries.len()], "which try it is");
    }
    assert_eq!(proxy.metric("ringway_retries_total", &[]), 16.0);
    // A third failure is passed on as it is, and says so in the log.
    let upstream = fails_first(3, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let last = proxy.get("/");
    assert_eq!((last.status, last.text()), (503, "no".to_owned()));
    let line = log_line(&proxy, "503");
    assert!(line.contains(r#""response_flags":"URX""#) && line.contains("via_upstream"), "{line}");
    assert_eq!(proxy.metric("istio_requests_total", &[("response_code", "503"), ("response_flags", "URX")]), 1.0);
    assert_eq!(proxy.metric("istio_requests_total", &[]), 1.0, "tries are one request");
}

fn a_policy_that_somebody_wrote_is_obeyed(case: Case) {
    for (on, statuses, reply, tries) in [
        (RetryOn::STATUS_5XX, vec![], "500", 4),
        (RetryOn::STATUS_5XX, vec![], "404", 1),
        (RetryOn::GATEWAY_ERROR, vec![], "502", 4),
        (RetryOn::GATEWAY_ERROR, vec![], "500", 1),
        (RetryOn::RETRIABLE_4XX, vec![], "409", 4),
        (RetryOn::STATUSES, vec![418, 429], "429", 4),
        (RetryOn::STATUSES, vec![418, 429], "503", 1),
        (RetryOn::CONNECT_FAILURE, vec![], "503", 1),
    ] {
        let upstream = Upstream::serve(move |_| Reply::raw(format!("HTTP/1.1 {reply} x\r\nContent-Length: 0\r\n\r\n")));
        let policy = Retry { attempts: 3, statuses, ..written(on) };
        let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(policy))).start();
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.response().status.to_string(), reply);
        assert_eq!(upstream.requests_seen(), tries, "{on:?} {reply}");
    }
}

fn without_a_policy_there_is_one_try(case: Case) {
    let upstream = fails_first(1, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, None)).start();
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!(upstream.requests_seen(), 1);
    let proxy = ProxyBuilder::new(case, Config::http(Role::Outbound).upstream(nobody())).start();
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!(proxy.metric("ringway_upstream_connects_total", &[]), 1.0);
}

fn a_request_beyond_the_replay_buffer_has_one_try(case: Case) {
    let upstream = fails_first(1, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    for (number, (framing, body, status)) in [
        ("Content-Length: 60000\r\n".to_owned(), "x".repeat(60_000), 200),
        ("Content-Length: 70000\r\n".to_owned(), "x".repeat(70_000), 503),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{}0\r\n\r\n", chunk.repeat(7)), 200),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{}0\r\n\r\n", chunk.repeat(9)), 503),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = proxy.client();
        client.send(format!("PUT /{number} HTTP/1.1\r\nHost: up.test\r\n{framing}\r\n{body}"));
        assert_eq!(client.response().status, status, "{framing}");
        let tries = upstream.take_requests();
        assert_eq!(tries.len(), if status == 200 { 2 } else { 1 });
        assert!(tries.iter().all(|t| t.body == tries[0].body && t.body.iter().all(|b| *b == b'x')));
    }
}

fn a_whole_body_is_sent_again(case: Case) {
    let upstream = fails_first(2, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let mut client = proxy.client();
    client.send("PUT /pieces HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
    for piece in ["3\r\nabc\r\n", "4;a=b\r\ndefg\r\n", "0\r\nx-sum: 7\r\n\r\n"] {
        client.send(piece);
    }
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "abcdefg".to_owned()));
    let tries = upstream.take_requests();
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|t| (&t.body, &t.trailers, t.chunks) == (&tries[0].body, &tries[0].trailers, Some(2))));
    client.expect_alive("up.test");
}

fn a_try_that_takes_too_long_is_followed_by_another(case: Case) {
    let silent = Arc::new(AtomicBool::new(true));
    let first = silent.clone();
    let upstream = Upstream::script(move |conn| {
        while let Ok(Some(_)) = conn.request() {
            if first.swap(false, SeqCst) {
                let _ = conn.wire.rest();
                return;
            }
            conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let policy = Retry { attempts: 1, try_timeout_ms: 300, ..quick(Retry::default()) };
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(policy.clone()))).start();
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(upstream.requests_seen(), 2);
    // Nobody ever answers: the last try's end is the request's.
    let upstream = Upstream::script(|conn| drop((conn.request(), conn.wire.rest())));
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(policy))).start();
    let response = proxy.get("/");
    assert_eq!((response.status, upstream.requests_seen()), (504, 2));
    assert!(response.text().contains("upstream_per_try_timeout"), "{}", response.text());
    let line = log_line(&proxy, "504");
    assert!(line.contains(r#""response_flags":"UT,URX""#), "{line}");
    until("the connections of both tries to be closed", || (upstream.open() == 0).then_some(()));
}

fn the_route_s_timeout_holds_for_all_tries(case: Case) {
    let upstream = Upstream::serve(|_| Reply::raw(UNAVAILABLE));
    let policy = Retry { attempts: 200, backoff_min_ms: 100, backoff_ms: 100, ..Retry::default() };
    let mut config = with_policy(&upstream, Some(policy));
    if let Action::Forward(forward) = &mut config.hosts[0].actions[0] {
        forward.timeout_ms = 450;
    }
    let proxy = ProxyBuilder::new(case, config).start();
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status, 504);
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    assert!((2..=5).contains(&upstream.requests_seen()), "{} tries", upstream.requests_seen());
}

/// One of two endpoints does not exist: no client ever learns of it, whatever it asks.
fn a_retry_goes_elsewhere_first(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound);
    config.cluster("two", Protocol::Http1, &[nobody(), upstream.address()]).balance =
        ringway_config::model::Balance::Random;
    config.host("any", "*", forward(&[("two", 1)]));
    set(&mut config, Some(Retry { attempts: 1, ..quick(Retry::default()) }));
    config.policy.access_log = AccessLog::Json;
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    const REQUESTS: usize = 40;
    for _ in 0..REQUESTS {
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.response().status, 200);
    }
    let retries = proxy.metric("ringway_retries_total", &[]);
    // That all 40 or none met the same endpoint first is less likely than one in 10^11.
    assert!((1.0..40.0).contains(&retries), "{retries} requests were tried again");
    // What is logged and counted is where it went in the end.
    let served = [("destination_workload", "two-1"), ("response_code", "200"), ("response_flags", "-")];
    assert_eq!(proxy.metric("istio_requests_total", &served), REQUESTS as f64);
    let address = upstream.address().to_string();
    until("all lines of the log", || {
        let log = proxy.program.stdout();
        let lines: Vec<&str> = log.lines().filter(|l| l.contains(r#""response_code":200"#)).collect();
        assert!(
            lines.iter().all(|l| l.contains(&address) && l.contains(r#""upstream_transport_failure_reason":null"#)),
            "{log}"
        );
        (lines.len() == REQUESTS).then_some(())
    });
}

fn a_grpc_status_is_a_reason(case: Case) {
    let upstream = fails_first(1, "HTTP/1.1 200 OK\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n");
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let mut client = proxy.client();
    for (method, header, tries) in [("GET", "", 2), ("POST", "", 1), ("POST", "Idempotency-Key: 1\r\n", 2)] {
        let path = format!("/{method}{}", header.len());
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: up.test\r\n{header}Content-Length: 0\r\n\r\n"));
        assert_eq!(client.response().header("grpc-status").is_none(), tries == 2);
        assert_eq!(upstream.take_requests().len(), tries, "{method} {header}");
    }
}

fn an_overloaded_proxy_is_left_alone(case: Case) {
    let upstream = fails_first(1, "HTTP/1.1 503 No\r\nx-envoy-overloaded: true\r\nContent-Length: 0\r\n\r\n");
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!(upstream.requests_seen(), 1);
}

/// First tries fail at once; retries are held until everybody else has been told. So many as are held is what the budget allowed.
fn the_budget_is_the_proxy_s_and_not_a_worker_s(case: Case) {
    for (budget, allowed) in
        [(RetryBudget::default(), 3), (RetryBudget { share: 0, floor: 1 }, 1), (RetryBudget { share: 0, floor: 0 }, 0)]
    {
        const CLIENTS: usize = 12;
        let (held, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, go) = (held.clone(), release.clone());
        let seen: Mutex<HashMap<String, usize>> = Mutex::default();
        let upstream = Upstream::serve(move |request| {
            let tries = {
                let mut seen = seen.lock().unwrap();
                let tries = seen.entry(request.target.clone()).or_default();
                *tries += 1;
                *tries
            };
            if tries == 1 {
                return Reply::raw(UNAVAILABLE);
            }
            count.fetch_add(1, SeqCst);
            until("the others to be told", || go.load(SeqCst).then_some(()));
            Reply::ok("")
        });
        let mut config = with_policy(&upstream, Some(Retry { attempts: 1, ..quick(Retry::default()) }));
        config.clusters[0].retry_budget = budget;
        let proxy = ProxyBuilder::new(case, config).start();
        let told = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (mut client, told) = (proxy.client(), told.clone());
                thread::spawn(move || {
                    let status = client.get("up.test", &format!("/{number}")).status;
                    told.fetch_add(1, SeqCst);
                    status
                })
            })
            .collect();
        until("all but the retries to be told", || (told.load(SeqCst) == CLIENTS - allowed).then_some(()));
        until("the retries to arrive", || (held.load(SeqCst) == allowed).then_some(()));
        release.store(true, SeqCst);
        let statuses: Vec<u16> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(statuses.iter().filter(|s| **s == 200).count(), allowed, "{budget:?}: {statuses:?}");
        let over = (CLIENTS - allowed) as f64;
        assert_eq!(proxy.metric("ringway_retries_over_budget_total", &[]), over);
        assert_eq!(proxy.metric("istio_requests_total", &[("response_code", "503"), ("response_flags", "UO")]), over);
        // What was granted comes back.
        assert_eq!(proxy.get("/later").status, if allowed > 0 { 200 } else { 503 });
    }
}

fn a_thrown_away_answer_leaves_its_connection_usable(case: Case) {
    let upstream = fails_first(2, UNAVAILABLE);
    let proxy = ProxyBuilder::new(case, with_policy(&upstream, Some(quick(Retry::default())))).start();
    let mut client = proxy.client();
    for path in ["/a", "/b", "/c"] {
        assert_eq!(client.get("up.test", path).status, 200);
    }
    assert_eq!((upstream.requests_seen(), upstream.accepted()), (9, 1));
}

/// The line of the access log with this status.
fn log_line(proxy: &Proxy, status: &str) -> String {
    let wanted = format!(r#""response_code":{status}"#);
    until("the line in the log", || proxy.program.stdout().lines().find(|l| l.contains(&wanted)).map(str::to_owned))
}
