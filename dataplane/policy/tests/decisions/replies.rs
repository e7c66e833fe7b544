//! Answers of the proxy itself, rewritten paths, redirects.

use ringway_config::model::*;
use ringway_policy::{Local, LocalKind, Plan, Reason, Step, View, decide_tcp, decide_tls};

use crate::world::{
    Request, Seeded, TCP, World, adopted, bare_host, connection, decided, explain, forward, get, plan, route, small,
};

fn local(step: Step) -> Local {
    match step {
        Step::Reply(local) => local,
        other => panic!("{other:?}"),
    }
}

/// A host on `*` with one route for a path and one action.
fn one(matches: PathMatch, action: Action) -> World {
    let mut world = small();
    let routes = vec![route(5, Match { path: matches, ..Match::default() }, 0)];
    world.hosts.push(Host { routes, actions: vec![action], ..bare_host("h", &[("*", 0)]) });
    world
}

#[test]
fn no_route() {
    let answer = local(decided(&small().host("h", &[("*", 0)], &[]).view(), &get("/")));
    assert_eq!((answer.status, answer.flags(), answer.details(), answer.body()), (404, "NR", "route_not_found", ""));
    assert_eq!((answer.rule, answer.route), (RuleId(1000), Plan::NONE));
}

#[test]
fn a_destination_that_does_not_exist() {
    for (missing_status, status) in [(500, 500), (503, 503)] {
        let backend = Backend { missing_status, ..Backend::default() };
        let action = Action::Forward(Forward { backends: vec![backend], ..Forward::default() });
        let answer = local(decided(&one(PathMatch::Any, action).view(), &get("/")));
        assert_eq!((answer.status, answer.flags(), answer.details()), (status, "NC", "cluster_not_found"));
        assert_eq!((answer.rule, answer.route), (RuleId(5), 0));
    }
    for nothing in [forward(&[]), forward(&[("c", 0), ("c", 0)])] {
        let answer = local(decided(&one(PathMatch::Any, nothing).view(), &get("/")));
        assert_eq!((answer.status, answer.kind), (503, LocalKind::ClusterNotFound));
    }
}

#[test]
fn no_endpoint_takes_requests() {
    for endpoints in [&[][..], &[("10.0.0.1:80", 1, true)]] {
        let world =
            World::new().cluster("c", Balance::LeastRequest, endpoints).host("h", &[("*", 0)], &[Match::default()]);
        let (step, _) = explain(&world.view(), &get("/"));
        let answer = local(step);
        let said = (answer.status, answer.flags(), answer.details(), answer.body());
        assert_eq!(said, (503, "UH", "no_healthy_upstream", "no healthy upstream"));
        assert_eq!((answer.rule, answer.route), (RuleId(1), 0));
    }
}

