//! What the five forwarders share: their command line, and where an HTTP/1.1 message ends. No I/O but the splice of the two bare ones.
//!
//! A yardstick forwards bytes as they are. Of a head it reads only what says where the message ends and whether the connection may be used again
//! (RFC 9112 §6.3, §9.3). It does not edit, route, count, log or time out, takes no pipelined requests, and answers nothing itself: whatever is wrong
//! ends both connections. A reply is read after the whole request has been sent.

pub mod splice;

use std::net::SocketAddr;

/// Header lines of one head.
const FIELDS_MAX: usize = 64;
/// Bytes of one head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What a receive takes at most where nothing else is said.
const BUFFER_BYTES: usize = 16 << 10;

/// The command line: `--listen ADDR --upstream ADDR [--tcp] [--splice] [--buffer-bytes N]`.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to forward to.
    pub upstream: SocketAddr,
    /// Opaque bytes: no look into them.
    pub tcp: bool,
    /// Move bytes inside the kernel (with `tcp`).
    pub splice: bool,
    /// Bytes of one receive.
    pub buffer_bytes: usize,
}

impl Options {
    /// Reads the command line; a mistake ends the process.
    pub fn from_args() -> Options {
        Options::parse(std::env::args().skip(1)).unwrap_or_else(|mistake| {
            eprintln!(
                "error: {mistake}\nusage: --listen ADDR:PORT --upstream ADDR:PORT [--tcp [--splice]] [--buffer-bytes N]"
            );
            std::process::exit(2);
        })
    }

    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut listen, mut upstream) = (None, None);
        let (mut tcp, mut splice, mut buffer_bytes) = (false, false, BUFFER_BYTES);
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or(format!("{flag}: its value is missing"));
            match flag.as_str() {
                "--listen" => listen = Some(value()?.parse().map_err(|e| format!("--listen: {e}"))?),
                "--upstream" => upstream = Some(value()?.parse().map_err(|e| format!("--upstream: {e}"))?),
                "--buffer-bytes" => buffer_bytes = value()?.parse().map_err(|e| format!("--buffer-bytes: {e}"))?,
                "--tcp" => tcp = true,
                "--splice" => splice = true,
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        if splice && !tcp {
            return Err("--splice: only with --tcp".into());
        }
        if !(1 << 10..=16 << 20).contains(&buffer_bytes) {
            return Err("--buffer-bytes: from 1024 to 16777216".into());
        }
        let listen = listen.ok_or("--listen is missing")?;
        Ok(Options { listen, upstream: upstream.ok_or("--upstream is missing")?, tcp, splice, buffer_bytes })
    }
}

/// The message is none, or not one that a forwarder without answers can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Follows one message to its end.
#[derive(Debug)]
pub struct Message {
    kind: Kind,
    at: At,
    /// Of a head, or of a line of chunked framing, that came in pieces.
    held: Vec<u8>,
    /// The connection may be used again.
    pub keep_alive: bool,
    /// A request with HEAD: its reply has no body.
    pub is_head: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Reply { to_head: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// Bytes left.
    Body(u64),
    /// Data of a chunk with its CRLF: bytes left.
    Chunk(u64),
    ChunkLine,
    Trailers,
    UntilClose,
    Done,
}

impl Message {
    /// A request that has not begun.
    pub fn request() -> Message {
        Message { kind: Kind::Request, at: At::Head, held: Vec::new(), keep_alive: true, is_head: false }
    }

    /// The reply to a request.
    pub fn reply(to_head: bool) -> Message {
        Message { kind: Kind::Reply { to_head }, ..Message::request() }
    }

