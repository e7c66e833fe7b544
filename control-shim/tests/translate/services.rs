//! Services, endpoints, pods and what carries them.

use super::manifests::{Request, app, good, to, world};
use ringway_config::model::{ListenerProtocol, Model, Role};

fn listeners(world: &super::manifests::World, workload: &str) -> Vec<(String, Role, bool)> {
    let proxy = world.compiled.proxy(&world.node(workload)).expect("has a proxy");
    let Model::Listeners(set) = proxy.blobs[0].model() else { panic!() };
    let http = |protocol: &ListenerProtocol| matches!(protocol, ListenerProtocol::Http { .. });
    set.listeners.iter().map(|listener| (listener.name.clone(), listener.role, http(&listener.protocol))).collect()
}

#[test]
fn ports_are_carried_by_what_they_say() {
    let text = app("web", &["v1"])
        + "---
apiVersion: v1
kind: Service
metadata: {name: many}
spec:
  selector: {app: web}
  ports:
  - {name: grpc-api, port: 1}
  - {name: x, port: 2, appProtocol: http}
  - {name: mysql, port: 3}
  - {name: odd, port: 4}
  - {name: other, port: 3306}
  - {name: dns, port: 53, protocol: UDP}
";
    let world = good(&text);
    assert_eq!(world.codes(), ["http2-as-tcp", "not-carried", "protocol-assumed"]);
    let names: Vec<_> =
        listeners(&world, "web-v1").into_iter().filter(|l| l.1 == Role::Outbound).map(|l| l.0).collect();
    let host = "many.default.svc.cluster.local";
    let tcp = |port: u16| format!("outbound|{port}|{host}");
    assert_eq!(names, ["outbound".to_string(), tcp(1), tcp(3), tcp(3306)]);
    assert_eq!(world.ask("web-v1", "many:2", Request::default()), to(&format!("outbound|2||{host}")));
    assert_eq!(world.ask("web-v1", "many:4", Request::default()), to(&format!("outbound|4||{host}")));
}

#[test]
fn a_pod_listens_for_declared_and_for_targeted_ports() {
    let text = app("web", &["v1"]).replace("containerPort: 8080", "containerPort: 9090, name: metrics");
    let world = good(&text);
    let inbound: Vec<_> = listeners(&world, "web-v1").into_iter().filter(|l| l.1 == Role::Inbound).collect();
    // 8080 is what the service targets; nobody says what 9090 speaks, so it is opaque.
    assert_eq!(inbound, [("inbound-8080".into(), Role::Inbound, true), ("inbound-9090".into(), Role::Inbound, false)]);
}

#[test]
fn a_pod_without_a_sidecar_is_reached_directly_and_told_nothing() {
    let text = app("web", &["v1"])
        + &app("bare", &["v1"]).replace(
            "metadata: {labels: {app: bare",
            "metadata: {annotations: {sidecar.istio.io/inject: 'false'}, labels: {app: bare",
        );
    let world = good(&text);
    let pod = world.mesh.pod(&world.node("bare-v1")).expect("planned");
    assert!(!pod.sidecar && world.compiled.proxy(&pod.node()).is_none());
    let host = world.compiled.host("default", "bare").expect("known");
    for blob in &host.blobs {
        match blob.model() {
            Model::Cluster(cluster) => assert!(!cluster.mesh_internal),
            Model::Endpoints(set) => assert_eq!(set.endpoints[0].address, pod.app[&8080]),
            _ => {}
        }
    }
}

#[test]
fn named_target_ports_and_replicas() {
    let text = app("web", &["v1"])
        .replace("targetPort: 8080", "targetPort: main")
        .replace("containerPort: 8080", "containerPort: 7000, name: main")
        .replace("spec:\n  selector: {matchLabels", "spec:\n  replicas: 3\n  selector: {matchLabels");
    let world = good(&text);
    assert_eq!(world.mesh.pods.len(), 3);
    let names: std::collections::BTreeSet<_> = world.mesh.pods.iter().map(|pod| pod.name.clone()).collect();
    assert_eq!(names.len(), 3);
    let set = world.compiled.host("default", "web").expect("known").blobs.iter().find_map(|blob| match blob.model() {
        Model::Endpoints(set) => Some((set.endpoints.len(), set.workloads.len())),
        _ => None,
    });
    assert_eq!(set, Some((3, 1)));
}

#[test]
fn slices_give_addresses_to_services_without_a_selector() {
    let text = app("web", &["v1"])
        + "---
apiVersion: v1
kind: Service
metadata: {name: old}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: old-1, labels: {kubernetes.io/service-name: old}}
addressType: IPv4
ports: [{name: http, port: 8000}]
endpoints:
- {addresses: [10.0.0.2]}
- {addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.0.0.3], conditions: {ready: false}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [api.far.example]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8081}]
  resolution: STATIC
  endpoints: [{address: 10.9.9.9, weight: 5}, {address: 10.9.9.8, ports: {http: 1234}}]
";
    let world = good(&text);
    let addresses = |authority: &str| {
        let host = world.compiled.host("default", authority).expect("known");
        let set = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Endpoints(set) => Some(set.clone()),
            _ => None,
        });
        set.expect("endpoints")
            .endpoints
            .iter()
            .map(|e| (e.address.to_string(), e.weight, e.draining))
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses("old"), [("10.0.0.1:8000".into(), 1, true), ("10.0.0.2:8000".into(), 1, false)]);
    assert_eq!(addresses("api.far.example"), [("10.9.9.8:1234".into(), 1, false), ("10.9.9.9:8081".into(), 5, false)]);
}

