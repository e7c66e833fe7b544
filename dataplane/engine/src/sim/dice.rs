//! The one source of chance in a simulation: SplitMix64 from a seed.

use std::time::Duration;

/// A small generator; equal seeds give equal rolls.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 ..= `max`.
    #[allow(clippy::cast_possible_truncation, reason = "the product's high half is at most `max`")]
    pub(crate) fn up_to(&mut self, max: usize) -> usize {
        ((u128::from(self.next()) * (max as u128 + 1)) >> 64) as usize
    }

    /// True with probability `p`. Certain outcomes roll nothing.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && (p >= 1.0 || ((self.next() >> 11) as f64) < p * (1u64 << 53) as f64)
    }

    /// A span between the two, both included.
    pub(crate) fn nanos(&mut self, min: Duration, max: Duration) -> u64 {
        let (min, max) = (nanos_of(min), nanos_of(max));
        if max <= min { min } else { min + self.up_to(usize::try_from(max - min).unwrap_or(usize::MAX)) as u64 }
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.up_to(i));
        }
    }
}

pub(crate) fn nanos_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_its_bounds_and_reaches_both() {
        let mut dice = Dice::new(1);
        let rolls: Vec<usize> = (0..200).map(|_| dice.up_to(5)).collect();
        assert_eq!((rolls.iter().min(), rolls.iter().max()), (Some(&0), Some(&5)));
        let heads = (0..1000).filter(|_| dice.chance(0.25)).count();
        assert!((200..300).contains(&heads), "{heads}");
        assert!(!dice.chance(0.0) && dice.chance(1.0));
        let span = dice.nanos(Duration::from_nanos(3), Duration::from_nanos(4));
        assert!((3..=4).contains(&span));
    }
}
