//! HTTPRoute at gateways and at services.

use super::manifests::{Answer, Request, app, app_in, good, to, world};
use ringway_config::Order;
use ringway_config::model::{Action, Model};

const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec:
  gatewayClassName: any
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: wild, port: 80, protocol: HTTP, hostname: '*.example.com', allowedRoutes: {namespaces: {from: All}}}
";

fn route(name: &str, parent: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: [{parent}]\n{rest}"
    )
}

const AT_DOOR: &str = "{name: door, sectionName: http}";
const WEB: &str = "outbound|80||web.default.svc.cluster.local";
const OTHER: &str = "outbound|80||other.default.svc.cluster.local";

fn apps() -> String {
    app("web", &["v1"]) + &app("other", &["v1"]) + GATEWAY
}

#[test]
fn the_most_specific_match_wins_whatever_the_order() {
    let rules = "  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /a/b}}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /a}, method: POST}, {path: {type: Exact, value: /x}}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /a}}]
    backendRefs: [{name: web, port: 80}]
";
    let world = good(&(apps() + &route("r", AT_DOOR, rules)));
    let knock = |method, path| world.knock("door-any", 80, "h.test", Request { method, path, headers: &[] });
    for (method, path, expected) in [
        ("GET", "/", WEB),
        ("GET", "/a/b/c", OTHER),
        ("GET", "/a/bc", WEB),
        ("POST", "/a", OTHER),
        ("GET", "/a", WEB),
        ("GET", "/x", OTHER),
        ("GET", "/x/", WEB),
    ] {
        assert_eq!(knock(method, path), to(expected), "{method} {path}");
    }
}

#[test]
fn a_host_goes_to_the_narrowest_listener() {
    let rules = |name: &str| format!("  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]\n");
    let text =
        apps() + &route("a", AT_DOOR, &rules("web")) + &route("b", "{name: door, sectionName: wild}", &rules("other"));
    let world = good(&text);
    assert_eq!(world.knock("door-any", 80, "a.example.com", Request::default()), to(OTHER));
    assert_eq!(world.knock("door-any", 80, "a.test", Request::default()), to(WEB));
}

#[test]
fn missing_and_forbidden_backends_answer_500_for_their_share() {
    let rules = "  rules: [{backendRefs: [{name: nobody, port: 80}]}]\n";
    let found = world(&(apps() + &route("r", AT_DOOR, rules)));
    assert_eq!(found.codes(), ["unknown-backend"]);
    assert_eq!(found.knock("door-any", 80, "h", Request::default()), Answer::Status(500));

    let rules = "  rules: [{backendRefs: [{name: far, namespace: away, port: 80}]}]\n";
    let text = apps() + &app_in("away", "far", &["v1"]) + &route("r", AT_DOOR, rules);
    let found = world(&text);
    assert_eq!(found.codes(), ["not-granted"]);
    assert_eq!(found.knock("door-any", 80, "h", Request::default()), Answer::Status(500));

    let grant = "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: away}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: '', kind: Service, name: far}]
";
    let found = good(&(text + grant));
    assert_eq!(found.knock("door-any", 80, "h", Request::default()), to("outbound|80||far.away.svc.cluster.local"));
}

#[test]
fn no_backends_at_all_are_an_internal_error() {
    let found = world(&(apps() + &route("r", AT_DOOR, "  rules: [{matches: [{path: {value: /x}}]}]\n")));
    assert_eq!(found.knock("door-any", 80, "h", Request { path: "/x", ..Request::default() }), Answer::Status(500));
}

#[test]
fn producer_routes_are_for_all_and_consumer_routes_for_their_namespace() {
    let producer = route(
        "p",
        "{group: '', kind: Service, name: web, port: 80}",
        "  rules: [{matches: [{path: {value: /api}}], backendRefs: [{name: other, port: 80}]}]\n",
    );
    let consumer = producer
        .replace("{name: p}", "{name: c, namespace: away}")
        .replace("name: web,", "name: web, namespace: default,")
        .replace("{name: other, port", "{name: far, port");
    let text = apps() + &app_in("away", "far", &["v1"]) + &producer + &consumer;
    let world = good(&text);
    let api = Request { path: "/api/1", ..Request::default() };
    let full = "web.default.svc.cluster.local";
    assert_eq!(world.ask("other-v1", full, api), to(OTHER));
    assert_eq!(world.ask("other-v1", full, Request::default()), Answer::Status(404));
    assert_eq!(world.ask("far-v1", full, api), to("outbound|80||far.away.svc.cluster.local"));
}

