//! The proxies of a generated mesh: the control shim's library compiles the manifests, the real binaries run them.

use crate::generate::request::Request;
use crate::generate::{Mesh, Place};
use crate::message::{Answer, Sharing, sharing};
use crate::origins::{Addresses, Origins};
use crate::predict::{Oracle, Prediction};
use control_shim::explain::Subject;
use control_shim::mesh::{self, Options, Placement, PodPlan};
use control_shim::object::{SourceFile, decode, objects};
use control_shim::translate::{Compiled, translate};
use ringway_config::message::Message;
use ringway_config::model::{AccessLog, Endpoint, EndpointSet, Model, NamedEndpoint, Role};
use ringway_config::{Blob, Order, Snapshot};
use ringway_tests::harness::{Case, Client, Config, Link, Proxy, ProxyBuilder, until};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A mesh's manifests, compiled for the proxies of every place.
pub struct Program {
    snapshots: BTreeMap<Place, Snapshot>,
    compiled: Compiled,
}

/// The running proxies.
pub struct Proxies {
    running: BTreeMap<Place, Running>,
}

struct Running {
    proxy: Proxy,
    link: Link,
    client: Client,
    /// `name=value` of the cookie that the last answer gave.
    cookie: Option<String>,
    /// Authorities that it asks the shim for in vain.
    unknown: Vec<String>,
}

impl Program {
    /// Compiles manifests whose endpoints are at these addresses. Panics where the shim refuses anything that is not refused on purpose.
    pub fn compile(yaml: &str, addresses: &Addresses, sequence: u64) -> Program {
        let file = Arc::new(SourceFile { name: "mesh.yaml".into(), text: yaml.into() });
        let loaded = objects::load(&[vec![file]], decode::Options::default());
        let refused: Vec<String> =
            loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
        assert!(refused.is_empty(), "generated manifests are refused:\n{}", refused.join("\n"));
        let mut options = Options::default();
        options.policy.access_log = AccessLog::Json;
        let mesh = mesh::Mesh::new(loaded.objects, &mut Here(addresses), options);
        let compiled = translate(&mesh, None);
        let order = Order { incarnation: 1, sequence };
        let snapshot = |place: Place| {
            let proxy = compiled.proxy(place.node())?;
            let blobs = compiled.blobs(proxy, &compiled.hosts_of(proxy)).expect("the provenance fits");
            let snapshot = Snapshot::from_blobs(order, blobs.into_values().collect());
            Some((place, snapshot.unwrap_or_else(|e| panic!("no closed snapshot for {}: {e}", place.node()))))
        };
        let snapshots = Place::ALL.into_iter().filter_map(snapshot).collect();
        Program { snapshots, compiled }
    }

    /// Those of these authorities that a proxy asks for in vain, as it asks for them.
    pub fn unknown<'a>(&self, place: Place, authorities: impl Iterator<Item = &'a String>) -> Vec<String> {
        let names = authorities.map(|name| name.to_ascii_lowercase());
        names.filter(|name| self.compiled.host_for(place.node(), name).is_none()).collect()
    }

    /// What the evaluator says at a place, where every name is this machine's.
    pub fn oracle(&self, place: Place) -> Oracle {
        Oracle::new(&looked_up(&self.snapshots[&place]), place.listener())
    }

    /// What the evaluator says of opaque connections there.
    pub fn subject(&self, place: Place) -> Subject {
        Subject::new(&self.snapshots[&place]).unwrap_or_else(|e| panic!("the proxy would refuse its config: {e}"))
    }

    /// The field behind a rule id.
    pub fn origin(&self, rule: &str) -> String {
        let id = u32::from_str_radix(rule, 16).ok().map(ringway_config::model::RuleId);
        match id.and_then(|id| self.compiled.origin(id)) {
            Some(entry) => format!("{rule}: {} {}/{} {}", entry.kind, entry.namespace, entry.name, entry.field),
            None => format!("{rule}: no rule"),
        }
    }
}

impl Proxies {
    /// Starts one for each place that the mesh has a proxy at. They ask `dns` for names.
    pub fn start(case: Case, program: &Program, dns: Option<SocketAddr>) -> Proxies {
        let start = |place: Place| {
            let mut config = Config::http(Role::Outbound);
            config.listeners.name = place.node().into();
            let builder = ProxyBuilder::new(case, config);
            let builder = if let Some(server) = dns { builder.dns(server) } else { builder };
            let (child, dir, shim) = builder.spawn_with_shim();
            let mut link = shim.accept();
            link.publish(&program.snapshots[&place]);
            let proxy = Proxy::when_ready(child, dir);
            let client = Client::connect(proxy.listener(place.listener()));
            (place, Running { proxy, link, client, cookie: None, unknown: Vec::new() })
        };
        Proxies { running: program.snapshots.keys().copied().map(start).collect() }
    }

    /// Brings them another mesh; their listeners and connections stay.
    pub fn publish(&mut self, program: &Program) {
        for (place, running) in &mut self.running {
            running.link.push(&program.snapshots[place]);
            // It may have asked for a host before it was told that there is none.
            while !matches!(running.link.message(), Message::Ack { .. }) {}
        }
    }

    /// From now on they are told, when they ask, which hosts of a mesh there are not.
    pub fn expect_unknown(&mut self, mesh: &Mesh, program: &Program) {
        let sites = mesh.sites.iter().filter(|site| site.place == Place::Sidecar);
        if let Some(running) = self.running.get_mut(&Place::Sidecar) {
            running.unknown = program.unknown(Place::Sidecar, sites.flat_map(|site| &site.authorities));
        }
    }

