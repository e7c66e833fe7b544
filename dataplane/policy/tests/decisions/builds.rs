//! From a snapshot to a view: ids, what is kept of the view before, what is refused.

use ringway_config::model::*;
use ringway_config::{Order, Snapshot};
use ringway_policy::View;
use ringway_policy::view::Cause;

use crate::world::{World, adopted, bare_host, decided, forward, get, plan, route, small};

#[test]
fn names_and_numbers() {
    let mut world = World::new()
        .cluster("b", Balance::Random, &[("10.0.0.2:80", 3, true)])
        .cluster("a", Balance::Random, &[("10.0.0.1:80", 1, false), ("10.0.0.2:80", 1, false)])
        .cluster("c", Balance::Random, &[]);
    world.endpoints[0].workloads = vec![Workload { name: "w".into(), ..Workload::default() }];
    world.endpoints[0].endpoints[0].workload = 0;
    world.listeners.node.name = "node".into();
    world.listeners.pod = "pod-1".into();
    let view = world.view();
    assert_eq!(view.clusters().iter().map(|c| &*c.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((view.cluster_named("b"), view.cluster_named("d")), (Some(1), None));
    assert_eq!((view.cluster(0).endpoints.clone(), view.cluster(1).endpoints.clone()), (0..2, 2..3));
    let last = view.endpoint(2);
    assert_eq!((last.cluster, last.weight, last.draining), (1, 3, true));
    assert_eq!(last.workload.as_ref().map(|w| &*w.name), Some("w"));
    assert!(view.endpoint(0).workload.is_none());
    assert_eq!((view.pod(), &*view.node().name, view.endpoints_len()), ("pod-1", "node", 3));
    assert_eq!(view.order(), Order { incarnation: 1, sequence: 1 });
    assert_eq!((&*view.policy().name, &view.listeners()[1].tunnels), ("default", &vec![Vec::new()]));
}

#[test]
fn the_origin_of_a_rule() {
    let entry = |rule, line| ProvenanceEntry {
        rule: RuleId(rule),
        kind: "VirtualService".into(),
        line,
        ..ProvenanceEntry::default()
    };
    let provenance = Provenance { name: "ns/pod".into(), entries: vec![entry(3, 30), entry(7, 70)] };
    let world = small();
    assert!(world.view().origin(RuleId(3)).is_none());
    let mut models: Vec<Model> = world.snapshot().blobs().map(|b| b.decode()).collect();
    models.push(Model::Provenance(provenance));
    let view = View::build(&Snapshot::from_models(Order::default(), &models).unwrap(), None).unwrap();
    assert_eq!(view.origin(RuleId(7)).map(|e| e.line), Some(70));
    assert!(view.origin(RuleId(5)).is_none());
}

type Edit = fn(&mut World);

/// Each edit of a world is built upon the view before it and anew: both decide the same.
#[test]
fn a_view_built_upon_another_equals_one_built_anew() {
    let prefix = |p: &str| Match { path: PathMatch::Prefix(p.into()), ..Match::default() };
    let world = || {
        let mut world = World::new()
            .cluster("c", Balance::RoundRobin, &[("10.0.0.1:80", 1, false)])
            .cluster("d", Balance::RoundRobin, &[("10.0.0.2:80", 1, false)])
            .host("h", &[("a", 0)], &[prefix("/x")]);
        let routes = vec![route(9, Match::default(), 0)];
        world.hosts.push(Host { routes, actions: vec![forward(&[("d", 1)])], ..bare_host("i", &[("i", 0)]) });
        world
    };
    let edits: [(&str, Edit); 9] = [
        ("nothing", |_| {}),
        ("an endpoint", |w| w.endpoints[1].endpoints[0].address = "10.0.0.3:80".parse().unwrap()),
        ("an endpoint more in front", |w| w.endpoints[0].endpoints.extend_from_within(..)),
        ("a cluster in front, so that ids move", |w| {
            w.clusters.push(Cluster { name: "b".into(), ..w.clusters[0].clone() });
        }),
        ("a cluster away", |w| {
            w.hosts.truncate(1);
            w.clusters.remove(1);
        }),
        ("a route", |w| w.hosts[0].routes[0].matches.path = PathMatch::Any),
        ("a destination", |w| w.hosts[0].actions[0] = forward(&[("d", 1)])),
        ("a domain", |w| w.hosts[1].domains[0].pattern = "*".into()),
        ("the search list", |w| {
            if let ListenerProtocol::Http { search, .. } = &mut w.listeners.listeners[0].protocol {
                search.clear();
            }
        }),
    ];
    let requests = [get("/x"), get("/y"), get("/x").authority("i"), get("/").authority("z")];
    let before = world().view();
    for (name, edit) in edits {
        let mut edited = world();
        edit(&mut edited);
        let (anew, upon) = (edited.view(), View::build(&edited.snapshot(), Some(&before)).unwrap());
        assert_eq!(anew.endpoints_len(), upon.endpoints_len(), "{name}");
        for request in &requests {
            assert_eq!(
                decided(&anew, request),
                decided(&upon, request),
                "{name}: {} {}",
                request.authority,
                request.path
            );
        }
        for endpoint in 0..anew.endpoints_len() as u32 {
            assert_eq!(anew.endpoint(endpoint).address, upon.endpoint(endpoint).address, "{name}");
        }
    }
}

#[test]
fn what_did_not_change_is_shared() {
    let world = small().host("h", &[("a", 0)], &[Match::default()]);
    let first = world.view();
    let mut edited = world;
    edited.endpoints[0].endpoints[0].weight = 2;
    let second = View::build(&edited.snapshot(), Some(&first)).unwrap();
    assert!(std::ptr::eq(first.hosts(), second.hosts()), "only endpoints changed");
    edited.hosts[0].rule = RuleId(1);
    let third = View::build(&edited.snapshot(), Some(&second)).unwrap();
    assert!(!std::ptr::eq(second.hosts(), third.hosts()));
    assert_eq!(adopted(&third).slots(), 1);
    assert_eq!(plan(&third, &get("/")).cluster, 0);
}

fn refusal(world: &World) -> ringway_policy::view::BuildError {
    match View::build(&world.snapshot(), None) {
        Ok(_) => panic!("it was built"),
        Err(error) => error,
    }
}

#[test]
fn a_pattern_that_does_not_compile() {
    let regex = |pattern: &str| Match { path: PathMatch::Regex(pattern.into()), ..Match::default() };
    let error = refusal(&small().host("ns/h", &[("a", 0)], &[regex("ok"), regex("(")]));
    assert_eq!(error.to_string(), "Host ns/h, rule 2: regular expression: unclosed group");
    let header = HeaderMatch { name: "x".into(), value: StringMatch::Regex("a{9999999}".into()), invert: false };
    let error = refusal(&small().host("ns/h", &[("a", 0)], &[Match { headers: vec![header], ..Match::default() }]));
    assert!(matches!(error.cause, Cause::Pattern(_)), "{error}");
}

#[test]
fn a_domain_of_two_hosts() {
    let error = refusal(&small().host("g", &[("a", 0), ("b", 80)], &[]).host("h", &[("b", 81), ("b", 80)], &[]));
    assert_eq!(error.to_string(), "Host h, rule 1000: domain b, port 80, belongs to g already");
    // The same domain twice in one host is no conflict.
    let _ = small().host("g", &[("a", 0), ("a", 0)], &[]).view();
}
