//! Chooses an endpoint of a cluster: least request, round robin, random, each by weight and in whole numbers; or by a key.

mod hash;
mod live;
mod table;
mod tiers;
mod weights;

use ringway_config::model::Balance;

use crate::facts::Rng;
use crate::state::{Loads, Slot, State, Turns};
use crate::view::{ClusterView, View};

pub(crate) use hash::{Hash, mix};
pub(crate) use live::{Live, Seen};
pub(crate) use table::Table;
pub(crate) use tiers::Tiers;
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
        return by_key(cluster_view, cluster, state, choose);
    }
    let (turns, loads) = state.split(cluster)?;
    // Asked of the view first: it is at hand, the worker's own line of a cluster is another.
    if cluster_view.varies || loads.any_ejected() {
        let Turns { group, point, live, .. } = turns;
        if let Some(live) = live {
            live.refresh(group.endpoints(), |position| loads.seen(base + position), choose.now);
            let at = live.draw(rng)?;
            let part = &mut live.parts()[at];
            let chosen = among(&part.weights, cluster_view, loads, rng, &mut part.point, choose.avoid)?;
            if choose.avoid != Some(chosen.1) {
                return Some(chosen);
            }
            // The part has no other: the nearest one that has is better than the one that failed.
            let mut others = live.parts().iter_mut();
            let other = others.find_map(|part| {
                among(&part.weights, cluster_view, loads, rng, &mut part.point, choose.avoid)
                    .filter(|other| choose.avoid != Some(other.1))
            });
            return Some(other.unwrap_or(chosen));
        }
        return among(&cluster_view.weights(), cluster_view, loads, rng, point, choose.avoid);
    }
    among(&cluster_view.weights(), cluster_view, loads, rng, &mut turns.point, choose.avoid)
}

/// Chooses among these, and `avoid` only if there is no other.
fn among(
    weights: &Weights,
    cluster: &ClusterView,
    loads: Loads<'_>,
    rng: &mut impl Rng,
    point: &mut u64,
    avoid: Option<Slot>,
) -> Option<(u32, Slot)> {
    let base = cluster.endpoints.start;
    let chosen = match cluster.balance {
        Balance::LeastRequest => weights.least_request(rng, |position| loads.load(base + position))?,
        Balance::RoundRobin => weights.index_at(weights.take_turn(point))?,
        _ => weights.draw(rng)?,
    };
    let slot_of = |index: usize| {
        let endpoint = base + weights.position(index)?;
        Some((endpoint, loads.slot_of(endpoint)?))
    };
    let first = slot_of(chosen)?;
    match avoid {
        Some(avoid) if avoid == first.1 => {
            Some(another(weights, rng, |index| slot_of(index).filter(|c| c.1 != avoid)).unwrap_or(first))
        }
        _ => Some(first),
    }
}

/// Chooses by the key among the endpoints that are in order, of the part that the key goes to.
fn by_key(cluster_view: &ClusterView, cluster: u32, state: &mut State, choose: Choose) -> Option<(u32, Slot)> {
    let (table, base) = (cluster_view.table.as_deref()?, cluster_view.endpoints.start);
    let (turns, loads) = state.split(cluster)?;
    let slot = |position: u32| loads.slot_of(base + position);
    let avoided = |position| choose.avoid.is_some() && slot(position) == choose.avoid;
    let found = |position: u32| Some((base + position, slot(position)?));
    let live = if cluster_view.varies || loads.any_ejected() { turns.live.as_deref() } else { None };
    let Some(live) = live else {
        let other = table.owner(choose.key, |position| !avoided(position));
        return found(other.or_else(|| table.owner(choose.key, |_| true))?);
    };
    let part = live.of_key(choose.key)?;
    let takes = |position| !loads.seen(base + position).ejected && live.of(position).is_some();
    let near = |position| takes(position) && live.of(position) == Some(part);
    let owner = table.owner(choose.key, |position| near(position) && !avoided(position));
    let owner = owner.or_else(|| table.owner(choose.key, |position| takes(position) && !avoided(position)));
    found(owner.or_else(|| table.owner(choose.key, takes))?)
}

fn another<T>(weights: &Weights, rng: &mut impl Rng, allowed: impl Fn(usize) -> Option<T>) -> Option<T> {
    if weights.len < 2 {
        return None;
    }
    for _ in 0..REDRAWS_MAX {
        if let Some(other) = allowed(weights.draw(rng)?) {
            return Some(other);
        }
    }
    let start = below(rng, weights.len as u64)? as usize;
    (start..weights.len).chain(0..start).find_map(allowed)
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
