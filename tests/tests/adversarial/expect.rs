//! Rows 26 and 27: `Expect: 100-continue`, and interim responses in general.

use std::io::ErrorKind;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Upstream};
use ringway_tests::matrix;

matrix!(
    row_26_expect_is_answered_by_the_upstream,
    row_26_expect_answered_with_a_final_response,
    row_26_expect_with_the_body_already_under_way,
    row_26_expect_of_something_unknown,
    row_26_expect_from_http_1_0_is_ignored,
    row_27_interim_responses_pass_in_order,
    row_27_a_flood_of_interim_responses_is_cut,
    row_27_a_101_that_nobody_asked_for,
    row_27_no_interim_response_to_http_1_0,
);

fn row_26_expect_is_answered_by_the_upstream(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(mut request)) = conn.request_head() {
            assert_eq!(request.header("expect"), Some("100-continue"));
            conn.wire.send("HTTP/1.1 100 Continue\r\n\r\n");
            conn.request_body(&mut request).unwrap();
            conn.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            conn.wire.send(request.body);
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for framing in ["Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: up.test\r\nExpect: 100-continue\r\n{framing}"));
        assert_eq!(client.response().status, 100);
        client.send(if framing.starts_with('C') { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" });
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    assert_eq!(upstream.accepted(), 1);
}

/// The upstream says no at once. The body will never be sent, so that neither connection can carry another request.
fn row_26_expect_answered_with_a_final_response(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request_head() else { return };
        conn.wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        let rest = conn.wire.rest().unwrap_or_default();
        assert!(rest.is_empty(), "after its answer the upstream got {}", rest.escape_ascii());
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for round in 1..=3 {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (403, "no"));
        assert!(response.closes(), "{response:?}");
        client.expect_end();
        assert_eq!(upstream.accepted(), round);
    }
}

fn row_26_expect_with_the_body_already_under_way(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: up.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assert_eq!((client.response().status, client.response().status), (200, 200));
    let seen: Vec<_> = upstream.requests().into_iter().map(|r| (r.target, r.body)).collect();
    assert_eq!(seen, [("/".to_owned(), b"hello".to_vec()), ("/next".to_owned(), Vec::new())]);
}

fn row_26_expect_of_something_unknown(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for expect in ["200-maybe", "100-continue, 200-maybe", "100-continue-not", ""] {
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: up.test\r\nExpect: {expect}\r\nContent-Length: 5\r\n\r\nhello"));
        let response = client.response();
        assert_eq!(response.status, 417, "{expect:?} got {response:?}");
        client.expect_end();
    }
    assert!(upstream.requests().is_empty());
}

/// RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation."
fn row_26_expect_from_http_1_0_is_ignored(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(request)) = conn.request() {
            assert_eq!(request.header("expect"), None, "{}", request.text());
            conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("POST / HTTP/1.0\r\nHost: up.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status, 200);
}

fn row_27_interim_responses_pass_in_order(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(_)) = conn.request() {
            conn.wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
            conn.wire.send(
                "HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
        let got: Vec<_> = (0..4).map(|_| client.response()).collect();
        assert_eq!(got.iter().map(|r| r.status).collect::<Vec<_>>(), [103, 102, 103, 200]);
        assert_eq!((got[0].header("link"), got[2].header("link")), (Some("</a.css>"), Some("</b.css>")));
        assert_eq!(got[3].text(), "ok");
    }
    assert_eq!(upstream.accepted(), 1);
}

fn row_27_a_flood_of_interim_responses_is_cut(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request() else { return };
        // Until the proxy has had enough.
        while conn.wire.try_send("HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    let interim = (0..100).map(|_| client.response().status).take_while(|s| *s == 102).count();
    assert!((1..=32).contains(&interim), "{interim} interim responses passed");
    ringway_tests::harness::until("the upstream to be cut", || (upstream.open() == 0).then_some(()));
}

fn row_27_a_101_that_nobody_asked_for(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request() else { return };
        conn.wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        let rest = conn.wire.rest().unwrap_or_default();
        assert!(rest.is_empty(), "a tunnel to {}", rest.escape_ascii());
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assert_eq!(client.response().status, 502);
    let _ = client.try_send("tunnelled?");
}

fn row_27_no_interim_response_to_http_1_0(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(_)) = conn.request() {
            conn.wire.send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: up.test\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let end = client.try_response(false).map(|r| r.status).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::UnexpectedEof));
}
