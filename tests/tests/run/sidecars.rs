//! What a Sidecar says of single ports, from manifests to a pod that is called and one that calls.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::fs;

use ringway_tests::harness::mesh::address;
use ringway_tests::harness::{Client, Mesh};

const MANIFEST: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: http-more, port: 81, targetPort: 8081}
  - {name: http-own, port: 82, targetPort: 8082}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}, {containerPort: 8081}, {containerPort: 8082}]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: called}
spec:
  workloadSelector: {labels: {app: web}}
  ingress:
  - {port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:8082'}
  - {port: {number: 8081, protocol: TCP, name: tcp}, defaultEndpoint: '0.0.0.0:8082'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: calling}
spec:
  workloadSelector: {labels: {app: caller}}
  egress:
  - {port: {number: 82, protocol: HTTP, name: http}, hosts: ['~/*']}
  - {hosts: ['./*']}
";

#[test]
fn ports_lead_where_a_sidecar_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mesh.yaml"), MANIFEST).unwrap();
    let mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let get = |pod: &str, host: &str| {
        let response = Client::connect(address(&mesh.pod(pod)["outbound"])).get(host, "/");
        let report: serde_json::Value = serde_json::from_str(&response.text()).unwrap_or_default();
        (response.status, report["port"].as_u64())
    };
    assert_eq!(get("caller", "web"), (200, Some(8082)), "the app's port is another");
    assert_eq!(get("caller", "web:81"), (200, Some(8082)), "as bytes too");
    assert_eq!(get("caller", "web:82"), (404, None), "nobody is seen at this port");
    assert_eq!(get("web", "web:82"), (200, Some(8082)), "it is one Sidecar that says so");
}
