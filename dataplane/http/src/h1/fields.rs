//! Header lines: from tokens to spans, and what those that frame the message or manage the connection say together.

use crate::h1::HeadError;
use crate::h1::lines::diagnose;
use crate::head::{Field, Fields, Framing, KNOWN_COUNT, Known, Span, Upgrade, Version};
use crate::token::{is_token, list};

/// Digits of a Content-Length; all such numbers fit an `i64`, the narrowest that neighbours use.
const CONTENT_LENGTH_DIGITS_MAX: usize = 19;

/// Connection options of one message. Naming fields costs a comparison with every line each.
const CONNECTION_OPTIONS_MAX: usize = 16;

/// What the lines say together.
#[derive(Default)]
pub(super) struct Seen {
    /// The first Host.
    pub host: Option<Span>,
    /// There is a second one.
    pub host_twice: bool,
    /// What Expect asks for.
    pub expect: Expect,
    /// What Upgrade names.
    pub upgrade: Upgrade,
    /// Connection has `upgrade`.
    pub upgrade_option: bool,
    /// Content-Length.
    pub content_length: Option<u64>,
    /// Transfer-Encoding is there, and is `chunked`.
    pub chunked: bool,
    close: bool,
    keep_alive: bool,
    options: usize,
    names_fields: bool,
}

/// What `Expect` asks for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

impl Seen {
    /// How the body is delimited when Content-Length or Transfer-Encoding say so (RFC 9112 §6.3).
    ///
    /// "A server MAY reject a request that contains both Content-Length and Transfer-Encoding", and a proxy that forwards one of them
    /// bets on what its neighbour reads: always refused.
    pub fn framing(&self, version: Version) -> Result<Option<Framing>, HeadError> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(HeadError::ContentLengthAndTransferEncoding),
            (true, None) if version == Version::Http10 => Err(HeadError::TransferEncodingInHttp10),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }

    /// Whether the connection persists (RFC 9112 §9.3).
    pub fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Turns the tokeniser's headers into lines. `end` is where the blank line starts.
pub(super) fn collect(
    bytes: &[u8],
    headers: &[httparse::Header<'_>],
    end: usize,
    fields: &mut Fields,
) -> Result<Seen, HeadError> {
    fields.list.clear();
    fields.first = [0; KNOWN_COUNT];
    let mut seen = Seen::default();
    let mut start = headers.first().map_or(end, |header| offset(bytes, header.name.as_bytes()));
    check_line_end(bytes, start)?;
    check_line_end(bytes, end + 2)?;
    for (index, header) in headers.iter().enumerate() {
        let next = headers.get(index + 1).map_or(end, |header| offset(bytes, header.name.as_bytes()));
        check_line_end(bytes, next)?;
        let name = Span { start: start as u16, end: (start + header.name.len()) as u16 };
        let value_at = offset(bytes, header.value);
        let value = Span { start: value_at as u16, end: (value_at + header.value.len()) as u16 };
        let known = Known::of(header.name.as_bytes());
        let hop = known != Known::Other && seen.note(known, header.value, value)?;
        if known != Known::Other && fields.first[known as usize] == 0 {
            fields.first[known as usize] = (index + 1) as u8;
        }
        fields.list.push(Field { name, value, line: Span { start: start as u16, end: next as u16 }, known, hop });
        start = next;
    }
    if seen.names_fields {
        mark_named_fields(bytes, fields)?;
    }
    Ok(seen)
}

/// Where a part of `bytes` starts.
fn offset(bytes: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - bytes.as_ptr() as usize
}

/// The tokeniser takes a bare LF for a line end; nobody else has to.
fn check_line_end(bytes: &[u8], end: usize) -> Result<(), HeadError> {
    if bytes[..end].ends_with(b"\r\n") { Ok(()) } else { Err(HeadError::BareLf) }
}

impl Seen {
    /// Reads a line whose name the proxy knows; true if it goes no further than this hop.
    fn note(&mut self, known: Known, value: &[u8], span: Span) -> Result<bool, HeadError> {
        match known {
            Known::Host => {
                self.host_twice = self.host.is_some();
                self.host = self.host.or(Some(span));
            }
            Known::ContentLength if self.content_length.is_some() => return Err(HeadError::ContentLengthTwice),
            Known::ContentLength => self.content_length = Some(content_length(value)?),
            Known::TransferEncoding if self.chunked => return Err(HeadError::TransferEncodingInvalid),
            Known::TransferEncoding => self.chunked = is_chunked(value)?,
            Known::Expect => self.note_expect(value),
            Known::Connection => return self.note_connection(value).map(|()| true),
            Known::Upgrade => {
                let alone = self.upgrade == Upgrade::None && value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = if alone { Upgrade::WebSocket } else { Upgrade::Ignored };
                return Ok(true);
            }
            Known::Te => return Ok(!value.eq_ignore_ascii_case(b"trailers")),
            Known::KeepAlive | Known::ProxyConnection | Known::Http2Settings => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn note_expect(&mut self, value: &[u8]) {
        let alone = self.expect == Expect::Nothing && value.eq_ignore_ascii_case(b"100-continue");
        self.expect = if alone { Expect::Continue } else { Expect::Unknown };
    }

    fn note_connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in list(value) {
            self.options += 1;
            if self.options > CONNECTION_OPTIONS_MAX || !is_token(option) {
                return Err(HeadError::ConnectionInvalid);
            }
            match Known::of(option) {
                Known::Upgrade => self.upgrade_option = true,
                Known::KeepAlive => self.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ => self.names_fields = true,
            }
        }
        Ok(())
    }
}

/// "A recipient MUST anticipate potentially large decimal numerals and prevent parsing errors due to integer conversion overflows" (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    if !(1..=CONTENT_LENGTH_DIGITS_MAX).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLengthInvalid);
    }
    let length = value.iter().fold(0, |length: u64, digit| length * 10 + u64::from(digit - b'0'));
    if length > i64::MAX as u64 { Err(HeadError::ContentLengthInvalid) } else { Ok(length) }
}

