//! The first two parts of a turn: say what is wanted, and enter the ring.
//!
//! Entries are made here and nowhere else. All of them were submitted, or are kept in order by the ring, before the owner runs again.

use std::io::IoSlice;
use std::os::fd::AsFd;

use super::buf_ring::BufRing;
use super::ops::{self, Kind, Messages};
use super::{
    BULK_LENT_MIN, GROUP_BULK, GROUP_SMALL, OP_POLL_IN, OP_POLL_OUT, OP_RECV, OP_SEND, Socket, Uring, finish, list,
    recv_kind,
};
use crate::clock::monotonic;
use crate::io::{CREDIT_UNLIMITED, Class, Completion, Sock, Time};
use crate::offer::offer;
use crate::send_queue::{PIECES_PER_CALL, SendState, Sending};

impl Uring {
    pub(super) fn prepare(&mut self, out: &mut Vec<Completion>) {
        while let Some((sock, result)) = self.connected.pop() {
            self.connect_ended(sock, result, out);
        }
        while let Some(listener) = self.listeners.resume_one(self.now) {
            self.to_accept.push(listener);
        }
        if !self.wake_armed {
            let entry = ops::poll(self.waker.fd(), libc::POLLIN, true, (Kind::Wake as u64) << 56);
            // SAFETY: a poll points to no memory.
            unsafe { self.ring.push(&entry) };
            self.wake_armed = true;
        }
        self.arm_listeners();
        self.cancel_closed();
        self.flush(out);
        let arenas = &self.arenas;
        self.sending.relieve(&mut self.sockets, self.now, || arenas.are_low(), out);
        self.small.top_up();
        if let Some(bulk) = &mut self.bulk {
            bulk.top_up();
        }
        self.unpark();
        for i in 0..self.to_prepare.len() {
            self.prepare_socket(self.to_prepare[i]);
        }
        self.to_prepare.clear();
    }

    pub(super) fn arm_listeners(&mut self) {
        while let Some(listener) = self.to_accept.pop() {
            if let Some(listening) = self.listeners.get_mut(listener) {
                let entry = ops::accept(listening.fd.as_fd(), listener);
                self.in_flight += 1;
                // SAFETY: a multishot accept points to no memory.
                unsafe { self.ring.push(&entry) };
            }
        }
        while let Some(listener) = self.accepts_to_cancel.pop() {
            // SAFETY: a cancellation points to no memory.
            unsafe { self.ring.push(&ops::cancel(ops::listener_data(listener))) };
        }
    }

    pub(super) fn cancel_closed(&mut self) {
        while let Some(index) = self.to_cancel.pop() {
            let Some((now_named, socket)) = self.sockets.at_mut(index) else { continue };
            if !socket.closing {
                continue;
            }
            // Its operations bear the name it had while it was open.
            let generation = now_named.generation.wrapping_sub(1) & crate::table::GENERATION_MASK;
            let sock = Sock { index, generation };
            for (op, kind) in
                [(OP_RECV, recv_kind(socket.armed_class)), (OP_POLL_IN, Kind::PollIn), (OP_POLL_OUT, Kind::PollOut)]
            {
                let is_being_cancelled = op == OP_RECV && socket.cancelling;
                if socket.in_flight & op != 0 && !is_being_cancelled {
                    // SAFETY: a cancellation points to no memory.
                    unsafe { self.ring.push(&ops::cancel(ops::socket_data(kind, sock))) };
                }
            }
        }
    }

    pub(super) fn flush(&mut self, out: &mut Vec<Completion>) {
        if !self.sending.has_flushes() {
            return;
        }
        let list = self.sending.take_flush_list();
        let by_call = list.len() <= self.sends_by_call_max;
        for sock in &list {
            let Some(socket) = self.sockets.get_mut(*sock) else { continue };
            self.sending.flushing(&mut socket.queue);
            if socket.queue.state != SendState::Ready {
                continue;
            }
            if socket.queue.is_empty() {
                self.stats.system_calls += u64::from(finish(socket));
                continue;
            }
            if by_call {
                self.stats.system_calls += 1;
                let result = match offer(&socket.fd, &socket.queue, &self.sending) {
                    Ok((taken, offered)) => {
                        socket.offered = offered as u32;
                        taken as i32
                    }
                    Err(e) => -e.raw_os_error(),
                };
                self.taken(*sock, result, out);
                continue;
            }
            let entry = send_entry(*sock, socket, &self.sending, &mut self.messages);
            socket.queue.state = SendState::InFlight;
            socket.in_flight |= OP_SEND;
            self.in_flight += 1;
            // SAFETY: the pieces stay in the queue, which is not cleared before OP_SEND completed; nobody else writes to them. A message's
            // header and parts stay in `messages`, which is not reset before everything pushed was submitted.
            unsafe { self.ring.push(&entry) };
        }
        self.sending.put_flush_list(list);
    }

    /// Arms the sockets that found no buffer, as many as there are buffers now.
    pub(super) fn unpark(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let mut small = self.small.lent();
        let mut bulk = self.bulk.as_ref().map_or(0, BufRing::lent);
        for _ in 0..self.parked.len() {
            if small == 0 && bulk == 0 {
                return;
            }
            let Some(sock) = self.parked.pop_front() else { return };
            let Some(socket) = self.sockets.get_mut(sock) else { continue };
            let left = if socket.class == Class::Bulk && self.bulk.is_some() { &mut bulk } else { &mut small };
            if *left == 0 {
                self.parked.push_back(sock);
                continue;
            }
            *left -= 1;
            socket.parked = false;
            list(&mut self.to_prepare, sock, socket);
        }
    }

