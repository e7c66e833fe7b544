//! A connection: what it sends, and what becomes of it.

use std::cmp::Reverse;
use std::time::Duration;

use ringway_engine::io::{CREDIT_UNLIMITED, End};
use ringway_engine::{Buf, Class, Completion, Errno, Io, Piece, SMALL_BYTES, Sock, Time, Token};

use super::Worker;
use crate::plan::Load;
use crate::protocol::{Progress, Protocol, Reply, Session};
use crate::tally::Cause;

/// In a closed loop, before a connection that failed is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Connection<S> {
    sock: Option<Sock>,
    pub(super) link: Link,
    class: Option<Class>,
    /// The request under way.
    pub(super) asked: Option<Asked>,
    /// Counts requests, so that a stale deadline is known.
    pub(super) turn: u32,
    /// When its handshake began.
    greeted: Time,
    pub(super) free_since: Time,
    stream: S,
}

/// How far a socket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none, or none that is any good.
    #[default]
    Down,
    Connecting,
    /// Connected; the handshake of the protocol is under way.
    Opening,
    Up,
}

#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) kind: u32,
    /// That it is filled from.
    pub(super) row: u32,
    pub(super) due: Time,
}

impl<I: Io, P: Protocol> Worker<'_, I, P> {
    pub(super) fn connect(&mut self, index: u32) -> Result<(), Errno> {
        let turn = self.connections[index as usize].turn as usize;
        let addresses = &self.plan.addresses;
        let address = addresses[(index as usize * self.share.workers + self.share.index + turn) % addresses.len()];
        let sock = self.io.connect(address, Token(u64::from(index)))?;
        let connection = &mut self.connections[index as usize];
        (connection.sock, connection.link) = (Some(sock), Link::Connecting);
        self.connecting += 1;
        Ok(())
    }

    pub(super) fn send(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let (Some(sock), Some(asked)) = (connection.sock, connection.asked) else { return };
        let row = self.plan.rows.get(asked.row as usize).map_or(&[][..], Vec::as_slice);
        self.scratch.clear();
        let request = &self.plan.mix[asked.kind as usize];
        match self.protocol.ask(&mut connection.stream, request, row, &mut self.scratch) {
            Some(bytes) => {
                self.counts.tally().bytes_written += bytes.len() as u64;
                self.io.send(sock, Piece::Static(bytes));
            }
            None if self.scratch.is_empty() => {}
            None => self.say(index),
        }
    }

    /// Sends what the protocol has put together.
    fn say(&mut self, index: u32) {
        let Some(sock) = self.connections[index as usize].sock else { return };
        let piece = Piece::Buf(copied(&mut self.io, &self.scratch));
        self.counts.tally().bytes_written += piece.len() as u64;
        self.io.send(sock, piece);
    }

    pub(super) fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Connected { token, result } => self.connected(token.0 as u32, result),
            Completion::Received { token, buf } => self.received(token.0 as u32, &buf),
            Completion::ReceiveEnd { token, end } => self.ended(token.0 as u32, end),
            Completion::Sent { token, drained: true, .. } if P::ONE_WAY => self.sent(token.0 as u32),
            Completion::SendFailed { token, errno } => {
                let index = token.0 as u32;
                if self.connections[index as usize].asked.is_some() {
                    self.fail(index, cause_of_break(errno));
                } else {
                    self.disconnect(index);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, index: u32, result: Result<(), Errno>) {
        self.connecting -= 1;
        let connection = &mut self.connections[index as usize];
        connection.link = if result.is_ok() { Link::Up } else { Link::Down };
        let asked = connection.asked.is_some();
        match (result, connection.sock) {
            (Ok(()), Some(sock)) => {
                self.io.recv(sock, connection.class.unwrap_or(Class::Small), CREDIT_UNLIMITED);
                self.counts.tally().connects += 1;
                if P::HANDSHAKE {
                    self.greet(index);
                } else if asked {
                    self.send(index);
                } else {
                    self.release(index, self.io.now());
                }
            }
            (Err(errno), _) if asked => self.fail(index, cause_of_connect(errno)),
            _ => {
                self.disconnect(index);
                self.release(index, self.io.now());
            }
        }
    }

    /// Begins the handshake for the request that opened the connection.
    fn greet(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let Some(asked) = connection.asked else { return };
        (connection.link, connection.greeted) = (Link::Opening, self.io.clock());
        self.scratch.clear();
        self.protocol.greet(&mut connection.stream, &self.plan.mix[asked.kind as usize], &mut self.scratch);
        self.say(index);
    }

    fn received(&mut self, index: u32, buf: &Buf) {
        self.counts.tally().bytes_read += buf.len() as u64;
        let connection = &mut self.connections[index as usize];
        self.scratch.clear();
        let progress = match connection.asked {
            Some(asked) => {
                let request = &self.plan.mix[asked.kind as usize];
                self.protocol.read(&mut connection.stream, request, buf, &mut self.scratch)
            }
            None if self.protocol.read_idle(&mut connection.stream, buf, &mut self.scratch) => Progress::More,
            // Nobody asked for this.
            None => return self.disconnect(index),
        };
        if buf.len() == SMALL_BYTES
            && connection.class.is_none()
            && let Some(sock) = connection.sock
        {
            connection.class = Some(Class::Bulk);
            self.io.recv(sock, Class::Bulk, CREDIT_UNLIMITED);
        }
        if !self.scratch.is_empty() {
            self.say(index);
        }
        match progress {
            Progress::More => {}
            Progress::Secured(session) => self.secured(index, session),
            Progress::Open => self.opened(index),
            Progress::Whole(reply) => self.finish(index, reply),
            Progress::Broken(cause) => self.fail(index, cause),
        }
    }

    /// The handshake of TLS is over; another may follow inside.
    fn secured(&mut self, index: u32, session: Session) {
        let now = self.io.clock();
        let connection = &mut self.connections[index as usize];
        self.counts.tally().secured(session, now.since(connection.greeted));
        let Some(asked) = connection.asked else { return };
        self.scratch.clear();
        let request = &self.plan.mix[asked.kind as usize];
        let progress = self.protocol.proceed(&mut connection.stream, request, &mut self.scratch);
        if !self.scratch.is_empty() {
            self.say(index);
        }
        match progress {
            Progress::Open => self.opened(index),
            Progress::Broken(cause) => self.fail(index, cause),
            Progress::More | Progress::Secured(_) | Progress::Whole(_) => {}
        }
    }

    fn opened(&mut self, index: u32) {
        self.connections[index as usize].link = Link::Up;
        self.send(index);
    }

    /// The kernel has taken all that was to be sent.
    fn sent(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        // The word may be of what was sent before the request.
        if connection.link == Link::Up
            && connection.asked.is_some()
            && connection.sock.is_some_and(|sock| self.io.queued(sock) == 0)
            && let Progress::Whole(reply) = self.protocol.sent(&mut connection.stream)
        {
            self.finish(index, reply);
        }
    }

    fn ended(&mut self, index: u32, end: End) {
        let connection = &mut self.connections[index as usize];
        let Some(asked) = connection.asked else { return self.disconnect(index) };
        let progress = match end {
            End::Eof => self.protocol.end(&mut connection.stream, &self.plan.mix[asked.kind as usize]),
            End::Error(errno) => Progress::Broken(cause_of_break(errno)),
        };
        match progress {
            Progress::Whole(reply) => self.finish(index, Reply { keep_alive: false, ..reply }),
            Progress::Broken(cause) => self.fail(index, cause),
            Progress::More | Progress::Secured(_) | Progress::Open => self.fail(index, Cause::ShortReply),
        }
    }

    /// A whole reply.
    fn finish(&mut self, index: u32, reply: Reply) {
        let now = self.io.now();
        let Some(asked) = self.connections[index as usize].asked.take() else { return };
        self.busy -= 1;
        // As it was recorded; 0 where that is not asked for.
        let recorded = match &self.plan.load {
            Load::Recorded { statuses, .. } => statuses.get(asked.row as usize).copied().unwrap_or(0),
            _ => 0,
        };
        self.counts.reply(asked, reply, recorded, now);
        self.protocol.next(&mut self.connections[index as usize].stream);
        if !reply.keep_alive || self.plan.new_connections {
            self.disconnect(index);
        }
        match self.plan.load {
            Load::Closed { think } if !think.is_zero() => self.resting.push(Reverse((now.after(think).0, index))),
            _ => self.release(index, now),
        }
    }

    /// No reply.
    pub(super) fn fail(&mut self, index: u32, cause: Cause) {
        let now = self.io.now();
        self.disconnect(index);
        let Some(asked) = self.connections[index as usize].asked.take() else { return };
        self.busy -= 1;
        let why = self.protocol.why();
        self.counts.failure(asked, cause, why, now);
        match self.plan.load {
            Load::Closed { think } => {
                let pause = think.max(PAUSE_AFTER_FAILURE);
                self.resting.push(Reverse((now.after(pause).0, index)));
            }
            Load::Open { .. } | Load::Recorded { .. } => self.release(index, now),
        }
    }

    pub(super) fn release(&mut self, index: u32, since: Time) {
        self.connections[index as usize].free_since = since;
        self.free.push_back(index);
    }

    fn disconnect(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.stream = P::Stream::default();
        let Some(sock) = connection.sock.take() else { return };
        // With the socket goes the word about its connect.
        self.connecting -= usize::from(std::mem::take(&mut connection.link) == Link::Connecting);
        self.io.close(sock);
    }

    pub(super) fn expire(&mut self, now: Time) {
        while let Some(&(deadline, index, turn)) = self.deadlines.front() {
            let connection = &self.connections[index as usize];
            let live = connection.turn == turn && connection.asked.is_some();
            if live && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if live {
                self.fail(index, Cause::Timeout);
            }
        }
    }
}

fn copied<I: Io>(io: &mut I, bytes: &[u8]) -> Buf {
    if bytes.len() <= SMALL_BYTES
        && let Some(mut buf) = io.alloc(Class::Small)
    {
        buf[..bytes.len()].copy_from_slice(bytes);
        buf.truncate(bytes.len());
        return buf;
    }
    Buf::heap(bytes.to_vec())
}

pub(super) fn cause_of_connect(errno: Errno) -> Cause {
    match rustix::io::Errno::from_raw_os_error(errno.0) {
        rustix::io::Errno::CONNREFUSED => Cause::Refused,
        rustix::io::Errno::CONNRESET => Cause::Reset,
        rustix::io::Errno::TIMEDOUT => Cause::Timeout,
        _ => Cause::Connect,
    }
}

fn cause_of_break(errno: Errno) -> Cause {
    match rustix::io::Errno::from_raw_os_error(errno.0) {
        rustix::io::Errno::TIMEDOUT => Cause::Timeout,
        _ => Cause::Reset,
    }
}
