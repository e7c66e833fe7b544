//! One direction of a simulated connection: bytes that arrived, and segments on their way.
//!
//! Segments arrive in the order in which they were sent, whatever their delays: each waits for those before it.

use std::collections::VecDeque;

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Data(usize),
    Fin,
    Rst,
}

#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Arrived bytes first, then those on their way.
    bytes: VecDeque<u8>,
    arrived: usize,
    flight: VecDeque<(u64, Segment)>,
    /// No segment arrives before this.
    last_at: u64,
}

impl Pipe {
    /// Bytes to read.
    pub(super) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Bytes inside, arrived or not.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts bytes on their way; returns when they arrive.
    pub(super) fn send(&mut self, bytes: &[u8], at: u64) -> u64 {
        self.bytes.extend(bytes);
        self.push(Segment::Data(bytes.len()), at)
    }

    /// Puts a segment without bytes of its own on its way; returns when it arrives.
    pub(super) fn push(&mut self, segment: Segment, at: u64) -> u64 {
        self.last_at = self.last_at.max(at);
        match (segment, self.flight.back_mut()) {
            (Segment::Data(more), Some((at, Segment::Data(n)))) if *at == self.last_at => *n += more,
            _ => self.flight.push_back((self.last_at, segment)),
        }
        self.last_at
    }

    /// The next segment that has arrived by `now`. The bytes of a `Data` count as arrived.
    pub(super) fn arrive(&mut self, now: u64) -> Option<Segment> {
        let (at, segment) = *self.flight.front()?;
        if at > now {
            return None;
        }
        self.flight.pop_front();
        if let Segment::Data(n) = segment {
            self.arrived += n;
        }
        Some(segment)
    }

    /// Moves arrived bytes out; returns how many.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let n = self.arrived.min(out.len());
        let (front, back) = self.bytes.as_slices();
        let split = front.len().min(n);
        out[..split].copy_from_slice(&front[..split]);
        out[split..n].copy_from_slice(&back[..n - split]);
        self.drop_arrived(n);
        n
    }

    /// As [`Pipe::read`], appending everything that arrived.
    pub(super) fn read_all(&mut self, out: &mut Vec<u8>) -> usize {
        let n = self.arrived;
        let start = out.len();
        out.resize(start + n, 0);
        self.read(&mut out[start..])
    }

    /// Forgets the last `n` of the arrived bytes and everything after them.
    pub(super) fn cut(&mut self, n: usize) {
        self.arrived -= n.min(self.arrived);
        self.bytes.truncate(self.arrived);
        self.flight.clear();
    }

    /// Forgets the last `n` bytes that have not arrived yet; what travels without bytes keeps its place.
    pub(super) fn cut_flight(&mut self, n: usize) {
        let mut left = n.min(self.bytes.len() - self.arrived);
        self.bytes.truncate(self.bytes.len() - left);
        for (_, segment) in self.flight.iter_mut().rev() {
            if let Segment::Data(len) = segment {
                let gone = left.min(*len);
                *len -= gone;
                left -= gone;
            }
        }
    }

    /// Forgets what arrived; nobody will read it.
    pub(super) fn discard_arrived(&mut self) {
        self.drop_arrived(self.arrived);
    }

    fn drop_arrived(&mut self, n: usize) {
        self.bytes.drain(..n);
        self.arrived -= n;
        if self.bytes.is_empty() && self.bytes.capacity() > 64 << 10 {
            self.bytes = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_arrive_in_order_whatever_their_delay() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(b"slow", 10), 10);
        assert_eq!(pipe.send(b"fast", 3), 10);
        assert_eq!(pipe.push(Segment::Fin, 4), 10);
        assert_eq!(pipe.arrive(9), None);
        assert_eq!(
            (pipe.arrive(10), pipe.arrive(10), pipe.arrive(10)),
            (Some(Segment::Data(8)), Some(Segment::Fin), None)
        );
        let mut out = [0; 6];
        assert_eq!((pipe.read(&mut out), &out), (6, b"slowfa"));
        let mut rest = Vec::new();
        assert_eq!((pipe.read_all(&mut rest), rest.as_slice(), pipe.len()), (2, &b"st"[..], 0));
    }

    #[test]
    fn cuts() {
        let mut pipe = Pipe::default();
        pipe.send(b"abcd", 1);
        pipe.arrive(1);
        pipe.send(b"ef", 2);
        pipe.send(b"gh", 3);
        pipe.cut_flight(3);
        assert_eq!((pipe.arrived(), pipe.len()), (4, 5));
        assert_eq!((pipe.arrive(3), pipe.arrive(3)), (Some(Segment::Data(1)), Some(Segment::Data(0))));
        pipe.cut(2);
        let mut out = Vec::new();
        pipe.read_all(&mut out);
        assert_eq!(out, b"abc");
    }
}
