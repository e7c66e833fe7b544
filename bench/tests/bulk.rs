//! Bytes in one direction, from outside: against plain threads, and against the program's own other end.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/served.rs"]
mod served;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::Value;

use self::common::{json, listen, ringway_load};
use self::served::Served;

const BLOCK: u64 = 1 << 20;

fn run(url: &str, direction: &str, more: &[&str]) -> Value {
    let fixed = ["run", url, "--bulk", direction, "-c", "2", "-d", "300ms", "--warmup", "0s"];
    json(&[&fixed[..], more].concat())
}

fn assert_sent(run: &Value) {
    let (blocks, written) = (run["requests"].as_u64().unwrap(), run["bytes_written"].as_u64().unwrap());
    assert!(blocks > 4 && run["errors"]["share"] == 0.0, "{run:#}");
    assert_eq!((written, run["load"].as_str()), (blocks * BLOCK, Some("closed")), "{run:#}");
    assert!(run["generator"]["bytes_per_cpu_second"].as_f64() > Some(written as f64), "{run:#}");
}

fn assert_received(run: &Value) {
    let (blocks, read) = (run["requests"].as_u64().unwrap(), run["bytes_read"].as_u64().unwrap());
    assert!(blocks > 4 && run["errors"]["share"] == 0.0, "{run:#}");
    // The first block of each connection may have begun before it was asked for.
    assert!(read + 2 * BLOCK >= blocks * BLOCK, "{run:#}");
}

#[test]
fn blocks_are_sent_and_received() {
    let arrived = Arc::new(AtomicU64::new(0));
    let count = arrived.clone();
    let sink = listen(move |mut stream| {
        let mut buf = vec![0; 64 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            count.fetch_add(n as u64, SeqCst);
        }
    });
    let source = listen(|mut stream| while stream.write_all(&[b'x'; 64 << 10]).is_ok() {});
    for backend in ["auto", "epoll"] {
        let before = arrived.load(SeqCst);
        let sent = run(&format!("tcp://{sink}"), "send", &["--io-backend", backend]);
        assert_sent(&sent);
        // What the kernel has taken, it still delivers.
        let written = sent["bytes_written"].as_u64().unwrap();
        while arrived.load(SeqCst) - before < written {
            std::thread::yield_now();
        }
        assert_received(&run(&format!("tcp://{source}"), "receive", &["--io-backend", backend]));
    }
}

#[test]
fn a_server_that_ends_is_a_failure() {
    let ends = listen(|mut stream| drop(stream.write_all(b"short")));
    for backend in ["auto", "epoll"] {
        let run = run(&format!("tcp://{ends}"), "receive", &["--io-backend", backend]);
        assert_eq!(run["requests"], run["errors"]["causes"]["short-reply"], "{run:#}");
    }
}

#[test]
fn the_other_end_discards_and_is_a_source() {
    for backend in ["auto", "epoll"] {
        let (sink, source) =
            (Served::start(&["--bulk", "discard"], backend), Served::start(&["--bulk", "source"], backend));
        // Twice: connections that ended make room for others.
        for _ in 0..2 {
            assert_sent(&run(&sink.url, "send", &["--io-backend", backend]));
            assert_received(&run(&source.url, "receive", &["--io-backend", backend]));
        }
    }
    let output = ringway_load(&["run", "tcp://127.0.0.1:1", "--bulk", "send", "--rate", "5"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("bulk: has no rate"), "{output:?}");
}
