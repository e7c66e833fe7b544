//! One request by hand, where a whole run would be too much.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Sends a request on a new connection and reads the whole reply, which has a length. The connection stays; the number is the reply's status.
pub fn ask(address: SocketAddr, request: &[u8]) -> io::Result<(TcpStream, u16)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(request)?;
    let mut seen = Vec::new();
    let mut buf = [0; 4096];
    loop {
        let length = stream.read(&mut buf)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&buf[..length]);
        if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if body.is_none_or(|body| seen.len() >= end + 4 + body) {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                return status.map(|status| (stream, status)).ok_or(io::ErrorKind::InvalidData.into());
            }
        }
    }
}
