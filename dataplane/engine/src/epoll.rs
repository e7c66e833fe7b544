//! The epoll driver: the semantics of [`Io`] over readiness.
//!
//! Every socket is registered once, edge-triggered, for everything; whether it is readable or its queue is blocked is remembered here,
//! so pausing, resuming and waiting for room cost no system call. A receive that filled less than it was given has emptied the socket
//! and is not followed by another until the next edge: a proxied request costs two receives, two sends, and its share of one
//! epoll_wait. Listeners are level-triggered. Owned by one worker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno as Os;
use rustix::net::{RecvFlags, SocketFlags};

use crate::arenas::Arenas;
use crate::buf::Buf;
use crate::clock::{Random, monotonic};
use crate::io::{
    Backend, CREDIT_UNLIMITED, Class, Completion, Conn, ConnKind, End, Errno, Io, Keepalive, Limits, ListenSocket,
    Listener, Piece, Sock, Stats, Time, Token, Waker,
};
use crate::listeners::Listeners;
use crate::net::{self, AcceptError, Connecting};
use crate::offer::offer;
use crate::send_queue::{Fin, SendQueue, SendState, Sender, Sending};
use crate::splice::{Pipes, Pump, Stopped};
use crate::table::Table;
use crate::wake::EventWaker;

/// Events fetched by one epoll_wait.
const EVENTS_PER_WAIT: usize = 256;
/// Receives of one socket in one turn, before others get theirs.
const READS_PER_TURN_SMALL: u32 = 16;
const READS_PER_TURN_BULK: u32 = 4;
/// Connections taken at one event of a busy listener.
const ACCEPTS_PER_EVENT_MAX: u32 = 32;
/// The longest wait, in milliseconds; a later deadline costs an empty turn.
const WAIT_MAX_MS: u64 = 3_600_000;
/// Marks a listener in an event's data; the low half is then its name.
const LISTENER_MARK: u64 = 1 << 63;
const WAKER_DATA: u64 = u64::MAX;

/// The driver.
pub struct Epoll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    sockets: Table<Socket>,
    listeners: Listeners,
    pumps: Table<Pump>,
    pumps_to_run: Vec<Sock>,
    pipes: Pipes,
    arenas: Arenas,
    sending: Sending,
    /// Sockets that are readable and have credit, by class: one class without buffers does not hold up the other.
    to_read: ToRead,
    /// The last turn reported what was sent and asked for no events.
    only_reported: bool,
    /// Completions of this turn that may be late.
    late: usize,
    /// Connects decided at once; reported by the next turn.
    connected: Vec<(Sock, Result<(), Errno>)>,
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
    credit: u32,
    class: Class,
    /// The kernel has, or may have, something to receive.
    readable: bool,
    /// The peer's end is near: read on until it is reached.
    hung_up: bool,
    /// The end was delivered, or a pump took the receiving over.
    ended: bool,
    /// On the list of sockets to read.
    listed: bool,
    /// The pump that reads this socket, and the one that writes it.
    pump_from: Option<Sock>,
    pump_to: Option<Sock>,
}

#[derive(Default)]
struct ToRead {
    small: VecDeque<Sock>,
    bulk: VecDeque<Sock>,
}

impl ToRead {
    fn of(&mut self, class: Class) -> &mut VecDeque<Sock> {
        match class {
            Class::Small => &mut self.small,
            Class::Bulk => &mut self.bulk,
        }
    }
}

impl Sender for Socket {
    fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }
    fn token(&self) -> Token {
        self.token
    }
}

