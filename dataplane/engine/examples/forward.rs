//! A bare TCP forwarder on the engine: one upstream connection per client, bytes passed on unread.
//!
//!     cargo run --release -p ringway-engine --example forward -- auto 127.0.0.1:8080 127.0.0.1:9090
//!
//! It is the floor under the proxy: what the driver costs before anything is decided about a request.

use std::error::Error;
use std::net::SocketAddr;

use ringway_engine::choose::{Choice, probe};
use ringway_engine::io::{Backend, CREDIT_UNLIMITED, End, Io, Limits};
use ringway_engine::{Class, Completion, Epoll, Piece, Sock, Time, Token, Uring, net};

const LISTENER: Token = Token(u64::MAX);

/// Two sockets that copy each other; tokens are twice the index, plus one for the upstream side.
struct Pair {
    socks: [Sock; 2],
    ended: u8,
}

struct Forwarder<I> {
    io: I,
    upstream: SocketAddr,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
}

impl<I: Io> Forwarder<I> {
    fn run(mut self, listen: SocketAddr) -> Result<(), Box<dyn Error>> {
        self.io.accept_start(net::listen(listen)?, LISTENER).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        loop {
            self.io.turn(Time::NEVER, &mut out);
            for completion in out.drain(..) {
                self.handle(completion);
            }
        }
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                let index = self.free.pop().unwrap_or(self.pairs.len());
                let tokens = [Token(index as u64 * 2), Token(index as u64 * 2 + 1)];
                let Ok(near) = self.io.adopt(conn, tokens[0]) else { return };
                let Ok(far) = self.io.connect(self.upstream, tokens[1]) else { return self.io.close(near) };
                for sock in [near, far] {
                    self.io.recv(sock, Class::Small, CREDIT_UNLIMITED);
                }
                if index == self.pairs.len() {
                    self.pairs.push(None);
                }
                self.pairs[index] = Some(Pair { socks: [near, far], ended: 0 });
            }
            Completion::Received { token, buf } => {
                if let Some((pair, side)) = self.pair(token) {
                    let other = pair.socks[1 - side];
                    self.io.send(other, Piece::Buf(buf));
                }
            }
            Completion::ReceiveEnd { token, end: End::Eof } => {
                if let Some((pair, side)) = self.pair(token) {
                    pair.ended |= 1 << side;
                    let (other, both) = (pair.socks[1 - side], pair.ended == 3);
                    self.io.shutdown(other);
                    if both {
                        self.close(token);
                    }
                }
            }
            Completion::ReceiveEnd { token, .. }
            | Completion::SendFailed { token, .. }
            | Completion::Connected { token, result: Err(_) } => self.close(token),
            _ => {}
        }
    }

    fn pair(&mut self, token: Token) -> Option<(&mut Pair, usize)> {
        Some((self.pairs.get_mut((token.0 / 2) as usize)?.as_mut()?, (token.0 % 2) as usize))
    }

    fn close(&mut self, token: Token) {
        let index = (token.0 / 2) as usize;
        if let Some(pair) = self.pairs[index].take() {
            for sock in pair.socks {
                self.io.close(sock);
            }
            self.free.push(index);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, choice, listen, upstream] = &args[..] else {
        return Err("usage: forward auto|uring|epoll LISTEN UPSTREAM".into());
    };
    let limits = Limits::default();
    let chosen = probe(choice.parse::<Choice>()?, limits)?;
    let (listen, upstream) = (listen.parse()?, upstream.parse()?);
    match chosen.backend {
        Backend::Uring => Forwarder { io: Uring::open(limits)?, upstream, pairs: vec![], free: vec![] }.run(listen),
        _ => Forwarder { io: Epoll::open(limits)?, upstream, pairs: vec![], free: vec![] }.run(listen),
    }
}
