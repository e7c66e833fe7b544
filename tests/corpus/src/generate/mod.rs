//! One mesh from a seed: services with their pods, and routing rules of every kind at three places.

pub mod destination_rule;
mod edge;
pub mod http_route;
mod mesh_wide;
pub mod request;
pub mod service_entry;
mod sight;
pub mod virtual_service;
pub mod words;

use crate::dice::Dice;
use crate::origins::{Addresses, Origins};
use serde_json::{Value, json};

/// Where everything but the odd service lives.
pub const NAMESPACE: &str = "shop";
/// The subsets of every service.
pub const SUBSETS: [&str; 2] = ["v1", "v2"];
/// The services of every mesh.
pub const SERVICES: [Service; 5] = [
    Service { name: "alpha", namespace: NAMESPACE, sidecars: false },
    Service { name: "beta", namespace: NAMESPACE, sidecars: false },
    Service { name: "gamma", namespace: NAMESPACE, sidecars: false },
    Service { name: "delta", namespace: NAMESPACE, sidecars: true },
    Service { name: "omega", namespace: "back", sidecars: false },
];
/// The label that says where a pod is.
pub const LOCALITY: &str = "topology.istio.io/locality";
/// Where pods are; the first one is the caller's.
const LOCALITIES: [&str; 3] = ["r1.z1", "r1.z2", "r2.z1"];
/// Most pods of one version.
const REPLICAS_MAX: usize = 2;
/// Most pods of one mesh that answer requests.
pub const ENDPOINTS_MAX: usize =
    SERVICES.len() * SUBSETS.len() * REPLICAS_MAX + service_entry::OUTSIDE * service_entry::OUTSIDE_ENDPOINTS_MAX + 1;

/// A service with two versions.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Name.
    pub name: &'static str,
    /// Namespace.
    pub namespace: &'static str,
    /// Whether its pods have proxies.
    pub sidecars: bool,
}

/// Where requests enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Istio's Gateway, routed by VirtualServices.
    Edge,
    /// A Gateway of the Gateway API, routed by HTTPRoutes.
    Side,
    /// The outbound side of a sidecar.
    Sidecar,
}

/// A host at a place.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where.
    pub place: Place,
    /// Authorities that reach it.
    pub authorities: Vec<String>,
    /// Indices into [`Mesh::documents`] of what routes it.
    pub routed_by: Vec<usize>,
}

/// A generated mesh.
pub struct Mesh {
    /// What it was made from.
    pub seed: u64,
    /// The manifests.
    pub documents: Vec<Value>,
    /// The hosts that requests may ask for.
    pub sites: Vec<Site>,
}

impl Service {
    /// Its host, fully qualified.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// Its host as a rule of `shop` may write it.
    pub fn name_for(&self, dice: &mut Dice) -> String {
        if self.namespace == NAMESPACE && dice.percent(60) { self.name.into() } else { self.host() }
    }
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 3] = [Place::Edge, Place::Side, Place::Sidecar];

    /// For people and for listeners.
    pub fn name(self) -> &'static str {
        match self {
            Place::Edge => "edge",
            Place::Side => "side",
            Place::Sidecar => "sidecar",
        }
    }

    /// The pod whose proxy serves it.
    pub fn node(self) -> &'static str {
        match self {
            Place::Edge => "istio-system/istio-edge",
            Place::Side => "shop/side-istio",
            Place::Sidecar => "shop/caller",
        }
    }

    /// The proxy's listener.
    pub fn listener(self) -> &'static str {
        match self {
            Place::Edge | Place::Side => "gateway-80",
            Place::Sidecar => "outbound",
        }
    }
}

impl Mesh {
    /// The mesh of a seed.
    pub fn new(seed: u64) -> Mesh {
        let mut mesh = Mesh { seed, documents: Vec::new(), sites: Vec::new() };
        let dice = &mut Dice::new(seed, 1);
        mesh.mesh_wide(dice);
        let spread = dice.percent(70);
        for service in &SERVICES {
            mesh.service(dice, service, spread);
        }
        let mut labels = json!({"app": "caller"});
        if spread {
            labels[LOCALITY] = LOCALITIES[0].into();
        }
        mesh.documents.push(pod("caller", NAMESPACE, labels));
        (0..service_entry::OUTSIDE).for_each(|number| mesh.outside(dice, number));
        if dice.percent(50) {
            mesh.by_itself(dice);
        }
        mesh.edge(dice);
        mesh.side(dice);
        mesh.sidecar(dice);
        mesh.sight(dice);
        mesh
    }

    /// The mesh of a seed with its endpoints here.
    pub fn at(seed: u64, origins: &Origins) -> Mesh {
        let mut mesh = Mesh::new(seed);
        let addresses = origins.addresses(&mesh.documents);
        for authority in mesh.sites.iter_mut().flat_map(|site| &mut site.authorities) {
            if let Some((host, name)) = authority.split_once(":@")
                && let Some(address) = addresses.get(name)
            {
                *authority = format!("{host}:{}", address.port());
            }
        }
        mesh
    }

    /// Its manifests as text, with the ports of endpoints that are here.
    pub fn yaml(&self, addresses: &Addresses) -> String {
        crate::yaml::write(&self.documents.iter().map(|document| placed(document, addresses)).collect::<Vec<_>>())
    }

    /// The conditions that rules of a site have.
    pub fn conditions(&self, site: &Site) -> Vec<Value> {
        let objects = site.routed_by.iter().map(|index| &self.documents[*index]);
        objects
            .flat_map(|object| match object["kind"].as_str() {
                Some("HTTPRoute") => http_route::conditions(object),
                _ => virtual_service::conditions(object),
            })
            .collect()
    }

