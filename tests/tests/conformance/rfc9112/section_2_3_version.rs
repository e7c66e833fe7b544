//! §2.3 HTTP version: HTTP/1.0 clients and servers.

use std::io::ErrorKind;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(
    an_old_client_gets_a_closed_connection,
    an_old_client_may_keep_alive,
    an_old_client_gets_no_chunks,
    an_old_server_is_understood
);

fn an_old_client_gets_a_closed_connection(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET /old HTTP/1.0\r\nHost: up.test\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.closes()), (200, true), "{response:?}");
    client.expect_end();
    // §2.6: an intermediary sends its own version.
    assert!(upstream.requests()[0].text().starts_with("GET /old HTTP/1.1\r\n"));
}

fn an_old_client_may_keep_alive(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nHost: up.test\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(
            response.header("connection").map(str::to_ascii_lowercase).as_deref(),
            Some("keep-alive"),
            "{response:?}"
        );
    }
    client.send("GET / HTTP/1.0\r\nHost: up.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.expect_end();
}

/// §6.1: no Transfer-Encoding towards HTTP/1.0; the end of the connection ends the body.
fn an_old_client_gets_no_chunks(case: Case) {
    let upstream = Upstream::serve(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
        )
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for keep in ["", "Connection: keep-alive\r\n"] {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.0\r\nHost: up.test\r\n{keep}\r\n"));
        let response = client.response();
        assert_eq!(response.header("transfer-encoding"), None, "{response:?}");
        assert_eq!(response.text(), "hello world");
        let end = client.try_response(false).map(|r| r.status).map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::UnexpectedEof));
    }
    // The server's connection was fine: each worker opened one at most.
    assert!(upstream.accepted() <= case.workers);
}

fn an_old_server_is_understood(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(request)) = conn.request() {
            match request.target.as_str() {
                "/kept" => conn.wire.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nkept"),
                "/length" => conn.wire.send("HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nlength"),
                _ => return conn.wire.send("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
            }
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.get("up.test", "/kept").text(), "kept");
    }
    assert_eq!(upstream.accepted(), 1);
    let response = client.get("up.test", "/length");
    assert!(response.text() == "length" && response.head.starts_with(b"HTTP/1.1 200"), "{response:?}");
    // Without keep-alive the server means to close: its connection is not used again, the client's is.
    assert_eq!(client.get("up.test", "/closing").text(), "until the end");
    assert_eq!(upstream.accepted(), 2);
}
