//! §3.2 Request target, and the Host that goes with it.

use ringway_config::model::Role;
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Upstream};
use ringway_tests::matrix;

matrix!(
    absolute_form_becomes_origin_form,
    absolute_form_wins_over_host,
    options_asterisk,
    connect_is_refused,
    path_and_query_keep_their_bytes,
    the_authority_chooses_the_host
);

fn absolute_form_becomes_origin_form(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for (target, path, host) in [
        ("http://up.test/a/b?c=d", "/a/b?c=d", "up.test"),
        ("http://up.test", "/", "up.test"),
        ("http://up.test:8080/x", "/x", "up.test:8080"),
        ("HTTP://up.test/?q", "/?q", "up.test"),
        ("http://[::1]:9/x", "/x", "[::1]:9"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{target}");
        let seen = upstream.take_requests().remove(0);
        assert_eq!((seen.target.as_str(), seen.header("host")), (path, Some(host)), "{target}");
    }
}

/// §3.2.2: "the origin server MUST ignore the received Host header field (if any) and instead use the host information of the request-target".
fn absolute_form_wins_over_host(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("GET http://up.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = upstream.requests().remove(0);
    let hosts: Vec<_> =
        seen.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("host")).map(|(_, v)| v.as_str()).collect();
    assert_eq!(hosts, ["up.test"]);
}

fn options_asterisk(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.requests()[0].target, "*");
}

fn connect_is_refused(case: Case) {
    let upstream = Upstream::echo();
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        let mut client = proxy.client();
        client.send("CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n");
        assert_eq!(client.response().status, 405);
        client.expect_end();
    }
    assert_eq!(upstream.accepted(), 0);
}

fn path_and_query_keep_their_bytes(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for path in ["/", "/a?b", "/?", "/a%20b/%C3%A4", "/a;b=c/d", "/~a/!$&'()*+,=:@", "/a?b=/?&&%2F", "/A/b//c"] {
        assert_eq!(client.get("up.test", path).status, 200, "{path}");
    }
    let seen: Vec<String> = upstream.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(seen, ["/", "/a?b", "/?", "/a%20b/%C3%A4", "/a;b=c/d", "/~a/!$&'()*+,=:@", "/a?b=/?&&%2F", "/A/b//c"]);
}

fn the_authority_chooses_the_host(case: Case) {
    use ringway_config::model::Protocol;
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let mut config = Config::http(Role::Outbound);
    config.cluster("one", Protocol::Http1, &[one.address()]);
    config.cluster("two", Protocol::Http1, &[two.address()]);
    config.host("one", "one.test", forward(&[("one", 1)]));
    config.host("two", "*.two.test", forward(&[("two", 1)]));
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for (authority, counts) in [
        ("one.test", Some((1, 0))),
        ("ONE.Test:80", Some((1, 0))),
        ("one.test.", Some((1, 0))),
        ("a.two.test", Some((0, 1))),
        ("a.b.two.test:1234", Some((0, 1))),
        ("two.test", None),
        ("three.test", None),
    ] {
        let status = client.get(authority, "/").status;
        let seen = (one.take_requests().len(), two.take_requests().len());
        match counts {
            Some(counts) => assert_eq!((status, seen), (200, counts), "{authority}"),
            None => assert_eq!((status, seen), (404, (0, 0)), "{authority}"),
        }
    }
}
