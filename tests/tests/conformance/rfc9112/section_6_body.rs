//! §6 Message body: every framing, in both directions, whatever the sizes and the splits.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(
    request_bodies_arrive_whole,
    response_bodies_arrive_whole,
    bodies_in_single_bytes,
    a_body_until_the_connection_ends,
    a_truncated_body_is_visibly_truncated,
    bulk_both_ways_at_once,
);

/// Around every boundary that buffers have.
const SIZES: [usize; 12] = [0, 1, 2, 1023, 4095, 4096, 4097, 8192, 24_577, 65_535, 131_073, 1_000_000];

fn request_bodies_arrive_whole(case: Case) {
    let upstream = Upstream::serve(|request| Reply::ok(request.body.len().to_string()));
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for size in SIZES {
        let body = pattern(size);
        client.send(format!("POST /length HTTP/1.1\r\nHost: up.test\r\nContent-Length: {size}\r\n\r\n"));
        client.send(&body);
        assert_eq!(client.response().text(), size.to_string());
        client.send("POST /chunks HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(chunked(&body));
        assert_eq!(client.response().text(), size.to_string());
        let seen = upstream.take_requests();
        assert!(seen[0].body == body && seen[1].body == body, "{size} bytes changed on their way");
        assert_eq!(seen[0].header("content-length"), Some(size.to_string().as_str()));
        assert_eq!((seen[1].header("content-length"), seen[1].chunks.is_some()), (None, true));
    }
    assert_eq!(upstream.accepted(), 1);
}

fn response_bodies_arrive_whole(case: Case) {
    let upstream = Upstream::serve(|request| {
        let (kind, size) = request.target[1..].split_once('/').expect("a kind and a size");
        let body = pattern(size.parse().unwrap());
        match kind {
            "chunks" => {
                Reply([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunked(&body)].concat())
            }
            _ => Reply::ok(body),
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for size in SIZES {
        for kind in ["length", "chunks"] {
            let response = client.get("up.test", &format!("/{kind}/{size}"));
            assert!(response.body == pattern(size), "{kind} {size}: {} bytes came, or other ones", response.body.len());
            assert_eq!(response.chunks.is_some(), kind == "chunks");
        }
    }
    assert_eq!(upstream.accepted(), 1);
}

/// The worst way to cut a message: after every byte.
fn bodies_in_single_bytes(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(request)) = conn.request() {
            assert_eq!(request.body, b"hello world");
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nT: x\r\n\r\n" {
                conn.wire.send([*byte]);
            }
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for request in [
        "POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 11\r\n\r\nhello world",
        "POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ] {
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.response().text(), "hello world");
    }
}

/// §6.3 rule 8.
fn a_body_until_the_connection_ends(case: Case) {
    let upstream = Upstream::script(|conn| {
        if let Ok(Some(_)) = conn.request() {
            conn.wire.send("HTTP/1.1 200 OK\r\n\r\n");
            conn.wire.send(pattern(100_000));
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for round in 1..=2 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
        let response = client.response();
        assert!(response.body == pattern(100_000), "{} bytes", response.body.len());
        assert!(response.closes(), "{response:?}");
        client.expect_end();
        assert_eq!(upstream.accepted(), round);
    }
}

/// §8: an incomplete response must not look complete.
fn a_truncated_body_is_visibly_truncated(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(request)) = conn.request() else { return };
        let head = if request.target == "/length" { "Content-Length: 100" } else { "Transfer-Encoding: chunked" };
        conn.wire.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n"));
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for path in ["/length", "/chunks"] {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{path}: half a body passed for a whole one");
    }
}

/// Neither direction waits for the other to end.
fn bulk_both_ways_at_once(case: Case) {
    const BYTES: usize = 8 << 20;
    let upstream = Upstream::script(|conn| {
        let Ok(Some(mut request)) = conn.request_head() else { return };
        conn.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
        // Echoes piece by piece: a proxy that waits for the request's end before it passes the response on would block.
        for _ in 0..BYTES / 4096 {
            let piece = conn.wire.take(4096).unwrap();
            conn.wire.send(piece);
        }
        request.body.clear();
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    let mut sender = ringway_tests::harness::Client::over_tcp(client.tcp().try_clone().unwrap()).unwrap();
    let sending = std::thread::spawn(move || {
        sender.send(format!("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: {BYTES}\r\n\r\n"));
        sender.send(pattern(BYTES));
    });
    let response = client.response();
    sending.join().unwrap();
    assert!(response.body == pattern(BYTES), "{} bytes", response.body.len());
}

/// Bytes whose order matters.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A body in chunks of growing sizes.
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 2 + 1);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
