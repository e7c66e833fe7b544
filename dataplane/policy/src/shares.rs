//! What share of a cluster's requests each endpoint gets, for those who explain a decision rather than make it.

use crate::balance::{Choose, pick};
use crate::facts::{Facts, Rng};
use crate::key;
use crate::state::State;
use crate::view::{Request, View};

/// Every endpoint of a cluster by dense id, with its share (0 to 1) as long as all are equally busy for their weight. Draining ones get none.
pub fn shares(view: &View, cluster: u32) -> impl Iterator<Item = (u32, f64)> + '_ {
    let ids = view.clusters().get(cluster as usize).map_or(0..0, |cluster| cluster.endpoints.clone());
    let weight = move |id: u32| {
        let endpoint = view.endpoint(id);
        if endpoint.draining { 0.0 } else { f64::from(endpoint.weight) }
    };
    let total: f64 = ids.clone().map(weight).sum();
    ids.map(move |id| (id, if total > 0.0 { weight(id) / total } else { 0.0 }))
}

/// The endpoint that consistent hashing always gives this request: none without hashing, or when the request has not what is hashed.
pub fn settled(view: &View, cluster: u32, state: &mut State, facts: &Facts<'_>) -> Option<u32> {
    let hash = view.clusters().get(cluster as usize)?.model.hash.as_ref()?;
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
