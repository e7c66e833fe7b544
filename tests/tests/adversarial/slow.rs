//! Row 38: peers that say everything very slowly, or stop in the middle.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Config, Proxy, ProxyBuilder, Upstream};
use ringway_tests::matrix;

/// The proxy's patience in these tests.
const TIMEOUT_MS: u32 = 400;
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(10);

matrix!(
    row_38_a_head_that_never_ends,
    row_38_a_head_drop_by_drop,
    row_38_a_body_that_stops,
    row_38_a_chunked_body_that_stops,
    row_38_a_response_body_that_stops,
    row_38_a_connection_that_says_nothing,
    row_38_many_slow_clients_do_not_slow_the_others,
);

fn row_38_a_head_that_never_ends(case: Case) {
    let upstream = Upstream::echo();
    let proxy = impatient(case, &upstream);
    for start in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: up.test\r\nX: "] {
        let begun = Instant::now();
        let mut client = proxy.client();
        client.send(start);
        let response = client.response();
        assert_eq!(response.status, 408, "{start:?}");
        client.expect_end();
        assert!(begun.elapsed() >= Duration::from_millis(TIMEOUT_MS.into()), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    assert_eq!(upstream.accepted(), 0);
}

/// Progress does not prolong it: the whole head has to be there in time.
fn row_38_a_head_drop_by_drop(case: Case) {
    let upstream = Upstream::echo();
    let proxy = impatient(case, &upstream);
    let mut client = proxy.client();
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\nX: ");
    client.tcp().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let answer = loop {
        // The pause between two drops is the wait for an answer.
        match client.try_response(false) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => break other,
        }
        assert!(begun.elapsed() < SLACK, "still no answer");
        let _ = client.try_send("x");
    };
    assert_eq!(answer.unwrap().status, 408);
    assert_eq!(upstream.accepted(), 0);
}

fn row_38_a_body_that_stops(case: Case) {
    stopping(case, "POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 100000\r\n\r\nhalf");
}

fn row_38_a_chunked_body_that_stops(case: Case) {
    stopping(case, "POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
}

fn stopping(case: Case, request: &str) {
    let upstream = Upstream::echo();
    let proxy = impatient(case, &upstream);
    let mut client = proxy.client();
    client.send(request);
    let response = client.response();
    assert_eq!(response.status, 408);
    client.expect_end();
    assert!(upstream.requests().is_empty());
    ringway_tests::harness::until("the upstream connection to be given up", || (upstream.open() == 0).then_some(()));
}

/// The client must not take half a body for a whole one.
fn row_38_a_response_body_that_stops(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request() else { return };
        conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf");
        assert!(conn.wire.rest().unwrap_or_default().is_empty());
    });
    let proxy = impatient(case, &upstream);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    let cut = client.try_response(false).map_err(|e| e.kind());
    assert!(matches!(cut, Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)), "{cut:?}");
}

fn row_38_a_connection_that_says_nothing(case: Case) {
    let upstream = Upstream::echo();
    let proxy = impatient(case, &upstream);
    let mut fresh = proxy.client();
    let mut used = proxy.client();
    assert_eq!(used.get("up.test", "/").status, 200);
    fresh.expect_end();
    used.expect_end();
}

fn row_38_many_slow_clients_do_not_slow_the_others(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    config.policy.head_timeout_ms = 60_000;
    config.policy.body_idle_timeout_ms = 60_000;
    let proxy = ProxyBuilder::new(case, config).start();
    let slow: Vec<Client> = (0..400)
        .map(|i| {
            let mut client = proxy.client();
            client.send(if i % 2 == 0 {
                "GET / HTTP/1.1\r\nHost: "
            } else {
                "POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 9\r\n\r\nhalf"
            });
            client
        })
        .collect();
    let begun = Instant::now();
    let mut client = proxy.client();
    for _ in 0..500 {
        client.expect_alive("up.test");
    }
    assert!(begun.elapsed() < SLACK, "500 requests took {:?} beside {} slow clients", begun.elapsed(), slow.len());
}

fn impatient(case: Case, upstream: &Upstream) -> Proxy {
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    config.policy.head_timeout_ms = TIMEOUT_MS;
    config.policy.body_idle_timeout_ms = TIMEOUT_MS;
    config.policy.downstream_idle_timeout_ms = TIMEOUT_MS.into();
    ProxyBuilder::new(case, config).start()
}
