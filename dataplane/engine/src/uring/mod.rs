//! The io_uring driver: the semantics of [`Io`] with one system call a turn.
//!
//! Receives are multishot and draw from rings of provided buffers; what arrived is sent on from that very buffer. A turn has three
//! parts: say what is wanted (receives armed or cancelled, queues flushed), enter the ring once, and turn its completions into ours.
//! Entries are made in the first part only, so that nothing the owner does between turns can pull a descriptor from under one.
//!
//! Sends never wait in the kernel: they take what fits and report it, and the rest waits here for a poll of the socket. One or two are
//! system calls of their own, more go through the ring. A socket's
//! slot, descriptor and memory stay until the last of its operations has completed, whatever the owner did to it.
//! Owned by one worker, and bound to the thread that opened it.

mod buf_ring;
mod complete;
mod ops;
mod prepare;
mod probe;
mod pumps;
mod ring;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use io_uring::cqueue;

use self::buf_ring::BufRing;
use self::ops::{Kind, Messages};
use self::ring::Ring;
use crate::arenas::Arenas;
use crate::buf::Buf;
use crate::clock::{Random, monotonic};
use crate::io::{
    Backend, CREDIT_UNLIMITED, Class, Completion, Conn, Errno, Io, Keepalive, Limits, ListenSocket, Listener, Piece,
    Sock, Stats, Time, Token, Waker,
};
use crate::listeners::Listeners;
use crate::net::{self, Connecting};
use crate::send_queue::{Fin, SendQueue, SendState, Sender, Sending};
use crate::splice::{Pipes, Pump};
use crate::table::Table;
use crate::wake::EventWaker;

/// Buffer groups.
const GROUP_SMALL: u16 = 0;
const GROUP_BULK: u16 = 1;
/// Slots the kernel has at least, however little it uses.
const SMALL_LENT_MIN: usize = 16;
const BULK_LENT_MIN: usize = 2;
/// Turns in which a driver that is dropped waits for its operations to end.
const LAST_TURNS_MAX: u32 = 1_000;

/// So few sends are made by a system call each: what came of them is known at once, and the ring is then entered to wait, not to hear of them.
const SENDS_BY_CALL_MAX: usize = 2;

/// Operations of a socket that the kernel has.
const OP_RECV: u8 = 1;
const OP_SEND: u8 = 1 << 1;
const OP_POLL_IN: u8 = 1 << 2;
const OP_POLL_OUT: u8 = 1 << 3;

/// Which kernel to reckon with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// This one; what it lacks is found out.
    AsItIs,
    /// One that has nothing optional.
    Old,
}

/// Why there is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// The kernel's answer; EINVAL when it lacks something.
    pub errno: Errno,
    /// To which step, or what it lacks.
    pub step: &'static str,
}

impl OpenError {
    fn new(step: &'static str, e: &std::io::Error) -> OpenError {
        OpenError { errno: Errno(e.raw_os_error().unwrap_or(libc::EINVAL)), step }
    }

    fn unsupported(step: &'static str) -> OpenError {
        OpenError { errno: Errno(libc::EINVAL), step }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "io_uring: {}: {}", self.step, self.errno)
    }
}

impl std::error::Error for OpenError {}

