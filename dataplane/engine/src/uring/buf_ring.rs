//! A ring of provided buffers: slots of an [`Arena`] lent to the kernel, which fills one per receive.
//!
//! The kernel uses what it was lent in order, so a long ring walks through cold memory. It is lent about twice what recent turns used;
//! the rest stays on the arena's list, where the slot returned last is used first.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::buf::Arena;
use crate::mapping::Mapping;

/// Turns after which the use of buffers is looked at again.
const TURNS_PER_REVIEW: u32 = 256;

pub(super) struct BufRing {
    arena: Rc<Arena>,
    entries: NonNull<BufRingEntry>,
    /// Of the entries. The ring that they are registered with is closed before (field order of the driver).
    _memory: Mapping,
    mask: u16,
    tail: u16,
    /// Slots the kernel should have.
    target: usize,
    target_min: usize,
    target_max: usize,
    /// The most slots used in one turn since the last review.
    peak: usize,
    turns: u32,
}

impl BufRing {
    /// Makes the ring of this arena and registers it as `group`. `warm` slots are lent at least.
    pub(super) fn new(ring: &Ring, arena: &Rc<Arena>, group: u16, warm: usize) -> io::Result<BufRing> {
        let slots = arena.slots();
        let count = u16::try_from(slots.next_power_of_two()).ok().filter(|n| *n <= 1 << 15);
        let count = count.ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let memory = Mapping::new(bytes)?;
        let entries = memory.base().cast::<BufRingEntry>();
        // The rest is for those who write: a response head needs a buffer too.
        let target_max = (slots * 3 / 4).max(1);
        let target_min = warm.min(target_max);
        let made = BufRing {
            arena: Rc::clone(arena),
            entries,
            _memory: memory,
            mask: count - 1,
            tail: 0,
            target: target_min,
            target_min,
            target_max,
            peak: 0,
            turns: 0,
        };
        // SAFETY: the mapping is page-aligned, holds `count` entries, and lives in `made`, which the driver keeps longer than the ring.
        unsafe { ring.register_buffers(entries.as_ptr() as u64, count, group)? };
        Ok(made)
    }

    pub(super) fn arena(&self) -> &Rc<Arena> {
        &self.arena
    }

    /// Slots the kernel can fill now.
    pub(super) fn lent(&self) -> usize {
        self.arena.lent()
    }

    /// A receive found no buffer: lend more from now on.
    pub(super) fn ran_out(&mut self) {
        self.target = (self.target * 2).min(self.target_max);
        self.peak = self.peak.max(self.target);
    }

    /// Lends slots up to the target and tells the kernel once.
    pub(super) fn top_up(&mut self) {
        let lent = self.arena.lent();
        self.peak = self.peak.max(self.target.saturating_sub(lent));
        self.turns += 1;
        if self.turns == TURNS_PER_REVIEW {
            self.target = (self.peak * 2).clamp(self.target_min, self.target_max);
            self.turns = 0;
            self.peak = 0;
        }
        if lent >= self.target {
            return;
        }
        let before = self.tail;
        for _ in lent..self.target {
            let Some((slot, addr)) = self.arena.lend() else { break };
            // SAFETY: the index is masked to the entries of the mapping. The kernel does not read this entry before the tail is
            // published, and has used up what was here before: no more slots are lent than there are entries.
            let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
            entry.set_addr(addr as u64);
            entry.set_len(self.arena.slot_bytes() as u32);
            entry.set_bid(slot);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            self.publish();
        }
    }

    fn publish(&self) {
        // SAFETY: the tail lies in the first entry of the mapping, aligned to two bytes; only this thread writes it, and the kernel reads
        // it. Release makes the entries visible first.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
