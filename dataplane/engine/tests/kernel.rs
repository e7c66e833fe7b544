//! What only a real kernel shows: running out of descriptors, waking across threads, a completion queue that overflows, and how many
//! system calls and allocations the drivers make.

#![allow(clippy::unwrap_used)]

mod child;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use child::in_child;
use ringway_engine::io::{CREDIT_UNLIMITED, Io, Limits};
use ringway_engine::{Class, Completion, Epoll, Errno, Piece, Sock, Time, Token, Uring, net};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LISTENER: Token = Token(0);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: passes everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn uring(limits: Limits) -> Uring {
    Uring::open(limits).unwrap()
}

fn epoll(limits: Limits) -> Epoll {
    Epoll::open(limits).unwrap()
}

fn listen(io: &mut impl Io) -> SocketAddr {
    let socket = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    io.accept_start(socket, LISTENER).unwrap();
    addr
}

/// Sets the soft descriptor limit.
fn limit_descriptors(to: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum }).unwrap();
}

/// Takes turns until `count` completions satisfied `wanted`; any other fails.
fn turns_until(io: &mut impl Io, count: usize, wanted: impl Fn(&Completion) -> bool) {
    let mut out = Vec::new();
    let (mut seen, give_up) = (0, io.clock().after(Duration::from_secs(10)));
    while seen < count {
        assert!(io.now() < give_up, "waited in vain: {seen} of {count}; {:?}", io.stats());
        io.turn(give_up, &mut out);
        for completion in out.drain(..) {
            assert!(wanted(&completion), "{completion:?}");
            seen += 1;
        }
    }
}

/// Row 57 of the adversarial list: accept finds no descriptor.
fn rests_without_descriptors(mut io: impl Io) {
    let addr = listen(&mut io);
    let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let before = getrlimit(Resource::Nofile).current.unwrap();
    // The lowest free number: from here on there is no descriptor to be had.
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd();
    limit_descriptors(lowest_free as u64);
    assert!(File::open("/dev/null").is_err());

    turns_until(&mut io, 1, |c| {
        matches!(c, Completion::AcceptPaused { listener: LISTENER, errno: Errno(libc::EMFILE) })
    });
    let paused_at = io.now();
    // The reserve was given up: housekeeping still gets its file.
    drop(File::open("/dev/null").unwrap());
    let (mut turns, mut out) = (0, Vec::new());
    let a_while = paused_at.after(Duration::from_millis(50));
    while io.now() < a_while {
        io.turn(a_while, &mut out);
        turns += 1;
        assert!(out.is_empty() && turns < 20, "the driver does not rest: {out:?}");
    }

    limit_descriptors(before);
    turns_until(&mut io, 3, |c| matches!(c, Completion::Accepted { listener: LISTENER, .. }));
    assert!(io.now().since(paused_at) >= 100_000_000, "the back-off was cut short");
    assert_eq!(io.stats().accept_pauses, 1);
}

#[test]
fn row_57_epoll_rests_without_descriptors() {
    in_child("row_57_epoll_rests_without_descriptors", || rests_without_descriptors(epoll(Limits::default())));
}

#[test]
fn row_57_uring_rests_without_descriptors() {
    in_child("row_57_uring_rests_without_descriptors", || rests_without_descriptors(uring(Limits::default())));
}

/// Another thread ends a wait that has no deadline.
fn is_woken_by_another_thread(mut io: impl Io) {
    for _ in 0..100 {
        let waker = io.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let mut out = Vec::new();
        while out.is_empty() {
            io.turn(Time::NEVER, &mut out);
        }
        assert!(matches!(out[..], [Completion::Woken]), "{out:?}");
        thread.join().unwrap();
    }
}

#[test]
fn epoll_is_woken_by_another_thread() {
    is_woken_by_another_thread(epoll(Limits::default()));
}

#[test]
fn uring_is_woken_by_another_thread() {
    is_woken_by_another_thread(uring(Limits::default()));
}

/// Answers every request with its own bytes.
struct Echo<I> {
    io: I,
    clients: Vec<TcpStream>,
    socks: Vec<Sock>,
    out: Vec<Completion>,
    /// Pieces that an answer is sent in.
    pieces: usize,
}

