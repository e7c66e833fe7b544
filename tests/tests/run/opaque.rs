//! From manifests to bytes: a TLS gateway by server name, and hosts that are looked up at a DNS server of the test's own.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ringway_tests::harness::dns::{Dns, Says};
use ringway_tests::harness::{Client, Mesh, Reply, Upstream, client_hello, until};

const MANIFEST: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.example.test'], tls: {mode: PASSTHROUGH}}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far}
spec:
  hosts: [far.example.test]
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: TLS_PORT}, {number: 80, name: http, protocol: HTTP, targetPort: HTTP_PORT}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: near}
spec:
  hosts: [near.example.test]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {tls: NEAR_PORT}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: names}
spec:
  hosts: ['*.example.test']
  gateways: [door]
  tls:
  - match: [{sniHosts: [near.example.test]}]
    route: [{destination: {host: near.example.test, port: {number: 443}}}]
  - match: [{sniHosts: ['*.example.test']}]
    route: [{destination: {host: far.example.test, port: {number: 443}}}]
  http: [{delegate: {name: delegate}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: delegate}
spec:
  http: [{route: [{destination: {host: far.example.test, port: {number: 80}}}]}]
";

fn tls_server(name: &'static str) -> Upstream {
    Upstream::script(move |conn| {
        let said = conn.wire.rest().unwrap();
        conn.wire.send([name.as_bytes(), b" got ", &said].concat());
    })
}

#[test]
fn names_choose_and_names_are_looked_up() {
    let (far, near) = (tls_server("far"), tls_server("near"));
    let web = Upstream::serve(|_| Reply::ok("hello from afar"));
    let dns = Dns::start();
    dns.say("far.example.test", Says::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 1));
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST
        .replace("TLS_PORT", &far.address().port().to_string())
        .replace("HTTP_PORT", &web.address().port().to_string())
        .replace("NEAR_PORT", &near.address().port().to_string());
    fs::write(folder.path().join("mesh.yaml"), manifest).unwrap();
    let mesh = Mesh::start(&[folder.path().to_str().unwrap(), "--dns", &dns.address().to_string()]);
    let gateway = mesh.gateway(80);
    until("the name to be looked up", || {
        (Client::connect(gateway).get("any.example.test", "/").text() == "hello from afar").then_some(())
    });
    for (name, server) in [("near.example.test", "near"), ("far.example.test", "far"), ("x.example.test", "far")] {
        let mut client = Client::connect(mesh.gateway(443));
        let said = client_hello(Some(name));
        client.send(&said);
        client.finish();
        assert_eq!(client.rest().unwrap(), [server.as_bytes(), b" got ", &said].concat(), "{name}");
    }
    let mut stranger = Client::connect(mesh.gateway(443));
    stranger.send(client_hello(Some("other.test")));
    stranger.expect_end();
}