#[test]
fn a_fixed_answer() {
    let respond = Respond { status: 418, body: "teapot".into(), ..Respond::default() };
    let view = one(PathMatch::Any, Action::Respond(respond.clone())).view();
    let answer = local(decided(&view, &get("/")));
    assert_eq!((answer.status, answer.flags(), answer.details()), (418, "-", "direct_response"));
    let LocalKind::Respond { host, action } = answer.kind else { panic!("{answer:?}") };
    assert_eq!(view.action(host, action), Some(&Action::Respond(respond)));
    let mut out = Vec::new();
    view.location(&answer, &get("/").facts(), &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_redirect() {
    let redirect = |path| Redirect { status: 301, scheme: "https".into(), path, ..Redirect::default() };
    for (matched, path, target, location) in [
        (PathMatch::Any, PathRewrite::Keep, "/a?b=c", "https://Example.com/a?b=c"),
        (PathMatch::Any, PathRewrite::Full("/x".into()), "/a?b=c", "https://Example.com/x?b=c"),
        (PathMatch::Any, PathRewrite::Full("/x?d".into()), "/a?b=c", "https://Example.com/x?d"),
        (PathMatch::Segments("/a".into()), PathRewrite::Segments("/z".into()), "/a/b?c", "https://Example.com/z/b?c"),
        (PathMatch::Prefix("/a".into()), PathRewrite::Prefix("/z".into()), "/ab", "https://Example.com/zb"),
        (PathMatch::Any, PathRewrite::Full("/x".into()), "*", "https://Example.com/"),
    ] {
        let view = one(matched, Action::Redirect(redirect(path))).view();
        let request = get(target).authority("Example.com:80");
        let answer = local(decided(&view, &request));
        assert_eq!(
            (answer.status, answer.flags(), answer.details(), answer.rule),
            (301, "-", "direct_response", RuleId(5))
        );
        let mut out = Vec::new();
        view.location(&answer, &request.facts(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), location);
    }
}

#[test]
fn a_rewritten_path() {
    let rewrite = Forward {
        path: PathRewrite::Prefix("/v2".into()),
        timeout_ms: 250,
        authority: "x".into(),
        ..Forward::default()
    };
    let backends = vec![Backend { cluster: "c".into(), weight: 1, rule: RuleId(9), ..Backend::default() }];
    let view = one(PathMatch::Prefix("/API".into()), Action::Forward(Forward { backends, ..rewrite }));
    let mut world = view;
    world.hosts[0].routes[0].matches.ignore_case = true;
    let view = world.view();
    let chosen = plan(&view, &get("/api/x?y"));
    let mut out = Vec::new();
    assert!(view.rewrite_path(&chosen, b"/api/x?y", &mut out));
    assert_eq!(out, b"/v2/x?y");
    assert_eq!((chosen.timeout_ms, &*view.forward(&chosen).0.authority), (250, "x"));
    let kept = one(PathMatch::Any, forward_to_c()).view();
    assert!(!kept.rewrite_path(&plan(&kept, &get("/")), b"/", &mut out));
    assert_eq!(out, b"/v2/x?y");
}

#[test]
fn a_share_with_an_action_of_its_own() {
    let to = |cluster: &str| Backend { cluster: cluster.into(), weight: 1, rule: RuleId(9), ..Backend::default() };
    let own = |action, weight| Backend { weight, rule: RuleId(9), action: Some(action), ..Backend::default() };
    let set = |value: &str| HeaderEdits { set: vec![("x".into(), value.into())], ..HeaderEdits::default() };
    let world = |weights: [u32; 3], to_own: &str| {
        let shared = Forward {
            backends: vec![Backend { weight: weights[0], ..to("c") }, own(1, weights[1]), own(2, weights[2])],
            response: set("shared"),
            timeout_ms: 100,
            ..Forward::default()
        };
        let alone = Forward {
            backends: vec![Backend { missing_status: 500, ..to(to_own) }],
            path: PathRewrite::Full("/own".into()),
            response: set("own"),
            timeout_ms: 200,
            ..Forward::default()
        };
        let redirect = Redirect { status: 307, path: PathRewrite::Full("/else".into()), ..Redirect::default() };
        let mut world = one(PathMatch::Any, Action::Forward(shared));
        world.hosts[0].actions.extend([Action::Forward(alone), Action::Redirect(redirect)]);
        world
    };
    let rewritten = |view: &View, plan: &Plan| {
        let mut out = Vec::new();
        view.rewrite_path(plan, b"/", &mut out).then(|| String::from_utf8(out).unwrap())
    };
    let view = world([1, 0, 0], "c").view();
    let chosen = plan(&view, &get("/"));
    assert_eq!((chosen.action, chosen.backend, chosen.timeout_ms, rewritten(&view, &chosen)), (0, 0, 100, None));
    let view = world([0, 1, 0], "c").view();
    let chosen = plan(&view, &get("/"));
    let sent = (chosen.action, chosen.backend, chosen.timeout_ms, rewritten(&view, &chosen), chosen.rule);
    assert_eq!(sent, (1, 0, 200, Some("/own".into()), RuleId(5)));
    let view = world([0, 1, 0], "").view();
    let answer = local(decided(&view, &get("/")));
    assert_eq!((answer.status, answer.action, answer.backend), (500, 1, 0));
    assert_eq!(*view.reply_edits(&answer).outer, set("own"));
    let view = world([0, 0, 1], "c").view();
    let (answer, mut out) = (local(decided(&view, &get("/"))), Vec::new());
    view.location(&answer, &get("/").authority("a").facts(), &mut out);
    assert_eq!((answer.status, &*out), (307, &b"http://a/else"[..]));
}

fn forward_to_c() -> Action {
    forward(&[("c", 1)])
}

#[test]
fn tcp() {
    let tcp = |backends: &[(&str, u32)]| {
        let mut world = small().cluster("none", Balance::RoundRobin, &[]);
        let backends = backends
            .iter()
            .map(|(cluster, weight)| TcpBackend { cluster: (*cluster).into(), weight: *weight })
            .collect();
        let protocol = ListenerProtocol::Tcp { backends, rule: RuleId(77), idle_timeout_ms: 0 };
        world.listeners.listeners[TCP as usize].protocol = protocol;
        let view = world.view();
        let step = decide_tcp(&view, connection(TCP), &mut adopted(&view), &mut Seeded(3), &mut ());
        (view, step)
    };
    let (view, step) = tcp(&[("none", 0), ("c", 3)]);
    let Step::Forward(plan) = step else { panic!("{step:?}") };
    assert_eq!(
        (&*view.cluster(plan.cluster).name, plan.backend, plan.rule, plan.host),
        ("c", 1, RuleId(77), Plan::NONE)
    );
    assert_eq!(view.endpoint(plan.endpoint).address, "10.0.0.1:80".parse().unwrap());
    // It has no route, and asking for one is harmless.
    assert_eq!((view.route_name(&plan), view.forward(&plan).0), ("", &Forward::default()));
    for (backends, reason) in [
        (&[][..], Reason::NoRoute),
        (&[("c", 0)], Reason::NoRoute),
        (&[("none", 1)], Reason::NoHealthyUpstream),
        (&[("", 1)], Reason::ClusterNotFound),
    ] {
        assert_eq!(tcp(backends).1, Step::Reject(reason));
    }
    for listener in [0, 9] {
        assert_eq!(
            decide_tcp(&view, connection(listener), &mut adopted(&view), &mut Seeded(3), &mut ()),
            Step::Reject(Reason::NoListener)
        );
    }
}

#[test]
fn tls_by_server_name() {
    let route = |rule: u32, names: &[&str], cluster: &str| TlsRoute {
        rule: RuleId(rule),
        names: names.iter().map(|name| (*name).into()).collect(),
        backends: vec![TcpBackend { cluster: cluster.into(), weight: 1 }],
        idle_timeout_ms: 0,
    };
    let mut world = small();
    let routes = vec![
        route(1, &["*.example.com"], "c"),
        route(2, &["www.example.com", "*.deep.example.com"], "c"),
        route(3, &["www.example.com", "other.test"], "c"),
        TlsRoute { backends: Vec::new(), ..route(4, &["nowhere.test"], "c") },
    ];
    world.listeners.listeners[TCP as usize].protocol = ListenerProtocol::Tls { routes: routes.clone() };
    let decide = |view: &View, listener, name: Option<&str>| {
        decide_tls(view, connection(listener), name.map(str::as_bytes), &mut adopted(view), &mut Seeded(3), &mut ())
    };
    let view = world.view();
    for (name, rule) in [
        ("www.example.com", 2),
        ("a.example.com", 1),
        ("a.b.example.com", 1),
        ("a.deep.example.com", 2),
        ("deep.example.com", 1),
        ("other.test", 3),
    ] {
        let Step::Forward(plan) = decide(&view, TCP, Some(name)) else { panic!("{name}") };
        assert_eq!((plan.rule, plan.route, plan.host), (RuleId(rule), rule - 1, Plan::NONE), "{name}");
        assert_eq!(view.route_name(&plan), "");
    }
    for name in [Some("example.com"), Some("test"), None] {
        assert_eq!(decide(&view, TCP, name), Step::Reject(Reason::NoServerName), "{name:?}");
    }
    assert_eq!(decide(&view, TCP, Some("nowhere.test")), Step::Reject(Reason::NoRoute));
    assert_eq!(decide(&view, 0, Some("other.test")), Step::Reject(Reason::NoListener));
    let any = TlsRoute { names: vec!["*".into()], ..routes[0].clone() };
    world.listeners.listeners[TCP as usize].protocol = ListenerProtocol::Tls { routes: vec![any] };
    let view = world.view();
    for name in [Some("anything"), None] {
        assert!(matches!(decide(&view, TCP, name), Step::Forward(_)), "{name:?}");
    }
}

#[test]
fn a_state_that_adopted_nothing_finds_no_endpoint() {
    let view = one(PathMatch::Any, forward_to_c()).view();
    let request: Request = get("/");
    let step = ringway_policy::decide(
        &view,
        &mut request.facts(),
        &mut ringway_policy::State::new(),
        &mut Seeded(1),
        0,
        &mut (),
    );
    assert_eq!(local(step).kind, LocalKind::NoHealthyUpstream);
}
