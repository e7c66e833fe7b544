//! On the ring itself, with every setting that pays: SINGLE_ISSUER and DEFER_TASKRUN, one submit a turn, multishot accept into registered files, multishot
//! receive into a ring of provided buffers, and sending from that very buffer.
//!
//! A buffer belongs to the kernel, then to the piece in one socket's queue, then to the kernel again; a socket that does not read can hold all of them, and everybody waits
//! for it. A slot of the file table is freed only when no operation is in flight on it. The splice mode is a forwarder of its own (`splice`).

mod buffers;
mod forward;
mod splice;

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use buffers::{Buffers, GROUP, Piece};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use yardsticks::{Message, Options};

/// Entries of the submission queue; the completion queue has four times as many.
const ENTRIES: u32 = 1024;
/// Sockets open at once, if the process may have so many descriptors.
const SOCKETS_MAX: u64 = 16_384;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const SHUT: u64 = 3;
const CLOSE: u64 = 4;
const ATTACH: u64 = 5;

/// One end of a pair; its place in the list is its slot in the file table.
struct Socket {
    peer: Option<u32>,
    is_client: bool,
    message: Message,
    /// What this socket has to send: buffer, and the part of it that is left.
    queue: VecDeque<Piece>,
    in_flight: u32,
    sending: bool,
    /// It has sent all that it will.
    ended: bool,
    /// FIN once the queue is empty.
    close_after: bool,
    closing: bool,
    /// A client's new upstream on its way into the file table: the kernel writes the slot here.
    attaching: Option<(Box<[i32; 1]>, OwnedFd)>,
    /// What waits for it.
    early: VecDeque<Piece>,
}

struct Proxy {
    ring: IoUring,
    options: Options,
    listener: TcpListener,
    sockets: Vec<Option<Socket>>,
    /// Upstreams without a client.
    pool: Vec<u32>,
    buffers: Buffers,
    /// Sockets whose receive found no buffer.
    parked: VecDeque<u32>,
}

/// What goes wrong with a pair closes it.
struct Broken;

fn main() -> io::Result<()> {
    let options = Options::from_args();
    let listener = TcpListener::bind(options.listen)?;
    no_delay(listener.as_raw_fd())?;
    if options.splice {
        return splice::run(&listener, options.upstream);
    }
    let ring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_cqsize(4 * ENTRIES).build(ENTRIES)?;
    let slots = SOCKETS_MAX.min(descriptors_max()?);
    ring.submitter().register_files_sparse(slots as u32)?;
    let buffers = Buffers::new(&ring, options.buffer_bytes)?;
    let sockets = (0..slots).map(|_| None).collect();
    let mut proxy = Proxy { ring, options, listener, sockets, pool: Vec::new(), buffers, parked: VecDeque::new() };
    proxy.accept()?;
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    loop {
        match proxy.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        completions.extend(proxy.ring.completion());
        for completion in completions.drain(..) {
            proxy.handle(&completion)?;
        }
    }
}

