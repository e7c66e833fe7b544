//! What a proxy does with a snapshot before it decides by it: builds a view, upon the one before where there is one, and each worker adopts it.

use ringway_config::model::{Kind, Model, RuleId};
use ringway_config::{Blob, Snapshot};
use ringway_paths::mesh::{Seeded, Shape, blobs, order};
use ringway_policy::{State, View};

use super::{Figures, ms, timed};

pub fn run(figures: &Figures) {
    for (hosts, routes) in [(1_000, 100), (100_000, 1), (1, 100_000)] {
        of(figures, hosts, routes);
    }
}

fn of(figures: &Figures, hosts: usize, routes: usize) {
    let mut blobs = blobs(hosts, routes, Shape::Mixed);
    let first = Snapshot::from_blobs(order(), blobs.clone()).unwrap();
    let (built, view) = timed(1, || View::build(&first, None).unwrap());
    edit(&mut blobs, Kind::Endpoints, |model| {
        if let Model::Endpoints(set) = model {
            set.endpoints.pop();
        }
    });
    let second = Snapshot::from_blobs(order(), blobs.clone()).unwrap();
    let (endpoint, after) = timed(3, || View::build(&second, Some(&view)).unwrap());
    edit(&mut blobs, Kind::Host, |model| {
        if let Model::Host(host) = model {
            host.routes[0].rule = RuleId(99);
        }
    });
    let third = Snapshot::from_blobs(order(), blobs).unwrap();
    let (host, _) = timed(3, || View::build(&third, Some(&after)).unwrap());
    let (mut state, mut rng, mut gone) = (State::new(), Seeded(1), Vec::new());
    let (adopt, ()) = timed(1, || state.adopt(&view, 0, &mut rng, &mut gone));
    let (adopt_next, ()) = timed(1, || state.adopt(&after, 0, &mut rng, &mut gone));
    let what = format!("{hosts} hosts of {routes} routes");
    for (done, took) in [
        ("build a view of", built),
        ("build it again with one endpoint gone from", endpoint),
        ("build it again with one rule changed in", host),
        ("adopt a view of", adopt),
        ("adopt the next view of", adopt_next),
    ] {
        figures.tell(&format!("{done} {what}"), ms(took), "ms");
    }
}

fn edit(blobs: &mut [Blob], kind: Kind, change: impl Fn(&mut Model)) {
    if let Some(blob) = blobs.iter_mut().find(|b| b.kind() == kind) {
        let mut model = blob.decode();
        change(&mut model);
        *blob = Blob::encode(&model).unwrap();
    }
}
