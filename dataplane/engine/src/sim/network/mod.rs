//! The simulated network: endpoints, listeners, handshakes, and the events that virtual time brings.
//!
//! Shared by all drivers and scripted peers of a [`World`](super::World). It knows TCP's observable behaviour (streams, windows, FIN, RST,
//! backlogs), not its packets. What an event changes is told to the endpoint's owner: a driver finds the socket in its inbox, a peer in
//! the list of touched peers.

mod handshake;
mod stream;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dice::Dice;
use super::faults::Faults;
use super::pipe::Pipe;
use crate::io::{End, Errno, Sock};
use crate::slab::{Key, Slab};

/// Endpoints at once, closed ones that their peer still knows included.
const ENDPOINTS_MAX: u32 = 1 << 20;
const LISTENERS_MAX: u32 = 1 << 12;

/// Who is told about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The script of a test.
    Peer,
    /// A socket of a driver.
    Driver(u32, Sock),
    /// Accepted by a driver, adopted by none yet.
    Loose,
    /// Waits for an accept.
    Backlog,
}

/// Who accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acceptor {
    Peer,
    /// A driver, and its number for the listener.
    Driver(u32, u32),
}

/// How far an endpoint's handshake got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Established,
    Failed(Errno),
}

/// How an endpoint is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// close(2): FIN, or RST when bytes were left unread.
    Graceful,
    /// With SO_LINGER 0: RST.
    Abort,
}

/// What a receive would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Nothing,
    Bytes(usize),
    End(End),
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) owner: Owner,
    pub(super) phase: Phase,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The other side; none until its SYN was answered.
    peer: Option<Key>,
    incoming: Pipe,
    /// The peer's FIN arrived.
    fin: bool,
    /// The connection is dead.
    reset: bool,
    /// An error that the next call reports, once.
    error: Option<Errno>,
    write_closed: bool,
    closed: bool,
    wants_room: bool,
    /// On the list of touched peers.
    noted: bool,
}

struct Bound {
    addr: SocketAddr,
    acceptor: Acceptor,
    backlog: VecDeque<Key>,
    /// Connections whose handshake is not complete.
    pending: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A segment arrives at this endpoint.
    Arrive(Key),
    /// The SYN of this endpoint arrives, for the nth time.
    Syn(Key, u32),
    /// This endpoint's connect succeeded.
    Established(Key),
    /// This endpoint's connect failed.
    Failed(Key, i32),
    /// The handshake is complete: the listener may accept this endpoint.
    Acceptable(Key, Key),
    /// This endpoint's window opened.
    Room(Key),
    /// A driver has something to do with one of its sockets.
    Poke(u32, u32, u32),
}

/// Who saw something new: one bit for each driver, the highest for peers.
const PEERS: u64 = 1 << 63;
pub(super) const DRIVERS_MAX: usize = 63;

pub(super) struct Network {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// By time, then by chance, then by age.
    events: BinaryHeap<Reverse<(u64, u64, u64, Event)>>,
    events_made: u64,
    ends: Slab<Endpoint>,
    listeners: Slab<Bound>,
    /// Several listeners of one address share its connections, as with SO_REUSEPORT.
    bound: BTreeMap<SocketAddr, Vec<Key>>,
    blackholes: BTreeSet<SocketAddr>,
    /// Per driver: its sockets and listeners that something happened to.
    inboxes: Vec<Inbox>,
    touched: u64,
    touched_peers: Vec<Key>,
    ports: BTreeMap<IpAddr, u16>,
    orphans: Orphans,
}

/// Connections that were accepted and then dropped, wherever that happened.
pub(super) type Orphans = Arc<Mutex<Vec<u64>>>;

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) socks: Vec<Sock>,
    pub(super) listeners: Vec<u32>,
}

impl Network {
    pub(super) fn new(seed: u64, faults: Faults) -> Network {
        Network {
            now: 1_000_000_000,
            dice: Dice::new(seed),
            faults,
            events: BinaryHeap::new(),
            events_made: 0,
            ends: Slab::new(ENDPOINTS_MAX),
            listeners: Slab::new(LISTENERS_MAX),
            bound: BTreeMap::new(),
            blackholes: BTreeSet::new(),
            inboxes: Vec::new(),
            touched: 0,
            touched_peers: Vec::new(),
            ports: BTreeMap::new(),
            orphans: Orphans::default(),
        }
    }

    pub(super) fn add_driver(&mut self) -> u32 {
        assert!(self.inboxes.len() < DRIVERS_MAX, "at most {DRIVERS_MAX} drivers in a world");
        self.inboxes.push(Inbox::default());
        u32::try_from(self.inboxes.len() - 1).expect("few drivers")
    }

