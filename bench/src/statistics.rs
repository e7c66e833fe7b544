//! What a few noisy rounds say: medians, and how likely a difference is chance.
//!
//! Two servers are measured in turn, so each round yields a pair that shared the machine's mood, and a ratio. If there were no difference, every
//! logarithm of such a ratio could as well have had the other sign: the permutation test asks how many of all those signs give a mean at least as
//! extreme. It assumes nothing about how noise is distributed.

use crate::arrivals::Random;

/// Up to so many pairs every permutation is looked at.
const EXACT_PAIRS_MAX: usize = 16;
/// Beyond, so many drawn ones.
const DRAWS: u32 = 1 << 16;

/// The middle, and how far apart the ends are.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// How one side compares with the other.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// The median of the rounds' ratios; above 1: the first is more.
    pub median: f64,
    /// The interval that holds the true median with at least 95 % (order statistics).
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How likely a difference this large, in either direction, is chance.
    pub p_differs: f64,
    /// How likely it is chance that the first is this much more.
    pub p_more: f64,
    /// How far the rounds' ratios lie apart: the standard deviation of their logarithms.
    pub noise: f64,
}

/// Of values that are numbers; all 0 without any.
pub fn spread(values: &[f64]) -> Spread {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { return Spread::default() };
    Spread { median: middle(&sorted), low: *low, high: *high }
}

/// Compares pairs (first, second), round by round. `None` when a value is not above 0 or there is no pair: then there is no ratio.
pub fn ratio(pairs: &[(f64, f64)]) -> Option<Ratio> {
    if pairs.is_empty() || pairs.iter().any(|(a, b)| !(*a > 0.0 && *b > 0.0 && a.is_finite() && b.is_finite())) {
        return None;
    }
    let logs: Vec<f64> = pairs.iter().map(|(a, b)| (a / b).ln()).collect();
    let mut sorted = logs.clone();
    sorted.sort_by(f64::total_cmp);
    let rank = interval_rank(sorted.len());
    let (p_more, p_differs) = sign_test(&logs);
    Some(Ratio {
        median: middle(&sorted).exp(),
        low: sorted[rank].exp(),
        high: sorted[sorted.len() - 1 - rank].exp(),
        p_differs,
        p_more,
        noise: deviation(&logs),
    })
}

/// The median, and the interval that holds the true one with at least 95 %; `None` without values.
pub fn interval(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = interval_rank(sorted.len());
    Some((sorted.first().map(|_| middle(&sorted))?, *sorted.get(rank)?, *sorted.get(sorted.len() - 1 - rank)?))
}

fn middle(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}

/// How many values may be cut off at each end so that the rest still spans the true median with 95 %: the binomial's tail.
fn interval_rank(n: usize) -> usize {
    let mut term = 0.5f64.powi(n as i32);
    let (mut tail, mut rank) = (term, 0);
    while rank + 1 < n.div_ceil(2) {
        term *= (n - rank) as f64 / (rank + 1) as f64;
        tail += term;
        if tail > 0.025 {
            break;
        }
        rank += 1;
    }
    rank
}

/// How many of the ways to sign these numbers give a sum as high, and one as far from 0.
fn sign_test(logs: &[f64]) -> (f64, f64) {
    let seen: f64 = logs.iter().sum();
    // Sums that differ only by rounding count as equal.
    let slack = 1e-9 * logs.iter().map(|l| l.abs()).sum::<f64>();
    let (mut all, mut more, mut differs) = (0u32, 0u32, 0u32);
    let mut count = |signs: u64| {
        let sum: f64 =
            logs.iter().enumerate().map(|(n, l)| if signs >> (n % 64) & 1 == 1 { -l.abs() } else { l.abs() }).sum();
        all += 1;
        more += u32::from(sum >= seen - slack);
        differs += u32::from(sum.abs() >= seen.abs() - slack);
    };
    if logs.len() <= EXACT_PAIRS_MAX {
        (0..1u64 << logs.len()).for_each(&mut count);
    } else {
        let mut random = Random::new(1);
        (0..DRAWS).for_each(|_| count(random.bits()));
    }
    (f64::from(more) / f64::from(all), f64::from(differs) / f64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ratios: &[f64]) -> Vec<(f64, f64)> {
        ratios.iter().map(|r| (10.0 * r, 10.0)).collect()
    }

    #[test]
    fn a_steady_difference_is_no_chance() {
        let seen = ratio(&pairs(&[1.05, 1.06, 1.04, 1.05, 1.05, 1.07, 1.03, 1.05])).unwrap();
        assert!((seen.median - 1.05).abs() < 1e-9, "{seen:?}");
        assert_eq!((seen.p_more, seen.p_differs), (1.0 / 256.0, 2.0 / 256.0));
        // The other way round it is as sure that the first is less.
        let seen = ratio(&pairs(&[0.9; 8])).unwrap();
        assert_eq!((seen.p_more, seen.p_differs), (1.0, 2.0 / 256.0));
    }

    #[test]
    fn noise_around_nothing_is_chance() {
        let seen = ratio(&pairs(&[1.2, 0.8, 1.1, 0.9, 1.05, 0.97, 1.0, 1.01])).unwrap();
        assert!(seen.p_more > 0.2 && seen.p_differs > 0.4 && seen.low < 1.0 && seen.high > 1.0, "{seen:?}");
        assert_eq!(ratio(&pairs(&[1.0; 8])).unwrap().p_differs, 1.0);
    }

    #[test]
    fn many_rounds_are_drawn_from() {
        let seen = ratio(&pairs(&[1.01; 40])).unwrap();
        assert!(seen.p_more < 1e-3, "{seen:?}");
        let seen = ratio(&pairs(&[[1.3, 1.0 / 1.3]; 20].concat())).unwrap();
        assert!(seen.p_more > 0.3, "{seen:?}");
    }

    #[test]
    fn without_values_there_is_no_ratio() {
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[(1.0, 0.0)]), None);
        assert_eq!(spread(&[]), Spread::default());
        assert_eq!(spread(&[3.0, 1.0, 2.0, 10.0]), Spread { median: 2.5, low: 1.0, high: 10.0 });
    }

    #[test]
    fn the_interval_of_a_median() {
        // Published tables: for n pairs, the ranks that span the median with 95 %.
        for (n, rank) in [(1, 0), (5, 0), (6, 0), (9, 1), (10, 1), (15, 3), (20, 5)] {
            assert_eq!(interval_rank(n), rank, "{n}");
        }
        assert_eq!(interval(&[9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), Some((5.0, 2.0, 8.0)));
        assert_eq!((interval(&[2.0]), interval(&[])), (Some((2.0, 2.0, 2.0)), None));
    }
}
