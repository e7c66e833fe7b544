//! Shared buffers: a region of equal slots, handed out as counted, disjoint ranges.
//!
//! An [`Arena`] is one anonymous mapping cut into slots. A slot is at any time in exactly one of three places: on the arena's free
//! list (last in, first out, so that the next buffer is a warm one), lent to the kernel's provided-buffer ring, or held by one or
//! more [`Buf`]s. A `Buf` is a range of a slot; `Buf`s of one slot never overlap, which is what makes writing through them sound. The
//! slot goes back when its last range is dropped. A `Buf` may also hold heap memory, for what does not fit a slot and for unsent
//! tails that a driver copied away.
//!
//! Nothing here is `Send`: an arena and its buffers belong to one worker.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::mapping::Mapping;

/// In `Arena::refs`: the slot is on the free list.
const FREE: u32 = 0;
/// In `Arena::refs`: the slot is lent to the kernel. No count comes near it: each range is a 32-byte value in memory.
const LENT: u32 = u32::MAX;

/// One mapping of equal slots.
pub struct Arena {
    /// Every [`Buf`] of it holds an `Rc` of the arena, and a driver that lent slots to a ring closes the ring before it drops its arena.
    memory: Mapping,
    slot_bytes: usize,
    /// Per slot: [`FREE`], [`LENT`], or the number of `Buf`s that hold a range of it.
    refs: Box<[Cell<u32>]>,
    /// The free list: the first `free_len` entries, the top last.
    free_list: Box<[Cell<u16>]>,
    free_len: Cell<u16>,
    lent: Cell<u16>,
}

impl Arena {
    /// Maps `slots` slots of `slot_bytes` each. Pages are touched only when used.
    pub fn new(slot_bytes: usize, slots: u16) -> io::Result<Rc<Arena>> {
        let bytes = slot_bytes.checked_mul(usize::from(slots)).filter(|n| *n > 0 && isize::try_from(*n).is_ok());
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Rc::new(Arena {
            memory: Mapping::new(bytes)?,
            slot_bytes,
            refs: (0..slots).map(|_| Cell::new(FREE)).collect(),
            // Slot 0 on top.
            free_list: (0..slots).rev().map(Cell::new).collect(),
            free_len: Cell::new(slots),
            lent: Cell::new(0),
        }))
    }

    /// A whole slot to write into, or `None` when the free list is empty.
    pub fn take(self: &Rc<Arena>) -> Option<Buf> {
        let slot = self.pop()?;
        Some(self.hold(slot, self.slot_bytes))
    }

    /// Slots that no `Buf` holds: on the free list or waiting in the kernel's ring.
    pub fn free(&self) -> usize {
        usize::from(self.free_len.get()) + usize::from(self.lent.get())
    }

    /// Slots on the free list: what [`Arena::take`] can give.
    pub fn listed(&self) -> usize {
        usize::from(self.free_len.get())
    }

    /// All slots.
    pub fn slots(&self) -> usize {
        self.refs.len()
    }

    /// Bytes of a slot.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Slots lent to the kernel's ring.
    pub(crate) fn lent(&self) -> usize {
        usize::from(self.lent.get())
    }

    /// Takes the top of the free list for the kernel's ring: its number and address.
    pub(crate) fn lend(&self) -> Option<(u16, *mut u8)> {
        let slot = self.pop()?;
        self.refs[usize::from(slot)].set(LENT);
        self.lent.set(self.lent.get() + 1);
        Some((slot, self.slot_ptr(slot).as_ptr()))
    }

    /// The kernel filled the first `len` bytes of a lent slot and gave it back. `None` when that slot was not lent or `len` does
    /// not fit: then the number is not one of ours.
    pub(crate) fn claim(self: &Rc<Arena>, slot: u16, len: usize) -> Option<Buf> {
        if self.refs.get(usize::from(slot))?.get() != LENT || len > self.slot_bytes {
            return None;
        }
        self.lent.set(self.lent.get() - 1);
        Some(self.hold(slot, len))
    }

    fn pop(&self) -> Option<u16> {
        let top = self.free_len.get().checked_sub(1)?;
        self.free_len.set(top);
        Some(self.free_list[usize::from(top)].get())
    }

    fn push(&self, slot: u16) {
        let len = self.free_len.get();
        self.refs[usize::from(slot)].set(FREE);
        self.free_list[usize::from(len)].set(slot);
        self.free_len.set(len + 1);
    }

    /// The first `Buf` of a slot that is neither on the list nor lent any more.
    fn hold(self: &Rc<Arena>, slot: u16, len: usize) -> Buf {
        self.refs[usize::from(slot)].set(1);
        Buf { ptr: self.slot_ptr(slot), len, owner: Owner::Slot(Rc::clone(self), slot) }
    }

    fn slot_ptr(&self, slot: u16) -> NonNull<u8> {
        assert!(usize::from(slot) < self.refs.len(), "slot of this arena");
        // SAFETY: the slot lies inside the mapping, which is `slots * slot_bytes` long and shorter than isize::MAX.
        unsafe { self.memory.base().add(usize::from(slot) * self.slot_bytes) }
    }

    fn release(&self, slot: u16) {
        let refs = &self.refs[usize::from(slot)];
        match refs.get() {
            1 => self.push(slot),
            n => refs.set(n - 1),
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("slot_bytes", &self.slot_bytes)
            .field("slots", &self.slots())
            .field("listed", &self.listed())
            .field("lent", &self.lent())
            .finish()
    }
}

