//! Rows 13–17, 25, 39, 40, 42 and 56 under both profiles: what a request says is settled once, and routes, log and upstream go by the same form.

use ringway_config::model::{
    AccessLog, Action, Domain, HeaderMatch, Match, Mirror, PathMatch, PathNormalization, Profile, Protocol, Retry,
    Role, Route, RuleId, StringMatch,
};
use ringway_tests::harness::config::{forward, route};
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

matrix!(
    row_13_trailers_decide_nothing,
    row_14_one_host_and_the_target_before_it,
    row_15_ambiguous_authorities,
    row_16_one_form_of_the_authority,
    row_17_one_form_of_the_path,
    row_17_encoded_slashes,
    row_25_connect_is_no_tunnel,
    row_39_long_targets,
    row_40_repeated_headers,
    row_42_underscores_are_no_hyphens,
    row_42_what_only_the_mesh_may_say,
    row_56_what_may_not_be_repeated_is_sent_once,
    row_56_one_request_becomes_few,
    fields_of_this_hop_decide_nothing,
);

const PROFILES: [Profile; 2] = [Profile::Istio, Profile::Strict];

/// A proxy whose routes by path and header lead to an upstream that sees which one was taken, as `x-route`.
struct Judged {
    upstream: Upstream,
    proxy: Proxy,
    profile: Profile,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    route: String,
    target: String,
    host: String,
}

impl Judged {
    fn new(case: Case, role: Role, profile: Profile) -> Judged {
        let normalization = match profile {
            Profile::Istio => PathNormalization::Base,
            Profile::Strict => PathNormalization::MergeSlashes,
        };
        Judged::with(case, role, profile, normalization)
    }

    fn with(case: Case, role: Role, profile: Profile, normalization: PathNormalization) -> Judged {
        let upstream = Upstream::echo();
        let mut config = Config::http(role).upstream(upstream.address());
        config.policy.profile = profile;
        config.policy.path_normalization = normalization;
        config.policy.access_log = AccessLog::Json;
        let header = |name: &str, value: &str| Match {
            headers: vec![HeaderMatch { name: name.into(), value: StringMatch::Exact(value.into()), invert: false }],
            ..Match::default()
        };
        let path = |path| Match { path, ..Match::default() };
        let conditions = [
            ("admin", path(PathMatch::Segments("/admin".into()))),
            ("role", header("x-role", "admin")),
            ("roles", header("x-role", "user,guest")),
            ("xff", header("x-forwarded-for", "10.9.9.9")),
            ("proto", header("x-forwarded-proto", "https")),
            ("xfcc", header("x-forwarded-client-cert", "By=me")),
            ("envoy", header("x-envoy-internal", "true")),
            ("peer", header("x-envoy-peer-metadata-id", "me")),
            ("user", header("x-user", "root")),
            ("any", Match::default()),
        ];
        let host = config.hosts.last_mut().unwrap();
        host.routes.clear();
        host.actions.clear();
        for (number, (name, matches)) in (0..).zip(conditions) {
            let mut action = forward(&[("up", 1)]);
            action.request.set = vec![("x-route".into(), name.into())];
            host.actions.push(Action::Forward(action));
            host.routes.push(Route { matches, ..route(name, PathMatch::Any, number) });
        }
        let mut named = host.clone();
        named.name = "named".into();
        named.domains = vec![Domain { pattern: "named.test".into(), port: 0 }];
        named.rule = RuleId(77);
        named.routes = vec![route("named", PathMatch::Any, named.actions.len() as u32)];
        let mut action = forward(&[("up", 1)]);
        action.request.set = vec![("x-route".into(), "named".into())];
        named.actions.push(Action::Forward(action));
        config.hosts.push(named);
        Judged { upstream, proxy: ProxyBuilder::new(case, config).start(), profile }
    }

    fn both(case: Case, role: Role) -> [Judged; 2] {
        PROFILES.map(|profile| Judged::new(case, role, profile))
    }

