//! RFC 6455: WebSocket, as far as a proxy sees it: a tunnel once both sides agreed (what must not become one is in the adversarial suite).

use std::thread;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Proxy, Upstream};
use ringway_tests::matrix;

matrix!(megabytes_through_a_websocket, the_handshake_keeps_its_fields);

const HANDSHAKE: &str = "GET /chat?x=y HTTP/1.1\r\nHost: up.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://up.test\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn megabytes_through_a_websocket(case: Case) {
    const BYTES: usize = 16 << 20;
    let upstream = Upstream::script(|conn| {
        conn.request_head().unwrap();
        conn.wire.send(ACCEPTED);
        let got = conn.wire.take(BYTES).unwrap();
        conn.wire.send(got);
    });
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    let sent: Vec<u8> = (0..BYTES as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut sender = ringway_tests::harness::Client::over_tcp(client.tcp().try_clone().unwrap()).unwrap();
    let sending = thread::spawn(move || {
        sender.send(&sent);
        sent
    });
    let got = client.take(BYTES).unwrap();
    assert!(got == sending.join().unwrap(), "the bytes changed on their way");
}

fn the_handshake_keeps_its_fields(case: Case) {
    let upstream = Upstream::script(|conn| {
        let request = conn.request_head().unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/chat?x=y"));
        for (name, value) in [
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", "http://up.test"),
        ] {
            assert_eq!(request.header(name), Some(value), "{}", request.text());
        }
        conn.wire.send(ACCEPTED);
    });
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    let response = client.response();
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("chat")));
    client.expect_end();
}
