//! `fault` and `corsPolicy` of VirtualServices, CORS filters of HTTPRoutes.

use super::manifests::{Answer, Request, Text, app, good, to, world};
use ringway_config::model::{Action, Cors, Fault, StringMatch};

const WEB: &str = "outbound|80||web.default.svc.cluster.local";

fn web(rule: &str) -> String {
    let service = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec:\n  hosts: [web]\n  http:\n";
    app("web", &["v1"]) + service + rule
}

const ROUTE: &str = "    route: [{destination: {host: web}}]\n";

fn fault_of(rule: &str) -> Fault {
    let world = good(&web(rule));
    match world.actions("default", "web").remove(0) {
        Action::Forward(forward) => forward.fault.expect("a fault"),
        Action::Redirect(redirect) => redirect.fault.expect("a fault"),
        Action::Respond(respond) => respond.fault.expect("a fault"),
    }
}

#[test]
fn faults_in_millionths() {
    let full = format!(
        "  - fault:\n      delay: {{fixedDelay: 1.5s, percentage: {{value: 12.5}}}}\n      abort: {{httpStatus: 418, percentage: {{value: 0.01}}}}\n{ROUTE}"
    );
    let fault = fault_of(&full);
    let numbers = (fault.delay_ms, fault.delay_per_million, fault.abort_status, fault.abort_per_million);
    assert_eq!(numbers, (1500, 125_000, 418, 100));
    let world = good(&web(&full));
    let origin = world.compiled.origin(fault.rule).expect("known");
    assert_eq!((origin.field.as_str(), origin.name.as_str()), ("http[0].fault", "web"));
    for (status, http) in [("UNAVAILABLE", 503), ("'5'", 404), ("PERMISSION_DENIED", 403)] {
        let abort = format!("  - fault: {{abort: {{grpcStatus: {status}, percentage: {{value: 100}}}}}}\n{ROUTE}");
        assert_eq!(fault_of(&abort).abort_status, http, "{status}");
    }
    let old = fault_of(&format!("  - fault: {{delay: {{fixedDelay: 1s, percent: 30}}}}\n{ROUTE}"));
    assert_eq!(old.delay_per_million, 300_000);
    let redirected = fault_of("  - fault: {delay: {fixedDelay: 1s, percent: 30}}\n    redirect: {uri: /x}\n");
    assert_eq!(redirected.delay_ms, 1000);
}

#[test]
fn a_share_of_the_requests_is_aborted() {
    let world = good(&web(&format!("  - fault: {{abort: {{httpStatus: 500, percentage: {{value: 20}}}}}}\n{ROUTE}")));
    let answers = world.ask_many("web-v1", "outbound", "web", Request::default(), 10_000);
    // Five standard deviations of a binomial with p = 0.2.
    assert!((1800..=2200).contains(&answers[&Text("500".into())]), "{answers:?}");
    assert_eq!(answers.len(), 2);
}

#[test]
fn what_is_wrong_with_a_fault_is_said() {
    for (fault, code) in [
        ("{abort: {percentage: {value: 10}}}", "missing-field"),
        ("{abort: {httpStatus: 500, grpcStatus: OK, percentage: {value: 10}}}", "conflict"),
        ("{abort: {http2Error: X, percentage: {value: 10}}}", "not-supported-yet"),
        ("{abort: {httpStatus: 99, percentage: {value: 10}}}", "wrong-number"),
        ("{abort: {httpStatus: 500, percentage: {value: 101}}}", "wrong-number"),
        ("{abort: {grpcStatus: NOPE, percentage: {value: 1}}}", "wrong-value"),
        ("{delay: {percentage: {value: 10}}}", "missing-field"),
        ("{delay: {fixedDelay: 0s, percentage: {value: 10}}}", "wrong-duration"),
        ("{delay: {exponentialDelay: 1s, percentage: {value: 10}}}", "not-supported-yet"),
        ("{delay: {fixedDelay: 1s}}", "never-happens"),
        ("{abort: {httpStatus: 500}}", "never-happens"),
        ("{dealy: {fixedDelay: 1s}}", "unknown-field"),
    ] {
        let codes = world(&web(&format!("  - fault: {fault}\n{ROUTE}"))).codes();
        assert!(codes.contains(&code), "{fault}: {codes:?}");
    }
    let exponential = format!("  - fault: {{delay: {{exponentialDelay: 1s, percentage: {{value: 10}}}}}}\n{ROUTE}");
    assert_eq!(world(&web(&exponential)).codes(), ["not-supported-yet"], "nothing is missing besides");
}

