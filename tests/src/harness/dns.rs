//! A DNS server of the test's own, on a port of its own: UDP, and TCP for answers that do not fit.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running server. Stops when dropped.
pub struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<String, Says>>,
    questions: AtomicUsize,
    stopping: AtomicBool,
}

/// What the server says of a name. It knows no others.
#[derive(Clone, Debug)]
pub enum Says {
    /// These addresses, with a time to live in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// Another name, whose addresses come along.
    Alias(String),
    /// That it has failed.
    Failure,
    /// Nothing at all.
    Silence,
}

impl Dns {
    /// Starts one that knows no name.
    pub fn start() -> Dns {
        // What does not fit is asked for at the same number over TCP: until one is free for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
            let address = udp.local_addr().expect("a bound socket has an address");
            if let Ok(tcp) = TcpListener::bind(address) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("a bound socket has an address");
        udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let shared = Arc::new(Shared::default());
        let threads = vec![
            std::thread::spawn({
                let shared = shared.clone();
                move || serve_udp(&udp, &shared)
            }),
            std::thread::spawn({
                let shared = shared.clone();
                move || serve_tcp(&tcp, &shared)
            }),
        ];
        Dns { address, shared, threads }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it says this of a name.
    pub fn say(&self, name: &str, says: Says) {
        self.shared.names.lock().expect("nobody panicked").insert(name.into(), says);
    }

    /// Questions that it got so far.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    const DATAGRAM_BYTES: usize = 512;
    let mut buffer = [0; DATAGRAM_BYTES];
    while !shared.stopping.load(SeqCst) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some(mut reply) = reply(&buffer[..len], shared) else { continue };
        if reply.len() > DATAGRAM_BYTES {
            // The question alone, marked as cut off.
            reply.truncate(len);
            reply[2] |= 2;
            reply[6..8].fill(0);
        }
        let _ = socket.send_to(&reply, from);
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.stopping.load(SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let mut len = [0; 2];
        let mut question = Vec::new();
        let read = stream.read_exact(&mut len).and_then(|()| {
            question.resize(u16::from_be_bytes(len).into(), 0);
            stream.read_exact(&mut question)
        });
        if read.is_ok()
            && let Some(reply) = reply(&question, shared)
        {
            let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat());
        }
    }
}

fn reply(question: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    const NAME_ERROR: u8 = 3;
    const SERVER_FAILURE: u8 = 2;
    shared.questions.fetch_add(1, SeqCst);
    let (name, end) = name(question)?;
    let four = question.get(end..end + 2)? == [0, 1];
    let names = shared.names.lock().expect("nobody panicked");
    let (mut records, mut code) = (Vec::new(), 0);
    let (mut says, mut owner) = (names.get(&name), vec![0xc0, 12]);
    while let Some(Says::Alias(target)) = says {
        let data = encoded(target);
        records.push(record(&owner, 5, 60, &data));
        (says, owner) = (names.get(target), data);
    }
    match says {
        Some(Says::Addresses(addresses, ttl)) => {
            for address in addresses {
                match address {
                    IpAddr::V4(ip) if four => records.push(record(&owner, 1, *ttl, &ip.octets())),
                    IpAddr::V6(ip) if !four => records.push(record(&owner, 28, *ttl, &ip.octets())),
                    _ => {}
                }
            }
        }
        Some(Says::Failure) => code = SERVER_FAILURE,
        Some(Says::Silence) => return None,
        Some(Says::Alias(_)) | None => code = NAME_ERROR,
    }
    let mut out = question.get(..end + 4)?.to_vec();
    (out[2], out[3]) = (0x81, 0x80 | code);
    out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    // What a question says beside its name is not repeated.
    out[8..12].fill(0);
    out.extend(records.concat());
    Some(out)
}

/// The name in a question, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let len = usize::from(*question.get(at)?);
        if len == 0 {
            return Some((labels.join("."), at + 1));
        }
        labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + len)?).into_owned());
        at += 1 + len;
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}