/// The driver. The order of the fields is the order in which they go: the ring before the memory that it knows.
pub struct Uring {
    ring: Ring,
    small: BufRing,
    bulk: Option<BufRing>,
    /// Bulk buffers could not be registered; small ones serve instead.
    bulk_refused: bool,
    messages: Messages,
    arenas: Arenas,
    recv_has_limit: bool,
    /// A turn with so many sends makes them by system calls.
    sends_by_call_max: usize,
    sockets: Table<Socket>,
    listeners: Listeners,
    pumps: Table<Pump>,
    pumps_to_run: Vec<Sock>,
    pipes: Pipes,
    sending: Sending,
    /// Sockets whose operations have to be looked at before the next submission.
    to_prepare: Vec<Sock>,
    /// Slots of closed sockets whose operations have to be cancelled.
    to_cancel: Vec<u32>,
    /// Sockets whose receive found no buffer.
    parked: VecDeque<Sock>,
    /// Connects decided at once; reported by the next turn.
    connected: Vec<(Sock, Result<(), Errno>)>,
    /// Listeners to arm, and names of those to cancel.
    to_accept: Vec<Listener>,
    accepts_to_cancel: Vec<Listener>,
    wake_armed: bool,
    /// Operations the kernel has, of all sockets and listeners.
    in_flight: usize,
    /// The last turn reported what it had and did not enter the ring.
    only_reported: bool,
    /// Completions of this turn that may be late.
    late: usize,
    entries: Vec<cqueue::Entry>,
    waker: Arc<EventWaker>,
    random: Random,
    now: Time,
    limits: Limits,
    stats: Stats,
}

struct Socket {
    fd: OwnedFd,
    token: Token,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    queue: SendQueue,
    /// Bytes in the send that is in flight.
    offered: u32,
    /// What the owner still grants.
    credit: u32,
    class: Class,
    /// What the armed receive may still deliver.
    armed_credit: u32,
    armed_class: Class,
    cancelling: bool,
    /// Which operations the kernel has, and which polls are wanted.
    in_flight: u8,
    wanted: u8,
    /// The end was delivered, or a pump took the receiving over.
    ended: bool,
    closing: bool,
    /// On the list of sockets to prepare.
    listed: bool,
    parked: bool,
    pump_from: Option<Sock>,
    pump_to: Option<Sock>,
}

impl Sender for Socket {
    fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }
    fn token(&self) -> Token {
        self.token
    }
}

impl Uring {
    /// Opens the driver for the calling thread: a restricted ring, one eventfd, the small buffers.
    pub fn open(limits: Limits) -> Result<Uring, OpenError> {
        Uring::open_with(limits, Kernel::AsItIs)
    }

    /// As [`Uring::open`], but does without everything that is optional, as on the oldest kernel that will do, and sends by the ring alone. For tests.
    #[doc(hidden)]
    pub fn open_as_on_an_old_kernel(limits: Limits) -> Result<Uring, OpenError> {
        Uring::open_with(limits, Kernel::Old)
    }

    fn open_with(limits: Limits, kernel: Kernel) -> Result<Uring, OpenError> {
        let mut ring = Ring::open(limits.queue_entries, kernel)?;
        let arenas = Arenas::new(&limits).map_err(|e| OpenError::new("mapping buffers", &e))?;
        let waker = EventWaker::new().map_err(|e| OpenError::new("eventfd", &e.into()))?;
        let small = BufRing::new(&ring, arenas.small(), GROUP_SMALL, SMALL_LENT_MIN);
        let mut small = small.map_err(|e| OpenError::new("register_pbuf_ring", &e))?;
        ring.enable()?;
        let recv_has_limit = probe::recv_has_limit(&mut ring, &mut small)? && kernel == Kernel::AsItIs;
        Ok(Uring {
            ring,
            small,
            bulk: None,
            bulk_refused: false,
            messages: Messages::new(),
            arenas,
            recv_has_limit,
            sends_by_call_max: if kernel == Kernel::Old { 0 } else { SENDS_BY_CALL_MAX },
            sockets: Table::new(limits.sockets_max),
            listeners: Listeners::new(),
            pumps: Table::new(limits.sockets_max),
            pumps_to_run: Vec::new(),
            pipes: Pipes::default(),
            sending: Sending::new(&limits),
            to_prepare: Vec::new(),
            to_cancel: Vec::new(),
            parked: VecDeque::new(),
            connected: Vec::new(),
            to_accept: Vec::new(),
            accepts_to_cancel: Vec::new(),
            wake_armed: false,
            in_flight: 0,
            only_reported: false,
            late: 0,
            entries: Vec::new(),
            waker,
            random: Random::from_kernel(),
            now: monotonic(),
            limits,
            stats: Stats::default(),
        })
    }

