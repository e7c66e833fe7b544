//! What has to hold for any bytes. The fuzz targets call these, and so does a plain test over the committed corpora; a violation panics.
//! Nothing here is part of the product.

use crate::client_hello::{self, HELLO_BYTES_MAX, Hello};
use crate::h1::{BodyDecoder, BodyError, HeadError, HeadLimits, HeadWriter, Output, Parse};
use crate::head::{Fields, Framing, Known, Method, RequestHead, ResponseHead, Span};

/// Inputs are cut at so many positions; which, depends on their length, so that neighbours in a corpus are cut elsewhere.
const CUTS_MAX: usize = 24;

/// Small limits are reached by small inputs.
const TIGHT: HeadLimits = HeadLimits { head_bytes_max: 200, fields_max: 4, target_bytes_max: 20, strict: true };

/// A request head: spans lie inside, pieces give what the whole gives, and what would be forwarded means the same to the next reader.
pub fn h1_request(bytes: &[u8]) {
    for limits in [HeadLimits::default(), TIGHT] {
        let whole = |bytes: &[u8]| {
            let mut head = RequestHead::default();
            head.parse(bytes, 0, &limits).map(|parse| (parse, head))
        };
        let verdict = whole(bytes);
        for cut in cuts(bytes.len()) {
            let mut head = RequestHead::default();
            let mut scanned = 0;
            let mut last = Ok(Parse::Partial { scanned: 0 });
            for end in [cut, cut + 1, bytes.len()] {
                last = head.parse(&bytes[..end.min(bytes.len())], scanned, &limits);
                match last {
                    Ok(Parse::Partial { scanned: seen }) => scanned = seen,
                    _ => break,
                }
            }
            compare(&verdict, last.map(|parse| (parse, head)), bytes);
        }
        let Ok((Parse::Complete, head)) = verdict else { continue };
        assert!(head.len <= bytes.len() && head.len <= limits.head_bytes_max && head.fields.len() <= limits.fields_max);
        for span in [head.method_span, head.target, head.path, head.authority] {
            check_span(span, head.len);
        }
        assert!(head.path.start <= head.query_at && head.query_at <= head.path.end);
        check_fields(&head.fields, head.len);
        forward_request(bytes, &head);
    }
}

/// A response head, to each kind of request that matters to it.
pub fn h1_response(bytes: &[u8]) {
    for (limits, method) in [
        (HeadLimits::default(), Method::Get),
        (HeadLimits::default(), Method::Head),
        (HeadLimits::default(), Method::Connect),
        (TIGHT, Method::Get),
    ] {
        let mut head = ResponseHead::default();
        let verdict = head.parse(bytes, 0, method, &limits).map(|parse| (parse, head));
        for cut in cuts(bytes.len()) {
            let mut head = ResponseHead::default();
            let mut scanned = 0;
            let mut last = Ok(Parse::Partial { scanned: 0 });
            for end in [cut, cut + 1, bytes.len()] {
                last = head.parse(&bytes[..end.min(bytes.len())], scanned, method, &limits);
                match last {
                    Ok(Parse::Partial { scanned: seen }) => scanned = seen,
                    _ => break,
                }
            }
            compare(&verdict, last.map(|parse| (parse, head)), bytes);
        }
        let Ok((Parse::Complete, head)) = verdict else { continue };
        assert!(head.len <= bytes.len() && head.len <= limits.head_bytes_max && head.fields.len() <= limits.fields_max);
        check_span(head.reason, head.len);
        check_fields(&head.fields, head.len);
        forward_response(bytes, &head, method);
    }
}

