//! §15 Status codes: those without content, and those nobody has heard of.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Reply, Upstream};
use ringway_tests::matrix;

matrix!(no_content_and_not_modified_have_no_body, unknown_statuses_pass);

fn no_content_and_not_modified_have_no_body(case: Case) {
    let upstream = Upstream::serve(|request| match request.target.as_str() {
        "/204" => Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        "/304-length" => Reply::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        _ => Reply::raw("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for (path, status) in [("/204", 204), ("/304", 304), ("/304-length", 304), ("/205", 205), ("/204", 204)] {
        let response = client.get("up.test", path);
        assert_eq!(response.status, status);
        assert!(
            status != 204
                || (response.header("content-length").is_none() && response.header("transfer-encoding").is_none())
        );
    }
    assert_eq!(upstream.accepted(), 1);
}

fn unknown_statuses_pass(case: Case) {
    let upstream = Upstream::serve(|request| {
        Reply::raw(format!("HTTP/1.1 {} \r\nContent-Length: 2\r\n\r\nok", &request.target[1..]))
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for status in [200, 201, 299, 300, 399, 418, 499, 500, 599] {
        let response = client.get("up.test", &format!("/{status}"));
        assert_eq!((response.status, response.text().as_str()), (status, "ok"));
    }
}
