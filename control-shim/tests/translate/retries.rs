//! `retries` of a VirtualService, `retry` of an HTTPRoute, the budgets of a DestinationRule, and what holds where none is written.

use super::manifests::{World, app, good, world};
use ringway_config::model::{Action, Forward, Retry, RetryBudget, RetryOn};

fn with_rule(rule: &str) -> World {
    let service = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http:\n  - ";
    good(
        &(app("reviews", &["v1"])
            + &app("web", &["v1"])
            + service
            + rule
            + "\n    route: [{destination: {host: reviews}}]\n"),
    )
}

fn forward(world: &World) -> Forward {
    match world.actions("default", "reviews").remove(0) {
        Action::Forward(forward) => forward,
        other => panic!("{other:?}"),
    }
}

fn retry(rule: &str) -> (Option<Retry>, Vec<&'static str>) {
    let world = with_rule(rule);
    (forward(&world).retry, world.codes())
}

#[test]
fn istio_s_default_holds_where_nothing_is_written() {
    assert_eq!(retry("timeout: 1s").0, Some(Retry::default()));
    let plain = good(&(app("reviews", &["v1"]) + &app("web", &["v1"])));
    assert_eq!(forward(&plain).retry, Some(Retry::default()));
}

#[test]
fn retries_of_a_virtual_service() {
    let default = Retry::default();
    let written = |on, statuses: &[u16]| Retry {
        attempts: 2,
        on,
        on_repeatable: RetryOn::NONE,
        statuses: statuses.to_vec(),
        ..Retry::default()
    };
    let table: [(&str, Option<Retry>, &[&str]); 14] = [
        ("{attempts: 0}", None, &[]),
        ("{attempts: 5}", Some(Retry { attempts: 5, ..default.clone() }), &[]),
        ("{perTryTimeout: 2s}", None, &["no-attempts"]),
        ("{attempts: 2, perTryTimeout: 1.5s}", Some(Retry { try_timeout_ms: 1500, ..default.clone() }), &[]),
        ("{attempts: 2, backoff: 40ms}", Some(Retry { backoff_ms: 40, backoff_max_ms: 400, ..default.clone() }), &[]),
        (
            "{attempts: 2, retryIgnorePreviousHosts: false}",
            Some(Retry { avoid_previous: false, ..default.clone() }),
            &[],
        ),
        ("{attempts: 2, retryRemoteLocalities: true}", Some(default.clone()), &["not-honoured"]),
        ("{attempts: 2, retryOn: ''}", Some(default), &[]),
        ("{attempts: 2, retryOn: connect-failure}", Some(written(RetryOn::CONNECT_FAILURE, &[])), &[]),
        ("{attempts: 2, retryOn: 'connect-failure,refused-stream'}", Some(written(RetryOn::CONNECT_FAILURE, &[])), &[]),
        (
            "{attempts: 2, retryOn: 'gateway-error, reset'}",
            Some(written(RetryOn::GATEWAY_ERROR | RetryOn::RESET, &[])),
            &["duplicate-writes"],
        ),
        (
            "{attempts: 2, retryOn: '503,418,503,unavailable'}",
            Some(written(RetryOn::STATUSES | RetryOn::UNAVAILABLE, &[418, 503])),
            &["duplicate-writes"],
        ),
        ("{attempts: 2, retryOn: refused-stream}", Some(written(RetryOn::NONE, &[])), &[]),
        ("{attempts: 2, retryOn: retriable-headers}", Some(written(RetryOn::NONE, &[])), &["not-honoured"]),
    ];
    for (retries, expected, codes) in table {
        let (made, said) = retry(&format!("retries: {retries}"));
        assert_eq!(made, expected, "{retries}");
        assert_eq!(said, codes, "{retries}");
    }
}

#[test]
fn a_list_that_can_repeat_a_write_is_obeyed_with_a_warning_at_its_place() {
    let world = with_rule("retries: {attempts: 2, retryOn: 5xx}");
    let warning = world.compiled.diagnostics.iter().chain(&world.loaded.diagnostics).next().expect("a warning");
    assert!(!warning.is_error() && warning.message.contains("POST") && !warning.mend.is_empty(), "{warning}");
    assert!(warning.place.as_ref().is_some_and(|place| place.source.contains("5xx")), "{warning}");
    // Not where only methods match that may be repeated.
    let safe = "match: [{method: {exact: GET}}, {method: {exact: PUT}}]\n    retries: {attempts: 2, retryOn: 5xx}";
    assert_eq!(retry(safe).1, [""; 0]);
    let both = "match: [{method: {exact: GET}}, {uri: {prefix: /}}]\n    retries: {attempts: 2, retryOn: 5xx}";
    assert_eq!(retry(both).1, ["duplicate-writes"]);
}