impl Epoll {
    /// Opens the driver: one epoll descriptor, one eventfd, the small buffers.
    pub fn open(mut limits: Limits) -> std::io::Result<Epoll> {
        limits.completions_per_turn_max = limits.completions_per_turn_max.max(1);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = EventWaker::new()?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, waker.fd(), epoll::EventData::new_u64(WAKER_DATA), flags)?;
        Ok(Epoll {
            epoll,
            events: Vec::with_capacity(EVENTS_PER_WAIT),
            sockets: Table::new(limits.sockets_max),
            listeners: Listeners::new(),
            pumps: Table::new(limits.sockets_max),
            pumps_to_run: Vec::new(),
            pipes: Pipes::default(),
            arenas: Arenas::new(&limits)?,
            sending: Sending::new(&limits),
            to_read: ToRead::default(),
            only_reported: false,
            late: 0,
            connected: Vec::new(),
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
            credit: 0,
            class: Class::Small,
            readable: false,
            hung_up: false,
            ended: false,
            listed: false,
            pump_from: None,
            pump_to: None,
        };
        let sock = self.sockets.insert(socket).map_err(|_| Errno(libc::EMFILE))?;
        let Some(socket) = self.sockets.get(sock) else { return Err(Errno(libc::EMFILE)) };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        self.stats.system_calls += 1;
        match epoll::add(&self.epoll, &socket.fd, epoll::EventData::new_u64(socket_data(sock)), flags) {
            Ok(()) => Ok(sock),
            Err(e) => {
                self.sockets.remove(sock);
                Err(e.into())
            }
        }
    }

    fn wait(&mut self, timeout: Option<Timespec>) {
        self.events.clear();
        self.stats.system_calls += 1;
        // An interrupted wait is a turn without events.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref());
    }

    /// How long this turn may wait: not at all when there is work, else until the first deadline.
    fn timeout(&mut self, deadline: Time, has_completions: bool) -> Option<Timespec> {
        let can_read = [Class::Small, Class::Bulk]
            .into_iter()
            .any(|class| !self.to_read.of(class).is_empty() && self.arenas.can_take(class));
        if has_completions || can_read || !self.pumps_to_run.is_empty() || self.sending.has_flushes() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let until = deadline.min(self.sending.next_deadline()).min(self.listeners.next_deadline());
        if until == Time::NEVER {
            return None;
        }
        // Rounded up to what plain epoll_wait counts in.
        let millis = until.since(monotonic()).div_ceil(1_000_000).min(WAIT_MAX_MS);
        Some(Timespec { tv_sec: (millis / 1000) as i64, tv_nsec: (millis % 1000 * 1_000_000) as _ })
    }

