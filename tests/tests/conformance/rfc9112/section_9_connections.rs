//! §9 Connection management: persistence, pipelining, closing.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream, until};
use ringway_tests::matrix;

matrix!(
    connections_persist,
    close_is_honoured,
    pipelined_requests_are_answered_in_order,
    a_pipeline_with_bodies,
    an_upstream_that_closes_after_each_response,
    an_idle_upstream_that_closed_is_not_used,
    half_closed_clients_get_their_answers,
);

fn connections_persist(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for i in 0..200 {
        assert_eq!(client.get("up.test", &format!("/{i}")).status, 200);
    }
    assert_eq!(upstream.accepted(), 1);
    let targets: Vec<String> = upstream.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, (0..200).map(|i| format!("/{i}")).collect::<Vec<_>>());
}

fn close_is_honoured(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for close in ["close", "Close", "x, close", "close, x"] {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\nConnection: {close}\r\n\r\n"));
        let response = client.response();
        assert!(response.status == 200 && response.closes(), "{close:?}: {response:?}");
        client.expect_end();
    }
    // The client's close is not the upstream's.
    assert!(upstream.requests().iter().all(|r| r.header("connection").is_none()));
    if case.workers == 1 {
        assert_eq!(upstream.accepted(), 1);
    }
}

fn pipelined_requests_are_answered_in_order(case: Case) {
    let upstream = Upstream::serve(|request| Reply::ok(&request.target));
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for batch in [2, 10, 500] {
        let mut client = proxy.client();
        let requests: String = (0..batch).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: up.test\r\n\r\n")).collect();
        client.send(requests);
        for i in 0..batch {
            assert_eq!(client.response().text(), format!("/{i}"));
        }
    }
}

fn a_pipeline_with_bodies(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    let one = "POST /a HTTP/1.1\r\nHost: up.test\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nde\r\n0\r\n\r\nHEAD /c HTTP/1.1\r\nHost: up.test\r\n\r\nGET /d HTTP/1.1\r\nHost: up.test\r\n\r\n";
    client.send(one.repeat(50));
    for _ in 0..50 {
        assert_eq!([client.response().status, client.response().status], [200, 200]);
        assert_eq!([client.response_to_head().status, client.response().status], [200, 200]);
    }
    let seen: Vec<_> = upstream.requests().into_iter().map(|r| (r.target, r.body)).collect();
    let expected =
        [("/a", "abc"), ("/b", "de"), ("/c", ""), ("/d", "")].map(|(t, b)| (t.to_owned(), b.as_bytes().to_vec()));
    assert_eq!(seen.len(), 200);
    assert!(seen.chunks(4).all(|four| *four == expected), "{seen:?}");
}

fn an_upstream_that_closes_after_each_response(case: Case) {
    let upstream = Upstream::script(|conn| {
        if let Ok(Some(_)) = conn.request() {
            conn.wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..20 {
        let response = client.get("up.test", "/");
        assert_eq!((response.status, response.closes()), (200, false), "the upstream's close is not the client's");
    }
    assert_eq!(upstream.accepted(), 20);
}

/// §9.5: the FIN of an idle upstream is learnt before the connection is used again; no request is lost to it, a POST neither.
fn an_idle_upstream_that_closed_is_not_used(case: Case) {
    let upstream = Upstream::script(|conn| {
        if let Ok(Some(_)) = conn.request() {
            // Promises to stay, and goes.
            conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for round in 1..=20 {
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.response().status, 200, "round {round}");
        until("the proxy to notice", || (proxy.metric("ringway_upstream_connections", &[]) == 0.0).then_some(()));
        assert_eq!(upstream.accepted(), round);
    }
}

/// A client that says FIN after its request still wants the answer.
fn half_closed_clients_get_their_answers(case: Case) {
    let upstream = Upstream::serve(|request| Reply::ok(&request.target));
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET /1 HTTP/1.1\r\nHost: up.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: up.test\r\n\r\n");
    client.finish();
    assert_eq!(client.response().text(), "/1");
    assert_eq!(client.response().text(), "/2");
    client.expect_end();
}