/// `chunked` alone. A well-formed list with other codings asks for something unknown here (501); anything else is no Transfer-Encoding
/// (400): parameters, `chunked` twice or not last, empty elements, nothing at all.
fn is_chunked(value: &[u8]) -> Result<bool, HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let (mut codings, mut chunked) = (0, false);
    for coding in list(value) {
        if chunked || !is_token(coding) {
            return Err(HeadError::TransferEncodingInvalid);
        }
        chunked = coding.eq_ignore_ascii_case(b"chunked");
        codings += 1;
    }
    match (codings, chunked) {
        (0, _) | (1, true) => Err(HeadError::TransferEncodingInvalid),
        _ => Err(HeadError::TransferCodingUnknown),
    }
}

/// Marks the lines that Connection names. Transfer-Encoding and TE may be named and decide for themselves.
fn mark_named_fields(bytes: &[u8], fields: &mut Fields) -> Result<(), HeadError> {
    for index in 0..fields.list.len() {
        if fields.list[index].known != Known::Connection {
            continue;
        }
        for option in list(fields.list[index].value.of(bytes)) {
            if is_end_to_end(option) {
                return Err(HeadError::ConnectionNamesEndToEnd);
            }
            if !matches!(Known::of(option), Known::TransferEncoding | Known::Te) {
                for field in &mut fields.list {
                    field.hop |= field.name.of(bytes).eq_ignore_ascii_case(option);
                }
            }
        }
    }
    Ok(())
}

/// Names that Connection must not take away, because the application or a policy behind us decides by them. "A sender MUST NOT send a connection
/// option corresponding to a field that is intended for all recipients of the content" (RFC 9110 §7.6.1). Envoy refuses the x-forwarded
/// ones with 400 as well; the abuse is known as hop-by-hop header injection.
fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 16] = [
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-range",
        b"range",
        b"cache-control",
        b"expect",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"forwarded",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"b3",
    ];
    const PREFIXES: [&[u8]; 5] = [b"x-forwarded-", b"x-envoy-", b"x-b3-", b"x-istio-", b"sec-"];
    NAMES.iter().any(|end_to_end| name.eq_ignore_ascii_case(end_to_end))
        || PREFIXES.iter().any(|p| name.get(..p.len()).is_some_and(|start| start.eq_ignore_ascii_case(p)))
}

/// The tokeniser's verdict on field lines, with the reason that it keeps to itself.
pub(super) fn refusal(bytes: &[u8], error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::NewLine => diagnose(bytes, HeadError::BareCr),
        httparse::Error::HeaderValue => diagnose(bytes, HeadError::FieldValue),
        _ => diagnose(bytes, HeadError::FieldName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_04_content_length_grammar() {
        for (value, length) in [("0", 0), ("5", 5), ("0005", 5), ("9223372036854775807", i64::MAX as u64)] {
            assert_eq!(content_length(value.as_bytes()), Ok(length), "{value}");
        }
        for value in [
            "",
            "5, 5",
            "5,5",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5a",
            "5.0",
            "1_0",
            "9223372036854775808",
            "99999999999999999999",
            "00000000000000000001",
        ] {
            assert_eq!(content_length(value.as_bytes()), Err(HeadError::ContentLengthInvalid), "{value}");
        }
    }

    #[test]
    fn row_02_transfer_encoding_grammar() {
        for value in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(is_chunked(value.as_bytes()), Ok(true));
        }
        for value in ["gzip", "identity", "xchunked", "gzip, chunked", "deflate,gzip"] {
            assert_eq!(is_chunked(value.as_bytes()), Err(HeadError::TransferCodingUnknown), "{value}");
        }
        for value in [
            "",
            ",",
            "chunked,",
            ",chunked",
            "chunked, identity",
            "chunked, chunked",
            "chunked;q=1",
            "\u{b}chunked",
            "chun ked",
            "\"chunked\"",
        ] {
            assert_eq!(is_chunked(value.as_bytes()), Err(HeadError::TransferEncodingInvalid), "{value}");
        }
    }

    #[test]
    fn end_to_end_names() {
        for name in ["Host", "COOKIE", "x-forwarded-for", "X-Envoy-Peer-Metadata", "sec-websocket-key"] {
            assert!(is_end_to_end(name.as_bytes()), "{name}");
        }
        for name in ["x-forwarded", "foo", "keep-alive", "te", "transfer-encoding", "hosts"] {
            assert!(!is_end_to_end(name.as_bytes()), "{name}");
        }
    }
}
