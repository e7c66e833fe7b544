//! HTTP/1.1: reads replies and says what was wrong with them.

use ringway_http::h1::{BodyDecoder, HeadLimits, Output, Parse};
use ringway_http::head::{Framing, Method, ResponseHead};
use sha2::{Digest, Sha256};

use super::{Progress, Protocol, Reply};
use crate::plan::{Expect, Request, Wire, fill};
use crate::tally::Cause;

/// What a connection has read of its reply.
#[derive(Default)]
pub struct Reader {
    /// Of a head that came in pieces.
    pending: Vec<u8>,
    scanned: usize,
    body: Option<Body>,
}

struct Body {
    decoder: BodyDecoder,
    status: u16,
    keep_alive: bool,
    good: bool,
    digest: Option<Sha256>,
}

/// HTTP/1.1.
#[derive(Default)]
pub struct Http1 {
    head: ResponseHead,
}

impl Protocol for Http1 {
    type Stream = Reader;
    const HANDSHAKE: bool = false;

    fn ask(&mut self, _: &mut Reader, request: &Request, row: &[String], out: &mut Vec<u8>) -> Option<&'static [u8]> {
        match &request.wire {
            Wire::Fixed(bytes) => Some(bytes),
            Wire::Filled(parts) => {
                fill(parts, row, out);
                None
            }
        }
    }

    fn read(&mut self, stream: &mut Reader, request: &Request, bytes: &[u8], _: &mut Vec<u8>) -> Progress {
        stream.read(bytes, &mut self.head, request.method, &request.expect)
    }

    fn end(&mut self, stream: &mut Reader, request: &Request) -> Progress {
        stream.end(&request.expect)
    }

    fn next(&mut self, stream: &mut Reader) {
        stream.reset();
    }
}

impl Reader {
    /// Ready for the next reply.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.scanned = 0;
        self.body = None;
    }

    /// Takes bytes that arrived. `head` is scratch memory.
    pub fn read(&mut self, bytes: &[u8], head: &mut ResponseHead, method: Method, expect: &Expect) -> Progress {
        if self.body.is_some() {
            return self.read_body(bytes, expect);
        }
        if self.pending.is_empty() {
            return self.read_heads(bytes, head, method, expect);
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let progress = self.read_heads(&pending, head, method, expect);
        if self.pending.is_empty() {
            // Its memory is for the next head that comes in pieces.
            pending.clear();
            self.pending = pending;
        }
        progress
    }

    /// The peer ended the stream: the end of a body that has no other.
    pub fn end(&mut self, expect: &Expect) -> Progress {
        match self.body.take() {
            None if self.pending.is_empty() => Progress::Broken(Cause::Closed),
            None => Progress::Broken(Cause::ShortReply),
            Some(body) if body.decoder.on_eof().is_ok() => {
                Progress::Whole(Reply { keep_alive: false, ..verdict(body, expect) })
            }
            Some(_) => Progress::Broken(Cause::ShortReply),
        }
    }

    fn read_heads(&mut self, mut bytes: &[u8], head: &mut ResponseHead, method: Method, expect: &Expect) -> Progress {
        loop {
            match head.parse(bytes, std::mem::take(&mut self.scanned), method, &HeadLimits::default()) {
                Ok(Parse::Complete) => {}
                Ok(Parse::Partial { scanned }) => {
                    self.scanned = scanned;
                    self.pending = bytes.to_vec();
                    return Progress::More;
                }
                Err(_) => return Progress::Broken(Cause::Malformed),
            }
            let rest = &bytes[head.len..];
            if !(100..200).contains(&head.status) {
                let good = expect.headers.iter().all(|(name, value)| {
                    head.fields.named(bytes, name.as_bytes()).any(|field| field.value.of(bytes) == value.as_bytes())
                });
                self.body = Some(Body {
                    decoder: BodyDecoder::new(head.framing, Output::Data),
                    status: head.status,
                    keep_alive: head.keep_alive && head.framing != Framing::UntilClose,
                    good,
                    digest: expect.body_sha256.is_some().then(Sha256::new),
                });
                return self.read_body(rest, expect);
            }
            bytes = rest;
            if bytes.is_empty() {
                return Progress::More;
            }
        }
    }

    fn read_body(&mut self, bytes: &[u8], expect: &Expect) -> Progress {
        let Some(body) = &mut self.body else { return Progress::More };
        let mut at = 0;
        while !body.decoder.is_done() && at < bytes.len() {
            let Ok(decoded) = body.decoder.decode(&bytes[at..]) else { return Progress::Broken(Cause::Malformed) };
            if let Some(digest) = &mut body.digest {
                digest.update(&bytes[at + decoded.forward.start..at + decoded.forward.end]);
            }
            at += decoded.consumed;
        }
        match self.body.take_if(|body| body.decoder.is_done()) {
            None => Progress::More,
            Some(body) => {
                let reply = verdict(body, expect);
                Progress::Whole(Reply { keep_alive: reply.keep_alive && at == bytes.len(), ..reply })
            }
        }
    }
}

