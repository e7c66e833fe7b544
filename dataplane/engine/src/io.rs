//! The seam between a worker and the kernel: [`Io`].
//!
//! # Contract (every driver keeps it; `tests/contract.rs` runs the same suite over all three)
//!
//! * Nothing is called back. [`Io::turn`] submits what was asked for since the last turn, waits, and appends [`Completion`]s, which
//!   the worker's loop handles one after the other. A driver never calls into its owner.
//! * A [`Token`] is the owner's word for a socket; the driver returns it unread in every completion of that socket.
//! * **Receiving is standing.** After [`Io::recv`] the socket delivers [`Completion::Received`] until its credit is used up, then falls
//!   silent until more is granted. Credit 0 pauses; what was already received is still delivered (at most what was in flight).
//!   Exactly one [`Completion::ReceiveEnd`] ends the stream. With no buffer free the driver parks the socket and goes on by itself.
//! * **Sending is queued.** [`Io::send`] takes the piece; pieces of one socket leave in order, at most one send in flight per socket,
//!   everything queued in one turn goes out as one call. Short writes are the driver's business. [`Completion::Sent`] reports progress and says when
//!   the queue ran dry. The first error drops the queue and is reported once, by [`Completion::SendFailed`].
//!   Where nobody waits for that ([`Io::hurry`]), a turn does not end for it alone: it comes with the next completion, or at the deadline.
//! * [`Io::shutdown`] sends FIN after the queue has drained.
//! * [`Io::close`] drops the queue, and **no completion of that socket is delivered afterwards**, also none already reaped: the owner may
//!   free its state at once. Memory that the kernel still uses stays with the driver until the kernel is done with it.
//! * Buffers are [`Buf`]s, shared by all sockets of a worker, counted by slot and given back when dropped. Nobody keeps one: when fewer
//!   than a quarter are free, or a send has been blocked for [`SEND_BLOCKED_MAX`], the driver copies the unsent tail of blocked queues to the heap (charged to
//!   [`Limits::spill_bytes_max`]) and gives the buffers back. When that budget is spent, the largest holder gets `SendFailed` with [`Errno::OVERCOMMIT`].
//! * A stale [`Sock`] (closed, or its slot used again) is ignored by every call.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::buf::Buf;

/// Credit that never runs out.
pub const CREDIT_UNLIMITED: u32 = u32::MAX;
/// How long a queued send may hold ring buffers while the peer does not read.
pub const SEND_BLOCKED_MAX: Duration = Duration::from_millis(10);
/// The end of a queue through which more bytes than this went is always reported at once: somebody may have been paused until there is room.
pub const SENT_LATE_BYTES_MAX: usize = 16 << 10;

/// Monotonic time in nanoseconds; an argument everywhere, read from the clock only by the driver, once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A deadline that never comes.
    pub const NEVER: Time = Time(u64::MAX);
    /// This time plus `d`, saturating.
    pub fn after(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
    /// Nanoseconds since `earlier`, 0 if that lies in the future.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The owner's name for a socket or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// A connection owned by a driver: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sock {
    /// Slot in the driver's table.
    pub index: u32,
    /// Which life of that slot.
    pub generation: u32,
}

/// A listener owned by a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener(pub u32);

/// A kernel error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Ours, not the kernel's: the worker's spill budget is spent and this socket held most of it.
    pub const OVERCOMMIT: Errno = Errno(100_000);
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::OVERCOMMIT {
            return f.write_str("send buffer budget of this worker is spent");
        }
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// Which buffer group a receive draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 4 KiB: heads and small bodies.
    Small,
    /// 128 KiB: bulk. Mapped on first use.
    Bulk,
}

/// An accepted connection that no driver owns yet; can be handed to another worker.
#[derive(Debug)]
pub struct Conn(pub(crate) ConnKind);

#[derive(Debug)]
#[allow(dead_code)]
pub(crate) enum ConnKind {
    Fd(OwnedFd),
    Sim(crate::sim::SimConn),
}

/// A bound, listening socket that no driver owns yet.
#[derive(Debug)]
pub struct ListenSocket(pub(crate) ListenKind);

#[derive(Debug)]
#[allow(dead_code)]
pub(crate) enum ListenKind {
    Fd(OwnedFd),
    Sim(SocketAddr),
}

