//! Chance that can be repeated: SplitMix64 from a seed.

/// A small generator; equal seeds give equal rolls.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator of its own for each `stream` of a seed.
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.random();
        dice
    }

    /// 0 .. `n`; `n` is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.random() % n as u64) as usize
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Between one and `n` different ones of these, in their order.
    pub fn some<T: Copy>(&mut self, from: &[T], n: usize) -> Vec<T> {
        let mut left: Vec<T> = from.to_vec();
        let wanted = 1 + self.below(n.min(from.len()));
        while left.len() > wanted {
            let out = self.below(left.len());
            left.remove(out);
        }
        left
    }

    /// The next 64 bits.
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
