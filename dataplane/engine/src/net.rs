//! Sockets before a driver owns them: binding, connecting, options, and the process's descriptor limit.
//!
//! Everything made here is close-on-exec and non-blocking, and every stream has TCP_NODELAY. Calls of this file are made once per
//! connection or listener, never per request.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno as Os;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::io::{Conn, ConnKind, Errno, Keepalive, ListenKind, ListenSocket};

/// Connections that may wait for an accept (the kernel cuts this to net.core.somaxconn).
pub const LISTEN_BACKLOG: i32 = 4096;
/// Soft descriptor limit asked for where the hard one is infinite.
const NOFILE_WHEN_INFINITE: u64 = 1 << 20;

impl From<Os> for Errno {
    fn from(e: Os) -> Errno {
        Errno(e.raw_os_error())
    }
}

/// Binds and listens on `addr` (port 0: any). An IPv6 wildcard does not take IPv4 with it.
pub fn listen(addr: SocketAddr) -> io::Result<ListenSocket> {
    let fd = stream_socket(&addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    rustix::net::bind(&fd, &addr)?;
    rustix::net::listen(&fd, LISTEN_BACKLOG)?;
    Ok(ListenSocket(ListenKind::Fd(fd)))
}

impl ListenSocket {
    /// A listening stream socket made elsewhere (takeover, socket activation).
    pub fn from_fd(fd: OwnedFd) -> ListenSocket {
        ListenSocket(ListenKind::Fd(fd))
    }

    /// The address this socket listens on, with the port the kernel chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            ListenKind::Fd(fd) => local_addr(fd),
            ListenKind::Sim(addr) => Ok(*addr),
        }
    }
}

impl Conn {
    /// A connected stream socket made elsewhere.
    pub fn from_fd(fd: OwnedFd) -> Conn {
        Conn(ConnKind::Fd(fd))
    }
}

/// The descriptor of a listener of this machine, made ready for accepting: accepted sockets inherit TCP_NODELAY from it.
pub(crate) fn listener_fd(socket: ListenSocket) -> Result<OwnedFd, Errno> {
    let ListenKind::Fd(fd) = socket.0 else { return Err(Errno(libc::EBADF)) };
    rustix::io::ioctl_fionbio(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(fd)
}

/// The descriptor of an accepted connection of this machine.
pub(crate) fn conn_fd(conn: Conn) -> Result<OwnedFd, Errno> {
    match conn.0 {
        ConnKind::Fd(fd) => Ok(fd),
        ConnKind::Sim(_) => Err(Errno(libc::EBADF)),
    }
}

/// How far [`connect`] got.
pub(crate) enum Connecting {
    /// Connected already, as loopback mostly is.
    Done(OwnedFd),
    /// The socket becomes writable when it is decided; then ask [`connect_result`].
    Pending(OwnedFd),
    /// Refused at once.
    Refused(OwnedFd, Errno),
}

/// Starts a connect.
pub(crate) fn connect(addr: &SocketAddr) -> Result<Connecting, Errno> {
    let fd = stream_socket(addr)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(match rustix::net::connect(&fd, addr) {
        Ok(()) => Connecting::Done(fd),
        Err(Os::INPROGRESS) => Connecting::Pending(fd),
        Err(e) => Connecting::Refused(fd, e.into()),
    })
}

/// The outcome of a pending connect.
pub(crate) fn connect_result(fd: impl AsFd) -> Result<(), Errno> {
    Ok(sockopt::socket_error(fd)??)
}

/// Has the kernel probe a connection.
pub(crate) fn keepalive(fd: impl AsFd, keepalive: Keepalive) {
    // A probe is a help and no promise: what the kernel does not take leaves the connection as it is.
    let _ = sockopt::set_socket_keepalive(&fd, true);
    let _ = keepalive.probes.map(|n| sockopt::set_tcp_keepcnt(&fd, n));
    let _ = keepalive.time.map(|time| sockopt::set_tcp_keepidle(&fd, time));
    let _ = keepalive.interval.map(|interval| sockopt::set_tcp_keepintvl(&fd, interval));
}

/// Makes the close that follows send RST.
pub(crate) fn linger_zero(fd: impl AsFd) {
    // On a socket that is already dead this fails, and there is nobody left to tell.
    let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// Sends FIN. An error means that the connection is gone, which the next receive or send reports.
pub(crate) fn finish(fd: impl AsFd) {
    let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
}

pub(crate) fn local_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(fd)?)?)
}

