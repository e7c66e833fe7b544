//! A WebSocket (RFC 6455) that sends every message back: as much as shows that upgrades survive the mesh.

use base64::Engine as _;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest payload of one frame.
const FRAME_BYTES_MAX: u64 = 1 << 20;
/// RFC 6455 section 1.3: appended to the client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// RFC 6455 section 7.4.1.
const STATUS_PROTOCOL_ERROR: u16 = 1002;
const STATUS_TOO_BIG: u16 = 1009;

/// The headers of the 101 answer, if these ask for a WebSocket that we can speak.
pub fn handshake(headers: &HeaderMap) -> Option<[(hyper::header::HeaderName, HeaderValue); 3]> {
    let says = |name, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let asked = says(UPGRADE, "websocket") && says(CONNECTION, "upgrade") && says(SEC_WEBSOCKET_VERSION, "13");
    let accept = HeaderValue::from_str(&accept_value(key)).ok()?;
    asked.then(|| {
        [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accept),
        ]
    })
}

fn accept_value(key: &str) -> String {
    let digest = Sha1::new().chain_update(key.trim().as_bytes()).chain_update(GUID).finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Echoes until either side closes.
pub async fn echo(upgraded: Upgraded) {
    let mut stream = TokioIo::new(upgraded);
    // An error here is the peer's end.
    let _ = echo_frames(&mut stream).await;
    let _ = stream.shutdown().await;
}

async fn echo_frames(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    // Grows with the largest frame seen: a thousand idle sockets cost next to nothing.
    let mut payload = Vec::new();
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await?;
        let opcode = head[0] & 0x0f;
        // Section 5.1: a client's frame is masked, or the connection fails. No extension was agreed on, so reserved bits are 0.
        if head[1] & 0x80 == 0 || head[0] & 0x70 != 0 || matches!(opcode, 3..=7 | 11..=15) {
            return close(stream, STATUS_PROTOCOL_ERROR).await;
        }
        let length = match head[1] & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        // Section 5.5: control frames are short and whole.
        if opcode >= CLOSE && (length > 125 || head[0] & 0x80 == 0) {
            return close(stream, STATUS_PROTOCOL_ERROR).await;
        }
        let Some(length) = usize::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX) else {
            return close(stream, STATUS_TOO_BIG).await;
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        payload.resize(length, 0);
        stream.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let first = match opcode {
            PING => 0x80 | PONG,
            PONG => continue,
            _ => head[0],
        };
        send(stream, first, &payload).await?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

async fn close(stream: &mut (impl AsyncWrite + Unpin), status: u16) -> std::io::Result<()> {
    send(stream, 0x80 | CLOSE, &status.to_be_bytes()).await
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(first);
    match payload.len() {
        short @ ..126 => frame.push(short as u8),
        medium @ ..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_example_key() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    async fn reply_to(frame: &[u8]) -> Vec<u8> {
        let (mut near, mut far) = tokio::io::duplex(4096);
        near.write_all(frame).await.unwrap();
        near.shutdown().await.unwrap();
        let _ = echo_frames(&mut far).await;
        drop(far);
        let mut reply = Vec::new();
        near.read_to_end(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn frames_come_back_unmasked() {
        let table: [(&str, &[u8], &[u8]); 6] = [
            ("text", &[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2], &[0x81, 2, b'h', b'i']),
            ("ping", &[0x89, 0x81, 0, 0, 0, 0, b'p'], &[0x8a, 1, b'p']),
            ("close", &[0x88, 0x80, 0, 0, 0, 0], &[0x88, 0]),
            ("unmasked", &[0x81, 0x01, b'x'], &[0x88, 2, 3, 0xea]),
            ("too big", &[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], &[0x88, 2, 3, 0xf1]),
            ("fragmented ping", &[0x09, 0x80, 0, 0, 0, 0], &[0x88, 2, 3, 0xea]),
        ];
        for (name, frame, reply) in table {
            assert_eq!(reply_to(frame).await, reply, "{name}");
        }
    }
}
