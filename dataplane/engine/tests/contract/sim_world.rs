//! The world of the simulated driver: no latency and no faults, as loopback, so that the suite's expectations of a quiet machine
//! hold. The seed still decides the order of completions.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_engine::io::{End, Limits};
use ringway_engine::sim::{Faults, PeerId, PeerState, World as Net};
use ringway_engine::{ListenSocket, Sim};

use crate::world::{PeerRead, Room, World};

/// What both directions of every connection hold once somebody asked for little room.
const TINY_BYTES: usize = 8 << 10;
/// As loopback, where a send buffer grows to some MiB, and less than any case relies on.
const DEFAULT_BYTES: usize = 512 << 10;

/// A simulated network and its one driver.
pub struct Simulated {
    net: Net,
    sim: Sim,
    tiny: bool,
}

impl Simulated {
    fn faults(&self) -> Faults {
        let bytes = if self.tiny { TINY_BYTES } else { DEFAULT_BYTES };
        Faults {
            latency_min: Duration::ZERO,
            latency_max: Duration::ZERO,
            socket_buffer_bytes: bytes,
            ..Faults::none()
        }
    }

    fn use_room(&mut self, room: Room) {
        self.tiny |= room == Room::Tiny;
        self.net.set_faults(self.faults());
    }

    /// Lets arrive what was sent: there is no latency.
    fn arrive(&self) {
        self.net.advance(Duration::ZERO);
    }

    fn free_addr(&self) -> SocketAddr {
        self.net.listen("127.0.0.1:0".parse().unwrap()).local_addr().unwrap()
    }
}

impl World for Simulated {
    type Io = Sim;
    type Peer = PeerId;
    type PeerListener = SocketAddr;

    fn new(limits: Limits) -> Self {
        let net =
            Net::new(u64::from(limits.small_buffers) << 32 | limits.completions_per_turn_max as u64, Faults::none());
        let sim = net.sim(limits);
        let mut world = Simulated { net, sim, tiny: false };
        world.use_room(Room::Default);
        world
    }

    fn io(&mut self) -> &mut Sim {
        &mut self.sim
    }

    fn listen(&mut self, room: Room) -> (ListenSocket, SocketAddr) {
        self.use_room(room);
        let addr = self.free_addr();
        (self.net.listen(addr), addr)
    }

    fn peer_connect(&mut self, addr: SocketAddr, room: Room) -> PeerId {
        self.use_room(room);
        let peer = self.net.peer_connect(addr);
        self.arrive();
        assert!(matches!(self.net.peer_state(peer), PeerState::Open { .. }), "{:?}", self.net.peer_state(peer));
        peer
    }

    fn peer_listen(&mut self) -> (SocketAddr, SocketAddr) {
        let addr = self.free_addr();
        self.net.peer_listen(addr);
        (addr, addr)
    }

    fn peer_accept(&mut self, listener: &SocketAddr) -> Option<PeerId> {
        self.arrive();
        self.net.peer_accept(*listener)
    }

    fn refusing_addr(&mut self) -> SocketAddr {
        self.free_addr()
    }

    fn write(&mut self, peer: &PeerId, bytes: &[u8]) -> usize {
        let n = self.net.peer_write(*peer, bytes);
        self.arrive();
        n
    }

    fn read(&mut self, peer: &PeerId, max: usize) -> PeerRead {
        self.arrive();
        let mut bytes = Vec::new();
        if self.net.peer_read_some(*peer, &mut bytes, max) > 0 {
            return PeerRead::Bytes(bytes);
        }
        match self.net.peer_state(*peer) {
            PeerState::Open { end: None, .. } => PeerRead::Nothing,
            PeerState::Open { end: Some(End::Eof), .. } => PeerRead::Eof,
            _ => PeerRead::Broken,
        }
    }

    fn half_close(&mut self, peer: &PeerId) {
        self.net.peer_shutdown(*peer);
        self.arrive();
    }

    fn reset(&mut self, peer: PeerId) {
        self.net.peer_reset(peer);
        self.arrive();
    }
}
