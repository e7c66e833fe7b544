//! A bounded queue from one thread to one other.
//!
//! Made in pairs at start, one for each direction between two workers and between a worker and housekeeping. Neither side ever waits: a full
//! queue gives the value back, an empty one gives nothing. The sender may carry the receiver's [`Waker`] and uses it only when the
//! receiver could have seen the queue empty, so a burst costs one wake-up.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use crate::io::Waker;

/// Makes a queue that holds up to `capacity` values (at least 1).
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.clamp(1, CAPACITY_MAX);
    let cells = (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let ring = Arc::new(Ring {
        head: Padded::default(),
        tail: Padded::default(),
        receiver_gone: AtomicBool::new(false),
        sender_gone: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
        capacity,
        cells,
    });
    let sender = Sender { ring: Arc::clone(&ring), tail: 0, head_seen: 0, waker: None };
    (sender, Receiver { ring, head: 0, tail_seen: 0 })
}

/// More than this is a mistake of ours, and sizes stay free of overflow.
const CAPACITY_MAX: usize = 1 << 24;

/// The sending side. Not cloneable: one thread owns it.
pub struct Sender<T: Send> {
    ring: Arc<Ring<T>>,
    /// Values sent so far; the ring's `tail` is a copy of it.
    tail: usize,
    /// The receiver's `head` when last looked at: spares touching its cache line.
    head_seen: usize,
    waker: Option<Waker>,
}

/// The receiving side. Not cloneable: one thread owns it.
pub struct Receiver<T: Send> {
    ring: Arc<Ring<T>>,
    /// Values received so far; the ring's `head` is a copy of it.
    head: usize,
    tail_seen: usize,
}

/// On a cache line (and its prefetched neighbour) of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicUsize);

struct Ring<T> {
    /// Values taken out, written by the receiver only. Counts up and wraps.
    head: Padded,
    /// Values put in, written by the sender only.
    tail: Padded,
    receiver_gone: AtomicBool,
    sender_gone: AtomicBool,
    dropped: AtomicU64,
    capacity: usize,
    /// A power of two of them, at least `capacity`. Value `n` lives in cell `n % len`; cells `head..tail` are initialised.
    cells: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: cells are reached from two threads, but each by one at a time: the sender writes cell `tail` before it publishes `tail + 1`
// (release), the receiver reads it after seeing that (acquire), and the sender reuses it only after seeing `head` past it (acquire of the
// receiver's release). Values cross threads, hence `T: Send`; no `&T` is shared, so `T: Sync` is not needed.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    fn cell(&self, n: usize) -> *mut MaybeUninit<T> {
        self.cells[n & (self.cells.len() - 1)].get()
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let (mut at, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        while at != tail {
            // SAFETY: both sides are gone (`&mut self` of the Arc's content), and cells `head..tail` hold values nobody has taken.
            unsafe { (*self.cell(at)).assume_init_drop() };
            at = at.wrapping_add(1);
        }
    }
}

impl<T: Send> Sender<T> {
    /// From now on wakes the receiver whenever the queue goes from empty to not empty, and when the sender goes away.
    pub fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    /// Puts a value in. Gives it back when the queue is full or the receiver is gone. Never blocks.
    pub fn send(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() || self.is_closed() {
            return Err(value);
        }
        // SAFETY: `tail - head < capacity <= cells.len()`, so this cell is not among `head..tail`: the receiver does not read it until
        // `tail` is published below, and its last reading of it happened before the `head` that we acquired.
        unsafe { (*self.ring.cell(self.tail)).write(value) };
        let before = self.tail;
        self.tail = self.tail.wrapping_add(1);
        self.ring.tail.0.store(self.tail, Ordering::Release);
        if let Some(waker) = &self.waker {
            // Pairs with the fence in `recv`: of "we publish, then look at head" and "it publishes head, then looks at tail" at
            // least one side sees the other's store, so a receiver that found the queue empty before our value is always woken.
            fence(Ordering::SeqCst);
            if self.ring.head.0.load(Ordering::Relaxed) == before {
                waker.wake();
            }
        }
        Ok(())
    }

    /// As [`Sender::send`], but counts a value that found no room instead of giving it back. True when it went in.
    pub fn send_or_count(&mut self, value: T) -> bool {
        let sent = self.send(value).is_ok();
        if !sent {
            self.ring.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Values lost by [`Sender::send_or_count`].
    pub fn dropped(&self) -> u64 {
        self.ring.dropped.load(Ordering::Relaxed)
    }

    /// Values in the queue; the receiver may be taking some out just now.
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.ring.head.0.load(Ordering::Relaxed))
    }

    /// True when the queue holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values that the queue holds at most.
    pub fn capacity(&self) -> usize {
        self.ring.capacity
    }

