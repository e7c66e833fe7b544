//! MeshConfig: what the ConfigMap `istio` says of the whole mesh, and what says it closer still.

use ringway_config::model::{AccessLog, Action, Cluster, Host, LocalityRule, Model, PathNormalization, RetryOn};

use crate::manifests::{Answer, Request, World, app_in, good, to};

const WEB: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n\
                   ---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-0, labels: {app: web}}\nspec: {containers: [{name: web, image: x, ports: [{containerPort: 80}]}]}\n";

/// `web` in a mesh with these lines of MeshConfig, and these manifests besides.
fn mesh(lines: &str, more: &str) -> World {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    good(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n{lines}{WEB}{more}"
    ))
}

fn parts(world: &World) -> (Host, Cluster) {
    let host = world.compiled.host("default", "web").expect("known");
    let model = |pick: &dyn Fn(&Model) -> bool| {
        host.blobs.iter().map(|blob| blob.model().clone()).find(|model| pick(model)).expect("made")
    };
    match (model(&|m| matches!(m, Model::Host(_))), model(&|m| matches!(m, Model::Cluster(_)))) {
        (Model::Host(host), Model::Cluster(cluster)) => (host, cluster),
        other => panic!("{other:?}"),
    }
}

fn rule(namespace: &str, policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web, namespace: {namespace}}}\nspec: {{host: web.default.svc.cluster.local, trafficPolicy: {policy}}}\n"
    )
}

fn routes(retries: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: web}}\nspec: {{hosts: [web], http: [{{route: [{{destination: {{host: web}}}}]{retries}}}]}}\n"
    )
}

#[test]
fn what_every_proxy_does() {
    let lines =
        "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\npathNormalization: {normalization: MERGE_SLASHES}";
    let world = mesh(lines, "");
    let policy = world.compiled.policy();
    assert_eq!((policy.access_log, policy.path_normalization), (AccessLog::Json, PathNormalization::MergeSlashes));
    let world = mesh("rootNamespace: istio-system", "");
    assert_eq!(world.compiled.policy().path_normalization, PathNormalization::Base);
}

#[test]
fn a_connect_timeout_until_a_rule_says_another_one() {
    let lines = "connectTimeout: 3s";
    assert_eq!(parts(&mesh(lines, "")).1.connect_timeout_ms, 3000);
    let own = rule("default", "{connectionPool: {tcp: {connectTimeout: 1s}}}");
    assert_eq!(parts(&mesh(lines, &own)).1.connect_timeout_ms, 1000);
    assert_eq!(parts(&mesh("connectTimeout: 0.5s", &own)).1.connect_timeout_ms, 1000);
}

#[test]
fn keepalive_of_which_a_rule_may_say_a_part() {
    let lines = "tcpKeepalive: {probes: 4, time: 60s}";
    let keepalive = |world: &World| {
        let keepalive = parts(world).1.connection.and_then(|rules| rules.keepalive);
        keepalive.map(|k| [k.probes, k.time_s, k.interval_s])
    };
    assert_eq!(keepalive(&mesh("connectTimeout: 3s", "")), None);
    assert_eq!(keepalive(&mesh(lines, "")), Some([4, 60, 0]));
    let own = rule("default", "{connectionPool: {tcp: {tcpKeepalive: {time: 5s, interval: 1s}}}}");
    assert_eq!(keepalive(&mesh(lines, &own)), Some([4, 5, 1]));
}

#[test]
fn retries_of_routes_that_say_nothing() {
    let tries = |world: &World| match &parts(world).0.actions[0] {
        Action::Forward(forward) => forward.retry.as_ref().map(|retry| (retry.attempts, retry.on)),
        other => panic!("{other:?}"),
    };
    let lines = "defaultHttpRetryPolicy: {attempts: 5, retryOn: connect-failure}";
    assert_eq!(tries(&mesh(lines, "")), Some((5, RetryOn::CONNECT_FAILURE)));
    assert_eq!(tries(&mesh(lines, &routes(""))), Some((5, RetryOn::CONNECT_FAILURE)));
    // What happens to be Istio's default is said all the same.
    assert_eq!(tries(&mesh(lines, &routes(", retries: {attempts: 2}"))).map(|(attempts, _)| attempts), Some(2));
    assert_eq!(tries(&mesh("defaultHttpRetryPolicy: {attempts: 0}", "")), None);
    assert_eq!(tries(&mesh("connectTimeout: 1s", "")).map(|(attempts, _)| attempts), Some(2));
}

#[test]
fn localities_until_a_rule_says_others() {
    let lines = "localityLbSetting: {distribute: [{from: eu, to: {eu: 100}}]}";
    let distributed = |world: &World| matches!(parts(world).1.locality, Some(LocalityRule::Distribute(_)));
    assert!(distributed(&mesh(lines, "")));
    let off = rule("default", "{loadBalancer: {localityLbSetting: {enabled: false}}}");
    assert!(!distributed(&mesh(lines, &off)));
}

