//! `exportTo` and MeshConfig's defaults for it, from manifests to sidecars of two namespaces.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::fs;

use ringway_tests::harness::mesh::address;
use ringway_tests::harness::{Client, Mesh, Upstream};

const MESH: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultServiceExportTo: ['.']
    defaultVirtualServiceExportTo: ['.']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: open, namespace: two}
spec: {hosts: [open], http: [{match: [{uri: {exact: /own}}], directResponse: {status: 418}}, {route: [{destination: {host: open}}]}]}
";

const CALLER: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]}
";

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: two, annotations: {NOTE}}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: NAME-1, namespace: two, labels: {kubernetes.io/service-name: NAME}}
addressType: IPv4
ports: [{name: http, port: PORT}]
endpoints: [{addresses: [127.0.0.1]}]
";

#[test]
fn a_namespace_sees_what_is_exported_to_it() {
    let upstream = Upstream::echo();
    let mut manifest = MESH.to_string();
    for (name, namespace) in [("near", "two"), ("far", "one")] {
        manifest += &CALLER.replace("NAMESPACE", namespace).replace("NAME", name);
    }
    for (name, note) in [("open", "networking.istio.io/exportTo: '*'"), ("closed", "")] {
        let port = upstream.address().port().to_string();
        manifest += &SERVICE.replace("NAME", name).replace("NOTE", note).replace("PORT", &port);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mesh.yaml"), manifest).unwrap();
    let mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    for (caller, host, path, status) in [
        ("near", "closed.two", "/", 200),
        ("far", "closed.two", "/", 404),
        ("near", "open.two", "/own", 418),
        ("far", "open.two", "/own", 200),
    ] {
        let mut client = Client::connect(address(&mesh.pod(caller)["outbound"]));
        assert_eq!(client.get(host, path).status, status, "{host}{path} from {caller}");
    }
}
