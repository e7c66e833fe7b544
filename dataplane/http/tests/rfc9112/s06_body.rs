//! §6: message body, Transfer-Encoding, Content-Length, length.

use super::*;
use ringway_http::h1::HeadError;
use ringway_http::head::{Known, Version};

fn post(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn ok(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

fn both(fields: &str, error: HeadError, status: u16) {
    let found = refused(post(fields));
    assert_eq!((found, found.status()), (RequestError::Head(error), status), "{fields:?}");
    assert_eq!(response_refused(ok(fields)), ResponseError::Head(error), "{fields:?}");
}

#[test]
fn row_01_content_length_and_transfer_encoding() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: Chunked\r\nA: b\r\ncontent-length: 0\r\n",
    ] {
        both(fields, HeadError::ContentLengthAndTransferEncoding, 400);
        let found = parse_response(ok(fields).as_bytes(), Method::Head, &HeadLimits::default());
        assert_eq!(found.err(), Some(HeadError::ContentLengthAndTransferEncoding.into()));
    }
    let name = RequestError::from(HeadError::ContentLengthAndTransferEncoding).name();
    assert_eq!(name, "http1.content_length_and_transfer_encoding");
}

#[test]
fn row_02_transfer_encoding_obfuscated() {
    for value in [
        "chunked, identity",
        "chunked, chunked",
        "chunked;q=1",
        "chunked;",
        ",chunked",
        "chunked,",
        "\"chunked\"",
        "chunked chunked",
        "",
        ",",
        "'chunked'",
        "chun\tked",
        "chunked\u{a0}",
    ] {
        if value != "'chunked'" {
            both(&format!("Transfer-Encoding: {value}\r\n"), HeadError::TransferEncodingInvalid, 400);
        }
    }
    for value in ["xchunked", "identity", "gzip", "gzip, chunked", "chunked-foo", "cow", "'chunked'"] {
        both(&format!("Transfer-Encoding: {value}\r\n"), HeadError::TransferCodingUnknown, 501);
    }
    both("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadError::TransferEncodingInvalid, 400);
    both("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", HeadError::TransferEncodingInvalid, 400);
    both("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", HeadError::TransferCodingUnknown, 501);
    both("Transfer-Encoding: \x0bchunked\r\n", HeadError::FieldValue, 400);
    both("Transfer-Encoding:\x0bchunked\r\n", HeadError::FieldValue, 400);
    both("Transfer-Encoding : chunked\r\n", HeadError::SpaceBeforeColon, 400);
    // Another name is another field: harmless here, and forwarded as one.
    assert_eq!(request(post("Transfer_Encoding: chunked\r\n")).framing, Framing::None);
    assert_eq!(request(post("Transfer-Encoding:  CHUNKED\t\r\n")).framing, Framing::Chunked);
}

#[test]
fn row_03_transfer_encoding_in_http_1_0() {
    let bytes = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!((refused(bytes), refused(bytes).status()), (HeadError::TransferEncodingInHttp10.into(), 400));
    let bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response_refused(bytes), HeadError::TransferEncodingInHttp10.into());
    // No close-delimited requests.
    assert_eq!(request("POST / HTTP/1.0\r\n\r\n").framing, Framing::None);
}

#[test]
fn row_04_content_length_that_is_no_single_number() {
    for value in [
        "5, 5",
        "5,5",
        "+5",
        "-5",
        "0x5",
        "",
        " ",
        "5 5",
        "5a",
        "18446744073709551616",
        "9223372036854775808",
        "00000000000000000005",
        "5;",
        "\"5\"",
    ] {
        both(&format!("Content-Length: {value}\r\n"), HeadError::ContentLengthInvalid, 400);
    }
    both("Content-Length: 5\r\nContent-Length: 5\r\n", HeadError::ContentLengthTwice, 400);
    both("Content-Length: 5\r\nContent-Length: 6\r\n", HeadError::ContentLengthTwice, 400);
    both("Content-Length: 5\r\nContent-Length:\r\n", HeadError::ContentLengthTwice, 400);
    assert_eq!(request(post("Content-Length: 0\r\n")).framing, Framing::Length(0));
    assert_eq!(request(post("Content-Length: 007\r\n")).framing, Framing::Length(7));
    assert_eq!(request(post("content-length:9223372036854775807\r\n")).framing, Framing::Length(i64::MAX as u64));
}

#[test]
fn row_05_framing_is_by_the_head_whatever_the_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        let bytes = |fields: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(request(bytes("")).framing, Framing::None);
        assert_eq!(request(bytes("Content-Length: 5\r\n")).framing, Framing::Length(5), "{method}");
        assert_eq!(request(bytes("Transfer-Encoding: chunked\r\n")).framing, Framing::Chunked, "{method}");
    }
}

