//! What share of a cluster's requests each endpoint gets, for those who explain a decision rather than make it.

use crate::balance::{Choose, pick};
use crate::facts::{Facts, Rng};
use crate::key;
use crate::state::State;
use crate::view::{Request, View};
use ringway_config::model::{Endpoint, Place};

/// What an endpoint gets of its cluster's requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Its dense id.
    pub endpoint: u32,
    /// From 0 to 1, as long as all are equally busy for their weight.
    pub share: f64,
    /// It is left alone for now (outlier detection).
    pub ejected: bool,
    /// Where it runs, if the cluster makes a difference by that.
    pub place: Option<Place>,
}

/// Every endpoint of a cluster. Draining and ejected ones get nothing; localities and warm-up count as at `now`, in nanoseconds of the clock that
/// `state` adopted `view` by.
pub fn shares(view: &View, cluster: u32, state: &mut State, now: u64) -> Vec<Share> {
    let Some(cluster_view) = view.clusters().get(cluster as usize) else { return Vec::new() };
    let ids = cluster_view.endpoints.clone();
    let base = ids.start;
    let set = cluster_view.group.endpoints();
    let plain = |e: &Endpoint| if e.draining { 0.0 } else { f64::from(e.weight) };
    let mut parts: Vec<f64> = set.iter().map(plain).collect();
    let Some((turns, loads)) = state.split(cluster) else { return Vec::new() };
    if let Some(live) = turns.live.as_deref_mut().filter(|_| cluster_view.varies || loads.any_ejected()) {
        live.refresh(set, |position| loads.seen(base + position), now);
        parts.fill(0.0);
        live.shares(|position, share| parts[position as usize] = share);
    }
    let total: f64 = parts.iter().sum();
    let share = |(id, part): (u32, f64)| Share {
        endpoint: id,
        share: if total > 0.0 { part / total } else { 0.0 },
        ejected: loads.seen(id).ejected,
        place: cluster_view.group.place(id - base).cloned(),
    };
    ids.zip(parts).map(share).collect()
}

/// The endpoint that consistent hashing always gives this request: none without hashing, or when the request has not what is hashed.
pub fn settled(view: &View, cluster: u32, state: &mut State, facts: &Facts<'_>) -> Option<u32> {
    let hash = view.clusters().get(cluster as usize)?.settings.hash.as_ref()?;
    let (_, query) = Request::split_target(facts.path);
    // A key that is not the request's is drawn.
    let of = |drawn| key::of_request(hash, facts, query, &mut Fixed(drawn)).hash;
    let key = of(0);
    let always = key == of(u64::MAX);
    let chosen = pick(view, cluster, state, &mut Fixed(0), Choose { key, ..Choose::default() });
    chosen.filter(|_| always).map(|(endpoint, _)| endpoint)
}

struct Fixed(u64);

impl Rng for Fixed {
    fn random(&mut self) -> u64 {
        self.0
    }
}
