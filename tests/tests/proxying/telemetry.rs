//! Istio's metrics with Istio's labels, peer metadata between sidecars, access logs.

use std::time::Instant;

use ringway_config::model::{
    AccessLog, Action, Backend, Fault, Forward, PathMatch, Protocol, Redirect, Respond, Role, RuleId,
};
use ringway_tests::harness::config::{forward, route};
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

matrix!(
    requests_are_counted_with_all_labels,
    two_sidecars_know_each_other,
    peer_metadata_stays_in_the_mesh,
    access_logs_tell_what_happened,
    lines_of_requests_in_a_row_are_written_together,
    lines_of_our_own_answers_tell_as_much,
    a_line_has_the_format_that_is_asked_for,
    answers_of_our_own_name_their_rule_inside_the_mesh,
    rules_of_the_mesh_stay_inside,
    refused_requests_are_counted
);

/// Istio's standard labels of `istio_requests_total`.
const LABELS: [&str; 22] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_canonical_service",
    "source_canonical_revision",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
];

fn requests_are_counted_with_all_labels(case: Case) {
    let upstream =
        Upstream::serve(|r| Reply::raw(format!("HTTP/1.1 {} x\r\nContent-Length: 3\r\n\r\nabc", &r.target[1..])));
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for status in [200, 200, 200, 404, 503] {
        assert_eq!(client.get("up.test", &format!("/{status}")).status, status);
    }
    let count = |code| {
        let labels = [
            ("reporter", "source"),
            ("source_workload", "caller"),
            ("source_workload_namespace", "tests"),
            ("destination_workload", "up-0"),
            ("destination_service", "up.tests.svc.cluster.local"),
            ("request_protocol", "http"),
            ("response_code", code),
        ];
        proxy.metric("istio_requests_total", &labels)
    };
    assert_eq!((count("200"), count("404"), count("503")), (3.0, 1.0, 1.0));
    let page = proxy.admin("/stats/prometheus").text();
    let line = page.lines().find(|l| l.starts_with("istio_requests_total{")).expect("the counter");
    for label in LABELS.iter().chain(&["response_flags", "connection_security_policy", "grpc_response_status"]) {
        assert!(line.contains(&format!("{label}=\"")), "{label} is missing: {line}");
    }
    for histogram in ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"] {
        assert_eq!(proxy.metric(&format!("{histogram}_count"), &[]), 5.0, "{histogram}");
    }
    assert!(
        page.lines().all(|l| l.starts_with('#')
            || l.is_empty()
            || l.rsplit_once(' ').is_some_and(|(_, v)| v.parse::<f64>().is_ok())),
        "{page}"
    );
}

fn two_sidecars_know_each_other(case: Case) {
    let upstream = Upstream::echo();
    let mut inbound = Config::http(Role::Inbound).upstream(upstream.address());
    inbound.listeners.node.name = "server".into();
    let inbound = ProxyBuilder::new(case, inbound).start();
    let mut outbound = Config::http(Role::Outbound).upstream(inbound.address());
    outbound.clusters[0].mesh_internal = true;
    let outbound = ProxyBuilder::new(case, outbound).start();
    assert_eq!(outbound.get("/").status, 200);
    let from = [("reporter", "destination"), ("source_workload", "caller"), ("destination_workload", "server")];
    assert_eq!(inbound.metric("istio_requests_total", &from), 1.0, "{}", inbound.admin("/stats/prometheus").text());
    let seen = upstream.requests().remove(0);
    assert!(seen.headers.iter().all(|(n, _)| !n.starts_with("x-envoy-peer-metadata")), "{}", seen.text());
    assert!(seen.header("x-request-id").is_some(), "{}", seen.text());
}

fn peer_metadata_stays_in_the_mesh(case: Case) {
    let upstream = Upstream::serve(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nx-envoy-peer-metadata: x\r\nx-envoy-peer-metadata-id: y\r\nContent-Length: 0\r\n\r\n",
        )
    });
    for role in [Role::Outbound, Role::Inbound, Role::Gateway] {
        let proxy = Proxy::to(case, role, upstream.address());
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\nx-envoy-peer-metadata: forged\r\nX-Envoy-Peer-Metadata-Id: forged\r\n\r\n");
        let response = client.response();
        let seen = upstream.take_requests().remove(0);
        let leaks = |headers: &[(String, String)]| {
            headers.iter().any(|(n, _)| n.to_ascii_lowercase().starts_with("x-envoy-peer-metadata"))
        };
        assert!(!leaks(&seen.headers), "{role:?}: {}", seen.text());
        assert!(role == Role::Inbound || !leaks(&response.headers), "{role:?}: {response:?}");
    }
}

/// A line wakes housekeeping, which wakes the thread that writes and the worker that has its record back: once in a while, not once a request.
fn lines_of_requests_in_a_row_are_written_together(case: Case) {
    const REQUESTS: u64 = 300;
    let upstream = Upstream::serve(|_| Reply::ok("x"));
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.policy.access_log = AccessLog::Text;
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    assert_eq!(client.get("up.test", "/first").status, 200);
    let (sleeps, begun) = (proxy.program.sleeps(), Instant::now());
    for _ in 0..REQUESTS {
        assert_eq!(client.get("up.test", "/more").status, 200);
    }
    // The worker sleeps until a request is there, and until its answer is. Lines may be written every 10 ms.
    let (slept, writes) = (proxy.program.sleeps() - sleeps, begun.elapsed().as_millis() as u64 / 10 + 1);
    assert!(slept <= 3 * REQUESTS + 5 * writes, "{slept} sleeps for {REQUESTS} requests and {writes} writes");
    let lines = || proxy.program.stdout().lines().filter(|line| line.contains("/more")).count() as u64;
    until("all lines", || (lines() == REQUESTS).then_some(()));
}