    /// True when the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.ring.receiver_gone.load(Ordering::Relaxed)
    }

    fn has_room(&mut self) -> bool {
        if self.tail.wrapping_sub(self.head_seen) < self.ring.capacity {
            return true;
        }
        self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < self.ring.capacity
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest value out. `None` when the queue is empty; a sender with a waker will then wake for the next value.
    pub fn recv(&mut self) -> Option<T> {
        if self.head == self.tail_seen && !self.look_again() {
            return None;
        }
        // SAFETY: `head != tail_seen`, a tail that we acquired, so the sender initialised this cell before; it does not touch it again until
        // `head` moves past it, and we read it once because `head` moves now.
        let value = unsafe { (*self.ring.cell(self.head)).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        self.ring.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Values in the queue; the sender may be putting more in just now.
    pub fn len(&self) -> usize {
        self.ring.tail.0.load(Ordering::Relaxed).wrapping_sub(self.head)
    }

    /// True when the queue holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values lost by [`Sender::send_or_count`].
    pub fn dropped(&self) -> u64 {
        self.ring.dropped.load(Ordering::Relaxed)
    }

    /// True when the sender is gone and everything was received.
    pub fn is_finished(&self) -> bool {
        // Acquire first: what was sent before the sender went is then visible in `tail`.
        self.ring.sender_gone.load(Ordering::Acquire) && self.is_empty()
    }

    /// Looks at the sender's tail; true when there is something.
    fn look_again(&mut self) -> bool {
        self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
        if self.head != self.tail_seen {
            return true;
        }
        // Before saying "empty": see `send`.
        fence(Ordering::SeqCst);
        self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
        self.head != self.tail_seen
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        self.ring.sender_gone.store(true, Ordering::Release);
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl<T: Send> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.ring.receiver_gone.store(true, Ordering::Relaxed);
    }
}

impl<T: Send> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({} of {})", self.len(), self.capacity())
    }
}

impl<T: Send> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} of {})", self.len(), self.ring.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Wake;
    use std::collections::VecDeque;
    use std::sync::{Condvar, Mutex};

    use proptest::prelude::*;

    #[derive(Default)]
    struct Bell {
        rung: AtomicUsize,
        pending: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Bell {
        fn wake(&self) {
            self.rung.fetch_add(1, Ordering::Relaxed);
            *self.pending.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    impl Bell {
        fn wait(&self) {
            let mut pending = self.pending.lock().unwrap();
            while !*pending {
                pending = self.changed.wait(pending).unwrap();
            }
            *pending = false;
        }
    }

    #[test]
    fn full_gives_the_value_back_and_order_is_kept() {
        let (mut tx, mut rx) = channel(3);
        for round in 0..10 {
            assert_eq!(
                (0..5).map(|i| tx.send(round * 10 + i).is_ok()).collect::<Vec<_>>(),
                [true, true, true, false, false]
            );
            assert_eq!((tx.len(), rx.len()), (3, 3));
            assert_eq!(
                std::iter::from_fn(|| rx.recv()).collect::<Vec<_>>(),
                [round * 10, round * 10 + 1, round * 10 + 2]
            );
        }
        assert!(rx.is_empty() && tx.is_empty() && !rx.is_finished());
    }

    #[test]
    fn lost_values_are_counted_on_both_sides() {
        let (mut tx, mut rx) = channel(1);
        assert!(tx.send_or_count(1) && !tx.send_or_count(2) && !tx.send_or_count(3));
        assert_eq!((tx.dropped(), rx.dropped(), rx.recv(), rx.recv()), (2, 2, Some(1), None));
    }

    #[test]
    fn each_side_learns_that_the_other_is_gone_and_nothing_leaks() {
        let value = Arc::new(());
        let (mut tx, rx) = channel(4);
        tx.send(Arc::clone(&value)).unwrap();
        drop(rx);
        assert!(tx.is_closed() && tx.send(Arc::clone(&value)).is_err());
        drop(tx);
        assert_eq!(Arc::strong_count(&value), 1);

        let (mut tx, mut rx) = channel(4);
        tx.send(1).unwrap();
        drop(tx);
        assert!(!rx.is_finished());
        assert_eq!((rx.recv(), rx.is_finished()), (Some(1), true));
    }

    #[test]
    fn a_burst_wakes_once() {
        let bell = Arc::new(Bell::default());
        let (mut tx, mut rx) = channel(8);
        tx.set_waker(bell.clone());
        (0..5).for_each(|i| tx.send(i).unwrap());
        assert_eq!(bell.rung.load(Ordering::Relaxed), 1);
        rx.recv().unwrap();
        tx.send(5).unwrap();
        assert_eq!(bell.rung.load(Ordering::Relaxed), 1);
        assert_eq!(std::iter::from_fn(|| rx.recv()).count(), 5);
        tx.send(6).unwrap();
        assert_eq!(bell.rung.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn two_threads_lose_nothing_and_no_wake_up() {
        const VALUES: u64 = 200_000;
        for capacity in [1, 2, 7, 64] {
            let bell = Arc::new(Bell::default());
            let room = Arc::new(Bell::default());
            let (mut tx, mut rx) = channel::<Box<u64>>(capacity);
            tx.set_waker(bell.clone());
            let room_made = room.clone();
            let values = if capacity < 7 { VALUES / 10 } else { VALUES };
            let sender = std::thread::spawn(move || {
                for i in 0..values {
                    let mut value = Box::new(i);
                    while let Err(back) = tx.send(value) {
                        value = back;
                        room.wait();
                    }
                }
            });
            // Sleeps whenever the queue is empty: a lost wake-up would hang here.
            for i in 0..values {
                let value = loop {
                    match rx.recv() {
                        Some(value) => break value,
                        None => bell.wait(),
                    }
                };
                assert_eq!(*value, i);
                room_made.wake();
            }
            sender.join().unwrap();
            assert!(rx.is_finished());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_a_bounded_deque(capacity in 1usize..9, sends in prop::collection::vec(any::<bool>(), 1..300)) {
            let (mut tx, mut rx) = channel(capacity);
            let mut model = VecDeque::new();
            for (i, send) in sends.into_iter().enumerate() {
                if send {
                    let room = model.len() < capacity;
                    prop_assert_eq!(tx.send(i), if room { Ok(()) } else { Err(i) });
                    if room {
                        model.push_back(i);
                    }
                } else {
                    prop_assert_eq!(rx.recv(), model.pop_front());
                }
                prop_assert_eq!((tx.len(), rx.len()), (model.len(), model.len()));
            }
        }
    }
}
