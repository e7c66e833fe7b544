//! `mirror` and `mirrors` of VirtualServices, RequestMirror of HTTPRoutes.

use super::manifests::{app, good, world};
use ringway_config::model::Action;

/// The mirrors of the first action: cluster and requests of a million.
fn mirrors(text: &str) -> Vec<(String, u32)> {
    match good(text).actions("default", "web").remove(0) {
        Action::Forward(forward) => forward
            .mirrors
            .iter()
            .map(|m| (m.cluster.replace(".default.svc.cluster.local", ""), m.per_million))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn web(fields: &str) -> String {
    let service = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec:\n  hosts: [web]\n  http:\n";
    app("web", &["v1"])
        + &app("copy", &["v1"])
        + service
        + &format!("  - route: [{{destination: {{host: web}}}}]\n    {fields}\n")
}

#[test]
fn of_a_virtual_service() {
    let copy = |per_million| vec![("outbound|80||copy".to_string(), per_million)];
    for (fields, expected) in [
        ("mirror: {host: copy}", copy(1_000_000)),
        ("mirror: {host: copy, port: {number: 80}}\n    mirrorPercentage: {value: 0.5}", copy(5_000)),
        ("mirror: {host: copy}\n    mirrorPercent: 30", copy(300_000)),
        ("mirror: {host: copy}\n    mirror_percent: 30", copy(300_000)),
        ("mirror: {host: copy}\n    mirrorPercentage: {value: 0}", vec![]),
        ("mirrors: [{destination: {host: copy}}]", copy(1_000_000)),
        (
            "mirrors: [{destination: {host: copy}, percentage: {value: 10}}, {destination: {host: web}, percentage: {value: 1}}]",
            vec![("outbound|80||copy".to_string(), 100_000), ("outbound|80||web".to_string(), 10_000)],
        ),
    ] {
        assert_eq!(mirrors(&web(fields)), expected, "{fields}");
    }
    let rule = match good(&web("mirrors: [{destination: {host: copy}}]")).actions("default", "web").remove(0) {
        Action::Forward(forward) => forward.mirrors[0].rule,
        other => panic!("{other:?}"),
    };
    let origin = good(&web("mirrors: [{destination: {host: copy}}]")).compiled.origin(rule).expect("known");
    assert_eq!(origin.field, "http[0].mirrors[0]");
}

#[test]
fn what_is_wrong_is_said() {
    for (fields, code, part) in [
        ("mirror: {host: copi}", "unknown-host", "it gets no copies"),
        ("mirror: {host: copy, subset: v9}", "unknown-subset", "it gets no copies"),
        ("mirror: {host: copy}\n    mirrors: [{destination: {host: copy}}]", "conflict", "either"),
        ("mirrors: [{percentage: {value: 1}}]", "missing-field", "destination"),
        ("mirror: {host: copy}\n    mirrorPercentage: {value: 101}", "wrong-number", "100"),
        ("mirror: {host: copy, wieght: 1}", "unknown-field", "wieght"),
    ] {
        let world = world(&web(fields));
        let found = world.errors().into_iter().any(|d| d.code == code && d.message.contains(part));
        assert!(found, "{fields}: {:?}", world.errors());
    }
}

fn route(filters: &str) -> String {
    app("web", &["v1"])
        + &app("copy", &["v1"])
        + &format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: web}}]\n  rules:\n  - filters: [{filters}]\n    backendRefs: [{{name: web, port: 80}}]\n"
        )
}

#[test]
fn of_an_http_route() {
    let mirror =
        |more: &str| format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: copy, port: 80}}{more}}}}}");
    let copy = ("outbound|80||copy".to_string(), 1_000_000);
    assert_eq!(mirrors(&route(&mirror(""))), std::slice::from_ref(&copy));
    assert_eq!(mirrors(&route(&format!("{}, {}", mirror(""), mirror(", percent: 0")))), std::slice::from_ref(&copy));
    assert_eq!(mirrors(&route(&mirror(", percent: 42"))), [(copy.0.clone(), 420_000)]);
    assert_eq!(mirrors(&route(&mirror(", fraction: {numerator: 1, denominator: 3}"))), [(copy.0.clone(), 333_333)]);
    assert_eq!(mirrors(&route(&mirror(", fraction: {numerator: 7}"))), [(copy.0, 70_000)]);
    for (more, code) in [
        (", percent: 1, fraction: {numerator: 1}", "conflict"),
        (", fraction: {numerator: 101}", "wrong-number"),
        (", precent: 1", "unknown-field"),
    ] {
        let codes = world(&route(&mirror(more))).codes();
        assert!(codes.contains(&code), "{more}: {codes:?}");
    }
    let missing = route("{type: RequestMirror, requestMirror: {backendRef: {name: nobody, port: 80}}}");
    let world = world(&missing);
    assert!(world.errors()[0].message.contains("it gets no copies"), "{:?}", world.errors());
}
