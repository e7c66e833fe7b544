//! Connected endpoints: reading, writing, FIN, RST, and what becomes of bytes that nobody waits for.

use super::{Acceptor, Close, Endpoint, Event, Network, Owner, Phase, Readable};
use crate::io::{End, Errno};
use crate::sim::pipe::Segment;
use crate::slab::Key;

impl Network {
    pub(in crate::sim) fn end(&self, key: Key) -> Option<&Endpoint> {
        self.ends.get(key).filter(|end| !end.closed)
    }

    pub(in crate::sim) fn set_owner(&mut self, key: Key, owner: Owner) -> bool {
        match self.ends.get_mut(key) {
            Some(end) if !end.closed => {
                end.owner = owner;
                true
            }
            _ => false,
        }
    }

    /// Endpoints held by drivers or waiting for their accept, and those held by peers. What waits in a peers' backlog, and what has not finished its
    /// handshake, is nobody's yet.
    pub(in crate::sim) fn open(&self) -> (usize, usize) {
        let held = |is: fn(Owner) -> bool| self.ends.iter().filter(|(_, end)| !end.closed && is(end.owner)).count();
        let drivers = held(|owner| matches!(owner, Owner::Driver(..) | Owner::Loose));
        let waiting = self.listeners.iter().filter(|(_, bound)| bound.acceptor != Acceptor::Peer);
        let waiting: usize = waiting.map(|(_, bound)| bound.backlog.len()).sum();
        (drivers + waiting, held(|owner| owner == Owner::Peer))
    }

    pub(in crate::sim) fn readable(&self, key: Key) -> Readable {
        match self.end(key) {
            Some(end) if end.phase == Phase::Established => match (end.incoming.arrived(), end.error) {
                (n @ 1.., _) => Readable::Bytes(n),
                (0, _) if end.fin => Readable::End(End::Eof),
                (0, Some(errno)) => Readable::End(End::Error(errno)),
                // Another call has reported the error.
                (0, None) if end.reset => Readable::End(End::Eof),
                (0, None) => Readable::Nothing,
            },
            _ => Readable::Nothing,
        }
    }

    /// Reads arrived bytes.
    pub(in crate::sim) fn read(&mut self, key: Key, out: &mut [u8]) -> usize {
        let Some(end) = self.ends.get_mut(key) else { return 0 };
        let n = end.incoming.read(out);
        self.tell_room(key, n);
        n
    }

    /// Reads everything that arrived.
    pub(in crate::sim) fn read_all(&mut self, key: Key, out: &mut Vec<u8>) -> usize {
        let Some(end) = self.ends.get_mut(key) else { return 0 };
        let n = end.incoming.read_all(out);
        self.tell_room(key, n);
        n
    }

    /// The end of the stream was reported: its error is not reported again.
    pub(in crate::sim) fn take_error(&mut self, key: Key) {
        if let Some(end) = self.ends.get_mut(key) {
            end.error = None;
        }
    }

    /// Bytes that may be written now.
    pub(in crate::sim) fn room(&self, key: Key) -> usize {
        let inside = self.ends.get(key).and_then(|end| self.ends.get(end.peer?)).map(|peer| peer.incoming.len());
        inside.map_or(0, |n| self.faults.socket_buffer_bytes.saturating_sub(n))
    }

    /// True when a write would do something: take bytes or fail.
    pub(in crate::sim) fn writable(&self, key: Key) -> bool {
        self.room(key) > 0 || self.end(key).is_some_and(|end| end.reset || end.error.is_some())
    }

    /// Writes as much as there is room for. When that is not all, the owner is told once there is room again.
    pub(in crate::sim) fn write(&mut self, key: Key, bytes: &[u8]) -> Result<usize, Errno> {
        let room = self.room(key);
        let Some(end) = self.ends.get_mut(key).filter(|end| !end.closed) else { return Err(Errno(libc::EBADF)) };
        if let Some(errno) = end.error.take() {
            return Err(errno);
        }
        if end.reset || end.write_closed {
            return Err(Errno(libc::EPIPE));
        }
        let Some(peer) = end.peer.filter(|_| end.phase == Phase::Established) else {
            return Err(Errno(libc::ENOTCONN));
        };
        let n = room.min(bytes.len());
        end.wants_room |= n < bytes.len();
        let mut rest = &bytes[..n];
        while !rest.is_empty() {
            let cut =
                if self.dice.chance(self.faults.split) { 1 + self.dice.up_to(rest.len() - 1) } else { rest.len() };
            let (now, later) = rest.split_at(cut);
            let at = self.arrival();
            if let Some(end) = self.ends.get_mut(peer) {
                let at = end.incoming.send(now, at);
                self.schedule(at, Event::Arrive(peer));
            }
            rest = later;
        }
        Ok(n)
    }

