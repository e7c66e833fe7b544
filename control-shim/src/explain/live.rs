//! The snapshot that a running proxy has in force, and what it knows besides, from its admin server.

use ringway_config::Snapshot;
use ringway_config::limits::SNAPSHOT_BYTES_MAX;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long an admin server may stay silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for the head of its answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What a running proxy knows.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its configuration.
    pub snapshot: Snapshot,
    /// Endpoints that its outlier detection leaves alone: cluster and address.
    pub ejected: Vec<(String, SocketAddr)>,
}

/// Asks `unix:PATH`, a path with a slash, or `host:port`.
///
/// # Errors
/// Why there is no snapshot, in one sentence.
pub fn fetch(admin: &str) -> Result<Live, String> {
    let snapshot = Snapshot::from_bytes(&get(admin, "/snapshot")?).map_err(|error| format!("{admin}: {error}"))?;
    let clusters = get(admin, "/clusters")?;
    Ok(Live { snapshot, ejected: ejected(&String::from_utf8_lossy(&clusters)) })
}

/// From lines `cluster::address::health::ejected`.
fn ejected(clusters: &str) -> Vec<(String, SocketAddr)> {
    let of_line = |line: &str| {
        let (cluster, address) = line.strip_suffix("::health::ejected")?.split_once("::")?;
        Some((cluster.to_string(), address.parse().ok()?))
    };
    clusters.lines().filter_map(of_line).collect()
}

fn get(admin: &str, path: &str) -> Result<Vec<u8>, String> {
    let told = match admin.strip_prefix("unix:").or_else(|| admin.contains('/').then_some(admin)) {
        Some(socket) => UnixStream::connect(socket).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream, path)
        }),
        None => TcpStream::connect(admin).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream, path)
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
    Ok(body.to_vec())
}

/// HTTP/1.0, so that the body is all that follows the head.
fn ask(mut stream: impl Read + Write, path: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut told = Vec::new();
    let most = SNAPSHOT_BYTES_MAX as u64 + HEAD_BYTES_MAX as u64;
    stream.take(most).read_to_end(&mut told)?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ejected_endpoints_are_read_off_the_list() {
        let list = "outbound|80||a::balance::LeastRequest\noutbound|80||a::10.0.0.1:80::health::ejected\noutbound|80||a::[fd00::1]:80::health::ejected\noutbound|80||a::10.0.0.2:80::health::healthy\n";
        let found = super::ejected(list);
        assert_eq!(
            found.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>(),
            ["10.0.0.1:80", "[fd00::1]:80"]
        );
        assert!(found.iter().all(|(cluster, _)| cluster == "outbound|80||a"));
    }
}
