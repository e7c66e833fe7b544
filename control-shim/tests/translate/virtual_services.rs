//! VirtualService and DestinationRule.

use super::manifests::{Answer, Request, Text, app, app_in, good, to, world};
use ringway_config::model::{Action, Balance, Model, OutlierDetection, PathRewrite};

const RULE: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {connectTimeout: 2s}, http: {maxRequestsPerConnection: 3}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
";

fn reviews(spec: &str) -> String {
    let service = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n";
    app("reviews", &["v1", "v2"]) + &app("web", &["v1"]) + RULE + service + spec
}

const V1: &str = "outbound|80|v1|reviews.default.svc.cluster.local";
const V2: &str = "outbound|80|v2|reviews.default.svc.cluster.local";

#[test]
fn weights_split_as_written() {
    let world = good(&reviews(
        "  http:\n  - route:\n    - {destination: {host: reviews, subset: v1}, weight: 90}\n    - {destination: {host: reviews, subset: v2}, weight: 10}\n",
    ));
    let answers = world.ask_many("web-v1", "outbound", "reviews", Request::default(), 10_000);
    let v2 = answers[&Text(V2.into())];
    // Five standard deviations of a binomial with p = 0.1.
    assert!((850..1150).contains(&v2), "{answers:?}");
    assert_eq!(answers.len(), 2);
}

#[test]
fn the_first_match_wins_in_the_order_written() {
    let world = good(&reviews(
        "  http:
  - match:
    - uri: {prefix: /static}
      ignoreUriCase: true
    - headers: {end-user: {exact: jason}}
      method: {exact: POST}
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{queryParams: {v: {exact: two}}}, {withoutHeaders: {x-here: {}}, uri: {regex: '/a+'}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {exact: /gone}}]
    directResponse: {status: 410, body: {string: gone}}
  - route: [{destination: {host: reviews, subset: v1}}]
",
    ));
    let ask = |method, path, headers| world.ask("web-v1", "reviews.default:80", Request { method, path, headers });
    assert_eq!(ask("GET", "/STATIC/a", &[]), to(V2));
    assert_eq!(ask("POST", "/", &[("end-user", "jason")]), to(V2));
    assert_eq!(ask("GET", "/", &[("end-user", "jason")]), to(V1));
    assert_eq!(ask("GET", "/?v=two", &[]), to(V2));
    assert_eq!(ask("GET", "/aaa", &[]), to(V2));
    assert_eq!(ask("GET", "/aaa", &[("x-here", "1")]), to(V1));
    assert_eq!(ask("GET", "/gone", &[]), Answer::Status(410));
    assert_eq!(ask("GET", "/gone/x", &[]), to(V1));
}

#[test]
fn every_way_to_write_the_host_is_answered() {
    let world = good(&reviews("  http: [{route: [{destination: {host: reviews, subset: v1}}]}]\n"));
    for authority in
        ["reviews", "reviews:80", "REVIEWS.default.", "reviews.default.svc", "reviews.default.svc.cluster.local:80"]
    {
        assert_eq!(world.ask("web-v1", authority, Request::default()), to(V1), "{authority}");
    }
    for authority in ["reviews:81", "other", "reviews.elsewhere"] {
        assert_eq!(world.ask("web-v1", authority, Request::default()), Answer::Unknown, "{authority}");
    }
}

#[test]
fn a_missing_subset_answers_503_for_its_share_and_is_an_error() {
    let world = world(&reviews(
        "  http:\n  - route:\n    - {destination: {host: reviews, subset: v1}, weight: 1}\n    - {destination: {host: reviews, subset: v3}, weight: 1}\n",
    ));
    assert_eq!(world.codes(), ["unknown-subset"]);
    assert_eq!(world.errors()[0].place.as_ref().map(|place| place.line), Some(68));
    let answers = world.ask_many("web-v1", "outbound", "reviews", Request::default(), 1000);
    assert_eq!(answers.keys().map(|text| text.0.as_str()).collect::<Vec<_>>(), ["503", V1]);
}