impl<I: Io> Echo<I> {
    fn new(mut io: I, clients: usize) -> Echo<I> {
        let addr = listen(&mut io);
        let clients: Vec<_> = (0..clients).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let (mut socks, mut out) = (Vec::new(), Vec::new());
        while socks.len() < clients.len() {
            io.turn(Time::NEVER, &mut out);
            for completion in out.drain(..) {
                let Completion::Accepted { conn, .. } = completion else { panic!("{completion:?}") };
                let sock = io.adopt(conn, Token(socks.len() as u64)).unwrap();
                io.recv(sock, Class::Small, CREDIT_UNLIMITED);
                socks.push(sock);
            }
        }
        Echo { io, clients, socks, out, pieces: 1 }
    }

    /// Every client asks once and reads its answer.
    fn round(&mut self) {
        for client in &mut self.clients {
            client.write_all(&[9; 100]).unwrap();
        }
        let mut sent = 0;
        while sent < self.clients.len() * 100 {
            self.io.turn(Time::NEVER, &mut self.out);
            for completion in self.out.drain(..) {
                match completion {
                    Completion::Received { token, mut buf } => {
                        let sock = self.socks[token.0 as usize];
                        for _ in 1..self.pieces {
                            self.io.send(sock, Piece::Buf(buf.split_to(1)));
                        }
                        self.io.send(sock, Piece::Buf(buf));
                    }
                    Completion::Sent { bytes, .. } => sent += bytes as usize,
                    other => panic!("{other:?}"),
                }
            }
        }
        for client in &mut self.clients {
            client.read_exact(&mut [0; 100]).unwrap();
        }
    }

    /// System calls per hundred requests, once warm.
    fn calls_per_100(&mut self) -> u64 {
        self.round();
        let before = self.io.stats().system_calls;
        for _ in 0..20 {
            self.round();
        }
        (self.io.stats().system_calls - before) * 100 / (20 * self.clients.len() as u64)
    }
}

/// A proxied request is two receives and two sends: twice what an echo does.
#[test]
fn epoll_makes_one_receive_one_send_and_its_share_of_a_wait() {
    let calls = Echo::new(epoll(Limits::default()), 64).calls_per_100();
    assert!((200..=210).contains(&calls), "{calls} calls per 100 echoes");
}

#[test]
fn uring_makes_no_call_of_its_own_for_a_request() {
    let calls = Echo::new(uring(Limits::default()), 64).calls_per_100();
    assert!(calls <= 8, "{calls} calls per 100 echoes");
}

#[test]
fn uring_survives_an_overflow_of_its_completion_queue() {
    // 32 completion entries, 100 sockets that all have something to say.
    let mut echo = Echo::new(uring(Limits { queue_entries: 8, ..Limits::default() }), 100);
    for _ in 0..5 {
        echo.round();
    }
    let stats = echo.io.stats();
    assert!(stats.completion_overflows > 0, "{stats:?}");
}

#[test]
fn epoll_makes_no_call_for_pausing_and_resuming() {
    let mut echo = Echo::new(epoll(Limits::default()), 4);
    echo.round();
    let before = echo.io.stats().system_calls;
    for sock in &echo.socks {
        echo.io.recv(*sock, Class::Small, 0);
        echo.io.recv(*sock, Class::Bulk, 1000);
    }
    let now = echo.io.now();
    echo.io.turn(now, &mut echo.out);
    assert_eq!((echo.io.stats().system_calls - before, echo.out.len()), (1, 0));
}

/// Two pieces a send, so that messages are counted too.
fn allocates_nothing_once_warm(io: impl Io) {
    let mut echo = Echo::new(io, 16);
    echo.pieces = 2;
    echo.round();
    let before = ALLOCATIONS.get();
    for _ in 0..20 {
        echo.round();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn epoll_allocates_nothing_once_warm() {
    allocates_nothing_once_warm(epoll(Limits::default()));
}

#[test]
fn uring_allocates_nothing_once_warm() {
    allocates_nothing_once_warm(uring(Limits::default()));
}