    pub(super) fn prepare_socket(&mut self, sock: Sock) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        socket.listed = false;
        let wanted = std::mem::take(&mut socket.wanted) & !socket.in_flight;
        for (op, kind, events) in
            [(OP_POLL_IN, Kind::PollIn, libc::POLLIN | libc::POLLRDHUP), (OP_POLL_OUT, Kind::PollOut, libc::POLLOUT)]
        {
            if wanted & op != 0 {
                socket.in_flight |= op;
                self.in_flight += 1;
                let entry = ops::poll(socket.fd.as_fd(), events, false, ops::socket_data(kind, sock));
                // SAFETY: a poll points to no memory.
                unsafe { self.ring.push(&entry) };
            }
        }
        if socket.queue.state == SendState::Opening || socket.cancelling {
            return;
        }
        if socket.in_flight & OP_RECV == 0 {
            if !socket.ended && !socket.parked && socket.credit > 0 {
                self.arm_receive(sock);
            }
            return;
        }
        // Armed for less than what is granted is well: it is armed again when that is used up.
        if socket.ended || socket.armed_credit > socket.credit || socket.armed_class != socket.class {
            socket.cancelling = true;
            let target = ops::socket_data(recv_kind(socket.armed_class), sock);
            // SAFETY: a cancellation points to no memory.
            unsafe { self.ring.push(&ops::cancel(target)) };
        }
    }

    pub(super) fn arm_receive(&mut self, sock: Sock) {
        let class = self.sockets.get(sock).map_or(Class::Small, |socket| socket.class);
        let class = self.usable_class(class);
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let (group, slot_bytes) = match class {
            Class::Small => (GROUP_SMALL, crate::SMALL_BYTES as u32),
            Class::Bulk => (GROUP_BULK, crate::BULK_BYTES as u32),
        };
        let user_data = ops::socket_data(recv_kind(class), sock);
        let fd = socket.fd.as_fd();
        let entry = match socket.credit {
            CREDIT_UNLIMITED => ops::recv_multi(fd, group, None, user_data),
            // The kernel looks at the limit after each buffer, so the last one may go beyond it, by less than a buffer.
            credit if self.recv_has_limit && credit >= slot_bytes => {
                ops::recv_multi(fd, group, Some(credit - (slot_bytes - 1)), user_data)
            }
            credit => ops::recv_once(fd, group, credit.min(slot_bytes), user_data),
        };
        // What is asked for and what serves may differ; a class that cannot be had is not asked for again and again.
        socket.class = class;
        socket.armed_class = class;
        socket.armed_credit = socket.credit;
        socket.in_flight |= OP_RECV;
        self.in_flight += 1;
        // SAFETY: a receive into provided buffers points to no memory of its own; the lent slots stay mapped longer than the ring.
        unsafe { self.ring.push(&entry) };
    }

    /// The class that can be had: bulk buffers are mapped and registered on first use.
    pub(super) fn usable_class(&mut self, class: Class) -> Class {
        if class == Class::Small || self.bulk_refused {
            return Class::Small;
        }
        if self.bulk.is_none() {
            let arena = self.arenas.bulk().cloned();
            self.bulk = arena.and_then(|arena| BufRing::new(&self.ring, &arena, GROUP_BULK, BULK_LENT_MIN).ok());
            match &mut self.bulk {
                Some(bulk) => bulk.top_up(),
                None => {
                    self.bulk_refused = true;
                    return Class::Small;
                }
            }
        }
        Class::Bulk
    }

    pub(super) fn enter(&mut self, deadline: Time, has_completions: bool) {
        let has_more = self.ring.has_completions();
        let is_idle = !has_completions && !has_more && self.pumps_to_run.is_empty();
        if has_more && self.ring.is_submitted() {
            return;
        }
        // What was sent is reported at once, without asking the kernel for more; but never twice in a row.
        self.only_reported = has_completions && !self.only_reported && self.ring.is_submitted();
        if self.only_reported {
            return;
        }
        let timeout = if is_idle { self.timeout(deadline) } else { None };
        self.ring.enter(is_idle, timeout);
        if self.ring.is_submitted() {
            self.messages.reset();
        }
    }

    pub(super) fn timeout(&self, deadline: Time) -> Option<u64> {
        let until = deadline.min(self.sending.next_deadline()).min(self.listeners.next_deadline());
        if until == Time::NEVER { None } else { Some(until.since(monotonic())) }
    }
}

/// The next send of a queue: its only piece, or as many as one call takes.
fn send_entry(sock: Sock, socket: &mut Socket, sending: &Sending, messages: &mut Messages) -> io_uring::squeue::Entry {
    let user_data = ops::socket_data(Kind::Send, sock);
    let mut slices = [IoSlice::new(&[]); PIECES_PER_CALL];
    let one = match sending.only_piece(&socket.queue) {
        Some(piece) => piece,
        None => {
            let (count, bytes) = sending.gather(&socket.queue, &mut slices);
            if let (Some(message), Ok(bytes)) = (messages.add(&slices[..count]), i32::try_from(bytes)) {
                socket.offered = bytes as u32;
                return ops::send_message(socket.fd.as_fd(), message, user_data);
            }
            slices.first().map_or(&[][..], |slice| slice)
        }
    };
    let (entry, len) = ops::send(socket.fd.as_fd(), one, user_data);
    socket.offered = len;
    entry
}
