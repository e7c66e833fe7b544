//! A config on its way into the proxy: verified, opened, built into a view, adopted by a worker.

use std::hint::black_box;

use ringway_config::model::{Kind, Model};
use ringway_config::{Blob, Snapshot, v1};
use ringway_policy::{State, View};

use super::HotPath;
use super::mesh::{Seeded, Shape, blobs, order};

const HOSTS: usize = 100;
const ROUTES: usize = 10;

pub fn paths() -> Vec<HotPath> {
    let what = format!("a snapshot of {HOSTS} hosts of {ROUTES} routes");
    let verify = HotPath::new(format!("verify {what}"), 1, || {
        let snapshot = snapshot();
        Box::new(move || snapshot.blobs().for_each(|blob| assert!(v1::verify(black_box(blob.bytes())).is_ok())))
    });
    let open = HotPath::new(format!("open {what}"), 1, || {
        let snapshot = snapshot();
        Box::new(move || {
            black_box(Snapshot::open(order(), snapshot.root().clone(), snapshot.blobs().cloned()).unwrap());
        })
    });
    let build = HotPath::new(format!("build a view of {what}"), 1, || {
        let snapshot = snapshot();
        Box::new(move || {
            black_box(View::build(&snapshot, None).unwrap());
        })
    });
    let swap = HotPath::new("swap to a view with one endpoint less, and back", 1, || {
        let mut blobs = blobs(HOSTS, ROUTES, Shape::Mixed);
        let first = Snapshot::from_blobs(order(), blobs.clone()).unwrap();
        let endpoints = blobs.iter_mut().find(|blob| blob.kind() == Kind::Endpoints).unwrap();
        let Model::Endpoints(mut set) = endpoints.decode() else { unreachable!("a blob's kind is its model's") };
        set.endpoints.pop();
        *endpoints = Blob::encode(&Model::Endpoints(set)).unwrap();
        let second = Snapshot::from_blobs(order(), blobs).unwrap();
        let mut view = View::build(&first, None).unwrap();
        let (mut state, mut rng, mut gone) = (State::new(), Seeded(1), Vec::new());
        state.adopt(&view, 0, &mut rng, &mut gone);
        Box::new(move || {
            for snapshot in [&second, &first] {
                view = View::build(snapshot, Some(&view)).unwrap();
                gone.clear();
                state.adopt(black_box(&view), 0, &mut rng, &mut gone);
            }
        })
    });
    vec![verify, open, build, swap]
}

fn snapshot() -> Snapshot {
    Snapshot::from_blobs(order(), blobs(HOSTS, ROUTES, Shape::Mixed)).unwrap()
}
