//! A server of WebSocket, in plain code of its own.

use std::io::{Read, Write};

/// Reads one frame of a client; `None` at the end of the stream.
fn frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[1] & 0x80, 0x80, "clients mask");
    let mut extended = [0; 8];
    let len = match head[1] & 0x7f {
        126 => {
            stream.read_exact(&mut extended[6..]).ok()?;
            u64::from_be_bytes(extended) as usize
        }
        127 => {
            stream.read_exact(&mut extended).ok()?;
            u64::from_be_bytes(extended) as usize
        }
        len => len as usize,
    };
    let (mut key, mut payload) = ([0; 4], vec![0; len]);
    stream.read_exact(&mut key).ok()?;
    stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0], payload))
}

/// Serves one connection: pings before every third message, sends it back in two fragments, and wants each ping answered.
pub fn web_socket(mut stream: impl Read + Write, status: &str) {
    use base64::Engine;
    use sha1::{Digest, Sha1};
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nCookie: a=b\r\n"), "{head}");
    let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let reply = format!(
        "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(reply.as_bytes()).unwrap();
    let mut count = 0;
    while let Some((head, payload)) = frame(&mut stream) {
        assert_eq!(head, 0x82, "a whole binary message");
        count += 1;
        if count % 3 == 0 {
            stream.write_all(b"\x89\x02hi").unwrap();
            assert_eq!(frame(&mut stream).unwrap(), (0x8a, b"hi".to_vec()));
        }
        let (first, second) = payload.split_at(1);
        let length = (second.len() as u16).to_be_bytes();
        let frames = [&[0x02, 1][..], first, &[0x80, 126], &length, second].concat();
        stream.write_all(&frames).unwrap();
    }
}