fn cors_of(world: &super::manifests::World) -> Cors {
    match world.actions("default", "web").remove(0) {
        Action::Forward(forward) => forward.cors.expect("CORS"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cors_policy() {
    let policy = "allowOrigins: [{exact: 'https://a'}, {prefix: 'https://b'}, {regex: 'https://.*c'}], allowMethods: [GET, PUT], \
                  allowHeaders: [x-a, x-b], exposeHeaders: [x-c], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE";
    let world = good(&web(&format!("  - corsPolicy: {{{policy}}}\n{ROUTE}")));
    let exact = |text: &str| StringMatch::Exact(text.into());
    let expected = Cors {
        origins: vec![
            exact("https://a"),
            StringMatch::Prefix("https://b".into()),
            StringMatch::Regex("https://.*c".into()),
        ],
        methods: "GET,PUT".into(),
        headers: "x-a,x-b".into(),
        expose: "x-c".into(),
        max_age_s: Some(86_400),
        credentials: true,
        forward_unmatched: false,
    };
    assert_eq!(cors_of(&world), expected);
    let old = cors_of(&good(&web(&format!("  - corsPolicy: {{allowOrigin: ['https://a']}}\n{ROUTE}"))));
    assert_eq!(old, Cors { origins: vec![exact("https://a")], forward_unmatched: true, ..Cors::default() });
    let headers = &[("origin", "https://x"), ("access-control-request-method", "PUT")][..];
    let preflight = |origin: &'static str| {
        let headers: &[_] = if origin == "https://a" {
            &[("origin", "https://a"), ("access-control-request-method", "PUT")]
        } else {
            headers
        };
        world.ask("web-v1", "web", Request { method: "OPTIONS", headers, ..Request::default() })
    };
    assert_eq!((preflight("https://a"), preflight("https://x")), (Answer::Status(200), Answer::Status(200)));
    let forwarding = good(&web(&format!("  - corsPolicy: {{allowOrigins: [{{exact: 'https://a'}}]}}\n{ROUTE}")));
    assert_eq!(forwarding.ask("web-v1", "web", Request { method: "OPTIONS", headers, ..Request::default() }), to(WEB));
    let idle =
        super::manifests::world(&web("  - corsPolicy: {allowOrigins: [{exact: '*'}]}\n    redirect: {uri: /x}\n"));
    assert_eq!(idle.codes(), ["not-honoured"]);
}

#[test]
fn a_cors_filter() {
    let filter = |cors: &str| {
        app("web", &["v1"])
            + &format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: web}}]\n  rules:\n  - filters: [{{type: CORS, cors: {{{cors}}}}}]\n    backendRefs: [{{name: web, port: 80}}]\n"
            )
    };
    let origins = "allowOrigins: ['https://a:443', 'http://b:8080', 'https://*.c.test']";
    let found = cors_of(&good(&filter(&format!("{origins}, allowMethods: ['*'], allowHeaders: [x-a]"))));
    let expected = Cors {
        origins: vec![
            StringMatch::Exact("https://a".into()),
            StringMatch::Exact("http://b:8080".into()),
            StringMatch::Regex(r"https://[^/:]+\.c\.test".into()),
        ],
        methods: "*".into(),
        headers: "x-a".into(),
        max_age_s: Some(5),
        ..Cors::default()
    };
    assert_eq!(found, expected);
    let any = cors_of(&good(&filter("allowOrigins: ['*']")));
    assert_eq!(any.origins, [StringMatch::Exact("*".into())]);
    assert_eq!(world(&filter("allowOrigins: [a.test]")).codes(), ["wrong-origin"]);
}