    /// One request on a connection of its own.
    fn ask(&self, request: &str) -> Outcome {
        let mut client = self.proxy.client();
        client.send(request);
        let status = client.response().status;
        let mut seen = self.upstream.take_requests();
        let outcome = match seen.pop() {
            None => Outcome { status, route: String::new(), target: String::new(), host: String::new() },
            Some(seen) => Outcome {
                status,
                route: seen.header("x-route").unwrap_or_default().to_owned(),
                host: seen.header("host").unwrap_or_default().to_owned(),
                target: seen.target,
            },
        };
        assert!(seen.is_empty(), "{request:?} became more than one request: {seen:?}");
        outcome
    }

    fn get(&self, target: &str) -> Outcome {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n"))
    }

    fn with_lines(&self, lines: &str) -> Outcome {
        self.ask(&format!("GET / HTTP/1.1\r\nHost: up.test\r\n{lines}\r\n"))
    }

    /// The request is answered with 400 and reaches nobody.
    fn refuses(&self, request: &str) {
        let outcome = self.ask(request);
        assert_eq!((outcome.status, outcome.target.as_str()), (400, ""), "{:?} {request:?}", self.profile);
    }

    /// The last line of the access log, once there are that many.
    fn logged(&self, lines: usize) -> serde_json::Value {
        until("the access log", || {
            let text = self.proxy.program.stdout();
            let whole: Vec<_> = text.lines().filter(|line| line.starts_with('{')).collect();
            (whole.len() >= lines && text.ends_with('\n')).then(|| serde_json::from_str(whole[lines - 1]).unwrap())
        })
    }

    fn strict(&self) -> bool {
        self.profile == Profile::Strict
    }
}

fn row_13_trailers_decide_nothing(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        let mut client = judged.proxy.client();
        client.send(
            "POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-role\r\n\r\n2\r\nab\r\n0\r\n\
             x-role: admin\r\nHost: named.test\r\nContent-Length: 7\r\nTransfer-Encoding: gzip\r\nAuthorization: me\r\n\
             X-Forwarded-Client-Cert: By=me\r\nX-Envoy-Internal: true\r\nx-kept: 1\r\n\r\n",
        );
        assert_eq!(client.response().status, 200);
        let seen = judged.upstream.take_requests().pop().unwrap();
        assert_eq!(seen.header("x-route"), Some("any"), "a trailer chose the route");
        let kept: Vec<_> = seen.trailers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(kept, ["x-role", "x-kept"], "{:?}", judged.profile);
        assert!(seen.header("x-role").is_none() && seen.header("x-kept").is_none());
    }
}

fn row_14_one_host_and_the_target_before_it(case: Case) {
    for judged in Judged::both(case, Role::Outbound) {
        for lines in ["", "Host: up.test\r\nHost: up.test\r\n", "Host: up.test\r\nHost: named.test\r\n", "Host:\r\n"] {
            judged.refuses(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        }
        let absolute = judged.ask("GET http://named.test/a HTTP/1.1\r\nHost: up.test\r\n\r\n");
        assert_eq!((absolute.route.as_str(), absolute.host.as_str()), ("named", "named.test"));
        assert_eq!(absolute.target, "/a");
        judged.refuses("GET http://named.test/a HTTP/1.1\r\nHost: a@b\r\n\r\n");
    }
}

fn row_15_ambiguous_authorities(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        for authority in [
            "up.test,named.test",
            "me@named.test",
            "named.test#up.test",
            "named.test/up.test",
            "named.test\\up.test",
            "named.test up.test",
            "named.test:80:80",
            "named.test%2f",
            "[::1",
        ] {
            judged.refuses(&format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
            if !authority.contains('/') {
                judged.refuses(&format!("GET http://{authority}/ HTTP/1.1\r\nHost: up.test\r\n\r\n"));
            }
        }
    }
}

fn row_16_one_form_of_the_authority(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        let spellings = ["named.test", "NAMED.Test", "named.test.", "named.test:80", "Named.TEST.:80"];
        for (spelling, line) in spellings.iter().zip(1..) {
            let outcome = judged.ask(&format!("GET / HTTP/1.1\r\nHost: {spelling}\r\n\r\n"));
            assert_eq!(outcome.route, "named", "{spelling}");
            // A signature may cover Host: only the strict profile changes it.
            let forwarded = if judged.strict() { "named.test" } else { spelling };
            assert_eq!(outcome.host, forwarded);
            assert_eq!(judged.logged(line)["authority"], "named.test");
        }
        let other_port = judged.ask("GET / HTTP/1.1\r\nHost: Named.test:8080\r\n\r\n");
        assert_eq!(other_port.host, if judged.strict() { "named.test:8080" } else { "Named.test:8080" });
    }
}

