//! Response heads. An upstream is trusted no more than a client: what a browser would forgive is an error here (502).

use crate::h1::fields::{Seen, collect, refusal};
use crate::h1::lines::head_end;
use crate::h1::{FIELDS_CEILING, HeadError, HeadLimits, Parse, ResponseError, upgrade};
use crate::head::{Framing, Known, Method, ResponseHead, Span, Upgrade, Version};
use std::mem::MaybeUninit;

/// `HTTP/1.1 200`.
const STATUS_LINE_START_LEN: usize = 12;

impl ResponseHead {
    /// Parses the head that `bytes` starts with, in answer to `request`. `scanned` is what the last [`Parse::Partial`] gave, 0 at first.
    ///
    /// After `Complete`, `self.len` is the head's length with its blank line. After anything else the value says nothing. After an error the
    /// connection has to close.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        scanned: usize,
        request: Method,
        limits: &HeadLimits,
    ) -> Result<Parse, ResponseError> {
        let window = &bytes[..bytes.len().min(limits.head_bytes())];
        if let Some(b'\r' | b'\n') = window.first() {
            return Err(ResponseError::StatusLine);
        }
        if scanned == 0 {
            if self.tokenise(window, request, limits)? {
                return Ok(Parse::Complete);
            }
            head_end(window, 0)?;
        } else if let Some(end) = head_end(window, scanned)? {
            let complete = self.tokenise(&window[..end], request, limits)?;
            return if complete { Ok(Parse::Complete) } else { Err(ResponseError::StatusLine) };
        }
        if window.len() == limits.head_bytes() {
            return Err(HeadError::TooLong.into());
        }
        Ok(Parse::Partial { scanned: window.len() })
    }

    /// Reads a head that may be whole; false if it is not.
    fn tokenise(&mut self, bytes: &[u8], request: Method, limits: &HeadLimits) -> Result<bool, ResponseError> {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines[..limits.fields()]);
        let len = match parsed {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(error) => return Err(refused(bytes, error)),
        };
        let (Some(minor), Some(status)) = (response.version, response.code) else {
            return Err(ResponseError::StatusLine);
        };
        if status < 100 {
            return Err(ResponseError::StatusInvalid);
        }
        self.len = len;
        self.status = status;
        self.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        self.interpret(&bytes[..len], response.headers, request)?;
        Ok(true)
    }

    /// What a well-formed head means.
    fn interpret(
        &mut self,
        bytes: &[u8],
        headers: &[httparse::Header<'_>],
        request: Method,
    ) -> Result<(), ResponseError> {
        let seen = collect(bytes, headers, bytes.len() - 2, &mut self.fields)?;
        self.reason = self.reason(bytes);
        self.framing = self.framing(&seen, request)?;
        self.keep_alive = seen.keep_alive(self.version) && self.framing != Framing::UntilClose;
        self.upgrade = match (self.status, seen.upgrade) {
            (101, _) if upgrade::accepted(bytes, &self.fields, &seen) => Upgrade::WebSocket,
            (101, _) => return Err(ResponseError::SwitchingProtocols),
            (_, Upgrade::None) => Upgrade::None,
            _ => Upgrade::Ignored,
        };
        Ok(())
    }

    /// What follows the status code on its line. Empty if even the space before it is missing, as some servers have it.
    fn reason(&self, bytes: &[u8]) -> Span {
        let line_end = self.fields.list.first().map_or(bytes.len() - 2, |first| first.line.start as usize);
        let end = (line_end - 2) as u16;
        Span { start: (STATUS_LINE_START_LEN as u16 + 1).min(end), end }
    }

    /// RFC 9112 §6.3. What the head says about a body is checked even where none follows.
    fn framing(&mut self, seen: &Seen, request: Method) -> Result<Framing, ResponseError> {
        let said = seen.framing(self.version)?;
        match (self.status, said) {
            (100..200 | 204, Some(Framing::Chunked)) => Err(ResponseError::TransferEncodingNotAllowed),
            (100..200 | 204, Some(Framing::Length(1..))) => Err(ResponseError::ContentLengthNotAllowed),
            (100..200 | 204, _) => {
                // "A server MUST NOT send a Content-Length" here (RFC 9110 §8.6); a 0 does no harm and goes no further.
                for field in self.fields.list.iter_mut().filter(|field| field.known == Known::ContentLength) {
                    field.hop = true;
                }
                Ok(Framing::None)
            }
            (304, _) => Ok(Framing::None),
            _ if request == Method::Head => Ok(Framing::None),
            (200..300, _) if request == Method::Connect => Ok(Framing::None),
            (_, said) => Ok(said.unwrap_or(Framing::UntilClose)),
        }
    }
}

/// What the tokeniser found wrong.
fn refused(bytes: &[u8], error: httparse::Error) -> ResponseError {
    match error {
        httparse::Error::Version if names_another_version(bytes) => ResponseError::VersionUnknown,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => ResponseError::StatusLine,
        error => refusal(bytes, error).into(),
    }
}

/// Whether the status-line starts with `HTTP/` and a digit, and not with a version known here.
fn names_another_version(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"HTTP/").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
        && !bytes.starts_with(b"HTTP/1.0")
        && !bytes.starts_with(b"HTTP/1.1")
}