#[test]
fn retry_of_an_http_route() {
    let route = |rest: &str| {
        let head = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  parentRefs: [{group: '', kind: Service, name: reviews}]\n  rules:\n  - backendRefs: [{name: reviews, port: 80}]\n";
        let world = good(&(app("reviews", &["v1"]) + &app("web", &["v1"]) + head + rest));
        (forward(&world), world.codes())
    };
    let (plain, said) = route("    timeouts: {request: 3s, backendRequest: 1s}\n");
    assert_eq!((plain.timeout_ms, plain.retry, said), (1000, Some(Retry::default()), vec![]));
    let (full, said) = route(
        "    timeouts: {request: 3s, backendRequest: 1s}\n    retry: {attempts: 4, codes: [503, 500], backoff: 100ms}\n",
    );
    let default = Retry::default();
    let expected = Retry {
        attempts: 4,
        on: default.on | RetryOn::STATUSES,
        on_repeatable: default.on_repeatable.without(RetryOn::STATUSES),
        statuses: vec![500, 503],
        try_timeout_ms: 1000,
        backoff_min_ms: 100,
        backoff_ms: 100,
        backoff_max_ms: 1000,
        avoid_previous: true,
    };
    assert_eq!((full.timeout_ms, full.retry, said), (3000, Some(expected), vec!["duplicate-writes"]));
    let (empty, said) = route("    retry: {}\n");
    let on_repeatable = default.on_repeatable.without(RetryOn::STATUSES);
    assert_eq!((empty.retry, said), (Some(Retry { on_repeatable, statuses: vec![], ..default }), vec![]));
    let broken = world(
        &(app("reviews", &["v1"])
            + "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  parentRefs: [{group: '', kind: Service, name: reviews}]\n  rules:\n  - backendRefs: [{name: reviews, port: 80}]\n    retry: {codes: [200]}\n"),
    );
    assert_eq!(broken.codes(), ["wrong-number"]);
}

#[test]
fn budgets_of_a_destination_rule() {
    let budget = |policy: &str| {
        let rule = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews}}\nspec:\n  host: reviews\n  trafficPolicy: {{{policy}}}\n"
        );
        let world = good(&(app("reviews", &["v1"]) + &app("web", &["v1"]) + &rule));
        let view = world.view(&world.node("web-v1"), "reviews");
        let id = view.cluster_named("outbound|80||reviews.default.svc.cluster.local").expect("the cluster");
        (view.cluster(id).settings.retry_budget, world.codes())
    };
    let of = |share, floor| RetryBudget { share, floor };
    for (policy, expected, codes) in [
        ("", of(2_000, 3), [].as_slice()),
        ("connectionPool: {http: {maxRetries: 7}}", of(0, 7), &[]),
        ("connectionPool: {http: {maxRetries: 4294967295}}", of(0, u32::MAX), &[]),
        ("retryBudget: {}", of(2_000, 3), &[]),
        ("retryBudget: {percent: 12.5, minRetryConcurrency: 1}", of(1_250, 1), &[]),
        ("retryBudget: {percent: 50}, connectionPool: {http: {maxRetries: 7}}", of(5_000, 3), &[]),
        ("retryBudget: {percent: 50, budgetInterval: 10s}", of(5_000, 3), &["not-honoured"]),
        (
            "retryBudget: {percent: 50}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]",
            of(5_000, 3),
            &[],
        ),
    ] {
        assert_eq!(budget(policy), (expected, codes.to_vec()), "{policy}");
    }
}

#[test]
fn a_proxy_asks_its_own_app_once() {
    let world = good(&app("reviews", &["v1"]));
    let view = world.view(&world.node("reviews-v1"), "reviews");
    let inbound = view.hosts().iter().filter(|host| host.model().listener.starts_with("inbound"));
    let policies: Vec<_> = inbound
        .flat_map(|host| &host.model().actions)
        .map(|action| match action {
            Action::Forward(forward) => forward.retry.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(policies, [None]);
}