    /// A service with its pods. `spread`: those are here and there.
    fn service(&mut self, dice: &mut Dice, service: &Service, spread: bool) {
        let Service { name, namespace, sidecars } = *service;
        self.documents.push(service_of_app(name, namespace));
        for version in SUBSETS {
            for number in 0..1 + dice.below(REPLICAS_MAX) {
                let inject = if sidecars { "true" } else { "false" };
                let mut labels = json!({"app": name, "version": version, "sidecar.istio.io/inject": inject});
                if spread {
                    labels[LOCALITY] = dice.pick(&LOCALITIES).into();
                }
                self.documents.push(pod(&format!("{name}-{version}-{number}"), namespace, labels));
            }
        }
        self.documents.extend(destination_rule::destination_rules(dice, service));
    }

    /// A host outside, with a rule or two for it.
    fn outside(&mut self, dice: &mut Dice, number: usize) {
        let (documents, hosts) = service_entry::service_entry(dice, number);
        self.documents.extend(documents);
        let host = service_entry::host(number);
        let name = format!("outside-{number}");
        if dice.percent(50) {
            self.documents.push(destination_rule::destination_rule(dice, &host, &name, NAMESPACE));
        }
        let mut routed_by = Vec::new();
        if dice.percent(40) {
            routed_by.push(self.documents.len());
            self.documents.push(virtual_service::virtual_service(dice, &name, &[&host], &[]));
        }
        for host in hosts {
            let authorities = vec![host.clone(), format!("{host}:80")];
            self.sites.push(Site { place: Place::Sidecar, authorities, routed_by: std::mem::take(&mut routed_by) });
        }
    }

    /// A host that nobody but DNS knows the address of.
    fn by_itself(&mut self, dice: &mut Dice) {
        let (entry, authority) = service_entry::by_itself();
        self.documents.push(entry);
        if dice.percent(40) {
            let rule = destination_rule::destination_rule(dice, service_entry::BY_ITSELF, "by-itself", NAMESPACE);
            self.documents.push(rule);
        }
        self.sites.push(Site { place: Place::Sidecar, authorities: vec![authority], routed_by: Vec::new() });
    }

    fn side(&mut self, dice: &mut Dice) {
        self.documents.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "side", "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": "istio",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}],
            },
        }));
        for number in 0..5 {
            let (hostname, authorities) = match number {
                0 => ("*.w.example.org".to_owned(), vec!["x.w.example.org".to_owned()]),
                _ => (
                    format!("r{number}.example.org"),
                    vec![format!("r{number}.example.org"), format!("R{number}.Example.org:80")],
                ),
            };
            // Several routes may share a host: their rules are sorted together.
            let mut routed_by = Vec::new();
            for twin in 0..1 + usize::from(dice.percent(25)) {
                routed_by.push(self.documents.len());
                let name = format!("side-{number}-{twin}");
                self.documents.push(http_route::http_route(dice, &name, json!({"name": "side"}), &[&hostname]));
            }
            self.sites.push(Site { place: Place::Side, authorities, routed_by });
        }
    }

    fn sidecar(&mut self, dice: &mut Dice) {
        for service in &SERVICES {
            let mut routed_by = vec![self.documents.len()];
            let name = format!("mesh-{}", service.name);
            match (service.name, dice.below(10)) {
                ("gamma", _) => {
                    let parent = json!({"group": "", "kind": "Service", "name": "gamma"});
                    self.documents.push(http_route::http_route(dice, &name, parent, &[]));
                }
                (_, 0..=6) => {
                    let host = service.name_for(dice);
                    self.documents.push(virtual_service::virtual_service(dice, &name, &[&host], &[]));
                    // Of two for one host, one is in force.
                    if dice.percent(25) {
                        routed_by.push(self.documents.len());
                        let (name, host) = (format!("a-{name}"), service.name_for(dice));
                        self.documents.push(virtual_service::virtual_service(dice, &name, &[&host], &[]));
                    }
                }
                _ => routed_by.clear(),
            }
            let (name, namespace) = (service.name, service.namespace);
            let mut authorities =
                vec![service.host(), format!("{name}.{namespace}"), format!("{name}.{namespace}.svc:80")];
            if namespace == NAMESPACE {
                authorities.push(name.into());
            }
            self.sites.push(Site { place: Place::Sidecar, authorities, routed_by });
        }
    }
}

/// A manifest with numbers where it names the ports of endpoints.
fn placed(value: &Value, addresses: &Addresses) -> Value {
    match value {
        Value::Object(fields) => {
            let placed = fields.iter().map(|(name, value)| (name.clone(), placed(value, addresses)));
            Value::Object(placed.collect())
        }
        Value::Array(all) => all.iter().map(|one| placed(one, addresses)).collect(),
        Value::String(text) => match text.strip_prefix('@').and_then(|name| addresses.get(name)) {
            Some(address) => address.port().into(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// The names of the endpoints whose ports a manifest names.
pub fn endpoints_named(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields.values().flat_map(endpoints_named).collect(),
        Value::Array(all) => all.iter().flat_map(endpoints_named).collect(),
        Value::String(text) => text.strip_prefix('@').into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A Service of the pods with its name as `app`.
pub fn service_of_app(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

/// A pod with an app at port 8080.
pub fn pod(name: &str, namespace: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "example.com/app", "ports": [{"containerPort": 8080}]}]},
    })
}
