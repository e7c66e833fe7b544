//! The driver half of the simulation: [`Io`] for one worker of a [`World`](super::World).
//!
//! Send queues, buffers, spilling and socket names are the ones of the real drivers; only the kernel is replaced. What would be several
//! completions in a ring is decided at the moment of delivery, so nothing of a closed socket is ever left over.

mod progress;
mod transmit;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SimConn;
use super::dice::Dice;
use super::network::{Acceptor, Close, Network, Owner, Readable};
use crate::arenas::{Arenas, SMALL_BYTES};
use crate::buf::Buf;
use crate::io::{
    Backend, CREDIT_UNLIMITED, Class, Completion, Conn, ConnKind, Errno, Io, Keepalive, Limits, ListenKind,
    ListenSocket, Listener, Piece, Sock, Stats, Time, Token, Wake, Waker,
};
use crate::listeners::ACCEPT_BACK_OFF;
use crate::send_queue::{SendQueue, SendState, Sender, Sending};
use crate::slab::{Key, Slab};
use crate::table::Table;

/// Buffers filled for one socket before others get theirs.
const READS_PER_VISIT_MAX: usize = 4;
/// Bytes spliced in one go.
const SPLICE_BYTES: usize = 64 << 10;
const LISTENERS_MAX: u32 = 1 << 12;
/// Where a driver connects from.
const LOCAL_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A simulated driver. Made by [`World::sim`](super::World::sim).
pub struct Sim {
    net: Rc<RefCell<Network>>,
    id: u32,
    sockets: Table<Socket>,
    listeners: Slab<Listening>,
    arenas: Arenas,
    sending: Sending,
    /// Sockets to look at.
    ready: Vec<Sock>,
    /// Sockets that found no buffer.
    parked: VecDeque<Sock>,
    ready_listeners: Vec<u32>,
    waker: Arc<SimWaker>,
    dice: Dice,
    now: Time,
    /// Reports that nobody waits for: bytes that were sent, all that were queued. They are held back as long as a driver may.
    late: Vec<(Sock, u32)>,
    limits: Limits,
    stats: Stats,
    scratch: Box<[u8]>,
}

/// Buffers of a driver that nobody holds, and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferCounts {
    /// Free small buffers.
    pub small_free: usize,
    /// All small buffers.
    pub small: usize,
    /// Free bulk buffers; 0 of 0 until the first use.
    pub bulk_free: usize,
    /// All bulk buffers.
    pub bulk: usize,
}

struct Socket {
    end: Key,
    token: Token,
    queue: SendQueue,
    credit: u32,
    class: Class,
    /// The end was delivered, or a splice took the receiving over.
    ended: bool,
    /// In `ready`.
    listed: bool,
    /// In `parked`.
    parked: bool,
    /// Receiving is held back until then; 0 when not.
    held_until: u64,
    /// Bytes that are delivered although the credit is gone.
    late: usize,
    /// The call in flight: what it took, and when that is reported.
    in_flight: Option<(usize, usize, u64)>,
    splice_to: Option<Sock>,
    splice_from: Option<Sock>,
}

impl Sender for Socket {
    fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }
    fn token(&self) -> Token {
        self.token
    }
}

struct Listening {
    bound: Key,
    token: Token,
    paused_until: Option<Time>,
}

#[derive(Debug, Default)]
struct SimWaker(AtomicBool);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Sim {
    pub(super) fn new(net: Rc<RefCell<Network>>, limits: Limits) -> Sim {
        let (id, dice, now) = {
            let mut net = net.borrow_mut();
            (net.add_driver(), Dice::new(net.dice.next()), Time(net.now))
        };
        Sim {
            net,
            id,
            sockets: Table::new(limits.sockets_max),
            listeners: Slab::new(LISTENERS_MAX),
            arenas: Arenas::new(&limits).expect("memory for the buffers of a simulation"),
            sending: Sending::new(&limits),
            ready: Vec::new(),
            parked: VecDeque::new(),
            ready_listeners: Vec::new(),
            waker: Arc::default(),
            dice,
            now,
            late: Vec::new(),
            limits,
            stats: Stats::default(),
            scratch: vec![0; SPLICE_BYTES].into_boxed_slice(),
        }
    }

    /// How many buffers are free: all of them once the worker holds none.
    pub fn buffers(&self) -> BufferCounts {
        let (small, bulk) = (self.arenas.small(), self.arenas.mapped_bulk());
        BufferCounts {
            small_free: small.free(),
            small: small.slots(),
            bulk_free: bulk.map_or(0, |arena| arena.free()),
            bulk: bulk.map_or(0, |arena| arena.slots()),
        }
    }

    fn insert(&mut self, end: Key, token: Token, state: SendState) -> Result<Sock, Errno> {
        let socket = Socket {
            end,
            token,
            queue: SendQueue::new(state),
            credit: 0,
            class: Class::Small,
            ended: false,
            listed: false,
            parked: false,
            held_until: 0,
            late: 0,
            in_flight: None,
            splice_to: None,
            splice_from: None,
        };
        self.sockets.insert(socket).map_err(|_| Errno(libc::EMFILE))
    }

