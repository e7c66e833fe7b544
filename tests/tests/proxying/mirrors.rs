//! Copies for mirrors: what they get, and that the exchange copied from never notices them.

use std::net::TcpListener;

use ringway_config::model::{Action, Mirror, OutlierDetection, Protocol, Role, RuleId};
use ringway_tests::harness::{Case, Config, ProxyBuilder, Reply, Request, Upstream, until};
use ringway_tests::matrix;

use crate::tunnels::nobody;

matrix!(
    copies_are_whole,
    connections_for_copies_are_reused,
    shares_are_kept,
    a_mirror_in_trouble_is_nobody_elses,
    long_bodies_are_not_copied,
    a_mirror_that_fails_is_left_alone
);

fn mirrored(main: &Upstream, mirrors: &[(std::net::SocketAddr, u32)]) -> Config {
    let mut config = Config::http(Role::Outbound).upstream(main.address());
    let mut all = Vec::new();
    for (n, (address, per_million)) in mirrors.iter().enumerate() {
        let cluster = format!("mirror-{n}");
        config.cluster(&cluster, Protocol::Http1, &[*address]);
        all.push(Mirror { cluster, per_million: *per_million, rule: RuleId(40 + n as u32) });
    }
    let Action::Forward(forward) = &mut config.hosts[0].actions[0] else { panic!("a forward") };
    forward.request.set = vec![("x-edited".into(), "yes".into())];
    forward.mirrors = all;
    config
}

/// The lines of a head but for Host, in lower case.
fn lines(request: &Request) -> Vec<String> {
    request.text().lines().filter(|l| !l.to_lowercase().starts_with("host:")).map(str::to_lowercase).collect()
}

fn copies_are_whole(case: Case) {
    let (main, first, second) = (Upstream::echo(), Upstream::echo(), Upstream::serve(|_| Reply::ok("x".repeat(9_000))));
    let config = mirrored(&main, &[(first.address(), 1_000_000), (second.address(), 1_000_000)]);
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for request in [
        "GET /a?b=c HTTP/1.1\r\nHost: up.test:8080\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: up.test:8080\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /q HTTP/1.1\r\nHost: up.test:8080\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "HEAD /h HTTP/1.1\r\nHost: up.test:8080\r\n\r\n",
    ] {
        client.send(request);
        let response = if request.starts_with("HEAD") { client.response_to_head() } else { client.response() };
        assert_eq!(response.status, 200, "{response:?}");
        let sent = main.take_requests().remove(0);
        for mirror in [&first, &second] {
            until("the copy", || (mirror.requests_seen() == 1).then_some(()));
            let copy = mirror.take_requests().remove(0);
            assert_eq!(copy.header("host"), Some("up.test-shadow:8080"), "{}", copy.text());
            assert_eq!((lines(&copy), &copy.body, copy.chunks), (lines(&sent), &sent.body, sent.chunks));
            assert_eq!(copy.header("x-edited"), Some("yes"));
        }
    }
    assert_eq!(proxy.metric("ringway_mirrors_sent_total", &[]), 8.0);
    assert_eq!(proxy.metric("istio_requests_total", &[]), 4.0, "copies are no requests of their own");
}

fn connections_for_copies_are_reused(case: Case) {
    let (main, mirror) = (Upstream::echo(), Upstream::echo());
    let proxy = ProxyBuilder::new(case, mirrored(&main, &[(mirror.address(), 1_000_000)])).start();
    let mut client = proxy.client();
    for n in 1..=20 {
        client.expect_alive("up.test");
        until("the copy", || (mirror.requests_seen() == n).then_some(()));
    }
    // The next copy may leave before the last answer is read, so a second connection is no fault.
    assert!(mirror.accepted() <= 2, "{} connections for 20 copies", mirror.accepted());
}

/// What becomes of copies counts for outlier detection, in place of the requests' own.
fn a_mirror_that_fails_is_left_alone(case: Case) {
    let main = Upstream::echo();
    let ill = Upstream::serve(|_| Reply::raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"));
    for mirror in [ill.address(), nobody()] {
        let mut config = mirrored(&main, &[(mirror, 1_000_000)]);
        config.clusters.iter_mut().find(|c| c.name == "mirror-0").unwrap().outlier = Some(OutlierDetection {
            consecutive_5xx_errors: 3,
            interval_ms: 1_000,
            base_ejection_ms: 3_600_000,
            max_ejection_percent: 100,
            ..OutlierDetection::default()
        });
        let proxy = ProxyBuilder::new(case, config).start();
        let mut client = proxy.client();
        until("the mirror to be ejected", || {
            client.expect_alive("up.test");
            (proxy.metric("ringway_outlier_ejections_active", &[("cluster", "mirror-0")]) == 1.0).then_some(())
        });
    }
}

/// Five standard deviations on either side.
fn shares_are_kept(case: Case) {
    const N: usize = 2_000;
    let (main, mirror) = (Upstream::echo(), Upstream::echo());
    let proxy = ProxyBuilder::new(case, mirrored(&main, &[(mirror.address(), 250_000)])).start();
    let mut client = proxy.client();
    (0..N).for_each(|_| client.expect_alive("up.test"));
    let sent = proxy.metric("ringway_mirrors_sent_total", &[]) as usize;
    assert!((403..=597).contains(&sent), "{sent} of {N} for 25 %");
    until("the copies", || (mirror.requests_seen() == sent).then_some(()));
    assert_eq!(main.requests_seen(), N);
}

fn a_mirror_in_trouble_is_nobody_elses(case: Case) {
    let main = Upstream::echo();
    let silent = Upstream::script(|conn| {
        let _ = conn.request();
        let _ = conn.wire.rest();
    });
    let broken = Upstream::script(|conn| {
        let _ = conn.request();
        conn.wire.send("no HTTP at all\r\n\r\n");
    });
    let rude = Upstream::script(|conn| drop(conn.wire.some()));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [silent.address(), broken.address(), rude.address(), nobody].map(|address| (address, 1_000_000));
    let proxy = ProxyBuilder::new(case, mirrored(&main, &addresses)).start();
    let mut client = proxy.client();
    for n in 1..=10 {
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 4\r\n\r\nbody");
        let response = client.response();
        assert_eq!((response.status, response.text().ends_with("body")), (200, true));
        until("the copy", || (silent.requests_seen() == n).then_some(()));
    }
    assert_eq!((main.requests_seen(), main.accepted()), (10, 1));
}

fn long_bodies_are_not_copied(case: Case) {
    const LIMIT: usize = 64 << 10;
    let (main, mirror) = (Upstream::serve(|_| Reply::ok("")), Upstream::serve(|_| Reply::ok("")));
    let proxy = ProxyBuilder::new(case, mirrored(&main, &[(mirror.address(), 1_000_000)])).start();
    let mut client = proxy.client();
    for (bytes, copied) in [(LIMIT + 1, 0), (LIMIT, 1)] {
        client
            .send(format!("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: {bytes}\r\n\r\n{}", "b".repeat(bytes)));
        assert_eq!(client.response().status, 200);
        until("the copies", || (mirror.requests_seen() == copied).then_some(()));
    }
    assert_eq!(mirror.take_requests()[0].body.len(), LIMIT);
    assert_eq!(main.requests_seen(), 2);
    assert_eq!(proxy.metric("ringway_mirrors_dropped_total", &[]), 1.0);
}