    fn insert(&mut self, fd: OwnedFd, token: Token, peer: Option<SocketAddr>, state: SendState) -> Result<Sock, Errno> {
        let socket = Socket {
            fd,
            token,
            peer,
            local: None,
            queue: SendQueue::new(state),
            offered: 0,
            credit: 0,
            class: Class::Small,
            armed_credit: 0,
            armed_class: Class::Small,
            cancelling: false,
            in_flight: 0,
            wanted: 0,
            ended: false,
            closing: false,
            listed: false,
            parked: false,
            pump_from: None,
            pump_to: None,
        };
        self.sockets.insert(socket).map_err(|_| Errno(libc::EMFILE))
    }

    /// Frees the slot of a closed socket when the kernel is done with it.
    pub(super) fn vacate_if_done(&mut self, index: u32) {
        if self.sockets.at_mut(index).is_some_and(|(_, socket)| socket.closing && socket.in_flight == 0)
            && let Some(mut socket) = self.sockets.vacate(index)
        {
            self.sending.clear(&mut socket.queue);
            self.stats.system_calls += 1;
        }
    }
}

impl Io for Uring {
    fn backend(&self) -> Backend {
        Backend::Uring
    }

    fn now(&self) -> Time {
        self.now
    }

    fn clock(&mut self) -> Time {
        monotonic()
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn accept_start(&mut self, socket: ListenSocket, token: Token) -> Result<Listener, Errno> {
        let fd = net::listener_fd(socket)?;
        self.stats.system_calls += 2;
        let listener = self.listeners.insert(fd, token).ok_or(Errno(libc::EMFILE))?;
        self.to_accept.push(listener);
        Ok(listener)
    }

    fn accept_stop(&mut self, listener: Listener) {
        if self.listeners.remove(listener).is_some() {
            self.accepts_to_cancel.push(listener);
        }
    }

    fn adopt(&mut self, conn: Conn, token: Token) -> Result<Sock, Errno> {
        self.insert(net::conn_fd(conn)?, token, None, SendState::Ready)
    }

    fn connect(&mut self, addr: SocketAddr, token: Token) -> Result<Sock, Errno> {
        if self.sockets.is_full() {
            return Err(Errno(libc::EMFILE));
        }
        self.stats.system_calls += 3;
        let (fd, result) = match net::connect(&addr)? {
            Connecting::Done(fd) => (fd, Some(Ok(()))),
            Connecting::Pending(fd) => (fd, None),
            Connecting::Refused(fd, errno) => (fd, Some(Err(errno))),
        };
        let sock = self.insert(fd, token, Some(addr), SendState::Opening)?;
        match result {
            Some(result) => self.connected.push((sock, result)),
            None => self.want(sock, OP_POLL_OUT),
        }
        Ok(sock)
    }

    fn keepalive(&mut self, sock: Sock, keepalive: Keepalive) {
        if let Some(socket) = self.sockets.get(sock) {
            net::keepalive(&socket.fd, keepalive);
            self.stats.system_calls += keepalive.system_calls();
        }
    }

    fn set_token(&mut self, sock: Sock, token: Token) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            socket.token = token;
        }
    }

    fn peer_addr(&self, sock: Sock) -> Option<SocketAddr> {
        let socket = self.sockets.get(sock)?;
        socket.peer.or_else(|| net::peer_addr(&socket.fd))
    }

    fn local_addr(&mut self, sock: Sock) -> Option<SocketAddr> {
        let socket = self.sockets.get_mut(sock)?;
        if socket.local.is_none() {
            self.stats.system_calls += 1;
            socket.local = net::local_addr(&socket.fd).ok();
        }
        socket.local
    }

    fn recv(&mut self, sock: Sock, class: Class, credit: u32) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let class = if self.bulk_refused { Class::Small } else { class };
        if socket.class != class || socket.credit != credit {
            socket.class = class;
            socket.credit = credit;
            list(&mut self.to_prepare, sock, socket);
        }
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
        let Some(socket) = self.sockets.retire(sock) else { return };
        socket.closing = true;
        // What the kernel may be reading stays until it says that it is done.
        if socket.in_flight & OP_SEND == 0 {
            self.sending.clear(&mut socket.queue);
        }
        let pumps = [socket.pump_from, socket.pump_to];
        if socket.in_flight & !OP_SEND != 0 {
            self.to_cancel.push(sock.index);
        }
        for pump in pumps.into_iter().flatten() {
            self.remove_pump(pump);
        }
        self.vacate_if_done(sock.index);
    }

    fn reset(&mut self, sock: Sock) {
        if let Some(socket) = self.sockets.get(sock) {
            net::linger_zero(&socket.fd);
            self.stats.system_calls += 1;
            self.close(sock);
        }
    }

    fn splice(&mut self, from: Sock, to: Sock) {
        if self.sockets.get(from).is_none_or(|s| s.ended) || self.sockets.get(to).is_none() {
            return;
        }
        let Ok(name) = self.pumps.insert(Pump::new(from, to)) else { return };
        if let Some(source) = self.sockets.get_mut(from) {
            source.ended = true;
            source.pump_from = Some(name);
            // Cancels a receive that is still armed.
            list(&mut self.to_prepare, from, source);
        }
        if let Some(target) = self.sockets.get_mut(to) {
            target.pump_to = Some(name);
        }
        self.run_later(name);
    }

    fn alloc(&mut self, class: Class) -> Option<Buf> {
        self.arenas.take(class)
    }

    fn turn(&mut self, deadline: Time, out: &mut Vec<Completion>) {
        let before = out.len();
        self.late = 0;
        self.prepare(out);
        self.enter(deadline, out.len() > before + self.late);
        self.now = monotonic();
        self.reap(out);
        self.run_pumps(out);
        self.stats.turns += 1;
        self.stats.completions += (out.len() - before) as u64;
    }

    fn stats(&self) -> Stats {
        Stats {
            system_calls: self.stats.system_calls + self.ring.calls,
            operations: self.ring.pushed,
            completion_overflows: self.ring.overflows,
            accept_pauses: self.listeners.pauses(),
            spills: self.sending.spills(),
            spilled_bytes: self.sending.spilled_bytes() as u64,
            sockets: self.sockets.len() as u64,
            ..self.stats
        }
    }
}