#[test]
fn literal_addresses_of_both_families_are_authorities() {
    let text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: db}\nspec:\n  hosts: [api.far.example]\n  addresses: [192.0.2.1, '2001:db8::1']\n  \
        ports: [{number: 80, name: http, protocol: HTTP}]\n  resolution: STATIC\n  endpoints: [{address: 10.9.9.9}]\n";
    let world = good(text);
    for authority in ["192.0.2.1", "[2001:db8::1]", "[2001:DB8:0::1]:80"] {
        assert!(world.compiled.host("default", authority).is_some(), "{authority}");
    }
}

#[test]
fn disagreement_about_a_port_is_carried_as_bytes_and_said() {
    let text = app("web", &["v1"])
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: raw}\nspec: {selector: {app: web}, ports: [{name: tcp, port: 1, targetPort: 8080}]}\n";
    let world = world(&text);
    assert_eq!(world.codes(), ["conflict"]);
    assert!(listeners(&world, "web-v1").contains(&("inbound-8080".into(), Role::Inbound, false)));
}

#[test]
fn pods_and_workload_entries_stand_behind_selectors() {
    let text = app("web", &["v1"])
        + "---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, labels: {app: web}}
spec: {address: 10.9.0.1, labels: {version: v0}, ports: {http: 8088}, weight: 3, serviceAccount: vm}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: other, namespace: far}
spec: {address: 10.9.0.2, labels: {app: web}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: both}
spec:
  hosts: [both.mesh]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: STATIC
  workloadSelector: {labels: {app: web}}
";
    let world = good(&text);
    let endpoints = |authority: &str| {
        let host = world.compiled.host("default", authority).expect("known");
        let set = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Endpoints(set) => Some(set.clone()),
            _ => None,
        });
        let mut all: Vec<_> =
            set.expect("endpoints").endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect();
        all.sort();
        all
    };
    let pod = world.mesh.pod(&world.node("web-v1")).expect("planned").reach(8080).to_string();
    let mut expected = vec![("10.9.0.1:8088".to_string(), 3), (pod, 1)];
    expected.sort();
    assert_eq!(endpoints("both.mesh"), expected);
    // A Service finds VMs by their labels too.
    assert_eq!(endpoints("web"), expected);
    let twice = text.replace("  workloadSelector", "  endpoints: [{address: 10.0.0.1}]\n  workloadSelector");
    assert_eq!(super::manifests::world(&twice).codes(), ["conflict"]);
}

#[test]
fn names_are_left_to_the_proxy_to_look_up() {
    let entry = |rest: &str| {
        app("web", &["v1"])
            + "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far}\nspec:\n  hosts: [far.example]\n  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]\n"
            + rest
    };
    let behind = |rest: &str| {
        let world = good(&entry(rest));
        let host = world.compiled.host("default", "far.example").expect("known");
        let set = host.blobs.iter().find_map(|blob| match blob.model() {
            Model::Endpoints(set) => Some(set.clone()),
            _ => None,
        });
        let set = set.expect("endpoints");
        let mut all: Vec<_> = set.endpoints.iter().map(|e| format!("{} {}", e.address, e.weight)).collect();
        let first = |one: bool| if one { " first" } else { "" };
        all.extend(set.names.iter().map(|n| format!("{}:{} {}{}", n.host, n.port, n.weight, first(n.first_only))));
        all
    };
    let vm = "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm}\nspec: {address: vm.example, labels: {app: vm}}\n";
    for (rest, expected) in [
        ("  resolution: DNS\n".to_string(), &["far.example:8080 1"][..]),
        ("  resolution: DNS_ROUND_ROBIN\n".into(), &["far.example:8080 1 first"]),
        ("  resolution: NONE\n".into(), &["far.example:8080 1"]),
        ("  resolution: DYNAMIC_DNS\n".into(), &["far.example:8080 1"]),
        (String::new(), &["far.example:8080 1"]),
        (
            "  resolution: DNS\n  endpoints: [{address: B.example, ports: {http: 1}, weight: 3}, {address: 10.0.0.9}]\n".into(),
            &["10.0.0.9:8080 1", "b.example:1 3"],
        ),
        (format!("  resolution: DNS\n  workloadSelector: {{labels: {{app: vm}}}}\n{vm}"), &["vm.example:8080 1"]),
    ] {
        assert_eq!(behind(&rest), expected, "{rest}");
    }
    for (rest, code) in [
        ("  resolution: STATIC\n  endpoints: [{address: b.example}]\n", "wrong-address"),
        ("  resolution: DNS_ROUND_ROBIN\n  endpoints: [{address: a.example}, {address: b.example}]\n", "conflict"),
        ("  resolution: NONE\n  endpoints: [{address: 10.0.0.1}]\n", "conflict"),
        ("  resolution: DYNAMIC_DNS\n  endpoints: [{address: 10.0.0.1}]\n", "conflict"),
        ("  resolution: STATIC\n  endpoints: [{address: 'unix:///x'}]\n", "not-supported-yet"),
    ] {
        assert_eq!(super::manifests::world(&entry(rest)).codes(), [code], "{rest}");
    }
    let text = entry("  resolution: DNS\n").replace("far.example", "'*.example'");
    assert_eq!(super::manifests::world(&text).codes(), ["conflict"]);
    let unused = entry(&format!("  resolution: STATIC\n  workloadSelector: {{labels: {{app: vm}}}}\n{vm}"));
    assert_eq!(super::manifests::world(&unused).codes(), ["not-applied"]);
}
