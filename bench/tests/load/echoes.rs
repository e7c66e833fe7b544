//! Messages that come back.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::common::{json, listen};
use crate::server::{Server, reply};
use crate::web_socket::web_socket;

/// A server that sends back what it gets.
fn echo_server() -> SocketAddr {
    listen(|mut stream| {
        let _ = stream.set_nodelay(true);
        let mut buf = vec![0; 64 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            if stream.write_all(&buf[..n]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn tcp_messages_come_back() {
    let url = format!("tcp://{}", echo_server());
    for backend in ["auto", "epoll"] {
        let fixed = ["run", &url, "-c", "4", "-d", "500ms", "--warmup", "0s", "--io-backend", backend];
        let run = json(&[&fixed[..], &["--rate", "100", "--message-bytes", "1000"]].concat());
        assert_eq!((run["requests"].as_u64(), run["errors"]["share"].as_f64()), (Some(50), Some(0.0)), "{run:#}");
        assert_eq!(
            (run["bytes_read"].as_u64(), run["bytes_written"].as_u64()),
            (Some(50_000), Some(50_000)),
            "{run:#}"
        );
        assert_eq!(run["kinds"]["echo of 1000 bytes"].as_u64(), Some(50), "{run:#}");
        // Far more than a socket's buffers hold: both directions move at once.
        let run = json(&[&fixed[..], &["--closed", "--message-bytes", "16777216"]].concat());
        assert!(run["requests"].as_u64() >= Some(4) && run["errors"]["share"] == 0.0, "{run:#}");
    }
    // The bytes of a warm-up are not counted; its last message may come back when counting has begun.
    let run = json(&["run", &url, "--rate", "100", "-d", "500ms", "--warmup", "500ms", "--message-bytes", "1000"]);
    assert!((50_000..60_000).contains(&run["bytes_read"].as_u64().unwrap()), "{run:#}");
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "--new-connections"]);
    assert_eq!((run["connects"].as_u64(), run["requests"].as_u64()), (Some(25), Some(25)), "{run:#}");
    let other = Server::start(|_| reply("no echo"));
    let url = format!("tcp://{}", other.address);
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "--timeout", "50ms"]);
    assert_eq!(run["errors"]["causes"]["timeout"].as_u64(), Some(25), "{run:#}");
}

#[test]
fn web_socket_messages_come_back() {
    let url = format!("ws://{}/chat", listen(|stream| web_socket(stream, "101 Switching Protocols")));
    for (backend, bytes) in [("auto", "5"), ("epoll", "60000")] {
        let fixed = ["run", &url, "--rate", "100", "-c", "3", "-d", "1s", "--warmup", "0s", "-H", "Cookie: a=b"];
        let run = json(&[&fixed[..], &["--message-bytes", bytes, "--io-backend", backend]].concat());
        assert_eq!((run["requests"].as_u64(), run["errors"]["share"].as_f64()), (Some(100), Some(0.0)), "{run:#}");
        assert_eq!(run["connects"].as_u64(), Some(3), "{run:#}");
    }
    let url = format!("ws://{}/chat", listen(|stream| web_socket(stream, "403 Forbidden")));
    let run = json(&["run", &url, "--rate", "50", "-d", "500ms", "--warmup", "0s", "-H", "Cookie: a=b"]);
    assert_eq!(run["errors"]["causes"]["status"].as_u64(), Some(25), "{run:#}");
}
