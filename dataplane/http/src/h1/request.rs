//! Request heads.

use crate::h1::authority::is_authority;
use crate::h1::fields::{Expect, Seen, collect, refusal};
use crate::h1::lines::{head_end, start_line_exceeds};
use crate::h1::{FIELDS_CEILING, HeadError, HeadLimits, Parse, RequestError, strict, target, upgrade};
use crate::head::{Framing, Method, RequestHead, Span, Version};
use std::mem::MaybeUninit;

/// The longest registered method has 17 letters (RFC 3253).
const METHOD_BYTES_MAX: usize = 64;

/// Method, version and spaces around a target, and the empty line before it.
const REQUEST_LINE_REST_BYTES_MAX: usize = METHOD_BYTES_MAX + 16;

impl RequestHead {
    /// Parses the head that `bytes` starts with; what follows it is left alone. `scanned` is what the last [`Parse::Partial`] gave, 0 at first.
    ///
    /// After `Complete`, `self.len` is the head's length, with one empty line before it counted (RFC 9112 §2.2) and the blank line after it. After
    /// anything else the value says nothing. After an error the connection has to close: where the next request would start is unknown.
    pub fn parse(&mut self, bytes: &[u8], scanned: usize, limits: &HeadLimits) -> Result<Parse, RequestError> {
        let window = &bytes[..bytes.len().min(limits.head_bytes())];
        let start = match start(window)? {
            Some(start) => start,
            None if window.len() == limits.head_bytes() => return Err(HeadError::TooLong.into()),
            None => return Ok(Parse::Partial { scanned: 0 }),
        };
        if scanned == 0 {
            if self.tokenise(window, start, limits)? {
                return Ok(Parse::Complete);
            }
            head_end(window, start)?;
        } else if let Some(end) = head_end(window, scanned)? {
            let complete = self.tokenise(&window[..end], start, limits)?;
            return if complete { Ok(Parse::Complete) } else { Err(RequestError::RequestLine) };
        }
        // Not whole: is there still room for it to become so?
        let line_bytes_max = limits
            .target_bytes_max
            .saturating_add(REQUEST_LINE_REST_BYTES_MAX)
            .min(limits.head_bytes().saturating_sub(1));
        if start_line_exceeds(window, scanned, line_bytes_max) {
            return Err(RequestError::TargetTooLong);
        }
        if window.len() == limits.head_bytes() {
            return Err(HeadError::TooLong.into());
        }
        Ok(Parse::Partial { scanned: window.len() })
    }

    /// Reads a head that may be whole; false if it is not.
    fn tokenise(&mut self, bytes: &[u8], start: usize, limits: &HeadLimits) -> Result<bool, RequestError> {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
        let mut request = httparse::Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(&bytes[start..], &mut lines[..limits.fields()]) {
            Ok(httparse::Status::Complete(len)) => start + len,
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(error) => return Err(refused(&bytes[start..], error)),
        };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(RequestError::RequestLine);
        };
        self.len = len;
        self.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        self.method_span = span(start, method.len());
        self.target = span(start + method.len() + 1, target.len());
        if method.len() > METHOD_BYTES_MAX {
            return Err(RequestError::MethodTooLong);
        }
        if target.len() > limits.target_bytes_max {
            return Err(RequestError::TargetTooLong);
        }
        self.method = Method::of(method.as_bytes());
        self.interpret(&bytes[..len], request.headers)?;
        if limits.strict {
            strict::check(bytes, &self.fields)?;
        }
        Ok(true)
    }

    /// What a well-formed head means.
    fn interpret(&mut self, bytes: &[u8], headers: &[httparse::Header<'_>]) -> Result<(), RequestError> {
        let seen = collect(bytes, headers, bytes.len() - 2, &mut self.fields)?;
        let target = target::parse(bytes, self.target, self.method)?;
        self.path = target.path;
        self.query_at = target.query_at;
        self.absolute_form = target.absolute_form;
        self.https = target.https;
        self.authority = match (target.authority, host(bytes, &seen, self.version)?) {
            (Some(authority), _) => authority,
            (None, host) => host.unwrap_or_default(),
        };
        self.framing = seen.framing(self.version)?.unwrap_or(Framing::None);
        self.keep_alive = seen.keep_alive(self.version);
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.expect_continue = match seen.expect {
            Expect::Unknown => return Err(RequestError::ExpectationUnknown),
            // "MUST ignore that expectation" in HTTP/1.0, and without content there is nothing to wait with (RFC 9110 §10.1.1).
            Expect::Continue => has_body && self.version == Version::Http11,
            Expect::Nothing => false,
        };
        self.upgrade = upgrade::requested(bytes, &self.fields, &seen, self.method, self.version, self.framing);
        Ok(())
    }
}

/// Where the request-line starts: after at most one empty line (RFC 9112 §2.2). `None` while that is open.
fn start(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    match bytes {
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => Ok(None),
        [b'\n', ..] => Err(HeadError::BareLf.into()),
        [b'\r', b'\n', b'\r', b'\n', ..] => Err(RequestError::EmptyLines),
        [b'\r', b'\n', b'\n', ..] => Err(HeadError::BareLf.into()),
        [b'\r', b'\n', b'\r', ..] => Err(HeadError::BareCr.into()),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [b'\r', ..] => Err(HeadError::BareCr.into()),
        _ => Ok(Some(0)),
    }
}

fn span(start: usize, len: usize) -> Span {
    Span { start: start as u16, end: (start + len) as u16 }
}

/// The one valid Host, if there is one. "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a
/// Host header field and to any request message that contains more than one Host header field line or a Host header field with an
/// invalid field value" (RFC 9112 §3.2).
fn host(bytes: &[u8], seen: &Seen, version: Version) -> Result<Option<Span>, RequestError> {
    match seen.host {
        _ if seen.host_twice => Err(RequestError::HostTwice),
        Some(host) if is_authority(host.of(bytes)) => Ok(Some(host)),
        Some(_) => Err(RequestError::AuthorityInvalid),
        None if version == Version::Http10 => Ok(None),
        None => Err(RequestError::HostMissing),
    }
}

/// What the tokeniser found wrong.
fn refused(bytes: &[u8], error: httparse::Error) -> RequestError {
    match error {
        httparse::Error::Version if names_a_version(bytes) => RequestError::VersionUnknown,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => RequestError::RequestLine,
        httparse::Error::NewLine if !ends_in_version(bytes) => RequestError::RequestLine,
        error => refusal(bytes, error).into(),
    }
}

/// Whether the third word of the request-line is `HTTP/` and a digit.
fn names_a_version(bytes: &[u8]) -> bool {
    let word = bytes.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default();
    word.strip_prefix(b"HTTP/").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// Whether nothing follows the version on the request-line.
fn ends_in_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

impl Method {
    /// Classifies a method; methods are case-sensitive (RFC 9110 §9.1).
    pub fn of(method: &[u8]) -> Method {
        match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }
}
