//! Times the parser and the decoder on one core: `cargo run --release -p ringway-http --example parse_speed`.
//!
//! A figure to look at while working on the parser, not a gate: it prints the best of several rounds, in nanoseconds a call.

use ringway_http::h1::{BodyDecoder, HeadLimits, HeadWriter, Output};
use ringway_http::head::{Framing, Known, Method, RequestHead, ResponseHead};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 20;
const CALLS: u32 = 5_000;

const REQUEST: &[u8] = b"GET /productpage?u=normal HTTP/1.1\r\nHost: productpage.default.svc.cluster.local:9080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/json;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\
    X-Request-Id: 3b7f0c86-6a40-4a39-a1f4-0d2f0e3e5a51\r\nX-Forwarded-Proto: http\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nConnection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1683\r\n\r\n";
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn main() {
    let limits = HeadLimits::default();
    let (mut request, mut response) = (RequestHead::default(), ResponseHead::default());
    time("request, 8 fields", || request.parse(black_box(REQUEST), 0, &limits).is_ok());
    time("request, in two pieces", || {
        let _ = request.parse(black_box(&REQUEST[..200]), 0, &limits);
        request.parse(black_box(REQUEST), 200, &limits).is_ok()
    });
    time("request, 1 field", || request.parse(black_box(SMALL), 0, &limits).is_ok());
    time("response, 5 fields", || response.parse(black_box(RESPONSE), 0, Method::Get, &limits).is_ok());
    let _ = request.parse(REQUEST, 0, &limits);
    let mut out = [0; 1024];
    time("write the request with two edits", || {
        let mut writer = HeadWriter::new(&mut out);
        writer.request_line(request.method_span.of(REQUEST), request.path.of(REQUEST));
        writer.fields(REQUEST, &request.fields, |field| field.hop || field.known == Known::XRequestId);
        writer.field(b"x-request-id", b"3b7f0c86-6a40-4a39-a1f4-0d2f0e3e5a51");
        writer.end().is_ok()
    });
    let chunk = |len: usize| [format!("{len:x}\r\n").into_bytes(), vec![b'a'; len], b"\r\n".to_vec()].concat();
    for (len, name) in [(16, "256 chunks of 16 bytes"), (4096, "256 chunks of 4 KiB")] {
        let body = [chunk(len).repeat(256), b"0\r\n\r\n".to_vec()].concat();
        time(name, || {
            let mut decoder = BodyDecoder::new(Framing::Chunked, Output::Verbatim);
            decoder.decode(black_box(&body)).is_ok_and(|decoded| decoded.done)
        });
    }
}

fn time(name: &str, mut call: impl FnMut() -> bool) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            assert!(black_box(call()));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    println!("{name:40} {best:8.0} ns");
}
