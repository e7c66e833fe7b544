//! Meshes for opaque connections: rules of both APIs at every place.

use crate::dice::Dice;
use crate::generate::{NAMESPACE, Place, SUBSETS, pod};
use serde_json::{Value, json};

/// The services of every mesh.
const SERVICES: [&str; 3] = ["alpha", "beta", "gamma"];
/// Most pods of one version.
const REPLICAS_MAX: usize = 2;
/// Most pods of a mesh.
pub const PODS_MAX: usize = SERVICES.len() * SUBSETS.len() * REPLICAS_MAX;
/// The port of TCP.
const TCP: u16 = 9000;
/// The port of TLS.
const TLS: u16 = 9443;
/// Server names that clients ask for; some ask for none.
pub const NAMES: [Option<&str>; 7] = [
    Some("a.example.com"),
    Some("b.example.com"),
    Some("x.w.example.com"),
    Some("y.z.w.example.com"),
    Some("A.Example.com"),
    Some("other.test"),
    None,
];
/// What rules are for. A name of two of them goes by the longer one.
const PATTERNS: [&str; 4] = ["a.example.com", "b.example.com", "*.w.example.com", "*.example.com"];

/// Where connections enter.
pub struct Door {
    pub place: Place,
    /// Our listener.
    pub listener: String,
    /// The service that is called; at gateways that is not known.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl Door {
    /// Envoy's listener, and for people.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.place.name(), self.port, self.host)
    }
}

/// A generated mesh.
pub struct Mesh {
    pub seed: u64,
    documents: Vec<Value>,
    pub doors: Vec<Door>,
    /// The pods that answer.
    pub pods: Vec<String>,
}

/// The doors of every mesh.
pub fn doors() -> Vec<Door> {
    let gateway =
        |place, port, tls| Door { place, listener: format!("gateway-{port}"), host: String::new(), port, tls };
    let mut doors = vec![
        gateway(Place::Edge, TCP, false),
        gateway(Place::Edge, TLS, true),
        gateway(Place::Side, TCP, false),
        gateway(Place::Side, TLS, true),
    ];
    for service in SERVICES {
        let host = full(service);
        doors.push(Door {
            place: Place::Sidecar,
            listener: format!("outbound|{TCP}|{host}"),
            host,
            port: TCP,
            tls: false,
        });
    }
    doors
}

fn full(service: &str) -> String {
    format!("{service}.{NAMESPACE}.svc.cluster.local")
}

impl Mesh {
    pub fn new(seed: u64) -> Mesh {
        let dice = &mut Dice::new(seed, 1);
        let mut mesh = Mesh { seed, documents: Vec::new(), doors: doors(), pods: Vec::new() };
        SERVICES.iter().for_each(|service| mesh.service(dice, service));
        mesh.documents.push(pod("caller", NAMESPACE, json!({"app": "caller"})));
        mesh.edge(dice);
        mesh.side(dice);
        mesh.sidecar(dice);
        mesh
    }

    pub fn yaml(&self) -> String {
        crate::yaml::write(&self.documents)
    }

