//! The third part of a turn: the ring's completions become ours.
//!
//! A completion names its socket by slot and generation. When the owner has closed the socket, all that is left to do is to count its
//! operations down. Nothing is submitted here; what has to follow is noted for the next turn.

use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::ops::{self, Kind};
use super::{OP_POLL_IN, OP_POLL_OUT, OP_RECV, OP_SEND, Uring, finish, list, spend};
use crate::buf::Buf;
use crate::io::{Completion, Conn, ConnKind, End, Errno, Listener, Piece, Sock};
use crate::net::{self, AcceptError};
use crate::send_queue::SendState;

impl Uring {
    pub(super) fn reap(&mut self, out: &mut Vec<Completion>) {
        let mut entries = std::mem::take(&mut self.entries);
        self.ring.reap(self.limits.completions_per_turn_max.max(1), &mut entries);
        for entry in &entries {
            self.complete(entry, out);
        }
        self.entries = entries;
    }

    pub(super) fn complete(&mut self, entry: &cqueue::Entry, out: &mut Vec<Completion>) {
        let more = cqueue::more(entry.flags());
        let user_data = entry.user_data();
        match Kind::of(user_data) {
            Some(kind @ (Kind::RecvSmall | Kind::RecvBulk)) => self.received(kind, entry, more, out),
            Some(Kind::Send) => self.sent(user_data, entry.result(), out),
            Some(kind @ (Kind::PollIn | Kind::PollOut)) => self.polled(kind, user_data, more, out),
            Some(Kind::Accept) => self.accepted(Listener(user_data as u32), entry.result(), more, out),
            Some(Kind::Wake) => {
                self.wake_armed = more;
                self.waker.seen();
                out.push(Completion::Woken);
            }
            // A cancellation that found nothing: the operation ended by itself.
            Some(Kind::Cancel | Kind::Probe) | None => {}
        }
    }

    pub(super) fn received(&mut self, kind: Kind, entry: &cqueue::Entry, more: bool, out: &mut Vec<Completion>) {
        let result = entry.result();
        let buf = cqueue::buffer_select(entry.flags()).and_then(|slot| self.claim(kind, slot, result.max(0) as usize));
        let name = ops::socket_name(entry.user_data());
        let Some((sock, socket)) = self.sockets.at_mut(name.index) else { return };
        if !more {
            socket.in_flight &= !OP_RECV;
            socket.cancelling = false;
            self.in_flight -= 1;
        }
        if socket.closing {
            return self.vacate_if_done(name.index);
        }
        if result > 0 {
            if let Some(buf) = buf {
                spend(&mut socket.credit, result as u32);
                spend(&mut socket.armed_credit, result as u32);
                if socket.pump_from.is_some() {
                    self.pass_on(sock, buf, out);
                } else {
                    out.push(Completion::Received { token: socket.token, buf });
                }
            }
        } else {
            self.receive_stopped(sock, result, kind, out);
        }
        if let Some((_, socket)) = self.sockets.at_mut(name.index)
            && !more
        {
            list(&mut self.to_prepare, sock, socket);
            if let Some(pump) = socket.pump_from {
                self.run_later(pump);
            }
        }
    }

    pub(super) fn receive_stopped(&mut self, sock: Sock, result: i32, kind: Kind, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let end = match -result {
            0 => End::Eof,
            // Cancelled by us, or to be tried again: whatever is wanted now is armed by the next turn.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => return,
            libc::ENOBUFS => {
                self.stats.no_buffers += 1;
                if !socket.parked {
                    socket.parked = true;
                    self.parked.push_back(sock);
                }
                return match (&mut self.bulk, kind) {
                    (Some(bulk), Kind::RecvBulk) => bulk.ran_out(),
                    _ => self.small.ran_out(),
                };
            }
            errno => End::Error(Errno(errno)),
        };
        let pump = socket.pump_from;
        if !socket.ended || pump.is_some() {
            socket.ended = true;
            out.push(Completion::ReceiveEnd { token: socket.token, end });
        }
        if let Some(pump) = pump {
            self.remove_pump(pump);
        }
    }

    /// Bytes that a receive still delivered after its socket was spliced: they go before what the pump moves.
    pub(super) fn pass_on(&mut self, from: Sock, buf: Buf, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get(from) else { return };
        out.push(Completion::Spliced { token: socket.token, bytes: buf.len() as u64 });
        let to = socket.pump_from.and_then(|pump| self.pumps.get(pump)).map(|pump| pump.to);
        if let Some((to, target)) = to.and_then(|to| Some((to, self.sockets.get_mut(to)?))) {
            self.sending.push(to, &mut target.queue, Piece::Buf(buf));
        }
    }

