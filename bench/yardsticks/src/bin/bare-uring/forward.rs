//! Bytes that came in on one socket of a pair go out on the other, from the buffer that the kernel received them into.

use std::io;

use io_uring::types::Fixed;
use io_uring::{cqueue, opcode};
use yardsticks::Message;

use super::buffers::Piece;
use super::{Broken, Proxy, SEND};

impl Proxy {
    pub(super) fn received(
        &mut self,
        slot: u32,
        completion: &cqueue::Entry,
        more: bool,
    ) -> io::Result<Result<(), Broken>> {
        let result = completion.result();
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            let piece = (buffer, 0, result.max(0) as u32);
            let gone = self.sockets[slot as usize].as_ref().is_none_or(|socket| socket.closing);
            let outcome = if gone || result <= 0 {
                self.give_back(buffer)?;
                Ok(())
            } else {
                self.forward(slot, piece)?
            };
            if outcome.is_err() {
                return Ok(outcome);
            }
        }
        if more || self.sockets[slot as usize].as_ref().is_none_or(|socket| socket.closing) {
            return Ok(Ok(()));
        }
        match -result {
            0 => self.ended(slot),
            libc::ENOBUFS => {
                self.parked.push_back(slot);
                Ok(Ok(()))
            }
            // Ended without an error: the kernel wanted to stop.
            ..0 => self.receive(slot).map(Ok),
            _ => Ok(Err(Broken)),
        }
    }

    /// Queues a received piece on the other socket.
    fn forward(&mut self, slot: u32, piece: Piece) -> io::Result<Result<(), Broken>> {
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(Ok(())) };
        let (peer, is_client, waits) = (socket.peer, socket.is_client, socket.attaching.is_some());
        if !self.options.tcp {
            if is_client && peer.is_none() && !waits {
                socket.message = Message::request();
            }
            let Ok(whole) = socket.message.feed(self.buffers.bytes(piece)) else {
                self.give_back(piece.0)?;
                return Ok(Err(Broken));
            };
            if !is_client {
                let reusable = socket.message.keep_alive;
                let Some(client) = peer else {
                    // Nobody asked for this.
                    self.give_back(piece.0)?;
                    return Ok(Err(Broken));
                };
                self.send(client, piece)?;
                return if whole { self.finish(client, slot, reusable) } else { Ok(Ok(())) };
            }
            let is_head = socket.message.is_head;
            if peer.is_none() && !waits && self.connect(slot)?.is_err() {
                self.give_back(piece.0)?;
                return Ok(Err(Broken));
            }
            let upstream = self.sockets[slot as usize].as_ref().and_then(|socket| socket.peer);
            if let Some(upstream) = upstream.and_then(|at| self.sockets[at as usize].as_mut())
                && whole
            {
                upstream.message = Message::reply(is_head);
            }
        }
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(Ok(())) };
        match socket.peer {
            Some(peer) => self.send(peer, piece)?,
            None => socket.early.push_back(piece),
        }
        Ok(Ok(()))
    }

    pub(super) fn send(&mut self, slot: u32, piece: Piece) -> io::Result<()> {
        match &mut self.sockets[slot as usize] {
            Some(socket) if !socket.closing => {
                socket.queue.push_back(piece);
                self.send_next(slot)
            }
            _ => self.give_back(piece.0),
        }
    }

    /// One send in flight a socket.
    fn send_next(&mut self, slot: u32) -> io::Result<()> {
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(()) };
        let Some(piece) = socket.queue.front().copied().filter(|_| !socket.sending) else { return Ok(()) };
        socket.sending = true;
        let bytes = self.buffers.bytes(piece);
        let send = opcode::Send::new(Fixed(slot), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        self.push(send.build(), SEND, slot)
    }

    pub(super) fn sent(&mut self, slot: u32, result: i32) -> io::Result<Result<(), Broken>> {
        let Some(socket) = &mut self.sockets[slot as usize] else { return Ok(Ok(())) };
        socket.sending = false;
        if result < 0 || socket.closing {
            return Ok(Err(Broken));
        }
        let Some((buffer, from, length)) = socket.queue.pop_front() else { return Ok(Ok(())) };
        let sent = result as u32;
        if sent < length {
            socket.queue.push_front((buffer, from + sent, length - sent));
        } else {
            self.give_back(buffer)?;
        }
        self.send_next(slot)?;
        let dry =
            self.sockets[slot as usize].as_ref().is_some_and(|socket| socket.queue.is_empty() && socket.close_after);
        if dry { self.close_after(slot) } else { Ok(Ok(())) }
    }

    /// The buffer is the kernel's again; who waited for one goes on.
    pub(super) fn give_back(&mut self, buffer: u16) -> io::Result<()> {
        self.buffers.give_back(buffer);
        while let Some(slot) = self.parked.pop_front() {
            if self.sockets[slot as usize].as_ref().is_some_and(|socket| !socket.closing) {
                return self.receive(slot);
            }
        }
        Ok(())
    }
}