fn verdict(body: Body, expect: &Expect) -> Reply {
    let bytes = body.decoder.data_bytes();
    let hash = body.digest.map(|digest| <[u8; 32]>::from(digest.finalize()));
    let fault = if !expect.status_is_good(body.status) {
        Some(Cause::Status)
    } else if !body.good || hash != expect.body_sha256 || expect.body_bytes.is_some_and(|wanted| wanted != bytes) {
        Some(Cause::Check)
    } else {
        None
    };
    Reply { status: Some(body.status), keep_alive: body.keep_alive, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_pieces(bytes: &[u8], piece: usize, expect: &Expect) -> Progress {
        let (mut reader, mut head) = (Reader::default(), ResponseHead::default());
        for part in bytes.chunks(piece) {
            match reader.read(part, &mut head, Method::Get, expect) {
                Progress::More => {}
                other => return other,
            }
        }
        reader.end(expect)
    }

    #[test]
    fn replies_are_read_in_pieces_of_any_size() {
        let any = Expect::default();
        let whole = |status, keep_alive, fault| Progress::Whole(Reply { status: Some(status), keep_alive, fault });
        let cases: [(&[u8], Progress); 9] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", whole(200, true, None)),
            (b"HTTP/1.1 204 No Content\r\n\r\n", whole(204, true, None)),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", whole(200, true, None)),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", whole(200, true, None)),
            (
                b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                whole(503, false, Some(Cause::Status)),
            ),
            (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", whole(200, false, None)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Progress::Broken(Cause::ShortReply)),
            (b"HTTP/1.1 200 OK\r\nContent-Le", Progress::Broken(Cause::ShortReply)),
            (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Progress::Broken(Cause::Malformed)),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 2, 7, bytes.len()] {
                let got = read_in_pieces(bytes, piece, &any);
                assert_eq!(got, expected, "{:?} in pieces of {piece}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn checks_of_status_header_length_and_body() {
        let reply = b"HTTP/1.1 200 OK\r\nX-Kind: tea\r\nContent-Length: 3\r\n\r\ncup";
        let hash = <[u8; 32]>::from(Sha256::digest(b"cup"));
        let header = |value: &str| vec![("x-kind".to_string(), value.to_string())];
        let cases = [
            (Expect::default(), None),
            (Expect { statuses: vec![201], ..Expect::default() }, Some(Cause::Status)),
            (Expect { headers: header("tea"), ..Expect::default() }, None),
            (Expect { headers: header("mate"), ..Expect::default() }, Some(Cause::Check)),
            (Expect { body_sha256: Some(hash), ..Expect::default() }, None),
            (Expect { body_sha256: Some([0; 32]), ..Expect::default() }, Some(Cause::Check)),
            (Expect { body_bytes: Some(3), ..Expect::default() }, None),
            (Expect { body_bytes: Some(4), ..Expect::default() }, Some(Cause::Check)),
        ];
        for (expect, fault) in cases {
            let got = read_in_pieces(reply, 5, &expect);
            assert_eq!(got, Progress::Whole(Reply { status: Some(200), keep_alive: true, fault }), "{expect:?}");
        }
    }

    #[test]
    fn bytes_that_nobody_asked_for_end_the_connection() {
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n";
        let got = read_in_pieces(reply, reply.len(), &Expect::default());
        assert_eq!(got, Progress::Whole(Reply { status: Some(200), keep_alive: false, fault: None }));
    }

    #[test]
    fn a_reply_to_nothing_is_a_closed_connection() {
        assert_eq!(read_in_pieces(b"", 1, &Expect::default()), Progress::Broken(Cause::Closed));
    }
}
