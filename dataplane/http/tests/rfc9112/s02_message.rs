//! §2: message format, parsing, version.

use super::*;
use ringway_http::h1::HeadError;

#[test]
fn a_head_ends_with_its_blank_line_and_what_follows_is_left_alone() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n";
    let mut head = RequestHead::default();
    assert_eq!(head.parse(bytes, 0, &HeadLimits::default()), Ok(Parse::Complete));
    assert_eq!(head.len, 27);
    let mut head = ResponseHead::default();
    assert_eq!(head.parse(b"HTTP/1.1 200 OK\r\n\r\nbody", 0, Method::Get, &HeadLimits::default()), Ok(Parse::Complete));
    assert_eq!(head.len, 19);
}

#[test]
fn a_head_is_partial_at_every_cut() {
    let bytes = b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    for end in 0..bytes.len() {
        let parse = RequestHead::default().parse(&bytes[..end], 0, &HeadLimits::default());
        assert!(matches!(parse, Ok(Parse::Partial { scanned }) if scanned <= end), "{end}: {parse:?}");
    }
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    for end in 0..bytes.len() {
        let parse = ResponseHead::default().parse(&bytes[..end], 0, Method::Get, &HeadLimits::default());
        assert!(matches!(parse, Ok(Parse::Partial { scanned }) if scanned <= end), "{end}: {parse:?}");
    }
}

#[test]
fn a_value_is_reusable_and_keeps_nothing() {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    let first = b"GET ws://a HTTP/1.1\r\n\r\n";
    assert!(head.parse(first, 0, &limits).is_err());
    let upgrade = b"POST http://a/b?c HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(head.parse(upgrade, 0, &limits), Ok(Parse::Complete));
    let plain = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(head.parse(plain, 0, &limits), Ok(Parse::Complete));
    assert_eq!(head, request(plain));
}

