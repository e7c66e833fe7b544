//! WebSocket (RFC 6455): an upgrade that is checked, then binary messages to a server that sends each one back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway_http::h1::{HeadLimits, Parse};
use ringway_http::head::{Method, ResponseHead, Upgrade};
use sha1::{Digest, Sha1};

use super::{Progress, Protocol, Reply};
use crate::arrivals::Random;
use crate::plan::{Request, Wire};
use crate::tally::Cause;

/// What a server hashes behind the key (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Payload of a control frame (§5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// The opcodes of §5.2.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// An echo.
pub struct WebSocketEcho<'a> {
    message: &'a [u8],
    random: Random,
    head: ResponseHead,
}

/// A connection.
#[derive(Debug, Default)]
pub struct Stream {
    handshake: Handshake,
    frame: Frame,
    /// Bytes of the message that have come back, and whether they are those that were sent.
    echoed: usize,
    differs: bool,
    /// A message has begun and not ended: what follows is a continuation.
    within: bool,
}

#[derive(Debug, Default)]
enum Handshake {
    #[default]
    None,
    /// The answer that is awaited, and what has come of the reply.
    Asked {
        accept: String,
        head: Vec<u8>,
        scanned: usize,
    },
    Done,
}

/// A frame that is being read: its head, then its payload.
#[derive(Debug, Default)]
struct Frame {
    head: [u8; 10],
    have: usize,
    left: u64,
    /// Of a ping, which is sent back.
    control: Vec<u8>,
}

/// What a frame's head says.
struct FrameHead {
    opcode: u8,
    is_final: bool,
    length: u64,
}

