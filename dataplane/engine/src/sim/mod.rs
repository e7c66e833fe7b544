//! The third driver: a seeded simulation in virtual time.
//!
//! A [`World`] holds an in-memory TCP network. In it live any number of drivers ([`World::sim`], one a worker) and scripted peers (the
//! `peer_…` calls: clients and upstreams, driven by the test). Everything that could go either way is rolled from one seed: latencies,
//! the order of completions, short reads and writes, resets, shortages ([`Faults`]). The same seed and the same calls give the same run;
//! nothing reads a clock, starts a thread or iterates in the order of a hash.
//!
//! Time passes only in [`Io::turn`](crate::Io::turn), [`World::advance`] and [`World::step`]. A turn moves time to the next event, and
//! returns
//! * when it has completions, or
//! * when something became visible to a peer or to another driver (so that a script reacts at that very instant; the turn then has
//!   no completions), or
//! * at its deadline, or
//! * when nothing can ever happen any more and the deadline is [`Time::NEVER`](crate::Time::NEVER): time then stands still.
//!
//! So a test is a loop: turn every worker with its deadline, let every peer act on what it sees, until done.
//!
//! TCP as seen from a socket: streams with bounded buffers; FIN, half-close; RST on abort, on closing with unread bytes, and in answer
//! to bytes for a closed socket; arrived bytes stay readable after a RST; an error is reported by one call only, as on Linux.

mod dice;
mod driver;
mod faults;
mod network;
mod pipe;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::Duration;

pub use driver::{BufferCounts, Sim};
pub use faults::Faults;

use crate::io::{End, Errno, Limits, ListenKind, ListenSocket, Time};
use crate::slab::Key;
use network::{Acceptor, Close, Network, Orphans, Owner, Phase};

/// Where peers connect from unless they say otherwise.
const PEER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));

/// A scripted endpoint: a client or an upstream of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Key);

/// What a peer sees of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The handshake is not decided.
    Connecting,
    /// The connect failed. The peer is to be closed all the same.
    Failed(Errno),
    /// Connected.
    Open {
        /// Bytes that [`World::peer_read`] would return.
        readable: usize,
        /// Bytes that [`World::peer_write`] would take.
        writable: usize,
        /// How the other side's stream ended, behind the readable bytes; after `Error` nothing can be written either.
        end: Option<End>,
    },
    /// Closed or reset by the peer itself.
    Gone,
}

/// The network and all who live in it. A cheap handle.
#[derive(Clone)]
pub struct World(Rc<RefCell<Network>>);

impl World {
    /// An empty network.
    pub fn new(seed: u64, faults: Faults) -> World {
        World(Rc::new(RefCell::new(Network::new(seed, faults))))
    }

    /// A driver in this world: one worker's [`Io`](crate::Io).
    pub fn sim(&self, limits: Limits) -> Sim {
        Sim::new(Rc::clone(&self.0), limits)
    }

    /// A socket for [`Io::accept_start`](crate::Io::accept_start), which binds it. Port 0 takes an unused one. Several of one address share its connections.
    pub fn listen(&self, addr: SocketAddr) -> ListenSocket {
        let addr = if addr.port() == 0 { self.0.borrow_mut().ephemeral(addr.ip()) } else { addr };
        ListenSocket(ListenKind::Sim(addr))
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time(self.0.borrow().now)
    }

    /// Lets time pass while no driver turns. Peers and drivers find afterwards what happened.
    pub fn advance(&self, span: Duration) {
        let mut net = self.0.borrow_mut();
        let until = net.now.saturating_add(dice::nanos_of(span));
        net.run_until(until);
    }

    /// Lets time pass up to the next event. False when there is none.
    pub fn step(&self) -> bool {
        let mut net = self.0.borrow_mut();
        let next = net.next_at();
        if let Some(at) = next {
            net.run_until(at);
        }
        next.is_some()
    }

    /// From now on things go wrong differently: end with [`Faults::none`] to let a run settle. What has been rolled already stays.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Makes connects to an address go unanswered (until `Faults::connect_timeout`), or ends that.
    pub fn set_blackhole(&self, addr: SocketAddr, on: bool) {
        self.0.borrow_mut().set_blackhole(addr, on);
    }

    /// A random number of this world, for scripts.
    pub fn random(&self) -> u64 {
        self.0.borrow_mut().dice.next()
    }

    /// Connections held by drivers, accepted but not adopted, or waiting for a driver's accept. 0 once everything was closed.
    pub fn open_sockets(&self) -> usize {
        let mut net = self.0.borrow_mut();
        net.close_orphans();
        net.open().0
    }

    /// Connections held by peers.
    pub fn open_peers(&self) -> usize {
        self.0.borrow().open().1
    }

    // Peers.

    /// Starts a connect of a peer from an address of its own. [`World::peer_state`] tells how it goes.
    pub fn peer_connect(&self, addr: SocketAddr) -> PeerId {
        self.peer_connect_from(PEER_IP, addr)
    }

