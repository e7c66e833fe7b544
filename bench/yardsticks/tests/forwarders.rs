//! Every yardstick, with real sockets: a yardstick that forwards wrongly measures nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const BINARIES: [(&str, &str); 5] = [
    ("bare-uring", env!("CARGO_BIN_EXE_bare-uring")),
    ("bare-epoll", env!("CARGO_BIN_EXE_bare-epoll")),
    ("tokio", env!("CARGO_BIN_EXE_tokio")),
    ("monoio", env!("CARGO_BIN_EXE_monoio")),
    ("tokio-uring", env!("CARGO_BIN_EXE_tokio-uring")),
];
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Forwarder {
    child: Child,
    address: SocketAddr,
}

impl Forwarder {
    fn start(program: &str, upstream: SocketAddr, flags: &[&str]) -> Forwarder {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["--listen", &address.to_string(), "--upstream", &upstream.to_string()])
            .args(flags)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "{program} does not listen");
            std::thread::yield_now();
        }
        Forwarder { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An origin of threads: `answer` gets each whole request and the stream; false closes it. Counts connections opened and ended.
struct Origin {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Origin {
    fn start(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Origin { address: listener.local_addr().unwrap(), opened: Arc::default(), ended: Arc::default() };
        let (opened, ended, answer) = (origin.opened.clone(), origin.ended.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                opened.fetch_add(1, SeqCst);
                let (ended, answer) = (ended.clone(), answer.clone());
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        if !answer(&request, &mut stream) {
                            break;
                        }
                    }
                    drop(stream);
                    ended.fetch_add(1, SeqCst);
                });
            }
        });
        origin
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        seen.push(byte[0]);
    }
    let head = String::from_utf8(seen).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Reads exactly what is expected.
fn expect(stream: &mut TcpStream, reply: &str, who: &str) {
    let mut seen = vec![0; reply.len()];
    stream.read_exact(&mut seen).unwrap_or_else(|e| panic!("{who}: {e}"));
    assert!(seen == reply.as_bytes(), "{who}: {}", String::from_utf8_lossy(&seen[..seen.len().min(300)]));
}

fn with_length(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n";

#[test]
fn exchanges_of_every_shape_on_one_connection() {
    let large = "x".repeat(64 << 10);
    for (who, program) in BINARIES {
        let body = large.clone();
        let origin = Origin::start(move |request, stream| {
            let reply = match request.split(' ').nth(1).unwrap() {
                "/large" => with_length(&body),
                "/chunked" => CHUNKED.to_string(),
                "/interim" => format!("HTTP/1.1 100 Continue\r\n\r\n{}", with_length("later")),
                "/echo" => with_length(request.rsplit("\r\n\r\n").next().unwrap()),
                _ => with_length("small"),
            };
            // A reply in pieces for one path: cut inside of the head.
            let cut = if request.starts_with("GET /pieces") { 9 } else { reply.len() };
            stream.write_all(&reply.as_bytes()[..cut]).is_ok() && stream.write_all(&reply.as_bytes()[cut..]).is_ok()
        });
        let forwarder = Forwarder::start(program, origin.address, &[]);
        let mut client = forwarder.connect();
        for _ in 0..3 {
            for (ask, reply) in [
                (request("/small"), with_length("small")),
                (request("/large"), with_length(&large)),
                (request("/chunked"), CHUNKED.to_string()),
                (request("/pieces"), with_length("small")),
                (request("/interim"), format!("HTTP/1.1 100 Continue\r\n\r\n{}", with_length("later"))),
                (
                    format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{large}", large.len()),
                    with_length(&large),
                ),
            ] {
                client.write_all(ask.as_bytes()).unwrap();
                expect(&mut client, &reply, who);
            }
            // A head byte by byte.
            for byte in request("/small").bytes() {
                client.write_all(&[byte]).unwrap();
            }
            expect(&mut client, &with_length("small"), who);
        }
        assert_eq!(origin.opened.load(SeqCst), 1, "{who}: the upstream connection is used again");

        // Another client finds it in the pool.
        let mut other = forwarder.connect();
        other.write_all(request("/small").as_bytes()).unwrap();
        expect(&mut other, &with_length("small"), who);
        assert_eq!(origin.opened.load(SeqCst), 1, "{who}");

        // Close as asked.
        other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut rest = String::new();
        other.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, with_length("small"), "{who}");
    }
}

#[test]
fn a_reply_without_a_length_ends_with_the_connection() {
    for (who, program) in BINARIES {
        let origin = Origin::start(|_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil");
            let _ = stream.write_all(b" the end");
            false
        });
        let forwarder = Forwarder::start(program, origin.address, &[]);
        let mut client = forwarder.connect();
        client.write_all(request("/").as_bytes()).unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "HTTP/1.1 200 OK\r\n\r\nuntil the end", "{who}");
    }
}

#[test]
fn what_breaks_on_one_side_ends_on_the_other() {
    for (who, program) in BINARIES {
        // Cut in the middle of a body: the client sees an end, and not a whole reply.
        let origin = Origin::start(|_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            false
        });
        let forwarder = Forwarder::start(program, origin.address, &[]);
        let mut client = forwarder.connect();
        client.write_all(request("/").as_bytes()).unwrap();
        let mut reply = Vec::new();
        // A reset is an end as well.
        let _ = client.read_to_end(&mut reply);
        assert!(reply.len() < 80, "{who}: {}", String::from_utf8_lossy(&reply));

        // A client that goes away in the middle of a long reply takes the upstream connection with it.
        let origin = Origin::start(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").is_ok()
                && (0..).all(|_| stream.write_all(&[b'x'; 65536]).is_ok())
        });
        let forwarder = Forwarder::start(program, origin.address, &[]);
        let mut client = forwarder.connect();
        client.write_all(request("/").as_bytes()).unwrap();
        client.read_exact(&mut [0; 1 << 20]).unwrap();
        drop(client);
        let started = Instant::now();
        while origin.ended.load(SeqCst) == 0 {
            assert!(started.elapsed() < PATIENCE, "{who}: the upstream connection stays");
            std::thread::yield_now();
        }
        // And the next one is served.
        let mut client = forwarder.connect();
        client.write_all(request("/").as_bytes()).unwrap();
        client.read_exact(&mut [0; 1 << 10]).unwrap();
    }
}

#[test]
fn tunnels_carry_both_directions_to_their_ends() {
    for (who, program) in BINARIES {
        for flags in [&["--tcp"][..], &["--tcp", "--splice"]] {
            if flags.len() == 2 && !who.starts_with("bare-") {
                continue;
            }
            // Echoes until the client's FIN, then says goodbye: a half-closed connection still carries.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    std::thread::spawn(move || {
                        let mut buf = [0; 40_000];
                        while let Ok(length @ 1..) = stream.read(&mut buf) {
                            if stream.write_all(&buf[..length]).is_err() {
                                return;
                            }
                        }
                        let _ = stream.write_all(b"goodbye");
                    });
                }
            });
            let forwarder = Forwarder::start(program, address, flags);
            let mut client = forwarder.connect();
            let sent: Vec<u8> = (0..8u32 << 20).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect();
            let mut writer = client.try_clone().unwrap();
            let bytes = sent.clone();
            let writing = std::thread::spawn(move || {
                writer.write_all(&bytes).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut seen = Vec::new();
            client.read_to_end(&mut seen).unwrap();
            writing.join().unwrap();
            assert!(
                seen.ends_with(b"goodbye") && seen[..seen.len() - 7] == sent,
                "{who} {flags:?}: {} bytes",
                seen.len()
            );
        }
    }
}
