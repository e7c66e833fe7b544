//! What the config's rules make of a request: weights, matches, rewrites, edits, redirects, fixed answers.

use ringway_config::model::{
    Action, Balance, HeaderEdits, HeaderMatch, HeaderValue, Match, Part, PathMatch, PathRewrite, Place, Protocol,
    Redirect, Respond, Role, RuleId, StringMatch, Variable, What,
};
use ringway_tests::harness::config::{forward, route};
use ringway_tests::harness::{Case, Config, ProxyBuilder, Upstream};
use ringway_tests::matrix;

matrix!(
    weights_split_the_traffic,
    balancing_spreads_over_endpoints,
    matches_are_first_come,
    paths_and_headers_are_rewritten,
    paths_are_rewritten_by_patterns,
    redirects_and_fixed_answers,
    a_sidecar_believes_what_is_said_of_the_scheme,
    routes_of_other_workloads_are_passed_over
);

/// 90/10 over 10,000 requests: five standard deviations on either side.
fn weights_split_the_traffic(case: Case) {
    let (many, few) = (Upstream::echo(), Upstream::echo());
    let mut config = Config::http(Role::Gateway);
    config.cluster("many", Protocol::Http1, &[many.address()]);
    config.cluster("few", Protocol::Http1, &[few.address()]);
    config.host("any", "*", forward(&[("many", 90), ("few", 10)]));
    let proxy = ProxyBuilder::new(case, config).start();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || (0..2_500).for_each(|_| client.expect_alive("up.test")))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let (many, few) = (many.requests().len(), few.requests().len());
    assert_eq!(many + few, 10_000);
    assert!((850..=1150).contains(&few), "{few} of 10,000 went to the 10 % side");
}

fn balancing_spreads_over_endpoints(case: Case) {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        let upstreams: Vec<Upstream> = (0..3).map(|_| Upstream::echo()).collect();
        let mut config = Config::http(Role::Outbound);
        let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
        config.cluster("up", Protocol::Http1, &addresses).balance = balance;
        config.host("any", "*", forward(&[("up", 1)]));
        let proxy = ProxyBuilder::new(case, config).start();
        let mut client = proxy.client();
        for _ in 0..300 {
            client.expect_alive("up.test");
        }
        let counts: Vec<usize> = upstreams.iter().map(|u| u.requests().len()).collect();
        let expected = if balance == Balance::RoundRobin { 100..=100 } else { 50..=150 };
        assert!(counts.iter().all(|c| expected.contains(c)), "{balance:?}: {counts:?}");
    }
}

fn matches_are_first_come(case: Case) {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let mut config = Config::http(Role::Outbound);
    config.cluster("one", Protocol::Http1, &[one.address()]);
    config.cluster("two", Protocol::Http1, &[two.address()]);
    let host = config.host("any", "*", forward(&[("two", 1)]));
    host.actions.push(Action::Forward(forward(&[("one", 1)])));
    let by_header = Match {
        headers: vec![HeaderMatch { name: "x-canary".into(), value: StringMatch::Exact("yes".into()), invert: false }],
        ..Match::default()
    };
    let by_method = Match { method: Some(StringMatch::Exact("DELETE".into())), ..Match::default() };
    let of = |matches: Match| ringway_config::model::Route { matches, ..route("special", PathMatch::Any, 1) };
    host.routes.splice(
        0..0,
        [
            of(by_header),
            of(by_method),
            route("exact", PathMatch::Exact("/exact".into()), 1),
            route("prefix", PathMatch::Prefix("/pre".into()), 1),
            route("segments", PathMatch::Segments("/seg".into()), 1),
            route("regex", PathMatch::Regex("/r/[0-9]+".into()), 1),
        ],
    );
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for (request, to_one) in [
        ("GET /exact", true),
        ("GET /exact?x", true),
        ("GET /exact/", false),
        ("GET /prefix", true),
        ("GET /seg", true),
        ("GET /seg/x", true),
        ("GET /segx", false),
        ("GET /r/123", true),
        ("GET /r/123x", false),
        ("DELETE /x", true),
        ("GET /x", false),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(
            (one.take_requests().len(), two.take_requests().len()),
            if to_one { (1, 0) } else { (0, 1) },
            "{request}"
        );
    }
    for (value, to_one) in [("yes", true), ("no", false), ("yesno", false)] {
        client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\nX-Canary: {value}\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(
            (one.take_requests().len(), two.take_requests().len()),
            if to_one { (1, 0) } else { (0, 1) },
            "{value}"
        );
    }
}

