//! Every matcher: which requests a route takes, and what is said of those it passes.

use ringway_config::model::{HeaderMatch, Match, PathMatch, Place, QueryMatch, StringMatch};
use ringway_policy::{Note, Step, View};

use crate::world::{Request, decided, explain, get, small};

fn path(path: PathMatch) -> Match {
    Match { path, ..Match::default() }
}

fn header(name: &str, value: StringMatch, invert: bool) -> Match {
    Match { headers: vec![HeaderMatch { name: name.into(), value, invert }], ..Match::default() }
}

fn query(name: &str, value: StringMatch) -> Match {
    Match { query: vec![QueryMatch { name: name.into(), value }], ..Match::default() }
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

/// One route; each request with whether it takes it; and the reason given for all it does not.
fn check(matches: Match, reason: &str, requests: &[(Request, bool)]) {
    let view = small().host("h", &[("*", 0)], std::slice::from_ref(&matches)).view();
    for (request, expected) in requests {
        let (step, notes) = explain(&view, request);
        let shown = format!("{matches:?} on {} {} {:?}", request.method, request.path, request.headers.0);
        assert_eq!(matches!(step, Step::Forward(_)), *expected, "{shown}: {step:?}");
        let misses: Vec<_> =
            notes.iter().filter_map(|n| if let Note::Passed(_, why) = n { Some(&**why) } else { None }).collect();
        assert_eq!(misses, if *expected { vec![] } else { vec![reason] }, "{shown}");
    }
}

fn check_paths(matches: Match, requests: &[(&str, bool)]) {
    let requests: Vec<_> = requests.iter().map(|(path, expected)| (get(path), *expected)).collect();
    check(matches, "path", &requests);
}

#[test]
fn path_any() {
    check_paths(path(PathMatch::Any), &[("/", true), ("/x?y", true), ("*", true)]);
}

#[test]
fn path_exact() {
    let rows =
        [("/a/b", true), ("/a/b?q=/c", true), ("/a/b/", false), ("/A/b", false), ("/a", false), ("/a/b%20", false)];
    check_paths(path(PathMatch::Exact("/a/b".into())), &rows);
    let folded = Match { ignore_case: true, ..path(PathMatch::Exact("/a/B".into())) };
    check_paths(folded, &[("/A/b", true), ("/a/B?Q", true), ("/a/bc", false)]);
}

#[test]
fn path_prefix() {
    let rows = [
        ("/a", true),
        ("/ab", true),
        ("/a/b", true),
        ("/a?/x", true),
        ("/", false),
        ("/A", false),
        ("/x/a", false),
        ("*", false),
    ];
    check_paths(path(PathMatch::Prefix("/a".into())), &rows);
    check_paths(path(PathMatch::Prefix("/".into())), &[("/", true), ("/a", true), ("*", false)]);
    let folded = Match { ignore_case: true, ..path(PathMatch::Prefix("/Ab".into())) };
    check_paths(folded, &[("/aB/c", true), ("/a", false)]);
}

#[test]
fn path_segments() {
    let rows = [
        ("/a/b", true),
        ("/a/b/", true),
        ("/a/b/c", true),
        ("/a/b?c", true),
        ("/a/bc", false),
        ("/a", false),
        ("/a/B", false),
    ];
    check_paths(path(PathMatch::Segments("/a/b".into())), &rows);
    check_paths(path(PathMatch::Segments("/".into())), &[("/", true), ("/a/b", true), ("*", false)]);
}

#[test]
fn path_regex() {
    let rows = [("/v1/x", true), ("/v12/x?y", true), ("/v1/x/y", false), ("/p/v1/x", false), ("/va/x", false)];
    check_paths(path(PathMatch::Regex(r"/v\d+/[^/]+".into())), &rows);
    check_paths(path(PathMatch::Regex("/a|/ab".into())), &[("/a", true), ("/ab", true), ("/abc", false)]);
}

#[test]
fn method() {
    let with = |method: &str| Request { method: method.into(), ..get("/") };
    let exactly = Match { method: Some(exact("POST")), ..Match::default() };
    check(exactly, "method", &[(with("POST"), true), (with("GET"), false), (with("post"), false)]);
    let pattern = Match { method: Some(StringMatch::Regex("P.*".into())), ..Match::default() };
    check(pattern, "method", &[(with("PUT"), true), (with("OPTIONS"), false)]);
}

#[test]
fn scheme() {
    let with = |scheme| Request { scheme, ..get("/") };
    let matches = Match { scheme: Some(exact("https")), ..Match::default() };
    check(matches, "scheme", &[(with("https"), true), (with("http"), false)]);
}

#[test]
fn authority() {
    let with = |authority: &str| get("/").authority(authority);
    let of = |test| Match { authority: Some(test), ..Match::default() };
    let rows =
        [("a.org", true), ("A.Org.", true), ("a.org:80", true), ("a.org:81", false), ("b.org", false), ("", false)];
    for value in ["a.org", "A.ORG", "a.org:80"] {
        check(of(exact(value)), "authority", &rows.map(|(authority, expected)| (with(authority), expected)));
    }
    check(of(exact("a.org:81")), "authority", &[(with("a.org:81"), true), (with("a.org"), false)]);
    check(of(StringMatch::Prefix("A.".into())), "authority", &[(with("a.b"), true), (with("b.a"), false)]);
    check(of(StringMatch::Suffix(".Org".into())), "authority", &[(with("x.org"), true), (with("x.org:1"), false)]);
    check(of(StringMatch::Regex(r".*\.org".into())), "authority", &[(with("X.ORG"), true), (with("x.com"), false)]);
}

#[test]
fn header_value() {
    let reason = "header x-user";
    let with = |values: &[&str]| values.iter().fold(get("/"), |request, value| request.header("x-user", value));
    let of = |test| header("x-user", test, false);
    let rows = [
        (with(&["jason"]), true),
        (with(&["Jason"]), false),
        (with(&["jasons"]), false),
        (with(&[""]), false),
        (get("/"), false),
    ];
    check(of(exact("jason")), reason, &rows);
    check(of(exact("")), reason, &[(with(&[""]), true), (get("/"), false)]);
    check(of(StringMatch::Prefix("ja".into())), reason, &[(with(&["jason"]), true), (with(&["aja"]), false)]);
    check(of(StringMatch::Suffix("on".into())), reason, &[(with(&["jason"]), true), (with(&["ona"]), false)]);
    check(of(StringMatch::Regex("j.*n".into())), reason, &[(with(&["jason"]), true), (with(&["jasons"]), false)]);
    check(of(StringMatch::Present), reason, &[(with(&[""]), true), (with(&["x", "y"]), true), (get("/"), false)]);
}

#[test]
fn header_of_several_lines() {
    let reason = "header x-role";
    let with = |values: &[&str]| values.iter().fold(get("/"), |request, value| request.header("x-role", value));
    let of = |test| header("x-role", test, false);
    let rows = [(with(&["user", "admin"]), true), (with(&["admin", "user"]), true), (with(&["user,admin"]), false)];
    check(of(exact("admin")), reason, &rows);
    check(
        of(exact("user,admin")),
        reason,
        &[(with(&["user", "admin"]), true), (with(&["admin", "user"]), false), (with(&["user", "x", "admin"]), false)],
    );
    check(of(exact(",x")), reason, &[(with(&["", "x"]), true), (with(&["x", ""]), false)]);
    check(
        of(StringMatch::Prefix("user,a".into())),
        reason,
        &[(with(&["user", "admin"]), true), (with(&["user", "x"]), false)],
    );
    check(of(StringMatch::Suffix("r,admin".into())), reason, &[(with(&["user", "admin"]), true)]);
    check(
        of(StringMatch::Regex("u[^,]*,[^,]*".into())),
        reason,
        &[(with(&["u1", "x"]), true), (with(&["u1", "x", "y"]), false)],
    );
}

#[test]
fn header_inverted() {
    let reason = "header x-user";
    let not = |test| header("x-user", test, true);
    let jason = || get("/").header("x-user", "jason");
    check(
        not(exact("jason")),
        reason,
        &[
            (get("/"), true),
            (get("/").header("x-user", "x"), true),
            (jason(), false),
            (jason().header("x-user", "x"), false),
        ],
    );
    check(not(StringMatch::Present), reason, &[(get("/"), true), (get("/").header("x-user", ""), false)]);
}

#[test]
fn query_value() {
    let reason = "query v";
    let rows = |rows: &[(&str, bool)]| rows.iter().map(|(path, expected)| (get(path), *expected)).collect::<Vec<_>>();
    let paths = [
        ("/?v=2", true),
        ("/?a=b&v=2&v=3", true),
        ("/?v=%32", true),
        ("/?v=3&v=2", false),
        ("/?v=", false),
        ("/?v", false),
        ("/?vv=2", false),
        ("/?V=2", false),
        ("/?a?v=2", false),
        ("/v=2", false),
        ("/", false),
    ];
    check(query("v", exact("2")), reason, &rows(&paths));
    check(
        query("v", StringMatch::Present),
        reason,
        &rows(&[("/?v", true), ("/?v=", true), ("/?x=v", false), ("/?", false)]),
    );
    check(query("v", exact("")), reason, &rows(&[("/?v", true), ("/?v=", true), ("/?v=1", false), ("/", false)]));
    check(query("v", exact("a b+c%zz%")), reason, &rows(&[("/?v=a%20b+c%zz%", true), ("/?v=a+b+c%zz%", false)]));
    check(query("v", StringMatch::Regex("[0-9]+".into())), reason, &rows(&[("/?v=12", true), ("/?v=1x", false)]));
    check(query("v", StringMatch::Prefix("é".into())), reason, &rows(&[("/?v=%C3%A9t%c3%a9", true), ("/?v=e", false)]));
}

#[test]
fn all_conditions_must_hold_and_the_first_miss_is_told() {
    let matches = Match {
        path: PathMatch::Prefix("/api".into()),
        method: Some(exact("GET")),
        headers: vec![
            HeaderMatch { name: "x".into(), value: exact("1"), invert: false },
            HeaderMatch { name: "y".into(), value: StringMatch::Present, invert: true },
        ],
        query: vec![QueryMatch { name: "q".into(), value: StringMatch::Present }],
        ..Match::default()
    };
    let good = || get("/api?q").header("x", "1");
    check(matches.clone(), "", &[(good(), true)]);
    check(matches.clone(), "path", &[(Request { path: "/ap?q".into(), ..good() }, false)]);
    check(matches.clone(), "method", &[(Request { method: "PUT".into(), ..good() }, false)]);
    check(matches.clone(), "header x", &[(get("/api?q"), false)]);
    check(matches.clone(), "header y", &[(good().header("y", ""), false)]);
    check(matches, "query q", &[(Request { path: "/api".into(), ..good() }, false)]);
}

#[test]
fn the_first_match_in_list_order_wins() {
    let prefix = |p: &str| path(PathMatch::Prefix(p.into()));
    // Not sorted by specificity: that is the shim's to do where an API says so.
    let view =
        small().host("h", &[("*", 0)], &[prefix("/a/b"), prefix("/a"), prefix("/a/b/c"), path(PathMatch::Any)]).view();
    for (path, rule) in [("/a/b/c", 1), ("/a/x", 2), ("/x", 4)] {
        let (step, notes) = explain(&view, &get(path));
        let Step::Forward(plan) = step else { panic!("{step:?}") };
        assert_eq!((plan.rule.0, plan.route), (rule, rule - 1), "{path}");
        assert_eq!(view.route_name(&plan), format!("r{rule}"));
        assert_eq!(notes.iter().filter(|n| matches!(n, Note::Passed(..))).count() as u32, rule - 1);
    }
}

/// What a route asks of the proxy's own workload is decided when the route is compiled, also when the routes are those of the view before.
#[test]
fn source() {
    let labels = |list: &[(&str, &str)]| -> Vec<_> {
        list.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    };
    let mut world =
        small().host("h", &[("*", 0)], &[Match { source: labels(&[("app", "web"), ("v", "2")]), ..Match::default() }]);
    let mut before: Option<View> = None;
    for (own, expected) in [
        (None, false),
        (Some(labels(&[("app", "web"), ("v", "2")])), true),
        (Some(labels(&[("app", "web")])), false),
        (Some(labels(&[("app", "web"), ("v", "1")])), false),
        (Some(labels(&[("app", "web"), ("more", "1"), ("v", "2")])), true),
    ] {
        world.listeners.place = own.map(|labels| Place { labels, ..Place::default() });
        let view = View::build(&world.snapshot(), before.as_ref()).unwrap();
        assert_eq!(matches!(decided(&view, &get("/")), Step::Forward(_)), expected, "{:?}", world.listeners.place);
        let (_, notes) = explain(&view, &get("/"));
        assert_eq!(notes.iter().any(|n| matches!(n, Note::Passed(_, why) if why == "source")), !expected);
        before = Some(view);
    }
}
