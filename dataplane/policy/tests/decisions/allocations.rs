//! A decision allocates nothing after warm-up, whatever is configured.

use allocation_counter::measure;
use ringway_config::model::*;
use ringway_policy::{Choose, State, Step, View, decide, decide_tcp, decide_tls, pick};

use crate::world::{
    Headers, Request, Seeded, TCP, World, adopted, avoiding, bare_host, connection, forward, get, route,
};

/// The listener by server name.
const TLS: u32 = 2;
/// Endpoints (address, weight, draining).
const ENDPOINTS: [(&str, u32, bool); 3] =
    [("10.0.0.1:80", 1, false), ("10.0.0.2:80", 5, false), ("10.0.0.3:80", 1, true)];

/// What a decision is to be.
type Wanted = fn(&Step) -> bool;

const FORWARD: Wanted = |step| matches!(step, Step::Forward(_));
const REPLY: Wanted = |step| matches!(step, Step::Reply(_));
const DELAY: Wanted = |step| matches!(step, Step::Delay(_));

/// Routes of every kind of condition, indexed; and lists that are tried one after the other.
fn conditions(world: World) -> World {
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
    routes.extend((0..100).map(|n| path(PathMatch::Prefix(format!("/prefix/{n}/")))));
    let patterns: Vec<_> = (0..200).map(|n| path(PathMatch::Regex(format!("/p/[a-z]+/{n}(/.*)?")))).collect();
    let headers: Vec<_> = (0..50)
        .map(|n| Match { headers: vec![header(StringMatch::Regex(format!("user-{n}[a-z]*")))], ..Match::default() })
        .collect();
    world
        .host("h", &[("a", 0), ("*.org", 0), ("b.svc.local", 0)], &routes)
        .host("patterns", &[("patterns", 0)], &patterns)
        .host("headers", &[("headers", 0)], &headers)
}

/// Clusters of every way to choose.
fn balances(mut world: World) -> World {
    let key = |key| Some(ConsistentHash { key, table_size: 1021 });
    let cookie = HashCookie { name: "user".into(), ttl_ms: Some(0), ..HashCookie::default() };
    for (name, balance, hash) in [
        ("header", Balance::RingHash, key(HashKey::Header("x".into()))),
        ("cookie", Balance::Maglev, key(HashKey::Cookie(cookie))),
        ("source", Balance::RingHash, key(HashKey::SourceIp)),
        ("query", Balance::Maglev, key(HashKey::Query("q".into()))),
        ("random", Balance::Random, None),
        ("warming", Balance::LeastRequest, None),
        ("warming-in-turn", Balance::RoundRobin, None),
        ("nearest", Balance::LeastRequest, None),
        ("shared-out", Balance::RoundRobin, None),
        ("nearest-by-key", Balance::RingHash, key(HashKey::SourceIp)),
    ] {
        world = world.cluster(name, balance, &ENDPOINTS).host(name, &[(name, 0)], &[]);
        let (cluster, set) = (world.clusters.last_mut().unwrap(), world.endpoints.last_mut().unwrap());
        if name.starts_with("warming") {
            cluster.warmup = Some(Warmup { duration_ms: 60_000, minimum: 1000, aggression: 1500 });
        }
        cluster.hash = hash;
        let to = ["eu/a/*", "eu/b/*"].map(|place| (place.to_owned(), 50)).into();
        cluster.locality = match name {
            "shared-out" => Some(LocalityRule::Distribute(vec![Distribute { from: "eu/*".into(), to }])),
            _ if name.starts_with("nearest") => {
                Some(LocalityRule::Failover { priority: Vec::new(), regions: Vec::new() })
            }
            _ => None,
        };
        let place = |zone: &str| Place { region: "eu".into(), zone: zone.into(), ..Place::default() };
        set.places = vec![place("a"), place("b")];
        set.endpoints.iter_mut().zip([0, 1, 0]).for_each(|(endpoint, at)| endpoint.place = at);
        let host = world.hosts.last_mut().unwrap();
        (host.routes, host.actions) = (vec![route(1, Match::default(), 0)], vec![forward(&[(name, 1)])]);
    }
    world.listeners.place = Some(Place { region: "eu".into(), zone: "a".into(), ..Place::default() });
    world
}

/// Actions of every kind.
fn actions(mut world: World) -> World {
    let with = |change: &dyn Fn(&mut Forward)| {
        let Action::Forward(mut to) = forward(&[("c", 1), ("d", 3)]) else { unreachable!() };
        change(&mut to);
        Action::Forward(to)
    };
    let fault = |delay: u32, abort: u32| {
        Some(Fault {
            delay_ms: 5,
            delay_per_million: delay,
            abort_status: 503,
            abort_per_million: abort,
            ..Fault::default()
        })
    };
    let mirror = |cluster: &str| Mirror { cluster: cluster.into(), per_million: 500_000, rule: RuleId(1) };
    let cors = Cors {
        origins: vec![StringMatch::Exact("https://a".into()), StringMatch::Regex("https://.*[.]b".into())],
        methods: "*".into(),
        ..Cors::default()
    };
    for (name, action) in [
        ("shares", with(&|_| ())),
        ("mirrored", with(&|to| to.mirrors = vec![mirror("c"), mirror("d")])),
        ("shared", with(&|to| to.cors = Some(cors.clone()))),
        ("delayed", with(&|to| to.fault = fault(1_000_000, 0))),
        ("aborted", with(&|to| to.fault = fault(0, 1_000_000))),
        ("spared", with(&|to| to.fault = fault(0, 0))),
        ("redirected", Action::Redirect(Redirect { status: 301, ..Redirect::default() })),
        ("answered", Action::Respond(Respond { status: 200, ..Respond::default() })),
        ("dangling", with(&|to| to.backends = vec![Backend { missing_status: 500, ..Backend::default() }])),
    ] {
        let routes = vec![route(1, Match::default(), 0)];
        world.hosts.push(Host { routes, actions: vec![action], ..bare_host(name, &[(name, 0)]) });
    }
    world
}

