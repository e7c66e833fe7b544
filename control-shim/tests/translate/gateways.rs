//! Istio's Gateway.

use super::manifests::{Answer, Request, app, app_in, good, to, world};
use ringway_config::model::{ListenerProtocol, Model};

const GATEWAY: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*.example.com', 'default/shop.test']
";

fn service(name: &str, hosts: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  hosts: {hosts}\n  gateways: [door]\n  http: {rules}\n"
    )
}

const WEB: &str = "outbound|80||web.default.svc.cluster.local";
const OTHER: &str = "outbound|80||other.default.svc.cluster.local";

fn apps() -> String {
    app("web", &["v1"]) + &app("other", &["v1"]) + GATEWAY
}

#[test]
fn a_stand_in_serves_the_hosts_on_which_both_agree() {
    let text = apps() + &service("a", "[a.example.com, shop.test, no.test]", "[{route: [{destination: {host: web}}]}]");
    let world = good(&text);
    let knock = |authority| world.knock("istio-ingressgateway", 80, authority, Request::default());
    assert_eq!(knock("a.example.com"), to(WEB));
    assert_eq!(knock("A.example.com:8080"), to(WEB));
    assert_eq!(knock("shop.test"), to(WEB));
    assert_eq!(knock("no.test"), Answer::Status(404));
    assert_eq!(knock("b.example.com"), Answer::Status(404));
    assert_eq!(world.mesh.pod("istio-system/istio-ingressgateway").expect("planned").gateway[&80].port(), 8080);
}

#[test]
fn virtual_services_of_one_host_add_up_with_the_catch_all_last() {
    let text = apps()
        + &service("all", "['*']", "[{route: [{destination: {host: web}}]}]")
        + &service("part", "['*']", "[{match: [{uri: {prefix: /other}}], route: [{destination: {host: other}}]}]");
    let world = good(&text);
    let knock = |path| world.knock("istio-ingressgateway", 80, "x.example.com", Request { path, ..Request::default() });
    assert_eq!((knock("/other/1"), knock("/")), (to(OTHER), to(WEB)));
}

/// `door` and a younger Gateway for the same port.
fn two_doors() -> String {
    let older = GATEWAY.replace("{name: door}", "{name: door, creationTimestamp: '2024-01-01T00:00:00Z'}");
    let younger = GATEWAY.replace("{name: door}", "{name: a-younger, creationTimestamp: '2024-01-02T00:00:00Z'}");
    app("web", &["v1"]) + &app("other", &["v1"]) + &older + &younger
}

#[test]
fn the_rules_of_the_older_gateway_come_first() {
    let rule = |host| format!("[{{match: [{{uri: {{prefix: /x}}}}], route: [{{destination: {{host: {host}}}}}]}}]");
    for (of_the_older, of_the_younger) in [("a", "b"), ("b", "a")] {
        let text = two_doors()
            + &service(of_the_older, "[a.example.com]", &rule("web"))
            + &service(of_the_younger, "[a.example.com]", &rule("other")).replace("[door]", "[a-younger]");
        let request = Request { path: "/x", ..Request::default() };
        assert_eq!(good(&text).knock("istio-ingressgateway", 80, "a.example.com", request), to(WEB), "{of_the_older}");
    }
}

#[test]
fn a_rule_for_the_second_of_two_gateways_holds_at_their_port() {
    let rules = "[{match: [{gateways: [a-younger], uri: {prefix: /x}}], route: [{destination: {host: other}}]}, {route: [{destination: {host: web}}]}]";
    let text = two_doors() + &service("a", "[a.example.com]", rules).replace("[door]", "[door, a-younger]");
    let world = good(&text);
    let knock = |path| world.knock("istio-ingressgateway", 80, "a.example.com", Request { path, ..Request::default() });
    assert_eq!((knock("/x"), knock("/")), (to(OTHER), to(WEB)));
    // What both Gateways bring is there once.
    let routes = world.compiled.proxy("istio-system/istio-ingressgateway").expect("it is planned").blobs.iter();
    let routes = routes.filter_map(|blob| match blob.model() {
        Model::Host(host) => Some((host.routes.len(), host.actions.len())),
        _ => None,
    });
    assert_eq!(routes.collect::<Vec<_>>(), [(2, 2)]);
}

#[test]
fn what_stands_behind_a_rule_for_everything_stays_unreachable() {
    let rule =
        |path, host| format!("{{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: {host}}}}}]}}");
    // This one is for other proxies.
    let elsewhere = rule("/", "other").replace("uri:", "sourceLabels: {app: own}, uri:");
    let text = apps()
        + &service("a", "[a.example.com]", &format!("[{elsewhere}, {}, {}]", rule("/", "web"), rule("/x", "other")))
        + &service("b", "[a.example.com]", &format!("[{}]", rule("/y", "other")));
    let world = good(&text);
    let knock = |path| world.knock("istio-ingressgateway", 80, "a.example.com", Request { path, ..Request::default() });
    assert_eq!((knock("/x"), knock("/y")), (to(WEB), to(OTHER)));
}

