//! A large mesh as manifests: services with endpoints, some of them routed, and pods that call them.

use std::fmt::Write;
use std::sync::Arc;

use control_shim::object::SourceFile;

pub const SERVICES: usize = 10_000;
pub const ENDPOINTS: usize = 10;
/// Services with a VirtualService and a DestinationRule.
pub const ROUTED: usize = 2_000;
/// VirtualServices at a Gateway, and HTTPRoutes at one of the Gateway API.
const AT_GATEWAYS: usize = 20;
/// Services whose endpoints are pods of this mesh, and the pods of each.
pub const OF_PODS: usize = 500;
pub const PODS: usize = 2;
/// Services whose manifests are in one file.
const FILE_SERVICES: usize = 100;

/// The files.
pub fn files() -> Vec<Arc<SourceFile>> {
    let parts = (0..SERVICES / FILE_SERVICES).map(|part| file(&format!("{part}.yaml"), manifests(part)));
    parts
        .chain([file("gateways.yaml", gateways()), file("pods.yaml", of_pods()), file("others.yaml", OTHERS.into())])
        .collect()
}

/// One file.
pub fn file(name: &str, text: String) -> Arc<SourceFile> {
    Arc::new(SourceFile { name: name.into(), text })
}

fn manifests(part: usize) -> String {
    let mut text = String::new();
    for n in part * FILE_SERVICES..(part + 1) * FILE_SERVICES {
        service(&mut text, n);
        if n < ROUTED {
            routes(&mut text, n);
        }
    }
    if part == 0 {
        text.push_str("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: caller, namespace: default}\nspec:\n  replicas: 10\n  selector: {matchLabels: {app: caller}}\n  template:\n    metadata: {labels: {app: caller}}\n    spec:\n      containers: [{name: app, image: x}]\n");
    }
    text
}

fn gateways() -> String {
    let mut text = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: door}\nspec: {selector: {istio: door}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com']}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 90, protocol: TCP}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: opaque}\nspec: {ports: [{name: tcp, port: 90}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: opaque, labels: {kubernetes.io/service-name: opaque}}\naddressType: IPv4\nports: [{name: tcp, port: 90}]\nendpoints: [{addresses: [10.201.0.1]}]\n---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: opaque}\nspec: {parentRefs: [{name: gate, sectionName: tcp}], rules: [{backendRefs: [{name: opaque, port: 90}]}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: inside}\nspec: {parentRefs: [{group: '', kind: Service, name: service-6000}], rules: [{backendRefs: [{name: service-6001, port: 80}]}]}\n",
    );
    for n in 0..AT_GATEWAYS {
        let (routed, attached) = (4_000 + n, 5_000 + n);
        write!(text, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: at-door-{n}}}\nspec: {{hosts: [h{n}.example.com], gateways: [door], http: [{{route: [{{destination: {{host: service-{routed}}}}}]}}]}}\n").unwrap();
        write!(text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: at-gate-{n}}}\nspec: {{parentRefs: [{{name: gate, sectionName: http}}], hostnames: [h{n}.example.com], rules: [{{backendRefs: [{{name: service-{attached}, port: 80}}]}}]}}\n").unwrap();
    }
    text
}

fn of_pods() -> String {
    let mut text = String::new();
    for n in 0..OF_PODS {
        write!(text, "---\napiVersion: v1\nkind: Service\nmetadata: {{name: pods-{n}}}\nspec: {{selector: {{app: pods-{n}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n").unwrap();
        write!(text, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: pods-{n}}}\nspec: {{replicas: {PODS}, template: {{metadata: {{labels: {{app: pods-{n}, version: v1}}}}, spec: {{containers: [{{name: app, image: x}}]}}}}}}\n").unwrap();
        write!(text, "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: pods-{n}}}\nspec: {{host: pods-{n}, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: 100}}}}}}}}\n").unwrap();
    }
    text
}

/// One of each kind that there are few of.
const OTHERS: &str = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: caller}
spec: {workloadSelector: {labels: {app: caller}}, egress: [{hosts: ['./*']}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: anywhere}
spec: {hosts: ['*.example.org'], ports: [{number: 443, name: http, protocol: HTTP}], resolution: DYNAMIC_DNS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec: {hosts: [service-7000], http: [{match: [{uri: {prefix: /part}}], delegate: {name: part}}, {route: [{destination: {host: service-7000}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part}
spec: {http: [{route: [{destination: {host: service-7001}}]}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: outside}
spec: {address: 10.200.0.1, labels: {app: pods-9}}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: far}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: far, namespace: far}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: '', kind: Service}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: far}
spec: {parentRefs: [{group: '', kind: Service, name: service-7002}], rules: [{backendRefs: [{name: far, namespace: far, port: 80}]}]}
";

fn service(text: &mut String, n: usize) {
    write!(text, "---\napiVersion: v1\nkind: Service\nmetadata: {{name: service-{n}, namespace: default}}\nspec:\n  ports: [{{name: http, port: 80}}]\n").unwrap();
    write!(text, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: service-{n}\n  namespace: default\n  labels: {{kubernetes.io/service-name: service-{n}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n").unwrap();
    for endpoint in 0..ENDPOINTS {
        writeln!(text, "- addresses: [10.{}.{}.{endpoint}]", n >> 8, n & 255).unwrap();
    }
}

fn routes(text: &mut String, n: usize) {
    let other = n + ROUTED;
    write!(text, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: routed-{n}, namespace: default}}\nspec:\n  hosts: [service-{n}]\n  http:\n  - match: [{{uri: {{prefix: /v2}}}}, {{headers: {{x-canary: {{exact: \"yes\"}}}}}}]\n    route: [{{destination: {{host: service-{other}}}}}]\n  - timeout: 3s\n    route:\n    - {{destination: {{host: service-{n}}}, weight: 90}}\n    - {{destination: {{host: service-{other}}}, weight: 10}}\n").unwrap();
    write!(text, "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: routed-{n}, namespace: default}}\nspec:\n  host: service-{n}\n  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}\n").unwrap();
}