    /// Sends FIN.
    pub(in crate::sim) fn finish(&mut self, key: Key) {
        let Some(end) = self.ends.get_mut(key) else { return };
        if !end.write_closed && !end.reset && end.phase == Phase::Established {
            end.write_closed = true;
            self.transmit(key, Segment::Fin);
        }
    }

    /// Gives an endpoint up. Its owner hears nothing of it any more.
    pub(in crate::sim) fn close(&mut self, key: Key, how: Close) {
        let Some(end) = self.ends.get_mut(key).filter(|end| !end.closed) else { return };
        let unread = end.incoming.arrived() > 0;
        if how == Close::Abort || unread {
            self.abort(key);
        } else {
            self.finish(key);
        }
        if let Some(end) = self.ends.get_mut(key) {
            end.closed = true;
            end.incoming.discard_arrived();
        }
        self.forget(key);
    }

    /// Ends the connection with RST.
    pub(super) fn abort(&mut self, key: Key) {
        let Some(end) = self.ends.get_mut(key).filter(|end| !end.reset) else { return };
        end.reset = true;
        let Some(peer) = end.peer else { return };
        if self.dice.chance(self.faults.reset_loses_flight)
            && let Some(end) = self.ends.get_mut(peer)
        {
            let lost = self.dice.up_to(end.incoming.len() - end.incoming.arrived());
            end.incoming.cut_flight(lost);
        }
        self.transmit(key, Segment::Rst);
    }

    /// Sends a segment without bytes.
    pub(super) fn transmit(&mut self, key: Key, segment: Segment) {
        let at = self.arrival();
        let Some(peer) = self.ends.get(key).and_then(|end| end.peer) else { return };
        if let Some(end) = self.ends.get_mut(peer) {
            let at = end.incoming.push(segment, at);
            self.schedule(at, Event::Arrive(peer));
        }
    }

    /// Frees a closed endpoint once nobody knows it: its peer is closed too, or never was.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(end) = self.ends.get(key) else { return };
        match end.peer {
            Some(peer) if self.ends.get(peer).is_some_and(|peer| !peer.closed) => {}
            peer => {
                self.ends.remove(key);
                peer.and_then(|peer| self.ends.remove(peer));
            }
        }
    }

    /// After `n` bytes were read here: a writer that waits on the other side learns it.
    pub(super) fn tell_room(&mut self, key: Key, n: usize) {
        let Some(peer) = self.ends.get(key).and_then(|end| end.peer).filter(|_| n > 0) else { return };
        let Some(writer) = self.ends.get_mut(peer).filter(|peer| peer.wants_room) else { return };
        writer.wants_room = false;
        let at = self.now + self.latency();
        self.schedule(at, Event::Room(peer));
    }

    pub(super) fn arrive(&mut self, key: Key) {
        while let Some(end) = self.ends.get_mut(key) {
            let Some(segment) = end.incoming.arrive(self.now) else { break };
            match segment {
                Segment::Data(_) if end.closed => {
                    end.incoming.discard_arrived();
                    self.abort(key);
                }
                // Sent before the other side knew of the reset: what the reset swallowed stays the end of the stream.
                Segment::Data(n) if end.reset => end.incoming.cut(n),
                Segment::Data(n) => {
                    if self.dice.chance(self.faults.reset) {
                        end.incoming.cut(self.dice.up_to(n));
                        end.error = Some(Errno(libc::ECONNRESET));
                        self.abort(key);
                        break;
                    }
                }
                Segment::Fin => end.fin = true,
                Segment::Rst => {
                    end.reset = true;
                    end.error = Some(Errno(if end.fin { libc::EPIPE } else { libc::ECONNRESET }));
                }
            }
        }
        self.tell(key);
    }
}