/// A counted range of a slot, or of a heap block. Reads and writes like a slice.
pub struct Buf {
    ptr: NonNull<u8>,
    len: usize,
    owner: Owner,
}

/// Whose memory a range is.
enum Owner {
    /// Nobody's: the range is empty.
    Nobody,
    /// A slot of an arena.
    Slot(Rc<Arena>, u16),
    /// A block of the heap.
    Heap(Rc<HeapBlock>),
}

impl Buf {
    /// An empty buffer that holds nothing.
    pub fn empty() -> Buf {
        Buf { ptr: NonNull::dangling(), len: 0, owner: Owner::Nobody }
    }

    /// Heap memory as a `Buf`.
    pub fn heap(bytes: Vec<u8>) -> Buf {
        if bytes.is_empty() {
            return Buf::empty();
        }
        let len = bytes.len();
        let block = HeapBlock::new(bytes);
        Buf { ptr: block.ptr, len, owner: Owner::Heap(Rc::new(block)) }
    }

    /// Bytes in the range.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when the range is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when this range holds a slot of an arena, which others may be waiting for.
    pub fn holds_slot(&self) -> bool {
        matches!(self.owner, Owner::Slot(..))
    }

    /// Cuts off and returns the first `n` bytes; `self` keeps the rest. `n` must not exceed the length.
    pub fn split_to(&mut self, n: usize) -> Buf {
        assert!(n <= self.len, "split_to({n}) of {} bytes", self.len);
        if n == self.len {
            return std::mem::replace(self, Buf::empty());
        }
        let front = Buf { ptr: self.ptr, len: n, owner: if n == 0 { Owner::Nobody } else { self.owner.share() } };
        self.advance(n);
        front
    }

    /// Cuts off and returns everything from `n` on; `self` keeps the first `n` bytes. `n` must not exceed the length.
    pub fn split_off(&mut self, n: usize) -> Buf {
        let front = self.split_to(n);
        std::mem::replace(self, front)
    }

    /// Drops the first `n` bytes of the range. `n` must not exceed the length.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len, "advance({n}) of {} bytes", self.len);
        // SAFETY: `ptr .. ptr + len` is inside one allocation and n <= len.
        self.ptr = unsafe { self.ptr.add(n) };
        self.len -= n;
    }

    /// Keeps the first `n` bytes; no effect when there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n);
    }
}

impl Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `ptr .. ptr + len` lies inside the slot or block that `owner` keeps alive (or is empty and dangling). The memory is
        // initialised: mappings start zeroed, heap blocks start as the Vec's contents. No other `Buf` covers any of it (ranges are
        // only ever split), the kernel writes only to lent slots, which no `Buf` covers, so `&self` guards all access.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` is the only access to this range.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Buf {
        Buf::heap(bytes)
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len)
    }
}

