//! Servers behind the proxy: scripted byte by byte, or answering politely and remembering what they saw.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::http::{Client, bad, field};

/// Stack of a connection's thread: thousands of them may run.
const STACK_BYTES: usize = 256 << 10;

/// A server on a port of its own. Stops when dropped; a script that panicked fails the test then.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    panics: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
}

/// One accepted connection, as its script sees it.
pub struct Conn {
    /// Counts from 0 in order of acceptance.
    pub number: usize,
    /// The wire, with the same verbs as a client's.
    pub wire: Client,
    shared: Arc<Shared>,
}

/// A whole request as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The connection it came on.
    pub connection: usize,
    /// Method.
    pub method: String,
    /// Request-target.
    pub target: String,
    /// The head's bytes, with its blank line.
    pub head: Vec<u8>,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer lines in order.
    pub trailers: Vec<(String, String)>,
    /// How many chunks the body came in; `None` when it was not chunked.
    pub chunks: Option<usize>,
}

/// What a server says.
#[derive(Clone, Debug)]
pub struct Reply(pub Vec<u8>);

impl Upstream {
    /// Runs `script` on a thread for every connection; the connection closes when it returns.
    pub fn script(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Upstream {
        Upstream::script_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port"), script)
    }

    fn script_on(listener: TcpListener, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Upstream {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared, Arc::new(script))
        });
        Upstream { address, shared, acceptor: Some(acceptor) }
    }

    /// Answers every request on kept-alive connections with what `reply` says, and remembers it.
    pub fn serve(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Upstream {
        Upstream::serve_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port"), reply)
    }

    /// The same on this listener.
    pub fn serve_on(listener: TcpListener, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Upstream {
        Upstream::script_on(listener, move |conn| {
            while let Ok(Some(request)) = conn.request() {
                let reply = reply(&request);
                if conn.wire.try_send(&reply.0).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers 200 with the request's own head and body as the body; `x-connection` says which connection it came on.
    pub fn echo() -> Upstream {
        Upstream::serve(|request| {
            let body = [&request.head[..], &request.body].concat();
            let head = format!(
                "HTTP/1.1 200 OK\r\nx-connection: {}\r\nContent-Length: {}\r\n\r\n",
                request.connection,
                body.len()
            );
            let body = if request.method == "HEAD" { Vec::new() } else { body };
            Reply([head.into_bytes(), body].concat())
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Whole requests seen so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many whole requests were seen.
    pub fn requests_seen(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// Whole requests seen since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let panics = std::mem::take(&mut *self.shared.panics.lock().unwrap());
        if !panics.is_empty() && !std::thread::panicking() {
            panic!("an upstream's script failed: {}", panics.join("; "));
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, script: Arc<impl Fn(&mut Conn) + Send + Sync + 'static>) {
    for stream in listener.incoming() {
        if shared.stopping.load(SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(again) = stream.try_clone() else { continue };
        let _ = stream.set_nodelay(true);
        shared.streams.lock().unwrap().push(again);
        let number = shared.accepted.fetch_add(1, SeqCst);
        shared.open.fetch_add(1, SeqCst);
        let Ok(wire) = Client::over_tcp(stream) else { continue };
        let mut conn = Conn { number, wire, shared: shared.clone() };
        let script = script.clone();
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| script(&mut conn)));
            conn.over(outcome);
        };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread for a connection");
    }
}

impl Conn {
    /// The next request, whole; `None` at the end of the connection.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(mut request) = self.request_head()? else { return Ok(None) };
        self.request_body(&mut request)?;
        self.shared.requests.lock().unwrap().push(request.clone());
        Ok(Some(request))
    }

    /// The next request's head; `None` at the end of the connection. It is not remembered.
    pub fn request_head(&mut self) -> io::Result<Option<Request>> {
        let head = match self.wire.take_head() {
            Ok(head) => head,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut lines = head[..head.len() - 4].split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target), Some(_), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad(&first));
        };
        let headers = lines.map(field).collect::<io::Result<_>>()?;
        let (body, trailers) = (Vec::new(), Vec::new());
        Ok(Some(Request { connection: self.number, method, target, headers, body, trailers, chunks: None, head }))
    }

    /// Reads the body that `request`'s head announces.
    pub fn request_body(&mut self, request: &mut Request) -> io::Result<()> {
        if request.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            let whole = self.wire.take_chunked()?;
            request.body = whole.body;
            request.trailers = whole.trailers;
            request.chunks = Some(whole.chunks);
        } else if let Some(length) = request.header("content-length") {
            let length = length.parse().map_err(|_| bad("content-length"))?;
            request.body = self.wire.take(length)?;
        }
        Ok(())
    }

    fn over(self, outcome: std::thread::Result<()>) {
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            self.shared.panics.lock().unwrap().push(text.unwrap_or_default());
        }
        // The copy kept for stopping would hold the connection open.
        let _ = self.wire.tcp().shutdown(Shutdown::Both);
        let own = self.wire.tcp().peer_addr().ok();
        self.shared.streams.lock().unwrap().retain(|s| s.peer_addr().ok() != own || own.is_none());
        self.shared.open.fetch_sub(1, SeqCst);
    }
}

impl Request {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The head as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        Reply([format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat())
    }

    /// These very bytes.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply(bytes.as_ref().to_vec())
    }
}
