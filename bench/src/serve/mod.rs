//! A server with replies of known sizes: the origin behind proxies that are compared, and something to try the generator on.
//!
//! `GET /N` is answered with N bytes, and so is every path whose last segment is N. One thread, on the engine; connections are kept as the client wishes.

pub mod bulk;
pub mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringway_engine::io::{CREDIT_UNLIMITED, Limits};
use ringway_engine::{Buf, Class, Completion, Io, Piece, Sock, Time, Token, net};
use ringway_http::h1::{BodyDecoder, HeadLimits, Output, Parse};
use ringway_http::head::{Framing, Method, RequestHead};
use rustls::{ServerConfig, ServerConnection};

/// Bytes of one body.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Different sizes; each is kept.
const SIZES_MAX: usize = 64;
/// Connections open at once.
const CONNECTIONS_MAX: u32 = 65_536;
/// Unread replies of one client; one that asks on is cut off.
const QUEUED_BYTES_MAX: usize = 64 << 20;
const LISTENER: Token = Token(u64::MAX);

/// Serves on `socket` until the process ends, over TLS if there is a configuration for it. `work` is CPU time that every request costs besides.
pub fn serve<I: Io>(
    io: I,
    socket: ringway_engine::ListenSocket,
    tls: Option<Arc<ServerConfig>>,
    work: Duration,
) -> Result<(), String> {
    let mut origin = Origin {
        io,
        tls,
        work,
        connections: Vec::new(),
        free: Vec::new(),
        replies: HashMap::new(),
        head: RequestHead::default(),
    };
    origin.io.accept_start(socket, LISTENER).map_err(|e| format!("listen: {e}"))?;
    let mut completions = Vec::new();
    loop {
        origin.io.turn(Time::NEVER, &mut completions);
        completions.drain(..).for_each(|completion| origin.handle(completion));
    }
}

/// Binds, and sizes of a driver that serves there.
pub fn bind(address: SocketAddr) -> Result<(ringway_engine::ListenSocket, Limits), String> {
    net::raise_nofile();
    let socket = net::listen(address).map_err(|e| format!("{address}: {e}"))?;
    Ok((socket, Limits { sockets_max: CONNECTIONS_MAX, ..Limits::default() }))
}

struct Origin<I: Io> {
    io: I,
    tls: Option<Arc<ServerConfig>>,
    work: Duration,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    replies: HashMap<usize, &'static [u8]>,
    head: RequestHead,
}

struct Connection {
    sock: Sock,
    session: Option<Box<ServerConnection>>,
    /// Of a head that came in pieces.
    pending: Vec<u8>,
    scanned: usize,
    /// The body of the request under way.
    body: Option<BodyDecoder>,
}

/// What a connection is after some input.
#[derive(PartialEq)]
enum Next {
    Read,
    /// No more requests; what is queued still leaves.
    Shut,
    Cut,
}

