//! Sidecars: which hosts a proxy sees.

use super::manifests::{Answer, Request, World, app, app_in, good, load, to, world};
use ringway_config::model::{ListenerProtocol, Model};

fn sidecar(meta: &str, spec: &str) -> String {
    format!("---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{{meta}}}\nspec: {spec}\n")
}

fn apps() -> String {
    let raw = |text: String| text.replace("{name: http, port: 80,", "{name: http, port: 80}, {name: tcp, port: 9000,");
    app("web", &["v1"]) + &app("shop", &["v1"]) + &raw(app_in("far", "db", &["v1"])) + &app_in("far", "api", &["v1"])
}

fn sees(world: &World, from: &str) -> Vec<&'static str> {
    let hosts = ["web.default", "shop.default", "db.far", "api.far", "ext.example"];
    hosts.into_iter().filter(|host| world.ask(from, host, Request::default()) != Answer::Unknown).collect()
}

const EXTERNAL: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: far}
spec: {hosts: [ext.example], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: 10.9.9.9}]}
";

#[test]
fn egress_hosts_by_namespace_and_name() {
    for (hosts, expected) in [
        ("['./*']", &["web.default", "shop.default"][..]),
        ("['*/*']", &["web.default", "shop.default", "db.far", "api.far", "ext.example"]),
        ("['far/*']", &["db.far", "api.far", "ext.example"]),
        ("['*/ext.example', './shop.default.svc.cluster.local']", &["shop.default", "ext.example"]),
        ("['far/*.svc.cluster.local']", &["db.far", "api.far"]),
        ("['~/*']", &[]),
        ("['default/*.example']", &[]),
    ] {
        let world = good(&(apps() + EXTERNAL + &sidecar("name: s", &format!("{{egress: [{{hosts: {hosts}}}]}}"))));
        assert_eq!(sees(&world, "web-v1"), expected, "{hosts}");
        // Other namespaces are not limited by it.
        assert_eq!(sees(&world, "api-v1").len(), 5);
        let proxy = world.compiled.proxy(&world.node("web-v1")).expect("has a proxy");
        let Model::Listeners(set) = proxy.blobs[0].model() else { panic!() };
        let raw = set.listeners.iter().any(|listener| listener.name == "outbound|9000|db.far.svc.cluster.local");
        assert_eq!(raw, expected.contains(&"db.far"), "{hosts}");
    }
}

#[test]
fn the_narrowest_sidecar_holds() {
    let all = apps()
        + EXTERNAL
        + &sidecar("name: root, namespace: istio-system", "{egress: [{hosts: ['*/ext.example']}]}")
        + &sidecar("name: whole", "{egress: [{hosts: ['far/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}")
        + &sidecar("name: some", "{workloadSelector: {labels: {app: shop}}, egress: [{hosts: ['./*']}]}");
    let world = good(&all);
    assert_eq!(sees(&world, "shop-v1"), ["web.default", "shop.default"]);
    assert_eq!(sees(&world, "web-v1"), ["db.far", "api.far", "ext.example"]);
    assert_eq!(sees(&world, "api-v1"), ["ext.example"]);
}

#[test]
fn a_route_leads_out_of_what_is_seen() {
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [web]\n  http: [{route: [{destination: {host: api.far.svc.cluster.local}}]}]\n";
    let world = good(&(apps() + rule + &sidecar("name: s", "{egress: [{hosts: ['./*']}]}")));
    let answer = world.ask("shop-v1", "web", Request::default());
    assert_eq!(answer, to("outbound|80||api.far.svc.cluster.local"));
}