    /// The proxy of a place.
    pub fn at(&self, place: Place) -> &Proxy {
        &self.running[&place].proxy
    }

    /// Sends a request and takes the answer.
    pub fn ask(&mut self, request: &Request, origins: &Origins) -> (Answer, Sharing) {
        let running = self.running.get_mut(&request.place).expect("every place has a proxy");
        let Running { proxy, link, client, unknown, .. } = running;
        let name = request.authority.to_ascii_lowercase();
        // It asks, unless it remembers what it was told: either way this is the answer.
        let answer = || {
            if unknown.contains(&name) {
                link.send(&Message::Absent { names: vec![name], lifetime_ms: u32::MAX });
            }
        };
        let response = exchange(client, request, answer, || proxy.listener(request.place.listener()));
        let cookie = response.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        running.cookie = cookie.map(|cookie| cookie.replace('"', ""));
        let mut answer = Answer::received(&response, origins.take_tries(request.id()));
        if let Answer::Endpoint { head, .. } = &mut answer {
            // Only that they came is compared: their values are the peer's business.
            if head.remove(crate::predict::PEER) && head.remove("x-envoy-peer-metadata-id") {
                head.fields.push((crate::predict::PEER.into(), crate::predict::PRESENT.into()));
                head.fields.sort_by(|a, b| a.0.cmp(&b.0));
            }
        }
        (answer, sharing(&response))
    }

    /// The cookie that the last answer at a place gave, as a client brings it.
    pub fn cookie(&self, place: Place) -> Option<String> {
        self.running[&place].cookie.clone()
    }

    /// The rule ids of the access logs, by request. Waits until `wanted` of them are there.
    pub fn logged(&self, wanted: usize) -> HashMap<String, String> {
        until("the access logs of all requests", || {
            let logs: Vec<String> = self.running.values().map(|running| running.proxy.program.stdout()).collect();
            let lines = logs.iter().flat_map(|log| log.lines());
            let entries = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let rules: HashMap<_, _> =
                entries.map(|entry| (text(&entry["request_id"]), text(&entry["rule"]))).collect();
            (rules.len() >= wanted).then_some(rules)
        })
    }
}

/// One exchange on a kept connection, with what is to be done once the request is sent; a new connection where the server closed it.
pub fn exchange(
    client: &mut Client,
    request: &Request,
    sent: impl FnOnce(),
    address: impl Fn() -> SocketAddr,
) -> ringway_tests::harness::Response {
    let response = client.try_send(request.wire()).and_then(|()| {
        sent();
        client.try_response(request.method == "HEAD")
    });
    let response = response.unwrap_or_else(|e| panic!("no answer ({e}) to the request {}", request.id()));
    if response.closes() {
        *client = Client::connect(address());
    }
    response
}

/// The snapshot with addresses in the places of names, which are all names of this machine.
fn looked_up(snapshot: &Snapshot) -> Snapshot {
    let made = |blob: &Blob| {
        let Model::Endpoints(set) = blob.model() else { return blob.clone() };
        let (mut set, names) = (EndpointSet { names: Vec::new(), ..set.clone() }, &set.names);
        for NamedEndpoint { port, weight, place, .. } in names {
            let address = SocketAddr::new(LOOPBACK, *port);
            if !set.endpoints.iter().any(|other| other.address == address) {
                let (weight, place) = (*weight, *place);
                set.endpoints.push(Endpoint { address, weight, draining: false, workload: u32::MAX, place });
            }
        }
        set.endpoints.sort_by_key(|endpoint| endpoint.address);
        Blob::encode(&Model::Endpoints(set)).expect("addresses fit where names do")
    };
    Snapshot::from_blobs(snapshot.order(), snapshot.blobs().map(made).collect())
        .expect("names are referred to by nobody")
}

/// Pods where the origins are; proxies on free ports of loopback.
struct Here<'a>(&'a Addresses);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Here<'_> {
    fn of(&self, plan: &PodPlan) -> SocketAddr {
        self.0.get(&plan.name).copied().unwrap_or(SocketAddr::new(LOOPBACK, 0))
    }
}

impl Placement for Here<'_> {
    fn address(&mut self, _: &PodPlan) -> Option<IpAddr> {
        Some(LOOPBACK)
    }

    fn app(&mut self, plan: &PodPlan, _: IpAddr, _: u16) -> SocketAddr {
        self.of(plan)
    }

    fn inbound(&mut self, plan: &PodPlan, _: IpAddr, _: u16) -> SocketAddr {
        self.of(plan)
    }

    fn tcp(&mut self, _: &PodPlan, address: IpAddr, _: &str, _: u16) -> SocketAddr {
        SocketAddr::new(address, 0)
    }

    fn gateway(&mut self, _: &PodPlan, address: IpAddr, _: u16) -> SocketAddr {
        SocketAddr::new(address, 0)
    }

    fn outbound(&mut self, _: &PodPlan, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, 0)
    }
}

/// What a failure prints: everything needed to see it again, and the rules that had a say or might have had one.
pub fn reproducer(mesh: &Mesh, request: &Request, prediction: &Prediction) -> String {
    let site =
        mesh.sites.iter().find(|site| site.place == request.place && site.authorities.contains(&request.authority));
    let routed_by = site.into_iter().flat_map(|site| &site.routed_by).map(|at| mesh.documents[*at].clone());
    let policies = mesh.documents.iter().filter(|document| document["kind"] == "DestinationRule");
    let policies = policies.filter(|document| prediction.met.iter().any(|met| met.is(document))).cloned();
    let text = crate::yaml::write(&routed_by.chain(policies).collect::<Vec<_>>());
    format!("seed {}, {request}\nrouted by\n{text}", mesh.seed)
}