impl<I: Io> Origin<I> {
    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                let index = self.free.pop().unwrap_or_else(|| {
                    self.connections.push(None);
                    self.connections.len() - 1
                });
                // The configuration is sound: it was made of files that were read.
                let session = self.tls.as_ref().and_then(|tls| ServerConnection::new(tls.clone()).ok()).map(Box::new);
                match self.io.adopt(conn, Token(index as u64)) {
                    Ok(sock) => {
                        self.io.recv(sock, Class::Small, CREDIT_UNLIMITED);
                        self.connections[index] =
                            Some(Connection { sock, session, pending: Vec::new(), scanned: 0, body: None });
                    }
                    Err(_) => self.free.push(index),
                }
            }
            Completion::Received { token, buf } => self.received(token.0 as usize, &buf),
            Completion::ReceiveEnd { token, .. } | Completion::SendFailed { token, .. } => self.close(token.0 as usize),
            _ => {}
        }
    }

    fn received(&mut self, index: usize, buf: &Buf) {
        let Some(mut connection) = self.connections[index].take() else { return };
        let next = match &mut connection.session {
            None => self.take(&mut connection, buf),
            Some(session) => {
                let (mut plain, mut out) = (Vec::new(), Vec::new());
                let goes_on = tls::open(session, buf, &mut plain, &mut out);
                self.say(connection.sock, out);
                match self.take(&mut connection, &plain) {
                    Next::Read if !goes_on => Next::Shut,
                    next => next,
                }
            }
        };
        let sock = connection.sock;
        if let Some(session) = connection.session.as_mut().filter(|_| next == Next::Shut) {
            let mut out = Vec::new();
            tls::close(session, &mut out);
            self.say(sock, out);
        }
        self.connections[index] = Some(connection);
        match next {
            Next::Read => {}
            Next::Shut => self.io.shutdown(sock),
            Next::Cut => self.close(index),
        }
    }

    fn say(&mut self, sock: Sock, records: Vec<u8>) {
        if !records.is_empty() {
            self.io.send(sock, Piece::Buf(Buf::heap(records)));
        }
    }

    /// Takes bytes of HTTP, behind what is left of those before.
    fn take(&mut self, connection: &mut Connection, bytes: &[u8]) -> Next {
        if connection.pending.is_empty() {
            return self.read(connection, bytes);
        }
        let mut pending = std::mem::take(&mut connection.pending);
        pending.extend_from_slice(bytes);
        self.read(connection, &pending)
    }

    /// Answers every whole request in `bytes` and keeps what is left.
    fn read(&mut self, connection: &mut Connection, mut bytes: &[u8]) -> Next {
        while !bytes.is_empty() {
            if let Some(body) = &mut connection.body {
                let Ok(decoded) = body.decode(bytes) else { return Next::Cut };
                bytes = &bytes[decoded.consumed..];
                if body.is_done() {
                    connection.body = None;
                }
                continue;
            }
            match self.head.parse(bytes, std::mem::take(&mut connection.scanned), &HeadLimits::default()) {
                Ok(Parse::Complete) => {}
                Ok(Parse::Partial { scanned }) => {
                    connection.scanned = scanned;
                    connection.pending = bytes.to_vec();
                    return Next::Read;
                }
                Err(_) => return Next::Cut,
            }
            let reply = self.reply(self.head.path.of(bytes));
            bytes = &bytes[self.head.len..];
            burn(self.work);
            self.answer(connection, reply);
            if !self.head.keep_alive {
                // Whatever the client still sends is no request.
                connection.body = Some(BodyDecoder::new(Framing::UntilClose, Output::Data));
                return Next::Shut;
            }
            if self.io.queued(connection.sock) > QUEUED_BYTES_MAX {
                return Next::Cut;
            }
            connection.body = Some(BodyDecoder::new(self.head.framing, Output::Data)).filter(|body| !body.is_done());
        }
        Next::Read
    }

    fn answer(&mut self, connection: &mut Connection, reply: &'static [u8]) {
        let head_only = self.head.method == Method::Head;
        let head = || reply.windows(4).position(|w| w == b"\r\n\r\n").map_or(reply, |at| &reply[..at + 4]);
        let bytes = if head_only { head() } else { reply };
        match &mut connection.session {
            None => self.io.send(connection.sock, Piece::Static(bytes)),
            Some(session) => {
                let mut out = Vec::with_capacity(bytes.len() + 64);
                tls::seal(session, bytes, &mut out);
                self.say(connection.sock, out);
            }
        }
    }

    /// The reply to this path. Each size is made once and lives as long as the process.
    fn reply(&mut self, path: &[u8]) -> &'static [u8] {
        const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let size = path.rsplit(|b| *b == b'/').next();
        let size = size.and_then(|size| std::str::from_utf8(size).ok()?.parse::<usize>().ok());
        let Some(size) = size.filter(|size| *size <= BODY_BYTES_MAX) else { return NOT_FOUND };
        if let Some(reply) = self.replies.get(&size) {
            return reply;
        }
        if self.replies.len() == SIZES_MAX {
            return NOT_FOUND;
        }
        let mut reply =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        reply.resize(reply.len() + size, b'x');
        self.replies.entry(size).or_insert(reply.leak())
    }

    fn close(&mut self, index: usize) {
        if let Some(connection) = self.connections[index].take() {
            self.io.close(connection.sock);
            self.free.push(index);
        }
    }
}

/// Uses this much CPU time of the thread, however long that takes.
fn burn(work: Duration) {
    if work.is_zero() {
        return;
    }
    let end = crate::worker::thread_cpu() + work;
    while crate::worker::thread_cpu() < end {
        std::hint::spin_loop();
    }
}
