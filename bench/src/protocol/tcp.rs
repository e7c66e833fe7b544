//! Messages over TCP, to a server that sends back what it gets.

use super::{Progress, Protocol, Reply};
use crate::plan::Request;
use crate::tally::Cause;

/// An echo.
#[derive(Debug)]
pub struct TcpEcho {
    message: &'static [u8],
}

/// How much of the message has come back.
#[derive(Debug, Default)]
pub struct Echoed {
    bytes: usize,
    differs: bool,
}

impl TcpEcho {
    /// With this message.
    pub fn new(message: &'static [u8]) -> TcpEcho {
        TcpEcho { message }
    }
}

impl Protocol for TcpEcho {
    type Stream = Echoed;
    const HANDSHAKE: bool = false;

    fn ask(&mut self, _: &mut Echoed, _: &Request, _: &[String], _: &mut Vec<u8>) -> Option<&'static [u8]> {
        Some(self.message)
    }

    fn read(&mut self, stream: &mut Echoed, _: &Request, bytes: &[u8], _: &mut Vec<u8>) -> Progress {
        let expected = &self.message[stream.bytes..];
        let len = bytes.len().min(expected.len());
        stream.differs |= bytes[..len] != expected[..len];
        stream.bytes += len;
        if stream.bytes < self.message.len() {
            return Progress::More;
        }
        Progress::Whole(Reply {
            status: None,
            keep_alive: bytes.len() == len,
            fault: stream.differs.then_some(Cause::Check),
        })
    }

    fn end(&mut self, stream: &mut Echoed, _: &Request) -> Progress {
        Progress::Broken(if stream.bytes == 0 { Cause::Closed } else { Cause::ShortReply })
    }

    fn next(&mut self, stream: &mut Echoed) {
        *stream = Echoed::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Request;

    #[test]
    fn an_echo_is_whole_when_every_byte_has_come_back() {
        let request = Request::of_message("echo", b"hello");
        let whole = |keep_alive, fault| Progress::Whole(Reply { status: None, keep_alive, fault });
        for (pieces, expected) in [
            (&[&b"hello"[..]][..], whole(true, None)),
            (&[b"he", b"l", b"lo"], whole(true, None)),
            (&[b"hex", b"lo"], whole(true, Some(Cause::Check))),
            (&[b"hello!"], whole(false, None)),
            (&[b"hel"], Progress::Broken(Cause::ShortReply)),
            (&[], Progress::Broken(Cause::Closed)),
        ] {
            let (mut protocol, mut stream, mut out) = (TcpEcho::new(b"hello"), Echoed::default(), Vec::new());
            assert_eq!(protocol.ask(&mut stream, &request, &[], &mut out), Some(&b"hello"[..]));
            let mut progress = Progress::More;
            for piece in pieces {
                assert_eq!(progress, Progress::More);
                progress = protocol.read(&mut stream, &request, piece, &mut out);
            }
            if progress == Progress::More {
                progress = protocol.end(&mut stream, &request);
            }
            assert_eq!(progress, expected, "{pieces:?}");
        }
    }
}
