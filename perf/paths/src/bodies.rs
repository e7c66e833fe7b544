//! Bodies: how far an input belongs to a message.

use std::hint::black_box;

use ringway_http::h1::{BodyDecoder, Output};
use ringway_http::head::Framing;

use super::HotPath;

const OPERATIONS: usize = 20;
/// What one read brings.
const INPUT_BYTES: usize = 16 << 10;

pub fn paths() -> Vec<HotPath> {
    [1024, 16].into_iter().map(chunks).chain([of_known_length()]).collect()
}

fn chunks(chunk_bytes: usize) -> HotPath {
    HotPath::new(format!("a body of 16 KiB in chunks of {chunk_bytes} bytes"), OPERATIONS, move || {
        let mut body = Vec::new();
        for _ in 0..INPUT_BYTES / chunk_bytes {
            body.extend_from_slice(format!("{chunk_bytes:x}\r\n").as_bytes());
            body.resize(body.len() + chunk_bytes, b'x');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        Box::new(move || (0..OPERATIONS).for_each(|_| decode(&body, Framing::Chunked)))
    })
}

fn of_known_length() -> HotPath {
    HotPath::new("a body of 16 KiB of known length", OPERATIONS, || {
        let body = vec![b'x'; INPUT_BYTES];
        Box::new(move || (0..OPERATIONS).for_each(|_| decode(&body, Framing::Length(INPUT_BYTES as u64))))
    })
}

fn decode(body: &[u8], framing: Framing) {
    let mut decoder = BodyDecoder::new(framing, Output::Verbatim);
    let mut rest = black_box(body);
    while !decoder.is_done() {
        let decoded = decoder.decode(rest).unwrap();
        black_box(&decoded.forward);
        rest = &rest[decoded.consumed..];
    }
    assert!(rest.is_empty());
}