#[test]
fn edits_rewrites_timeouts_and_redirects() {
    let world = good(&reviews(
        "  http:
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, authority: 'a.example:8443', scheme: https, redirectCode: 308}
  - match: [{uri: {prefix: /api/}}]
    rewrite: {uri: /, authority: inner.example}
    timeout: 1.5s
    headers: {request: {set: {x-a: '1'}, add: {x-b: '100%%'}, remove: [x-c]}, response: {set: {x-d: '2'}}}
    route: [{destination: {host: reviews, subset: v1}, headers: {response: {remove: [server]}}}]
  - route: [{destination: {host: reviews}}]
",
    ));
    let actions = world.actions("default", "reviews");
    let Action::Redirect(redirect) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((redirect.status, redirect.host.as_str(), redirect.port), (308, "a.example", Some(8443)));
    let Action::Forward(forward) = &actions[1] else { panic!("{actions:?}") };
    assert_eq!((forward.timeout_ms, forward.authority.as_str()), (1500, "inner.example"));
    assert_eq!(forward.path, PathRewrite::Prefix("/".into()));
    assert_eq!(forward.request.add, [("x-b".to_string(), "100%".into())]);
    assert_eq!(forward.backends[0].response.remove, ["server"]);
}

/// (as written, as `ringway dump` says it)
#[test]
fn variables_in_header_values() {
    for (written, said) in [
        ("plain", "plain"),
        ("50%%", "50%"),
        ("%%REQ(x)%%", "%REQ(x)%"),
        ("%REQ(X-User)%", "%REQ(x-user)%"),
        ("a%%%REQ(:path?x-b):12% %PROTOCOL%", "a%%%REQ(:path?x-b):12% %PROTOCOL%"),
        ("%REQ(x%y)%", "%REQ(x%y)%"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"),
        ("%UPSTREAM_HOST%", "%UPSTREAM_REMOTE_ADDRESS%"),
        ("%ROUTE_NAME%:%HOSTNAME%", "%ROUTE_NAME%:%HOSTNAME%"),
    ] {
        let rule = format!(
            "  http: [{{route: [{{destination: {{host: reviews, subset: v1}}, headers: {{request: {{add: {{x: '{written}'}}}}}}}}]}}]\n"
        );
        let actions = good(&reviews(&rule)).actions("default", "reviews");
        let Action::Forward(forward) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(forward.backends[0].request.add[0].1.to_string(), said, "{written}");
    }
    let world = world(&reviews(
        "  http:\n  - route: [{destination: {host: reviews}}]\n    headers: {request: {set: {x: '%RESPONSE_CODE%', y: ''}}}\n",
    ));
    assert_eq!(world.codes(), ["not-honoured", "not-honoured"]);
}

#[test]
fn destination_rules_say_how_to_talk_to_a_host_and_its_subsets() {
    let world = good(&reviews(
        "  http:\n  - route: [{destination: {host: reviews, subset: v2}, weight: 1}, {destination: {host: reviews}, weight: 1}]\n",
    ));
    let host = world.compiled.host("default", "reviews").expect("known");
    let cluster = |name: &str| {
        let found = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Cluster(cluster) if cluster.name == name => Some(cluster.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{name}"))
    };
    let (base, v2) = (cluster("outbound|80||reviews.default.svc.cluster.local"), cluster(V2));
    assert_eq!((base.balance, v2.balance), (Balance::Random, Balance::RoundRobin));
    assert_eq!((v2.connect_timeout_ms, v2.max_requests_per_connection), (2000, 3));
    assert!(base.mesh_internal);
    let endpoints = host.blobs.iter().filter_map(|blob| match blob.model() {
        Model::Endpoints(set) => Some((set.name.clone(), set.endpoints.len(), set.workloads.len())),
        _ => None,
    });
    let endpoints: Vec<_> = endpoints.collect();
    assert!(endpoints.contains(&(base.name.clone(), 2, 2)), "{endpoints:?}");
    assert!(endpoints.contains(&(V2.into(), 1, 1)), "{endpoints:?}");
}

/// (traffic policy of the rule, of its subset v2) → connections, pending, requests, requests on a connection, idle time of the subset's cluster.
#[test]
fn a_subsets_connection_pool_replaces_the_rules_and_a_ports_replaces_everything() {
    const RULE: &str =
        "connectionPool: {tcp: {maxConnections: 5, idleTimeout: 7s}, http: {http1MaxPendingRequests: 6}}";
    let table = [
        (RULE, "", [5, 6, 0, 0, 7_000]),
        (RULE, "loadBalancer: {simple: RANDOM}", [5, 6, 0, 0, 7_000]),
        (RULE, "connectionPool: {http: {http2MaxRequests: 3, idleTimeout: 1s}}", [0, 0, 3, 0, 1_000]),
        (RULE, "connectionPool: {}, portLevelSettings: [{port: {number: 81}}]", [0, 0, 0, 0, 3_600_000]),
        (RULE, "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]", [0, 0, 0, 0, 3_600_000]),
        (
            "connectionPool: {tcp: {maxConnections: 5}}, portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRequestsPerConnection: 2}}}]",
            "",
            [0, 0, 0, 2, 3_600_000],
        ),
        ("connectionPool: {tcp: {maxConnections: 0}, http: {http1MaxPendingRequests: 0}}", "", [0, 0, 0, 0, 3_600_000]),
    ];
    for (rule, subset, expected) in table {
        let text = app("reviews", &["v1", "v2"])
            + &app("web", &["v1"])
            + &format!(
                "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews}}\nspec:\n  host: reviews\n  trafficPolicy: {{{rule}}}\n  subsets: [{{name: v2, labels: {{version: v2}}, trafficPolicy: {{{subset}}}}}]\n"
            )
            + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v2}}]}]}\n";
        let world = good(&text);
        let host = world.compiled.host("default", "reviews").expect("known");
        let found = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Cluster(c) if c.name == V2 => Some(c.clone()),
            _ => None,
        });
        let c = found.expect("the subset's cluster");
        let limits = [c.max_connections, c.max_pending_requests, c.max_requests, c.max_requests_per_connection];
        let all: Vec<u64> = limits.map(u64::from).into_iter().chain([c.idle_timeout_ms]).collect();
        assert_eq!(all, expected, "{rule} | {subset}");
    }
}

