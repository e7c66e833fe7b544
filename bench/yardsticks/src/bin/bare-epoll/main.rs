//! On epoll itself: edge-triggered, one thread, one hot buffer for all connections. What a socket does not take at once is kept for it, and its source is not read
//! until that is gone. `--tcp --splice` moves bytes through a pipe for each direction and never sees them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use yardsticks::{Message, Options, splice};

/// Events of one wait.
const EVENTS: usize = 512;
const LISTENER: u64 = u64::MAX;

/// One end of a pair. Ends live in a slab; a client's `peer` is its upstream and the other way round.
struct End {
    stream: TcpStream,
    generation: u32,
    peer: Option<usize>,
    is_client: bool,
    /// The message that this end sends just now.
    message: Message,
    /// What this end has not taken yet.
    unsent: Vec<u8>,
    /// Bytes spliced into this pipe on the way to this end, and not out of it yet.
    pipe: Option<(OwnedFd, OwnedFd, usize)>,
    /// Its FIN is on the way: an edge that comes once, with data before it or without.
    hup: bool,
    /// It has sent all that it will.
    ended: bool,
    /// FIN once `unsent` is gone.
    close_after: bool,
}

struct Proxy {
    options: Options,
    epoll: RawFd,
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    /// Upstreams without a client.
    pool: Vec<usize>,
    buf: Vec<u8>,
    generation: u32,
}

impl End {
    /// It has not taken everything that is meant for it.
    fn is_blocked(&self) -> bool {
        !self.unsent.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.2 > 0)
    }
}

/// What goes wrong with a pair closes it.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken
    }
}

fn main() -> io::Result<()> {
    let options = Options::from_args();
    let listener = TcpListener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    // SAFETY: takes no pointer.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    watch(epoll, listener.as_raw_fd(), LISTENER)?;
    let buf = vec![0; options.buffer_bytes];
    let mut proxy = Proxy { options, epoll, ends: Vec::new(), free: Vec::new(), pool: Vec::new(), buf, generation: 0 };
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        // SAFETY: `events` has room for EVENTS of them and lives through the call.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        let ready = match check(ready) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other? as usize,
        };
        for event in &events[..ready] {
            let (what, data) = (event.events, event.u64);
            if data == LISTENER {
                proxy.accept(&listener)?;
                continue;
            }
            let (at, generation) = ((data & 0xffff_ffff) as usize, (data >> 32) as u32);
            if proxy.ends[at].as_ref().is_some_and(|end| end.generation == generation) {
                proxy.ready(at, what);
            }
        }
    }
}