    fn list(&mut self, sock: Sock) {
        if let Some(socket) = self.sockets.get_mut(sock)
            && !socket.listed
        {
            socket.listed = true;
            self.ready.push(sock);
        }
    }

    fn accept_ready(&mut self, out: &mut Vec<Completion>, out_max: usize) {
        let now = Time(self.net.borrow().now);
        for (key, listening) in self.listeners.iter_mut() {
            if listening.paused_until.is_some_and(|until| until <= now) {
                listening.paused_until = None;
                self.ready_listeners.push(key.index);
            }
        }
        let mut again = Vec::new();
        while let Some(number) = self.ready_listeners.pop() {
            if !self.accept_from(number, out, out_max) {
                again.push(number);
            }
        }
        self.ready_listeners = again;
    }

    /// Empties a backlog. False when this turn has no room for all of it.
    fn accept_from(&mut self, number: u32, out: &mut Vec<Completion>, out_max: usize) -> bool {
        let Some(listening) = self.listeners.key_at(number).and_then(|key| self.listeners.get_mut(key)) else {
            return true;
        };
        let mut net = self.net.borrow_mut();
        while listening.paused_until.is_none() && net.has_backlog(listening.bound) {
            if out.len() >= out_max {
                return false;
            }
            if net.strikes(|faults| faults.accept_emfile) {
                listening.paused_until = Some(Time(net.now).after(ACCEPT_BACK_OFF));
                self.stats.accept_pauses += 1;
                out.push(Completion::AcceptPaused { listener: listening.token, errno: Errno(libc::EMFILE) });
                break;
            }
            let Some(end) = net.accept(listening.bound, Owner::Loose) else { break };
            let Some(peer) = net.end(end).map(|end| end.remote) else { break };
            let conn = Conn(ConnKind::Sim(SimConn::new(end, net.orphans())));
            out.push(Completion::Accepted { listener: listening.token, conn, peer });
        }
        true
    }

    /// The first moment at which there is something to do without an event of the network.
    fn own_deadline(&self) -> Time {
        let paused = self.listeners.iter().filter_map(|(_, listening)| listening.paused_until).min();
        self.sending.next_deadline().min(paused.unwrap_or(Time::NEVER))
    }

    /// Lets time pass up to the next event, not beyond the deadline. False when the turn is over.
    fn wait(&mut self, deadline: Time) -> bool {
        let mut net = self.net.borrow_mut();
        let next = net.next_at().map_or(Time::NEVER, Time).min(self.own_deadline());
        let until = next.min(deadline);
        if until == Time::NEVER {
            return false;
        }
        let before = net.now;
        net.run_until(until.0.max(before));
        next <= deadline
    }

    fn end_socket(&mut self, sock: Sock, how: Close) {
        let Some(mut socket) = self.sockets.remove(sock) else { return };
        self.sending.clear(&mut socket.queue);
        if let Some(to) = socket.splice_to {
            self.unsplice(sock, to);
        }
        if let Some(from) = socket.splice_from {
            self.unsplice(from, sock);
        }
        self.net.borrow_mut().close(socket.end, how);
    }
}

impl Drop for Sim {
    /// As the end of a process does: everything is closed.
    fn drop(&mut self) {
        let mut net = self.net.borrow_mut();
        for (_, listening) in self.listeners.iter() {
            net.unlisten(listening.bound);
        }
        for (_, socket) in self.sockets.iter_mut() {
            net.close(socket.end, Close::Graceful);
        }
    }
}

impl Io for Sim {
    fn backend(&self) -> Backend {
        Backend::Sim
    }

    fn now(&self) -> Time {
        self.now
    }

    fn clock(&mut self) -> Time {
        Time(self.net.borrow().now)
    }