#[test]
fn a_port_with_a_listener_of_its_own_sees_what_that_one_names() {
    for (egress, at_80, at_81) in [
        ("{port: {number: 81, protocol: HTTP}, hosts: ['far/*']}, {hosts: ['./*']}", true, false),
        ("{port: {number: 81, protocol: HTTP}, hosts: ['./*']}", false, true),
        ("{port: {number: 80, protocol: HTTP}, hosts: ['./*']}, {hosts: ['far/*']}", true, false),
        ("{port: {number: 3128, protocol: HTTP_PROXY}, hosts: ['./*']}", true, true),
    ] {
        let two = app("web", &["v1"])
            .replace("targetPort: 8080}", "targetPort: 8080}, {name: http-2, port: 81, targetPort: 8080}");
        let world = good(&(two + &sidecar("name: s", &format!("{{egress: [{egress}]}}"))));
        let seen = |host| world.ask("web-v1", host, Request::default()) != Answer::Unknown;
        assert_eq!((seen("web"), seen("web:81")), (at_80, at_81), "{egress}");
        let proxy = world.compiled.proxy(&world.node("web-v1")).expect("has a proxy");
        let names: Vec<_> = world.compiled.hosts_of(proxy).iter().map(|host| host.name.clone()).collect();
        let listed = |port| names.contains(&format!("web.default.svc.cluster.local:{port}"));
        assert_eq!((listed(80), listed(81)), (at_80, at_81), "{egress}");
    }
}

#[test]
fn the_way_to_a_port_of_a_pod() {
    let pool = |text: &str| format!("connectionPool: {{tcp: {{maxConnections: {text}}}}}");
    for (said, http, app_port, connections) in [
        ("", true, 8080, 9),
        ("{port: {number: 8080, protocol: TCP}}", false, 8080, 9),
        ("{port: {number: 8080, protocol: HTTP}, defaultEndpoint: '[::1]:81'}", true, 81, 9),
        (&format!("{{port: {{number: 8080, protocol: HTTP}}, captureMode: NONE, {}}}", pool("3")), true, 8080, 3),
    ] {
        let spec = format!("{{ingress: [{said}], inboundConnectionPool: {{tcp: {{maxConnections: 9}}}}}}");
        let world = good(&(app("web", &["v1"]) + &sidecar("name: s", &spec)));
        let proxy = world.compiled.proxy(&world.node("web-v1")).expect("has a proxy");
        let Model::Listeners(set) = proxy.blobs[0].model() else { panic!() };
        let listener = set.listeners.iter().find(|listener| listener.name == "inbound-8080").expect("its port");
        assert_eq!(matches!(listener.protocol, ListenerProtocol::Http { .. }), http, "{said}");
        for blob in &proxy.blobs {
            match blob.model() {
                Model::Endpoints(set) => assert_eq!(set.endpoints[0].address.port(), app_port, "{said}"),
                Model::Cluster(cluster) => assert_eq!(cluster.max_connections, connections, "{said}"),
                _ => {}
            }
        }
    }
    let elsewhere = sidecar("name: s", "{ingress: [{port: {number: 9, protocol: HTTP}}]}");
    assert_eq!(world(&(app("web", &["v1"]) + &elsewhere)).codes(), ["idle-ingress"]);
}

#[test]
fn what_is_refused() {
    for (spec, code) in [
        ("{egress: [{hosts: ['*']}]}", "wrong-host"),
        ("{egress: [{hosts: ['./*'], port: {number: 80}}]}", "missing-field"),
        ("{egress: [{hosts: ['./*'], port: {number: 80, protocol: HTTP, targetPort: 8080}}]}", "not-supported-yet"),
        ("{egress: [{hosts: ['./*']}, {hosts: ['*/*']}]}", "duplicate-port"),
        ("{egress: [{hosts: ['./*'], bind: 127.0.0.1}]}", "not-supported-yet"),
        ("{ingress: [{defaultEndpoint: '127.0.0.1:80'}]}", "missing-field"),
        ("{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: '10.0.0.1:80'}]}", "wrong-address"),
        ("{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: 'unix:///a'}]}", "not-supported-yet"),
        ("{ingress: [{port: {number: 80, protocol: HTTP}, bind: 10.0.0.1}]}", "not-supported-yet"),
        ("{ingress: [{port: {number: 80, protocol: HTTP}, tls: {mode: SIMPLE}}]}", "not-supported-yet"),
        ("{ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: 80, protocol: TCP}}]}", "duplicate-port"),
        ("{outboundTrafficPolicy: {egressProxy: {host: a}}}", "not-supported-yet"),
        ("{egres: []}", "unknown-field"),
    ] {
        let codes: Vec<_> = load(&sidecar("name: s", spec)).diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, [code], "{spec}");
    }
}