#[test]
fn redirects_and_rewrites() {
    let rules = "  rules:
  - matches: [{path: {value: /r}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
  - matches: [{path: {value: /w}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: in.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /n}}}]
    timeouts: {request: 10s, backendRequest: 2s}
    backendRefs: [{name: web, port: 80}]
";
    let world = good(&(apps() + &route("r", AT_DOOR, rules)));
    assert_eq!(world.knock("door-any", 80, "h", Request { path: "/r", ..Request::default() }), Answer::Status(301));
    assert_eq!(world.knock("door-any", 80, "h", Request { path: "/w/1", ..Request::default() }), to(WEB));
}

#[test]
fn a_route_that_no_listener_takes_is_an_error() {
    let text =
        apps() + &route("r", "{name: door, sectionName: nope}", "  rules: [{backendRefs: [{name: web, port: 80}]}]\n");
    assert_eq!(world(&text).codes(), ["not-attached"]);
    let text = apps() + &route("r", "{name: wall}", "  rules: [{backendRefs: [{name: web, port: 80}]}]\n");
    assert_eq!(world(&text).codes(), ["unknown-parent"]);
}

#[test]
fn a_host_of_a_narrower_listener_is_not_left_to_a_wider_one() {
    let rules = "  rules: [{backendRefs: [{name: web, port: 80}]}]\n";
    let narrow = "  hostnames: [x.example.com]\n  rules: [{backendRefs: [{name: other, port: 80}]}]\n";
    let text = apps() + &route("a", AT_DOOR, rules);
    let alone = good(&text);
    assert_eq!(alone.knock("door-any", 80, "y.example.com", Request::default()), Answer::Status(404));
    assert_eq!(alone.knock("door-any", 80, "y.test", Request::default()), to(WEB));
    let both = good(&(text + &route("b", "{name: door, sectionName: wild}", narrow)));
    assert_eq!(both.knock("door-any", 80, "x.example.com", Request::default()), to(OTHER));
    assert_eq!(both.knock("door-any", 80, "y.example.com", Request::default()), Answer::Status(404));
}

#[test]
fn a_listener_that_cannot_be_served_leaves_the_others_alone() {
    let listener = "  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}\n";
    let text = apps() + listener + &route("a", AT_DOOR, "  rules: [{backendRefs: [{name: web, port: 80}]}]\n");
    let found = world(&text);
    assert_eq!(found.codes(), ["not-supported-yet"]);
    assert_eq!(found.knock("door-any", 80, "h.test", Request::default()), to(WEB));
    assert_eq!(found.mesh.pods.iter().find_map(|pod| pod.gateway.get(&443)), None);
}

#[test]
fn filters_of_a_backend() {
    let redirect = "{type: RequestRedirect, requestRedirect: {port: 81}}";
    let rewrite = "{type: URLRewrite, urlRewrite: {hostname: in.test}}";
    let cors = "{type: CORS, cors: {allowOrigins: ['https://a.test']}}";
    let rules = |backends: &str| format!("  rules: [{{backendRefs: [{backends}]}}]\n");
    for (backends, codes, answer) in [
        (format!("{{name: web, port: 80, filters: [{redirect}]}}"), &[][..], Answer::Status(302)),
        // It is for requests that would go there.
        (format!("{{name: nobody, port: 80, filters: [{redirect}]}}"), &["unknown-backend"], Answer::Status(500)),
        (format!("{{name: web, port: 80, weight: 0, filters: [{redirect}]}}"), &[], Answer::Status(500)),
        (format!("{{name: web, port: 80, filters: [{rewrite}]}}"), &[], to(WEB)),
        (format!("{{name: web, port: 80, filters: [{rewrite}]}}, {{name: other, port: 80, weight: 0}}"), &[], to(WEB)),
        (
            format!("{{name: web, port: 80, filters: [{cors}]}}, {{name: other, port: 80}}"),
            &["not-supported-yet"],
            Answer::Status(404),
        ),
        (
            format!("{{name: web, port: 80, filters: [{rewrite}, {redirect}]}}"),
            &["incompatible-filters"],
            Answer::Status(404),
        ),
        (
            format!("{{name: web, port: 80, filters: [{redirect}, {redirect}]}}"),
            &["duplicate-filter"],
            Answer::Status(404),
        ),
    ] {
        let found = world(&(apps() + &route("r", AT_DOOR, &rules(&backends))));
        assert_eq!(found.codes(), codes, "{backends}");
        assert_eq!(found.knock("door-any", 80, "h.test", Request::default()), answer, "{backends}");
    }
}