/// Bytes to send.
#[derive(Debug)]
pub enum Piece {
    /// A range of a shared buffer; given back when sent.
    Buf(Buf),
    /// Bytes of the program.
    Static(&'static [u8]),
}

impl Piece {
    /// Bytes in this piece.
    pub fn len(&self) -> usize {
        match self {
            Piece::Buf(b) => b.len(),
            Piece::Static(s) => s.len(),
        }
    }
    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a peer's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN: the peer will send no more.
    Eof,
    /// Reset, or another error of the socket.
    Error(Errno),
}

/// What happened.
#[derive(Debug)]
pub enum Completion {
    /// A connection came in. It belongs to whoever adopts it; dropped, it is closed.
    Accepted {
        /// The listener's token.
        listener: Token,
        /// The connection, not yet owned by a driver.
        conn: Conn,
        /// Where it came from.
        peer: SocketAddr,
    },
    /// Accepting stopped for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM); the driver resumes after its back-off.
    AcceptPaused {
        /// The listener's token.
        listener: Token,
        /// Why.
        errno: Errno,
    },
    /// A connect ended.
    Connected {
        /// The socket's token.
        token: Token,
        /// Connected, or why not. After an error the owner still calls [`Io::close`].
        result: Result<(), Errno>,
    },
    /// Bytes arrived. Never empty.
    Received {
        /// The socket's token.
        token: Token,
        /// The bytes.
        buf: Buf,
    },
    /// No more bytes will arrive.
    ReceiveEnd {
        /// The socket's token.
        token: Token,
        /// FIN or an error.
        end: End,
    },
    /// Bytes were taken by the kernel.
    Sent {
        /// The socket's token.
        token: Token,
        /// How many since the last report.
        bytes: u32,
        /// Nothing is queued any more.
        drained: bool,
    },
    /// Sending failed; the queue was dropped.
    SendFailed {
        /// The socket's token.
        token: Token,
        /// Why.
        errno: Errno,
    },
    /// Bytes were moved by [`Io::splice`] since the last report.
    Spliced {
        /// The token of the socket they came from.
        token: Token,
        /// How many.
        bytes: u64,
    },
    /// A [`Waker`] was used; look at the mailboxes.
    Woken,
}

const _: () = assert!(size_of::<Completion>() <= 56);

/// Which driver this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
    /// The seeded simulation.
    Sim,
}

impl Backend {
    /// `uring`, `epoll` or `sim`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Epoll => "epoll",
            Backend::Sim => "sim",
        }
    }
}

/// TCP keepalive. `None` is what the system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Probes without an answer after which the connection is dead, 1 to 127.
    pub probes: Option<u32>,
    /// Time without traffic before the first one, in whole seconds from 1 to 32,767.
    pub time: Option<Duration>,
    /// Time between two of them, likewise.
    pub interval: Option<Duration>,
}

impl Keepalive {
    /// System calls that it takes.
    pub(crate) fn system_calls(&self) -> u64 {
        let said = [self.probes.is_some(), self.time.is_some(), self.interval.is_some()];
        1 + said.into_iter().filter(|said| *said).count() as u64
    }
}

/// Sizes of a driver; every table and queue in it is bounded by one of these.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets open at once, connects and accepts together.
    pub sockets_max: u32,
    /// Small buffers (4 KiB each), a power of two.
    pub small_buffers: u16,
    /// Bulk buffers (128 KiB each), a power of two; mapped on first use.
    pub bulk_buffers: u16,
    /// Heap bytes that unsent tails of blocked sockets may take in this worker.
    pub spill_bytes_max: usize,
    /// Submission queue entries (uring only), a power of two; the completion queue has four times as many.
    pub queue_entries: u32,
    /// Completions handed over in one turn.
    pub completions_per_turn_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sockets_max: 65_536,
            small_buffers: 256,
            bulk_buffers: 16,
            spill_bytes_max: 64 << 20,
            queue_entries: 1024,
            completions_per_turn_max: 1024,
        }
    }
}

/// Counters of a driver, all since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// System calls made by the driver.
    pub system_calls: u64,
    /// Entries given to io_uring: sends, and receives that had to be armed (again). 0 on other drivers.
    pub operations: u64,
    /// Turns taken.
    pub turns: u64,
    /// Completions delivered.
    pub completions: u64,
    /// Times a receive found no buffer.
    pub no_buffers: u64,
    /// Times the completion queue overflowed.
    pub completion_overflows: u64,
    /// Times accepting was paused.
    pub accept_pauses: u64,
    /// Times an unsent tail was copied to the heap.
    pub spills: u64,
    /// Heap bytes that unsent tails take now.
    pub spilled_bytes: u64,
    /// Sockets open now.
    pub sockets: u64,
}