fn paths_and_headers_are_rewritten(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    let mut edited = forward(&[("up", 1)]);
    edited.path = PathRewrite::Prefix("/new/".into());
    edited.authority = "inside.test".into();
    edited.request = edits();
    edited.response = edits();
    config.hosts[0].actions.push(Action::Forward(edited));
    config.hosts[0].routes.insert(0, route("edited", PathMatch::Prefix("/old/".into()), 1));
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    client.send("GET /old/x?y=/old/ HTTP/1.1\r\nHost: up.test\r\nX-Gone: a\r\nX-Set: b\r\nX-Add: c\r\n\r\n");
    let response = client.response();
    assert_eq!((response.header("x-set"), response.header("x-add")), (Some("set"), Some("added")));
    let seen = upstream.take_requests().remove(0);
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/new/x?y=/old/", Some("inside.test")));
    assert_eq!((seen.header("x-gone"), seen.header("x-set")), (None, Some("set")));
    let added: Vec<_> =
        seen.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("x-add")).map(|(_, v)| v.as_str()).collect();
    assert_eq!(added, ["c", "added"]);
    assert_eq!(client.get("up.test", "/other").header("x-set"), None);
}

fn paths_are_rewritten_by_patterns(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    let rewriting = |pattern: &str, substitution: &str| {
        let path = PathRewrite::Regex { pattern: pattern.into(), substitution: substitution.into() };
        Action::Forward(ringway_config::model::Forward { path, ..forward(&[("up", 1)]) })
    };
    let host = &mut config.hosts[0];
    host.actions.extend([rewriting("^/users/([^/]+)/(.*)$", r"/\2/of/\1"), rewriting("x", &"y".repeat(8_000))]);
    let routes =
        [route("users", PathMatch::Prefix("/users/".into()), 1), route("grow", PathMatch::Prefix("/grow/".into()), 2)];
    host.routes.splice(0..0, routes);
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for (target, sent) in [
        ("/users/ann/cart/items?q=/users/b/c", "/cart/items/of/ann?q=/users/b/c"),
        ("/users/ann", "/users/ann"),
        ("/grow/a", "/grow/a"),
    ] {
        assert_eq!(client.get("up.test", target).status, 200, "{target}");
        assert_eq!(upstream.take_requests().remove(0).target, sent);
    }
    // What does not fit into a head is refused, not sent cut off.
    assert_eq!(client.get("up.test", &format!("/grow/{}", "x".repeat(50))).status, 431);
    assert_eq!(upstream.requests_seen(), 0);
}

