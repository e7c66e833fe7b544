//! Chooses an endpoint of a cluster: least request, round robin, random; each by weight, in whole numbers.

use ringway_config::model::{Balance, Endpoint};

use crate::facts::Rng;
use crate::state::{Slot, State};
use crate::view::View;

/// Draws by weight before a retry takes any endpoint but the one it avoids.
const REDRAWS_MAX: usize = 4;

/// The endpoints of one set that take requests, laid side by side: each covers as many points of `0..total` as it weighs.
pub(crate) struct Weights {
    /// Positions in the endpoint set.
    live: Box<[u32]>,
    /// Where each one's points end; empty when all weigh the same and cover one point each.
    ends: Box<[u64]>,
    total: u64,
    /// Points from one turn of round robin to the next.
    stride: u64,
}

/// Chooses an endpoint of `cluster` by the cluster's rule: (dense endpoint id, slot). None when no endpoint takes requests.
///
/// `avoid`, where the last attempt failed, is taken only if there is no other. `state` must have adopted `view`.
pub fn pick(
    view: &View,
    cluster: u32,
    state: &mut State,
    rng: &mut impl Rng,
    avoid: Option<Slot>,
) -> Option<(u32, Slot)> {
    let cluster_view = view.clusters().get(cluster as usize)?;
    let weights = cluster_view.weights();
    let base = cluster_view.endpoints.start;
    let chosen = match cluster_view.balance {
        Balance::LeastRequest => weights.least_request(rng, |position| state.load(base + position))?,
        Balance::RoundRobin => weights.index_at(state.turn(cluster, weights)?)?,
        Balance::Random => weights.draw(rng)?,
    };
    let slot_of = |index: usize| {
        let endpoint = base + *weights.live.get(index)?;
        Some((endpoint, state.slot_of(endpoint)?))
    };
    let first = slot_of(chosen)?;
    match avoid {
        Some(avoid) if avoid == first.1 => {
            Some(another(weights, rng, |index| slot_of(index).filter(|c| c.1 != avoid)).unwrap_or(first))
        }
        _ => Some(first),
    }
}

fn another<T>(weights: &Weights, rng: &mut impl Rng, allowed: impl Fn(usize) -> Option<T>) -> Option<T> {
    if weights.live.len() < 2 {
        return None;
    }
    for _ in 0..REDRAWS_MAX {
        if let Some(other) = allowed(weights.draw(rng)?) {
            return Some(other);
        }
    }
    let start = below(rng, weights.live.len() as u64)? as usize;
    (start..weights.live.len()).chain(0..start).find_map(allowed)
}

impl Weights {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Weights {
        let takes = |e: &&Endpoint| !e.draining && e.weight > 0;
        let divisor = endpoints.iter().filter(takes).fold(0, |d, e| gcd(d, u64::from(e.weight))).max(1);
        let live: Box<[u32]> = endpoints.iter().zip(0..).filter(|(e, _)| takes(e)).map(|(_, n)| n).collect();
        let mut total = 0;
        let ends: Box<[u64]> = endpoints
            .iter()
            .filter(takes)
            .map(|e| {
                total += u64::from(e.weight) / divisor;
                total
            })
            .collect();
        if total == live.len() as u64 {
            return Weights { live, ends: Box::default(), total, stride: 1 };
        }
        Weights { live, ends, total, stride: golden_stride(total) }
    }

    /// Any point, for round robin to start at.
    pub(crate) fn start(&self, rng: &mut impl Rng) -> u64 {
        below(rng, self.total).unwrap_or(0)
    }

    /// The point after `point` in round robin. In `total` turns each point comes once.
    pub(crate) fn next(&self, point: u64) -> u64 {
        // No overflow: a blob holds at most 2^22 endpoints of less than 2^32 points.
        let next = (point % self.total.max(1)).wrapping_add(self.stride);
        if next >= self.total { next.wrapping_sub(self.total) } else { next }
    }

    /// Index into `live` of the endpoint that covers `point`.
    fn index_at(&self, point: u64) -> Option<usize> {
        let index = if self.ends.is_empty() { point as usize } else { self.ends.partition_point(|end| *end <= point) };
        (index < self.live.len()).then_some(index)
    }

    /// The points of one endpoint.
    fn points(&self, index: usize) -> (u64, u64) {
        if self.ends.is_empty() {
            return (index as u64, index as u64 + 1);
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        (start, self.ends[index])
    }

    fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        self.index_at(below(rng, self.total)?)
    }

    /// Power of two choices: two different ones are drawn by weight; the first is taken unless it is busier for its weight.
    ///
    /// "Busier" compares the first's load with the second's load and half a request: of equal weights this is the plain comparison of counts, and
    /// of unequal ones it keeps to the drawn share as long as neither has more than its part. (Without the half, an idle light endpoint would
    /// take every second request from a heavy one that serves a single request.)
    fn least_request(&self, rng: &mut impl Rng, load: impl Fn(u32) -> u32) -> Option<usize> {
        let first = self.draw(rng)?;
        if self.live.len() == 1 {
            return Some(first);
        }
        let (start, end) = self.points(first);
        let mut point = below(rng, self.total - (end - start))?;
        if point >= start {
            point += end - start;
        }
        let second = self.index_at(point)?;
        let (second_start, second_end) = self.points(second);
        let of = |index: usize| u128::from(load(self.live[index]));
        let (first_weight, second_weight) = (u128::from(end - start), u128::from(second_end - second_start));
        let busier = 2 * of(first) * second_weight > (2 * of(second) + 1) * first_weight;
        Some(if busier { second } else { first })
    }
}

/// A number below `n`, uniform up to one part in 2^64 / n; none below 0.
pub(crate) fn below(rng: &mut impl Rng, n: u64) -> Option<u64> {
    (n > 0).then(|| ((u128::from(rng.random()) * u128::from(n)) >> 64) as u64)
}

/// The number of the item whose share `point` falls into.
pub(crate) fn by_weight(weights: impl Iterator<Item = u32>, point: u64) -> Option<u32> {
    let mut point = point;
    for (weight, number) in weights.zip(0..) {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return Some(number),
        }
    }
    None
}

/// A step around a ring of `total` points that meets each of them once a round, and in between stays as evenly spread as the golden ratio does: each
/// endpoint's turns are spaced by its weight without a schedule being stored.
fn golden_stride(total: u64) -> u64 {
    let golden = (u128::from(total) * 618_033_989 / 1_000_000_000) as u64;
    // total + 1 has no factor in common with total, so this ends; after a handful of steps as a rule.
    let stride = (golden.max(1)..=total.saturating_add(1)).find(|s| gcd(*s, total) == 1);
    stride.unwrap_or(1) % total.max(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