    fn random(&mut self) -> u64 {
        self.dice.next()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn accept_start(&mut self, socket: ListenSocket, token: Token) -> Result<Listener, Errno> {
        let ListenKind::Sim(addr) = socket.0 else { return Err(Errno(libc::EBADF)) };
        let number = self.listeners.next_key().ok_or(Errno(libc::EMFILE))?.index;
        let bound = self.net.borrow_mut().listen(addr, Acceptor::Driver(self.id, number))?;
        let key =
            self.listeners.insert(Listening { bound, token, paused_until: None }).map_err(|_| Errno(libc::EMFILE))?;
        Ok(listener_name(key))
    }

    fn accept_stop(&mut self, listener: Listener) {
        let Some(key) = self.listeners.key_at(listener.0 & 0xffff).filter(|key| listener_name(*key) == listener) else {
            return;
        };
        if let Some(listening) = self.listeners.remove(key) {
            self.net.borrow_mut().unlisten(listening.bound);
        }
    }

    fn adopt(&mut self, conn: Conn, token: Token) -> Result<Sock, Errno> {
        let ConnKind::Sim(conn) = conn.0 else { return Err(Errno(libc::EBADF)) };
        if self.sockets.is_full() {
            return Err(Errno(libc::EMFILE));
        }
        let end = conn.adopt();
        let sock = self.insert(end, token, SendState::Ready)?;
        self.net.borrow_mut().set_owner(end, Owner::Driver(self.id, sock));
        Ok(sock)
    }

    fn connect(&mut self, addr: SocketAddr, token: Token) -> Result<Sock, Errno> {
        let mut net = self.net.borrow_mut();
        if self.sockets.is_full() || net.strikes(|faults| faults.connect_emfile) {
            return Err(Errno(libc::EMFILE));
        }
        let local = net.ephemeral(LOCAL_IP);
        let end = net.connect(Owner::Loose, local, addr)?;
        drop(net);
        let sock = self.insert(end, token, SendState::Opening)?;
        self.net.borrow_mut().set_owner(end, Owner::Driver(self.id, sock));
        Ok(sock)
    }

    // A simulated peer is never silently gone.
    fn keepalive(&mut self, _: Sock, _: Keepalive) {}

    fn set_token(&mut self, sock: Sock, token: Token) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            socket.token = token;
        }
    }

    fn peer_addr(&self, sock: Sock) -> Option<SocketAddr> {
        let end = self.sockets.get(sock)?.end;
        self.net.borrow().end(end).map(|end| end.remote)
    }

    fn local_addr(&mut self, sock: Sock) -> Option<SocketAddr> {
        let end = self.sockets.get(sock)?.end;
        self.net.borrow().end(end).map(|end| end.local)
    }

    fn recv(&mut self, sock: Sock, class: Class, credit: u32) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let mut net = self.net.borrow_mut();
        if credit == 0 && socket.credit > 0 && net.strikes(|faults| faults.late_receive) {
            if let Readable::Bytes(n) = net.readable(socket.end) {
                socket.late = n.min(socket.credit as usize).min(SMALL_BYTES);
            }
        } else if credit > 0 {
            socket.late = 0;
        }
        (socket.class, socket.credit) = (class, credit);
        drop(net);
        self.list(sock);
    }

    fn send(&mut self, sock: Sock, piece: Piece) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            self.sending.push(sock, &mut socket.queue, piece);
        }
    }

    fn hurry(&mut self, sock: Sock, hurry: bool) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            socket.queue.hurry = hurry;
        }
    }

    fn queued(&self, sock: Sock) -> usize {
        self.sockets.get(sock).map_or(0, |socket| socket.queue.bytes())
    }

    fn sending(&self, sock: Sock) -> bool {
        self.sockets.get(sock).is_some_and(|socket| socket.queue.state == SendState::InFlight)
    }

    fn shutdown(&mut self, sock: Sock) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            self.sending.finish(sock, &mut socket.queue);
        }
    }

    fn close(&mut self, sock: Sock) {
        self.end_socket(sock, Close::Graceful);
    }

    fn reset(&mut self, sock: Sock) {
        self.end_socket(sock, Close::Abort);
    }

    fn splice(&mut self, from: Sock, to: Sock) {
        if self.sockets.get(from).is_none_or(|socket| socket.ended) || self.sockets.get(to).is_none() {
            return;
        }
        if let Some(source) = self.sockets.get_mut(from) {
            source.ended = true;
            source.splice_to = Some(to);
        }
        if let Some(target) = self.sockets.get_mut(to) {
            target.splice_from = Some(from);
        }
        self.list(from);
    }

    fn alloc(&mut self, class: Class) -> Option<Buf> {
        self.arenas.take(class)
    }

    fn turn(&mut self, deadline: Time, out: &mut Vec<Completion>) {
        let before = out.len();
        let out_max = before + self.limits.completions_per_turn_max.max(1);
        {
            let mut net = self.net.borrow_mut();
            net.close_orphans();
            net.clear_touched();
            let now = net.now;
            net.run_until(now);
        }
        loop {
            self.work(out, out_max);
            if out.len() > before || self.net.borrow().touched_others(self.id) {
                break;
            }
            if self.ready.is_empty() && !self.sending.has_flushes() && !self.wait(deadline) {
                break;
            }
        }
        self.now = Time(self.net.borrow().now);
        if out.len() > before || self.now >= deadline {
            self.report_late(before, out);
        }
        self.stats.turns += 1;
        self.stats.completions += (out.len() - before) as u64;
    }

    fn stats(&self) -> Stats {
        Stats {
            spills: self.sending.spills(),
            spilled_bytes: self.sending.spilled_bytes() as u64,
            sockets: self.sockets.len() as u64,
            ..self.stats
        }
    }
}

impl Socket {
    /// Bytes that may be received now.
    fn wanted(&self) -> usize {
        self.late.max(self.credit as usize)
    }

    fn charge(&mut self, n: usize) {
        self.late = self.late.saturating_sub(n);
        if self.credit != CREDIT_UNLIMITED {
            self.credit = self.credit.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
        }
    }
}

fn listener_name(key: Key) -> Listener {
    Listener(key.generation << 16 | key.index)
}
