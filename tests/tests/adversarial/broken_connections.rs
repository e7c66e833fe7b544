//! Connections to the upstream that break at every byte of request and response: what may have been processed is never sent twice unless its repetition
//! is harmless, and what is harmless to repeat is never lost.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_config::model::{Action, Retry, Role};
use ringway_tests::harness::{Case, Client, Config, Proxy, ProxyBuilder};
use ringway_tests::matrix;

matrix!(
    no_post_is_sent_twice_and_no_get_is_lost_wherever_a_connection_breaks,
    a_post_survives_a_pool_that_closes_under_it
);

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world";
const RESPONSE_HEAD_BYTES: usize = RESPONSE.len() - 12;

/// Where and how a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Break {
    /// After so many bytes of the request; past its end, of the response.
    request_bytes: usize,
    response_bytes: usize,
    /// With RST instead of FIN.
    reset: bool,
}

/// A server that breaks one connection when told to, and counts on how many it saw a byte of each request.
struct Fragile {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    /// For the next request whose first byte comes.
    armed: Mutex<Option<Break>>,
    seen: Mutex<HashMap<Vec<u8>, usize>>,
    /// Requests begun since it was last asked.
    begun: Mutex<usize>,
    /// Bytes of the last whole request.
    length: Mutex<usize>,
    /// Closes a connection right behind its answer.
    fickle: AtomicBool,
}

impl Fragile {
    fn start() -> Fragile {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(SeqCst) {
                        return;
                    }
                    let (Ok(stream), shared) = (stream, shared.clone()) else { continue };
                    thread::Builder::new().stack_size(128 << 10).spawn(move || drop(shared.serve(stream))).unwrap();
                }
            }
        });
        Fragile { address, shared, acceptor: Some(acceptor) }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = Vec::new();
        loop {
            if !fill(&mut stream, &mut input, 1)? {
                return Ok(());
            }
            *self.begun.lock().unwrap() += 1;
            let fault = self.armed.lock().unwrap().take();
            if let Some(fault) = fault.filter(|f| f.request_bytes < usize::MAX) {
                if fill(&mut stream, &mut input, fault.request_bytes)? {
                    // What it saw so far is as much of the request as it will ever read.
                    close(stream, fault.reset);
                }
                return Ok(());
            }
            let length = loop {
                match whole(&input) {
                    Some(length) => break length,
                    None => {
                        let more = input.len() + 1;
                        if !fill(&mut stream, &mut input, more)? {
                            return Ok(());
                        }
                    }
                }
            };
            let request: Vec<u8> = input.drain(..length).collect();
            *self.length.lock().unwrap() = length;
            let first_line = request.split(|b| *b == b'\r').next().unwrap_or_default().to_vec();
            *self.seen.lock().unwrap().entry(first_line).or_default() += 1;
            let bytes = fault.map_or(RESPONSE.len(), |f| f.response_bytes);
            stream.write_all(&RESPONSE[..bytes])?;
            if let Some(fault) = fault {
                close(stream, fault.reset);
                return Ok(());
            }
            if self.fickle.load(SeqCst) {
                return Ok(());
            }
        }
    }
}

/// Reads until there are `bytes`; false at the end of the connection.
fn fill(stream: &mut TcpStream, input: &mut Vec<u8>, bytes: usize) -> io::Result<bool> {
    let mut block = [0; 4096];
    while input.len() < bytes {
        match stream.read(&mut block)? {
            0 => return Ok(false),
            n => input.extend_from_slice(&block[..n]),
        }
    }
    Ok(true)
}

/// The length of the request at the start, when all of it is there.
fn whole(input: &[u8]) -> Option<usize> {
    let head = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
    let body = text.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
    (input.len() >= head + body).then_some(head + body)
}

fn close(stream: TcpStream, reset: bool) {
    if reset {
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
}

/// The default policy, with waits that a test does not notice.
fn proxy(case: Case, upstream: SocketAddr) -> Proxy {
    let mut config = Config::http(Role::Outbound).upstream(upstream);
    if let Action::Forward(forward) = &mut config.hosts[0].actions[0] {
        forward.retry = Some(Retry { backoff_ms: 1, backoff_max_ms: 1, ..Retry::default() });
    }
    ProxyBuilder::new(case, config).start()
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    method: &'static str,
    key: &'static str,
    body: &'static str,
}

const GET: Kind = Kind { method: "GET", key: "", body: "" };
const POST: Kind = Kind { method: "POST", key: "", body: "twenty bytes of body" };
const PUT: Kind = Kind { method: "PUT", ..POST };
const POST_WITH_KEY: Kind = Kind { key: "Idempotency-Key: 1\r\n", ..POST };

/// One client that takes a new connection when its own was cut.
struct Caller<'a> {
    proxy: &'a Proxy,
    client: Option<Client>,
    number: usize,
}

