//! A hierarchical timer wheel.
//!
//! Owned by a worker; it reads no clock, time comes in as an argument. Eight levels of 64 slots; a slot of level 0 spans one tick
//! (2^20 ns, about 1 ms), a slot of level n spans 64^n ticks, so that every [`Time`] has a place. A timer is hung into the slot where
//! its tick first differs from the current one and moves down when the current tick reaches that slot; most timers are cancelled
//! long before. Insert and cancel are O(1) and allocate nothing after warm-up.
//!
//! Timers fire exactly: never before their deadline, and at the first [`Wheel::expire`] at or after it. The tick decides only how they
//! are sorted.

use crate::io::Time;
use crate::slab::{Key, Slab};

/// log2 of the nanoseconds in a tick.
const TICK_BITS: u32 = 20;
/// log2 of the slots in a level.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 8 × 6 bits of tick are more than the 44 that a [`Time`] has.
const LEVELS: usize = 8;

/// Names a timer; stale once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(Key);

/// The wheel holds as many timers as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The wheel. `K` says what a timer is for, usually a packed key of a slab.
pub struct Wheel<K: Copy> {
    nodes: Slab<Node<K>>,
    levels: Box<[Level; LEVELS]>,
    /// The tick up to which timers were moved down.
    tick: u64,
}

struct Node<K> {
    key: K,
    deadline: Time,
    /// Neighbours in the slot's circular list.
    prev: Key,
    next: Key,
    level: u8,
    slot: u8,
}

#[derive(Clone, Copy)]
struct Level {
    /// Bit n: slot n holds timers.
    occupied: u64,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy)]
struct Slot {
    /// Oldest timer of the circular list.
    head: Option<Key>,
    /// No timer of this slot is due earlier. Too early when the one that set it was cancelled.
    earliest: Time,
}

const EMPTY: Slot = Slot { head: None, earliest: Time::NEVER };

impl<K: Copy> Wheel<K> {
    /// An empty wheel that starts at `now` and holds at most `timers_max` timers.
    pub fn new(now: Time, timers_max: u32) -> Wheel<K> {
        let level = Level { occupied: 0, slots: [EMPTY; SLOTS] };
        Wheel { nodes: Slab::new(timers_max), levels: Box::new([level; LEVELS]), tick: tick_of(now) }
    }

    /// Adds a timer. One whose deadline has passed fires at the next [`Wheel::expire`].
    pub fn insert(&mut self, deadline: Time, key: K) -> Result<TimerId, Full> {
        let (level, slot) = place(self.tick, deadline);
        let nowhere = Key { index: 0, generation: 0 };
        let node = Node { key, deadline, prev: nowhere, next: nowhere, level: 0, slot: 0 };
        let id = self.nodes.insert(node).map_err(|_| Full)?;
        self.link(id, level, slot, deadline);
        Ok(TimerId(id))
    }