impl Owner {
    /// Another holder of the same memory.
    fn share(&self) -> Owner {
        match self {
            Owner::Nobody => Owner::Nobody,
            Owner::Slot(arena, slot) => {
                let refs = &arena.refs[usize::from(*slot)];
                refs.set(refs.get() + 1);
                Owner::Slot(Rc::clone(arena), *slot)
            }
            Owner::Heap(block) => Owner::Heap(Rc::clone(block)),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Owner::Slot(arena, slot) = self {
            arena.release(*slot);
        }
    }
}

/// A `Vec`'s allocation, kept as a raw pointer: ranges point into it, and moving a `Vec` would claim all of it.
struct HeapBlock {
    ptr: NonNull<u8>,
    capacity: usize,
}

impl HeapBlock {
    fn new(bytes: Vec<u8>) -> HeapBlock {
        let mut bytes = ManuallyDrop::new(bytes);
        let ptr = NonNull::new(bytes.as_mut_ptr()).unwrap_or(NonNull::dangling());
        HeapBlock { ptr, capacity: bytes.capacity() }
    }
}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        // SAFETY: pointer and capacity are those of the Vec that `new` took apart; u8 needs no drop, so length 0 is enough.
        drop(unsafe { Vec::from_raw_parts(self.ptr.as_ptr(), 0, self.capacity) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_when_the_last_range_goes() {
        let arena = Arena::new(64, 2).unwrap();
        let mut a = arena.take().unwrap();
        assert_eq!((a.len(), arena.free(), arena.slots()), (64, 1, 2));
        a[..4].copy_from_slice(b"abcd");
        let mut front = a.split_to(2);
        let tail = a.split_off(2);
        assert_eq!((&front[..], &a[..], tail.len()), (&b"ab"[..], &b"cd"[..], 60));
        front[0] = b'X';
        assert_eq!(&a[..], b"cd");
        drop(a);
        drop(tail);
        assert_eq!(arena.free(), 1);
        drop(front);
        assert_eq!(arena.free(), 2);
    }

    #[test]
    fn empty_when_all_are_taken_and_the_last_returned_comes_first() {
        let arena = Arena::new(16, 2).unwrap();
        let (a, b) = (arena.take().unwrap(), arena.take().unwrap());
        assert!(arena.take().is_none());
        let address = b.as_ptr();
        drop(a);
        drop(b);
        assert_eq!(arena.take().unwrap().as_ptr(), address);
    }

    #[test]
    fn a_lent_slot_is_claimed_once_and_within_bounds() {
        let arena = Arena::new(16, 1).unwrap();
        let (slot, _) = arena.lend().unwrap();
        assert!(arena.lend().is_none() && arena.take().is_none());
        assert!(arena.claim(slot, 17).is_none() && arena.claim(9, 1).is_none());
        let buf = arena.claim(slot, 5).unwrap();
        assert_eq!(buf.len(), 5);
        assert!(arena.claim(slot, 5).is_none());
        drop(buf);
        assert_eq!((arena.listed(), arena.lent()), (1, 0));
    }

    #[test]
    fn whole_and_empty_splits_hold_no_extra_count() {
        let arena = Arena::new(16, 1).unwrap();
        let mut a = arena.take().unwrap();
        assert!(!a.split_to(0).holds_slot());
        let whole = a.split_to(16);
        assert!(a.is_empty() && !a.holds_slot());
        drop(whole);
        assert_eq!(arena.free(), 1);
    }

    #[test]
    fn heap_ranges_share_one_block_and_outlive_each_other() {
        let mut a = Buf::heap(b"hello world".to_vec());
        let mut b = a.split_to(5);
        a.advance(1);
        b[0] = b'H';
        drop(b);
        a.truncate(3);
        assert_eq!(&a[..], b"wor");
        assert!(Buf::heap(Vec::new()).is_empty());
    }

    #[test]
    fn buffers_outlive_the_driver_that_made_the_arena() {
        let arena = Arena::new(4096, 1).unwrap();
        let mut a = arena.take().unwrap();
        drop(arena);
        a.fill(7);
        assert!(a.iter().all(|b| *b == 7));
    }

    #[test]
    fn a_piece_stays_small() {
        assert!(size_of::<Buf>() <= 32 && size_of::<crate::io::Piece>() <= 40);
    }
}