impl Proxy {
    fn push(&mut self, entry: squeue::Entry, operation: u64, slot: u32) -> io::Result<()> {
        let entry = entry.user_data(operation << 32 | u64::from(slot));
        // SAFETY: what the entries point to outlives their operations: buffers live as long as the ring, the cell of an attach as long as its socket,
        // whose slot is not freed while an operation is in flight.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        if let Some(socket) = &mut self.sockets[slot as usize] {
            socket.in_flight += u32::from(operation != ACCEPT);
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).allocate_file_index(true).build();
        self.push(accept, ACCEPT, 0)
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        self.push(opcode::RecvMulti::new(Fixed(slot), GROUP).build(), RECEIVE, slot)
    }

    fn handle(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (operation, slot) = (completion.user_data() >> 32, completion.user_data() as u32);
        let (result, more) = (completion.result(), cqueue::more(completion.flags()));
        if operation == ACCEPT {
            if !more {
                self.accept()?;
            }
            return if result >= 0 { self.accepted(result as u32) } else { Ok(()) };
        }
        if let Some(socket) = &mut self.sockets[slot as usize] {
            socket.in_flight -= u32::from(!more);
        }
        let outcome = match operation {
            RECEIVE => self.received(slot, completion, more)?,
            SEND => self.sent(slot, result)?,
            ATTACH => self.attached(slot, result)?,
            _ => Ok(()),
        };
        if outcome.is_err() {
            self.close_pair(slot)?;
        }
        self.free(slot, operation == CLOSE)
    }

    fn accepted(&mut self, slot: u32) -> io::Result<()> {
        self.add(slot, true)?;
        if self.options.tcp && self.connect(slot)?.is_err() {
            self.close_pair(slot)?;
            self.free(slot, false)?;
        }
        Ok(())
    }

    fn add(&mut self, slot: u32, is_client: bool) -> io::Result<()> {
        self.sockets[slot as usize] = Some(Socket {
            peer: None,
            is_client,
            message: Message::request(),
            queue: VecDeque::new(),
            in_flight: 0,
            sending: false,
            ended: false,
            close_after: false,
            closing: false,
            attaching: None,
            early: VecDeque::new(),
        });
        self.receive(slot)
    }

    /// Gives a client an upstream: an idle one, or a new one. The connect blocks; on one machine that is no wait.
    fn connect(&mut self, client: u32) -> io::Result<Result<(), Broken>> {
        if let Some(upstream) = self.pool.pop() {
            self.pair(client, upstream);
            return Ok(Ok(()));
        }
        let Ok(stream) = TcpStream::connect(self.options.upstream) else { return Ok(Err(Broken)) };
        no_delay(stream.as_raw_fd())?;
        let mut cell = Box::new([stream.as_raw_fd()]);
        let pointer = cell.as_mut_ptr();
        let Some(socket) = &mut self.sockets[client as usize] else { return Ok(Err(Broken)) };
        socket.attaching = Some((cell, stream.into()));
        // An offset of -1: any free slot.
        self.push(opcode::FilesUpdate::new(pointer, 1).offset(-1).build(), ATTACH, client)?;
        Ok(Ok(()))
    }

    fn attached(&mut self, client: u32, result: i32) -> io::Result<Result<(), Broken>> {
        let Some(socket) = &mut self.sockets[client as usize] else { return Ok(Ok(())) };
        let (Some((cell, _descriptor)), 1) = (socket.attaching.take(), result) else { return Ok(Err(Broken)) };
        let early = std::mem::take(&mut socket.early);
        let upstream = cell[0] as u32;
        self.add(upstream, false)?;
        self.pair(client, upstream);
        let gone = self.sockets[client as usize].as_ref().is_none_or(|socket| socket.closing);
        for piece in early {
            self.send(upstream, piece)?;
        }
        if let Some(client) = &self.sockets[client as usize]
            && client.message.is_head
            && let Some(upstream) = &mut self.sockets[upstream as usize]
        {
            upstream.message = Message::reply(true);
        }
        if gone {
            self.close_pair(upstream)?;
        } else if self.sockets[client as usize].as_ref().is_some_and(|socket| socket.ended) {
            return self.close_after(upstream);
        }
        Ok(Ok(()))
    }

    fn pair(&mut self, client: u32, upstream: u32) {
        if let Some(socket) = &mut self.sockets[client as usize] {
            socket.peer = Some(upstream);
        }
        if let Some(socket) = &mut self.sockets[upstream as usize] {
            socket.peer = Some(client);
            socket.message = Message::reply(false);
        }
    }

    /// A whole reply has been queued for the client.
    fn finish(&mut self, client: u32, upstream: u32, reusable: bool) -> io::Result<Result<(), Broken>> {
        // Heads pass as they are: whatever ends the client's connection ends the upstream one.
        let kept = self.sockets[client as usize].as_ref().is_some_and(|socket| socket.message.keep_alive);
        for slot in [client, upstream] {
            if let Some(socket) = &mut self.sockets[slot as usize] {
                socket.peer = None;
            }
        }
        if reusable && kept {
            self.pool.push(upstream);
            return Ok(Ok(()));
        }
        self.close(upstream)?;
        self.free(upstream, false)?;
        self.close_after(client)
    }

    /// This socket sends no more.
    fn ended(&mut self, slot: u32) -> io::Result<Result<(), Broken>> {
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(Ok(())) };
        socket.ended = true;
        let (peer, is_client, until_close) = (socket.peer, socket.is_client, socket.message.end());
        if self.options.tcp {
            // Without a peer yet, its FIN follows when it has one.
            if peer.is_none() && socket.attaching.is_some() {
                return Ok(Ok(()));
            }
            let Some(peer) = peer else { return Ok(Err(Broken)) };
            return self.close_after(peer);
        }
        match peer {
            Some(client) if !is_client && until_close => self.finish(client, slot, false),
            _ => Ok(Err(Broken)),
        }
    }

    /// FIN once everything is sent; then the other direction decides when the socket is closed.
    fn close_after(&mut self, slot: u32) -> io::Result<Result<(), Broken>> {
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(Ok(())) };
        socket.close_after = true;
        if !socket.queue.is_empty() || socket.closing {
            return Ok(Ok(()));
        }
        if self.options.tcp && self.is_over(slot) {
            return Ok(Err(Broken));
        }
        self.push(opcode::Shutdown::new(Fixed(slot), libc::SHUT_WR).build(), SHUT, slot)?;
        Ok(Ok(()))
    }

    /// Both directions of a tunnel are done.
    fn is_over(&self, slot: u32) -> bool {
        let done = |socket: &Socket| socket.ended && socket.close_after && socket.queue.is_empty();
        let peer = self.sockets[slot as usize].as_ref().and_then(|socket| socket.peer);
        [Some(slot), peer].into_iter().flatten().all(|slot| self.sockets[slot as usize].as_ref().is_none_or(done))
    }

    fn close_pair(&mut self, slot: u32) -> io::Result<()> {
        let peer = self.sockets[slot as usize].as_ref().and_then(|socket| socket.peer);
        self.close(slot)?;
        if let Some(peer) = peer {
            self.close(peer)?;
            self.free(peer, false)?;
        }
        Ok(())
    }

    /// Ends what is in flight; the slot is freed when all of that has come back.
    fn close(&mut self, slot: u32) -> io::Result<()> {
        let Some(socket) = self.sockets[slot as usize].as_mut().filter(|socket| !socket.closing) else { return Ok(()) };
        socket.closing = true;
        self.pool.retain(|idle| *idle != slot);
        self.parked.retain(|parked| *parked != slot);
        self.push(opcode::Shutdown::new(Fixed(slot), libc::SHUT_RDWR).build(), SHUT, slot)
    }

    /// Closes the file of a closing socket when nothing is in flight on it, and forgets the socket when the file is closed.
    fn free(&mut self, slot: u32, closed: bool) -> io::Result<()> {
        let Some(socket) =
            self.sockets[slot as usize].as_mut().filter(|socket| socket.closing && socket.in_flight == 0)
        else {
            return Ok(());
        };
        if !closed {
            let pieces: Vec<_> = socket.queue.drain(..).chain(socket.early.drain(..)).collect();
            for (buffer, ..) in pieces {
                self.give_back(buffer)?;
            }
            return self.push(opcode::Close::new(Fixed(slot)).build(), CLOSE, slot);
        }
        self.sockets[slot as usize] = None;
        Ok(())
    }
}

/// Accepted sockets inherit it from their listener.
fn no_delay(descriptor: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: `on` lives through the call and its size is told.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<i32>() as u32,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A file table may not be larger.
fn descriptors_max() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}