    fn handle_events(&mut self, out: &mut Vec<Completion>) {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match event.data.u64() {
                WAKER_DATA => {
                    self.waker.seen();
                    out.push(Completion::Woken);
                }
                data if data & LISTENER_MARK != 0 => self.accept(Listener(data as u32), out),
                data => self.socket_event(socket_name(data), event.flags, out),
            }
        }
        self.events = events;
        self.events.clear();
    }

    fn socket_event(&mut self, sock: Sock, flags: epoll::EventFlags, out: &mut Vec<Completion>) {
        use epoll::EventFlags as E;
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let dead = flags.intersects(E::ERR | E::HUP);
        let writable = dead || flags.contains(E::OUT);
        if socket.queue.state == SendState::Opening {
            if !writable {
                return;
            }
            let result = if dead {
                self.stats.system_calls += 1;
                net::connect_result(&socket.fd)
            } else {
                Ok(())
            };
            self.connect_ended(sock, result, out);
        } else if socket.queue.state == SendState::Blocked && writable {
            self.sending.ready(sock, &mut socket.queue);
        }
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        if dead || flags.intersects(E::IN | E::RDHUP) {
            socket.readable = true;
            socket.hung_up |= dead || flags.contains(E::RDHUP);
        }
        let pumps = [socket.pump_from, socket.pump_to];
        list_for_reading(socket, sock, &mut self.to_read);
        for pump in pumps.into_iter().flatten() {
            self.run_later(pump);
        }
    }

    fn connect_ended(&mut self, sock: Sock, result: Result<(), Errno>, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        match result {
            Ok(()) => {
                self.sending.ready(sock, &mut socket.queue);
            }
            Err(_) => {
                socket.ended = true;
                self.sending.clear(&mut socket.queue);
                socket.queue.state = SendState::Failed;
            }
        }
        out.push(Completion::Connected { token: socket.token, result });
    }

    fn accept(&mut self, listener: Listener, out: &mut Vec<Completion>) {
        let Some(listening) = self.listeners.get_mut(listener) else { return };
        let token = listening.token;
        let batch = listening.batch;
        // A listener that stays busy is emptied in larger and larger bites; one connection at a time costs no accept in vain.
        listening.batch = (batch * 2).min(ACCEPTS_PER_EVENT_MAX);
        for _ in 0..batch {
            if out.len() >= self.limits.completions_per_turn_max {
                return;
            }
            self.stats.system_calls += 1;
            match rustix::net::acceptfrom_with(&listening.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((fd, peer)) => {
                    // A peer without an address is not TCP.
                    let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) else { continue };
                    out.push(Completion::Accepted { listener: token, conn: Conn(ConnKind::Fd(fd)), peer });
                }
                Err(e) => match net::accept_error(e.raw_os_error()) {
                    AcceptError::Skip => {}
                    AcceptError::Empty => {
                        listening.batch = 1;
                        return;
                    }
                    AcceptError::Pause(errno) => {
                        let _ = self.watch_listener(listener, epoll::EventFlags::empty());
                        self.listeners.pause(listener, self.now);
                        out.push(Completion::AcceptPaused { listener: token, errno });
                        return;
                    }
                },
            }
        }
    }

    fn watch_listener(&mut self, listener: Listener, flags: epoll::EventFlags) -> Result<(), Os> {
        let Some(listening) = self.listeners.get_mut(listener) else { return Ok(()) };
        self.stats.system_calls += 1;
        epoll::modify(&self.epoll, &listening.fd, listener_data(listener), flags)
    }

    fn resume_listeners(&mut self) {
        while let Some(listener) = self.listeners.resume_one(self.now) {
            if self.watch_listener(listener, epoll::EventFlags::IN).is_err() {
                // No memory for it: rest once more.
                self.listeners.pause(listener, self.now);
            }
        }
    }

    fn flush(&mut self, out: &mut Vec<Completion>) {
        if !self.sending.has_flushes() {
            return;
        }
        let list = self.sending.take_flush_list();
        for sock in &list {
            if let Some(socket) = self.sockets.get_mut(*sock) {
                self.sending.flushing(&mut socket.queue);
                let calls = &mut self.stats.system_calls;
                let may_be_late = flush_one(*sock, socket, &mut self.sending, self.now, calls, out);
                self.late += usize::from(may_be_late);
            }
        }
        self.sending.put_flush_list(list);
    }

    fn read_listed(&mut self, out: &mut Vec<Completion>) {
        for class in [Class::Small, Class::Bulk] {
            for _ in 0..self.to_read.of(class).len() {
                if out.len() >= self.limits.completions_per_turn_max {
                    return;
                }
                let Some(sock) = self.to_read.of(class).pop_front() else { break };
                if let Some(socket) = self.sockets.get_mut(sock) {
                    socket.listed = false;
                    if !self.read_one(sock, out) {
                        break;
                    }
                }
            }
        }
    }

    /// False when there was no buffer; the socket stays on the list.
    fn read_one(&mut self, sock: Sock, out: &mut Vec<Completion>) -> bool {
        let Some(socket) = self.sockets.get_mut(sock) else { return true };
        let mut has_buffer = true;
        let reads = if socket.class == Class::Small { READS_PER_TURN_SMALL } else { READS_PER_TURN_BULK };
        for _ in 0..reads {
            if !socket.readable
                || socket.credit == 0
                || socket.ended
                || out.len() >= self.limits.completions_per_turn_max
            {
                break;
            }
            let Some(mut buf) = self.arenas.take(socket.class) else {
                self.stats.no_buffers += 1;
                has_buffer = false;
                break;
            };
            let wanted = buf.len().min(socket.credit as usize);
            self.stats.system_calls += 1;
            match rustix::net::recv(&socket.fd, &mut buf[..wanted], RecvFlags::empty()) {
                Ok((0, _)) => end(socket, End::Eof, out),
                Ok((n, _)) => {
                    buf.truncate(n);
                    if socket.credit != CREDIT_UNLIMITED {
                        socket.credit -= n as u32;
                    }
                    // A short receive emptied the socket, unless its end is still to be read.
                    socket.readable = n == wanted || socket.hung_up;
                    out.push(Completion::Received { token: socket.token, buf });
                }
                Err(Os::AGAIN) => {
                    socket.readable = false;
                    socket.hung_up = false;
                }
                Err(Os::INTR) => {}
                Err(e) => end(socket, End::Error(e.into()), out),
            }
        }
        list_for_reading(socket, sock, &mut self.to_read);
        has_buffer
    }

    fn run_later(&mut self, name: Sock) {
        if let Some(pump) = self.pumps.get_mut(name)
            && !pump.queued
        {
            pump.queued = true;
            self.pumps_to_run.push(name);
        }
    }

    fn run_pumps(&mut self, out: &mut Vec<Completion>) {
        let due = self.pumps_to_run.len();
        for i in 0..due {
            self.run_pump(self.pumps_to_run[i], out);
        }
        self.pumps_to_run.drain(..due);
    }

    fn run_pump(&mut self, name: Sock, out: &mut Vec<Completion>) {
        let Some(pump) = self.pumps.get_mut(name) else { return };
        pump.queued = false;
        let (from, to) = (pump.from, pump.to);
        let (Some(source), Some(target)) = (self.sockets.get(from), self.sockets.get(to)) else { return };
        let run = pump.run(source.fd.as_fd(), target.fd.as_fd(), &mut self.pipes);
        self.stats.system_calls += run.calls;
        let token = source.token;
        if run.bytes > 0 {
            out.push(Completion::Spliced { token, bytes: run.bytes });
        }
        match run.stopped {
            Stopped::Unreadable | Stopped::Unwritable => {}
            Stopped::Share => self.run_later(name),
            Stopped::Ended(how) => {
                self.remove_pump(name);
                out.push(Completion::ReceiveEnd { token, end: how });
            }
            Stopped::WriteFailed(errno) => {
                self.remove_pump(name);
                if let Some(target) = self.sockets.get_mut(to) {
                    self.sending.fail(&mut target.queue, target.token, errno, out);
                }
            }
        }
    }

    fn remove_pump(&mut self, name: Sock) {
        let Some(pump) = self.pumps.remove(name) else { return };
        if let Some(from) = self.sockets.get_mut(pump.from) {
            from.pump_from = None;
        }
        if let Some(to) = self.sockets.get_mut(pump.to) {
            to.pump_to = None;
        }
    }
}

