//! Runs a driver and keeps, per token, everything it said, checking on the way what must hold in every case: nothing after a
//! close, no empty receive, one end of a stream, one failure of a queue.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringway_engine::io::{CREDIT_UNLIMITED, End, Io, Limits, Listener};
use ringway_engine::{Buf, Class, Completion, Conn, Errno, Piece, Sock, Time, Token};

use crate::world::{PeerRead, Room, World};

/// Turns after which a wait is given up: at 2 ms each, longer than any loaded machine needs.
const TURNS_MAX: u32 = 5_000;

/// What was heard of one socket.
#[derive(Debug, Default)]
pub struct Heard {
    /// Bytes received.
    pub received: Vec<u8>,
    /// How receiving ended.
    pub end: Option<End>,
    /// The outcome of a connect.
    pub connected: Option<Result<(), Errno>>,
    /// Bytes reported as sent.
    pub sent: u64,
    /// The last report said that nothing is queued.
    pub drained: bool,
    /// Why sending failed.
    pub failed: Option<Errno>,
    /// Bytes moved by splice.
    pub spliced: u64,
    /// Closed by us: from now on there is silence.
    pub closed: bool,
}

/// A world, its driver's completions sorted by token.
pub struct Harness<W: World> {
    /// The world.
    pub world: W,
    /// What was heard.
    pub heard: BTreeMap<u64, Heard>,
    /// Connections that came in and were not fetched yet.
    pub accepted: Vec<(Conn, SocketAddr)>,
    /// Why accepting paused, each time.
    pub pauses: Vec<Errno>,
    /// How often the waker woke us.
    pub woken: u32,
    /// Received buffers are kept here instead of being given back.
    pub hoard: Option<Vec<Buf>>,
    listener: Option<(Listener, SocketAddr)>,
    next_token: u64,
    out: Vec<Completion>,
}

pub const LISTENER_TOKEN: Token = Token(1 << 40);

impl<W: World> Harness<W> {
    pub fn new(limits: Limits) -> Self {
        Harness {
            world: W::new(limits),
            heard: BTreeMap::new(),
            accepted: Vec::new(),
            pauses: Vec::new(),
            woken: 0,
            hoard: None,
            listener: None,
            next_token: 1,
            out: Vec::new(),
        }
    }

    pub fn io(&mut self) -> &mut W::Io {
        self.world.io()
    }

    pub fn token(&mut self) -> Token {
        self.next_token += 1;
        self.heard.insert(self.next_token, Heard::default());
        Token(self.next_token)
    }

    pub fn heard(&self, token: Token) -> &Heard {
        &self.heard[&token.0]
    }

    /// Starts the one listener of this harness.
    pub fn listen(&mut self, room: Room) -> SocketAddr {
        let (socket, addr) = self.world.listen(room);
        let listener = self.io().accept_start(socket, LISTENER_TOKEN).unwrap();
        self.listener = Some((listener, addr));
        addr
    }

    pub fn stop_listening(&mut self) {
        let (listener, _) = self.listener.take().unwrap();
        self.io().accept_stop(listener);
    }

    /// A connection from a peer, adopted by the driver.
    pub fn pair(&mut self, room: Room) -> (Sock, Token, W::Peer) {
        let addr = match self.listener {
            Some((_, addr)) => addr,
            None => self.listen(room),
        };
        let peer = self.world.peer_connect(addr, room);
        self.until("an accepted connection", |h| !h.accepted.is_empty());
        let (conn, _) = self.accepted.remove(0);
        let token = self.token();
        let sock = self.io().adopt(conn, token).unwrap();
        (sock, token, peer)
    }

    /// As `pair`, and receives everything.
    pub fn open_pair(&mut self) -> (Sock, Token, W::Peer) {
        let (sock, token, peer) = self.pair(Room::Default);
        self.io().recv(sock, Class::Small, CREDIT_UNLIMITED);
        (sock, token, peer)
    }

    pub fn close(&mut self, sock: Sock, token: Token) {
        self.io().close(sock);
        self.heard.get_mut(&token.0).unwrap().closed = true;
    }