#[test]
fn responses_are_framed_by_request_status_and_head() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let five = "Content-Length: 5\r\n";
    let cases = [
        ("200", Method::Get, five, Framing::Length(5)),
        ("200", Method::Get, chunked, Framing::Chunked),
        ("200", Method::Get, "", Framing::UntilClose),
        ("200", Method::Head, five, Framing::None),
        ("200", Method::Head, chunked, Framing::None),
        ("200", Method::Head, "", Framing::None),
        ("200", Method::Connect, "", Framing::None),
        ("200", Method::Connect, five, Framing::None),
        ("407", Method::Connect, five, Framing::Length(5)),
        ("304", Method::Get, five, Framing::None),
        ("304", Method::Get, chunked, Framing::None),
        ("205", Method::Get, "Content-Length: 0\r\n", Framing::Length(0)),
        ("204", Method::Get, "", Framing::None),
        ("204", Method::Get, "Content-Length: 0\r\n", Framing::None),
        ("100", Method::Post, "", Framing::None),
        ("103", Method::Get, "Link: a\r\n", Framing::None),
        ("500", Method::Post, "", Framing::UntilClose),
    ];
    for (status, method, fields, framing) in cases {
        let head = response(format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), method);
        assert_eq!(head.framing, framing, "{status} {method:?} {fields}");
        assert_eq!(head.keep_alive, framing != Framing::UntilClose);
    }
}

#[test]
fn row_27_bodies_where_none_may_be() {
    for status in ["100", "103", "199", "204"] {
        let head = |fields: &str| format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        assert_eq!(response_refused(head("Transfer-Encoding: chunked\r\n")), ResponseError::TransferEncodingNotAllowed);
        assert_eq!(response_refused(head("Content-Length: 1\r\n")), ResponseError::ContentLengthNotAllowed);
        let zero = response(head("Content-Length: 0\r\n"), Method::Get);
        assert!(zero.fields.get(Known::ContentLength).is_some_and(|field| field.hop));
    }
}

#[test]
fn row_26_expectations() {
    let with = |version: &str, expect: &str, length: u32| {
        format!("POST / HTTP/{version}\r\nHost: a\r\n{expect}Content-Length: {length}\r\n\r\n")
    };
    assert!(request(with("1.1", "Expect: 100-continue\r\n", 5)).expect_continue);
    assert!(request(with("1.1", "expect: 100-Continue \r\n", 5)).expect_continue);
    assert!(!request(with("1.1", "", 5)).expect_continue);
    assert!(!request(with("1.1", "Expect: 100-continue\r\n", 0)).expect_continue);
    let http10 = request(with("1.0", "Expect: 100-continue\r\n", 5));
    assert_eq!((http10.expect_continue, http10.version), (false, Version::Http10));
    for expect in [
        "Expect: a\r\n",
        "Expect:\r\n",
        "Expect: 100-continue, a\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        "Expect: 200-ok\r\n",
    ] {
        let error = refused(with("1.1", expect, 5));
        assert_eq!((error, error.status()), (RequestError::ExpectationUnknown, 417), "{expect}");
    }
}

#[test]
fn bodies_of_a_length_end_with_it() {
    let input = b"helloGET / HTTP/1.1";
    let mut decoder = BodyDecoder::new(Framing::Length(5), Output::Verbatim);
    assert_eq!(decoder.decode(b"").map(|decoded| decoded.done), Ok(false));
    let decoded = decoder.decode(&input[..2]).unwrap();
    assert_eq!((decoded.consumed, decoded.forward, decoded.done), (2, 0..2, false));
    assert_eq!(decoder.on_eof(), Err(BodyError::Truncated));
    let decoded = decoder.decode(&input[2..]).unwrap();
    assert_eq!((decoded.consumed, decoded.forward, decoded.done), (3, 0..3, true));
    assert_eq!((decoder.data_bytes(), decoder.is_done(), decoder.on_eof()), (5, true, Ok(())));
    let decoded = decoder.decode(&input[5..]).unwrap();
    assert_eq!((decoded.consumed, decoded.forward, decoded.done), (0, 0..0, true));
}

#[test]
fn no_body_is_done_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let decoder = BodyDecoder::new(framing, Output::Verbatim);
        assert!(decoder.is_done() && decoder.on_eof().is_ok());
    }
}

#[test]
fn close_delimited_bodies_end_with_the_connection() {
    let (out, decoder) = decode([b"ab" as &[u8], b"", b"c"], Framing::UntilClose, Output::Data).unwrap();
    assert_eq!(
        (out.as_slice(), decoder.is_done(), decoder.on_eof(), decoder.data_bytes()),
        (b"abc" as &[u8], false, Ok(()), 3)
    );
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<BodyDecoder>() <= 48, "{}", size_of::<BodyDecoder>());
}
