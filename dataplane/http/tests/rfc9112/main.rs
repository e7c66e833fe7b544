//! Conformance and hostile input, in the order of RFC 9112's table of contents. Tests named `row_NN_…` are rows of the project's list of
//! adversarial cases. Every head goes through the parser whole and byte by byte.

mod s02_message;
mod s03_request_line;
mod s04_status_line;
mod s05_fields;
mod s06_body;
mod s07_chunked;
mod s09_connection;

use ringway_http::h1::{BodyDecoder, BodyError, HeadLimits, Output, Parse, RequestError, ResponseError};
use ringway_http::head::{Framing, Method, RequestHead, ResponseHead, Span};

/// A request that is whole.
fn request(bytes: impl AsRef<[u8]>) -> RequestHead {
    let bytes = bytes.as_ref();
    parse_request(bytes, &HeadLimits::default()).unwrap_or_else(|error| panic!("{error:?}: {}", show(bytes)))
}

/// Why a request is refused.
fn refused(bytes: impl AsRef<[u8]>) -> RequestError {
    let bytes = bytes.as_ref();
    parse_request(bytes, &HeadLimits::default()).expect_err(&show(bytes))
}

/// Parses a whole head in one piece and byte by byte; both agree.
fn parse_request(bytes: &[u8], limits: &HeadLimits) -> Result<RequestHead, RequestError> {
    let mut whole = RequestHead::default();
    let verdict = whole.parse(bytes, 0, limits);
    let (mut head, mut scanned, mut last) = (RequestHead::default(), 0, Ok(Parse::Partial { scanned: 0 }));
    for end in 1..=bytes.len() {
        last = head.parse(&bytes[..end], scanned, limits);
        match last {
            Ok(Parse::Partial { scanned: seen }) => scanned = seen,
            _ => break,
        }
    }
    assert_eq!(verdict.is_err(), last.is_err(), "{verdict:?} or {last:?}: {}", show(bytes));
    verdict.map(|parse| {
        assert_eq!((parse, last), (Parse::Complete, Ok(Parse::Complete)), "{}", show(bytes));
        assert_eq!(whole, head);
        whole
    })
}

/// A response that is whole.
fn response(bytes: impl AsRef<[u8]>, method: Method) -> ResponseHead {
    let bytes = bytes.as_ref();
    parse_response(bytes, method, &HeadLimits::default()).unwrap_or_else(|error| panic!("{error:?}: {}", show(bytes)))
}

/// Why a response is refused.
fn response_refused(bytes: impl AsRef<[u8]>) -> ResponseError {
    let bytes = bytes.as_ref();
    parse_response(bytes, Method::Get, &HeadLimits::default()).expect_err(&show(bytes))
}

fn parse_response(bytes: &[u8], method: Method, limits: &HeadLimits) -> Result<ResponseHead, ResponseError> {
    let mut whole = ResponseHead::default();
    let verdict = whole.parse(bytes, 0, method, limits);
    let (mut head, mut scanned, mut last) = (ResponseHead::default(), 0, Ok(Parse::Partial { scanned: 0 }));
    for end in 1..=bytes.len() {
        last = head.parse(&bytes[..end], scanned, method, limits);
        match last {
            Ok(Parse::Partial { scanned: seen }) => scanned = seen,
            _ => break,
        }
    }
    assert_eq!(verdict.is_err(), last.is_err(), "{verdict:?} or {last:?}: {}", show(bytes));
    verdict.map(|parse| {
        assert_eq!((parse, last), (Parse::Complete, Ok(Parse::Complete)), "{}", show(bytes));
        assert_eq!(whole, head);
        whole
    })
}

/// What goes on of a body that comes in the given pieces, and whether it ended.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    framing: Framing,
    output: Output,
) -> Result<(Vec<u8>, BodyDecoder), BodyError> {
    let mut decoder = BodyDecoder::new(framing, output);
    let mut out = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            let decoded = decoder.decode(piece)?;
            out.extend_from_slice(decoded.before);
            out.extend_from_slice(&piece[decoded.forward]);
            piece = &piece[decoded.consumed..];
        }
    }
    Ok((out, decoder))
}

fn text(span: Span, bytes: impl AsRef<[u8]>) -> String {
    show(span.of(bytes.as_ref()))
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
