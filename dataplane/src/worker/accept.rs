//! Listeners and new connections: one worker accepts and hands each connection, before anything is read, to the worker with the least to do.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use ringway_config::model::{ListenerProtocol, Role};
use ringway_engine::io::Listener;
use ringway_engine::slab::Key;
use ringway_engine::{Class, Conn, Io, ListenSocket, Sock, Token};

use super::Worker;
use super::connection::{CREDIT, Down, Phase};
use super::token::Target;
use crate::messages::{FromWorker, ToWorker};

/// A listener this worker accepts on.
pub struct Listening {
    pub(super) id: u32,
    pub(super) handle: Listener,
}

impl<I: Io> Worker<I> {
    pub(super) fn listen(&mut self, id: u32, socket: ListenSocket) {
        match self.io.accept_start(socket, Target::Listener(id).token()) {
            Ok(handle) => self.listeners.push(Listening { id, handle }),
            Err(errno) => {
                let _ = self.wiring.house.send(FromWorker::AcceptPaused { listener: id, errno: errno.0 });
            }
        }
    }

    pub(super) fn unlisten(&mut self, id: u32) {
        if let Some(at) = self.listeners.iter().position(|l| l.id == id) {
            let listening = self.listeners.swap_remove(at);
            self.io.accept_stop(listening.handle);
        }
        let of_listener: Vec<Key> = self.downs.iter().filter(|(_, d)| d.listener == id).map(|(k, _)| k).collect();
        for key in of_listener {
            self.drain_down(key);
        }
    }

    pub(super) fn accept_paused(&mut self, listener: Token, errno: ringway_engine::Errno) {
        if let Target::Listener(listener) = Target::of(listener) {
            let _ = self.wiring.house.send(FromWorker::AcceptPaused { listener, errno: errno.0 });
        }
    }

    pub(super) fn accepted(&mut self, listener: Token, conn: Conn, peer: SocketAddr) {
        let Target::Listener(listener) = Target::of(listener) else { return };
        self.count(|s| &s.accepted);
        let Some(at) = self.least_loaded() else { return self.adopt(conn, listener, peer) };
        match self.wiring.others[at].1.send(ToWorker::Adopt { conn, listener, peer }) {
            Ok(()) => self.count(|s| &s.handed_over),
            Err(ToWorker::Adopt { conn, listener, peer }) => self.adopt(conn, listener, peer),
            Err(_) => {}
        }
    }

    /// The other worker with fewer connections than this one, if any. A worker that drains keeps what it accepts: the other may have drained already, and
    /// nobody waits for it any more. Connections are what a burst of accepts changes at once; busy time lags behind.
    fn least_loaded(&self) -> Option<usize> {
        if self.drain.is_some() {
            return None;
        }
        let load = |id: usize| {
            let stats = &self.wiring.stats[id];
            stats.downstream.load(Relaxed)
        };
        let mine = self.downs.len() as u64;
        let (at, least) =
            self.wiring.others.iter().enumerate().map(|(at, (id, _))| (at, load(*id))).min_by_key(|(_, l)| *l)?;
        // A hand-over is published only when the other has adopted it: alternate while counts are close.
        (least < mine || (least == mine && self.wiring.stats[self.wiring.id].accepted.load(Relaxed).is_multiple_of(2)))
            .then_some(at)
    }

    /// Takes a connection over, from this worker's own listener or another worker's.
    pub(super) fn adopt(&mut self, conn: Conn, listener: u32, peer: SocketAddr) {
        if self.drained {
            // Handed over by a worker that had not heard of the drain: nothing of it was read, so its client may try again.
            return;
        }
        let Some(pinned) = self.active.clone() else { return };
        let Some(index) = pinned.listener(listener) else { return };
        let view = &pinned.view.listeners()[index as usize];
        let role: Role = view.role;
        let none = Sock { index: u32::MAX, generation: u32::MAX };
        let down = Down {
            sock: none,
            listener,
            role,
            peer,
            forwarded: None,
            phase: match view.protocol {
                ListenerProtocol::Tls { .. } => Phase::Hello { wanted: 0 },
                _ => Phase::Idle,
            },
            pipe: Vec::new(),
            pipe_at: 0,
            scanned: 0,
            ended: false,
            host_absent: false,
            delayed: None,
            since: self.now,
            discarded: 0,
            timer: None,
        };
        // Full: dropping the connection closes it.
        let Ok(key) = self.downs.insert(down) else { return };
        let Ok(sock) = self.io.adopt(conn, Target::Down(key).token()) else {
            self.downs.remove(key);
            return;
        };
        if let Some(down) = self.downs.get_mut(key) {
            down.sock = sock;
        }
        match view.protocol {
            ListenerProtocol::Http { .. } => {
                self.io.hurry(sock, false);
                self.io.recv(sock, Class::Small, CREDIT);
                self.arm_down(key);
            }
            ListenerProtocol::Tls { .. } => {
                self.io.recv(sock, Class::Small, CREDIT);
                self.arm_down(key);
            }
            ListenerProtocol::Tcp { .. } => self.start_tcp(key, &pinned, index),
        }
    }
}