#[test]
fn rules_of_the_root_namespace_hold_for_everyone() {
    let policy = "{connectionPool: {tcp: {connectTimeout: 7s}}}";
    let timeout = |root: &str, of: &str| parts(&mesh(root, &rule(of, policy))).1.connect_timeout_ms;
    assert_eq!(timeout("rootNamespace: central", "central"), 7000);
    assert_eq!(timeout("rootNamespace: central", "istio-system"), 10_000);
    assert_eq!(timeout("trustDomain: cluster.local", "istio-system"), 7000);
}

#[test]
fn who_sees_what_does_not_say_it() {
    let route = |own: &str, more: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: r, namespace: {own}}}\nspec: {{hosts: [b.two.svc.cluster.local]{more}, http: [{{directResponse: {{status: 418}}}}]}}\n"
        )
    };
    let balanced = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b, namespace: two}\nspec: {host: b, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 1s}}}}\n";
    let annotated = |value: &str| {
        app_in("two", "b", &["v1"]).replacen(
            "name: b, namespace: two",
            &format!("name: b, namespace: two, annotations: {{networking.istio.io/exportTo: '{value}'}}"),
            1,
        )
    };
    let (teapot, unknown) = (Answer::Status(418), Answer::Status(404));
    let there = to("outbound|80||b.two.svc.cluster.local");
    let plain = app_in("two", "b", &["v1"]);
    // Lines of MeshConfig, manifests; what clients in namespaces `one` and `two` get.
    for (lines, manifests, one, two) in [
        ("trustDomain: a.test", plain.clone(), &there, &there),
        ("defaultServiceExportTo: ['.']", plain.clone(), &unknown, &there),
        ("defaultServiceExportTo: ['one']", plain.clone(), &there, &unknown),
        ("defaultServiceExportTo: ['.', one]", plain.clone(), &there, &there),
        ("defaultServiceExportTo: ['.']", annotated("*"), &there, &there),
        ("trustDomain: a.test", annotated("."), &unknown, &there),
        ("trustDomain: a.test", annotated("one, ."), &there, &there),
        ("trustDomain: a.test", annotated("~"), &unknown, &unknown),
        ("trustDomain: a.test", plain.clone() + &route("two", ""), &teapot, &teapot),
        ("defaultVirtualServiceExportTo: ['.']", plain.clone() + &route("two", ""), &there, &teapot),
        ("defaultVirtualServiceExportTo: ['.']", plain.clone() + &route("one", ""), &teapot, &there),
        ("defaultVirtualServiceExportTo: ['.']", plain.clone() + &route("one", ", exportTo: ['*']"), &teapot, &teapot),
    ] {
        let world = mesh(lines, &(app_in("one", "a", &["v1"]) + &app_in("two", "c", &["v1"]) + &manifests));
        for (client, expected) in [("a-v1", one), ("c-v1", two)] {
            let answer = world.ask(client, "b.two.svc.cluster.local", Request::default());
            let answer = if answer == Answer::Unknown { unknown.clone() } else { answer };
            assert_eq!(answer, *expected, "{lines} for {client}\n{manifests}");
        }
    }
    for (lines, ms) in [("trustDomain: a.test", 1000), ("defaultDestinationRuleExportTo: ['.']", 10_000)] {
        let world = mesh(lines, &(app_in("one", "a", &["v1"]) + &plain + balanced));
        let timeout = |namespace: &str| {
            let host = world.compiled.host(namespace, "b.two.svc.cluster.local").expect("known");
            host.blobs.iter().find_map(|blob| match blob.model() {
                Model::Cluster(cluster) => Some(cluster.connect_timeout_ms),
                _ => None,
            })
        };
        assert_eq!((timeout("one"), timeout("two")), (Some(ms), Some(1000)), "{lines}");
    }
}

#[test]
fn a_route_to_what_is_not_exported_to_its_clients_leads_nowhere() {
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r, namespace: one}\nspec: {hosts: [api.test], http: [{route: [{destination: {host: b.two.svc.cluster.local}}]}]}\n";
    for (lines, expected, codes) in [
        ("trustDomain: a.test", to("outbound|80||b.two.svc.cluster.local"), &[][..]),
        ("defaultServiceExportTo: ['.']", Answer::Status(503), &["not-exported"]),
    ] {
        let world = mesh(lines, &(app_in("one", "a", &["v1"]) + &app_in("two", "b", &["v1"]) + rule));
        assert_eq!(world.ask("a-v1", "api.test", Request::default()), expected, "{lines}");
        assert_eq!(world.codes(), codes, "{lines}");
    }
}
