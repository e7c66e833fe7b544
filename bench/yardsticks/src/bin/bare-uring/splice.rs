//! Opaque TCP without a look at a byte: the ring tells which sockets are ready, and `splice` moves what they have through a pipe. The ring's own splice
//! runs in kernel threads and costs more than it saves.
//!
//! Polls are multishot, and tell of every edge once: a socket is read until it has no more or its peer takes no more, and looked at again when the
//! peer takes some.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use yardsticks::splice::{moved, pipe};

use super::{Broken, ENTRIES, no_delay};

/// Marks what is not about a socket.
const ACCEPT: u64 = u64::MAX;
const CANCEL: u64 = u64::MAX - 1;

/// One end of a pair.
struct End {
    stream: TcpStream,
    /// Tells polls of this socket from those of one that had its place before.
    generation: u32,
    peer: usize,
    /// Towards this socket: its two ends, and how many bytes it holds.
    pipe: (OwnedFd, OwnedFd, usize),
    /// It has sent all that it will.
    ended: bool,
    /// FIN once the pipe is empty.
    close_after: bool,
}

struct Splicer {
    ring: IoUring,
    upstream: SocketAddr,
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    generation: u32,
}

/// Forwards until the process ends.
pub fn run(listener: &TcpListener, upstream: SocketAddr) -> io::Result<()> {
    let ring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_cqsize(4 * ENTRIES).build(ENTRIES)?;
    let mut splicer = Splicer { ring, upstream, ends: Vec::new(), free: Vec::new(), generation: 0 };
    splicer.accept(listener)?;
    let mut completions = Vec::new();
    loop {
        match splicer.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        completions.extend(splicer.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        for (data, result, flags) in completions.drain(..) {
            let more = io_uring::cqueue::more(flags);
            match data {
                ACCEPT => {
                    if result >= 0 {
                        // SAFETY: the kernel has just opened it for this process and nobody else knows it.
                        splicer.accepted(unsafe { TcpStream::from_raw_fd(result) })?;
                    }
                    if !more {
                        splicer.accept(listener)?;
                    }
                }
                CANCEL => {}
                _ => splicer.polled(data, result, more)?,
            }
        }
    }
}

impl Splicer {
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the entries point to no memory.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        self.push(&opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build().user_data(ACCEPT))
    }

    /// The connect blocks; on one machine that is no wait. Without an upstream the client is closed.
    fn accepted(&mut self, client: TcpStream) -> io::Result<()> {
        let Ok(upstream) = TcpStream::connect(self.upstream) else { return Ok(()) };
        no_delay(upstream.as_raw_fd())?;
        let (client, upstream) = (self.add(client)?, self.add(upstream)?);
        for (at, peer) in [(client, upstream), (upstream, client)] {
            if let Some(end) = &mut self.ends[at] {
                end.peer = peer;
            }
            self.poll(at)?;
        }
        Ok(())
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<usize> {
        stream.set_nonblocking(true)?;
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let (generation, pipe) = (self.generation, pipe()?);
        let end = End { stream, generation, peer: 0, pipe, ended: false, close_after: false };
        let at = self.free.pop().unwrap_or_else(|| {
            self.ends.push(None);
            self.ends.len() - 1
        });
        self.ends[at] = Some(end);
        Ok(at)
    }

    fn poll(&mut self, at: usize) -> io::Result<()> {
        let Some(end) = &self.ends[at] else { return Ok(()) };
        let events = (libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP) as u32;
        let poll = opcode::PollAdd::new(Fd(end.stream.as_raw_fd()), events).multi(true).build();
        self.push(&poll.user_data(end.name(at)))
    }

    fn polled(&mut self, data: u64, result: i32, more: bool) -> io::Result<()> {
        let at = (data & 0xffff_ffff) as usize;
        let Some(end) = self.ends[at].as_ref().filter(|end| end.name(at) == data) else { return Ok(()) };
        let (peer, has) = (end.peer, |events: i16| result & i32::from(events) != 0);
        let mut outcome = if result < 0 { Err(Broken) } else { Ok(()) };
        if has(libc::POLLOUT | libc::POLLHUP | libc::POLLERR) && end.pipe.2 > 0 {
            // Its peer was not read meanwhile, and that edge is gone.
            outcome = outcome.and_then(|()| self.drain(at)).and_then(|()| self.fill(peer));
        }
        if has(libc::POLLIN | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) {
            outcome = outcome.and_then(|()| self.fill(at));
        }
        if outcome.is_err() || self.is_over(at) {
            self.close(at)?;
            return self.close(peer);
        }
        if more { Ok(()) } else { self.poll(at) }
    }

    /// Moves what has arrived at this end towards the other one, until there is no more or the other one takes no more.
    fn fill(&mut self, at: usize) -> Result<(), Broken> {
        loop {
            let end = self.end(at)?;
            let (from, ended, peer) = (end.stream.as_raw_fd(), end.ended, end.peer);
            let pipe = &mut self.end(peer)?.pipe;
            if ended || pipe.2 > 0 {
                return Ok(());
            }
            match moved(from, pipe.1.as_raw_fd()).map_err(|_| Broken)? {
                None => return Ok(()),
                Some(0) => {
                    self.end(at)?.ended = true;
                    self.end(peer)?.close_after = true;
                }
                Some(length) => pipe.2 = length,
            }
            self.drain(peer)?;
        }
    }

    /// Moves what the pipe holds to the socket.
    fn drain(&mut self, at: usize) -> Result<(), Broken> {
        let end = self.end(at)?;
        while end.pipe.2 > 0 {
            match moved(end.pipe.0.as_raw_fd(), end.stream.as_raw_fd()).map_err(|_| Broken)? {
                Some(length) => end.pipe.2 -= length,
                None => return Ok(()),
            }
        }
        if end.close_after {
            end.stream.shutdown(Shutdown::Write).map_err(|_| Broken)?;
        }
        Ok(())
    }

    fn end(&mut self, at: usize) -> Result<&mut End, Broken> {
        self.ends[at].as_mut().ok_or(Broken)
    }

    /// Both directions are done.
    fn is_over(&self, at: usize) -> bool {
        let done = |end: &End| end.ended && end.close_after && end.pipe.2 == 0;
        let peer = self.ends[at].as_ref().map(|end| end.peer);
        [Some(at), peer].into_iter().flatten().all(|at| self.ends[at].as_ref().is_none_or(done))
    }

    /// The poll holds the socket open until it is cancelled.
    fn close(&mut self, at: usize) -> io::Result<()> {
        let Some(end) = self.ends[at].take() else { return Ok(()) };
        self.free.push(at);
        self.push(&opcode::PollRemove::new(end.name(at)).build().user_data(CANCEL))
    }
}

impl End {
    /// What its polls are called.
    fn name(&self, at: usize) -> u64 {
        u64::from(self.generation) << 32 | at as u64
    }
}
