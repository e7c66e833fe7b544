//! A server of HTTP/1.1 in plain threads, whose every pause is known.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What the server does with a request; `None` closes the connection without a byte.
type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// A server of threads. It can be stopped and goes on where it was, as a process that got SIGSTOP does.
pub struct Server {
    pub address: SocketAddr,
    paused: Arc<(Mutex<bool>, Condvar)>,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            paused: Arc::default(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let answer: Arc<Answer> = Arc::new(answer);
        let (paused, requests, connections) =
            (server.paused.clone(), server.requests.clone(), server.connections.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let (answer, paused, requests) = (answer.clone(), paused.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, &*answer, &paused, &requests));
            }
        });
        server
    }

    pub fn pause(&self, pause: bool) {
        *self.paused.0.lock().unwrap() = pause;
        self.paused.1.notify_all();
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, paused: &(Mutex<bool>, Condvar), requests: &AtomicUsize) {
    let _ = stream.set_nodelay(true);
    let (mut seen, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end + 4]).into_owned();
            let body: usize =
                head.lines().find_map(|l| l.strip_prefix("Content-Length: ").map(|n| n.parse().unwrap())).unwrap_or(0);
            if seen.len() < end + 4 + body {
                break;
            }
            seen.drain(..end + 4 + body);
            requests.fetch_add(1, SeqCst);
            let mut is_paused = paused.0.lock().unwrap();
            while *is_paused {
                is_paused = paused.1.wait(is_paused).unwrap();
            }
            drop(is_paused);
            match answer(&head) {
                Some(bytes) => {
                    let closes = bytes.windows(17).any(|w| w == b"Connection: close");
                    if stream.write_all(&bytes).is_err() || closes {
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    }
                }
                None => return,
            }
        }
        match stream.read(&mut buf) {
            Ok(0) | Err(_) => return,
            Ok(n) => seen.extend_from_slice(&buf[..n]),
        }
    }
}

pub fn reply(body: &str) -> Option<Vec<u8>> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// Waits for what a server has seen.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
