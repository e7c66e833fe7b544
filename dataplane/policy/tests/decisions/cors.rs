//! Cross-origin resource sharing: what Envoy's filter says, line by line.

use ringway_config::model::*;
use ringway_policy::{LocalKind, Step};

use crate::world::{Request, bare_host, decided, get, plan, route, small};

fn view(cors: Cors) -> ringway_policy::View {
    let mut world = small();
    let backends = vec![Backend { cluster: "c".into(), weight: 1, ..Backend::default() }];
    let actions = vec![Action::Forward(Forward { backends, cors: Some(cors), ..Forward::default() })];
    let routes = vec![route(5, Match::default(), 0)];
    world.hosts.push(Host { routes, actions, ..bare_host("h", &[("*", 0)]) });
    world.view()
}

fn cors() -> Cors {
    Cors {
        origins: vec![StringMatch::Exact("https://a".into()), StringMatch::Regex("https://.*[.]b".into())],
        methods: "GET,PUT".into(),
        headers: "x-a,x-b".into(),
        expose: "x-c".into(),
        max_age_s: Some(600),
        credentials: true,
        forward_unmatched: true,
    }
}

fn from(origin: &str) -> Request {
    get("/").header("origin", origin)
}

fn preflight(origin: &str) -> Request {
    let request = from(origin).header("access-control-request-method", "PATCH");
    Request { method: "OPTIONS".into(), ..request.header("access-control-request-headers", "x-z") }
}

/// The lines of the answer, or none if the request goes to its destination.
fn answer(cors: Cors, request: &Request) -> Option<String> {
    let view = view(cors);
    match decided(&view, request) {
        Step::Forward(_) => None,
        Step::Reply(local) if matches!(local.kind, LocalKind::Preflight { .. }) => {
            let mut lines = Vec::new();
            view.preflight_lines(&local, &request.facts(), &mut lines);
            assert_eq!((local.status, local.details(), local.body()), (200, "cors_response", ""));
            Some(String::from_utf8(lines).unwrap().replace("\r\n", "; ").replace("access-control-", ""))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn preflights() {
    let whole = |origin| {
        format!(
            "allow-origin: {origin}; allow-credentials: true; expose-headers: x-c; allow-methods: GET,PUT; allow-headers: x-a,x-b; max-age: 600; "
        )
    };
    let ignore = || Cors { forward_unmatched: false, ..cors() };
    let open = Cors {
        origins: vec![StringMatch::Exact("*".into())],
        methods: "*".into(),
        headers: "*".into(),
        ..Cors::default()
    };
    for (cors, request, lines) in [
        (cors(), preflight("https://a"), Some(whole("https://a"))),
        (cors(), preflight("https://x.b"), Some(whole("https://x.b"))),
        (cors(), preflight("https://c"), None),
        (cors(), preflight(""), None),
        (ignore(), preflight(""), None),
        (
            ignore(),
            preflight("https://c"),
            Some("allow-credentials: true; allow-methods: GET,PUT; allow-headers: x-a,x-b; max-age: 600; ".into()),
        ),
        (
            open,
            preflight("https://any"),
            Some("allow-origin: https://any; allow-methods: PATCH; allow-headers: x-z; ".into()),
        ),
        // No preflights: no method is asked for, or the request is no OPTIONS.
        (cors(), Request { method: "OPTIONS".into(), ..from("https://a") }, None),
        (cors(), Request { method: "GET".into(), ..preflight("https://a") }, None),
    ] {
        assert_eq!(answer(cors, &request), lines, "{request:?}");
    }
}

#[test]
fn responses() {
    let lines = |cors: Cors, request: &Request| {
        let view = view(cors);
        let plan = plan(&view, request);
        let mut lines = Vec::new();
        view.cors_lines(plan.host, plan.action, &request.facts(), &mut lines);
        String::from_utf8(lines).unwrap().replace("\r\n", "; ").replace("access-control-", "")
    };
    let bare = Cors { expose: String::new(), credentials: false, ..cors() };
    assert_eq!(
        lines(cors(), &from("https://a")),
        "allow-origin: https://a; allow-credentials: true; expose-headers: x-c; "
    );
    assert_eq!(lines(bare.clone(), &from("https://a")), "allow-origin: https://a; ");
    assert_eq!(lines(bare.clone(), &from("https://c")), "");
    assert_eq!(lines(bare, &get("/")), "");
}