#[test]
fn outlier_detection_has_istios_defaults_and_says_when_it_can_do_nothing() {
    let defaults = OutlierDetection {
        consecutive_5xx_errors: 5,
        interval_ms: 10_000,
        base_ejection_ms: 30_000,
        max_ejection_percent: 10,
        ..OutlierDetection::default()
    };
    let all = "{consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, splitExternalLocalOriginErrors: true, interval: 1s, baseEjectionTime: 2s, maxEjectionPercent: 50, minHealthPercent: 30, outlierDetectionHttpErrorCodes: [503, 429, 503]}";
    let said = OutlierDetection {
        consecutive_5xx_errors: 0,
        consecutive_gateway_errors: 2,
        split_local_origin: true,
        consecutive_local_failures: 5,
        interval_ms: 1_000,
        base_ejection_ms: 2_000,
        max_ejection_percent: 50,
        min_health_percent: 30,
        error_codes: vec![429, 503],
    };
    for (text, expected, warnings) in [("{}", defaults, 1), (all, said, 0)] {
        let text = app("reviews", &["v1", "v2"])
            + &app("web", &["v1"])
            + &format!(
                "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews}}\nspec: {{host: reviews, trafficPolicy: {{outlierDetection: {text}}}}}\n"
            );
        let world = good(&text);
        let host = world.compiled.host("default", "reviews").expect("known");
        let found = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Cluster(c) => c.outlier.clone(),
            _ => None,
        });
        assert_eq!(found, Some(expected));
        let idle = world.codes().iter().filter(|code| **code == "idle-outlier-detection").count();
        assert_eq!(idle, warnings, "two endpoints are fewer than ten");
    }
}

#[test]
fn export_to_and_source_namespace_decide_by_the_clients_namespace() {
    let text = app("reviews", &["v1", "v2"])
        + &app("web", &["v1"])
        + &app_in("other", "client", &["v1"])
        + RULE
        + "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hidden}
spec:
  hosts: [reviews]
  exportTo: ['.']
  http: [{route: [{destination: {host: reviews, subset: v1}}]}]
";
    let world = good(&text);
    let full = "reviews.default.svc.cluster.local";
    assert_eq!(world.ask("web-v1", full, Request::default()), to(V1));
    assert_eq!(world.ask("client-v1", full, Request::default()), to("outbound|80||reviews.default.svc.cluster.local"));
    let text = text.replace("  exportTo: ['.']\n  http: [{", "  http: [{match: [{sourceNamespace: other}], ");
    let world = super::manifests::world(&text);
    assert_eq!(world.ask("web-v1", full, Request::default()), Answer::Status(404));
    assert_eq!(world.ask("client-v1", full, Request::default()), to(V1));
}

