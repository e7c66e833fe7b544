//! A driver's sockets: slots with generations, so that a stale [`Sock`] finds nothing.
//!
//! Grows as sockets come, up to its bound, and reuses the slot freed last. A socket may be *retired* first: its name is dead from
//! then on, but the slot stays taken until the kernel is done with it.

use crate::io::Sock;

/// Generations have 24 bits, so that a name fits a ring's user data beside its kind.
pub(crate) const GENERATION_MASK: u32 = 0x00ff_ffff;

pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    slots_max: u32,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(crate) fn new(slots_max: u32) -> Table<T> {
        Table { slots: Vec::new(), free: Vec::new(), slots_max }
    }

    /// Slots taken, retired ones included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.slots_max as usize
    }

    /// Puts a value into a free slot, or gives it back when there is none.
    pub(crate) fn insert(&mut self, value: T) -> Result<Sock, T> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Ok(Sock { index, generation: slot.generation });
        }
        if self.is_full() {
            return Err(value);
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Ok(Sock { index, generation: 0 })
    }

    pub(crate) fn get(&self, sock: Sock) -> Option<&T> {
        let slot = self.slots.get(sock.index as usize)?;
        if slot.generation == sock.generation { slot.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, sock: Sock) -> Option<&mut T> {
        let slot = self.slots.get_mut(sock.index as usize)?;
        if slot.generation == sock.generation { slot.value.as_mut() } else { None }
    }

    /// The value in a slot, whatever its generation; with its current name.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(Sock, &mut T)> {
        let slot = self.slots.get_mut(index as usize)?;
        let sock = Sock { index, generation: slot.generation };
        slot.value.as_mut().map(|value| (sock, value))
    }

    /// Makes the socket's name stale and keeps the slot taken.
    pub(crate) fn retire(&mut self, sock: Sock) -> Option<&mut T> {
        let slot = self.slots.get_mut(sock.index as usize)?;
        if slot.generation != sock.generation || slot.value.is_none() {
            return None;
        }
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.value.as_mut()
    }

    /// Empties the slot of a retired socket.
    pub(crate) fn vacate(&mut self, index: u32) -> Option<T> {
        let value = self.slots.get_mut(index as usize)?.value.take();
        if value.is_some() {
            self.free.push(index);
        }
        value
    }

    /// Retires and empties in one step.
    pub(crate) fn remove(&mut self, sock: Sock) -> Option<T> {
        self.retire(sock)?;
        self.vacate(sock.index)
    }

    /// All values with their current names.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Sock, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| {
            let sock = Sock { index: index as u32, generation: slot.generation };
            slot.value.as_mut().map(|value| (sock, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_finds_nothing_and_the_slot_is_used_again() {
        let mut table = Table::new(1);
        let a = table.insert('a').unwrap();
        assert_eq!(table.insert('b'), Err('b'));
        assert_eq!(table.remove(a), Some('a'));
        let c = table.insert('c').unwrap();
        assert_eq!((c.index, table.get(a), table.get(c)), (a.index, None, Some(&'c')));
        assert_eq!(table.remove(a), None);
    }

    #[test]
    fn a_retired_slot_stays_taken_until_vacated() {
        let mut table = Table::new(1);
        let a = table.insert('a').unwrap();
        assert!(table.retire(a).is_some() && table.get(a).is_none() && table.is_full());
        assert!(table.retire(a).is_none());
        assert_eq!(table.vacate(a.index), Some('a'));
        assert_eq!((table.vacate(a.index), table.len()), (None, 0));
    }
}