    pub(super) fn inbox(&mut self, driver: u32) -> &mut Inbox {
        &mut self.inboxes[driver as usize]
    }

    pub(super) fn orphans(&self) -> Orphans {
        Arc::clone(&self.orphans)
    }

    /// Forgets who was touched; what follows counts anew.
    pub(super) fn clear_touched(&mut self) {
        self.touched = 0;
    }

    /// True when anybody but this driver was touched.
    pub(super) fn touched_others(&self, driver: u32) -> bool {
        self.touched & !(1 << driver) != 0
    }

    pub(super) fn take_touched_peers(&mut self, out: &mut Vec<Key>) {
        for key in self.touched_peers.drain(..) {
            if let Some(end) = self.ends.get_mut(key) {
                end.noted = false;
                out.push(key);
            }
        }
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Moves time to `at` and lets happen what is due until then.
    pub(super) fn run_until(&mut self, at: u64) {
        while let Some(Reverse((due, ..))) = self.events.peek() {
            if *due > at {
                break;
            }
            let Some(Reverse((due, _, _, event))) = self.events.pop() else { break };
            self.now = self.now.max(due);
            self.happen(event);
        }
        self.now = self.now.max(at);
    }

    /// Has a driver look at one of its sockets later.
    pub(super) fn poke(&mut self, driver: u32, sock: Sock, at: u64) {
        self.schedule(at, Event::Poke(driver, sock.index, sock.generation));
    }

    /// Closes connections that were accepted and dropped.
    pub(super) fn close_orphans(&mut self) {
        let orphans = std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner));
        for bits in orphans {
            self.close(Key::from_bits(bits), Close::Graceful);
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.events_made += 1;
        let chance = self.dice.next();
        self.events.push(Reverse((at.max(self.now), chance, self.events_made, event)));
    }

    /// True when this fault strikes now.
    pub(super) fn strikes(&mut self, fault: impl Fn(&Faults) -> f64) -> bool {
        self.dice.chance(fault(&self.faults))
    }

    /// How late a completion comes, in nanoseconds; never 0.
    pub(super) fn delay(&mut self) -> u64 {
        self.dice.nanos(Duration::from_nanos(1), self.faults.delay_max)
    }

    fn latency(&mut self) -> u64 {
        self.dice.nanos(self.faults.latency_min, self.faults.latency_max)
    }

    /// When a segment sent now arrives, unless an earlier one holds it up.
    fn arrival(&mut self) -> u64 {
        let mut at = self.now + self.latency();
        if self.dice.chance(self.faults.stall) {
            at += self.dice.nanos(Duration::ZERO, self.faults.stall_max);
        }
        at
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(key) => self.arrive(key),
            Event::Syn(key, attempt) => self.syn(key, attempt),
            Event::Established(key) => self.established(key),
            Event::Failed(key, errno) => {
                if let Some(end) = self.ends.get_mut(key) {
                    end.phase = Phase::Failed(Errno(errno));
                    self.tell(key);
                }
            }
            Event::Acceptable(listener, key) => self.acceptable(listener, key),
            Event::Room(key) => self.tell(key),
            Event::Poke(driver, index, generation) => {
                self.inbox(driver).socks.push(Sock { index, generation });
                self.touched |= 1 << driver;
            }
        }
    }

    /// Tells an endpoint's owner to look at it.
    fn tell(&mut self, key: Key) {
        let Some(end) = self.ends.get_mut(key).filter(|end| !end.closed) else { return };
        match end.owner {
            Owner::Peer => {
                if !std::mem::replace(&mut end.noted, true) {
                    self.touched_peers.push(key);
                }
                self.touched |= PEERS;
            }
            Owner::Driver(driver, sock) => {
                self.inbox(driver).socks.push(sock);
                self.touched |= 1 << driver;
            }
            Owner::Loose | Owner::Backlog => {}
        }
    }
}

impl Endpoint {
    fn new(owner: Owner, phase: Phase, local: SocketAddr, remote: SocketAddr, peer: Option<Key>) -> Endpoint {
        Endpoint {
            owner,
            phase,
            local,
            remote,
            peer,
            incoming: Pipe::default(),
            fin: false,
            reset: false,
            error: None,
            write_closed: false,
            closed: false,
            wants_room: false,
            noted: false,
        }
    }

    /// How the peer's stream ended, as far as it has been told. Unread bytes may be left.
    pub(super) fn ended(&self) -> Option<End> {
        match (self.fin, self.reset) {
            (_, true) => Some(End::Error(Errno(libc::ECONNRESET))),
            (true, false) => Some(End::Eof),
            (false, false) => None,
        }
    }

    pub(super) fn arrived(&self) -> usize {
        self.incoming.arrived()
    }
}
