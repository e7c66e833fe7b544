//! §9: persistence, hop-by-hop fields, upgrade.

use super::*;
use proptest::prelude::*;
use ringway_http::h1::HeadError;
use ringway_http::head::{Fields, Upgrade};

/// The names that go no further.
fn hops(fields: &Fields, bytes: &[u8]) -> Vec<String> {
    fields.iter().filter(|field| field.hop).map(|field| text(field.name, bytes)).collect()
}

#[test]
fn persistence() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: foo, close\r\n", false),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Proxy-Connection: close\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive, close\r\n", false),
        ("1.0", "Keep-Alive: timeout=5\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ];
    for (version, fields, persists) in cases {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(request(&bytes).keep_alive, persists, "{bytes}");
        let bytes = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        assert_eq!(response(&bytes, Method::Get).keep_alive, persists, "{bytes}");
    }
    assert!(!response("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", Method::Get).keep_alive);
}

#[test]
fn hop_by_hop_fields() {
    let fields = "Connection: x-hop, close, ,TE\r\nKeep-Alive: a\r\nProxy-Connection: b\r\nTE: gzip\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nX-Hop: 1\r\nx-hoP: 2\r\nX-End: 3\r\nConnection: x-other\r\nX-Other: 4\r\n";
    let wanted = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Upgrade",
        "HTTP2-Settings",
        "X-Hop",
        "x-hoP",
        "Connection",
        "X-Other",
    ];
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_eq!(hops(&request(&bytes).fields, bytes.as_bytes()), wanted);
    let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    assert_eq!(hops(&response(&bytes, Method::Get).fields, bytes.as_bytes()), wanted);
}

#[test]
fn te_trailers_goes_on() {
    for (value, kept) in [
        ("trailers", true),
        ("Trailers", true),
        ("trailers, deflate", false),
        ("gzip", false),
        ("trailers;q=0.5", false),
        ("", false),
    ] {
        for connection in ["", "Connection: TE\r\n"] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{connection}TE: {value}\r\n\r\n");
            assert_eq!(hops(&request(&bytes).fields, bytes.as_bytes()).contains(&"TE".into()), !kept, "{value}");
        }
    }
}

#[test]
fn connection_names_no_end_to_end_field() {
    for name in [
        "Host",
        "content-length",
        "Authorization",
        "cookie",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Request-Id",
        "x-envoy-peer-metadata",
    ] {
        let error = refused(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, {name}\r\n\r\n"));
        assert_eq!((error, error.status()), (HeadError::ConnectionNamesEndToEnd.into(), 400), "{name}");
        let error = response_refused(format!("HTTP/1.1 200 OK\r\nConnection: {name}\r\n\r\n"));
        assert_eq!(error, HeadError::ConnectionNamesEndToEnd.into(), "{name}");
    }
    // Some servers name Transfer-Encoding; it is hop-by-hop, and what the body's framing says stays true.
    let head =
        response("HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get);
    assert_eq!(head.framing, Framing::Chunked);
}

#[test]
fn connection_is_a_bounded_list_of_tokens() {
    let with = |value: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
    for value in ["a b", "close;x", "\"close\"", "a=b", "clo\u{e9}"] {
        assert_eq!(refused(with(value)), HeadError::ConnectionInvalid.into(), "{value}");
    }
    request(with(&vec!["a"; 16].join(",")));
    assert_eq!(refused(with(&vec!["a"; 17].join(","))), HeadError::ConnectionInvalid.into());
    request(with(""));
    request(with(",,"));
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn row_23_a_whole_websocket_handshake() {
    let head = request(HANDSHAKE);
    assert_eq!(
        (head.upgrade, hops(&head.fields, HANDSHAKE.as_bytes())),
        (Upgrade::WebSocket, vec!["Connection".into(), "Upgrade".into()])
    );
    assert_eq!(
        request(HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive, upgrade")).upgrade,
        Upgrade::WebSocket
    );
    assert_eq!(request(HANDSHAKE.replace(": websocket", ": WebSocket")).upgrade, Upgrade::WebSocket);
    let head = response(ACCEPTED, Method::Get);
    assert_eq!((head.upgrade, head.framing, head.status), (Upgrade::WebSocket, Framing::None, 101));
}

#[test]
fn row_23_handshakes_that_are_not_whole_are_plain_requests() {
    for (from, to) in [
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("GET", "POST"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ===="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n"),
        ("Upgrade: websocket", "Upgrade: websocket, h2c"),
        ("Upgrade: websocket\r\n", "Upgrade: websocket\r\nUpgrade: websocket\r\n"),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nContent-Length: 5\r\n"),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        // HTTP/1.0 knows no chunked bodies, but none is here.
        let bytes = HANDSHAKE.replace(from, to);
        assert_ne!(bytes, HANDSHAKE);
        let head = request(&bytes);
        assert_eq!(head.upgrade, Upgrade::Ignored, "{to}");
        assert!(hops(&head.fields, bytes.as_bytes()).contains(&"Upgrade".into()));
    }
}

#[test]
fn row_23_responses_without_a_handshake_open_no_tunnel() {
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""),
        ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"),
    ] {
        assert_eq!(response_refused(ACCEPTED.replace(from, to)), ResponseError::SwitchingProtocols, "{to}");
    }
    let bytes = ACCEPTED.replace("101 Switching Protocols", "200 OK");
    let head = response(&bytes, Method::Get);
    assert_eq!((head.upgrade, head.framing), (Upgrade::Ignored, Framing::UntilClose));
}

#[test]
fn row_22_h2c_is_never_honoured_nor_forwarded() {
    let bytes = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let head = request(bytes);
    assert_eq!(head.upgrade, Upgrade::Ignored);
    assert_eq!(hops(&head.fields, bytes.as_bytes()), ["Connection", "Upgrade", "HTTP2-Settings"]);
    // Not named by Connection either: some servers do not ask for it.
    let bytes = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(hops(&request(bytes).fields, bytes.as_bytes()), ["Upgrade", "HTTP2-Settings"]);
}

/// Requests with some of everything, well-formed or nearly so.
fn requests() -> impl Strategy<Value = String> {
    let target = prop_oneof![Just("/"), Just("/a?b"), Just("http://a/b"), Just("*"), Just("//")];
    let line = prop_oneof![
        Just("Host: a\r\n"),
        Just("hosT:b:80 \r\n"),
        Just("Content-Length: 5\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Connection: close, x\r\n"),
        Just("X: y\r\n"),
        Just("X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        Just("Upgrade: websocket\r\n"),
        Just("Expect: 100-continue\r\n"),
        Just("Bad : x\r\n"),
        Just(" fold\r\n"),
        Just("lf: x\n"),
    ];
    (target, proptest::collection::vec(line, 0..6), any::<bool>()).prop_map(|(target, lines, host)| {
        let host = if host { "Host: a\r\n" } else { "" };
        format!("GET {target} HTTP/1.1\r\n{host}{}\r\n", lines.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_in_pieces_are_what_they_are_whole(bytes in requests()) {
        let _ = parse_request(bytes.as_bytes(), &HeadLimits::default());
        ringway_http::fuzz::h1_request(bytes.as_bytes());
        ringway_http::fuzz::h1_response(bytes.replace("GET / ", "").replace("HTTP/1.1", "HTTP/1.1 200 OK").as_bytes());
    }

    #[test]
    fn damaged_requests_break_no_invariant(bytes in requests(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = bytes.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        ringway_http::fuzz::h1_request(&bytes);
    }
}
