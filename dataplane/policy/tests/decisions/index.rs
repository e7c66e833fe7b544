//! The index agrees with the plain scan, on anything.

use proptest::prelude::*;
use ringway_config::model::{HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};
use ringway_policy::{Note, Step};

use crate::world::{Request, decided, explain, get, small};

/// Paths of few letters, so that prefixes nest and conditions meet.
fn path() -> impl Strategy<Value = String> {
    "(/[aAb]{0,2}){1,4}"
}

/// As the format wants them: no slash at the end, but for `/`.
fn segments() -> impl Strategy<Value = String> {
    path().prop_map(|p| match p.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    })
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        1 => Just(PathMatch::Any),
        4 => path().prop_map(PathMatch::Exact),
        4 => path().prop_map(PathMatch::Prefix),
        4 => segments().prop_map(PathMatch::Segments),
        1 => path().prop_map(|p| PathMatch::Regex(p + "[ab/]*")),
    ]
}

fn route_match() -> impl Strategy<Value = Match> {
    let header = prop::option::weighted(
        0.2,
        ("[xy]", "[12]", any::<bool>()).prop_map(|(name, value, invert)| HeaderMatch {
            name,
            value: StringMatch::Exact(value),
            invert,
        }),
    );
    let query =
        prop::option::weighted(0.1, "[12]".prop_map(|v| QueryMatch { name: "q".into(), value: StringMatch::Exact(v) }));
    let method = prop::option::weighted(0.1, Just(StringMatch::Exact("POST".into())));
    (path_match(), prop::bool::weighted(0.3), header, query, method).prop_map(
        |(path, ignore_case, header, query, method)| Match {
            path,
            ignore_case,
            headers: header.into_iter().collect(),
            query: query.into_iter().collect(),
            method,
            ..Match::default()
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let headers = prop::collection::vec(("[xy]", "[12]"), 0..3);
    (path(), prop::option::of("[12]"), headers, any::<bool>()).prop_map(|(path, query, headers, post)| {
        let target = query.map_or(path.clone(), |q| format!("{path}?q={q}"));
        let request = headers.iter().fold(get(&target), |request, (name, value)| request.header(name, value));
        if post { Request { method: "POST".into(), ..request } } else { request }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// With notes, every route above the one found is tested plainly: one that matches would have no reason to be passed.
    #[test]
    fn index_equals_scan(
        routes in prop::collection::vec(route_match(), 0..60),
        requests in prop::collection::vec(request(), 1..40),
    ) {
        let view = small().host("h", &[("*", 0)], &routes).view();
        // The same routes one by one, each alone in a host: the scan to compare with.
        let alone: Vec<_> = routes.iter().map(|route| small().host("h", &[("*", 0)], std::slice::from_ref(route)).view()).collect();
        for request in &requests {
            let expected = alone.iter().position(|one| matches!(decided(one, request), Step::Forward(_)));
            let (step, notes) = explain(&view, request);
            let found = if let Step::Forward(plan) = step { Some(plan.route as usize) } else { None };
            prop_assert_eq!(found, expected, "{} {} {:?}", &request.method, &request.path, &request.headers.0);
            prop_assert_eq!(decided(&view, request), step);
            let passed = notes.iter().filter(|n| matches!(n, Note::Passed(_, why) if !why.is_empty())).count();
            prop_assert_eq!(passed, expected.unwrap_or(routes.len()));
        }
    }
}

#[test]
fn ten_thousand_of_each() {
    let mut routes = Vec::new();
    for n in 0..10_000 {
        let path = match n % 3 {
            0 => PathMatch::Exact(format!("/exact/{n}")),
            1 => PathMatch::Prefix(format!("/prefix/{n}/")),
            _ => PathMatch::Segments(format!("/segments/{n}")),
        };
        routes.push(Match { path, ..Match::default() });
    }
    routes.push(Match::default());
    let view = small().host("h", &[("*", 0)], &routes).view();
    for (path, route) in [
        ("/exact/9999", 9999),
        ("/exact/0", 0),
        ("/exact/1", 10_000),
        ("/prefix/4000/x", 4000),
        ("/prefix/4000", 10_000),
        ("/segments/5", 5),
        ("/segments/5/x", 5),
        ("/segments/50", 50),
        ("/segments/51", 10_000),
        ("/", 10_000),
    ] {
        assert_eq!(crate::world::plan(&view, &get(path)).route, route, "{path}");
    }
}

#[test]
fn prefixes_nested_as_deep_as_a_path_is_long() {
    let deep = |n: usize| "/".to_owned() + &"a".repeat(n);
    let routes: Vec<_> =
        (0..3000).rev().map(|n| Match { path: PathMatch::Prefix(deep(n)), ..Match::default() }).collect();
    let view = small().host("h", &[("*", 0)], &routes).view();
    assert_eq!(crate::world::plan(&view, &get(&deep(2999))).route, 0);
    assert_eq!(crate::world::plan(&view, &get(&deep(1000))).route, 1999);
    assert_eq!(crate::world::plan(&view, &get("/b")).route, 2999);
}
