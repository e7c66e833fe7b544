//! What a simulated driver does at one instant: it looks at every socket that something happened to, in an order rolled anew.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::{READS_PER_VISIT_MAX, SPLICE_BYTES, Sim, Socket};
use crate::arenas::Arenas;
use crate::io::{Class, Completion, Sock, Time};
use crate::send_queue::SendState;
use crate::sim::network::{Network, Phase, Readable};

impl Sim {
    /// Everything that can be done at this instant.
    pub(super) fn work(&mut self, out: &mut Vec<Completion>, out_max: usize) {
        if self.waker.0.swap(false, Ordering::SeqCst) {
            out.push(Completion::Woken);
        }
        self.take_inbox();
        if self.dice.chance(0.5) {
            self.flush(out);
        }
        self.accept_ready(out, out_max);
        self.unpark();
        self.visit_ready(out, out_max);
        self.flush(out);
        let arenas = &self.arenas;
        self.sending.relieve(&mut self.sockets, Time(self.net.borrow().now), || arenas.are_low(), out);
    }

    fn take_inbox(&mut self) {
        let (socks, mut listeners) = {
            let mut net = self.net.borrow_mut();
            let inbox = net.inbox(self.id);
            (std::mem::take(&mut inbox.socks), std::mem::take(&mut inbox.listeners))
        };
        for sock in &socks {
            self.list(*sock);
        }
        self.ready_listeners.append(&mut listeners);
        // The memory goes back, so that a warm driver allocates nothing.
        let mut net = self.net.borrow_mut();
        let inbox = net.inbox(self.id);
        (inbox.socks, inbox.listeners) = (socks, listeners);
        inbox.socks.clear();
    }

    fn unpark(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        for _ in 0..self.parked.len() {
            let Some(sock) = self.parked.pop_front() else { return };
            let Some(socket) = self.sockets.get_mut(sock) else { continue };
            if is_any_free(&self.arenas, socket.class) {
                socket.parked = false;
                self.list(sock);
            } else {
                self.parked.push_back(sock);
            }
        }
    }

