//! How a simulated driver sends: one call in flight per socket, short by chance or for want of room, reported at once or late.

use std::io::IoSlice;

use super::Sim;
use crate::io::{Completion, Errno, Sock, Time};
use crate::send_queue::{Fin, PIECES_PER_CALL, SendState};
use crate::sim::network::Network;
use crate::slab::Key;

impl Sim {
    pub(super) fn flush(&mut self, out: &mut Vec<Completion>) {
        if !self.sending.has_flushes() {
            return;
        }
        let mut list = self.sending.take_flush_list();
        self.net.borrow_mut().dice.shuffle(&mut list);
        for sock in &list {
            if let Some(socket) = self.sockets.get_mut(*sock) {
                self.sending.flushing(&mut socket.queue);
                self.flush_one(*sock, out);
            }
        }
        self.sending.put_flush_list(list);
    }

    /// Makes one call with everything queued, up to what fits a call.
    fn flush_one(&mut self, sock: Sock, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        if socket.queue.state != SendState::Ready {
            return;
        }
        let mut net = self.net.borrow_mut();
        if socket.queue.is_empty() {
            if socket.queue.fin == Fin::Wanted {
                socket.queue.fin = Fin::Sent;
                net.finish(socket.end);
            }
            return;
        }
        let mut slices = [IoSlice::new(&[]); PIECES_PER_CALL];
        let (count, offered) = self.sending.gather(&socket.queue, &mut slices);
        let mut take = offered;
        if net.strikes(|faults| faults.short_write) {
            take = 1 + net.dice.up_to(offered - 1);
        }
        match write_slices(&mut net, socket.end, &slices[..count], take) {
            Ok(n) => {
                let delay = if net.strikes(|faults| faults.delay) { net.delay() } else { 0 };
                let at = net.now + delay;
                socket.queue.state = SendState::InFlight;
                // A short write by chance is not a full socket: offer the rest again at once.
                let full = n < take;
                socket.in_flight = Some((n, if full { n + 1 } else { n }, at));
                if delay > 0 {
                    return net.poke(self.id, sock, at);
                }
                drop(net);
                self.finish_send(sock, out);
            }
            Err(errno) => self.sending.fail(&mut socket.queue, socket.token, errno, out),
        }
    }

    /// Reports what was held back, before what happened since. Sockets that were closed meanwhile say nothing.
    pub(super) fn report_late(&mut self, at: usize, out: &mut Vec<Completion>) {
        let sockets = &self.sockets;
        let reports = self.late.drain(..).filter_map(|(sock, bytes)| {
            let token = sockets.get(sock)?.token;
            Some(Completion::Sent { token, bytes, drained: true })
        });
        out.splice(at..at, reports);
    }

    /// Reports a call that has ended by now, and makes the queue ready for the next or blocked.
    pub(super) fn finish_send(&mut self, sock: Sock, out: &mut Vec<Completion>) {
        let now = self.net.borrow().now;
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        let Some((sent, wanted, _)) = socket.in_flight.take_if(|(_, _, at)| *at <= now) else { return };
        self.sending.consume(&mut socket.queue, sent);
        if sent > 0 {
            let (bytes, drained) = (u32::try_from(sent).unwrap_or(u32::MAX), socket.queue.is_empty());
            if socket.queue.may_report_late() {
                self.late.push((sock, bytes));
            } else {
                out.push(Completion::Sent { token: socket.token, bytes, drained });
            }
        }
        let pump = socket.splice_from.filter(|_| socket.queue.is_empty());
        if sent < wanted && !self.net.borrow().writable(socket.end) {
            self.sending.block(sock, &mut socket.queue, Time(now));
        } else {
            self.sending.ready(sock, &mut socket.queue);
        }
        if let Some(from) = pump {
            self.list(from);
        }
    }
}

/// Writes up to `take` bytes of these pieces.
fn write_slices(net: &mut Network, end: Key, slices: &[IoSlice<'_>], take: usize) -> Result<usize, Errno> {
    let mut sent = 0;
    for slice in slices {
        let part = &slice[..slice.len().min(take - sent)];
        match net.write(end, part) {
            Ok(n) => sent += n,
            // What was taken before counts; the error comes again with the next call.
            Err(_) if sent > 0 => break,
            Err(errno) => return Err(errno),
        }
        if sent == take {
            break;
        }
    }
    Ok(sent)
}
