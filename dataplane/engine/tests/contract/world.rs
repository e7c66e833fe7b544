//! What the contract suite needs from the surroundings of a driver: the driver itself and the peers at the other ends.
//!
//! A world is one driver with its peers. Peers never block: they write what fits and read what is there, and the suite lets the
//! driver take turns in between. A new driver joins the suite by one implementation of [`World`].

use std::net::SocketAddr;

use ringway_engine::io::{Io, Limits};
use ringway_engine::{ListenSocket, Time};

/// How much room the kernel, or whatever plays it, gives a stream in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As the system likes.
    Default,
    /// As little as possible, so that sends of some tens of KiB do not fit.
    Tiny,
}

/// What a peer found when it read.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerRead {
    /// These bytes, not empty.
    Bytes(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// FIN.
    Eof,
    /// RST, or another error.
    Broken,
}

/// One driver and its peers.
pub trait World {
    /// The driver under test.
    type Io: Io;
    /// The far end of a connection.
    type Peer;
    /// A listener of a peer, for the driver to connect to.
    type PeerListener;

    /// A fresh driver.
    fn new(limits: Limits) -> Self;
    /// The driver.
    fn io(&mut self) -> &mut Self::Io;
    /// A listener for the driver; what it accepts has this much room to send.
    fn listen(&mut self, room: Room) -> (ListenSocket, SocketAddr);
    /// A peer that connects to the driver's listener, with this much room to receive.
    fn peer_connect(&mut self, addr: SocketAddr, room: Room) -> Self::Peer;
    /// A listener of a peer.
    fn peer_listen(&mut self) -> (Self::PeerListener, SocketAddr);
    /// The next connection of that listener, if one is there.
    fn peer_accept(&mut self, listener: &Self::PeerListener) -> Option<Self::Peer>;
    /// An address where nobody listens.
    fn refusing_addr(&mut self) -> SocketAddr;
    /// Writes what fits; 0 when nothing does, or when the stream is broken.
    fn write(&mut self, peer: &Self::Peer, bytes: &[u8]) -> usize;
    /// Reads at most `max` bytes.
    fn read(&mut self, peer: &Self::Peer, max: usize) -> PeerRead;
    /// Sends FIN.
    fn half_close(&mut self, peer: &Self::Peer);
    /// Sends RST.
    fn reset(&mut self, peer: Self::Peer);
    /// A deadline this far ahead, at which a turn gives up waiting.
    fn soon(&mut self) -> Time {
        self.io().clock().after(std::time::Duration::from_millis(2))
    }
}
