//! Opaque connections: `tcp` and `tls` rules, TLS gateways, TCPRoute and TLSRoute.

use super::manifests::{Seeded, World, app, good, world};
use ringway_config::Order;
use ringway_policy::{Connection, Reason, State, Step, View, decide_tcp, decide_tls};
use std::net::Ipv4Addr;

/// Where a connection goes: a cluster, or why it is closed. A server name is said at TLS listeners only.
fn connect(world: &World, workload: &str, listener: &str, server_name: Option<&str>) -> String {
    let snapshot = world.compiled.snapshot(&world.node(workload), &[], Order { incarnation: 1, sequence: 1 });
    let view = View::build(&snapshot.expect("has a proxy").expect("closed"), None).expect("accepted");
    let id = view.listener(listener).unwrap_or_else(|| panic!("no listener {listener}"));
    let mut state = State::new();
    state.adopt(&view, 0, &mut Seeded(7), &mut Vec::new());
    let connection = Connection { listener: id, client: Ipv4Addr::LOCALHOST.into(), now: 0 };
    let name = server_name.map(str::as_bytes);
    let step = match decide_tls(&view, connection, name, &mut state, &mut Seeded(7), &mut ()) {
        Step::Reject(Reason::NoListener) => {
            assert_eq!(server_name, None, "{listener} does not look at server names");
            decide_tcp(&view, connection, &mut state, &mut Seeded(7), &mut ())
        }
        step => step,
    };
    match step {
        Step::Forward(plan) => view.cluster(plan.cluster).name.to_string(),
        Step::Reject(reason) => reason.details().into(),
        other => panic!("{other:?}"),
    }
}

fn cluster(name: &str, port: u16) -> String {
    format!("outbound|{port}||{name}.default.svc.cluster.local")
}

