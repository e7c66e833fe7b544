//! What share of a cluster's requests each endpoint gets, for those who explain a decision rather than make it.

use crate::view::View;

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