impl Io for Epoll {
    fn backend(&self) -> Backend {
        Backend::Epoll
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
        let listener = self.listeners.insert(fd, token).ok_or(Errno(libc::EMFILE))?;
        let Some(listening) = self.listeners.get_mut(listener) else { return Err(Errno(libc::EMFILE)) };
        self.stats.system_calls += 3;
        match epoll::add(&self.epoll, &listening.fd, listener_data(listener), epoll::EventFlags::IN) {
            Ok(()) => Ok(listener),
            Err(e) => {
                self.listeners.remove(listener);
                Err(e.into())
            }
        }
    }

    fn accept_stop(&mut self, listener: Listener) {
        self.listeners.remove(listener);
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
        // Opening until its outcome is reported, also when that is known already.
        let sock = self.insert(fd, token, Some(addr), SendState::Opening)?;
        if let Some(result) = result {
            self.connected.push((sock, result));
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
        if let Some(socket) = self.sockets.get_mut(sock) {
            if socket.class != class && socket.listed {
                socket.listed = false;
                self.to_read.of(socket.class).retain(|listed| *listed != sock);
            }
            socket.class = class;
            socket.credit = credit;
            list_for_reading(socket, sock, &mut self.to_read);
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
        let Some(mut socket) = self.sockets.remove(sock) else { return };
        self.sending.clear(&mut socket.queue);
        for pump in [socket.pump_from, socket.pump_to].into_iter().flatten() {
            self.remove_pump(pump);
        }
        self.stats.system_calls += 1;
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
        while let Some((sock, result)) = self.connected.pop() {
            self.connect_ended(sock, result, out);
        }
        self.flush(out);
        let arenas = &self.arenas;
        self.sending.relieve(&mut self.sockets, self.now, || arenas.are_low(), out);
        // What was sent is reported at once, without asking the kernel for more; but never twice in a row.
        let has_completions = out.len() > before + self.late;
        let only_report = has_completions && !self.only_reported;
        self.only_reported = only_report;
        if !only_report {
            let timeout = self.timeout(deadline, has_completions);
            self.wait(timeout);
        }
        self.now = monotonic();
        self.resume_listeners();
        self.handle_events(out);
        self.flush(out);
        self.run_pumps(out);
        self.read_listed(out);
        self.stats.turns += 1;
        self.stats.completions += (out.len() - before) as u64;
    }

    fn stats(&self) -> Stats {
        Stats {
            accept_pauses: self.listeners.pauses(),
            spills: self.sending.spills(),
            spilled_bytes: self.sending.spilled_bytes() as u64,
            sockets: self.sockets.len() as u64,
            ..self.stats
        }
    }
}

/// Sends what is queued until the kernel takes no more, then FIN if it is due. One `Sent` reports it all; true when it may be late.
fn flush_one(
    sock: Sock,
    socket: &mut Socket,
    sending: &mut Sending,
    now: Time,
    calls: &mut u64,
    out: &mut Vec<Completion>,
) -> bool {
    if socket.queue.state != SendState::Ready {
        return false;
    }
    let mut sent = 0;
    let mut failed = None;
    while !socket.queue.is_empty() {
        *calls += 1;
        match offer(&socket.fd, &socket.queue, sending) {
            Ok((n, offered)) => {
                sent += n;
                sending.consume(&mut socket.queue, n);
                if n < offered {
                    sending.block(sock, &mut socket.queue, now);
                    break;
                }
            }
            Err(Os::INTR) => {}
            Err(Os::AGAIN) => {
                sending.block(sock, &mut socket.queue, now);
                break;
            }
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    let may_be_late = sent > 0 && failed.is_none() && socket.queue.may_report_late();
    if sent > 0 {
        let drained = socket.queue.is_empty();
        out.push(Completion::Sent { token: socket.token, bytes: u32::try_from(sent).unwrap_or(u32::MAX), drained });
    }
    if let Some(e) = failed {
        sending.fail(&mut socket.queue, socket.token, e.into(), out);
    } else if socket.queue.is_empty() && socket.queue.fin == Fin::Wanted {
        socket.queue.fin = Fin::Sent;
        *calls += 1;
        net::finish(&socket.fd);
    }
    may_be_late
}

fn end(socket: &mut Socket, end: End, out: &mut Vec<Completion>) {
    socket.ended = true;
    out.push(Completion::ReceiveEnd { token: socket.token, end });
}

/// Puts a socket on the list of those to read, when there is something to read and somebody wants it.
fn list_for_reading(socket: &mut Socket, sock: Sock, to_read: &mut ToRead) {
    let open = socket.queue.state != SendState::Opening && !socket.ended;
    if open && socket.readable && socket.credit > 0 && !socket.listed {
        socket.listed = true;
        to_read.of(socket.class).push_back(sock);
    }
}

fn socket_data(sock: Sock) -> u64 {
    // The table's generations leave the top bit free.
    u64::from(sock.generation) << 32 | u64::from(sock.index)
}

fn socket_name(data: u64) -> Sock {
    Sock { index: data as u32, generation: (data >> 32) as u32 }
}

fn listener_data(listener: Listener) -> epoll::EventData {
    epoll::EventData::new_u64(LISTENER_MARK | u64::from(listener.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stays_small() {
        assert!(size_of::<Socket>() <= 208, "{}", size_of::<Socket>());
    }
}