impl Proxy {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let at = self.add(stream, true)?;
                    if self.options.tcp && self.connect(at).is_err() {
                        self.close(at);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client is gone already, or there are no descriptors just now.
                Err(_) => return Ok(()),
            }
        }
    }

    fn add(&mut self, stream: TcpStream, is_client: bool) -> io::Result<usize> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let at = self.free.pop().unwrap_or_else(|| {
            self.ends.push(None);
            self.ends.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        watch(self.epoll, stream.as_raw_fd(), u64::from(self.generation) << 32 | at as u64)?;
        self.ends[at] = Some(End {
            stream,
            generation: self.generation,
            peer: None,
            is_client,
            message: Message::request(),
            unsent: Vec::new(),
            pipe: None,
            hup: false,
            ended: false,
            close_after: false,
        });
        Ok(at)
    }

    /// Gives a client an upstream: an idle one, or a new one. The connect blocks; on one machine that is no wait.
    fn connect(&mut self, client: usize) -> Result<usize, Broken> {
        let upstream = match self.pool.pop() {
            Some(upstream) => upstream,
            None => self.add(TcpStream::connect(self.options.upstream)?, false)?,
        };
        if self.options.splice {
            for at in [client, upstream] {
                self.end(at)?.pipe = Some(splice::pipe()?);
            }
        }
        self.end(client)?.peer = Some(upstream);
        self.end(upstream)?.peer = Some(client);
        Ok(upstream)
    }

    fn end(&mut self, at: usize) -> Result<&mut End, Broken> {
        self.ends[at].as_mut().ok_or(Broken)
    }

    fn ready(&mut self, at: usize, what: u32) {
        let has = |events: i32| what & events as u32 != 0;
        let mut result = Ok(());
        if let Some(end) = &mut self.ends[at] {
            end.hup |= has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR);
        }
        // Every edge says that the socket can be written to; that is news only to one that could not.
        if has(libc::EPOLLOUT) && self.ends[at].as_ref().is_some_and(End::is_blocked) {
            // The other end was not read meanwhile; its edge is gone, so it is looked at now.
            result = self.flush(at).and_then(|emptied| match self.ends[at].as_ref().and_then(|end| end.peer) {
                Some(peer) if emptied => self.read(peer),
                _ => Ok(()),
            });
        }
        if has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) && result.is_ok() {
            result = self.read(at);
        }
        if result.is_err() {
            self.close_pair(at);
        }
    }

    /// Forwards until the socket has no more or the other side takes no more.
    fn read(&mut self, at: usize) -> Result<(), Broken> {
        loop {
            let Some(end) = &self.ends[at] else { return Ok(()) };
            let (ended, hup, peer) = (end.ended, end.hup, end.peer);
            if ended || peer.is_some_and(|peer| self.ends[peer].as_ref().is_some_and(End::is_blocked)) {
                return Ok(());
            }
            if self.options.splice {
                if !self.splice(at)? {
                    return Ok(());
                }
                continue;
            }
            let Some(end) = &mut self.ends[at] else { return Ok(()) };
            let length = match end.stream.read(&mut self.buf) {
                Ok(0) => return self.ended(at),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Broken),
            };
            let done = self.forward(at, length)?;
            // A short read emptied the socket: what comes next is a new edge.
            if done || (length < self.buf.len() && !hup) {
                return Ok(());
            }
        }
    }

    /// Sends the first `length` bytes of the buffer to the other end; true when this connection should not be read any more now.
    fn forward(&mut self, at: usize, length: usize) -> Result<bool, Broken> {
        if self.options.tcp {
            let peer = self.end(at)?.peer.ok_or(Broken)?;
            self.send(peer, length)?;
            return Ok(false);
        }
        if self.end(at)?.is_client {
            let upstream = match self.end(at)?.peer {
                Some(upstream) => upstream,
                None => {
                    self.end(at)?.message = Message::request();
                    self.connect(at)?
                }
            };
            let (buf, end) = (&self.buf[..length], self.ends[at].as_mut().ok_or(Broken)?);
            if end.message.feed(buf).map_err(|_| Broken)? {
                let to_head = end.message.is_head;
                self.end(upstream)?.message = Message::reply(to_head);
            }
            self.send(upstream, length)?;
            return Ok(false);
        }
        // Nobody asked an idle upstream for anything.
        let client = self.end(at)?.peer.ok_or(Broken)?;
        let (buf, end) = (&self.buf[..length], self.ends[at].as_mut().ok_or(Broken)?);
        let whole = end.message.feed(buf).map_err(|_| Broken)?;
        let reusable = end.message.keep_alive && !end.hup;
        self.send(client, length)?;
        if whole {
            self.finish(client, at, reusable)?;
        }
        Ok(whole)
    }

    /// A whole reply has been passed on.
    fn finish(&mut self, client: usize, upstream: usize, reusable: bool) -> Result<(), Broken> {
        // Heads pass as they are: whatever ends the client's connection ends the upstream one.
        let reusable = reusable && self.end(client)?.message.keep_alive;
        self.end(client)?.peer = None;
        self.end(upstream)?.peer = None;
        if reusable {
            self.pool.push(upstream);
        } else {
            self.close(upstream);
        }
        if reusable { Ok(()) } else { self.close_after(client) }
    }

    /// FIN once everything is sent; the client's own FIN then ends the connection.
    fn close_after(&mut self, at: usize) -> Result<(), Broken> {
        let end = self.end(at)?;
        end.close_after = true;
        if !end.is_blocked() {
            end.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// Both directions of a tunnel are done.
    fn is_over(&self, at: usize) -> bool {
        let done = |end: &End| end.ended && end.close_after && !end.is_blocked();
        let peer = self.ends[at].as_ref().and_then(|end| end.peer);
        [Some(at), peer].into_iter().flatten().all(|at| self.ends[at].as_ref().is_none_or(done))
    }

    /// This end sends no more.
    fn ended(&mut self, at: usize) -> Result<(), Broken> {
        let end = self.end(at)?;
        end.ended = true;
        let (is_client, peer, until_close) = (end.is_client, end.peer, end.message.end());
        match peer {
            Some(peer) if self.options.tcp => {
                self.close_after(peer)?;
                if self.is_over(at) {
                    self.close_pair(at);
                }
            }
            // The end of the reply's body.
            Some(client) if !is_client && until_close => {
                self.finish(client, at, false)?;
            }
            _ => self.close_pair(at),
        }
        Ok(())
    }

    /// Sends the buffer's first bytes, and keeps what the socket does not take.
    fn send(&mut self, to: usize, length: usize) -> Result<(), Broken> {
        let (buf, end) = (&self.buf[..length], self.ends[to].as_mut().ok_or(Broken)?);
        let sent = if end.unsent.is_empty() { written(&mut end.stream, buf)? } else { 0 };
        end.unsent.extend_from_slice(&buf[sent..]);
        Ok(())
    }

    /// True when this end has taken everything.
    fn flush(&mut self, at: usize) -> Result<bool, Broken> {
        if self.options.splice {
            self.splice_out(at)?;
        }
        let end = self.end(at)?;
        if !end.unsent.is_empty() {
            let sent = written(&mut end.stream, &end.unsent)?;
            end.unsent.drain(..sent);
        }
        let emptied = !end.is_blocked();
        if emptied && end.close_after {
            end.stream.shutdown(Shutdown::Write)?;
            if self.options.tcp && self.is_over(at) {
                self.close_pair(at);
            }
        }
        Ok(emptied)
    }

    /// Moves what has arrived into the pipe towards the other end and out of it; false when there is nothing more just now.
    fn splice(&mut self, at: usize) -> Result<bool, Broken> {
        let end = self.end(at)?;
        let (from, peer) = (end.stream.as_raw_fd(), end.peer.ok_or(Broken)?);
        let pipe = self.end(peer)?.pipe.as_mut().ok_or(Broken)?;
        match splice::moved(from, pipe.1.as_raw_fd())? {
            Some(0) => self.ended(at).map(|()| false),
            Some(length) => {
                pipe.2 += length;
                self.splice_out(peer)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn splice_out(&mut self, to: usize) -> Result<(), Broken> {
        let end = self.end(to)?;
        let Some(pipe) = &mut end.pipe else { return Ok(()) };
        while pipe.2 > 0 {
            match splice::moved(pipe.0.as_raw_fd(), end.stream.as_raw_fd())? {
                Some(length) => pipe.2 -= length,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn close_pair(&mut self, at: usize) {
        let peer = self.ends[at].as_ref().and_then(|end| end.peer);
        self.close(at);
        if let Some(peer) = peer {
            self.close(peer);
        }
    }

    fn close(&mut self, at: usize) {
        // Closing the descriptor takes it out of the epoll set.
        if self.ends[at].take().is_some() {
            self.pool.retain(|idle| *idle != at);
            self.free.push(at);
        }
    }
}

/// How much a socket took.
fn written(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize, Broken> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return Err(Broken),
        }
    }
    Ok(sent)
}

fn watch(epoll: RawFd, fd: RawFd, data: u64) -> io::Result<()> {
    let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` lives through the call.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