/// A chunked body: pieces give what the whole gives, ranges lie inside, and what is sent on is a chunked body with the same data.
pub fn chunked(bytes: &[u8]) {
    let whole = decode_all(bytes, bytes.len(), Output::Verbatim);
    let data = decode_all(bytes, bytes.len(), Output::Data);
    assert_eq!(whole.as_ref().err(), data.as_ref().err());
    for size in [1, 7] {
        assert_eq!(decode_all(bytes, size, Output::Verbatim).map(lower_trailers), whole.clone().map(lower_trailers));
        assert_eq!(decode_all(bytes, size, Output::Data), data);
    }
    for first in cuts(bytes.len()) {
        assert_eq!(decode_cut(bytes, first).map(lower_trailers), whole.clone().map(lower_trailers));
    }
    let (Ok(whole), Ok(data)) = (whole, data) else { return };
    assert_eq!((whole.done, whole.consumed, whole.data_bytes), (data.done, data.consumed, data.data_bytes));
    assert_eq!(data.out.len() as u64, data.data_bytes);
    if whole.done {
        let again = decode_all(&whole.out, whole.out.len(), Output::Verbatim).expect("what is sent is well-formed");
        assert_eq!((&again.out, again.consumed, again.done), (&whole.out, whole.out.len(), true));
        let again = decode_all(&whole.out, whole.out.len(), Output::Data).expect("what is sent is well-formed");
        assert_eq!(again.out, data.out);
    }
}

/// A ClientHello: pieces give what the whole gives, a wait asks for more than there is and no more than the limit, and a name is a DNS name.
pub fn client_hello(bytes: &[u8]) {
    let mut scratch = Vec::new();
    let whole = client_hello::parse(bytes, &mut scratch);
    match whole {
        Ok(Hello::Partial { bytes: wanted }) => assert!(bytes.len() < wanted && wanted <= HELLO_BYTES_MAX),
        Ok(Hello::Complete(Some(name))) => {
            let name = name.as_bytes();
            assert!(!name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
        }
        Ok(Hello::Complete(None)) | Err(_) => {}
    }
    for cut in cuts(bytes.len()) {
        match client_hello::parse(&bytes[..cut], &mut scratch) {
            Ok(Hello::Partial { bytes: wanted }) => assert!(cut < wanted && wanted <= HELLO_BYTES_MAX),
            // Decided early; nothing behind it changes that.
            decided => assert_eq!(decided, whole),
        }
    }
}

/// What came out of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    out: Vec<u8>,
    consumed: usize,
    done: bool,
    data_bytes: u64,
}

fn decode_all(bytes: &[u8], size: usize, output: Output) -> Result<Outcome, BodyError> {
    decode_pieces(bytes.chunks(size.max(1)), output)
}

fn decode_cut(bytes: &[u8], first: usize) -> Result<Outcome, BodyError> {
    decode_pieces([&bytes[..first], &bytes[first..]].into_iter(), Output::Verbatim)
}

fn decode_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>, output: Output) -> Result<Outcome, BodyError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, output);
    let mut outcome = Outcome { out: Vec::new(), consumed: 0, done: false, data_bytes: 0 };
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            let decoded = decoder.decode(piece)?;
            assert!(decoded.consumed > 0 && decoded.consumed <= piece.len());
            assert!(decoded.forward.start <= decoded.forward.end && decoded.forward.end <= decoded.consumed);
            assert!(decoded.before.is_empty() || decoded.forward.start == 0 && !decoded.forward.is_empty());
            assert_eq!(decoded.done, decoder.is_done());
            outcome.out.extend_from_slice(decoded.before);
            outcome.out.extend_from_slice(&piece[decoded.forward]);
            outcome.consumed += decoded.consumed;
            piece = &piece[decoded.consumed..];
        }
    }
    outcome.done = decoder.is_done();
    outcome.data_bytes = decoder.data_bytes();
    assert_eq!(decoder.on_eof().is_ok(), outcome.done);
    Ok(outcome)
}

/// A trailer's name may change its case, and one that the input breaks off in is held back: only whole bodies are compared byte for byte.
fn lower_trailers(mut outcome: Outcome) -> Outcome {
    outcome.out.make_ascii_lowercase();
    if !outcome.done {
        outcome.out.clear();
    }
    outcome
}

