//! Upstream connections: kept, reused, and replaced without anybody noticing.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ringway_config::model::{ConnectionRules, Keepalive, Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

use crate::tunnels::nobody;

matrix!(
    many_clients_share_few_connections,
    idle_connections_wake_nobody,
    an_idle_connection_is_closed_in_time,
    a_connection_is_closed_after_its_requests,
    a_connection_of_some_age_takes_no_more_requests,
    an_idle_connection_is_probed,
    a_get_is_replayed_when_its_pooled_connection_died,
    nobody_listens,
    no_endpoint_at_all,
);

fn many_clients_share_few_connections(case: Case) {
    let upstream = Upstream::serve(|request| Reply::ok(&request.target));
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    // One after the other: one connection a worker is enough.
    for i in 0..100 {
        assert_eq!(proxy.get(&format!("/{i}")).text(), format!("/{i}"));
    }
    assert!(upstream.accepted() <= case.workers, "{} connections", upstream.accepted());
    // At the same time: as many as there are requests under way.
    let start = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|t| {
            let (start, mut client) = (start.clone(), proxy.client());
            thread::spawn(move || {
                start.wait();
                for i in 0..200 {
                    assert_eq!(client.get("up.test", &format!("/{t}/{i}")).text(), format!("/{t}/{i}"));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(upstream.accepted() <= 16 + case.workers, "{} connections", upstream.accepted());
    let reused = proxy.metric("ringway_upstream_reused_total", &[]);
    assert!(
        reused >= 3_300.0 - (16.0 + case.workers as f64),
        "{reused} of 3,300 requests were sent on pooled connections"
    );
}

fn idle_connections_wake_nobody(case: Case) {
    /// Looked at for this long: there is no event to wait for where nothing happens.
    const WINDOW: Duration = Duration::from_secs(2);
    /// Times that all threads together may go to sleep in it: the budget is 5 a second.
    const SLEEPS_MAX: u64 = 10;
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut clients: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.expect_alive("up.test"));
    let quiet = (0..5).any(|_| {
        let before = proxy.program.sleeps();
        thread::sleep(WINDOW);
        proxy.program.sleeps() - before <= SLEEPS_MAX
    });
    assert!(quiet, "never less than {SLEEPS_MAX} wake-ups in {WINDOW:?}");
}

fn an_idle_connection_is_closed_in_time(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.clusters[0].idle_timeout_ms = 300;
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    client.expect_alive("up.test");
    assert_eq!(upstream.accepted(), 1);
    until("the idle connection to be closed", || (upstream.open() == 0).then_some(()));
    client.expect_alive("up.test");
    assert_eq!(upstream.accepted(), 2);
}

fn a_connection_is_closed_after_its_requests(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.clusters[0].max_requests_per_connection = 3;
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for _ in 0..9 {
        client.expect_alive("up.test");
    }
    assert_eq!(upstream.requests().iter().map(|r| r.connection).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
}

/// One that is busy then serves its request to the end.
fn a_connection_of_some_age_takes_no_more_requests(case: Case) {
    let upstream = Upstream::serve(|request| {
        if request.target == "/slow" {
            // A server that takes its time; nobody is waited for.
            std::thread::sleep(std::time::Duration::from_millis(600));
        }
        Reply::ok(&request.target)
    });
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.clusters[0].connection = Some(ConnectionRules { duration_max_ms: 300, keepalive: None });
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for path in ["/a", "/b", "/slow", "/c"] {
        assert_eq!(client.get("up.test", path).text(), path);
    }
    let at = |path: &str| upstream.requests().iter().find(|r| r.target == path).unwrap().connection;
    assert_ne!(at("/slow"), at("/c"));
    until("the idle connection to be closed", || (upstream.open() == 0).then_some(()));
}

fn an_idle_connection_is_probed(case: Case) {
    for (keepalive, probed) in [(None, false), (Some(Keepalive { probes: 3, time_s: 600, interval_s: 0 }), true)] {
        let upstream = Upstream::echo();
        let mut config = Config::http(Role::Outbound).upstream(upstream.address());
        config.clusters[0].connection = Some(ConnectionRules { duration_max_ms: 0, keepalive });
        let proxy = ProxyBuilder::new(case, config).start();
        proxy.client().expect_alive("up.test");
        until("the connection's timer", || (has_keepalive_timer(upstream.address()) == probed).then_some(()));
    }
}

/// Whether the kernel will probe the connection to this address.
fn has_keepalive_timer(address: std::net::SocketAddr) -> bool {
    const KEEPALIVE: &str = "02:";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!("0100007F:{:04X}", address.port());
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|line| line[2] == remote && line[5].starts_with(KEEPALIVE))
}

/// The server closes exactly when the next request is on its way: a GET on a reused connection is tried once more on a fresh one.
fn a_get_is_replayed_when_its_pooled_connection_died(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request() else { return };
        conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // Takes the second request and goes without an answer.
        let _ = conn.request();
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(client.get("up.test", "/").status, 200);
    }
    assert!(proxy.metric("ringway_replays_total", &[]) >= 2.0);
    // A POST may have had its effect: it is not repeated.
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    assert_eq!(client.get("up.test", "/").status, 200);
    client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 503);
}

fn nobody_listens(case: Case) {
    let proxy = Proxy::to(case, Role::Outbound, nobody());
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.get("up.test", "/").status, 503);
    }
}

fn no_endpoint_at_all(case: Case) {
    let mut config = Config::http(Role::Outbound);
    config.cluster("empty", Protocol::Http1, &[]);
    config.host("any", "*", forward(&[("empty", 1)]));
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.get("up.test", "/");
        assert_eq!((response.status, response.text().trim()), (503, "no healthy upstream"));
    }
}
