//! The ring of provided buffers: the kernel fills one per receive, and gets it back when it has been sent.

use std::alloc::Layout;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Bytes of all buffers: they stay in the cache.
const BUFFERS_BYTES: usize = 2 << 20;
/// The only group there is.
pub const GROUP: u16 = 0;

/// A buffer, and the part of it that counts: where it starts, how long it is.
pub type Piece = (u16, u32, u32);

/// The ring of provided buffers and their memory. Both live as long as the process.
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    bytes_each: usize,
    count: u16,
    tail: u16,
}

impl Buffers {
    pub fn new(ring: &IoUring, bytes_each: usize) -> io::Result<Buffers> {
        let count = (BUFFERS_BYTES / bytes_each).next_power_of_two().clamp(32, 1024) as u16;
        let entries = allocate(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = allocate(usize::from(count) * bytes_each)?;
        // SAFETY: the entries are page-aligned, zeroed, as many as said, and never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, 0)? };
        let mut buffers = Buffers { entries, memory, bytes_each, count, tail: 0 };
        (0..count).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    pub fn bytes(&self, (buffer, from, length): Piece) -> &[u8] {
        // SAFETY: the range was filled by a receive into this buffer, which is not the kernel's while its piece is queued.
        unsafe {
            std::slice::from_raw_parts(
                self.memory.add(usize::from(buffer) * self.bytes_each + from as usize),
                length as usize,
            )
        }
    }

    pub fn give_back(&mut self, buffer: u16) {
        // SAFETY: the index is below `count`; the kernel reads an entry only after the tail has passed it.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(self.memory.add(usize::from(buffer) * self.bytes_each) as u64);
            entry.set_len(self.bytes_each as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, aligned, and the kernel only reads it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()).store(self.tail, Ordering::Release) };
    }
}

fn allocate(bytes: usize) -> io::Result<*mut u8> {
    let layout = Layout::from_size_align(bytes, 4096).map_err(io::Error::other)?;
    // SAFETY: the layout is not empty.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    if memory.is_null() { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(memory) }
}