/// Wakes a worker out of [`Io::turn`] from another thread.
pub trait Wake: Send + Sync {
    /// Makes the worker's current or next turn deliver [`Completion::Woken`].
    fn wake(&self);
}

/// A shared [`Wake`].
pub type Waker = std::sync::Arc<dyn Wake>;

/// The I/O of one worker. See the module's contract.
pub trait Io {
    /// Which driver this is.
    fn backend(&self) -> Backend;
    /// The time at the end of the last turn.
    fn now(&self) -> Time;
    /// Reads the clock now: once per finished exchange, not per event.
    fn clock(&mut self) -> Time;
    /// A random number: balance, identifiers, hash seeds.
    fn random(&mut self) -> u64;
    /// A handle that other threads wake this driver with.
    fn waker(&self) -> Waker;

    /// Starts accepting. Accepts go on until [`Io::accept_stop`].
    fn accept_start(&mut self, socket: ListenSocket, token: Token) -> Result<Listener, Errno>;
    /// Stops accepting and closes the listener. No `Accepted` of it is delivered afterwards.
    fn accept_stop(&mut self, listener: Listener);
    /// Takes an accepted connection over. Fails (and closes it) when `sockets_max` are open.
    fn adopt(&mut self, conn: Conn, token: Token) -> Result<Sock, Errno>;
    /// Starts a TCP connect (TCP_NODELAY set); [`Completion::Connected`] tells the end. Fails at once with EMFILE when the table is full.
    fn connect(&mut self, addr: SocketAddr, token: Token) -> Result<Sock, Errno>;
    /// Has the kernel probe a connection that we opened while it is idle; one that is dead ends with an error. To be said once, after [`Io::connect`].
    fn keepalive(&mut self, sock: Sock, keepalive: Keepalive);
    /// Changes what completions of this socket carry from now on.
    fn set_token(&mut self, sock: Sock, token: Token);
    /// The peer's address, read once.
    fn peer_addr(&self, sock: Sock) -> Option<SocketAddr>;
    /// Our own address of this connection, read on first use.
    fn local_addr(&mut self, sock: Sock) -> Option<SocketAddr>;

    /// Sets the receive credit in bytes and the buffer class. See the contract. Cheap when nothing changes.
    fn recv(&mut self, sock: Sock, class: Class, credit: u32);
    /// Queues bytes.
    fn send(&mut self, sock: Sock, piece: Piece);
    /// Whether somebody waits for [`Completion::Sent`] of this socket, as is the case until told otherwise. If not, one that says that the queue ran dry,
    /// of at most [`SENT_LATE_BYTES_MAX`] bytes since it was last empty and without a FIN to follow, may be late.
    fn hurry(&mut self, sock: Sock, hurry: bool);
    /// Bytes queued and not yet taken by the kernel.
    fn queued(&self, sock: Sock) -> usize;
    /// The kernel has a call with the first of these bytes: whether it took any is not known yet.
    fn sending(&self, sock: Sock) -> bool;
    /// FIN after the queue drained.
    fn shutdown(&mut self, sock: Sock);
    /// Ends the connection; see the contract.
    fn close(&mut self, sock: Sock);
    /// As [`Io::close`], but with RST (SO_LINGER 0), so that the peer learns that the stream was cut.
    fn reset(&mut self, sock: Sock);
    /// From now on moves everything that `from` receives to `to` inside the kernel, until `ReceiveEnd` of `from` or `SendFailed` of `to`.
    /// Both must be quiet: `from` paused by credit 0, nothing queued on `to`. FIN is not passed on; the owner calls `shutdown`.
    fn splice(&mut self, from: Sock, to: Sock);

    /// An empty buffer of this class to write into (its length is its capacity), or `None` when all are in use.
    fn alloc(&mut self, class: Class) -> Option<Buf>;
    /// Submits, waits until something completed or `deadline`, and appends what happened.
    fn turn(&mut self, deadline: Time, out: &mut Vec<Completion>);
    /// Counters.
    fn stats(&self) -> Stats;
}
