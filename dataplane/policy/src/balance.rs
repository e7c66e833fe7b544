//! Chooses an endpoint of a cluster: least request, round robin, random, each by weight and in whole numbers; or by a key.

mod hash;
mod live;
mod table;
mod weights;

use ringway_config::model::Balance;

use crate::facts::Rng;
use crate::state::{Slot, State};
use crate::view::View;

pub(crate) use hash::Hash;
pub(crate) use live::Live;
pub(crate) use table::Table;
pub(crate) use weights::Weights;

/// Draws by weight before a retry takes any endpoint but the one it avoids.
const REDRAWS_MAX: usize = 4;

/// What a choice depends on besides the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choose {
    /// The time, in nanoseconds of any clock that does not go back: new endpoints are eased in by it.
    pub now: u64,
    /// [`Plan::key`](crate::Plan::key): what a cluster with consistent hashing chooses by.
    pub key: u64,
    /// Where the last attempt failed: taken only if there is no other.
    pub avoid: Option<Slot>,
}

/// Chooses an endpoint of `cluster` by the cluster's rule: (dense endpoint id, slot). None when no endpoint takes requests.
///
/// `state` must have adopted `view`.
pub fn pick(view: &View, cluster: u32, state: &mut State, rng: &mut impl Rng, choose: Choose) -> Option<(u32, Slot)> {
    let cluster_view = view.clusters().get(cluster as usize)?;
    let base = cluster_view.endpoints.start;
    if cluster_view.balance.is_consistent() {
        return by_key(cluster_view.table.as_deref()?, base, state, choose);
    }
    let (turns, loads) = state.split(cluster)?;
    // Asked of the view first: it is at hand, the worker's own line of a cluster is another.
    let live = if cluster_view.warms { turns.live.as_mut() } else { None };
    let since = |position| loads.since(base + position);
    let live = live.and_then(|live| live.weights(turns.group.endpoints(), since, choose.now));
    let weights = live.unwrap_or_else(|| cluster_view.weights());
    let chosen = match cluster_view.balance {
        Balance::LeastRequest => weights.least_request(rng, |position| loads.load(base + position))?,
        Balance::RoundRobin => weights.index_at(weights.take_turn(&mut turns.point))?,
        _ => weights.draw(rng)?,
    };
    let slot_of = |index: usize| {
        let endpoint = base + *weights.live.get(index)?;
        Some((endpoint, loads.slot_of(endpoint)?))
    };
    let first = slot_of(chosen)?;
    match choose.avoid {
        Some(avoid) if avoid == first.1 => {
            Some(another(weights, rng, |index| slot_of(index).filter(|c| c.1 != avoid)).unwrap_or(first))
        }
        _ => Some(first),
    }
}

fn by_key(table: &Table, base: u32, state: &State, choose: Choose) -> Option<(u32, Slot)> {
    let slot = |position: u32| state.slot_of(base + position);
    let other = table.owner(choose.key, |position| choose.avoid.is_none_or(|avoid| slot(position) != Some(avoid)));
    let position = other.or_else(|| table.owner(choose.key, |_| true))?;
    Some((base + position, slot(position)?))
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

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