#[test]
fn gateway_and_port_conditions_are_decided_here() {
    let rules = "[{match: [{gateways: [mesh]}], route: [{destination: {host: other}}]}, {match: [{port: 81}], route: [{destination: {host: other}}]}, {route: [{destination: {host: web}}]}]";
    let text = apps() + &service("a", "[a.example.com]", rules).replace("[door]", "[door, mesh]");
    let world = good(&text);
    assert_eq!(world.knock("istio-ingressgateway", 80, "a.example.com", Request::default()), to(WEB));
    assert_eq!(world.ask("web-v1", "a.example.com", Request::default()), to(OTHER));
}

#[test]
fn a_running_pod_with_the_labels_is_the_gateway() {
    let pod = app_in("edge", "own", &["v1"]).replace("labels: {app: own", "labels: {istio: ingressgateway, app: own");
    let text = apps() + &pod + &service("a", "[a.example.com]", "[{route: [{destination: {host: web}}]}]");
    let world = good(&text);
    assert!(world.mesh.stand_ins.is_empty());
    assert_eq!(world.knock("own-v1", 80, "a.example.com", Request::default()), to(WEB));
}

#[test]
fn an_unknown_gateway_is_an_error_and_a_foreign_host_a_warning() {
    let text =
        apps() + &service("a", "[a.example.com]", "[{route: [{destination: {host: web}}]}]").replace("[door]", "[dor]");
    let found = world(&text);
    assert_eq!(
        (found.codes(), found.errors()[0].mend.as_str()),
        (vec!["unknown-gateway"], "did you mean `default/door`?")
    );
    let text = apps() + &service("a", "[a.test]", "[{route: [{destination: {host: web}}]}]");
    assert_eq!(world(&text).codes(), ["no-common-host"]);
}

#[test]
fn tcp_is_routed_by_weight_at_gateways() {
    let text = "---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: ['*']
  gateways: [door]
  tcp:
  - match: [{port: 31400}]
    route: [{destination: {host: echo, port: {number: 9000}, subset: v1}, weight: 80}, {destination: {host: echo, port: {number: 9000}}, weight: 20}]
";
    let world = world(&(app("web", &["v1"]) + text));
    assert_eq!(world.codes(), ["empty-subset"]);
    let proxy = world.compiled.proxy("istio-system/istio-ingressgateway").expect("planned");
    let Model::Listeners(set) = proxy.blobs[0].model() else { panic!() };
    let ListenerProtocol::Tcp { backends, .. } = &set.listeners[0].protocol else { panic!("{set:?}") };
    let backends: Vec<_> = backends.iter().map(|backend| (backend.cluster.as_str(), backend.weight)).collect();
    assert_eq!(
        backends,
        [
            ("outbound|9000|v1|echo.default.svc.cluster.local", 80),
            ("outbound|9000||echo.default.svc.cluster.local", 20)
        ]
    );
}

#[test]
fn one_of_istios_own_gateways_is_only_a_proxy_and_its_service_leads_there() {
    let pod = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: istio-ingress}
spec:
  template:
    metadata: {annotations: {inject.istio.io/templates: gateway}, labels: {istio: ingressgateway, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: istio-ingress}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80}]}
";
    let text = apps() + pod + &service("a", "[a.example.com]", "[{route: [{destination: {host: web}}]}]");
    let world = good(&text);
    let node = world.node("edge");
    let pod = world.mesh.pod(&node).expect("planned");
    assert!(pod.stand_in && pod.containers.is_empty() && world.mesh.stand_ins.is_empty());
    let host = world.compiled.host("default", "edge.istio-ingress").expect("known");
    let endpoints = host.blobs.iter().find_map(|blob| match blob.model() {
        Model::Endpoints(set) => Some(set.endpoints.iter().map(|e| e.address).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(endpoints, Some(vec![pod.gateway[&80]]));
}

#[test]
fn rules_that_can_do_nothing_are_said() {
    let text = app("web", &["v1"]).replace("name: http, port: 80", "name: grpc, port: 80")
        + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [web]\n  http: [{directResponse: {status: 200}}]\n"
        + "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  hostnames: [a.b]\n  parentRefs: [{kind: Service, group: '', name: web}]\n";
    assert_eq!(world(&text).codes(), ["http2-as-tcp", "not-applied", "not-applied", "not-honoured"]);
}
