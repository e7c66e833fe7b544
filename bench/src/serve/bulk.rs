//! The other end of `--bulk`: every connection's bytes are taken and forgotten, or it is sent bytes for as long as it takes them.

use ringway_engine::io::CREDIT_UNLIMITED;
use ringway_engine::{Class, Completion, Io, ListenSocket, Piece, Sock, Time, Token};

use super::LISTENER;

/// Sent at once; the next of them when the kernel has taken it.
static BLOCK: [u8; 1 << 20] = [b'x'; 1 << 20];

/// What is done with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bulk {
    /// What comes is read and forgotten.
    Discard,
    /// Bytes are sent without end.
    Source,
}

/// Serves on `socket` until the process ends.
pub fn serve<I: Io>(mut io: I, socket: ListenSocket, bulk: Bulk) -> Result<(), String> {
    let mut connections: Vec<Option<Sock>> = Vec::new();
    let mut free = Vec::new();
    io.accept_start(socket, LISTENER).map_err(|e| format!("listen: {e}"))?;
    let mut completions = Vec::new();
    loop {
        io.turn(Time::NEVER, &mut completions);
        for completion in completions.drain(..) {
            match completion {
                Completion::Accepted { conn, .. } => {
                    let index = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    match io.adopt(conn, Token(index as u64)) {
                        Ok(sock) => {
                            io.recv(sock, Class::Bulk, CREDIT_UNLIMITED);
                            if bulk == Bulk::Source {
                                io.send(sock, Piece::Static(&BLOCK));
                            }
                            connections[index] = Some(sock);
                        }
                        Err(_) => free.push(index),
                    }
                }
                Completion::Sent { token, drained: true, .. } if bulk == Bulk::Source => {
                    if let Some(sock) = connections[token.0 as usize] {
                        io.send(sock, Piece::Static(&BLOCK));
                    }
                }
                Completion::ReceiveEnd { token, .. } | Completion::SendFailed { token, .. } => {
                    if let Some(sock) = connections[token.0 as usize].take() {
                        io.close(sock);
                        free.push(token.0 as usize);
                    }
                }
                _ => {}
            }
        }
    }
}
