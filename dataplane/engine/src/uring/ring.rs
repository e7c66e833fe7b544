//! The ring itself: made with as many of the wanted flags as the kernel knows, restricted to what this driver does, entered once a
//! turn.
//!
//! Entries are pushed only inside a turn and are given to the kernel before that turn ends, or wait in a backlog here. Completions
//! that do not fit the queue stay in the kernel (NODROP) and are fetched when there is room.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::register::Restriction;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, Probe, cqueue, opcode};

use super::{Kernel, OpenError};

/// `IORING_ENTER_GETEVENTS`: run deferred work and post its completions.
const ENTER_GETEVENTS: u32 = 1;
/// `IORING_ENTER_EXT_ARG`: the argument is a [`SubmitArgs`].
const ENTER_EXT_ARG: u32 = 1 << 3;
/// `IORING_REGISTER_PBUF_RING`: the bulk buffers are registered on first use.
const REGISTER_PBUF_RING: u8 = 22;
/// Completion entries per submission entry.
const COMPLETIONS_PER_SUBMISSION: u32 = 4;
/// The longest wait; a later deadline costs an empty turn.
const WAIT_MAX_NS: u64 = 3_600_000_000_000;

/// Every operation this driver submits.
const OPERATIONS: [u8; 6] = [
    opcode::RecvMulti::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::AcceptMulti::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
];

type SetFlag = fn(&mut Builder);

/// Flags given up one after another when the kernel does not know them, newest first.
const OPTIONAL_FLAGS: [SetFlag; 5] = [
    |b| _ = b.setup_no_sqarray(),
    |b| _ = b.setup_defer_taskrun(),
    |b| _ = b.setup_single_issuer(),
    |b| _ = b.setup_submit_all(),
    |b| _ = b.setup_coop_taskrun(),
];

pub(super) struct Ring {
    ring: IoUring,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<Entry>,
    /// System calls made.
    pub(super) calls: u64,
    /// Entries pushed.
    pub(super) pushed: u64,
    /// Times the completion queue was found to have overflowed.
    pub(super) overflows: u64,
}

