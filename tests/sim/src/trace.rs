//! What happened, as a hash over everything and, for one seed, as lines to read.

use ringway_engine::Time;

/// The record of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Events so far.
    pub events: u64,
    print: bool,
}

impl Trace {
    /// An empty one; with `print`, lines go to standard output as they happen.
    pub fn new(print: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0, print }
    }

    /// Notes one event: who did what, to which exchange or tunnel, with which number.
    pub fn note(&mut self, now: Time, who: &'static str, number: usize, what: &'static str, id: u32, n: u64) {
        self.events += 1;
        for value in [now.0, who.len() as u64, number as u64, what.len() as u64, id.into(), n] {
            self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        if self.print {
            let ms = now.0 as f64 / 1e6;
            println!("{ms:>14.3} ms  {who} {number:<3} {what:<40} id {id:<5} {n}");
        }
    }

    /// The hash of everything noted.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
