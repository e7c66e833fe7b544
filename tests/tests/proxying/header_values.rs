//! Header values with variables, and edits on answers of the proxy's own.

use ringway_config::model::{
    AccessLog, Action, Backend, Fault, HeaderEdits, HeaderValue, Part, Respond, Role, Route, RuleId, Variable, What,
};
use ringway_tests::harness::{Case, Config, ProxyBuilder, Reply, Response, Upstream};
use ringway_tests::matrix;

matrix!(
    values_are_made_up_for_each_request,
    values_of_responses_read_the_request,
    a_value_cannot_forge_a_head,
    what_the_mesh_says_can_be_edited,
    own_answers_are_edited,
);

fn format(parts: &[Part]) -> HeaderValue {
    HeaderValue::Format(parts.to_vec())
}

fn is(what: What) -> Part {
    Part::Variable(Variable { what, ..Variable::default() })
}

fn req(header: &str) -> Part {
    Part::Variable(Variable { what: What::Req, header: header.into(), ..Variable::default() })
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn set(list: &[(&str, &[Part])]) -> HeaderEdits {
    let set = list.iter().map(|(name, parts)| ((*name).into(), format(parts))).collect();
    HeaderEdits { set, ..HeaderEdits::default() }
}

fn config(role: Role, upstream: &Upstream, request: HeaderEdits, response: HeaderEdits) -> Config {
    let mut config = Config::http(role).upstream(upstream.address());
    config.hosts[0].routes[0].name = "canary".into();
    let Action::Forward(forward) = &mut config.hosts[0].actions[0] else { panic!("a forward") };
    (forward.request, forward.response) = (request, response);
    config
}

fn values_are_made_up_for_each_request(case: Case) {
    let upstream = Upstream::echo();
    let request = set(&[
        ("x-user", &[text("<"), req("x-name"), text(">")]),
        ("x-path", &[req(":path")]),
        ("x-host", &[req(":authority")]),
        ("x-protocol", &[is(What::Protocol)]),
        ("x-route", &[is(What::RouteName)]),
        ("x-client", &[is(What::DownstreamRemoteAddress)]),
        ("x-here", &[is(What::DownstreamLocalAddress)]),
        ("x-id", &[req("x-request-id")]),
        ("x-kept", &[req("x-none")]),
        ("x-for", &[req("x-forwarded-for")]),
        ("x-pod", &[is(What::Hostname), text("!")]),
        ("x-early", &[is(What::ResponseCode)]),
    ]);
    let proxy = ProxyBuilder::new(case, config(Role::Gateway, &upstream, request, HeaderEdits::default())).start();
    let mut client = proxy.client();
    let (here, there) = (client.tcp().local_addr().unwrap(), client.tcp().peer_addr().unwrap());
    for name in ["ann", "bob"] {
        client.send(format!(
            "GET /a%20b?c HTTP/1.1\r\nHost: up.test\r\nx-name: {name}\r\nx-kept: old\r\nx-user: me\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        ));
        assert_eq!(client.response().status, 200);
        let seen = upstream.take_requests().remove(0);
        let id = seen.header("x-request-id").unwrap().to_string();
        for (header, value) in [
            ("x-user", Some(format!("<{name}>"))),
            ("x-path", Some("/a%20b?c".into())),
            ("x-host", Some("up.test".into())),
            ("x-protocol", Some("HTTP/1.1".into())),
            ("x-route", Some("canary".into())),
            ("x-client", Some(here.to_string())),
            ("x-here", Some(there.to_string())),
            ("x-id", Some(id)),
            ("x-kept", Some("old".into())),
            ("x-for", Some("192.0.2.1, 127.0.0.1".into())),
            ("x-early", None),
        ] {
            assert_eq!(seen.header(header).map(str::to_string), value, "{header} in {seen:?}");
        }
        assert!(seen.header("x-pod").is_some_and(|pod| pod.len() > 1), "{seen:?}");
    }
}

fn values_of_responses_read_the_request(case: Case) {
    const REPLY: &str = "HTTP/1.1 201 Created\r\nserver: up\r\nx-kept: up\r\nContent-Length: 2\r\n\r\nhi";
    let upstream = Upstream::serve(|_| Reply::raw(REPLY));
    let resp =
        |header: &str| Part::Variable(Variable { what: What::Resp, header: header.into(), ..Variable::default() });
    let response = set(&[
        ("x-asked", &[req("x-name"), text(" "), req(":path")]),
        ("x-request-id", &[req("x-request-id")]),
        ("x-code", &[is(What::ResponseCode)]),
        ("x-by", &[is(What::UpstreamRemoteAddress)]),
        ("x-server", &[resp("server")]),
        ("x-flags", &[is(What::ResponseFlags)]),
        ("x-kept", &[resp("x-none")]),
    ]);
    let config = config(Role::Outbound, &upstream, HeaderEdits::default(), response);
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    let request = |name: &str| format!("GET /{name}?q HTTP/1.1\r\nHost: up.test\r\nx-name: {name}\r\n\r\n");
    // Pipelined: each answer reads its own request.
    client.send(request("ann") + &request("bob"));
    for name in ["ann", "bob"] {
        let response = client.response();
        let seen = upstream.requests();
        let id = seen.iter().find(|one| one.target.contains(name)).and_then(|one| one.header("x-request-id"));
        for (header, value) in [
            ("x-asked", format!("{name} /{name}?q")),
            ("x-request-id", id.unwrap().into()),
            ("x-code", "201".into()),
            ("x-by", upstream.address().to_string()),
            ("x-server", "up".into()),
            ("x-flags", "-".into()),
            ("x-kept", "up".into()),
        ] {
            assert_eq!(response.header(header), Some(value.as_str()), "{header} in {response:?}");
        }
    }
}

/// Control characters never pass the parser; what does, passes through a value as it is.
fn a_value_cannot_forge_a_head(case: Case) {
    let upstream = Upstream::echo();
    let request = set(&[("x-copy", &[req("x-name")])]);
    let config = config(Role::Gateway, &upstream, request.clone(), request);
    let proxy = ProxyBuilder::new(case, config).start();
    for bytes in ["a\rb", "a\n b", "a\0b", "a\r\n\tfolded"] {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\nx-name: {bytes}\r\n\r\n"));
        assert_eq!(client.response().status, 400, "{bytes:?}");
    }
    assert_eq!(upstream.requests_seen(), 0);
    let mut client = proxy.client();
    let long = "x".repeat(20_000);
    for value in ["%0d%0ax: y", "caf\u{e9}", "a: b, c", &long] {
        client.send(format!("GET / HTTP/1.1\r\nHost: up.test\r\nx-name: {value}\r\n\r\n"));
        let response = client.response();
        assert_eq!(upstream.take_requests().remove(0).header("x-copy"), Some(value));
        assert_eq!((response.status, response.header("x-copy")), (200, Some(value)));
    }
}

fn what_the_mesh_says_can_be_edited(case: Case) {
    let upstream = Upstream::echo();
    let mut request = set(&[("x-forwarded-proto", &[text("https")]), ("X-Request-Id", &[text("mine")])]);
    request.remove = vec!["x-forwarded-for".into()];
    let config = config(Role::Gateway, &upstream, request, HeaderEdits::default());
    let proxy = ProxyBuilder::new(case, config).start();
    assert_eq!(proxy.client().get("up.test", "/").status, 200);
    let seen = upstream.take_requests().remove(0);
    let lines = |wanted: &str| {
        let named = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(lines("x-forwarded-proto"), ["https"]);
    assert_eq!(lines("x-request-id"), ["mine"]);
    assert_eq!(lines("x-forwarded-for"), [""; 0]);
}

/// Missing destinations, endpoints that are not there or refuse, faults, fixed answers: the route's and the destination's edits are done on all of
/// them. Nobody edits what no route decided.
fn own_answers_are_edited(case: Case) {
    let upstream = Upstream::echo();
    let edits = set(&[("x-rule", &[text("rule "), req("x-name")]), ("x-why", &[is(What::ResponseFlags)])]);
    let mut config = config(Role::Gateway, &upstream, HeaderEdits::default(), edits.clone());
    config.policy.access_log = AccessLog::Json;
    config.hosts[0].domains[0].pattern = "up.test".into();
    let Action::Forward(forward) = config.hosts[0].actions[0].clone() else { panic!("a forward") };
    let inner = set(&[("x-destination", &[text("to "), is(What::RouteName)])]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.cluster("refuses", ringway_config::model::Protocol::Http1, &[free]);
    config.cluster("empty", ringway_config::model::Protocol::Http1, &[]);
    let to = |cluster: &str| Backend {
        cluster: cluster.into(),
        weight: 1,
        missing_status: 503,
        response: inner.clone(),
        ..Backend::default()
    };
    let forwards = [("missing", to("")), ("empty", to("empty")), ("refuses", to("refuses"))];
    let mut actions: Vec<(&str, Action)> = Vec::new();
    for (name, backend) in forwards {
        actions.push((
            name,
            Action::Forward(ringway_config::model::Forward { backends: vec![backend], retry: None, ..forward.clone() }),
        ));
    }
    let fault = Fault { rule: RuleId(9), abort_status: 418, abort_per_million: 1_000_000, ..Fault::default() };
    let faulty = ringway_config::model::Forward { backends: vec![to("refuses")], fault: Some(fault), ..forward };
    actions.push(("fault", Action::Forward(faulty)));
    let respond = Respond { status: 200, body: "hi".into(), response: edits, ..Respond::default() };
    actions.push(("respond", Action::Respond(respond)));
    for (name, action) in actions {
        let host = &mut config.hosts[0];
        let matches = ringway_config::model::Match {
            path: ringway_config::model::PathMatch::Exact(format!("/{name}")),
            ..Default::default()
        };
        let action_at = host.actions.len() as u32;
        host.routes.insert(0, Route { rule: RuleId(50), name: name.into(), matches, action: action_at });
        host.actions.push(action);
    }
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    let mut ask = |host: &str, path: &str| -> Response {
        client.send(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nx-name: ann\r\n\r\n"));
        client.response()
    };
    for (path, status, why, destination) in [
        ("missing", 503, "NC", Some("to missing")),
        ("empty", 503, "UH", Some("to empty")),
        ("refuses", 503, "UF", Some("to refuses")),
        ("fault", 418, "FI", Some("to fault")),
        ("respond", 200, "-", None),
    ] {
        let response = ask("up.test", path);
        assert_eq!(response.status, status, "{path}");
        assert_eq!(
            (response.header("x-rule"), response.header("x-why"), response.header("x-destination")),
            (Some("rule ann"), Some(why), destination),
            "{path}: {response:?}"
        );
    }
    let response = ask("other.test", "");
    assert_eq!((response.status, response.header("x-rule"), response.header("x-why")), (404, None, None));
}
