//! Running the pumps of spliced sockets: by readiness, between two turns of the ring.

use std::os::fd::AsFd;

use super::{OP_POLL_IN, OP_POLL_OUT, OP_RECV, Uring, list};
use crate::io::{Completion, Sock};
use crate::splice::Stopped;

impl Uring {
    pub(super) fn run_later(&mut self, name: Sock) {
        if let Some(pump) = self.pumps.get_mut(name)
            && !pump.queued
        {
            pump.queued = true;
            self.pumps_to_run.push(name);
        }
    }

    pub(super) fn run_pumps(&mut self, out: &mut Vec<Completion>) {
        let due = self.pumps_to_run.len();
        for i in 0..due {
            self.run_pump(self.pumps_to_run[i], out);
        }
        self.pumps_to_run.drain(..due);
    }

    pub(super) fn run_pump(&mut self, name: Sock, out: &mut Vec<Completion>) {
        let Some(pump) = self.pumps.get_mut(name) else { return };
        pump.queued = false;
        let (from, to) = (pump.from, pump.to);
        let (Some(source), Some(target)) = (self.sockets.get(from), self.sockets.get(to)) else { return };
        // What an earlier receive delivers goes first; the end of that receive, and of the queue, run the pump again.
        if source.in_flight & OP_RECV != 0 || !target.queue.is_empty() {
            return;
        }
        let run = pump.run(source.fd.as_fd(), target.fd.as_fd(), &mut self.pipes);
        self.stats.system_calls += run.calls;
        let token = source.token;
        if run.bytes > 0 {
            out.push(Completion::Spliced { token, bytes: run.bytes });
        }
        match run.stopped {
            Stopped::Unreadable => self.want(from, OP_POLL_IN),
            Stopped::Unwritable => self.want(to, OP_POLL_OUT),
            Stopped::Share => self.run_later(name),
            Stopped::Ended(end) => {
                self.remove_pump(name);
                out.push(Completion::ReceiveEnd { token, end });
            }
            Stopped::WriteFailed(errno) => {
                self.remove_pump(name);
                if let Some(target) = self.sockets.get_mut(to) {
                    self.sending.fail(&mut target.queue, target.token, errno, out);
                }
            }
        }
    }

    pub(super) fn want(&mut self, sock: Sock, op: u8) {
        if let Some(socket) = self.sockets.get_mut(sock) {
            socket.wanted |= op;
            list(&mut self.to_prepare, sock, socket);
        }
    }

    pub(super) fn remove_pump(&mut self, name: Sock) {
        let Some(pump) = self.pumps.remove(name) else { return };
        if let Some(from) = self.sockets.get_mut(pump.from) {
            from.pump_from = None;
        }
        if let Some(to) = self.sockets.get_mut(pump.to) {
            to.pump_to = None;
        }
    }
}
