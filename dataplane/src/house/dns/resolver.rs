//! Asks DNS servers: one after the other, over UDP, over TCP where an answer does not fit.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{self, Answer, AnswerError, Family, UDP_BYTES_MAX};

/// Time for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// Datagrams looked at for one answer: strays must not keep us here.
const STRAYS_MAX: usize = 16;

/// The addresses of a name: IPv4 where it has any, else IPv6 (Istio's default for a mesh of IPv4). The error says what every server said last.
pub async fn resolve(servers: &[SocketAddr], name: &str) -> Result<Answer, String> {
    let four = resolve_family(servers, name, Family::V4).await?;
    if !four.addresses.is_empty() {
        return Ok(four);
    }
    resolve_family(servers, name, Family::V6).await
}

async fn resolve_family(servers: &[SocketAddr], name: &str, family: Family) -> Result<Answer, String> {
    let mut said = "there is no DNS server to ask".to_owned();
    for _ in 0..ROUNDS {
        for server in servers {
            match timeout(ANSWER_TIME_MAX, ask(*server, name, family)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => said = format!("{server}: {error}"),
                Err(_) => said = format!("{server}: no answer within {} s", ANSWER_TIME_MAX.as_secs()),
            }
        }
    }
    Err(said)
}

async fn ask(server: SocketAddr, name: &str, family: Family) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    let own: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket for each question: its port is one more thing that a forger has to guess. Connected, so that only the server is heard.
    let socket = UdpSocket::bind((own, 0)).await.map_err(text)?;
    socket.connect(server).await.map_err(text)?;
    let id = RandomState::new().build_hasher().finish() as u16;
    let query = message::query(id, name, family);
    socket.send(&query).await.map_err(text)?;
    let mut buffer = [0; UDP_BYTES_MAX];
    for _ in 0..STRAYS_MAX {
        let received = socket.recv(&mut buffer).await.map_err(text)?;
        match message::answer(&buffer[..received], id, name, family) {
            Err(AnswerError::Stray) => {}
            Err(AnswerError::Truncated) => return ask_tcp(server, &query, id, name, family).await,
            read => return read.map_err(words),
        }
    }
    Err("it sends what was not asked for".into())
}

async fn ask_tcp(server: SocketAddr, query: &[u8], id: u16, name: &str, family: Family) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(text)?;
    let len = (query.len() as u16).to_be_bytes();
    stream.write_all(&[&len, query].concat()).await.map_err(text)?;
    let len = stream.read_u16().await.map_err(text)?;
    let mut reply = vec![0; len.into()];
    stream.read_exact(&mut reply).await.map_err(text)?;
    message::answer(&reply, id, name, family).map_err(words)
}

fn words(error: AnswerError) -> String {
    match error {
        AnswerError::Failed(code) => format!("it failed with code {code}"),
        AnswerError::Stray => "it answers another question".into(),
        AnswerError::Truncated => "its answer does not fit".into(),
        AnswerError::Malformed => "its answer is malformed".into(),
    }
}

/// The servers of `/etc/resolv.conf`.
pub fn system_servers() -> Vec<SocketAddr> {
    const PORT: u16 = 53;
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = |line: &str| line.strip_prefix("nameserver")?.split_whitespace().next()?.parse::<IpAddr>().ok();
    text.lines().filter_map(|line| address(line.trim())).map(|ip| SocketAddr::new(ip, PORT)).take(SERVERS_MAX).collect()
}

/// Servers that are asked.
pub const SERVERS_MAX: usize = 3;
