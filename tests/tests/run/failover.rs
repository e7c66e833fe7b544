//! Locality failover from manifests to bytes: requests stay near, go on to where it is next while the near endpoint fails, and come back.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ringway_tests::harness::mesh::address;
use ringway_tests::harness::{Client, Mesh, Reply, Upstream, until};

/// A caller in eu, and two hosts that are in eu and in us: by region, as Istio does by itself, and by a label.
const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller, tier: gold}}
    spec:
      nodeSelector: {topology.kubernetes.io/region: eu}
      containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: places}
spec:
  hosts: [by-region.test, by-label.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 127.0.0.1, ports: {http: FAR}, locality: us/a, labels: {tier: iron}}
  - {address: 127.0.0.1, ports: {http: NEAR}, locality: eu/b, labels: {tier: gold}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: by-region}
spec:
  host: by-region.test
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 2, interval: 20ms, baseEjectionTime: 300ms, maxEjectionPercent: 100}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: by-label}
spec:
  host: by-label.test
  trafficPolicy:
    loadBalancer: {localityLbSetting: {failoverPriority: [tier]}}
    outlierDetection: {consecutive5xxErrors: 2, interval: 20ms, baseEjectionTime: 300ms, maxEjectionPercent: 100}
";

/// Answers of one server in a row after which requests are said to go there.
const ROW: usize = 20;

/// A server that says its name, or fails while it is ill.
fn server(name: &'static str, ill: &Arc<AtomicBool>) -> Upstream {
    let ill = ill.clone();
    Upstream::serve(move |_| match ill.load(SeqCst) {
        true => Reply::raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
        false => Reply::ok(name),
    })
}

#[test]
fn requests_leave_a_place_that_fails_and_come_back() {
    let near_is_ill = Arc::new(AtomicBool::new(false));
    let (near, far) = (server("near", &near_is_ill), server("far", &Arc::default()));
    let manifest =
        MANIFEST.replace("NEAR", &near.address().port().to_string()).replace("FAR", &far.address().port().to_string());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mesh.yaml"), manifest).unwrap();
    let mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let mut client = Client::connect(address(&mesh.pod("caller")["outbound"]));
    let mut answers = |host: &str, wanted: &str| {
        let mut row = 0;
        until(&format!("{host} to be answered by {wanted}"), || {
            row = if client.get(host, "/").text() == wanted { row + 1 } else { 0 };
            (row == ROW).then_some(())
        });
    };
    for host in ["by-region.test", "by-label.test"] {
        answers(host, "near");
        assert_eq!(far.take_requests().len(), 0, "{host}");
        near_is_ill.store(true, SeqCst);
        answers(host, "far");
        near_is_ill.store(false, SeqCst);
        answers(host, "near");
        far.take_requests();
    }
}
