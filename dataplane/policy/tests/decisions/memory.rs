//! What a configuration in force takes. A view keeps no decoded copy of what it has thousands of, so each of them is a few hundred bytes; a field that brings one back
//! is found here.

use allocation_counter::measure;
use ringway_config::model::*;
use ringway_config::{Blob, Order, Snapshot};
use ringway_policy::{State, View};

use crate::world::{Seeded, World, bare_host, forward, route};

const COUNT: usize = 1_000;

/// Bytes kept for each of [`COUNT`]: what reading the blobs leaves, the view on them, and one worker's state.
fn bytes_each(world: World) -> [usize; 3] {
    let snapshot = world.snapshot();
    let bytes: Vec<_> = snapshot.blobs().map(|blob| blob.bytes().clone()).collect();
    let (mut read, mut view, mut state) = (None, None, State::new());
    let reading = measure(|| {
        let blobs = bytes.iter().map(|bytes| Blob::verify(bytes.clone()).unwrap()).collect();
        read = Some(Snapshot::from_blobs(Order::default(), blobs).unwrap());
    });
    let building = measure(|| view = Some(View::build(read.as_ref().unwrap(), None).unwrap()));
    let adopting = measure(|| state.adopt(view.as_ref().unwrap(), 0, &mut Seeded(1), &mut Vec::new()));
    [reading, building, adopting].map(|info| info.bytes_current as usize / COUNT)
}

fn paths(path: impl Fn(usize) -> PathMatch) -> World {
    let matches: Vec<_> = (0..COUNT).map(|n| Match { path: path(n), ..Match::default() }).collect();
    World::new().cluster("c", Balance::LeastRequest, &[("10.0.0.1:80", 1, false)]).host("h", &[("*", 0)], &matches)
}

/// As Istio's defaults make them: every action is tried again, every cluster has outlier detection.
fn destinations() -> World {
    let retry = || Some(Retry { attempts: 2, statuses: vec![503], ..Retry::default() });
    let mut world = World::new();
    let mut host = bare_host("h", &[("*", 0)]);
    for n in 0..COUNT {
        let name = format!("outbound|8080||service-{n}.shop.svc.cluster.local");
        world = world.cluster(&name, Balance::LeastRequest, &[("10.0.0.1:80", 1, false)]);
        let cluster = world.clusters.last_mut().unwrap();
        cluster.service_host = format!("service-{n}.shop.svc.cluster.local");
        (cluster.service_name, cluster.service_namespace) = (format!("service-{n}"), "shop".into());
        cluster.outlier =
            Some(OutlierDetection { consecutive_5xx_errors: 5, interval_ms: 10_000, ..Default::default() });
        let Action::Forward(mut to) = forward(&[(&name, 1)]) else { unreachable!("it forwards") };
        (to.timeout_ms, to.retry) = (15_000, retry());
        host.actions.push(Action::Forward(to));
        let path = PathMatch::Prefix(format!("/p{n}/"));
        host.routes.push(route(n as u32, Match { path, ..Match::default() }, n as u32));
    }
    world.hosts.push(host);
    world
}

#[test]
fn a_route_takes_little_beside_its_blob() {
    for (kind, max, world) in [
        ("a prefix", 170, paths(|n| PathMatch::Prefix(format!("/p{n}/")))),
        ("an exact path", 170, paths(|n| PathMatch::Exact(format!("/e{n}/128")))),
        ("a pattern", 330, paths(|n| PathMatch::Regex(format!("/r{n}/[a-z]+/[0-9]+")))),
    ] {
        let [_, view, _] = bytes_each(world);
        assert!(view <= max, "{kind} takes {view} bytes of the view, of {max}");
    }
}

#[test]
fn a_destination_takes_little_beside_its_blobs() {
    let [read, view, state] = bytes_each(destinations());
    assert!(read <= 650, "{read} bytes beside the blobs");
    assert!(view <= 900, "{view} bytes of the view");
    assert!(state <= 400, "{state} bytes of a worker's state");
}