    /// Takes a timer away. `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        self.unlink(id.0);
        self.nodes.remove(id.0).map(|node| node.key)
    }

    /// When this timer is due, unless it has fired or was cancelled.
    pub fn deadline(&self, id: TimerId) -> Option<Time> {
        self.nodes.get(id.0).map(|node| node.deadline)
    }

    /// Appends the keys of all timers that are due at `now` and forgets them. Order: by tick, then as inserted.
    pub fn expire(&mut self, now: Time, out: &mut Vec<K>) {
        let target = tick_of(now).max(self.tick);
        while let Some((level, slot)) = self.first_slot() {
            let start = self.start_of(level, slot);
            if start > target {
                break;
            }
            // A slot of level 0 can lie before the current tick only when time went backwards; it stays where it is.
            self.tick = self.tick.max(start);
            if level > 0 {
                self.move_down(level, slot);
            } else if self.levels[0].slots[slot].earliest <= now {
                self.fire(slot, now, out);
            } else {
                break;
            }
        }
        self.tick = target;
    }

    /// The deadline of the timer due next, [`Time::NEVER`] when there is none. Never late. It is early only when the timer that it was taken
    /// from has been cancelled meanwhile; calling [`Wheel::expire`] at that time corrects it, so waiting for it never spins.
    pub fn next_deadline(&self) -> Time {
        self.first_slot().map_or(Time::NEVER, |(level, slot)| self.levels[level].slots[slot].earliest)
    }

    /// Timers in the wheel.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The occupied slot that comes first. All of a level lies within one slot of the level above and before its next one, so it is the
    /// first of the lowest level that holds any.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.levels.iter().position(|l| l.occupied != 0)?;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }

    /// The first tick of a slot.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = SLOT_BITS * u32::try_from(level).unwrap_or(0);
        let above = shift + SLOT_BITS;
        (self.tick >> above << above) | (slot as u64) << shift
    }

    /// Hangs every timer of an upper slot into the lower level where it belongs now.
    fn move_down(&mut self, level: usize, slot: usize) {
        let Some(head) = self.take_slot(level, slot) else { return };
        let mut at = head;
        while let Some(node) = self.nodes.get(at) {
            let (next, deadline) = (node.next, node.deadline);
            let (level, slot) = place(self.tick, deadline);
            self.link(at, level, slot, deadline);
            if next == head {
                break;
            }
            at = next;
        }
    }

    /// Fires what is due in a slot of level 0 and hangs the rest back.
    fn fire(&mut self, slot: usize, now: Time, out: &mut Vec<K>) {
        let Some(head) = self.take_slot(0, slot) else { return };
        let mut at = head;
        while let Some(node) = self.nodes.get(at) {
            let (next, deadline) = (node.next, node.deadline);
            if deadline <= now {
                out.extend(self.nodes.remove(at).map(|node| node.key));
            } else {
                self.link(at, 0, slot, deadline);
            }
            if next == head {
                break;
            }
            at = next;
        }
    }

    /// Empties a slot and returns the head of its list, whose links still stand.
    fn take_slot(&mut self, level: usize, slot: usize) -> Option<Key> {
        self.levels[level].occupied &= !(1 << slot);
        std::mem::replace(&mut self.levels[level].slots[slot], EMPTY).head
    }

    /// Appends a node to a slot's list.
    fn link(&mut self, id: Key, level: usize, slot: usize, deadline: Time) {
        let place = &mut self.levels[level].slots[slot];
        place.earliest = place.earliest.min(deadline);
        let head = *place.head.get_or_insert(id);
        self.levels[level].occupied |= 1 << slot;
        let tail = match self.nodes.get_mut(head) {
            Some(node) if head != id => std::mem::replace(&mut node.prev, id),
            _ => id,
        };
        if let Some(node) = self.nodes.get_mut(tail) {
            node.next = id;
        }
        if let Some(node) = self.nodes.get_mut(id) {
            (node.prev, node.next) = (tail, head);
            // Both are below 64.
            (node.level, node.slot) = (u8::try_from(level).unwrap_or(0), u8::try_from(slot).unwrap_or(0));
        }
    }

    /// Takes a node out of its slot's list; it stays in the table.
    fn unlink(&mut self, id: Key) {
        let Some(node) = self.nodes.get(id) else { return };
        let (prev, next, level, slot) = (node.prev, node.next, usize::from(node.level), usize::from(node.slot));
        if next == id {
            self.take_slot(level, slot);
            return;
        }
        if let Some(node) = self.nodes.get_mut(prev) {
            node.next = next;
        }
        if let Some(node) = self.nodes.get_mut(next) {
            node.prev = prev;
        }
        let head = &mut self.levels[level].slots[slot].head;
        if *head == Some(id) {
            *head = Some(next);
        }
    }
}

impl<K: Copy> std::fmt::Debug for Wheel<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wheel({} timers, next {:?})", self.len(), self.next_deadline())
    }
}

fn tick_of(time: Time) -> u64 {
    time.0 >> TICK_BITS
}

