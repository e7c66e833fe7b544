//! Rows 39 and 65: heads that are too large, and label values that never end.

use std::fmt::Write as _;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(
    row_39_too_many_header_lines,
    row_39_too_long_a_head,
    row_39_as_much_as_is_allowed,
    row_39_response_heads_too_large,
    row_65_label_values_that_never_end,
);

fn row_39_too_many_header_lines(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    for count in [101, 1_000, 10_000] {
        refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: up.test\r\n{}\r\n", lines(count)), &[431]);
    }
    assert!(upstream.requests().iter().all(|r| r.target == "/alive"));
}

fn row_39_too_long_a_head(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    let mib = "x".repeat(1 << 20);
    refused(&proxy, &format!("GET /{mib} HTTP/1.1\r\nHost: up.test\r\n\r\n"), &[414, 431]);
    refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: up.test\r\nCookie: {mib}\r\n\r\n"), &[431]);
    refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: up.test\r\n{mib}: y\r\n\r\n"), &[431]);
    refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: {mib}\r\n\r\n"), &[431, 400]);
    refused(&proxy, &format!("{mib} / HTTP/1.1\r\nHost: up.test\r\n\r\n"), &[431, 414, 400, 501]);
    refused(&proxy, &mib, &[431, 414, 400, 501]);
    assert!(upstream.requests().iter().all(|r| r.target == "/alive"));
}

fn row_39_as_much_as_is_allowed(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\n{}\r\n", lines(90)));
    assert_eq!(client.response().status, 200);
    let path = "x".repeat(7 << 10);
    let cookie = "y".repeat(40 << 10);
    client.send(format!("GET /{path} HTTP/1.1\r\nHost: up.test\r\nCookie: {cookie}\r\n\r\n"));
    assert_eq!(client.response().status, 200);
    let seen = upstream.requests();
    assert_eq!((seen[1].target.len(), seen[1].header("cookie").map(str::len)), (path.len() + 1, Some(cookie.len())));
}

fn row_39_response_heads_too_large(case: Case) {
    let upstream = Upstream::serve(|request| match request.target.as_str() {
        "/lines" => Reply::raw(format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", lines(5_000))),
        "/long" => Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1 << 20))),
        "/reason" => Reply::raw(format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1 << 20))),
        "/large" => Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(40 << 10))),
        _ => Reply::ok("sound"),
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for path in ["/lines", "/long", "/reason"] {
        assert_eq!(client.get("up.test", path).status, 502, "{path}");
        assert_eq!(client.get("up.test", "/sound").text(), "sound", "after {path}");
    }
    assert_eq!(client.get("up.test", "/large").header("x").map(str::len), Some(40 << 10));
}

/// Whatever peers call themselves, the metrics stay bounded and every request is still counted.
fn row_65_label_values_that_never_end(case: Case) {
    const PEERS: usize = 3_000;
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Inbound, upstream.address());
    let mut client = proxy.client();
    for i in 0..PEERS {
        client.send(format!(
            "M{i} /path{i} HTTP/1.1\r\nHost: host{i}.test\r\nUser-Agent: agent{i}\r\nx-envoy-peer-metadata-id: sidecar~~pod{i}~x\r\n\
             x-envoy-peer-metadata: {}\r\n\r\n",
            metadata(i)
        ));
        assert_eq!(client.response().status, 200);
    }
    let page = proxy.admin("/stats/prometheus").text();
    let series = page.lines().filter(|l| l.starts_with("istio_requests_total{")).count();
    assert!(series > 0, "{page}");
    assert!(series < 2_200, "{series} series of istio_requests_total");
    assert_eq!(proxy.metric("istio_requests_total", &[]), PEERS as f64);
    for word in ["host1500.test", "/path1500", "agent1500", "M1500"] {
        assert!(!page.contains(word), "{word} became a label");
    }
    assert!(proxy.program.resident_bytes() < 128 << 20, "{} MiB", proxy.program.resident_bytes() >> 20);
}

/// Peer metadata as sidecars exchange it: base64 of a protobuf Struct with one string field.
fn metadata(i: usize) -> String {
    use base64::Engine as _;
    let string = |field: u8, text: &str| [&[field << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let value = string(3, &format!("workload{i}"));
    let entry = [string(1, "WORKLOAD_NAME"), vec![2 << 3 | 2, value.len() as u8], value].concat();
    base64::engine::general_purpose::STANDARD.encode([vec![1 << 3 | 2, entry.len() as u8], entry].concat())
}

fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut all, i| {
        let _ = write!(all, "x-{i}: y\r\n");
        all
    })
}

fn refused(proxy: &Proxy, request: &str, statuses: &[u16]) {
    let mut client = proxy.client();
    // The proxy need not take all of it.
    let _ = client.try_send(request);
    let response = client.try_response(false).unwrap_or_else(|e| panic!("no answer to {}…: {e}", &request[..40]));
    assert!(statuses.contains(&response.status), "{}… got {response:?}", &request[..40]);
    proxy.client().expect_alive("up.test");
}
