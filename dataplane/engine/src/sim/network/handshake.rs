//! Listening and connecting.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Acceptor, Bound, Close, Endpoint, Event, Network, Owner, PEERS, Phase};
use crate::io::Errno;
use crate::sim::dice::nanos_of;
use crate::slab::Key;

/// Dropped SYNs are repeated after 1, 2, 4, 8 and 16 s.
const SYN_ATTEMPTS_MAX: u32 = 6;
const SYN_RETRY_NANOS: u64 = 1_000_000_000;
const FIRST_EPHEMERAL_PORT: u16 = 20_000;

impl Network {
    /// An unused port of an address.
    pub(in crate::sim) fn ephemeral(&mut self, ip: IpAddr) -> SocketAddr {
        let port = self.ports.entry(ip).or_insert(FIRST_EPHEMERAL_PORT);
        let addr = SocketAddr::new(ip, *port);
        *port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        addr
    }

    pub(in crate::sim) fn listen(&mut self, addr: SocketAddr, acceptor: Acceptor) -> Result<Key, Errno> {
        let bound = Bound { addr, acceptor, backlog: VecDeque::new(), pending: 0 };
        let key = self.listeners.insert(bound).map_err(|_| Errno(libc::EMFILE))?;
        self.bound.entry(addr).or_default().push(key);
        Ok(key)
    }

    pub(in crate::sim) fn unlisten(&mut self, listener: Key) {
        let Some(bound) = self.listeners.remove(listener) else { return };
        if let Some(sharing) = self.bound.get_mut(&bound.addr) {
            sharing.retain(|key| *key != listener);
        }
        for end in bound.backlog {
            self.close(end, Close::Abort);
        }
    }

    /// The peers' listeners of an address.
    pub(in crate::sim) fn peer_listeners(&self, addr: SocketAddr) -> Vec<Key> {
        let keys = self.bound.get(&addr).map_or(&[][..], Vec::as_slice);
        let is_peer = |key: &Key| self.listeners.get(*key).is_some_and(|bound| bound.acceptor == Acceptor::Peer);
        keys.iter().copied().filter(is_peer).collect()
    }

    /// Connects to this address go unanswered from now on, or are answered again.
    pub(in crate::sim) fn set_blackhole(&mut self, addr: SocketAddr, on: bool) {
        if on {
            self.blackholes.insert(addr);
        } else {
            self.blackholes.remove(&addr);
        }
    }

    /// Takes a connection out of a backlog.
    pub(in crate::sim) fn accept(&mut self, listener: Key, owner: Owner) -> Option<Key> {
        let key = self.listeners.get_mut(listener)?.backlog.pop_front()?;
        self.ends.get_mut(key)?.owner = owner;
        Some(key)
    }

    pub(in crate::sim) fn has_backlog(&self, listener: Key) -> bool {
        self.listeners.get(listener).is_some_and(|bound| !bound.backlog.is_empty())
    }

    /// Starts a handshake. The owner is told how it ended.
    pub(in crate::sim) fn connect(
        &mut self,
        owner: Owner,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Key, Errno> {
        let end = Endpoint::new(owner, Phase::Connecting, local, remote, None);
        let key = self.ends.insert(end).map_err(|_| Errno(libc::EMFILE))?;
        if self.blackholes.contains(&remote) || self.dice.chance(self.faults.connect_blackhole) {
            self.schedule(self.now + nanos_of(self.faults.connect_timeout), Event::Failed(key, libc::ETIMEDOUT));
        } else if self.dice.chance(self.faults.connect_refused) {
            let at = self.now + self.latency() + self.latency();
            self.schedule(at, Event::Failed(key, libc::ECONNREFUSED));
        } else {
            let at = self.arrival();
            self.schedule(at, Event::Syn(key, 1));
        }
        Ok(key)
    }

    pub(super) fn syn(&mut self, key: Key, attempt: u32) {
        let Some(end) = self.end(key) else { return };
        let (client, addr) = (end.local, end.remote);
        let Some(listener) = self.find_listener(addr) else {
            let at = self.now + self.latency();
            return self.schedule(at, Event::Failed(key, libc::ECONNREFUSED));
        };
        let full = match self.listeners.get_mut(listener) {
            Some(bound) => bound.backlog.len() + bound.pending >= self.faults.backlog_max,
            None => true,
        };
        let server = Endpoint::new(Owner::Backlog, Phase::Established, addr, client, Some(key));
        let server = if full { None } else { self.ends.insert(server).ok() };
        let Some(server) = server else {
            let at = self.now + (SYN_RETRY_NANOS << (attempt - 1));
            let again = if attempt < SYN_ATTEMPTS_MAX {
                Event::Syn(key, attempt + 1)
            } else {
                Event::Failed(key, libc::ETIMEDOUT)
            };
            return self.schedule(at, again);
        };
        if let Some(bound) = self.listeners.get_mut(listener) {
            bound.pending += 1;
        }
        if let Some(end) = self.ends.get_mut(key) {
            end.peer = Some(server);
        }
        let at = self.arrival();
        self.schedule(at, Event::Established(key));
        let at = at + self.latency();
        self.schedule(at, Event::Acceptable(listener, server));
    }

    /// One of those that listen on an address, or on its port of every address.
    pub(super) fn find_listener(&mut self, addr: SocketAddr) -> Option<Key> {
        let any = match addr.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let sharing = [addr, SocketAddr::new(any, addr.port())]
            .into_iter()
            .find_map(|addr| self.bound.get(&addr).filter(|l| !l.is_empty()))?;
        Some(sharing[self.dice.up_to(sharing.len() - 1)])
    }

    pub(super) fn established(&mut self, key: Key) {
        match self.ends.get_mut(key) {
            Some(end) if end.phase == Phase::Connecting && !end.closed => {
                end.phase = Phase::Established;
                self.tell(key);
            }
            // Given up meanwhile: the answer meets nobody.
            Some(end) if end.phase == Phase::Connecting => self.abort(key),
            _ => {}
        }
    }

    pub(super) fn acceptable(&mut self, listener: Key, key: Key) {
        let Some(bound) = self.listeners.get_mut(listener) else { return self.close(key, Close::Abort) };
        bound.pending -= 1;
        if !self.ends.contains(key) {
            return;
        }
        bound.backlog.push_back(key);
        match bound.acceptor {
            Acceptor::Peer => self.touched |= PEERS,
            Acceptor::Driver(driver, number) => {
                self.touched |= 1 << driver;
                self.inbox(driver).listeners.push(number);
            }
        }
    }
}