/// Level and slot of a deadline, seen from the current tick: the highest group of six bits in which they differ.
fn place(tick: u64, deadline: Time) -> (usize, usize) {
    let due = tick_of(deadline).max(tick);
    let level = (due ^ tick).checked_ilog2().unwrap_or(0) / SLOT_BITS;
    (level as usize, (due >> (level * SLOT_BITS)) as usize % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn expire(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.expire(Time(now), &mut out);
        out
    }

    #[test]
    fn fires_at_its_deadline_and_not_a_nanosecond_before() {
        for after in [0, 1, MS, 63 * MS, 68 * MS, 5_000 * MS, 400_000 * MS, 86_400_000 * MS, 30 * 86_400_000 * MS] {
            let mut wheel = Wheel::new(Time(12_345), 4);
            let due = 12_345 + after;
            wheel.insert(Time(due), 7).unwrap();
            assert_eq!(wheel.next_deadline(), Time(due));
            if after > 0 {
                assert_eq!(expire(&mut wheel, due - 1), [], "{after}");
                assert_eq!(wheel.next_deadline(), Time(due));
            }
            assert_eq!(expire(&mut wheel, due), [7], "{after}");
            assert_eq!((wheel.len(), wheel.next_deadline()), (0, Time::NEVER));
        }
    }

    #[test]
    fn a_deadline_in_the_past_and_one_that_never_comes() {
        let mut wheel = Wheel::new(Time(1_000 * MS), 4);
        wheel.insert(Time(3), 1).unwrap();
        let never = wheel.insert(Time::NEVER, 2).unwrap();
        assert_eq!(wheel.next_deadline(), Time(3));
        assert_eq!(expire(&mut wheel, 1_000 * MS), [1]);
        assert_eq!(expire(&mut wheel, u64::MAX - 1), []);
        assert_eq!(wheel.cancel(never), Some(2));
    }

    #[test]
    fn time_that_stands_or_goes_back_fires_nothing_early() {
        let mut wheel = Wheel::new(Time(0), 4);
        wheel.insert(Time(10 * MS), 1).unwrap();
        assert_eq!(expire(&mut wheel, 9 * MS), []);
        wheel.insert(Time(5 * MS), 2).unwrap();
        assert_eq!(expire(&mut wheel, 4 * MS), []);
        assert_eq!(expire(&mut wheel, 9 * MS), [2]);
        assert_eq!(expire(&mut wheel, 10 * MS), [1]);
    }

    #[test]
    fn bounded_and_ids_go_stale() {
        let mut wheel = Wheel::new(Time(0), 1);
        let a = wheel.insert(Time(MS), 1).unwrap();
        assert_eq!(wheel.insert(Time(MS), 2), Err(Full));
        assert_eq!((wheel.deadline(a), wheel.cancel(a), wheel.cancel(a)), (Some(Time(MS)), Some(1), None));
        let b = wheel.insert(Time(MS), 3).unwrap();
        assert_eq!(wheel.cancel(a), None);
        assert_eq!(expire(&mut wheel, MS), [3]);
        assert_eq!(wheel.cancel(b), None);
    }

    #[test]
    fn waiting_for_a_cancelled_timer_costs_few_turns() {
        let mut wheel = Wheel::new(Time(0), 1_000);
        let ids: Vec<TimerId> = (0..1_000u32)
            .map(|i| wheel.insert(Time(0).after(Duration::from_millis(10_000 + u64::from(i))), i).unwrap())
            .collect();
        for id in &ids[..999] {
            wheel.cancel(*id);
        }
        let mut turns = 0;
        while !wheel.is_empty() {
            let now = wheel.next_deadline();
            expire(&mut wheel, now.0);
            turns += 1;
        }
        assert!(turns <= LEVELS, "{turns}");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Cancel(prop::sample::Index),
        Advance(u64),
        Next,
    }

    /// Spans of every order of magnitude, so that all levels and their edges are met.
    fn span() -> impl Strategy<Value = u64> {
        (0u32..52, any::<u64>(), 0u64..3)
            .prop_map(|(bits, r, edge)| ((1 << bits) | r & ((1 << bits) - 1)) - edge.min(1))
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => span().prop_map(Op::Insert),
            2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
            1 => span().prop_map(Op::Advance),
            3 => Just(Op::Next),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn agrees_with_an_ordered_map(start in 0u64..1 << 50, ops in prop::collection::vec(op(), 1..200)) {
            let mut now = start;
            let mut wheel = Wheel::new(Time(now), 1_000);
            let mut model: BTreeMap<(u64, u32), TimerId> = BTreeMap::new();
            let mut stale: Vec<TimerId> = Vec::new();
            let mut cancelled = false;
            for (n, op) in (0u32..).zip(ops) {
                match op {
                    Op::Insert(span) => {
                        let due = now + span;
                        model.insert((due, n), wheel.insert(Time(due), n).unwrap());
                    }
                    Op::Cancel(pick) if !model.is_empty() => {
                        let at = *model.keys().nth(pick.index(model.len())).unwrap();
                        let id = model.remove(&at).unwrap();
                        prop_assert_eq!(wheel.cancel(id), Some(at.1));
                        stale.push(id);
                        cancelled = true;
                    }
                    Op::Cancel(_) => {}
                    Op::Advance(span) => now += span,
                    Op::Next if model.is_empty() => prop_assert_eq!(wheel.next_deadline(), Time::NEVER),
                    Op::Next => now = now.max(wheel.next_deadline().0),
                }
                let mut out = Vec::new();
                wheel.expire(Time(now), &mut out);
                let later = model.split_off(&(now + 1, 0));
                let mut expected: Vec<u32> = model.keys().map(|(_, n)| *n).collect();
                stale.extend(std::mem::replace(&mut model, later).into_values());
                expected.sort_unstable();
                out.sort_unstable();
                prop_assert_eq!(out, expected);
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.keys().next().map_or(u64::MAX, |(due, _)| *due);
                let next = wheel.next_deadline().0;
                prop_assert!(next > now, "spins");
                prop_assert!(next == first || cancelled && next < first, "next {} first {}", next, first);
                prop_assert!(stale.iter().all(|id| wheel.deadline(*id).is_none()));
            }
        }
    }
}