impl<'a> WebSocketEcho<'a> {
    /// With this message; the seed makes keys and masks.
    pub fn new(message: &'a [u8], seed: u64) -> WebSocketEcho<'a> {
        WebSocketEcho { message, random: Random::new(seed), head: ResponseHead::default() }
    }

    fn read_handshake(&mut self, stream: &mut Stream, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        let Handshake::Asked { accept, head, scanned } = &mut stream.handshake else { return Progress::More };
        head.extend_from_slice(bytes);
        let rest = match self.head.parse(head, std::mem::take(scanned), Method::Get, &HeadLimits::default()) {
            Ok(Parse::Complete) => head[self.head.len..].to_vec(),
            Ok(Parse::Partial { scanned: so_far }) => {
                *scanned = so_far;
                return Progress::More;
            }
            Err(_) => return Progress::Broken(Cause::Malformed),
        };
        if self.head.status != 101 {
            return Progress::Broken(Cause::Status);
        }
        let field = self.head.fields.named(head, b"sec-websocket-accept").next();
        let answer = field.map(|field| field.value.of(head));
        if self.head.upgrade != Upgrade::WebSocket || answer != Some(accept.as_bytes()) {
            return Progress::Broken(Cause::Check);
        }
        stream.handshake = Handshake::Done;
        // A ping may follow at once; a message is not an answer to anything.
        if self.read_idle(stream, &rest, out) { Progress::Open } else { Progress::Broken(Cause::Malformed) }
    }

    /// A frame as clients send it (§5.3): masked with a key of its own.
    fn frame(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        out.push(FINAL | opcode);
        match payload.len() {
            len @ 0..=125 => out.push(MASKED | len as u8),
            len @ 126..=0xffff => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(MASKED | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let key = (self.random.bits() as u32).to_ne_bytes();
        out.extend_from_slice(&key);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Reads frames until the bytes are used up or a message has ended. How many bytes were used, and what came of them; `None` where more is needed.
    fn read_frames(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> (usize, Option<Result<(), Cause>>) {
        let mut at = 0;
        while at < bytes.len() {
            if !stream.frame.is_whole_head() {
                at += stream.frame.read_head(&bytes[at..]);
                if !stream.frame.is_whole_head() {
                    break;
                }
                match stream.frame.head() {
                    Ok(head) if fits(&head, stream.within) => stream.frame.left = head.length,
                    _ => return (at, Some(Err(Cause::Malformed))),
                }
            }
            let len = usize::try_from(stream.frame.left).unwrap_or(usize::MAX).min(bytes.len() - at);
            let payload = &bytes[at..at + len];
            at += len;
            stream.frame.left -= len as u64;
            let Ok(head) = stream.frame.head() else { return (at, Some(Err(Cause::Malformed))) };
            match head.opcode {
                CLOSE => return (at, Some(Err(if stream.echoed == 0 { Cause::Closed } else { Cause::ShortReply }))),
                PING => stream.frame.control.extend_from_slice(payload),
                PONG => {}
                _ => {
                    stream.within = true;
                    let expected = self.message.get(stream.echoed..stream.echoed.saturating_add(len));
                    stream.differs |= expected != Some(payload);
                    stream.echoed = stream.echoed.saturating_add(len);
                }
            }
            if stream.frame.left > 0 {
                break;
            }
            if head.opcode == PING {
                let payload = std::mem::take(&mut stream.frame.control);
                self.frame(PONG, &payload, out);
            }
            stream.frame.have = 0;
            if head.opcode < CLOSE && head.is_final {
                stream.within = false;
                return (at, Some(Ok(())));
            }
        }
        (at, None)
    }
}

impl Protocol for WebSocketEcho<'_> {
    type Stream = Stream;
    const HANDSHAKE: bool = true;

    fn greet(&mut self, stream: &mut Stream, request: &Request, out: &mut Vec<u8>) {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.random.bits().to_ne_bytes());
        key[8..].copy_from_slice(&self.random.bits().to_ne_bytes());
        let key = STANDARD.encode(key);
        let accept = STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize());
        *stream = Stream { handshake: Handshake::Asked { accept, head: Vec::new(), scanned: 0 }, ..Stream::default() };
        if let Wire::Fixed(head) = &request.wire {
            // Before the blank line.
            out.extend_from_slice(head.strip_suffix(b"\r\n").unwrap_or(head));
            out.extend_from_slice(format!("Sec-WebSocket-Key: {key}\r\n\r\n").as_bytes());
        }
    }

    fn ask(&mut self, _: &mut Stream, _: &Request, _: &[String], out: &mut Vec<u8>) -> Option<&'static [u8]> {
        self.frame(BINARY, self.message, out);
        None
    }

    fn read(&mut self, stream: &mut Stream, _: &Request, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        if !matches!(stream.handshake, Handshake::Done) {
            return self.read_handshake(stream, bytes, out);
        }
        match self.read_frames(stream, bytes, out) {
            (_, None) => Progress::More,
            (_, Some(Err(cause))) => Progress::Broken(cause),
            (used, Some(Ok(()))) => {
                let whole = stream.echoed == self.message.len() && !stream.differs;
                let keep_alive = self.read_idle(stream, &bytes[used..], out);
                Progress::Whole(Reply { status: None, keep_alive, fault: (!whole).then_some(Cause::Check) })
            }
        }
    }

    fn read_idle(&mut self, stream: &mut Stream, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        // Control frames are answered; a message, or a part of one, is not an answer to anything.
        self.next(stream);
        matches!(self.read_frames(stream, bytes, out), (_, None)) && !stream.within
    }

    fn end(&mut self, stream: &mut Stream, _: &Request) -> Progress {
        let nothing = stream.echoed == 0
            && match &stream.handshake {
                Handshake::Asked { head, .. } => head.is_empty(),
                _ => !stream.within,
            };
        Progress::Broken(if nothing { Cause::Closed } else { Cause::ShortReply })
    }

    fn next(&mut self, stream: &mut Stream) {
        (stream.echoed, stream.differs) = (0, false);
    }
}

/// Whether a frame may come now (§5.2, §5.4, §5.5).
fn fits(head: &FrameHead, within: bool) -> bool {
    match head.opcode {
        CONTINUATION => within,
        TEXT | BINARY => !within,
        CLOSE | PING | PONG => head.is_final && head.length <= CONTROL_BYTES_MAX,
        _ => false,
    }
}

impl Frame {
    /// Bytes of the head, as far as it is known.
    fn head_len(&self) -> usize {
        match (self.have, self.head[1] & 0x7f) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    fn is_whole_head(&self) -> bool {
        self.have >= 2 && self.have == self.head_len()
    }

    fn read_head(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while !self.is_whole_head() && used < bytes.len() {
            self.head[self.have] = bytes[used];
            self.have += 1;
            used += 1;
        }
        used
    }

    /// What the head says; servers neither mask nor use the reserved bits.
    fn head(&self) -> Result<FrameHead, Cause> {
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 || second & MASKED != 0 {
            return Err(Cause::Malformed);
        }
        let number = self.head[2..self.have].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let length = if second < 126 { u64::from(second) } else { number };
        Ok(FrameHead { opcode: first & 0x0f, is_final: first & FINAL != 0, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Request;

    /// RFC 6455 §1.3: the answer to a key.
    fn answer(greeting: &str) -> String {
        let key = greeting.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize())
    }

    fn switching(accept: &str) -> Vec<u8> {
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
            .into_bytes()
    }

    fn request() -> Request {
        Request::of_message("echo", b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
    }

    /// A protocol and a connection whose handshake is over.
    fn open(message: &[u8]) -> (WebSocketEcho<'_>, Stream) {
        let (mut protocol, mut stream, mut out) = (WebSocketEcho::new(message, 1), Stream::default(), Vec::new());
        protocol.greet(&mut stream, &request(), &mut out);
        let accept = answer(std::str::from_utf8(&out).unwrap());
        out.clear();
        assert_eq!(protocol.read(&mut stream, &request(), &switching(&accept), &mut out), Progress::Open);
        assert!(out.is_empty());
        (protocol, stream)
    }

    #[test]
    fn the_upgrade_is_checked() {
        let right = |accept: &str| switching(accept);
        let other_key = |_: &str| switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let refused = |_: &str| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec();
        let plain = |_: &str| b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let ping = |accept: &str| [&switching(accept)[..], b"\x89\x00"].concat();
        let message = |accept: &str| [&switching(accept)[..], b"\x81\x01x"].concat();
        type Answer<'a> = &'a dyn Fn(&str) -> Vec<u8>;
        let cases: [(Answer, Progress); 6] = [
            (&right, Progress::Open),
            (&ping, Progress::Open),
            (&message, Progress::Broken(Cause::Malformed)),
            (&other_key, Progress::Broken(Cause::Check)),
            (&refused, Progress::Broken(Cause::Status)),
            (&plain, Progress::Broken(Cause::Malformed)),
        ];
        for (reply, expected) in cases {
            let (mut protocol, mut stream, mut out) = (WebSocketEcho::new(b"hi", 1), Stream::default(), Vec::new());
            protocol.greet(&mut stream, &request(), &mut out);
            let greeting = String::from_utf8(std::mem::take(&mut out)).unwrap();
            assert!(greeting.starts_with("GET / HTTP/1.1\r\n") && greeting.ends_with("=\r\n\r\n"), "{greeting}");
            let reply = reply(&answer(&greeting));
            let (first, rest) = reply.split_at(20);
            assert_eq!(protocol.read(&mut stream, &request(), first, &mut out), Progress::More);
            let got = protocol.read(&mut stream, &request(), rest, &mut out);
            assert_eq!(got, expected, "{}", String::from_utf8_lossy(&reply));
        }
    }

    #[test]
    fn messages_are_masked_with_a_length_of_each_size() {
        for (len, head) in
            [(5, &[0x82, 0x85][..]), (300, &[0x82, 0xfe, 1, 44]), (70_000, &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 17, 112])]
        {
            let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let (mut protocol, mut stream) = open(&message);
            let mut out = Vec::new();
            assert_eq!(protocol.ask(&mut stream, &request(), &[], &mut out), None);
            assert_eq!(&out[..head.len()], head, "{len} bytes");
            let (key, payload) = out[head.len()..].split_at(4);
            let plain: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert!(plain == message && payload != message, "{len} bytes");
        }
    }

    #[test]
    fn frames_are_read_in_pieces_of_any_size() {
        let whole = |keep_alive, fault| Progress::Whole(Reply { status: None, keep_alive, fault });
        let cases: [(&[u8], Progress); 14] = [
            (b"\x82\x05hello", whole(true, None)),
            (b"\x81\x05hello", whole(true, None)),
            (b"\x82\x7e\x00\x05hello", whole(true, None)),
            (b"\x02\x02he\x89\x01?\x00\x00\x80\x03llo", whole(true, None)),
            (b"\x8a\x00\x82\x05hello\x8a\x00", whole(true, None)),
            (b"\x82\x05hallo", whole(true, Some(Cause::Check))),
            (b"\x82\x04hell", whole(true, Some(Cause::Check))),
            (b"\x82\x06hello!", whole(true, Some(Cause::Check))),
            (b"\x88\x02\x03\xe8", Progress::Broken(Cause::Closed)),
            (b"\x02\x02he\x88\x00", Progress::Broken(Cause::ShortReply)),
            // Masked; a reserved bit; a continuation of nothing; a ping that is too long.
            (b"\x82\x85\0\0\0\0hello", Progress::Broken(Cause::Malformed)),
            (b"\xc2\x05hello", Progress::Broken(Cause::Malformed)),
            (b"\x80\x05hello", Progress::Broken(Cause::Malformed)),
            (b"\x89\x7e\x00\x80", Progress::Broken(Cause::Malformed)),
        ];
        for (bytes, expected) in cases {
            for size in [1, 2, 3, bytes.len()] {
                let (mut protocol, mut stream) = open(b"hello");
                let mut out = Vec::new();
                let mut pieces = bytes.chunks(size);
                let mut got = Progress::More;
                while got == Progress::More
                    && let Some(piece) = pieces.next()
                {
                    got = protocol.read(&mut stream, &request(), piece, &mut out);
                }
                assert_eq!(got, expected, "{bytes:x?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn pings_are_answered_and_a_message_that_nobody_asked_for_ends_the_connection() {
        let (mut protocol, mut stream) = open(b"hello");
        let mut out = Vec::new();
        assert!(protocol.read_idle(&mut stream, b"\x89\x02ab", &mut out));
        let (head, key, payload) = (&out[..2], &out[2..6], &out[6..]);
        assert_eq!((head, payload), (&[0x8a, 0x82][..], &[b'a' ^ key[0], b'b' ^ key[1]][..]));
        assert!(!protocol.read_idle(&mut stream, b"\x82\x01x", &mut out));
        let (mut protocol, mut stream) = open(b"hello");
        let got = protocol.read(&mut stream, &request(), b"\x82\x05hello\x82\x01x", &mut out);
        assert_eq!(got, Progress::Whole(Reply { status: None, keep_alive: false, fault: None }));
    }
}