pub(crate) fn peer_addr(fd: impl AsFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getpeername(fd).ok()??).ok()
}

/// What to do after a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// Nobody is waiting.
    Empty,
    /// That one connection is gone or was forbidden; the next may be fine.
    Skip,
    /// Descriptors or memory are short (or the listener is broken): try again after a back-off.
    Pause(Errno),
}

/// Sorts the errors of accept(2).
pub(crate) fn accept_error(errno: i32) -> AcceptError {
    match errno {
        libc::EAGAIN => AcceptError::Empty,
        libc::EINTR | libc::ECONNABORTED | libc::EPERM | libc::EPROTO | libc::ENETDOWN | libc::ENOPROTOOPT => {
            AcceptError::Skip
        }
        libc::EHOSTDOWN
        | libc::ENONET
        | libc::EHOSTUNREACH
        | libc::EOPNOTSUPP
        | libc::ENETUNREACH
        | libc::ETIMEDOUT => AcceptError::Skip,
        _ => AcceptError::Pause(Errno(errno)),
    }
}

/// Raises the soft descriptor limit to the hard one. Returns the soft limit before and now.
pub fn raise_nofile() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let wanted = limit.maximum.unwrap_or(NOFILE_WHEN_INFINITE.max(before));
    if wanted <= before {
        return (before, before);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => (before, wanted),
        Err(_) => (before, before),
    }
}

/// One spare descriptor. It is given up when accepting runs out of descriptors, so that housekeeping (a log file, an admin
/// connection) still gets one, and taken back when accepting resumes.
#[derive(Debug)]
pub struct Reserve(Option<OwnedFd>);

impl Reserve {
    /// Takes the spare descriptor.
    pub fn new() -> Reserve {
        let mut reserve = Reserve(None);
        reserve.refill();
        reserve
    }
    /// Gives it up.
    pub fn release(&mut self) {
        self.0 = None;
    }
    /// Takes it back, if there is one to take.
    pub fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok();
        }
    }
    /// True while the descriptor is kept.
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Reserve::new()
    }
}

fn stream_socket(addr: &SocketAddr) -> Result<OwnedFd, Os> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_on_both_families_with_a_port_of_the_kernels_choice() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let socket = match listen(addr.parse().unwrap()) {
                Ok(socket) => socket,
                // A machine without IPv6.
                Err(e) if addr.starts_with('[') && e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => continue,
                Err(e) => panic!("{addr}: {e}"),
            };
            assert_ne!(socket.local_addr().unwrap().port(), 0);
        }
    }

    #[test]
    fn keepalive_is_what_was_said() {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let (Connecting::Done(fd) | Connecting::Pending(fd)) = connect(&socket.local_addr().unwrap()).unwrap() else {
            panic!("refused")
        };
        assert!(!sockopt::socket_keepalive(&fd).unwrap());
        let own = sockopt::tcp_keepintvl(&fd).unwrap();
        keepalive(&fd, Keepalive { probes: Some(5), time: Some(Duration::from_secs(70)), interval: None });
        assert!(sockopt::socket_keepalive(&fd).unwrap());
        let now = (sockopt::tcp_keepcnt(&fd), sockopt::tcp_keepidle(&fd), sockopt::tcp_keepintvl(&fd));
        assert_eq!(now, (Ok(5), Ok(Duration::from_secs(70)), Ok(own)));
    }

    #[test]
    fn shortage_pauses_a_dead_peer_does_not() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF] {
            assert_eq!(accept_error(errno), AcceptError::Pause(Errno(errno)));
        }
        assert_eq!(accept_error(libc::ECONNABORTED), AcceptError::Skip);
        assert_eq!(accept_error(libc::EAGAIN), AcceptError::Empty);
    }

    #[test]
    fn the_reserve_gives_its_descriptor_up_and_takes_it_back() {
        let mut reserve = Reserve::new();
        assert!(reserve.is_held());
        reserve.release();
        assert!(!reserve.is_held());
        reserve.refill();
        assert!(reserve.is_held());
    }
}