    pub(super) fn claim(&mut self, kind: Kind, slot: u16, len: usize) -> Option<Buf> {
        let ring = if kind == Kind::RecvBulk { self.bulk.as_ref()? } else { &self.small };
        ring.arena().claim(slot, len)
    }

    pub(super) fn sent(&mut self, user_data: u64, result: i32, out: &mut Vec<Completion>) {
        let name = ops::socket_name(user_data);
        let Some((sock, socket)) = self.sockets.at_mut(name.index) else { return };
        socket.in_flight &= !OP_SEND;
        self.in_flight -= 1;
        if socket.closing {
            return self.vacate_if_done(name.index);
        }
        self.taken(sock, result, out);
    }

    /// What a send came to: bytes that the kernel took, or an error.
    pub(super) fn taken(&mut self, sock: Sock, result: i32, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        match -result {
            errno @ 1.. if errno != libc::EAGAIN && errno != libc::EINTR => {
                self.sending.fail(&mut socket.queue, socket.token, Errno(errno), out);
                if let Some(pump) = socket.pump_to {
                    self.remove_pump(pump);
                }
                return;
            }
            _ => {}
        }
        let sent = result.max(0) as u32;
        self.sending.consume(&mut socket.queue, sent as usize);
        if sent < socket.offered && result != -libc::EINTR {
            self.sending.block(sock, &mut socket.queue, self.now);
            socket.wanted |= OP_POLL_OUT;
            list(&mut self.to_prepare, sock, socket);
        } else {
            self.sending.ready(sock, &mut socket.queue);
        }
        let drained = socket.queue.is_empty();
        if sent > 0 {
            self.late += usize::from(socket.queue.may_report_late());
            out.push(Completion::Sent { token: socket.token, bytes: sent, drained });
        }
        if drained {
            self.stats.system_calls += u64::from(finish(socket));
            if let Some(pump) = socket.pump_to {
                self.run_later(pump);
            }
        }
    }

    pub(super) fn polled(&mut self, kind: Kind, user_data: u64, more: bool, out: &mut Vec<Completion>) {
        let name = ops::socket_name(user_data);
        let Some((sock, socket)) = self.sockets.at_mut(name.index) else { return };
        if !more {
            socket.in_flight &= if kind == Kind::PollIn { !OP_POLL_IN } else { !OP_POLL_OUT };
            self.in_flight -= 1;
        }
        if socket.closing {
            return self.vacate_if_done(name.index);
        }
        let pump = if kind == Kind::PollIn { socket.pump_from } else { socket.pump_to };
        if kind == Kind::PollOut {
            match socket.queue.state {
                SendState::Opening => {
                    self.stats.system_calls += 1;
                    let result = net::connect_result(&socket.fd);
                    self.connect_ended(sock, result, out);
                }
                SendState::Blocked => self.sending.ready(sock, &mut socket.queue),
                SendState::Ready | SendState::InFlight | SendState::Failed => {}
            }
        }
        if let Some(pump) = pump {
            self.run_later(pump);
        }
    }

    pub(super) fn connect_ended(&mut self, sock: Sock, result: Result<(), Errno>, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        match result {
            Ok(()) => {
                self.sending.ready(sock, &mut socket.queue);
                list(&mut self.to_prepare, sock, socket);
            }
            Err(_) => {
                socket.ended = true;
                self.sending.clear(&mut socket.queue);
                socket.queue.state = SendState::Failed;
            }
        }
        out.push(Completion::Connected { token: socket.token, result });
    }

    pub(super) fn accepted(&mut self, listener: Listener, result: i32, more: bool, out: &mut Vec<Completion>) {
        if !more {
            self.in_flight -= 1;
        }
        // SAFETY: a result that is no error is a descriptor that the kernel made for us and that nobody else knows.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        // A listener that was stopped: the connection is closed by dropping it.
        let Some(listening) = self.listeners.get_mut(listener) else { return };
        let token = listening.token;
        match fd {
            Some(fd) => {
                self.stats.system_calls += 1;
                // A peer that has no address any more is gone.
                if let Some(peer) = net::peer_addr(&fd) {
                    out.push(Completion::Accepted { listener: token, conn: Conn(ConnKind::Fd(fd)), peer });
                }
            }
            None => match net::accept_error(-result) {
                AcceptError::Pause(errno) if errno.0 != libc::ECANCELED => {
                    self.listeners.pause(listener, self.now);
                    out.push(Completion::AcceptPaused { listener: token, errno });
                    return;
                }
                _ => {}
            },
        }
        if !more {
            self.to_accept.push(listener);
        }
    }
}