    fn service(&mut self, dice: &mut Dice, service: &str) {
        self.documents.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, "namespace": NAMESPACE},
            "spec": {"selector": {"app": service}, "ports": [
                {"name": "tcp", "port": TCP, "targetPort": 8080},
                {"name": "tls", "port": TLS, "targetPort": 8080},
            ]},
        }));
        for version in SUBSETS {
            for number in 0..1 + dice.below(REPLICAS_MAX) {
                let name = format!("{service}-{version}-{number}");
                let labels = json!({"app": service, "version": version, "sidecar.istio.io/inject": "false"});
                self.documents.push(pod(&name, NAMESPACE, labels));
                self.pods.push(name);
            }
        }
        let subset = |version: &&str| json!({"name": version, "labels": {"version": version}});
        self.documents.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": service, "namespace": NAMESPACE},
            "spec": {
                "host": service,
                "trafficPolicy": {"loadBalancer": {"simple": dice.pick(&["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"])}},
                "subsets": SUBSETS.iter().map(subset).collect::<Vec<_>>(),
            },
        }));
    }

    fn edge(&mut self, dice: &mut Dice) {
        self.documents.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": NAMESPACE},
            "spec": {"selector": {"istio": "edge"}, "servers": [
                {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
                {"port": {"number": TCP, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]},
                {"port": {"number": TLS, "name": "tls", "protocol": "TLS"}, "hosts": ["*.example.com"], "tls": {"mode": "PASSTHROUGH"}},
            ]},
        }));
        let tcp = rules(dice, |dice| condition(dice, &["edge", "mesh"]));
        self.virtual_service("edge-tcp", json!({"hosts": ["*"], "gateways": ["edge"], "tcp": tcp}));
        let tls = rules(dice, |dice| {
            let mut one = condition(dice, &["edge", "mesh"]);
            one["sniHosts"] = dice.some(&PATTERNS, 2).into();
            one
        });
        self.virtual_service("edge-tls", json!({"hosts": ["*.example.com"], "gateways": ["edge"], "tls": tls}));
    }

    fn side(&mut self, dice: &mut Dice) {
        let all = json!({"namespaces": {"from": "All"}});
        self.documents.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "side", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "istio", "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": all},
                {"name": "tcp", "port": TCP, "protocol": "TCP", "allowedRoutes": all},
                {"name": "tls", "port": TLS, "protocol": "TLS", "allowedRoutes": all, "tls": {"mode": "Passthrough"}},
            ]},
        }));
        let route = |kind: &str, name: &str, section: &str, hostnames: &[&str], backends: Value| {
            let mut spec =
                json!({"parentRefs": [{"name": "side", "sectionName": section}], "rules": [{"backendRefs": backends}]});
            if !hostnames.is_empty() {
                spec["hostnames"] = json!(hostnames);
            }
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1alpha2",
                "kind": kind,
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": spec,
            })
        };
        if dice.percent(85) {
            self.documents.push(route("TCPRoute", "tcp", "tcp", &[], backends(dice, TCP)));
        }
        for (number, pattern) in PATTERNS.into_iter().enumerate() {
            if dice.percent(60) {
                let name = format!("tls-{number}");
                self.documents.push(route("TLSRoute", &name, "tls", &[pattern], backends(dice, TLS)));
            }
        }
    }

    fn sidecar(&mut self, dice: &mut Dice) {
        for service in SERVICES {
            if dice.percent(70) {
                let tcp = rules(dice, |dice| {
                    let mut one = condition(dice, &["mesh", "edge"]);
                    if dice.percent(20) {
                        one["sourceNamespace"] = dice.pick(&[NAMESPACE, "back"]).into();
                    }
                    if dice.percent(20) {
                        one["sourceLabels"] = json!({"app": dice.pick(&["caller", "other"])});
                    }
                    one
                });
                self.virtual_service(&format!("mesh-{service}"), json!({"hosts": [service], "tcp": tcp}));
            }
        }
    }

    fn virtual_service(&mut self, name: &str, spec: Value) {
        self.documents.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }));
    }
}

fn rules(dice: &mut Dice, mut one_match: impl FnMut(&mut Dice) -> Value) -> Value {
    let rule = |dice: &mut Dice, one_match: &mut dyn FnMut(&mut Dice) -> Value| {
        let matches: Vec<Value> = (0..1 + dice.below(2)).map(|_| one_match(dice)).collect();
        json!({"match": matches, "route": destinations(dice)})
    };
    (0..1 + dice.below(3)).map(|_| rule(dice, &mut one_match)).collect()
}

/// A condition on port and gateway, which mostly holds at the first of these.
fn condition(dice: &mut Dice, gateways: &[&str]) -> Value {
    let mut one = json!({});
    if dice.percent(50) || gateways[0] == "edge" {
        one["port"] = dice.pick(&[TCP, TLS]).into();
    }
    if dice.percent(15) {
        one["gateways"] = json!([dice.pick(gateways)]);
    }
    one
}

fn destinations(dice: &mut Dice) -> Value {
    let several = dice.percent(50);
    let one = |dice: &mut Dice| {
        let mut to = json!({"host": dice.pick(&SERVICES), "port": {"number": TCP}});
        if dice.percent(50) {
            to["subset"] = dice.pick(&SUBSETS).into();
        }
        let mut one = json!({"destination": to});
        if several {
            one["weight"] = dice.pick(&[1, 20, 50]).into();
        }
        one
    };
    (0..if several { 2 } else { 1 }).map(|_| one(dice)).collect()
}

fn backends(dice: &mut Dice, port: u16) -> Value {
    let all = dice.some(&SERVICES, 2);
    let one = |name: &str, dice: &mut Dice| json!({"name": name, "port": port, "weight": dice.pick(&[1, 3, 10])});
    all.into_iter().map(|name| one(name, dice)).collect()
}
