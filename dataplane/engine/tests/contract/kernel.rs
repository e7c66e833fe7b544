//! The worlds of the drivers of this machine: peers are plain sockets on loopback, ports of the kernel's choice.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ringway_engine::io::{Io, Limits};
use ringway_engine::{Epoll, ListenSocket, Uring};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::world::{PeerRead, Room, World};

/// Smaller than the kernel allows; it takes its minimum.
const TINY_SEND_BYTES: usize = 1;
/// With less than this, loopback's large segments do not fit and the stream creeps along by retransmission timers.
const TINY_RECEIVE_BYTES: usize = 16 << 10;

/// How a driver of this machine is opened.
pub trait Opens {
    /// The driver.
    type Io: Io;
    /// Opens it.
    fn open(limits: Limits) -> Self::Io;
}

/// epoll.
pub struct OnEpoll;
/// io_uring with all that this kernel has.
pub struct OnUring;
/// io_uring with the least that the driver asks of a kernel.
pub struct OnOldUring;

impl Opens for OnEpoll {
    type Io = Epoll;
    fn open(limits: Limits) -> Epoll {
        Epoll::open(limits).unwrap()
    }
}

impl Opens for OnUring {
    type Io = Uring;
    fn open(limits: Limits) -> Uring {
        Uring::open(limits).unwrap()
    }
}

impl Opens for OnOldUring {
    type Io = Uring;
    fn open(limits: Limits) -> Uring {
        Uring::open_as_on_an_old_kernel(limits).unwrap()
    }
}

/// A driver and loopback.
pub struct Kernel<O: Opens>(O::Io);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn shrink(fd: &impl std::os::fd::AsFd) {
    sockopt::set_socket_send_buffer_size(fd, TINY_SEND_BYTES).unwrap();
    sockopt::set_socket_recv_buffer_size(fd, TINY_RECEIVE_BYTES).unwrap();
}

impl<O: Opens> World for Kernel<O> {
    type Io = O::Io;
    type Peer = TcpStream;
    type PeerListener = TcpListener;

    fn new(limits: Limits) -> Self {
        Kernel(O::open(limits))
    }

    fn io(&mut self) -> &mut O::Io {
        &mut self.0
    }

    fn listen(&mut self, room: Room) -> (ListenSocket, SocketAddr) {
        if room == Room::Default {
            let socket = ringway_engine::net::listen(loopback()).unwrap();
            let addr = socket.local_addr().unwrap();
            return (socket, addr);
        }
        let listener = TcpListener::bind(loopback()).unwrap();
        shrink(&listener);
        let addr = listener.local_addr().unwrap();
        (ListenSocket::from_fd(listener.into()), addr)
    }

    fn peer_connect(&mut self, addr: SocketAddr, room: Room) -> TcpStream {
        let fd: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        if room == Room::Tiny {
            shrink(&fd);
        }
        rustix::net::connect(&fd, &addr).unwrap();
        let stream = TcpStream::from(fd);
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn peer_listen(&mut self) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(loopback()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    fn peer_accept(&mut self, listener: &TcpListener) -> Option<TcpStream> {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).unwrap();
        Some(stream)
    }

    fn refusing_addr(&mut self) -> SocketAddr {
        // Bound and not listening would hold the port, but nothing guarantees that a closed one stays free; nobody else takes
        // ports of 127.9.9.9 here.
        TcpListener::bind("127.9.9.9:0").unwrap().local_addr().unwrap()
    }

    fn write(&mut self, mut peer: &TcpStream, bytes: &[u8]) -> usize {
        peer.write(bytes).unwrap_or(0)
    }

    fn read(&mut self, mut peer: &TcpStream, max: usize) -> PeerRead {
        let mut bytes = vec![0; max];
        match peer.read(&mut bytes) {
            Ok(0) => PeerRead::Eof,
            Ok(n) => {
                bytes.truncate(n);
                PeerRead::Bytes(bytes)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => PeerRead::Nothing,
            Err(_) => PeerRead::Broken,
        }
    }

    fn half_close(&mut self, peer: &TcpStream) {
        let _ = peer.shutdown(Shutdown::Write);
    }

    fn reset(&mut self, peer: TcpStream) {
        sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    }
}