    fn visit_ready(&mut self, out: &mut Vec<Completion>, out_max: usize) {
        let mut ready = std::mem::take(&mut self.ready);
        self.net.borrow_mut().dice.shuffle(&mut ready);
        while out.len() < out_max {
            let Some(sock) = ready.pop() else { break };
            if let Some(socket) = self.sockets.get_mut(sock) {
                socket.listed = false;
                self.visit(sock, out, out_max);
            }
        }
        // Those found meanwhile, and those that found no room in this turn.
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    fn visit(&mut self, sock: Sock, out: &mut Vec<Completion>, out_max: usize) {
        let Some(socket) = self.sockets.get(sock) else { return };
        if socket.queue.state == SendState::Opening && !self.decide_connect(sock, out) {
            return;
        }
        self.finish_send(sock, out);
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        if socket.queue.state == SendState::Blocked && self.net.borrow().writable(socket.end) {
            self.sending.ready(sock, &mut socket.queue);
        }
        let (to, from) = (socket.splice_to, socket.splice_from);
        match to {
            Some(to) => self.pump(sock, to, out),
            None => self.receive(sock, out, out_max),
        }
        if let Some(from) = from {
            self.pump(from, sock, out);
        }
    }

    /// Reports a connect that ended. True when the socket may be used.
    fn decide_connect(&mut self, sock: Sock, out: &mut Vec<Completion>) -> bool {
        let Some(socket) = self.sockets.get_mut(sock) else { return false };
        let phase = self.net.borrow().end(socket.end).map(|end| end.phase);
        if !matches!(phase, Some(Phase::Established | Phase::Failed(_))) || is_held(sock, socket, &self.net, self.id) {
            return false;
        }
        let result = match phase {
            Some(Phase::Failed(errno)) => Err(errno),
            _ => Ok(()),
        };
        match result {
            Ok(()) => self.sending.ready(sock, &mut socket.queue),
            Err(_) => {
                socket.ended = true;
                self.sending.clear(&mut socket.queue);
                socket.queue.state = SendState::Failed;
            }
        }
        out.push(Completion::Connected { token: socket.token, result });
        result.is_ok()
    }

    fn receive(&mut self, sock: Sock, out: &mut Vec<Completion>, out_max: usize) {
        let Some(socket) = self.sockets.get_mut(sock) else { return };
        if socket.ended || socket.parked || socket.wanted() == 0 {
            return;
        }
        if self.net.borrow().readable(socket.end) == Readable::Nothing || is_held(sock, socket, &self.net, self.id) {
            return;
        }
        let visits = 1 + self.net.borrow_mut().dice.up_to(READS_PER_VISIT_MAX - 1);
        for _ in 0..visits {
            let wanted = socket.wanted();
            if wanted == 0 || out.len() >= out_max {
                break;
            }
            let mut net = self.net.borrow_mut();
            match net.readable(socket.end) {
                Readable::Nothing => return,
                Readable::End(end) => {
                    net.take_error(socket.end);
                    socket.ended = true;
                    return out.push(Completion::ReceiveEnd { token: socket.token, end });
                }
                Readable::Bytes(n) => {
                    if net.strikes(|faults| faults.no_buffers) {
                        self.stats.no_buffers += 1;
                        let at = net.now + net.delay();
                        socket.held_until = at;
                        return net.poke(self.id, sock, at);
                    }
                    let Some(mut buf) = self.arenas.take(socket.class) else {
                        self.stats.no_buffers += 1;
                        socket.parked = true;
                        return self.parked.push_back(sock);
                    };
                    let mut len = n.min(wanted).min(buf.len());
                    if net.strikes(|faults| faults.short_read) {
                        len = 1 + net.dice.up_to(len - 1);
                    }
                    net.read(socket.end, &mut buf[..len]);
                    buf.truncate(len);
                    socket.charge(len);
                    out.push(Completion::Received { token: socket.token, buf });
                }
            }
        }
        self.list(sock);
    }

    /// Moves what can be moved from one socket to another.
    fn pump(&mut self, from: Sock, to: Sock, out: &mut Vec<Completion>) {
        let Some(target) = self.sockets.get(to) else { return };
        // What an earlier receive delivered goes first; the end of the queue runs the pump again.
        if !target.queue.is_empty() {
            return;
        }
        let target = target.end;
        let Some(source) = self.sockets.get_mut(from) else { return };
        let readable = self.net.borrow().readable(source.end);
        if readable == Readable::Nothing || is_held(from, source, &self.net, self.id) {
            return;
        }
        let mut net = self.net.borrow_mut();
        let result = match readable {
            Readable::Nothing => return,
            Readable::End(end) => {
                net.take_error(source.end);
                Ok(Some(end))
            }
            Readable::Bytes(n) => {
                // Asking for more than there is room for leaves word that we wait.
                let room = net.room(target).min(n).min(SPLICE_BYTES);
                if room > 0 {
                    net.read(source.end, &mut self.scratch[..room]);
                }
                match net.write(target, &self.scratch[..room.max(1)]) {
                    Ok(moved) if moved > 0 => {
                        out.push(Completion::Spliced { token: source.token, bytes: moved as u64 });
                        Ok(None)
                    }
                    Ok(_) => return,
                    Err(errno) => Err(errno),
                }
            }
        };
        drop(net);
        match result {
            Ok(None) => self.list(from),
            Ok(Some(end)) => {
                out.push(Completion::ReceiveEnd { token: source.token, end });
                self.unsplice(from, to);
            }
            Err(errno) => {
                self.unsplice(from, to);
                if let Some(socket) = self.sockets.get_mut(to) {
                    self.sending.fail(&mut socket.queue, socket.token, errno, out);
                }
            }
        }
    }

    pub(super) fn unsplice(&mut self, from: Sock, to: Sock) {
        if let Some(socket) = self.sockets.get_mut(from) {
            socket.splice_to = None;
        }
        if let Some(socket) = self.sockets.get_mut(to) {
            socket.splice_from = None;
        }
    }
}

/// True while the completions of a socket are held back; rolls anew each time there is something to deliver.
fn is_held(sock: Sock, socket: &mut Socket, net: &Rc<RefCell<Network>>, driver: u32) -> bool {
    let mut net = net.borrow_mut();
    if socket.held_until == 0 && net.strikes(|faults| faults.delay) {
        let at = net.now + net.delay();
        socket.held_until = at;
        net.poke(driver, sock, at);
    }
    if socket.held_until > net.now {
        return true;
    }
    socket.held_until = 0;
    false
}

fn is_any_free(arenas: &Arenas, class: Class) -> bool {
    match (class, arenas.mapped_bulk()) {
        (Class::Bulk, Some(bulk)) => bulk.listed() > 0,
        (Class::Bulk, None) => true,
        (Class::Small, _) => arenas.small().listed() > 0,
    }
}