/// Pieces give the same head, the same wait, or some error as well; an error may come later in pieces, never be missed.
fn compare<H: std::fmt::Debug + PartialEq, E: std::fmt::Debug>(
    whole: &Result<(Parse, H), E>,
    pieces: Result<(Parse, H), E>,
    bytes: &[u8],
) {
    match (whole, &pieces) {
        (Ok((Parse::Complete, whole)), Ok((Parse::Complete, pieces))) => {
            assert_eq!(whole, pieces);
        }
        (Ok((Parse::Partial { .. }, _)), Ok((Parse::Partial { .. }, _))) | (Err(_), Err(_)) => {}
        (Err(_), Ok((Parse::Partial { .. }, _))) => {}
        _ => panic!("{whole:?} but in pieces {pieces:?}: {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let step = 1 + len / CUTS_MAX;
    (len % step..len).step_by(step)
}

fn check_span(span: Span, len: usize) {
    assert!(span.start <= span.end && span.end as usize <= len);
}

/// Lines follow each other without a gap and end in CRLF; names and values lie in them.
fn check_fields(fields: &Fields, len: usize) {
    let mut at = fields.iter().next().map_or(0, |first| first.line.start);
    for field in fields.iter() {
        assert_eq!(field.line.start, at);
        assert!(field.name.start == field.line.start && field.name.end < field.value.start);
        assert!(field.value.start <= field.value.end && field.value.end + 2 <= field.line.end);
        at = field.line.end;
    }
    assert!(at == 0 || at as usize + 2 == len);
}

fn forward_request(bytes: &[u8], head: &RequestHead) {
    if head.method == Method::Connect {
        return;
    }
    let mut out = vec![0; bytes.len() + 64];
    let mut writer = HeadWriter::new(&mut out);
    writer.request_line(head.method_span.of(bytes), head.path.of(bytes));
    if !head.authority.is_empty() {
        writer.field(b"host", head.authority.of(bytes));
    }
    writer.fields(bytes, &head.fields, |field| field.hop || field.known == Known::Host);
    let len = writer.end().expect("a forwarded head is no longer than the received one and its new Host");
    let mut again = RequestHead::default();
    match again.parse(&out[..len], 0, &HeadLimits::default()) {
        Ok(Parse::Complete) => {}
        Err(crate::h1::RequestError::HostMissing) if head.authority.is_empty() => return,
        // The new Host may be one line or some bytes too many.
        Err(crate::h1::RequestError::Head(HeadError::TooManyFields | HeadError::TooLong)) => return,
        other => panic!("{other:?}"),
    }
    assert_eq!((again.len, again.framing, again.method), (len, head.framing, head.method));
    assert_eq!(again.path.of(&out), head.path.of(bytes));
    assert_eq!(again.authority.of(&out), head.authority.of(bytes));
    assert!(again.fields.get(Known::Connection).is_none() && again.fields.get(Known::Upgrade).is_none());
}

fn forward_response(bytes: &[u8], head: &ResponseHead, method: Method) {
    if head.status == 101 {
        return;
    }
    let mut out = vec![0; bytes.len() + 64];
    let mut writer = HeadWriter::new(&mut out);
    writer.status_line(head.status, head.reason.of(bytes));
    writer.fields(bytes, &head.fields, |field| field.hop);
    let len = writer.end().expect("a forwarded head is hardly longer than the received one");
    let mut again = ResponseHead::default();
    match again.parse(&out[..len], 0, method, &HeadLimits::default()) {
        Ok(Parse::Complete) => {}
        Err(crate::h1::ResponseError::Head(HeadError::TooLong)) => return,
        other => panic!("{other:?}"),
    }
    assert_eq!((again.len, again.status, again.framing), (len, head.status, head.framing));
    assert_eq!(again.reason.of(&out), head.reason.of(bytes));
}
