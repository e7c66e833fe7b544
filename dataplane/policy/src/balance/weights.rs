//! Endpoints side by side, each covering as many points as it weighs: what least request, round robin and random draw from.

use ringway_config::model::Endpoint;

use super::{below, gcd};
use crate::facts::Rng;

/// The endpoints of one set that take requests, laid side by side: each covers as many points of `0..total` as it weighs.
#[derive(Clone, Default)]
pub(crate) struct Weights {
    /// Endpoints that take requests.
    pub len: usize,
    /// Their positions in the endpoint set; empty when they are the first `len`.
    live: Vec<u32>,
    /// Where each one's points end; empty when all weigh the same and cover one point each.
    ends: Vec<u64>,
    total: u64,
    /// Points from one turn of round robin to the next.
    stride: u64,
}

impl Weights {
    /// As the endpoints weigh.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Weights {
        let takes = |e: &Endpoint| if e.draining { 0 } else { u64::from(e.weight) };
        let mut weights = Weights::default();
        weights.fill(endpoints.iter().zip(0..).map(|(e, position)| (position, takes(e))));
        weights.live.shrink_to_fit();
        weights.ends.shrink_to_fit();
        weights
    }

    /// The first `len` endpoints, all of the same weight. Allocates nothing.
    #[inline]
    pub(crate) fn even(len: u32) -> Weights {
        Weights { len: len as usize, live: Vec::new(), ends: Vec::new(), total: u64::from(len), stride: 1 }
    }

    /// The number of endpoints, if [`Weights::even`] of it is this.
    pub(crate) fn as_even(&self) -> Option<u32> {
        (self.live.is_empty() && self.ends.is_empty()).then_some(self.len as u32)
    }

    /// The position of one of them in the endpoint set.
    #[inline]
    pub(super) fn position(&self, index: usize) -> Option<u32> {
        if self.live.is_empty() { (index < self.len).then_some(index as u32) } else { self.live.get(index).copied() }
    }

    /// Lays out (position, weight) anew, in the memory that is there. What weighs nothing is left out.
    pub(crate) fn fill(&mut self, endpoints: impl Iterator<Item = (u32, u64)> + Clone) {
        let takes = endpoints.filter(|(_, weight)| *weight > 0);
        let divisor = takes.clone().fold(0, |d, (_, weight)| gcd(d, weight)).max(1);
        self.live.clear();
        self.ends.clear();
        self.total = 0;
        for (position, weight) in takes {
            self.total += weight / divisor;
            self.live.push(position);
            self.ends.push(self.total);
        }
        self.len = self.live.len();
        self.stride = 1;
        if self.live.iter().zip(0..).all(|(position, index)| *position == index) {
            self.live.clear();
        }
        if self.total == self.len as u64 {
            self.ends.clear();
        } else {
            self.stride = golden_stride(self.total);
        }
    }

    /// Any point, for round robin to start at.
    pub(crate) fn start(&self, rng: &mut impl Rng) -> u64 {
        below(rng, self.total).unwrap_or(0)
    }

    /// The point whose turn it is, in round robin; `point` moves on. In `total` turns each point comes once.
    pub(super) fn take_turn(&self, point: &mut u64) -> u64 {
        let turn = *point % self.total.max(1);
        *point = self.next(turn);
        turn
    }

    fn next(&self, point: u64) -> u64 {
        // No overflow: the weights of a blob add up to less than 2^32, and a warm-up makes at most 2^12 points of one.
        let next = point.wrapping_add(self.stride);
        if next >= self.total { next.wrapping_sub(self.total) } else { next }
    }

    /// Which of the endpoints covers `point`.
    pub(super) fn index_at(&self, point: u64) -> Option<usize> {
        let index = if self.ends.is_empty() { point as usize } else { self.ends.partition_point(|end| *end <= point) };
        (index < self.len).then_some(index)
    }

    /// The points of one endpoint.
    fn points(&self, index: usize) -> (u64, u64) {
        if self.ends.is_empty() {
            return (index as u64, index as u64 + 1);
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        (start, self.ends[index])
    }

    /// Tells the share of each endpoint, by its position in the endpoint set.
    pub(super) fn shares(&self, mut tell: impl FnMut(u32, f64)) {
        for index in 0..self.len {
            let (start, end) = self.points(index);
            if let Some(position) = self.position(index) {
                tell(position, (end - start) as f64 / self.total as f64);
            }
        }
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        self.index_at(below(rng, self.total)?)
    }

    /// Power of two choices: two different ones are drawn by weight; the first is taken unless it is busier for its weight.
    ///
    /// "Busier" compares the first's load with the second's load and half a request: of equal weights this is the plain comparison of counts, and
    /// of unequal ones it keeps to the drawn share as long as neither has more than its part. (Without the half, an idle light endpoint would
    /// take every second request from a heavy one that serves a single request.)
    pub(super) fn least_request(&self, rng: &mut impl Rng, load: impl Fn(u32) -> u32) -> Option<usize> {
        let first = self.draw(rng)?;
        if self.len == 1 {
            return Some(first);
        }
        let (start, end) = self.points(first);
        let mut point = below(rng, self.total - (end - start))?;
        if point >= start {
            point += end - start;
        }
        let second = self.index_at(point)?;
        let (second_start, second_end) = self.points(second);
        let of = |index: usize| u128::from(self.position(index).map_or(0, &load));
        let (first_weight, second_weight) = (u128::from(end - start), u128::from(second_end - second_start));
        let busier = 2 * of(first) * second_weight > (2 * of(second) + 1) * first_weight;
        Some(if busier { second } else { first })
    }
}

/// A step around a ring of `total` points that meets each of them once a round, and in between stays as evenly spread as the golden ratio does: each
/// endpoint's turns are spaced by its weight without a schedule being stored.
fn golden_stride(total: u64) -> u64 {
    let golden = (u128::from(total) * 618_033_989 / 1_000_000_000) as u64;
    // total + 1 has no factor in common with total, so this ends; after a handful of steps as a rule.
    let stride = (golden.max(1)..=total.saturating_add(1)).find(|s| gcd(*s, total) == 1);
    stride.unwrap_or(1) % total.max(1)
}
