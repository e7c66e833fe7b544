//! §3: method, request-target, Host.

use super::*;

#[test]
fn methods() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("PATCH", Method::Patch),
        ("get", Method::Other),
        ("PROPFIND", Method::Other),
        ("M-SEARCH", Method::Other),
    ] {
        let bytes = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(&bytes);
        assert_eq!((head.method, text(head.method_span, &bytes)), (method, name.to_owned()));
    }
    let long = |len| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len));
    request(long(64));
    assert_eq!((refused(long(65)), refused(long(65)).status()), (RequestError::MethodTooLong, 501));
}

#[test]
fn malformed_request_lines() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        "GET / a HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "\x16\x03\x01\x02",
        "GET / HTTP/1.1\x0b",
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n")), RequestError::RequestLine, "{line:?}");
    }
}

#[test]
fn origin_form() {
    let bytes = b"GET /a/b%2Fc?d=e?f HTTP/1.1\r\nhOsT:\t a.b:8080 \r\n\r\n";
    let head = request(bytes);
    assert_eq!(text(head.target, bytes), "/a/b%2Fc?d=e?f");
    assert_eq!(head.target, head.path);
    assert_eq!(&bytes[head.query_at as usize..head.path.end as usize], b"?d=e?f");
    assert_eq!(text(head.authority, bytes), "a.b:8080");
    assert!(!head.absolute_form);
}

#[test]
fn row_14_absolute_form_wins_over_host() {
    for scheme in ["http", "https", "HTTP"] {
        let bytes = format!("GET {scheme}://a.b:81/c?d HTTP/1.1\r\nHost: other\r\n\r\n");
        let head = request(&bytes);
        assert_eq!((text(head.authority, &bytes), text(head.path, &bytes)), ("a.b:81".into(), "/c?d".into()));
        assert_eq!((head.absolute_form, head.https), (true, scheme == "https"));
    }
    // Host has to be valid all the same.
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), RequestError::HostMissing);
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\nHost: b@c\r\n\r\n"), RequestError::AuthorityInvalid);
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), RequestError::HostTwice);
    assert_eq!(refused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::AuthorityInvalid);
}

#[test]
fn row_14_missing_or_repeated_host() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", RequestError::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", RequestError::HostTwice),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", RequestError::HostTwice),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nHost: c\r\n\r\n", RequestError::HostTwice),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", RequestError::HostTwice),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", RequestError::AuthorityInvalid),
        ("GET / HTTP/1.1\r\nHost: \r\nHost: a\r\n\r\n", RequestError::HostTwice),
    ];
    for (bytes, error) in cases {
        assert_eq!((refused(bytes), refused(bytes).status()), (error, 400), "{bytes}");
    }
    assert!(request("GET / HTTP/1.0\r\n\r\n").authority.is_empty());
}

#[test]
fn row_15_ambiguous_authorities() {
    for host in [
        "a,b", "a, b", "u@a", "u:p@a", "a#b", "a/b", "a\\b", "a b", "a:80:81", "a:x", "a%00", "http://a", "[::1",
        "a?b", "a:99999",
    ] {
        assert_eq!(
            refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
            RequestError::AuthorityInvalid,
            "{host}"
        );
        if !host.contains(['/', '?']) {
            let error = refused(format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(error.status(), 400, "{host}");
        }
    }
    for host in ["a", "A.b.", "127.0.0.1:80", "[::1]:8080", "a_b"] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(text(request(&bytes).authority, &bytes), host);
    }
}

#[test]
fn row_17_targets_refused_whatever_the_profile() {
    for (target, error) in [
        ("/a#b", RequestError::TargetFragment),
        ("/a?b#c", RequestError::TargetFragment),
        ("#", RequestError::TargetForm),
        ("/%00", RequestError::TargetNul),
        ("/a%00b", RequestError::TargetNul),
        ("/?a=%00", RequestError::TargetNul),
        ("/\u{fc}", RequestError::TargetInvalid),
        ("a", RequestError::TargetForm),
        ("../a", RequestError::TargetForm),
        ("\\a", RequestError::TargetForm),
        ("*", RequestError::TargetForm),
        ("mailto:a", RequestError::TargetForm),
    ] {
        let error = (error, 400);
        let found = refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((found, found.status()), error, "{target}");
    }
}

#[test]
fn asterisk_form_is_for_options_alone() {
    let bytes = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request(bytes);
    assert_eq!((text(head.path, bytes), text(head.authority, bytes)), ("*".into(), "a".into()));
    assert_eq!(refused("POST * HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::TargetForm);
    assert_eq!(refused("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::TargetForm);
}

#[test]
fn row_25_authority_form_is_for_connect_alone() {
    let bytes = "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b\r\n\r\n";
    let head = request(bytes);
    assert_eq!(
        (text(head.authority, bytes), head.path.is_empty(), head.method),
        ("a.b:443".into(), true, Method::Connect)
    );
    for target in ["/", "a.b", "http://a.b:443/", "a.b:443/", "*", "u@a:1"] {
        assert_eq!(
            refused(format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n")),
            RequestError::TargetForm,
            "{target}"
        );
    }
    assert_eq!(refused("GET a.b:443 HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::TargetForm);
}
