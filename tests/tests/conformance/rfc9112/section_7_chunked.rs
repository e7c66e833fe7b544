//! §7 Transfer codings: chunk extensions and trailers on their way through.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(request_trailers_pass, response_trailers_pass, chunk_extensions_end_here);

fn request_trailers_pass(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: up.test\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\nx-Other:  y \r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = upstream.requests().remove(0);
    assert_eq!(seen.trailers, [("X-Sum".to_owned(), "42".to_owned()), ("x-Other".to_owned(), "y".to_owned())]);
    assert_eq!(seen.header("x-sum"), None);
    client.expect_alive("up.test");
}

fn response_trailers_pass(case: Case) {
    let upstream = Upstream::serve(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
        )
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.get("up.test", "/");
        assert_eq!(
            (response.text().as_str(), response.header("trailer"), response.header("x-sum")),
            ("hello", Some("X-Sum"), None)
        );
        assert_eq!(response.trailers, [("X-Sum".to_owned(), "42".to_owned())]);
    }
}

/// §7.1.1: a recipient ignores extensions it does not know; nothing is gained by passing an attacker's on.
fn chunk_extensions_end_here(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\\\"e\";f\r\nhello\r\n0;g\r\n\r\n");
    assert_eq!(client.response().status, 200);
    // The harness's own chunk parser takes digits alone.
    let seen = upstream.requests().remove(0);
    assert_eq!((seen.body.as_slice(), seen.chunks), (&b"hello"[..], Some(1)));
}