    /// Queues bytes in buffers of the driver, or of the heap when it has none to give.
    pub fn send(&mut self, sock: Sock, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let buf = match self.io().alloc(Class::Small) {
                Some(mut buf) => {
                    let n = rest.len().min(buf.len());
                    buf[..n].copy_from_slice(&rest[..n]);
                    buf.truncate(n);
                    buf
                }
                None => Buf::heap(rest.to_vec()),
            };
            rest = &rest[buf.len()..];
            self.io().send(sock, Piece::Buf(buf));
        }
    }

    /// One turn that waits a moment at most.
    pub fn turn(&mut self) {
        let deadline = self.world.soon();
        self.turn_until(deadline);
    }

    pub fn turn_until(&mut self, deadline: Time) {
        let mut out = std::mem::take(&mut self.out);
        self.world.io().turn(deadline, &mut out);
        for completion in out.drain(..) {
            self.take(completion);
        }
        self.out = out;
    }

    /// Some turns in which, on a real kernel, everything on its way arrives.
    pub fn settle(&mut self) {
        for _ in 0..10 {
            self.turn();
        }
    }

    /// Turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("waited in vain for {what}; heard {:?}; {:?}", self.heard.values().last(), self.world.io().stats());
    }

    /// Everything a peer can read, until `n` bytes or the end came.
    pub fn peer_reads(&mut self, peer: &W::Peer, n: usize) -> Vec<u8> {
        let mut got = Vec::new();
        self.until("bytes at the peer", |h| {
            while got.len() < n {
                match h.world.read(peer, n - got.len()) {
                    PeerRead::Bytes(bytes) => got.extend(bytes),
                    PeerRead::Nothing => return false,
                    other => panic!("{other:?} after {} of {n} bytes", got.len()),
                }
            }
            true
        });
        got
    }

    pub fn peer_reads_eof(&mut self, peer: &W::Peer) {
        self.until("FIN at the peer", |h| match h.world.read(peer, 1) {
            PeerRead::Nothing => false,
            PeerRead::Eof => true,
            other => panic!("{other:?}"),
        });
    }

    /// Writes everything, giving the driver turns while it does not fit.
    pub fn peer_writes(&mut self, peer: &W::Peer, bytes: &[u8]) {
        let mut written = 0;
        self.until("room for the peer's bytes", |h| {
            written += h.world.write(peer, &bytes[written..]);
            written == bytes.len()
        });
    }

    fn live(&mut self, token: Token, what: &str) -> &mut Heard {
        let heard = self.heard.get_mut(&token.0).unwrap_or_else(|| panic!("{what} of a token never given: {token:?}"));
        assert!(!heard.closed, "{what} after close");
        heard
    }

    fn take(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { listener, conn, peer } => {
                assert_eq!(listener, LISTENER_TOKEN);
                assert!(self.listener.is_some(), "accepted after accept_stop");
                self.accepted.push((conn, peer));
            }
            Completion::AcceptPaused { listener, errno } => {
                assert_eq!(listener, LISTENER_TOKEN);
                self.pauses.push(errno);
            }
            Completion::Connected { token, result } => {
                let heard = self.live(token, "Connected");
                assert!(heard.connected.is_none(), "connected twice");
                heard.connected = Some(result);
            }
            Completion::Received { token, buf } => {
                assert!(!buf.is_empty(), "an empty receive");
                let heard = self.live(token, "Received");
                assert!(heard.end.is_none(), "bytes after the end");
                heard.received.extend_from_slice(&buf);
                if let Some(hoard) = &mut self.hoard {
                    hoard.push(buf);
                }
            }
            Completion::ReceiveEnd { token, end } => {
                let heard = self.live(token, "ReceiveEnd");
                assert!(heard.end.is_none(), "two ends");
                heard.end = Some(end);
            }
            Completion::Sent { token, bytes, drained } => {
                let heard = self.live(token, "Sent");
                assert!(bytes > 0 && heard.failed.is_none(), "an empty report, or one after failure");
                heard.sent += u64::from(bytes);
                heard.drained = drained;
            }
            Completion::SendFailed { token, errno } => {
                let heard = self.live(token, "SendFailed");
                assert!(heard.failed.is_none(), "failed twice");
                heard.failed = Some(errno);
            }
            Completion::Spliced { token, bytes } => self.live(token, "Spliced").spliced += bytes,
            Completion::Woken => self.woken += 1,
        }
    }
}