/// An app with a TLS port 443 and a TCP port 9000.
fn raw(name: &str) -> String {
    app(name, &["v1"]).replace(
        "{name: http, port: 80, targetPort: 8080}",
        "{name: tls, port: 443, targetPort: 8080}, {name: tcp, port: 9000, targetPort: 8081}",
    )
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

const CLOSED: &str = "filter_chain_not_found";

const TLS_GATEWAY: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.example.com'], tls: {mode: PASSTHROUGH}}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [other.test], tls: {mode: PASSTHROUGH}}
";

#[test]
fn a_tls_gateway_goes_by_server_name() {
    let text = raw("a")
        + &raw("b")
        + TLS_GATEWAY
        + &service(
            "first",
            "  hosts: ['*.example.com', other.test]
  gateways: [door]
  tls:
  - match: [{port: 443, sniHosts: [a.example.com]}]
    route: [{destination: {host: a, port: {number: 443}}}]
  - match: [{sniHosts: ['*.example.com']}, {sniHosts: [other.test]}]
    route: [{destination: {host: b, port: {number: 443}}}]
  - match: [{port: 444, sniHosts: [z.example.com]}, {gateways: [elsewhere], sniHosts: [z.example.com]}]
    route: [{destination: {host: a, port: {number: 443}}}]",
        )
        + &service(
            "second",
            "  hosts: [a.example.com, no.test]
  gateways: [door]
  tls: [{match: [{sniHosts: [a.example.com, no.test]}], route: [{destination: {host: b, port: {number: 443}}}]}]",
        );
    let world = good(&text);
    let knock = |name| connect(&world, "istio-ingressgateway", "gateway-443", name);
    // Of equal names the older VirtualService's.
    assert_eq!(knock(Some("a.example.com")), cluster("a", 443));
    assert_eq!(knock(Some("z.example.com")), cluster("b", 443));
    assert_eq!(knock(Some("other.test")), cluster("b", 443));
    for name in [Some("no.test"), Some("example.com"), None] {
        assert_eq!(knock(name), CLOSED, "{name:?}");
    }
}

#[test]
fn a_sidecar_routes_tls_to_an_external_host_by_server_name() {
    let text = raw("egress")
        + "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far}
spec:
  hosts: [far.example]
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  addresses: [192.0.2.7]
  endpoints: [{address: 10.9.9.9}]
"
        + &service(
            "far",
            "  hosts: [far.example]
  tls: [{match: [{port: 443, sniHosts: [far.example], sourceLabels: {app: egress}}], route: [{destination: {host: egress, port: {number: 443}}}]}]
  tcp:
  - match: [{destinationSubnets: [10.0.0.0/8]}]
    route: [{destination: {host: far.example, port: {number: 443}}}]
  - match: [{destinationSubnets: [192.0.2.0/24]}]
    route: [{destination: {host: egress, port: {number: 9000}}}]",
        )
        + &raw("plain");
    let world = good(&text);
    let listener = |port: u16| format!("outbound|{port}|far.example");
    assert_eq!(connect(&world, "egress-v1", &listener(443), Some("far.example")), cluster("egress", 443));
    assert_eq!(connect(&world, "egress-v1", &listener(443), Some("near.example")), CLOSED);
    // The labels are not those of this pod: nobody looks at the server name.
    assert_eq!(connect(&world, "plain-v1", &listener(443), None), "outbound|443||far.example");
    assert_eq!(connect(&world, "plain-v1", &listener(9000), None), cluster("egress", 9000));
}

#[test]
fn subnets_that_cannot_be_decided_are_an_error() {
    let text = raw("a")
        + &service(
            "a",
            "  hosts: [a]\n  tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a, port: {number: 9000}}}]}]",
        );
    assert_eq!(world(&text).codes(), ["unknown-address"]);
    let any = text.replace("10.0.0.0/8", "0.0.0.0/0");
    assert_eq!(connect(&good(&any), "a-v1", "outbound|9000|a.default.svc.cluster.local", None), cluster("a", 9000));
}

#[test]
fn what_is_refused() {
    for (spec, code) in [
        ("  hosts: [a]\n  tls: [{match: [{sniHosts: [b]}], route: [{destination: {host: a}}]}]", "wrong-host"),
        ("  hosts: [a]\n  tls: [{route: [{destination: {host: a}}]}]", "missing-field"),
        ("  hosts: [a]\n  tls: [{match: [{port: 443}], route: [{destination: {host: a}}]}]", "missing-field"),
        (
            "  hosts: [a]\n  tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: a}}]}]",
            "not-supported-yet",
        ),
        (
            "  hosts: [a]\n  tcp: [{match: [{destinationSubnets: [x]}], route: [{destination: {host: a}}]}]",
            "wrong-address",
        ),
        ("  hosts: [a]\n  tcp: [{route: [{destination: {host: a}, headers: {}}]}]", "unknown-field"),
        (
            "  hosts: [a]\n  tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: http, port: {number: 80}}}]}]",
            "protocol-mismatch",
        ),
    ] {
        let codes = world(&(raw("a") + &app("http", &["v1"]) + &service("s", spec))).codes();
        assert!(codes.contains(&code), "{spec}: {codes:?}");
    }
    for (tls, code) in [
        ("{mode: SIMPLE}", "not-supported-yet"),
        ("{mode: AUTO_PASSTHROUGH}", "not-supported-yet"),
        ("{mode: X}", "wrong-value"),
    ] {
        assert_eq!(world(&TLS_GATEWAY.replace("{mode: PASSTHROUGH}", tls)).codes(), [code, code]);
    }
    let http_rules = service(
        "a",
        "  hosts: [a]\n  http: [{directResponse: {status: 200}}]\n  tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: a, port: {number: 443}}}]}]",
    );
    assert_eq!(world(&(raw("a") + &http_rules)).codes(), ["not-applied"]);
}

const K8S: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec:
  gatewayClassName: ringway
  listeners:
  - {name: wide, port: 443, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}
  - {name: narrow, port: 443, protocol: TLS, hostname: a.example.com, tls: {mode: Passthrough}}
  - {name: tcp, port: 9000, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: by-name}
spec:
  parentRefs: [{name: door}]
  hostnames: [a.example.com, b.example.com, c.test]
  rules: [{backendRefs: [{name: a, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: rest}
spec:
  parentRefs: [{name: door, sectionName: wide}]
  rules: [{backendRefs: [{name: b, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: bytes}
spec:
  parentRefs: [{name: door, port: 9000}]
  rules: [{backendRefs: [{name: b, port: 9000}]}]
";

#[test]
fn routes_of_the_gateway_api() {
    let world = good(&(raw("a") + &raw("b") + K8S));
    let knock = |name| connect(&world, "door-ringway", "gateway-443", name);
    assert_eq!(knock(Some("a.example.com")), cluster("a", 443));
    assert_eq!(knock(Some("b.example.com")), cluster("a", 443));
    assert_eq!(knock(Some("x.example.com")), cluster("b", 443));
    // A narrower listener's names are not left to a wider one.
    let elsewhere = K8S.replace("hostnames: [a.example.com, b.example.com, c.test]", "hostnames: [b.example.com]");
    let elsewhere = good(&(raw("a") + &raw("b") + &elsewhere));
    let closed = connect(&elsewhere, "door-ringway", "gateway-443", Some("a.example.com"));
    assert_eq!(closed, Reason::NoRoute.details());
    assert_eq!(knock(Some("c.test")), CLOSED);
    assert_eq!(connect(&world, "door-ringway", "gateway-9000", None), cluster("b", 9000));
}

#[test]
fn broken_routes_of_the_gateway_api() {
    for (from, to, codes) in [
        ("{name: b, port: 9000}", "{name: b, port: 9001}", &["unknown-port"][..]),
        ("{name: b, port: 9000}", "{name: b, namespace: far, port: 9000}", &["not-granted"]),
        ("port: 9000}]\n  rules", "port: 443}]\n  rules", &["not-attached"]),
        ("parentRefs: [{name: door, port: 9000}]", "parentRefs: [{name: gate}]", &["unknown-parent"]),
        (
            "parentRefs: [{name: door, port: 9000}]",
            "parentRefs: [{kind: Service, group: '', name: a, port: 1}]",
            &["unknown-port"],
        ),
        ("tls: {mode: Passthrough}", "tls: {mode: Terminate}", &["not-supported-yet", "not-supported-yet"]),
        (
            "port: 9000, protocol: TCP",
            "port: 443, protocol: TCP",
            &["conflict", "conflict", "conflict", "not-attached"],
        ),
        (
            "rules: [{backendRefs: [{name: b, port: 9000}]}]",
            "rules: [{backendRefs: []}, {backendRefs: []}]",
            &["unreachable"],
        ),
    ] {
        let world = world(&(raw("a") + &raw("b") + &K8S.replace(from, to)));
        assert_eq!(world.codes(), codes, "{to}");
    }
    // A backend that is not there keeps its share, which is closed.
    let missing = K8S.replace("{name: b, port: 9000}", "{name: c, port: 9000}");
    assert_eq!(
        connect(&world(&(raw("a") + &raw("b") + &missing)), "door-ringway", "gateway-9000", None),
        "cluster_not_found"
    );
    // A grant lets it in.
    let far = raw("far").replace("namespace: default", "namespace: far");
    let grant = "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: far}\nspec: {from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}], to: [{group: '', kind: Service}]}\n";
    let text = raw("a")
        + &raw("b")
        + &far
        + grant
        + &K8S.replace("{name: b, port: 9000}", "{name: far, namespace: far, port: 9000}");
    assert_eq!(connect(&good(&text), "door-ringway", "gateway-9000", None), "outbound|9000||far.far.svc.cluster.local");
}

const SERVICE_ROUTES: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: names}
spec:
  parentRefs: [{kind: Service, group: '', name: a, port: 443}]
  hostnames: [b.test]
  rules: [{backendRefs: [{name: b, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: producer}
spec:
  parentRefs: [{kind: Service, group: '', name: a}]
  rules: [{backendRefs: [{name: b, port: 9000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: consumer, namespace: far}
spec:
  parentRefs: [{kind: Service, group: '', name: a, namespace: default, port: 9000}]
  rules: [{backendRefs: [{name: far, port: 9000}]}]
";

#[test]
fn routes_of_services() {
    let far = raw("far").replace("namespace: default", "namespace: far");
    let world = good(&(raw("a") + &raw("b") + &far + SERVICE_ROUTES));
    let full = "a.default.svc.cluster.local";
    let ask = |from: &str, port: u16, name| connect(&world, from, &format!("outbound|{port}|{full}"), name);
    // A TLSRoute comes before a TCPRoute; what it does not name is closed.
    assert_eq!(ask("b-v1", 443, Some("b.test")), cluster("b", 443));
    assert_eq!(ask("b-v1", 443, Some("a.test")), CLOSED);
    assert_eq!(ask("b-v1", 9000, None), cluster("b", 9000));
    // A consumer's route is for its own namespace.
    assert_eq!(ask("far-v1", 9000, None), "outbound|9000||far.far.svc.cluster.local");
    assert_eq!(ask("far-v1", 443, Some("b.test")), cluster("b", 443));
}