#[test]
fn a_redirect_without_scheme_and_port_leads_to_the_listeners_port() {
    let text = apps().replace("name: http, port: 80, protocol", "name: http, port: 8085, protocol");
    let rules =
        |filter: &str| format!("  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{{filter}}}}}]}}]\n");
    for (filter, port) in
        [("hostname: a.test", 8085), ("hostname: a.test, scheme: http", 0), ("scheme: https", 0), ("port: 81", 81)]
    {
        let world = good(&(text.clone() + &route("r", AT_DOOR, &rules(filter))));
        let node = world.node("door-any");
        let snapshot = world.compiled.snapshot(&node, &[], Order { incarnation: 1, sequence: 1 });
        let snapshot = snapshot.expect("has a proxy").expect("closed");
        let ports: Vec<u16> = snapshot
            .blobs()
            .filter_map(|blob| match blob.model() {
                Model::Host(host) => Some(&host.actions),
                _ => None,
            })
            .flatten()
            .filter_map(|action| match action {
                // 0 is the scheme's own.
                Action::Redirect(redirect) => redirect.port,
                _ => None,
            })
            .collect();
        assert_eq!(ports, [port], "{filter}");
    }
}

#[test]
fn what_the_api_server_would_refuse_is_refused() {
    let backends = "backendRefs: [{name: web, port: 80}]";
    for (rules, codes) in [
        (format!("[{{timeouts: {{request: 1s, backendRequest: 2s}}, {backends}}}]"), &["conflict"][..]),
        (format!("[{{timeouts: {{request: 0s, backendRequest: 2s}}, {backends}}}]"), &[]),
        (
            format!("[{{name: a, {backends}}}, {{name: a, matches: [{{path: {{value: /b}}}}], {backends}}}]"),
            &["duplicate-rule"],
        ),
        (format!("[{{name: a, {backends}}}, {{name: b, matches: [{{path: {{value: /b}}}}], {backends}}}]"), &[]),
        (
            format!(
                "[{{filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /b}}}}}}], {backends}}}]"
            ),
            &["conflict"],
        ),
        (
            format!("[{{filters: [{{type: CORS, cors: {{allowOrigins: ['*', 'https://a.test']}}}}], {backends}}}]"),
            &["conflict"],
        ),
        (format!("[{{matches: [{{path: {{value: /a/../b}}}}], {backends}}}]"), &["wrong-path"]),
        (format!("[{{matches: [{{path: {{value: /a%2Fb}}}}], {backends}}}]"), &["wrong-path"]),
        (format!("[{{matches: [{{path: {{value: /a/..}}}}], {backends}}}]"), &["wrong-path"]),
        (format!("[{{matches: [{{path: {{value: /a/.b}}}}], {backends}}}]"), &[]),
    ] {
        let found = world(&(apps() + &route("r", AT_DOOR, &format!("  rules: {rules}\n"))));
        assert_eq!(found.codes(), codes, "{rules}");
    }
}

#[test]
fn references_to_one_parent_are_told_apart() {
    let rules = "  rules: [{backendRefs: [{name: web, port: 80}]}]\n";
    for (parents, codes) in [
        ("{name: door, sectionName: http}, {name: door, sectionName: wild}", &[][..]),
        ("{name: door, sectionName: http}, {name: door, sectionName: http}", &["duplicate-parent"]),
        ("{name: door}, {name: door, sectionName: http}", &["duplicate-parent"]),
        ("{name: door}, {group: '', kind: Service, name: web}", &[]),
    ] {
        assert_eq!(world(&(apps() + &route("r", parents, rules))).codes(), codes, "{parents}");
    }
}