#[test]
fn an_asterisk_for_an_expression_means_presence() {
    let world = good(&reviews(
        "  http:
  - match: [{headers: {x-a: {regex: '*'}}}, {queryParams: {q: {regex: '*'}}}, {withoutHeaders: {x-b: {regex: '*'}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
",
    ));
    for (path, headers, answer) in [
        ("/", &[("x-a", "")][..], to(V2)),
        ("/?q", &[("x-b", "1")], to(V2)),
        ("/", &[("x-b", "1")], to(V1)),
        ("/", &[], to(V2)),
    ] {
        let request = Request { path, headers, ..Request::default() };
        assert_eq!(world.ask("web-v1", "reviews", request), answer, "{path} {headers:?}");
    }
}

/// At a gateway it is the gateway's own pod that is asked.
#[test]
fn source_labels_and_source_namespace_are_those_of_the_proxy_that_sends() {
    let text = app("reviews", &["v1", "v2"])
        + &app("web", &["v1", "v2"])
        + RULE
        + "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: by-client}
spec:
  hosts: [reviews]
  http:
  - match: [{sourceLabels: {app: web, version: v2}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
";
    let world = good(&text);
    assert_eq!(world.ask("web-v1", "reviews", Request::default()), to(V1));
    assert_eq!(world.ask("web-v2", "reviews", Request::default()), to(V2));
    assert_eq!(world.ask("reviews-v1", "reviews", Request::default()), to(V1));
    let gateway = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door}
spec: {selector: {istio: door}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: door, namespace: edge}
spec:
  selector: {matchLabels: {istio: door}}
  template:
    metadata: {labels: {istio: door, zone: dmz}, annotations: {inject.istio.io/templates: gateway}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
";
    for (selector, answer) in [
        ("sourceLabels: {zone: dmz}", to(V2)),
        ("sourceLabels: {zone: lan}", to(V1)),
        ("sourceNamespace: edge", to(V2)),
        ("sourceNamespace: default", to(V1)),
    ] {
        let text = text.replace("sourceLabels: {app: web, version: v2}", selector);
        let text = text.replace("  hosts: [reviews]\n", "  hosts: [reviews]\n  gateways: [door]\n") + gateway;
        assert_eq!(
            good(&text).knock("door", 80, "reviews.default.svc.cluster.local", Request::default()),
            answer,
            "{selector}"
        );
    }
}

#[test]
fn of_two_for_one_host_the_first_is_in_force_and_the_other_is_named() {
    let one = "  http: [{route: [{destination: {host: reviews, subset: v1}}]}]\n";
    let two = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: z}\nspec:\n  hosts: [reviews]\n  http: [{route: [{destination: {host: reviews, subset: v2}}]}]\n";
    let world = good(&(reviews(one) + two));
    assert_eq!(world.codes(), ["conflict"]);
    assert_eq!(world.ask("web-v1", "reviews", Request::default()), to(V1));
    // An older timestamp beats the order of names.
    let aged = two.replace("{name: z}", "{name: z, creationTimestamp: '2020-01-01T00:00:00Z'}");
    let world = good(&(reviews(one) + &aged));
    assert_eq!(world.ask("web-v1", "reviews", Request::default()), to(V2));
}

#[test]
fn hosts_that_only_a_virtual_service_knows_are_served_on_any_port() {
    let world = good(
        &reviews("  http: [{route: [{destination: {host: reviews, subset: v1}}]}]\n")
            .replace("hosts: [reviews]", "hosts: [api.example.com, '*.wild.example']"),
    );
    assert_eq!(world.ask("web-v1", "api.example.com:1234", Request::default()), to(V1));
    assert_eq!(world.ask("web-v1", "a.b.wild.example", Request::default()), to(V1));
    assert_eq!(world.ask("web-v1", "wild.example", Request::default()), Answer::Unknown);
}

#[test]
fn a_host_that_only_a_virtual_service_knows_is_matched_by_port() {
    let world = good(
        &reviews(
            "  http:
  - match: [{port: 8443}, {uri: {prefix: /other}, port: 9000}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
",
        )
        .replace("hosts: [reviews]", "hosts: [api.example.com]"),
    );
    for (authority, path, answer) in [
        ("api.example.com:8443", "/", to(V2)),
        ("api.example.com:9000", "/other", to(V2)),
        ("api.example.com:9000", "/", to(V1)),
        ("api.example.com", "/other", to(V1)),
        ("api.example.com:80", "/", to(V1)),
        ("api.example.com:1234", "/other", to(V1)),
    ] {
        assert_eq!(world.ask("web-v1", authority, Request { path, ..Request::default() }), answer, "{authority}{path}");
    }
}

#[test]
fn a_rewritten_authority_counts_more_than_a_host_that_is_set() {
    for rule in [
        "rewrite: {authority: inner.example}, headers: {request: {set: {Host: set.example}}}",
        "headers: {request: {set: {':authority': set.example}}}, rewrite: {authority: inner.example}",
    ] {
        let world = good(&reviews(&format!("  http: [{{route: [{{destination: {{host: reviews}}}}], {rule}}}]\n")));
        let actions = world.actions("default", "reviews");
        let Action::Forward(forward) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(forward.authority, "inner.example", "{rule}");
    }
}

#[test]
fn a_redirect_s_port_is_the_scheme_s_own_or_the_request_s() {
    for (redirect, port) in [
        ("scheme: https", None),
        ("scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", None),
        ("scheme: https, derivePort: FROM_REQUEST_PORT", Some(80)),
        ("uri: /new, derivePort: FROM_REQUEST_PORT", None),
        ("scheme: https, port: 8443", Some(8443)),
        ("authority: else.example", Some(0)),
        ("authority: 'else.example:81'", Some(81)),
        ("authority: 'else.example:81', derivePort: FROM_PROTOCOL_DEFAULT", Some(81)),
        ("authority: else.example, derivePort: FROM_REQUEST_PORT", Some(80)),
    ] {
        let world = good(&reviews(&format!("  http: [{{redirect: {{{redirect}}}}}]\n")));
        let actions = world.actions("default", "reviews");
        let Action::Redirect(made) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(made.port, port, "{redirect}");
    }
}

#[test]
fn a_redirect_may_bring_a_query() {
    let world = good(&reviews("  http: [{redirect: {uri: '/new?a=b?c'}}]\n"));
    let actions = world.actions("default", "reviews");
    let Action::Redirect(made) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(made.path, PathRewrite::Full("/new?a=b?c".into()));
}

#[test]
fn a_body_in_base64_is_its_bytes() {
    let world = good(&reviews("  http: [{directResponse: {status: 200, body: {bytes: 'aGVsbG8sIHfDtnJsZA=='}}}]\n"));
    let actions = world.actions("default", "reviews");
    let Action::Respond(made) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(made.body, "hello, w\u{f6}rld");
}

/// (rule, code)
#[test]
fn answers_that_cannot_be_given() {
    for (rule, code) in [
        ("directResponse: {status: 200, body: {bytes: 'a'}}", "wrong-value"),
        ("directResponse: {status: 200, body: {bytes: '/w=='}}", "not-supported-yet"),
        ("directResponse: {status: 200, body: {bytes: 'YQ==', string: a}}", "conflict"),
        ("directResponse: {status: 199}", "wrong-number"),
        ("redirect: {uri: '/a b'}", "wrong-path"),
        ("redirect: {uri: '/a?b c'}", "wrong-path"),
        ("redirect: {uri: '/a#b'}", "wrong-path"),
        ("redirect: {authority: 'else.example:http'}", "wrong-host"),
        ("redirect: {authority: 'else.example:99999'}", "wrong-host"),
        ("redirect: {uri: a}", "wrong-path"),
        ("redirect: {redirectCode: 302}", "missing-field"),
    ] {
        let codes = world(&reviews(&format!("  http: [{{{rule}}}]\n"))).codes();
        assert!(codes.contains(&code), "{rule}: {codes:?}");
    }
}

#[test]
fn a_path_is_rewritten_by_a_pattern() {
    let rewrite = |fields: &str| {
        reviews(&format!("  http:\n  - rewrite: {{{fields}}}\n    route: [{{destination: {{host: reviews}}}}]\n"))
    };
    let regex = r"uriRegexRewrite: {match: '^/a/([^/]+)$', rewrite: '/b/\1'}";
    match good(&rewrite(regex)).actions("default", "reviews").remove(0) {
        Action::Forward(forward) => assert_eq!(
            forward.path,
            PathRewrite::Regex { pattern: "^/a/([^/]+)$".into(), substitution: r"/b/\1".into() }
        ),
        other => panic!("{other:?}"),
    }
    for (fields, code) in [
        (r"uriRegexRewrite: {match: '(a)', rewrite: '\2'}", "wrong-regex"),
        (r"uriRegexRewrite: {match: '(?=a)', rewrite: b}", "wrong-regex"),
        (r"uriRegexRewrite: {match: a}", "missing-field"),
        (r"uriRegexRewrite: {match: a, rewrite: 'b c'}", "wrong-path"),
        (r"uri: /x, uriRegexRewrite: {match: a, rewrite: b}", "conflict"),
    ] {
        let codes = world(&rewrite(fields)).codes();
        assert!(codes.contains(&code), "{fields}: {codes:?}");
    }
}