impl Ring {
    /// Makes a ring, disabled: nothing can be submitted until [`Ring::enable`].
    pub(super) fn open(entries: u32, kernel: Kernel) -> Result<Ring, OpenError> {
        let mut given_up = if kernel == Kernel::Old { OPTIONAL_FLAGS.len() } else { 0 };
        let ring = loop {
            match builder(entries, given_up).build(entries) {
                Ok(ring) => break ring,
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) && given_up < OPTIONAL_FLAGS.len() => given_up += 1,
                Err(e) => return Err(OpenError::new("io_uring_setup", &e)),
            }
        };
        let params = ring.params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() || !params.is_feature_submit_stable() {
            return Err(OpenError::unsupported("NODROP, EXT_ARG and SUBMIT_STABLE"));
        }
        Ok(Ring { ring, backlog: VecDeque::new(), calls: 0, pushed: 0, overflows: 0 })
    }

    /// Checks that the kernel has every operation, forbids all others for good, and enables the ring for this thread.
    pub(super) fn enable(&mut self) -> Result<(), OpenError> {
        let submitter = self.ring.submitter();
        let mut probe = Probe::new();
        submitter.register_probe(&mut probe).map_err(|e| OpenError::new("probing operations", &e))?;
        if !OPERATIONS.iter().all(|op| probe.is_supported(*op)) {
            return Err(OpenError::unsupported("the operations of this driver"));
        }
        let mut allowed: Vec<Restriction> = OPERATIONS.iter().map(|op| Restriction::sqe_op(*op)).collect();
        allowed.push(Restriction::sqe_flags_allowed((Flags::BUFFER_SELECT | Flags::SKIP_SUCCESS).bits()));
        allowed.push(Restriction::register_op(REGISTER_PBUF_RING));
        submitter.register_restrictions(&mut allowed).map_err(|e| OpenError::new("register_restrictions", &e))?;
        submitter.register_enable_rings().map_err(|e| OpenError::new("register_enable_rings", &e))
    }

    /// Registers a ring of provided buffers as this group.
    ///
    /// # Safety
    /// `addr` is the page-aligned start of `entries` buffer entries that stay mapped until this ring is dropped.
    pub(super) unsafe fn register_buffers(&self, addr: u64, entries: u16, group: u16) -> std::io::Result<()> {
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(addr, entries, group, 0) }
    }

    /// Queues an entry for the next [`Ring::enter`].
    ///
    /// # Safety
    /// The memory that the entry points to stays valid until its completion was reaped; for a message header and its parts, until the
    /// entry was submitted.
    pub(super) unsafe fn push(&mut self, entry: &Entry) {
        self.pushed += 1;
        // SAFETY: the caller's promise is the one that is asked for here.
        if self.backlog.is_empty() && unsafe { self.ring.submission().push(entry) }.is_ok() {
            return;
        }
        self.backlog.push_back(entry.clone());
        self.submit_backlog();
    }

    /// True when everything pushed has reached the kernel.
    pub(super) fn is_submitted(&mut self) -> bool {
        self.backlog.is_empty() && self.ring.submission().is_empty()
    }

    /// True when completions wait that were not reaped.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty() || self.ring.submission().cq_overflow()
    }

    /// Submits everything and runs deferred work; waits for one completion, at most `timeout_ns`, or without end on `None`.
    pub(super) fn enter(&mut self, wait: bool, timeout_ns: Option<u64>) {
        self.submit_backlog();
        self.enter_once(wait, timeout_ns);
    }

    /// Moves up to `max` completions to `into`.
    pub(super) fn reap(&mut self, max: usize, into: &mut Vec<cqueue::Entry>) {
        into.clear();
        loop {
            let mut queue = self.ring.completion();
            while into.len() < max
                && let Some(entry) = queue.next()
            {
                into.push(entry);
            }
            drop(queue);
            if into.len() >= max || !self.ring.submission().cq_overflow() {
                return;
            }
            // The kernel kept what did not fit; there is room for it now.
            self.overflows += 1;
            let before = into.len();
            self.enter_once(false, None);
            if self.ring.completion().is_empty() && into.len() == before {
                return;
            }
        }
    }

    fn submit_backlog(&mut self) {
        while !self.backlog.is_empty() {
            let mut queue = self.ring.submission();
            while let Some(entry) = self.backlog.front() {
                // SAFETY: whoever pushed the entry promised the same, until its completion.
                if unsafe { queue.push(entry) }.is_err() {
                    break;
                }
                self.backlog.pop_front();
            }
            let full = queue.is_full();
            drop(queue);
            if self.backlog.is_empty() {
                return;
            }
            self.enter_once(false, None);
            if full && self.ring.submission().is_full() {
                // The kernel takes nothing until completions are reaped.
                return;
            }
        }
    }

    fn enter_once(&mut self, wait: bool, timeout_ns: Option<u64>) {
        self.calls += 1;
        let nanos = timeout_ns.unwrap_or(WAIT_MAX_NS).min(WAIT_MAX_NS);
        let timeout = Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32);
        let mut args = SubmitArgs::new();
        if wait {
            args = args.timespec(&timeout);
        }
        let to_submit = self.ring.submission().len() as u32;
        // SAFETY: `args` and `timeout` outlive the call, and the flags say what the argument is.
        let result = unsafe {
            self.ring.submitter().enter(to_submit, u32::from(wait), ENTER_GETEVENTS | ENTER_EXT_ARG, Some(&args))
        };
        // A timeout, a signal, or a completion queue that is full: each is seen in the queues themselves.
        drop(result);
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn builder(entries: u32, given_up: usize) -> Builder {
    let mut builder = IoUring::builder();
    builder.setup_r_disabled().setup_cqsize(entries.saturating_mul(COMPLETIONS_PER_SUBMISSION));
    for set in &OPTIONAL_FLAGS[given_up..] {
        set(&mut builder);
    }
    builder
}