fn access_logs_tell_what_happened(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.policy.access_log = AccessLog::Json;
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    client.send("POST /x?y=z HTTP/1.1\r\nHost: up.test\r\nUser-Agent: tester/1\r\nX-Request-Id: abc-1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status, 200);
    let line =
        until("the log line", || proxy.program.stdout().lines().find(|l| l.contains("/x?y=z")).map(str::to_owned));
    let log: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (key, value) in [
        ("method", "POST"),
        ("path", "/x?y=z"),
        ("protocol", "HTTP/1.1"),
        ("authority", "up.test"),
        ("user_agent", "tester/1"),
        ("request_id", "abc-1"),
        ("upstream_cluster", "up"),
    ] {
        assert_eq!(log[key], value, "{key} in {line}");
    }
    assert_eq!(
        (&log["response_code"], &log["bytes_received"]),
        (&serde_json::json!(200), &serde_json::json!(5)),
        "{line}"
    );
    assert_eq!(log["upstream_host"], upstream.address().to_string(), "{line}");
    assert_eq!(log["rule"], "00000005", "{line}");
}

fn a_line_has_the_format_that_is_asked_for(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    config.policy.access_log = AccessLog::Text;
    config.policy.access_log_format =
        "own %REQ(:METHOD)% %REQ(:PATH)% %REQ(user-agent):4% %RESPONSE_CODE% %BYTES_SENT% %UPSTREAM_HOST% %REQUESTED_SERVER_NAME% 100%% %RINGWAY_RULE%".into();
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    client.send("GET /a?b HTTP/1.1\r\nHost: up.test\r\nUser-Agent: tester\r\n\r\n");
    let body = client.response().body.len();
    let line =
        until("the log line", || proxy.program.stdout().lines().find(|l| l.starts_with("own")).map(str::to_owned));
    assert_eq!(line, format!("own GET /a?b test 200 {body} {} - 100% 00000005", upstream.address()));
}

/// The route, the cluster that was drawn if there is one, and an id where the client sent none.
fn lines_of_our_own_answers_tell_as_much(case: Case) {
    let upstream = Upstream::echo();
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    config.cluster("empty", Protocol::Http1, &[]);
    config.policy.access_log = AccessLog::Json;
    let fault = Fault { rule: RuleId(9), abort_status: 418, abort_per_million: 1_000_000, ..Fault::default() };
    let missing = Backend { weight: 1, missing_status: 503, ..Backend::default() };
    let actions = [
        ("empty", Action::Forward(forward(&[("empty", 1)])), Some("empty")),
        ("missing", Action::Forward(Forward { backends: vec![missing], ..Forward::default() }), None),
        ("fault", Action::Forward(Forward { fault: Some(fault), ..forward(&[("up", 1)]) }), Some("up")),
        ("respond", Action::Respond(Respond { status: 200, ..Respond::default() }), None),
        ("redirect", Action::Redirect(Redirect { status: 302, ..Redirect::default() }), None),
    ];
    let host = &mut config.hosts[0];
    for (name, action, _) in &actions {
        let number = host.actions.len() as u32;
        host.actions.push(action.clone());
        host.routes.insert(0, route(name, PathMatch::Exact(format!("/{name}")), number));
    }
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    for (name, _, cluster) in &actions {
        let path = format!("/{name}");
        client.get("up.test", &path);
        let line =
            until("the log line", || proxy.program.stdout().lines().find(|l| l.contains(&path)).map(str::to_owned));
        let log: serde_json::Value = serde_json::from_str(&line).expect(&line);
        assert_eq!((log["route_name"].as_str(), log["upstream_cluster"].as_str()), (Some(*name), *cluster), "{line}");
        assert_eq!(log["request_id"].as_str().map(str::len), Some(36), "{line}");
    }
}

fn answers_of_our_own_name_their_rule_inside_the_mesh(case: Case) {
    for (role, rule) in [(Role::Outbound, Some("00000005")), (Role::Inbound, Some("00000005")), (Role::Gateway, None)] {
        let mut config = Config::http(role);
        config.cluster("up", Protocol::Http1, &[]);
        config.host("any", "*", forward(&[("up", 1)]));
        config.policy.access_log = AccessLog::Text;
        let proxy = ProxyBuilder::new(case, config).start();
        let response = proxy.client().get("up.test", "/nobody");
        assert_eq!((response.status, response.header("x-ringway-rule")), (503, rule), "{role:?}");
        let line =
            until("the log line", || proxy.program.stdout().lines().find(|l| l.contains("/nobody")).map(str::to_owned));
        assert!(line.ends_with(" 00000005"), "{line}");
    }
}

fn rules_of_the_mesh_stay_inside(case: Case) {
    let answer = b"HTTP/1.1 404 Not Found\r\nx-ringway-rule: 00000007\r\ncontent-length: 0\r\n\r\n";
    for (role, seen) in [(Role::Outbound, Some("00000007")), (Role::Gateway, None)] {
        let upstream = Upstream::serve(move |_| Reply::raw(answer));
        let proxy = Proxy::to(case, role, upstream.address());
        assert_eq!(proxy.client().get("up.test", "/").header("x-ringway-rule"), seen, "{role:?}");
    }
}

fn refused_requests_are_counted(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
        assert_eq!(client.response().status, 400);
    }
    assert_eq!(proxy.metric("ringway_protocol_errors_total", &[]), 3.0);
}