impl Caller<'_> {
    /// The line of a request, and its answer; none when the connection was cut.
    fn ask(&mut self, kind: Kind) -> (Vec<u8>, Option<(u16, Vec<u8>)>) {
        self.number += 1;
        let Kind { method, key, body } = kind;
        let line = format!("{method} /{:06} HTTP/1.1", self.number);
        let client = self.client.get_or_insert_with(|| self.proxy.client());
        client.send(format!("{line}\r\nHost: up.test\r\n{key}Content-Length: {}\r\n\r\n{body}", body.len()));
        let answer = client.try_response(false).ok();
        if answer.as_ref().is_none_or(|a| a.closes()) {
            self.client = None;
        }
        (line.into_bytes(), answer.map(|a| (a.status, a.body)))
    }
}

/// Each byte of request and response, FIN and RST, on a fresh and on a reused connection: more than 2,500 cases in each cell of the matrix, 10,000 in all.
fn no_post_is_sent_twice_and_no_get_is_lost_wherever_a_connection_breaks(case: Case) {
    let server = Fragile::start();
    let shared = &server.shared;
    let proxy = proxy(case, server.address);
    let mut caller = Caller { proxy: &proxy, client: None, number: 0 };
    let mut cases = 0;
    for kind in [GET, POST, PUT, POST_WITH_KEY] {
        assert_eq!(caller.ask(kind).1.unwrap().0, 200);
        let length = *shared.length.lock().unwrap();
        let within_request = (1..length).map(|request_bytes| (request_bytes, 0));
        let within_response = (0..RESPONSE.len()).map(|response_bytes| (usize::MAX, response_bytes));
        for (request_bytes, response_bytes) in within_request.chain(within_response) {
            for (reset, reused) in [(false, false), (true, false), (false, true), (true, true)] {
                if reused {
                    assert_eq!(caller.ask(GET).1.unwrap().0, 200);
                }
                *shared.begun.lock().unwrap() = 0;
                let fault = Break { request_bytes, response_bytes, reset };
                *shared.armed.lock().unwrap() = Some(fault);
                let (line, answer) = caller.ask(kind);
                let what = format!("{kind:?} {fault:?} reused: {reused}: {answer:?}");
                assert!(shared.armed.lock().unwrap().is_none(), "{what}");
                let processed = shared.seen.lock().unwrap().remove(&line).unwrap_or(0);
                let begun = *shared.begun.lock().unwrap();
                let whole = Some((200, RESPONSE[RESPONSE_HEAD_BYTES..].to_vec()));
                if kind == POST {
                    assert!(processed <= 1 && begun == 1, "{what}: processed {processed} times, begun {begun} times");
                    // An error, or a cut: never an answer that nobody gave.
                    assert!(answer.is_none() || answer.as_ref().is_some_and(|(status, _)| *status == 503), "{what}");
                } else if response_bytes < RESPONSE_HEAD_BYTES {
                    assert_eq!(answer, whole, "{what}");
                    assert_eq!(begun, 2, "{what}");
                } else {
                    // The head is with the client: the cut is passed on.
                    assert_eq!((answer, begun), (None, 1), "{what}");
                }
                cases += 1;
            }
        }
    }
    assert!(cases >= 2_500, "{cases} cases");
}

/// The server closes each connection right behind its answer, without a word: whether the proxy learns of it before the next request is on its way is a race,
/// and whoever wins it, no POST arrives twice and no GET is lost.
fn a_post_survives_a_pool_that_closes_under_it(case: Case) {
    let server = Fragile::start();
    server.shared.fickle.store(true, SeqCst);
    let proxy = proxy(case, server.address);
    let mut caller = Caller { proxy: &proxy, client: None, number: 0 };
    let mut lost = 0;
    for _ in 0..400 {
        assert_eq!(caller.ask(GET).1.unwrap().0, 200);
        *server.shared.begun.lock().unwrap() = 0;
        let (line, answer) = caller.ask(POST);
        let processed = server.shared.seen.lock().unwrap().remove(&line).unwrap_or(0);
        assert!(processed <= 1 && *server.shared.begun.lock().unwrap() <= 1);
        match answer {
            Some((200, _)) => assert_eq!(processed, 1),
            // Its bytes were with the kernel when the connection turned out to be closed.
            Some((503, _)) => lost += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(lost < 200, "{lost} of 400 POSTs met a connection that was closed before they were sent");
}