fn view() -> View {
    let world =
        World::new().cluster("c", Balance::LeastRequest, &ENDPOINTS).cluster("d", Balance::RoundRobin, &ENDPOINTS);
    let mut world = actions(balances(conditions(world)));
    let backends = vec![TcpBackend { cluster: "d".into(), weight: 1 }];
    let routes = ["*.example.com", "*"].map(|name| TlsRoute {
        rule: RuleId(1),
        names: vec![name.into()],
        backends: backends.clone(),
        idle_timeout_ms: 0,
    });
    let listeners = &mut world.listeners.listeners;
    listeners[TCP as usize].protocol = ListenerProtocol::Tcp { backends, rule: RuleId(1), idle_timeout_ms: 0 };
    let address = "127.0.0.1:15003".parse().unwrap();
    let protocol = ListenerProtocol::Tls { routes: routes.into() };
    listeners.push(Listener { name: "tls".into(), address, protocol, ..listeners[TCP as usize].clone() });
    world.view()
}

fn requests() -> Vec<(Request, Wanted)> {
    let preflight = |origin: &str| {
        let asked = get("/").authority("shared").header("origin", origin);
        Request { method: "OPTIONS".into(), ..asked.header("access-control-request-method", "PUT") }
    };
    vec![
        (get("/joined").header("x", "one").header("x", "two"), FORWARD),
        (get("/query?q=a%20b"), FORWARD),
        (get("/FOLDED/x"), FORWARD),
        (get("/v12/items?x"), FORWARD),
        (get("/exact/77"), FORWARD),
        (get("/prefix/77/x"), FORWARD),
        (get("/exact/77").authority("B"), FORWARD),
        (get("/nothing").authority("Www.Example.ORG.:80"), FORWARD),
        (get("/nothing"), REPLY),
        (get("/p/abc/199/x").authority("patterns"), FORWARD),
        (get("/p/abc/x").authority("patterns"), REPLY),
        (get("/").authority("headers").header("x", "one").header("x", "user-49abc"), FORWARD),
        (get("/").authority("headers").header("x", "one").header("x", "two"), REPLY),
        (get("/").authority("header").header("x", "one").header("x", "two"), FORWARD),
        (get("/").authority("cookie").header("cookie", "a=b; user=\"me\""), FORWARD),
        (get("/").authority("cookie"), FORWARD),
        (get("/").authority("source"), FORWARD),
        (get("/?a&q=b").authority("query"), FORWARD),
        (get("/").authority("random"), FORWARD),
        (get("/").authority("warming"), FORWARD),
        (get("/").authority("warming-in-turn"), FORWARD),
        (get("/").authority("nearest"), FORWARD),
        (get("/").authority("shared-out"), FORWARD),
        (get("/").authority("nearest-by-key"), FORWARD),
        (get("/").authority("shares"), FORWARD),
        (get("/").authority("mirrored"), FORWARD),
        (get("/").authority("shared").header("origin", "https://x.b"), FORWARD),
        (preflight("https://a"), REPLY),
        (preflight("https://x.b"), REPLY),
        (get("/").authority("delayed"), DELAY),
        (get("/").authority("aborted"), REPLY),
        (get("/").authority("spared"), FORWARD),
        (get("/").authority("redirected"), REPLY),
        (get("/").authority("answered"), REPLY),
        (get("/").authority("dangling"), REPLY),
        (get("/").authority("unknown"), REPLY),
        (get("/").authority(&"a".repeat(300)), REPLY),
    ]
}

fn decide_all(view: &View, state: &mut State, rng: &mut Seeded, now: u64, requests: &[(Request, Wanted)]) {
    for (request, wanted) in requests {
        let step = decide(view, &mut request.facts(), state, rng, now, &mut ());
        assert!(wanted(&step), "{} of {}: {step:?}", request.path, request.authority);
        if let Step::Forward(plan) = step {
            assert!(view.host(plan.host).mirrors(plan.action).all(|(_, per_million)| per_million > 0));
            state.started(plan.slot);
            let _ = pick(view, plan.cluster, state, rng, Choose { key: plan.key, now, ..avoiding(plan.slot) });
            state.finished(plan.slot);
        }
    }
    assert!(matches!(decide_tcp(view, connection(TCP), state, rng, &mut ()), Step::Forward(_)));
    for name in [Some(&b"www.example.com"[..]), None] {
        assert!(matches!(decide_tls(view, connection(TLS), name, state, rng, &mut ()), Step::Forward(_)));
    }
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
