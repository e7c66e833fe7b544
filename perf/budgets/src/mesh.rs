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
/// Services whose manifests are in one file.
const FILE_SERVICES: usize = 100;

/// The files.
pub fn files() -> Vec<Arc<SourceFile>> {
    let parts = (0..SERVICES / FILE_SERVICES).map(|part| file(&format!("{part}.yaml"), manifests(part)));
    parts.chain([file("gateways.yaml", gateways())]).collect()
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
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: door}\nspec: {selector: {istio: door}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com']}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 90, protocol: TCP}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: opaque}\nspec: {ports: [{name: tcp, port: 90}]}\n---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: opaque}\nspec: {parentRefs: [{name: gate, sectionName: tcp}], rules: [{backendRefs: [{name: opaque, port: 90}]}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: inside}\nspec: {parentRefs: [{group: '', kind: Service, name: service-6000}], rules: [{backendRefs: [{name: service-6001, port: 80}]}]}\n",
    );
    for n in 0..AT_GATEWAYS {
        let (routed, attached) = (4_000 + n, 5_000 + n);
        write!(text, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: at-door-{n}}}\nspec: {{hosts: [h{n}.example.com], gateways: [door], http: [{{route: [{{destination: {{host: service-{routed}}}}}]}}]}}\n").unwrap();
        write!(text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: at-gate-{n}}}\nspec: {{parentRefs: [{{name: gate, sectionName: http}}], hostnames: [h{n}.example.com], rules: [{{backendRefs: [{{name: service-{attached}, port: 80}}]}}]}}\n").unwrap();
    }
    text
}

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
