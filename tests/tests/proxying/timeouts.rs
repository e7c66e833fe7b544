//! Timeouts of routes and clusters.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ringway_config::model::{Action, Role};
use ringway_tests::harness::{Case, Config, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

matrix!(a_route_times_out, a_timeout_in_the_middle_of_a_body, a_quick_answer_is_not_touched, a_connect_times_out);

const TIMEOUT_MS: u64 = 300;

fn a_route_times_out(case: Case) {
    let upstream = Upstream::script(|conn| {
        // Takes everything and says nothing.
        let _ = conn.request();
        let _ = conn.wire.rest();
    });
    let proxy = ProxyBuilder::new(case, with_timeout(&upstream)).start();
    let mut client = proxy.client();
    for round in 1..=2 {
        let begun = Instant::now();
        let response = client.get("up.test", "/");
        assert_eq!((response.status, response.text().contains("timeout")), (504, true), "{}", response.text());
        assert!(begun.elapsed() >= Duration::from_millis(TIMEOUT_MS), "{:?}", begun.elapsed());
        // The connection with the forgotten request is gone.
        until("the upstream connection to be closed", || (upstream.open() == 0).then_some(()));
        assert_eq!(upstream.accepted(), round);
    }
}

fn a_timeout_in_the_middle_of_a_body(case: Case) {
    let upstream = Upstream::script(|conn| {
        let _ = conn.request();
        conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        let _ = conn.wire.rest();
    });
    let proxy = ProxyBuilder::new(case, with_timeout(&upstream)).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assert!(client.try_response(false).is_err(), "half a body passed for a whole one");
    until("the upstream connection to be closed", || (upstream.open() == 0).then_some(()));
}

fn a_quick_answer_is_not_touched(case: Case) {
    let upstream = Upstream::echo();
    let proxy = ProxyBuilder::new(case, with_timeout(&upstream)).start();
    let mut client = proxy.client();
    let begun = Instant::now();
    // Longer than the timeout in all: it is each request's own.
    while begun.elapsed() < Duration::from_millis(3 * TIMEOUT_MS) {
        client.expect_alive("up.test");
    }
    assert_eq!(upstream.accepted(), 1);
}

/// A backlog of one that is full: connects stay unanswered.
fn a_connect_times_out(case: Case) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut crowd = Vec::new();
    // std's backlog is 128 or more: fill it until a connect is not answered.
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        crowd.push(stream);
        if crowd.len() > 10_000 {
            return ringway_tests::harness::skip("this kernel's accept queue has no end");
        }
    }
    let mut config = Config::http(Role::Outbound).upstream(address);
    config.clusters[0].connect_timeout_ms = 300;
    let proxy = ProxyBuilder::new(case, config).start();
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

fn with_timeout(upstream: &Upstream) -> Config {
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    if let Action::Forward(forward) = &mut config.hosts[0].actions[0] {
        forward.timeout_ms = TIMEOUT_MS;
    }
    config
}
