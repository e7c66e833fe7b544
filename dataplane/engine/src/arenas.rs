//! The two buffer classes of a driver: small ones from the start, bulk ones mapped on first use.

use std::io;
use std::rc::Rc;

use crate::buf::{Arena, Buf};
use crate::io::{Class, Limits};

/// Bytes of a small buffer.
pub const SMALL_BYTES: usize = 4 << 10;
/// Bytes of a bulk buffer.
pub const BULK_BYTES: usize = 128 << 10;

pub(crate) struct Arenas {
    small: Rc<Arena>,
    bulk: Option<Rc<Arena>>,
    bulk_buffers: u16,
    /// There was no memory for bulk buffers; small ones serve instead.
    bulk_failed: bool,
}

impl Arenas {
    pub(crate) fn new(limits: &Limits) -> io::Result<Arenas> {
        let small = Arena::new(SMALL_BYTES, limits.small_buffers)?;
        Ok(Arenas { small, bulk: None, bulk_buffers: limits.bulk_buffers, bulk_failed: false })
    }

    pub(crate) fn small(&self) -> &Rc<Arena> {
        &self.small
    }

    /// The bulk arena, mapped now if it was not; `None` when there is no memory for it.
    pub(crate) fn bulk(&mut self) -> Option<&Rc<Arena>> {
        if self.bulk.is_none() && !self.bulk_failed {
            self.bulk = Arena::new(BULK_BYTES, self.bulk_buffers).ok();
            self.bulk_failed = self.bulk.is_none();
        }
        self.bulk.as_ref()
    }

    /// The bulk arena, if it was ever used.
    pub(crate) fn mapped_bulk(&self) -> Option<&Rc<Arena>> {
        self.bulk.as_ref()
    }

    /// A buffer of this class; a small one where bulk ones cannot be had at all.
    pub(crate) fn take(&mut self, class: Class) -> Option<Buf> {
        match class {
            Class::Small => self.small.take(),
            Class::Bulk => self.bulk().cloned().unwrap_or_else(|| self.small.clone()).take(),
        }
    }

    /// True when [`Arenas::take`] would give one.
    pub(crate) fn can_take(&self, class: Class) -> bool {
        match (class, &self.bulk) {
            (Class::Bulk, Some(bulk)) => bulk.listed() > 0,
            (Class::Bulk, None) if !self.bulk_failed => true,
            _ => self.small.listed() > 0,
        }
    }

    /// Fewer than a quarter of either class are free.
    pub(crate) fn are_low(&self) -> bool {
        is_low(&self.small) || self.bulk.as_ref().is_some_and(|bulk| is_low(bulk))
    }
}

fn is_low(arena: &Arena) -> bool {
    arena.free() * 4 < arena.slots()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_mapped_on_first_use_and_runs_out_by_itself() {
        let mut arenas = Arenas::new(&Limits { bulk_buffers: 1, ..Limits::default() }).unwrap();
        assert!(arenas.can_take(Class::Bulk) && arenas.bulk.is_none());
        let buf = arenas.take(Class::Bulk).unwrap();
        assert_eq!(buf.len(), BULK_BYTES);
        assert!(!arenas.can_take(Class::Bulk) && arenas.can_take(Class::Small) && arenas.are_low());
        drop(buf);
        assert!(arenas.can_take(Class::Bulk) && !arenas.are_low());
    }

    #[test]
    fn small_ones_serve_where_bulk_ones_cannot_be_had() {
        let mut arenas = Arenas::new(&Limits { bulk_buffers: 0, small_buffers: 1, ..Limits::default() }).unwrap();
        let buf = arenas.take(Class::Bulk).unwrap();
        assert!(buf.len() == SMALL_BYTES && !arenas.can_take(Class::Bulk));
    }
}
