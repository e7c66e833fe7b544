//! The snapshot that a running proxy has in force, from its admin server.

use ringway_config::Snapshot;
use ringway_config::limits::SNAPSHOT_BYTES_MAX;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long an admin server may stay silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for the head of its answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Asks `unix:PATH`, a path with a slash, or `host:port`.
///
/// # Errors
/// Why there is no snapshot, in one sentence.
pub fn fetch(admin: &str) -> Result<Snapshot, String> {
    let told = match admin.strip_prefix("unix:").or_else(|| admin.contains('/').then_some(admin)) {
        Some(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream)
        }),
        None => TcpStream::connect(admin).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream)
        }),
    };
    let told = told.map_err(|error| format!("{admin}: {error}"))?;
    let end = told.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| format!("{admin}: no HTTP answer"))?;
    let (head, body) = (&told[..end], &told[end + 4..]);
    let status = head.split(|b| *b == b' ').nth(1).unwrap_or(b"");
    if status != b"200" {
        return Err(format!(
            "{admin}: status {}: {}",
            String::from_utf8_lossy(status),
            String::from_utf8_lossy(body).trim()
        ));
    }
    Snapshot::from_bytes(body).map_err(|error| format!("{admin}: {error}"))
}

/// HTTP/1.0, so that the body is all that follows the head.
fn ask(mut stream: impl Read + Write) -> std::io::Result<Vec<u8>> {
    stream.write_all(b"GET /snapshot HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut told = Vec::new();
    let most = SNAPSHOT_BYTES_MAX as u64 + HEAD_BYTES_MAX as u64;
    stream.take(most).read_to_end(&mut told)?;
    Ok(told)
}
