//! A decision allocates nothing after warm-up.

use allocation_counter::measure;
use ringway_config::model::*;
use ringway_policy::{Choose, State, Step, View, decide, decide_tcp, pick};

use crate::world::{
    Headers, Request, Seeded, TCP, World, adopted, avoiding, bare_host, connection, forward, get, route,
};

/// Routes of every kind of condition, indexed.
fn view() -> View {
    let header = |value| HeaderMatch { name: "x".into(), value, invert: false };
    let path = |path| Match { path, ..Match::default() };
    let mut routes = vec![
        Match {
            headers: vec![header(StringMatch::Regex("[a-z]+,[a-z]+".into()))],
            ..path(PathMatch::Exact("/joined".into()))
        },
        Match {
            query: vec![QueryMatch { name: "q".into(), value: StringMatch::Exact("a b".into()) }],
            ..path(PathMatch::Prefix("/query".into()))
        },
        Match { ignore_case: true, ..path(PathMatch::Segments("/Folded".into())) },
        path(PathMatch::Regex("/v[0-9]+/.*".into())),
        Match { authority: Some(StringMatch::Suffix(".org".into())), ..path(PathMatch::Any) },
    ];
    routes.extend((0..100).map(|n| path(PathMatch::Exact(format!("/exact/{n}")))));
    let endpoints = [("10.0.0.1:80", 1, false), ("10.0.0.2:80", 5, false), ("10.0.0.3:80", 1, true)];
    let mut world = World::new()
        .cluster("c", Balance::LeastRequest, &endpoints)
        .cluster("d", Balance::RoundRobin, &endpoints)
        .host("h", &[("a", 0), ("*.org", 0), ("b.svc.local", 0)], &routes);
    let key = |key| Some(ConsistentHash { key, table_size: 1021 });
    let cookie = HashCookie { name: "user".into(), ttl_ms: Some(0), ..HashCookie::default() };
    for (name, balance, hash) in [
        ("header", Balance::RingHash, key(HashKey::Header("x".into()))),
        ("cookie", Balance::Maglev, key(HashKey::Cookie(cookie))),
        ("source", Balance::RingHash, key(HashKey::SourceIp)),
        ("query", Balance::Maglev, key(HashKey::Query("q".into()))),
        ("warming", Balance::LeastRequest, None),
        ("warming-in-turn", Balance::RoundRobin, None),
    ] {
        world = world.cluster(name, balance, &endpoints);
        let warmup = Warmup { duration_ms: 60_000, minimum: 1000, aggression: 1500 };
        let cluster = world.clusters.last_mut().unwrap();
        cluster.warmup = hash.is_none().then_some(warmup);
        cluster.hash = hash;
        let host = Host {
            routes: vec![route(1, Match::default(), 0)],
            actions: vec![forward(&[(name, 1)])],
            ..bare_host(name, &[(name, 0)])
        };
        world.hosts.push(host);
    }
    let backends = vec![TcpBackend { cluster: "d".into(), weight: 1 }];
    world.listeners.listeners[TCP as usize].protocol =
        ListenerProtocol::Tcp { backends, rule: RuleId(1), idle_timeout_ms: 0 };
    world.view()
}

fn requests() -> Vec<(Request, bool)> {
    vec![
        (get("/joined").header("x", "one").header("x", "two"), true),
        (get("/query?q=a%20b"), true),
        (get("/FOLDED/x"), true),
        (get("/v12/items?x"), true),
        (get("/exact/77"), true),
        (get("/exact/77").authority("B"), true),
        (get("/nothing").authority("Www.Example.ORG.:80"), true),
        (get("/nothing"), false),
        (get("/").authority("header").header("x", "one").header("x", "two"), true),
        (get("/").authority("cookie").header("cookie", "a=b; user=\"me\""), true),
        (get("/").authority("cookie"), true),
        (get("/").authority("source"), true),
        (get("/?a&q=b").authority("query"), true),
        (get("/").authority("warming"), true),
        (get("/").authority("warming-in-turn"), true),
        (get("/").authority("unknown"), false),
        (get("/").authority(&"a".repeat(300)), false),
    ]
}

fn decide_all(view: &View, state: &mut State, rng: &mut Seeded, now: u64, requests: &[(Request, bool)]) {
    for (request, forwarded) in requests {
        let step = decide(view, &mut request.facts(), state, rng, now, &mut ());
        assert_eq!(matches!(step, Step::Forward(_)), *forwarded, "{}", request.path);
        if let Step::Forward(plan) = step {
            state.started(plan.slot);
            let _ = pick(view, plan.cluster, state, rng, Choose { key: plan.key, ..avoiding(plan.slot) });
            state.finished(plan.slot);
        }
    }
    assert!(matches!(decide_tcp(view, connection(TCP), state, rng, &mut ()), Step::Forward(_)));
}

#[test]
fn none_after_warm_up() {
    let (view, requests) = (view(), requests());
    let (mut state, mut rng) = (adopted(&view), Seeded(1));
    // A second a round: the weights of what warms up are laid out anew each time.
    const SECOND: u64 = 1_000_000_000;
    decide_all(&view, &mut state, &mut rng, SECOND, &requests);
    let counted = measure(|| (2..55).for_each(|n| decide_all(&view, &mut state, &mut rng, n * SECOND, &requests)));
    assert_eq!(counted.count_total, 0);
    // The counter does count.
    assert_ne!(measure(|| drop(std::hint::black_box(Headers(vec![("x".into(), Vec::new())])))).count_total, 0);
}
