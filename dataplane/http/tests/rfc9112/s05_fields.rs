//! §5: field syntax.

use super::*;
use ringway_http::h1::HeadError;
use ringway_http::head::Known;

/// The same field lines are refused in requests and in responses.
fn both(lines: &str, error: HeadError) {
    let request = refused(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"));
    assert_eq!((request, request.status()), (RequestError::Head(error), 400), "{lines:?}");
    let response = response_refused(format!("HTTP/1.1 200 OK\r\nServer: a\r\n{lines}\r\n\r\n"));
    assert_eq!(response, ResponseError::Head(error), "{lines:?}");
}

#[test]
fn case_order_and_white_space_are_kept() {
    let bytes = b"GET / HTTP/1.1\r\nX-b:  two words \t\r\nhOST:a\r\nEmpty:\r\nBlank: \t \r\nX-B: \xff\"(,;)\r\n\r\n";
    let head = request(bytes);
    let lines: Vec<String> = head.fields.iter().map(|field| text(field.line, bytes)).collect();
    assert_eq!(lines.concat().as_bytes(), String::from_utf8_lossy(&bytes[16..bytes.len() - 2]).as_bytes());
    let values: Vec<&[u8]> = head.fields.iter().map(|field| field.value.of(bytes)).collect();
    assert_eq!(values, [b"two words" as &[u8], b"a", b"", b"", b"\xff\"(,;)"]);
    let names: Vec<String> = head.fields.iter().map(|field| text(field.name, bytes)).collect();
    assert_eq!(names, ["X-b", "hOST", "Empty", "Blank", "X-B"]);
    assert_eq!(head.fields.get(Known::Host).map(|field| text(field.name, bytes)), Some("hOST".into()));
    assert_eq!(head.fields.named(bytes, b"x-b").count(), 2);
    assert!(head.fields.get(Known::Te).is_none());
}

#[test]
fn row_10_obsolete_line_folding() {
    both("A: b\r\n c", HeadError::ObsFold);
    both("A: b\r\n\tc", HeadError::ObsFold);
    both("A: b\r\n \r\nC: d", HeadError::ObsFold);
    both("A:\r\n b", HeadError::ObsFold);
    both("Transfer-Encoding:\r\n chunked", HeadError::ObsFold);
}

#[test]
fn row_11_white_space_before_the_colon_or_the_first_field() {
    both("A : b", HeadError::SpaceBeforeColon);
    both("A\t: b", HeadError::SpaceBeforeColon);
    both("Content-Length : 5", HeadError::SpaceBeforeColon);
    assert_eq!(refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), HeadError::SpaceBeforeFirstField.into());
    assert_eq!(refused("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"), HeadError::SpaceBeforeFirstField.into());
    assert_eq!(refused("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), HeadError::SpaceBeforeFirstField.into());
    assert_eq!(response_refused("HTTP/1.1 200 OK\r\n A: b\r\n\r\n"), HeadError::SpaceBeforeFirstField.into());
}

#[test]
fn row_12_names_and_values_outside_the_grammar() {
    for name in ["", "A B", "A\0", "A\x01", "A(", "A,", "A/", "A@", "A[", "A\"", "\u{e4}", "A\x7f", "A="] {
        both(&format!("{name}: b"), HeadError::FieldName);
    }
    both("A", HeadError::FieldName);
    for control in (0..0x20u8).chain([0x7f]).filter(|b| !b"\t\r\n".contains(b)) {
        both(&format!("A: b{}c", control as char), HeadError::FieldValue);
        both(&format!("A: {}", control as char), HeadError::FieldValue);
    }
}