fn redirects_and_fixed_answers(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    let redirect = Redirect {
        status: 301,
        scheme: "https".into(),
        path: PathRewrite::Full("/there".into()),
        ..Redirect::default()
    };
    let elsewhere = Redirect {
        status: 302,
        host: "else.test".into(),
        port: Some(0),
        path: PathRewrite::Full("/?a=b".into()),
        ..Redirect::default()
    };
    let respond = Respond { status: 418, body: "short and stout".into(), response: edits(), ..Respond::default() };
    config.hosts[0].actions.extend([Action::Redirect(redirect), Action::Respond(respond), Action::Redirect(elsewhere)]);
    let mut routes = [
        route("away", PathMatch::Exact("/away".into()), 1),
        route("here", PathMatch::Exact("/here".into()), 2),
        route("else", PathMatch::Exact("/else".into()), 3),
    ];
    routes[0].rule = RuleId(77);
    config.hosts[0].routes.splice(0..0, routes);
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    let response = client.get("up.test", "/away?q");
    assert_eq!((response.status, response.header("location")), (301, Some("https://up.test/there?q")));
    // A received port stays, unless it is the old scheme's own; an authority or a port of the rule's own replaces it.
    for (authority, location) in [
        ("up.test:80", "https://up.test/there?q"),
        ("up.test:8080", "https://up.test:8080/there?q"),
        ("UP.test:443", "https://UP.test/there?q"),
    ] {
        assert_eq!(client.get(authority, "/away?q").header("location"), Some(location), "{authority}");
    }
    assert_eq!(client.get("up.test:8080", "/else?q").header("location"), Some("http://else.test/?a=b"));
    let response = client.get("up.test", "/here");
    assert_eq!(
        (response.status, response.text().as_str(), response.header("x-set")),
        (418, "short and stout", Some("set"))
    );
    client.send("HEAD /here HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assert_eq!(client.response_to_head().header("content-length"), Some("15"));
    client.send("POST /here HTTP/1.1\r\nHost: up.test\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status, 418);
    assert_eq!(upstream.accepted(), 0);
}

/// Conditions, variables and redirects go by it. Nobody outside is believed.
fn a_sidecar_believes_what_is_said_of_the_scheme(case: Case) {
    for role in [Role::Outbound, Role::Gateway] {
        let upstream = Upstream::echo();
        let mut config = Config::http(role).upstream(upstream.address());
        let scheme = Variable { what: What::Req, header: ":scheme".into(), alternative: String::new(), bytes_max: 0 };
        let response = HeaderEdits {
            set: vec![("x-scheme".into(), HeaderValue::Format(vec![Part::Variable(scheme)]))],
            ..HeaderEdits::default()
        };
        config.hosts[0].actions.push(Action::Redirect(Redirect { status: 302, response, ..Redirect::default() }));
        config.hosts[0].actions.push(Action::Respond(Respond { status: 421, ..Respond::default() }));
        let mut secure = route("secure", PathMatch::Exact("/secure".into()), 2);
        secure.matches.scheme = Some(StringMatch::Exact("https".into()));
        config.hosts[0].routes.splice(0..0, [secure, route("away", PathMatch::Prefix("/".into()), 1)]);
        let proxy = ProxyBuilder::new(case, config).start();
        let mut client = proxy.client();
        for (said, scheme) in [
            (&[][..], "http"),
            (&["https"], "https"),
            (&["HTTPS"], "https"),
            (&["http"], "http"),
            (&["wss"], "http"),
            (&["https, http"], "http"),
            (&["https", "http"], "http"),
        ] {
            let scheme = if role == Role::Gateway { "http" } else { scheme };
            let lines: String = said.iter().map(|value| format!("X-Forwarded-Proto: {value}\r\n")).collect();
            let mut ask = |path: &str| {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: up.test:8443\r\n{lines}\r\n"));
                client.response()
            };
            let away = ask("/away");
            let location = format!("{scheme}://up.test:8443/away");
            assert_eq!(away.header("location"), Some(location.as_str()), "{role:?} {said:?}");
            assert_eq!(away.header("x-scheme"), Some(scheme), "{role:?} {said:?}");
            assert_eq!(ask("/secure").status, if scheme == "https" { 421 } else { 302 }, "{role:?} {said:?}");
        }
    }
}

/// The labels of its own workload are a proxy's to know.
fn routes_of_other_workloads_are_passed_over(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    let labels = |version: &str| vec![("app".to_string(), "web".to_string()), ("version".to_string(), version.into())];
    let mut routes = Vec::new();
    for (version, status) in [("v1", 201), ("v2", 202)] {
        let action = config.hosts[0].actions.len() as u32;
        config.hosts[0].actions.push(Action::Respond(Respond { status, ..Respond::default() }));
        let mut one = route(version, PathMatch::Any, action);
        one.matches.source = labels(version);
        routes.push(one);
    }
    config.hosts[0].routes.splice(0..0, routes);
    for (own, status) in [(None, 200), (Some("v1"), 201), (Some("v2"), 202), (Some("v3"), 200)] {
        config.listeners.place = own.map(|version| Place { labels: labels(version), ..Place::default() });
        let proxy = ProxyBuilder::new(case, config.clone()).start();
        assert_eq!(proxy.client().get("up.test", "/").status, status, "{own:?}");
    }
}

fn edits() -> HeaderEdits {
    HeaderEdits {
        remove: vec!["x-gone".into()],
        set: vec![("X-Set".into(), "set".into())],
        add: vec![("X-Add".into(), "added".into())],
    }
}