impl Drop for Uring {
    /// Ends every operation before the memory goes that the kernel might write to.
    fn drop(&mut self) {
        // SAFETY: a cancellation points to no memory.
        unsafe { self.ring.push(&ops::cancel_all()) };
        let mut out = Vec::new();
        for _ in 0..LAST_TURNS_MAX {
            self.ring.enter(self.in_flight > 0, Some(1_000_000));
            self.to_accept.clear();
            self.reap(&mut out);
            out.clear();
            if self.in_flight == 0 {
                return;
            }
        }
        // Should the kernel keep one all the same, its buffers must never be anything else.
        std::mem::forget(self.small.arena().clone());
        if let Some(bulk) = &self.bulk {
            std::mem::forget(bulk.arena().clone());
        }
    }
}

/// Sends FIN if it is due; true when a call was made.
fn finish(socket: &mut Socket) -> bool {
    let due = socket.queue.is_empty() && socket.queue.fin == Fin::Wanted && socket.queue.state != SendState::Opening;
    if due {
        socket.queue.fin = Fin::Sent;
        net::finish(&socket.fd);
    }
    due
}

fn recv_kind(class: Class) -> Kind {
    match class {
        Class::Small => Kind::RecvSmall,
        Class::Bulk => Kind::RecvBulk,
    }
}

fn spend(credit: &mut u32, bytes: u32) {
    if *credit != CREDIT_UNLIMITED {
        *credit = credit.saturating_sub(bytes);
    }
}

fn list(to_prepare: &mut Vec<Sock>, sock: Sock, socket: &mut Socket) {
    if !socket.listed {
        socket.listed = true;
        to_prepare.push(sock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stays_small() {
        assert!(size_of::<Socket>() <= 208, "{}", size_of::<Socket>());
    }
}
