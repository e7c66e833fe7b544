//! §9.3 Methods: HEAD has no body, unknown methods pass.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(head_has_no_body, unknown_methods_pass);

fn head_has_no_body(case: Case) {
    let upstream = Upstream::serve(|request| match request.target.as_str() {
        "/length" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        "/chunked" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => Reply::raw("HTTP/1.1 404 Not Found\r\n\r\n"),
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for (path, header, value) in
        [("/length", "content-length", "1000"), ("/chunked", "transfer-encoding", "chunked"), ("/neither", "x", "")]
    {
        for _ in 0..2 {
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
            let response = client.response_to_head();
            assert_eq!(response.header(header).unwrap_or_default(), value, "{path}: {response:?}");
        }
    }
    assert_eq!(upstream.accepted(), 1);
}

fn unknown_methods_pass(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for method in ["PATCH", "PROPFIND", "purge", "M-SEARCH", "TRACE"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{method}");
        assert_eq!(upstream.take_requests()[0].method, method);
    }
}
