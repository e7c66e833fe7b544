//! Hosts that no manifest can list, from manifests to bytes: looked up by the name that a request gives.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ringway_tests::harness::dns::{Dns, Says};
use ringway_tests::harness::mesh::address;
use ringway_tests::harness::{Client, Mesh, Reply, Upstream};

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts: ['*.wild.test']
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: PORT}]
  resolution: DYNAMIC_DNS
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: limits}
spec: {egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {mode: MODE}}
";

#[test]
fn names_of_requests_are_looked_up() {
    let web = Upstream::serve(|request| Reply::ok(request.header("host").unwrap_or_default()));
    let dns = Dns::start();
    for name in ["a.wild.test", "b.c.wild.test", "any.test"] {
        dns.say(name, Says::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 600));
    }
    let port = web.address().port();
    for (mode, others) in [("REGISTRY_ONLY", 404), ("ALLOW_ANY", 200)] {
        let folder = tempfile::tempdir().unwrap();
        let manifest = MANIFEST.replace("PORT", &port.to_string()).replace("MODE", mode);
        fs::write(folder.path().join("mesh.yaml"), manifest).unwrap();
        let mesh = Mesh::start(&[folder.path().to_str().unwrap(), "--dns", &dns.address().to_string()]);
        let mut client = Client::connect(address(&mesh.pod("caller")["outbound"]));
        for host in ["a.wild.test", "b.c.wild.test", "a.wild.test"] {
            let response = client.get(host, "/");
            assert_eq!((response.status, response.text().as_str()), (200, host));
        }
        let any = format!("any.test:{port}");
        let response = client.get(&any, "/");
        assert_eq!(response.status, others, "{mode}");
        if others == 200 {
            assert_eq!(response.text(), any);
        }
        // What has no address, and what would only come back here.
        assert_eq!(client.get("none.wild.test", "/").status, 503);
        assert_eq!(client.get(&format!("127.0.0.1:{port}"), "/").status, 404);
    }
}
