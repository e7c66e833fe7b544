//! §7.6 Message forwarding: hop-by-hop fields end here, in both directions.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(hop_by_hop_request_fields_end_here, hop_by_hop_response_fields_end_here, te_trailers_alone_may_pass);

fn hop_by_hop_request_fields_end_here(case: Case) {
    let upstream = Upstream::echo();
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        let mut client = proxy.client();
        client.send(
            "GET / HTTP/1.1\r\nHost: up.test\r\nConnection: keep-alive, X-Mine ,\tx-other\r\nX-MINE: a\r\nx-other: b\r\nX-Kept: c\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\r\n",
        );
        assert_eq!(client.response().status, 200);
        let seen = upstream.take_requests().remove(0);
        for name in ["connection", "x-mine", "x-other", "keep-alive", "proxy-connection", "te"] {
            assert_eq!(seen.header(name), None, "{role:?}: {}", seen.text());
        }
        assert_eq!(seen.header("x-kept"), Some("c"));
        client.expect_alive("up.test");
        upstream.take_requests();
    }
}

fn hop_by_hop_response_fields_end_here(case: Case) {
    let upstream = Upstream::serve(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: a\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nX-Kept: b\r\nContent-Length: 0\r\n\r\n",
        )
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.get("up.test", "/");
        for name in ["connection", "x-mine", "keep-alive", "proxy-connection"] {
            assert_eq!(response.header(name), None, "{response:?}");
        }
        assert_eq!(response.header("x-kept"), Some("b"));
    }
    assert_eq!(upstream.accepted(), 1);
}

fn te_trailers_alone_may_pass(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\nTE: trailers\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(upstream.requests()[0].header("te").is_none_or(|v| v == "trailers"));
}
