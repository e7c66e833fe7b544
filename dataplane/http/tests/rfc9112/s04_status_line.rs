//! §4: the status-line.

use super::*;

#[test]
fn status_lines() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.0 404 Not  Found ", 404, "Not  Found "),
        ("HTTP/1.1 999 \u{e4}", 999, "\u{e4}"),
        ("HTTP/1.1 100 a\tb", 100, "a\tb"),
    ] {
        for fields in ["", "A: b\r\n"] {
            let bytes = format!("{line}\r\n{fields}\r\n");
            let head = response(&bytes, Method::Get);
            assert_eq!((head.status, text(head.reason, &bytes)), (status, reason.to_owned()), "{line}");
            assert_eq!(head.len, bytes.len());
        }
    }
}

#[test]
fn malformed_status_lines() {
    for line in [
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 OK",
        "HTTP/1.1",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 \x7f",
        "HTTP/1.1\t200 OK",
        "200 OK",
        "http/1.1 200 OK",
    ] {
        assert_eq!(response_refused(format!("{line}\r\n\r\n")), ResponseError::StatusLine, "{line:?}");
    }
    assert_eq!(response_refused("HTTP/1.1 000 OK\r\n\r\n"), ResponseError::StatusInvalid);
    assert_eq!(response_refused("HTTP/1.1 099 OK\r\n\r\n"), ResponseError::StatusInvalid);
}

#[test]
fn row_27_a_split_response_is_two_responses() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz";
    let mut head = ResponseHead::default();
    assert_eq!(head.parse(bytes, 0, Method::Get, &HeadLimits::default()), Ok(Parse::Complete));
    assert_eq!((head.len, head.framing), (44, Framing::Length(0)));
    for value in ["a\nB: c", "a\rB: c", "a\0"] {
        response_refused(format!("HTTP/1.1 200 OK\r\nX: {value}\r\n\r\n"));
    }
}
