//! When requests are due: an open loop's clock.
//!
//! A profile is a list of stages, in each of which the rate goes in a straight line from one value to another. The expected number of requests
//! until a moment is the area under that line; the n-th arrival is where the area reaches a count. Counts grow by 1 (constant spacing) or by a
//! draw from the exponential distribution with mean 1 (a Poisson process), so ramps, steps and both kinds of spacing are one formula.

/// A stretch of time in which the rate changes evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Requests per second at its start.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
    /// How long it takes, nanoseconds.
    pub nanos: u64,
}

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    #[default]
    Constant,
    /// As independent clients do.
    Poisson,
}

/// Arrivals that were written down: a worker's share of them.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    due: &'a [u64],
    next: usize,
    workers: usize,
}

impl<'a> Recorded<'a> {
    /// Those of worker `index` of `workers`: every so many-th.
    pub fn new(due: &'a [u64], index: usize, workers: usize) -> Recorded<'a> {
        Recorded { due, next: index, workers }
    }

    /// As [`Arrivals::next_due`].
    pub fn next_due(&mut self) -> Option<u64> {
        let due = self.due.get(self.next).copied();
        self.next += self.workers;
        due
    }
}

/// The arrivals of one worker, in order.
#[derive(Clone, Debug)]
pub struct Arrivals {
    stages: Vec<Stage>,
    spacing: Spacing,
    /// Workers that share the rate.
    workers: f64,
    random: Random,
    /// The stage, where it starts, and how much of its area is used up.
    stage: usize,
    stage_start: u64,
    used: f64,
    /// Area to the next arrival.
    step: f64,
}

impl Arrivals {
    /// The arrivals of worker `index` of `workers`, which together have the whole rate.
    pub fn new(stages: &[Stage], spacing: Spacing, index: usize, workers: usize, seed: u64) -> Arrivals {
        let mut random = Random::new(seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let workers = workers.max(1) as f64;
        let step = match spacing {
            Spacing::Constant => index as f64,
            Spacing::Poisson => random.exponential() * workers,
        };
        Arrivals { stages: stages.to_vec(), spacing, workers, random, stage: 0, stage_start: 0, used: 0.0, step }
    }

    /// Nanoseconds from the start to the next arrival; `None` when the profile is over.
    pub fn next_due(&mut self) -> Option<u64> {
        loop {
            let stage = *self.stages.get(self.stage)?;
            let wanted = self.used + self.step;
            if wanted < stage.area() {
                self.used = wanted;
                self.step = match self.spacing {
                    Spacing::Constant => self.workers,
                    Spacing::Poisson => self.random.exponential() * self.workers,
                };
                return Some(self.stage_start + stage.reaches(wanted));
            }
            self.step = wanted - stage.area();
            self.used = 0.0;
            self.stage += 1;
            self.stage_start += stage.nanos;
        }
    }
}

impl Stage {
    /// A stage without a change.
    pub fn constant(rate: f64, nanos: u64) -> Stage {
        Stage { from: rate, to: rate, nanos }
    }

    /// Requests in it.
    pub fn area(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds()
    }

    fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// Nanoseconds from its start until `count` requests were due.
    fn reaches(&self, count: f64) -> u64 {
        if count <= 0.0 {
            return 0;
        }
        let slope = (self.to - self.from) / self.seconds();
        // The root of from·t + slope·t²/2 = count in the form that does not cancel where the slope is small.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        ((2.0 * count / (self.from + root) * 1e9) as u64).min(self.nanos)
    }
}

/// A seeded generator (SplitMix64): the same seed, the same run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly from 0 to below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn all(mut arrivals: Arrivals) -> Vec<u64> {
        std::iter::from_fn(|| arrivals.next_due()).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_over_all_workers() {
        let stages = [Stage::constant(1000.0, SECOND)];
        let mut together = Vec::new();
        for worker in 0..3 {
            together.extend(all(Arrivals::new(&stages, Spacing::Constant, worker, 3, 1)));
        }
        together.sort_unstable();
        assert_eq!(together.len(), 1000);
        for (n, due) in together.iter().enumerate() {
            assert!(due.abs_diff(n as u64 * 1_000_000) <= 1, "arrival {n} is due at {due}");
        }
    }

    #[test]
    fn a_ramp_has_the_area_under_its_line() {
        let stages = [Stage { from: 0.0, to: 1000.0, nanos: 2 * SECOND }, Stage::constant(500.0, SECOND)];
        let due = all(Arrivals::new(&stages, Spacing::Constant, 0, 1, 1));
        let until = |t: u64| due.iter().filter(|due| **due < t).count();
        // 250·t² in the ramp: a quarter of its 1,000 in the first half.
        assert_eq!((until(SECOND), until(2 * SECOND), due.len()), (250, 1000, 1500));
        assert!(due.is_sorted());
    }

    #[test]
    fn a_stage_without_requests_is_a_pause() {
        let stages = [Stage::constant(10.0, SECOND), Stage::constant(0.0, SECOND), Stage::constant(10.0, SECOND)];
        let due = all(Arrivals::new(&stages, Spacing::Constant, 0, 1, 1));
        assert_eq!(due.len(), 20);
        assert!(due.iter().all(|due| !(SECOND..2 * SECOND).contains(due)), "{due:?}");
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let stages = [Stage::constant(10_000.0, 10 * SECOND)];
        let due = all(Arrivals::new(&stages, Spacing::Poisson, 0, 1, 7));
        // The count has a standard deviation of √100,000 ≈ 316.
        assert!(due.len().abs_diff(100_000) < 1_600, "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.03, "{}", deviation / mean);
        assert_eq!(due, all(Arrivals::new(&stages, Spacing::Poisson, 0, 1, 7)));
    }
}
