//! The hash of names and paths in a view's tables.
//!
//! Folded multiplication, eight bytes a step, seeded from the operating system for each table: a request looks up a handful of names and SipHash
//! would be a visible part of a decision. Keys come from config alone, so a peer cannot fill a table; the seed keeps config authors from
//! crafting collisions for each other.

use std::hash::{BuildHasher, Hasher, RandomState};

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes hashers of one table.
#[derive(Clone)]
pub(crate) struct Seed(u64);

/// A running hash.
pub(crate) struct Fold(u64);

impl Seed {
    pub(crate) fn new() -> Seed {
        Seed(RandomState::new().hash_one(MULTIPLIER))
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

impl Fold {
    /// Starts anywhere: for hashes that are the same in every process.
    pub(crate) fn new(start: u64) -> Fold {
        Fold(start)
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Fold {
    /// The last word overlaps the one before it, so that no byte is copied one by one. (Lengths are hashed apart, by `write_usize`.)
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let last = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(word), _, _) => u64::from_le_bytes(*word),
            (None, Some(front), Some(back)) => {
                u64::from(u32::from_le_bytes(*front)) << 32 | u64::from(u32::from_le_bytes(*back))
            }
            _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        self.mix(last);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes its bucket from the low bits and its tag from the high ones: both must depend on all.
        let product = u128::from(self.0) * u128::from(MULTIPLIER);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_byte_and_the_length_count() {
        let seed = Seed::new();
        let mut seen = HashSet::new();
        for len in 0..40 {
            assert!(seen.insert(seed.hash_one(&vec![0u8; len][..])));
            for at in 0..len {
                let mut bytes = vec![0u8; len];
                bytes[at] = 1;
                assert!(seen.insert(seed.hash_one(&bytes[..])), "{len} {at}");
            }
        }
    }

    #[test]
    fn numbered_names_spread() {
        let seed = Seed::new();
        let mut low = HashSet::new();
        for n in 0..4096 {
            low.insert(seed.hash_one(format!("service-{n}.default.svc.cluster.local").as_bytes()) & 0xfff);
        }
        // 4096 balls in 4096 bins fill about 2589 of them.
        assert!((2400..2800).contains(&low.len()), "{}", low.len());
    }
}
