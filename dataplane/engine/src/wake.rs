//! Waking a worker from another thread: an eventfd that the driver watches edge-triggered and never reads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::io::Wake;

/// Shared by the driver and everyone who may wake it.
#[derive(Debug)]
pub(crate) struct EventWaker {
    fd: OwnedFd,
    /// A wake is on its way; further ones would say nothing new.
    pending: AtomicBool,
}

impl EventWaker {
    pub(crate) fn new() -> rustix::io::Result<Arc<EventWaker>> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(EventWaker { fd, pending: AtomicBool::new(false) }))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Called by the driver before it delivers `Woken`: what is posted after this wakes again.
    pub(crate) fn seen(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }
}

impl Wake for EventWaker {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // Each write is an edge, whatever the counter says. It would take 2^64 of them to fill it.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }
}
