//! §5 Fields: what is not ours to change keeps its bytes and its order.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(request_fields_keep_bytes_and_order, response_fields_keep_bytes_and_order);

const LINES: &str = "X-First: 1\r\nuser-AGENT:  odd  spacing \r\naccept: a\r\nAccept: b\r\nX-Empty:\r\nx-tab:\tv\t\r\nCookie: a=b; c=d\r\n\
    X-Latin: \u{e4}\r\nX-first: 2\r\nAuthorization: Basic eDp5\r\n";

fn request_fields_keep_bytes_and_order(case: Case) {
    let upstream = Upstream::echo();
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        let mut client = proxy.client();
        client.send(format!("GET /x HTTP/1.1\r\nHost: up.test\r\n{LINES}\r\n"));
        assert_eq!(client.response().status, 200);
        let seen = upstream.take_requests().remove(0);
        assert!(contains(&seen.head, LINES.as_bytes()), "{role:?}: {}", seen.head.escape_ascii());
        assert!(
            seen.head.starts_with(b"GET /x HTTP/1.1\r\nHost: up.test\r\n"),
            "{role:?}: {}",
            seen.head.escape_ascii()
        );
    }
}

fn response_fields_keep_bytes_and_order(case: Case) {
    let head = "HTTP/1.1 299 Some  Odd reason\r\nContent-Length: 0\r\nset-cookie: a\r\nX-A:  1 \r\nSet-Cookie: b\r\nx-a: 2\r\nServer: mine\r\nDate: never\r\n\r\n";
    let upstream = Upstream::serve(move |_| Reply::raw(head));
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    assert_eq!(String::from_utf8_lossy(&proxy.get("/").head), head);
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|w| w == part)
}
