//! Rows 22 and 23: nothing is tunnelled before both sides have agreed on a WebSocket, and nothing but a WebSocket is.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Conn, Proxy, Request, Upstream};
use ringway_tests::matrix;

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: up.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: up.test\r\n\r\n";

matrix!(
    row_22_h2c_is_stripped,
    row_22_a_101_to_h2c_is_refused,
    row_23_a_websocket_tunnels_both_ways,
    row_23_bytes_before_the_101_wait_for_it,
    row_23_no_tunnel_when_the_upstream_says_200,
    row_23_no_tunnel_on_an_invalid_101,
    row_23_no_tunnel_for_other_protocols,
    row_23_bytes_behind_the_101_belong_to_the_tunnel,
);

fn row_22_h2c_is_stripped(case: Case) {
    let upstream = Upstream::echo();
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        for lines in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
            "Upgrade: h2c\r\n",
            "Connection: upgrade\r\nUpgrade: foo/1, h2c\r\n",
        ] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\n{lines}\r\n"));
            assert_eq!(client.response().status, 200, "{lines:?}");
            let seen = upstream.take_requests();
            for name in ["connection", "upgrade", "http2-settings"] {
                assert_eq!(seen[0].header(name), None, "{}", seen[0].text());
            }
        }
    }
}

fn row_22_a_101_to_h2c_is_refused(case: Case) {
    for answer in ["HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", ACCEPTED] {
        let upstream = Upstream::script(move |conn| no_tunnel(conn, answer));
        let proxy = Proxy::to(case, Role::Outbound, upstream.address());
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
        assert_eq!(client.response().status, 502, "{answer:?}");
        let _ = client.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    }
}

fn row_23_a_websocket_tunnels_both_ways(case: Case) {
    let upstream = Upstream::script(|conn| {
        let request = accept(conn);
        assert_eq!(request.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")), "{}", request.text());
        assert_eq!(request.header("upgrade"), Some("websocket"));
        for _ in 0..100 {
            let message = conn.wire.take(4).unwrap();
            conn.wire.send(message);
        }
        // The client ends its side first; what we say afterwards still arrives.
        assert_eq!(conn.wire.rest().unwrap(), b"");
        conn.wire.send("bye");
    });
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        let mut client = proxy.client();
        switch(&mut client);
        for i in 0..100 {
            let message = format!("{i:04}");
            client.send(&message);
            assert_eq!(client.take(4).unwrap(), message.as_bytes());
        }
        client.finish();
        assert_eq!(client.rest().unwrap(), b"bye");
    }
}

fn row_23_bytes_before_the_101_wait_for_it(case: Case) {
    let upstream = Upstream::script(|conn| {
        accept(conn);
        assert_eq!(conn.wire.take(SMUGGLED.len()).unwrap(), SMUGGLED.as_bytes());
        conn.wire.send("seen");
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send([HANDSHAKE, SMUGGLED].concat());
    let head = client.response();
    assert_eq!(head.status, 101);
    assert_eq!(client.take(4).unwrap(), b"seen");
}

/// The pipelined bytes are neither tunnelled nor taken for the next request, and the client's connection ends.
fn row_23_no_tunnel_when_the_upstream_says_200(case: Case) {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nplain",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 5\r\n\r\nplain",
    ] {
        let upstream = Upstream::script(move |conn| no_tunnel(conn, answer));
        let proxy = Proxy::to(case, Role::Outbound, upstream.address());
        let mut client = proxy.client();
        client.send([HANDSHAKE, SMUGGLED].concat());
        let response = client.response();
        assert_eq!(response.text(), "plain", "{answer:?}");
        assert_eq!(response.header("upgrade"), None, "{response:?}");
        client.expect_end();
        drop(proxy);
        assert!(upstream.requests().is_empty());
    }
}

fn row_23_no_tunnel_on_an_invalid_101(case: Case) {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let upstream = Upstream::script(move |conn| no_tunnel(conn, answer));
        let proxy = Proxy::to(case, Role::Outbound, upstream.address());
        let mut client = proxy.client();
        client.send([HANDSHAKE, SMUGGLED].concat());
        assert_eq!(client.response().status, 502, "{answer:?}");
        drop(proxy);
    }
}

fn row_23_no_tunnel_for_other_protocols(case: Case) {
    let upstream = Upstream::script(|conn| {
        no_tunnel(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n")
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: up.test\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n");
    assert_eq!(client.response().status, 502);
}

fn row_23_bytes_behind_the_101_belong_to_the_tunnel(case: Case) {
    let upstream = Upstream::script(|conn| {
        conn.request_head().unwrap();
        conn.wire.send([ACCEPTED, "first frame"].concat());
        assert_eq!(conn.wire.take(6).unwrap(), b"answer");
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    switch(&mut client);
    assert_eq!(client.take(11).unwrap(), b"first frame");
    client.send("answer");
    client.expect_end();
}

/// Handshakes as a client.
fn switch(client: &mut Client) {
    client.send(HANDSHAKE);
    let response = client.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")), "{response:?}");
    assert_eq!(response.header("upgrade"), Some("websocket"));
}

/// Handshakes as a server.
fn accept(conn: &mut Conn) -> Request {
    let request = conn.request_head().unwrap().expect("a handshake");
    conn.wire.send(ACCEPTED);
    request
}

/// Answers, and gets nothing but the end afterwards.
fn no_tunnel(conn: &mut Conn, answer: &str) {
    let Ok(Some(_)) = conn.request_head() else { return };
    let _ = conn.wire.try_send(answer);
    let rest = conn.wire.rest().unwrap_or_default();
    assert!(rest.is_empty(), "the upstream got {:?} after {answer:?}", rest.escape_ascii().to_string());
}
