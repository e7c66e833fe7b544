//! Delegation from a root VirtualService to others, and which VirtualService holds for a host.

use super::manifests::{Answer, Request, World, app, app_in, good, to, world};

fn service(meta: &str, spec: &str) -> String {
    format!("---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{{meta}}}\nspec:\n{spec}\n")
}

fn ask(world: &World, path: &str) -> Answer {
    world.ask("web-v1", "web", Request { path, ..Request::default() })
}

const ROOT: &str = "  hosts: [web]
  http:
  - match: [{uri: {prefix: /shop}}]
    timeout: 3s
    fault: {abort: {httpStatus: 418, percentage: {value: 0.0001}}}
    delegate: {name: shop, namespace: team}
  - route: [{destination: {host: web}}]";

fn shop(rules: &str) -> String {
    service("name: shop, namespace: team", &format!("  http: {rules}"))
}

fn apps() -> String {
    app("web", &["v1"]) + &app_in("team", "cart", &["v1"]) + &app_in("team", "wall", &["v1"])
}

const WEB: &str = "outbound|80||web.default.svc.cluster.local";
const CART: &str = "outbound|80||cart.team.svc.cluster.local";
const WALL: &str = "outbound|80||wall.team.svc.cluster.local";

#[test]
fn a_delegate_s_rules_hold_within_the_root_s_match() {
    let rules = "[{match: [{uri: {prefix: /shop/cart}}], timeout: 1s, route: [{destination: {host: cart}}]}, {route: [{destination: {host: wall}}]}]";
    let world = good(&(apps() + &service("name: root", ROOT) + &shop(rules)));
    // Short names are those of the delegate's namespace.
    assert_eq!(ask(&world, "/shop/cart/1"), to(CART));
    assert_eq!(ask(&world, "/shop/x"), to(WALL));
    assert_eq!(ask(&world, "/cart"), to(WEB));
    let settings: Vec<_> = world
        .actions("default", "web")
        .iter()
        .map(|action| match action {
            ringway_config::model::Action::Forward(forward) => (forward.timeout_ms, forward.fault.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    // The root's settings hold where the delegate has none.
    assert_eq!(settings, [(1000, true), (3000, true), (0, false)]);
}

#[test]
fn a_delegate_that_says_headers_takes_none_of_the_root_s() {
    use ringway_config::model::Action;
    let root = ROOT.replace("    timeout: 3s", "    headers: {response: {set: {x-root: r}}}");
    let own = "headers: {request: {set: {x-own: o}}}";
    for (rule, inherits) in [
        ("directResponse: {status: 200}".to_string(), true),
        (format!("{own}, directResponse: {{status: 200}}"), false),
        ("redirect: {uri: /x}".to_string(), true),
        (format!("{own}, redirect: {{uri: /x}}"), false),
        ("route: [{destination: {host: cart}}]".to_string(), true),
        (format!("{own}, route: [{{destination: {{host: cart}}}}]"), false),
        ("headers: {}, route: [{destination: {host: cart}}]".to_string(), false),
    ] {
        let world = good(&(apps() + &service("name: root", &root) + &shop(&format!("[{{{rule}}}]"))));
        let edits = match &world.actions("default", "web")[0] {
            Action::Forward(forward) => forward.response.clone(),
            Action::Redirect(redirect) => redirect.response.clone(),
            Action::Respond(respond) => respond.response.clone(),
        };
        assert_eq!(!edits.is_empty(), inherits, "{rule}");
    }
}

#[test]
fn a_rule_outside_of_the_root_s_match_is_left_out_and_said() {
    let rules = "[{match: [{uri: {prefix: /other}}], route: [{destination: {host: cart}}]}, {match: [{uri: {exact: /shop/a}, method: {exact: GET}}], route: [{destination: {host: wall}}]}]";
    let world = world(&(apps() + &service("name: root", ROOT) + &shop(rules)));
    assert_eq!(world.codes(), ["delegate-conflict"]);
    assert_eq!(ask(&world, "/other"), to(WEB));
    assert_eq!(ask(&world, "/shop/a"), to(WALL));
    assert_eq!(ask(&world, "/shop/b"), to(WEB));
}

#[test]
fn a_delegate_that_is_not_there_leaves_its_requests_with_503() {
    let good_rules = "[{route: [{destination: {host: cart}}]}]";
    for (delegate, code) in [
        (String::new(), "unknown-delegate"),
        (shop(good_rules).replace("  http", "  hosts: [cart]\n  http"), "unknown-delegate"),
        (shop(good_rules).replace("  http", "  exportTo: ['.']\n  http"), "unknown-delegate"),
        (shop("[{delegate: {name: deeper}}]"), "nested-delegate"),
        (shop(good_rules).replace("  http", "  gateways: [x]\n  http"), "conflict"),
        (service("name: shop, namespace: team", "  tcp: [{route: [{destination: {host: cart}}]}]"), "missing-field"),
    ] {
        let world = world(&(apps() + &service("name: root", ROOT) + &delegate));
        assert!(world.codes().contains(&code), "{code}: {:?}", world.codes());
        if code == "unknown-delegate" {
            assert_eq!(ask(&world, "/shop"), Answer::Status(503));
        }
        assert_eq!(ask(&world, "/"), to(WEB));
    }
    let both =
        service("name: root", &ROOT.replace("delegate: {", "route: [{destination: {host: web}}]\n    delegate: {"));
    assert_eq!(world(&(apps() + &both + &shop(good_rules))).codes(), ["missing-field"]);
}

#[test]
fn the_oldest_holds_for_a_host_and_of_equal_age_the_first_by_name() {
    let rule = |host: &str| format!("  hosts: [web]\n  http: [{{route: [{{destination: {{host: {host}}}}}]}}]");
    let dated = |name: &str, day: u32, host: &str| {
        service(&format!("name: {name}, creationTimestamp: '2026-01-{day:02}T00:00:00Z'"), &rule(host))
    };
    let named = |name: &str, host: &str| service(&format!("name: {name}"), &rule(host));
    for (first, second) in [
        (dated("b", 1, "web"), dated("a", 2, "wall.team.svc.cluster.local")),
        (dated("b", 1, "wall.team.svc.cluster.local"), dated("a", 2, "web")),
        (named("a", "wall.team.svc.cluster.local"), named("b", "web")),
        (named("a", "web"), named("b", "wall.team.svc.cluster.local")),
    ] {
        let wanted = if first.contains("host: web}") { WEB } else { WALL };
        for text in [first.clone() + &second, second.clone() + &first] {
            let world = world(&(apps() + &text));
            assert_eq!((world.codes(), ask(&world, "/")), (vec!["conflict"], to(wanted)), "{text}");
        }
    }
}
