//! A table of values with stable, generation-checked keys.
//!
//! Owned by one worker or driver. A removed slot is used again at once (last in, first out, so that it is warm), but under a new
//! generation: a key of an earlier life finds nothing. The table is bounded and grows in steps up to that bound; it never shrinks, so
//! that after warm-up neither insert nor remove touches the allocator.

use std::fmt;

/// The first step by which a table grows; later steps double it.
const GROWTH_STEP_MIN: usize = 64;
/// End of the free list.
const NIL: u32 = u32::MAX;

/// Names a value in a [`Slab`]: its slot and which life of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Slot in the table.
    pub index: u32,
    /// Which life of that slot.
    pub generation: u32,
}

impl Key {
    /// Both halves in one word, the generation above the index.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Key::to_bits`]. Any word is a key; one that was never handed out finds nothing.
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the word")]
    pub fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The table. See the module.
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free_head: u32,
    len: usize,
    capacity_max: u32,
}

struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

enum Content<T> {
    Free { next: u32 },
    Used(T),
}

impl<T> Slab<T> {
    /// An empty table that will hold at most `capacity_max` values. Allocates nothing yet.
    pub fn new(capacity_max: u32) -> Slab<T> {
        // The largest index stays free to mean "none".
        Slab { slots: Vec::new(), free_head: NIL, len: 0, capacity_max }
    }

    /// Puts a value in. A full table gives it back.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(key) = self.next_key() else { return Err(value) };
        if key.index == self.free_head {
            let slot = &mut self.slots[key.index as usize];
            if let Content::Free { next } = slot.content {
                self.free_head = next;
            }
            slot.content = Content::Used(value);
        } else {
            self.grow();
            self.slots.push(Slot { generation: key.generation, content: Content::Used(value) });
        }
        self.len += 1;
        Ok(key)
    }

    /// The key that the next [`Slab::insert`] will return, for values that hold their own name. `None` when full.
    pub fn next_key(&self) -> Option<Key> {
        if self.free_head != NIL {
            let generation = self.slots[self.free_head as usize].generation;
            return Some(Key { index: self.free_head, generation });
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|i| *i < self.capacity_max)?;
        // Generation 0 is never handed out, so that the word 0 is no key.
        Some(Key { index, generation: 1 })
    }

    /// The value of this key, unless it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some(Slot { generation, content: Content::Used(value) }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value of this key, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, content: Content::Used(value) }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// True when this key still names a value.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes a value out; its key, and every copy of it, is stale from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        let content = std::mem::replace(&mut slot.content, Content::Free { next: self.free_head });
        self.free_head = key.index;
        self.len -= 1;
        match content {
            Content::Used(value) => Some(value),
            Content::Free { .. } => None,
        }
    }

    /// Values in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Values it may hold.
    pub fn capacity_max(&self) -> u32 {
        self.capacity_max
    }

    /// All values with their keys, by slot. Visits every slot ever used: for sweeps and drains, not for the hot path.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().zip(0u32..).filter_map(|(slot, index)| match &slot.content {
            Content::Used(value) => Some((Key { index, generation: slot.generation }, value)),
            Content::Free { .. } => None,
        })
    }

    /// As [`Slab::iter`], mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots.iter_mut().zip(0u32..).filter_map(|(slot, index)| match &mut slot.content {
            Content::Used(value) => Some((Key { index, generation: slot.generation }, value)),
            Content::Free { .. } => None,
        })
    }

    /// All keys, by slot.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }

    /// The key of the value that a slot holds now: for walks that remove on the way, `for i in 0..slab.slots_used()`.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        match self.slots.get(index as usize)? {
            Slot { generation, content: Content::Used(_) } => Some(Key { index, generation: *generation }),
            Slot { .. } => None,
        }
    }

    /// Slots ever used; each index below may hold a value.
    pub fn slots_used(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// Makes room for the next step, never beyond the bound.
    fn grow(&mut self) {
        let len = self.slots.len();
        if len == self.slots.capacity() {
            let step = len.max(GROWTH_STEP_MIN).min(self.capacity_max as usize - len);
            self.slots.reserve_exact(step);
        }
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({} of {})", self.len, self.capacity_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_table_gives_the_value_back() {
        let mut slab = Slab::new(2);
        let (a, b) = (slab.insert("a").unwrap(), slab.insert("b").unwrap());
        assert_eq!(slab.insert("c"), Err("c"));
        assert_eq!(slab.next_key(), None);
        assert_eq!((slab.remove(a), slab.remove(a)), (Some("a"), None));
        let next = slab.next_key().unwrap();
        assert_eq!(slab.insert("d"), Ok(next));
        assert_eq!((slab.get(a), slab.get(b), slab.get(next)), (None, Some(&"b"), Some(&"d")));
        assert_eq!((next.index, next.generation), (a.index, a.generation + 1));
    }

    #[test]
    fn keys_survive_a_round_trip_through_a_word_and_foreign_words_find_nothing() {
        let mut slab = Slab::new(8);
        let key = slab.insert(1).unwrap();
        assert_eq!(Key::from_bits(key.to_bits()), key);
        for bits in [0, 1, u64::MAX, u64::from(u32::MAX)] {
            assert!(!slab.contains(Key::from_bits(bits)), "{bits}");
        }
    }

    #[test]
    fn growth_stops_at_the_bound() {
        let mut slab = Slab::new(100);
        let keys: Vec<Key> = (0..100).map(|i| slab.insert(i).unwrap()).collect();
        assert!(slab.insert(100).is_err());
        assert!(slab.slots.capacity() <= 100);
        assert_eq!(
            slab.iter().map(|(k, v)| (k, *v)).collect::<Vec<_>>(),
            keys.iter().copied().zip(0..).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_generation_wraps_past_zero() {
        let mut slab = Slab::new(1);
        let key = slab.insert(()).unwrap();
        slab.slots[0].generation = u32::MAX;
        assert!(!slab.contains(key));
        slab.remove(Key { index: 0, generation: u32::MAX }).unwrap();
        assert_eq!(slab.insert(()).unwrap().generation, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..200)) {
            let mut slab = Slab::new(16);
            let mut live: Vec<(Key, usize)> = Vec::new();
            let mut gone: Vec<Key> = Vec::new();
            for (value, (op, pick)) in ops.into_iter().enumerate() {
                if op > 0 || live.is_empty() {
                    match slab.insert(value) {
                        Ok(key) => live.push((key, value)),
                        Err(back) => prop_assert!(back == value && live.len() == 16),
                    }
                } else {
                    let (key, value) = live.swap_remove(pick.index(live.len()));
                    prop_assert_eq!(slab.remove(key), Some(value));
                    gone.push(key);
                }
                prop_assert_eq!(slab.len(), live.len());
                prop_assert!(live.iter().all(|(k, v)| slab.get(*k) == Some(v) && slab.key_at(k.index) == Some(*k)));
                prop_assert!(gone.iter().all(|k| slab.get(*k).is_none()));
                prop_assert_eq!(slab.keys().count(), live.len());
            }
        }
    }
}