    /// As [`World::peer_connect`], from this address.
    pub fn peer_connect_from(&self, from: IpAddr, addr: SocketAddr) -> PeerId {
        let mut net = self.0.borrow_mut();
        let local = net.ephemeral(from);
        PeerId(net.connect(Owner::Peer, local, addr).expect("fewer endpoints than a world holds"))
    }

    /// Listens for peers to accept.
    pub fn peer_listen(&self, addr: SocketAddr) {
        self.0.borrow_mut().listen(addr, Acceptor::Peer).expect("fewer listeners than a world holds");
    }

    /// Stops listening; connections not yet accepted are reset.
    pub fn peer_unlisten(&self, addr: SocketAddr) {
        let mut net = self.0.borrow_mut();
        for listener in net.peer_listeners(addr) {
            net.unlisten(listener);
        }
    }

    /// Accepts a connection to an address that peers listen on.
    pub fn peer_accept(&self, addr: SocketAddr) -> Option<PeerId> {
        let mut net = self.0.borrow_mut();
        net.peer_listeners(addr).into_iter().find_map(|listener| net.accept(listener, Owner::Peer)).map(PeerId)
    }

    /// Writes; returns how many bytes were taken: 0 without room, and on a connection that cannot be written (any more).
    pub fn peer_write(&self, peer: PeerId, bytes: &[u8]) -> usize {
        self.0.borrow_mut().write(peer.0, bytes).unwrap_or(0)
    }

    /// Appends what arrived; returns how many bytes that were.
    pub fn peer_read(&self, peer: PeerId, out: &mut Vec<u8>) -> usize {
        let mut net = self.0.borrow_mut();
        if net.end(peer.0).is_none() { 0 } else { net.read_all(peer.0, out) }
    }

    /// As [`World::peer_read`], at most `bytes_max`: for peers that read slowly.
    pub fn peer_read_some(&self, peer: PeerId, out: &mut Vec<u8>, bytes_max: usize) -> usize {
        let mut net = self.0.borrow_mut();
        let n = net.end(peer.0).map_or(0, |end| end.arrived().min(bytes_max));
        let start = out.len();
        out.resize(start + n, 0);
        net.read(peer.0, &mut out[start..])
    }

    /// Sends FIN and keeps reading.
    pub fn peer_shutdown(&self, peer: PeerId) {
        self.0.borrow_mut().finish(peer.0);
    }

    /// Closes as close(2) does: with FIN, or with RST when arrived bytes were left unread.
    pub fn peer_close(&self, peer: PeerId) {
        self.0.borrow_mut().close(peer.0, Close::Graceful);
    }

    /// Closes with RST.
    pub fn peer_reset(&self, peer: PeerId) {
        self.0.borrow_mut().close(peer.0, Close::Abort);
    }

    /// What the peer sees now.
    pub fn peer_state(&self, peer: PeerId) -> PeerState {
        let net = self.0.borrow();
        let Some(end) = net.end(peer.0) else { return PeerState::Gone };
        match end.phase {
            Phase::Connecting => PeerState::Connecting,
            Phase::Failed(errno) => PeerState::Failed(errno),
            Phase::Established => {
                let ended = end.ended();
                let writable = if matches!(ended, Some(End::Error(_))) { 0 } else { net.room(peer.0) };
                PeerState::Open { readable: end.arrived(), writable, end: ended }
            }
        }
    }

    /// The peer's own address and the one it talks to.
    pub fn peer_addrs(&self, peer: PeerId) -> Option<(SocketAddr, SocketAddr)> {
        self.0.borrow().end(peer.0).map(|end| (end.local, end.remote))
    }

    /// Appends the peers that something happened to since the last call, each once: spares a script with many peers looking at all of
    /// them. New connections for [`World::peer_accept`] are not told here.
    pub fn peers_touched(&self, out: &mut Vec<PeerId>) {
        let mut keys = Vec::new();
        self.0.borrow_mut().take_touched_peers(&mut keys);
        out.extend(keys.into_iter().map(PeerId));
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// A simulated connection inside a [`Conn`](crate::Conn): closed when dropped before it is adopted, also on another thread.
#[derive(Debug)]
pub(crate) struct SimConn {
    /// 0 once adopted.
    bits: u64,
    orphans: Orphans,
}

impl SimConn {
    fn new(end: Key, orphans: Orphans) -> SimConn {
        SimConn { bits: end.to_bits(), orphans }
    }

    /// The endpoint, which the caller owns from now on.
    fn adopt(mut self) -> Key {
        Key::from_bits(std::mem::take(&mut self.bits))
    }
}

impl Drop for SimConn {
    fn drop(&mut self) {
        if self.bits != 0 {
            self.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(self.bits);
        }
    }
}

#[cfg(test)]
mod tests;