fn row_17_one_form_of_the_path(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        // Target; the form under BASE and MERGE_SLASHES; whether that is /admin or below.
        for ((target, base, merged, admin), line) in [
            ("/admin", "/admin", "/admin", true),
            ("/a/../admin", "/admin", "/admin", true),
            ("/./admin/.", "/admin/", "/admin/", true),
            ("/%2e%2e/admin", "/admin", "/admin", true),
            ("/a/%2E%2e/admin?x=/../y", "/admin?x=/../y", "/admin?x=/../y", true),
            ("\\admin", "", "", false),
            ("/x\\..\\admin", "/admin", "/admin", true),
            ("/%61dmin", "/admin", "/admin", true),
            ("/admin;jsession=1", "/admin;jsession=1", "/admin;jsession=1", false),
            ("/admin/../public", "/public", "/public", false),
            ("/admin%252f..", "/admin%252f..", "/admin%252f..", false),
            ("/a%20b", "/a%20b", "/a%20b", false),
            ("//admin", "//admin", "/admin", judged.strict()),
            ("/./..//admin", "//admin", "/admin", judged.strict()),
        ]
        .into_iter()
        .zip(1..)
        {
            if base.is_empty() {
                judged.refuses(&format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
                assert_eq!(judged.logged(line)["response_code"], 400);
                continue;
            }
            let outcome = judged.get(target);
            let normal = if judged.strict() { merged } else { base };
            assert_eq!(outcome.target, normal, "{target}");
            assert_eq!(outcome.route, if admin { "admin" } else { "any" }, "{target}");
            assert_eq!(judged.logged(line)["path"], normal, "{target}");
        }
        for target in ["/admin%00", "/%00/../admin", "/admin#x", "/#/../admin"] {
            judged.refuses(&format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        }
    }
    let untouched = Judged::with(case, Role::Gateway, Profile::Istio, PathNormalization::None);
    let outcome = untouched.get("/a/../admin//%61\\b");
    assert_eq!((outcome.target.as_str(), outcome.route.as_str()), ("/a/../admin//%61\\b", "any"));
}

fn row_17_encoded_slashes(case: Case) {
    for judged in Judged::both(case, Role::Outbound) {
        for target in ["/@scope%2fname", "/a/..%2fadmin", "/admin%5Cx", "/%2Fadmin"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n");
            if judged.strict() {
                judged.refuses(&request);
                continue;
            }
            let outcome = judged.ask(&request);
            assert_eq!((outcome.target.as_str(), outcome.route.as_str()), (target, "any"));
        }
        assert_eq!(judged.get("/a?next=%2Fadmin%zz").status, 200, "a query is nobody's path");
    }
    for profile in PROFILES {
        let judged = Judged::with(case, Role::Outbound, profile, PathNormalization::DecodeAndMergeSlashes);
        for (target, normal, route) in [
            ("/@scope%2fname", "/@scope/name", "any"),
            ("/a/..%2fadmin", "/admin", "admin"),
            ("/admin%5Cx", "/admin/x", "admin"),
            ("/%2Fadmin", "/admin", "admin"),
            ("/%252fadmin", "/%252fadmin", "any"),
        ] {
            let outcome = judged.get(target);
            assert_eq!((outcome.target.as_str(), outcome.route.as_str()), (normal, route), "{target}");
        }
    }
}

fn row_25_connect_is_no_tunnel(case: Case) {
    for role in [Role::Outbound, Role::Gateway] {
        for judged in Judged::both(case, role) {
            for target in ["up.test:80", "127.0.0.1:22", "[::1]:80"] {
                let outcome = judged.ask(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
                assert_eq!((outcome.status, outcome.target.as_str()), (405, ""), "{target}");
            }
            judged.refuses("CONNECT / HTTP/1.1\r\nHost: up.test\r\n\r\n");
            judged.refuses("CONNECT http://up.test/ HTTP/1.1\r\nHost: up.test\r\n\r\n");
            assert_eq!(judged.upstream.accepted(), 0);
        }
    }
}

fn row_39_long_targets(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        let fits = format!("/{}", "x".repeat((8 << 10) - 1));
        assert_eq!(judged.get(&fits).target.len(), fits.len());
        let long = judged.get(&format!("{fits}x"));
        assert_eq!(long.status, if judged.strict() { 414 } else { 200 });
    }
}

fn row_40_repeated_headers(case: Case) {
    for judged in Judged::both(case, Role::Outbound) {
        // Each value by itself, and all of them as the list that any hop may make of them.
        for (lines, route) in [
            ("x-role: admin\r\n", "role"),
            ("x-role: user\r\nx-role: admin\r\n", "role"),
            ("x-role: admin\r\nX-Role: user\r\n", "role"),
            ("x-role:\r\nx-role: admin\r\n", "role"),
            ("x-role: user\r\nx-role: guest\r\n", "roles"),
            ("x-role: user,guest\r\n", "roles"),
            ("x-role: user\r\n", "any"),
            ("x-role:\r\n", "any"),
            ("x-role: Admin\r\n", "any"),
        ] {
            assert_eq!(judged.with_lines(lines).route, route, "{lines:?}");
        }
        for lines in [
            "Authorization: a\r\nAuthorization: b\r\n",
            "Authorization: a\r\nauthorization: a\r\n",
            "Cookie: a=b\r\nCookie: c=d\r\n",
            "Content-Type: a/b\r\nX: y\r\nContent-Type: c/d\r\n",
        ] {
            match judged.strict() {
                true => judged.refuses(&format!("GET / HTTP/1.1\r\nHost: up.test\r\n{lines}\r\n")),
                false => assert_eq!(judged.with_lines(lines).status, 200, "{lines:?}"),
            }
        }
    }
}

fn row_42_underscores_are_no_hyphens(case: Case) {
    for judged in Judged::both(case, Role::Gateway) {
        for line in ["x_user: root\r\n", "X_Forwarded_For: 10.9.9.9\r\n", "x_role: admin\r\n", "_: \r\n"] {
            match judged.strict() {
                true => judged.refuses(&format!("GET / HTTP/1.1\r\nHost: up.test\r\n{line}\r\n")),
                false => assert_eq!(judged.with_lines(line).route, "any", "{line:?}"),
            }
        }
        assert_eq!(judged.with_lines("x-user: root\r\n").route, "user");
    }
}

/// From outside of the mesh these are nobody's words: no rule goes by them and no upstream sees them.
fn row_42_what_only_the_mesh_may_say(case: Case) {
    const SPOOFED: [(&str, &str, &str); 7] = [
        ("x-forwarded-client-cert", "By=me", "xfcc"),
        ("x-forwarded-proto", "https", "proto"),
        ("x-envoy-internal", "true", "envoy"),
        ("x-envoy-peer-metadata-id", "me", "peer"),
        ("X-Envoy-Retry-On", "5xx", "any"),
        ("X-Envoy-Upstream-Rq-Timeout-Ms", "1", "any"),
        ("x-envoy-attempt-count", "7", "any"),
    ];
    for judged in Judged::both(case, Role::Gateway) {
        for (name, value, _) in SPOOFED {
            let mut client = judged.proxy.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\n{name}: {value}\r\n\r\n"));
            assert_eq!(client.response().status, 200);
            let seen = judged.upstream.take_requests().pop().unwrap();
            assert_eq!(seen.header("x-route"), Some("any"), "{name} chose the route");
            assert!(seen.headers.iter().all(|(n, v)| !n.eq_ignore_ascii_case(name) || v != value), "{}", seen.text());
        }
        let mut client = judged.proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n");
        assert_eq!(client.response().status, 200);
        let seen = judged.upstream.take_requests().pop().unwrap();
        assert_eq!(seen.header("x-forwarded-for"), Some("10.1.1.1, 127.0.0.1"), "our hop is told last");
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    }
    // Inside of the mesh they come from a neighbour, and mean what they say; but peer metadata is the proxies' own.
    for judged in Judged::both(case, Role::Outbound) {
        for (name, value, route) in SPOOFED {
            let route = if name == "x-envoy-peer-metadata-id" { "any" } else { route };
            assert_eq!(judged.with_lines(&format!("{name}: {value}\r\n")).route, route, "{name}");
        }
    }
}

/// An upstream that always says 503 sees what may be repeated three times at most, and all else once.
fn row_56_what_may_not_be_repeated_is_sent_once(case: Case) {
    for profile in PROFILES {
        let upstream = Upstream::serve(|_| Reply::raw("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"));
        let mut config = Config::http(Role::Outbound).upstream(upstream.address());
        config.policy.profile = profile;
        if let Action::Forward(forward) = &mut config.hosts[0].actions[0] {
            forward.retry = Some(Retry { backoff_ms: 1, backoff_max_ms: 10, ..Retry::default() });
        }
        let proxy = ProxyBuilder::new(case, config).start();
        let beyond = (64 << 10) + 1;
        for (method, line, body, tries) in [
            ("GET", "", 0, 3),
            ("PUT", "", 5, 3),
            ("POST", "", 5, 1),
            ("PATCH", "", 5, 1),
            ("POST", "Idempotency-Key: 1\r\n", 5, 3),
            ("PUT", "", beyond, 1),
        ] {
            let mut client = proxy.client();
            let head = format!("{method} / HTTP/1.1\r\nHost: up.test\r\n{line}Content-Length: {body}\r\n\r\n");
            client.send([head.into_bytes(), vec![b'x'; body]].concat());
            assert_eq!(client.response().status, 503);
            let seen = upstream.take_requests();
            assert_eq!(seen.len(), tries, "{profile:?} {method} {line:?} of {body} bytes");
            assert!(seen.iter().all(|request| request.body.len() == body));
        }
    }
}

/// Two proxies on the way, with a mirror at each, and nobody who answers well: what arrives anywhere is less than ten times what was asked. The called
/// side tries nothing again, as manifests make it; a copy is sent once, whatever becomes of it or of what it is a copy of.
fn row_56_one_request_becomes_few(case: Case) {
    let failing = || Upstream::serve(|_| Reply::raw("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"));
    let (app, of_caller, of_called) = (failing(), failing(), failing());
    let hop = |role, to, copies: &Upstream, retry| {
        let mut config = Config::http(role).upstream(to);
        config.cluster("copies", Protocol::Http1, &[copies.address()]);
        let Action::Forward(forward) = &mut config.hosts[0].actions[0] else { panic!("a forward") };
        forward.mirrors = vec![Mirror { cluster: "copies".into(), per_million: 1_000_000, rule: RuleId(40) }];
        forward.retry = retry;
        ProxyBuilder::new(case, config).start()
    };
    let called = hop(Role::Inbound, app.address(), &of_called, None);
    let retry = Retry { backoff_ms: 1, backoff_max_ms: 10, ..Retry::default() };
    let caller = hop(Role::Outbound, called.address(), &of_caller, Some(retry));
    for (method, tries) in [("GET", 3), ("POST", 1)] {
        let mut client = caller.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status, 503, "{method}");
        let counts = || [&app, &of_caller, &of_called].map(Upstream::requests_seen);
        until("all copies", || (counts() == [tries, 1, tries]).then_some(()));
        assert!(counts().iter().sum::<usize>() < 10, "{method}");
        [&app, &of_caller, &of_called].into_iter().for_each(|upstream| drop(upstream.take_requests()));
    }
}

/// What ends at this hop is no upstream's to see, so no rule decides by it.
fn fields_of_this_hop_decide_nothing(case: Case) {
    for judged in Judged::both(case, Role::Outbound) {
        for (lines, route) in [
            ("x-role: admin\r\n", "role"),
            ("Connection: x-role\r\nx-role: admin\r\n", "any"),
            ("x-role: admin\r\nConnection: close, X-Role\r\n", "any"),
            ("x-user: root\r\nx-role: admin\r\nConnection: X-Role\r\n", "user"),
        ] {
            assert_eq!(judged.with_lines(lines).route, route, "{lines:?}");
        }
    }
}