#[test]
fn one_empty_line_may_precede_a_request() {
    let bytes = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request(bytes);
    assert_eq!(
        (head.len, text(head.path, bytes), text(head.method_span, bytes)),
        (bytes.len(), "/a".into(), "GET".into())
    );
    assert_eq!(refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::EmptyLines);
    assert_eq!(refused("\n\r\n"), HeadError::BareLf.into());
    assert_eq!(refused("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::BareLf.into());
    assert_eq!(refused("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::BareCr.into());
    assert_eq!(refused("\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::BareCr.into());
    assert_eq!(response_refused("\r\nHTTP/1.1 200 OK\r\n\r\n"), ResponseError::StatusLine);
}

#[test]
fn row_09_bare_line_feed_or_carriage_return_in_a_head() {
    let requests: &[(&str, HeadError)] = &[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", HeadError::BareLf),
        ("GET / HTTP/1.1\nHost: a\n\n", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nA: b\nHost: a\r\n\r\n", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nA:\nHost: a\r\n\r\n", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n", HeadError::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", HeadError::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", HeadError::BareCr),
        ("GET / HTTP/1.1\r\n\rHost: a\r\n\r\n", HeadError::BareCr),
    ];
    for (bytes, error) in requests {
        assert_eq!(refused(bytes), RequestError::Head(*error), "{bytes:?}");
        assert_eq!(refused(bytes).status(), 400);
        let bytes = bytes.replace("GET / HTTP/1.1", "HTTP/1.1 200 OK");
        assert_eq!(response_refused(&bytes), ResponseError::Head(*error), "{bytes:?}");
    }
    assert_eq!(refused("GET /\rHTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::RequestLine);
    assert_eq!(response_refused("HTTP/1.1 200 O\rK\r\n\r\n"), ResponseError::StatusLine);
}

#[test]
fn unknown_versions() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3", "HTTP/9.9"] {
        let error = refused(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert_eq!((error, error.status()), (RequestError::VersionUnknown, 505), "{version}");
        assert_eq!(response_refused(format!("{version} 200 OK\r\n\r\n")), ResponseError::VersionUnknown, "{version}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status(), 505);
    for version in
        ["http/1.1", "HTTP/x", "HTTP/", "HTTPS/1.1", "HTTP /1.1", "HTTP/11", "HTTP/1.10", "HTTP/1.1 x", "HTTP/1.1 "]
    {
        let error = refused(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert!(matches!(error.status(), 400 | 505), "{version}: {error:?}");
        response_refused(format!("{version} 200 OK\r\n\r\n").replace("  ", " _ "));
    }
}

#[test]
fn row_39_heads_that_are_too_large() {
    let limits = HeadLimits { head_bytes_max: 4096, fields_max: 10, target_bytes_max: 1024, strict: false };
    let with = |target: usize, fields: usize, value: usize| {
        let field = format!("A: {}\r\n", "v".repeat(value));
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n{}\r\n", "t".repeat(target - 1), field.repeat(fields - 1))
    };
    let verdict = |bytes: &str| parse_request(bytes.as_bytes(), &limits).map(|head| head.len);
    let fits = with(1024, 10, 100);
    assert_eq!(verdict(&fits), Ok(fits.len()));
    assert_eq!(verdict(&with(1025, 10, 100)), Err(RequestError::TargetTooLong));
    assert_eq!(verdict(&with(1024, 11, 100)), Err(HeadError::TooManyFields.into()));
    let exact = with(10, 2, 4096 - with(10, 2, 0).len());
    assert_eq!((exact.len(), verdict(&exact)), (4096, Ok(4096)));
    assert_eq!(verdict(&with(10, 2, 4097 - with(10, 2, 0).len())), Err(HeadError::TooLong.into()));
    assert_eq!(RequestError::from(HeadError::TooLong).status(), 431);
    assert_eq!(RequestError::from(HeadError::TooManyFields).status(), 431);
    assert_eq!(RequestError::TargetTooLong.status(), 414);
}

#[test]
fn row_39_heads_that_never_end() {
    let limits = HeadLimits { head_bytes_max: 4096, fields_max: 10, target_bytes_max: 1024, strict: false };
    for (start, error) in [
        ("GET /", RequestError::TargetTooLong),
        ("G", RequestError::TargetTooLong),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: ", HeadError::TooLong.into()),
        ("GET / HTTP/1.1\r\n", HeadError::TooLong.into()),
    ] {
        let endless = start.to_owned() + &"a".repeat(5000);
        assert_eq!(RequestHead::default().parse(endless.as_bytes(), 0, &limits), Err(error), "{start}");
        assert_eq!(parse_request(endless.as_bytes(), &limits).err(), Some(error), "{start}");
    }
    let defaults = HeadLimits::default();
    let megabyte = "GET /".to_owned() + &"a".repeat(1 << 20);
    assert_eq!(RequestHead::default().parse(megabyte.as_bytes(), 0, &defaults), Err(RequestError::TargetTooLong));
    let cookies = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"A: b\r\n".repeat(10_000);
    assert_eq!(RequestHead::default().parse(cookies.as_bytes(), 0, &defaults), Err(HeadError::TooManyFields.into()));
    let endless = "HTTP/1.1 200 OK\r\nA: ".to_owned() + &"a".repeat(5000);
    let verdict = ResponseHead::default().parse(endless.as_bytes(), 0, Method::Get, &limits);
    assert_eq!(verdict, Err(HeadError::TooLong.into()));
}

#[test]
fn row_39_limits_above_the_ceilings_count_as_the_ceilings() {
    let limits =
        HeadLimits { head_bytes_max: usize::MAX, fields_max: usize::MAX, target_bytes_max: usize::MAX, strict: false };
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(n - 1));
    let parse = |bytes: &str| RequestHead::default().parse(bytes.as_bytes(), 0, &limits);
    assert_eq!(parse(&fields(255)), Ok(Parse::Complete));
    assert_eq!(parse(&fields(256)), Err(HeadError::TooManyFields.into()));
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    let rest = target(1).len() - 1;
    assert_eq!(parse(&target(65_535 - rest)), Ok(Parse::Complete));
    assert_eq!(parse(&target(65_536 - rest)), Err(HeadError::TooLong.into()));
    let zero = HeadLimits { head_bytes_max: 0, fields_max: 0, target_bytes_max: 0, strict: false };
    assert!(RequestHead::default().parse(b"GET / HTTP/1.1\r\n\r\n", 0, &zero).is_err());
}