    /// Takes bytes that arrived; true once the message is whole. Bytes behind its end are a mistake.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Malformed> {
        while !bytes.is_empty() {
            match self.at {
                At::Done => return Err(Malformed),
                At::UntilClose => return Ok(false),
                At::Body(left) | At::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.at = match (self.at, left - taken) {
                        (At::Body(_), 0) => At::Done,
                        (At::Body(_), left) => At::Body(left),
                        (_, 0) => At::ChunkLine,
                        (_, left) => At::Chunk(left),
                    };
                }
                At::Head => bytes = self.head(bytes)?,
                At::ChunkLine | At::Trailers => bytes = self.line(bytes)?,
            }
        }
        Ok(self.at == At::Done)
    }

    /// The peer ended its stream: true when that ends the message.
    pub fn end(&self) -> bool {
        self.at == At::UntilClose
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let before = self.held.len();
        let taken = if before == 0 {
            // Mostly a head comes in one piece, and is read where it lies.
            self.parse(bytes)?
        } else {
            self.held.extend_from_slice(bytes);
            let held = std::mem::take(&mut self.held);
            let taken = self.parse(&held)?;
            self.held = if taken.is_some() { Vec::new() } else { held };
            taken
        };
        match taken {
            Some(length) => Ok(&bytes[length - before..]),
            None if before + bytes.len() > HEAD_BYTES_MAX => Err(Malformed),
            None => {
                if before == 0 {
                    self.held = bytes.to_vec();
                }
                Ok(&[])
            }
        }
    }

    /// The length of a whole head, and what follows it.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let length = match self.kind {
            Kind::Request => {
                let mut request = httparse::Request::new(&mut fields);
                let httparse::Status::Complete(length) = request.parse(bytes).map_err(|_| Malformed)? else {
                    return Ok(None);
                };
                self.is_head = request.method == Some("HEAD");
                self.follow(request.headers, request.version, 0)?;
                length
            }
            Kind::Reply { .. } => {
                let mut reply = httparse::Response::new(&mut fields);
                let httparse::Status::Complete(length) = reply.parse(bytes).map_err(|_| Malformed)? else {
                    return Ok(None);
                };
                self.follow(reply.headers, reply.version, reply.code.unwrap_or(0))?;
                length
            }
        };
        Ok(Some(length))
    }

    /// From a head's fields: how long the body is, and whether the connection stays.
    fn follow(&mut self, fields: &[httparse::Header<'_>], version: Option<u8>, status: u16) -> Result<(), Malformed> {
        let (mut length, mut chunked) = (None, false);
        self.keep_alive = version == Some(1);
        for field in fields {
            if field.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(field.value)
                    .ok()
                    .and_then(|value| value.parse::<u64>().ok())
                    .ok_or(Malformed)?;
                if length.replace(value).is_some_and(|other| other != value) {
                    return Err(Malformed);
                }
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = field.value.eq_ignore_ascii_case(b"chunked");
                if !chunked {
                    return Err(Malformed);
                }
            } else if field.name.eq_ignore_ascii_case("connection") {
                let has = |word: &[u8]| {
                    field.value.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
                };
                self.keep_alive = (self.keep_alive || has(b"keep-alive")) && !has(b"close");
            }
        }
        self.at = match (self.kind, length, chunked) {
            (_, Some(_), true) => return Err(Malformed),
            // 101 leaves HTTP: not the business of a yardstick.
            (Kind::Reply { .. }, ..) if status == 101 => return Err(Malformed),
            (Kind::Reply { .. }, ..) if (100..200).contains(&status) => At::Head,
            (Kind::Reply { to_head: true }, ..) => At::Done,
            (Kind::Reply { .. }, ..) if status == 204 || status == 304 => At::Done,
            (_, Some(0), _) | (Kind::Request, None, false) => At::Done,
            (_, Some(length), _) => At::Body(length),
            (_, None, true) => At::ChunkLine,
            (Kind::Reply { .. }, None, false) => {
                self.keep_alive = false;
                At::UntilClose
            }
        };
        Ok(())
    }

    /// One line of chunked framing, perhaps in pieces.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            self.held.extend_from_slice(bytes);
            return if self.held.len() > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(&[]) };
        };
        self.held.extend_from_slice(&bytes[..end]);
        let line = self.held.strip_suffix(b"\r").ok_or(Malformed)?;
        self.at = match self.at {
            At::Trailers if line.is_empty() => At::Done,
            At::Trailers => At::Trailers,
            _ => {
                let digits = line.split(|b| *b == b';').next().unwrap_or(line).trim_ascii();
                let digits = std::str::from_utf8(digits).map_err(|_| Malformed)?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(Malformed);
                }
                match u64::from_str_radix(digits, 16).map_err(|_| Malformed)? {
                    0 => At::Trailers,
                    // The data and its CRLF.
                    size => At::Chunk(size.checked_add(2).ok_or(Malformed)?),
                }
            }
        };
        self.held.clear();
        Ok(&bytes[end + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the same message whole, and cut at every place.
    fn ends(message: impl Fn() -> Message, text: &str) -> (Result<bool, Malformed>, bool) {
        let mut whole = message();
        let result = whole.feed(text.as_bytes());
        for cut in 1..text.len() {
            let mut pieces = message();
            let first = pieces.feed(&text.as_bytes()[..cut]);
            let both = first.and_then(|_| pieces.feed(&text.as_bytes()[cut..]));
            assert_eq!(
                (both, pieces.end(), pieces.keep_alive),
                (result, whole.end(), whole.keep_alive),
                "{text:?} cut at {cut}"
            );
        }
        (result, whole.keep_alive)
    }

    #[test]
    fn requests_end_where_they_end() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", (Ok(true), true)),
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (Ok(true), false)),
            ("GET / HTTP/1.0\r\n\r\n", (Ok(true), false)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", (Ok(true), true)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", (Ok(false), true)),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nab\r\nc\r\n0\r\nT: v\r\n\r\n",
                (Ok(true), true),
            ),
        ] {
            assert_eq!(ends(Message::request, text), expected, "{text:?}");
        }
    }

    #[test]
    fn replies_end_where_they_end() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (Ok(true), true)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (Ok(true), true)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", (Ok(true), true)),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", (Ok(false), false)),
        ] {
            assert_eq!(ends(|| Message::reply(false), text), expected, "{text:?}");
        }
        let mut reply = Message::reply(true);
        assert_eq!(reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), Ok(true));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\nGET /",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\n",
            "\0",
        ] {
            assert_eq!(Message::request().feed(text.as_bytes()), Err(Malformed), "{text:?}");
        }
    }
}
