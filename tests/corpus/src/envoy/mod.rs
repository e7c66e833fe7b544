//! Envoy with the same meshes: a second translation of the manifests, written from Istio's and the Gateway API's documents and sharing no code with
//! the control shim, and a real Envoy that runs it.

mod actions;
mod clusters;
mod delegates;
pub mod differences;
mod edits;
mod http_route;
mod listeners;
mod localities;
mod reading;
mod sight;
mod traffic_policy;
mod virtual_service;

pub(crate) use listeners::address;

use crate::generate::Place;
use crate::generate::request::Request;
use crate::message::{Answer, Sharing, sharing};
use crate::origins::{Addresses, Origins};
use crate::ringway::exchange;
use ringway_tests::harness::{Client, Program, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Manifests as they are read, with where their pods are, as one proxy is told of them.
pub(crate) struct Manifests<'a> {
    pub documents: &'a [Value],
    pub addresses: &'a Addresses,
    /// Keeps the names of several meshes in one Envoy apart.
    pub number: usize,
    /// Whose config it is.
    pub place: Place,
    /// Who knows the names of endpoints.
    pub dns: Option<SocketAddr>,
}

/// A running Envoy. Ends when dropped.
pub struct Envoy {
    /// (mesh, place) → a connection to its listener, and where that listens.
    clients: BTreeMap<(usize, Place), (SocketAddr, Client)>,
    /// Name of a listener → where it listens.
    listeners: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    _program: Program,
}

/// Where Envoy is: `RINGWAY_ENVOY`, else on the search path.
pub fn program() -> Option<PathBuf> {
    let path = match std::env::var_os("RINGWAY_ENVOY") {
        Some(path) => PathBuf::from(path),
        None => "envoy".into(),
    };
    Command::new(&path).arg("--version").output().is_ok_and(|output| output.status.success()).then_some(path)
}

/// The static config for these meshes, each with a listener for every place; names are looked up at `dns`.
pub fn config(meshes: &[(String, Addresses)], dns: Option<SocketAddr>) -> Value {
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for (number, (yaml, addresses)) in meshes.iter().enumerate() {
        let documents = &crate::yaml::read(yaml);
        for place in Place::ALL {
            let manifests = Manifests { documents, addresses, number, place, dns };
            listeners.push(manifests.listener());
            clusters.extend(manifests.clusters());
        }
    }
    let admin = json!({"address": listeners::address("127.0.0.1", 0)});
    json!({"admin": admin, "static_resources": {"listeners": listeners, "clusters": clusters}})
}

impl Envoy {
    /// Runs this program on these meshes, and waits until it serves.
    pub fn start(program: PathBuf, meshes: &[(String, Addresses)], origins: &Origins) -> Envoy {
        Envoy::run(program, &config(meshes, Some(origins.dns())))
    }

    /// Runs it on this config.
    pub fn run(program: PathBuf, config: &Value) -> Envoy {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (file, admin) = (dir.path().join("envoy.json"), dir.path().join("admin"));
        std::fs::write(&file, config.to_string()).expect("a temporary folder takes a file");
        let mut command = Command::new(program);
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "error"]);
        command.arg("--config-path").arg(&file).arg("--admin-address-path").arg(&admin);
        let mut program = Program::start(command);
        let admin = until("Envoy to serve", || {
            assert!(program.exited().is_none(), "Envoy refuses its config:\n{}", program.stderr());
            let address: SocketAddr = std::fs::read_to_string(&admin).ok()?.parse().ok()?;
            let ready = Client::try_connect(address).ok()?.get("localhost", "/ready").status == 200;
            ready.then_some(address)
        });
        let statuses = Client::connect(admin).get("localhost", "/listeners?format=json").json();
        let (mut clients, mut listeners) = (BTreeMap::new(), BTreeMap::new());
        for status in statuses["listener_statuses"].as_array().into_iter().flatten() {
            let socket = &status["local_address"]["socket_address"];
            let port = socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let name = status["name"].as_str().unwrap_or_default();
            listeners.insert(name.to_owned(), address);
            let (number, place) = name.split_once('/').expect("listeners are called NUMBER/PLACE");
            if let Some(place) = Place::ALL.into_iter().find(|p| p.name() == place) {
                clients.insert((number.parse().expect("a number"), place), (address, Client::connect(address)));
            }
        }
        program.keep(dir);
        Envoy { clients, listeners, admin, _program: program }
    }

    /// Where a listener is.
    pub fn listener(&self, name: &str) -> SocketAddr {
        *self.listeners.get(name).unwrap_or_else(|| panic!("Envoy has no listener {name}"))
    }

    /// A new connection to the only mesh's listener for a place.
    pub fn connect(&self, place: Place) -> Client {
        Client::connect(self.clients[&(0, place)].0)
    }

    /// What its admin server says.
    pub fn admin(&self, path: &str) -> String {
        Client::connect(self.admin).get("localhost", path).text()
    }

    /// Sends a request to a mesh and takes the answer.
    pub fn ask(&mut self, mesh: usize, request: &Request, origins: &Origins) -> (Answer, Sharing) {
        let (address, client) = self.clients.get_mut(&(mesh, request.place)).expect("every place has a listener");
        let response = exchange(client, request, || {}, || *address);
        (Answer::received(&response, origins.take_tries(request.id())), sharing(&response))
    }
}

impl Manifests<'_> {
    /// Namespace and labels of the proxy.
    fn client(&self) -> (&'static str, Value) {
        match self.place {
            Place::Edge => ("istio-system", json!({"istio": "edge"})),
            Place::Side => ("shop", json!({"gateway.networking.k8s.io/gateway-name": "side"})),
            Place::Sidecar => ("shop", json!({"app": "caller"})),
        }
    }

    /// The mesh-wide settings.
    fn mesh_config(&self) -> Value {
        let map = self.of_kind("ConfigMap").next().map_or(&Value::Null, |map| &map["data"]["mesh"]);
        map.as_str().and_then(|text| crate::yaml::read(text).into_iter().next()).unwrap_or_default()
    }

    pub(crate) fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Value> {
        self.documents.iter().filter(move |document| document["kind"] == kind)
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

fn namespace(object: &Value) -> &str {
    text(&object["metadata"]["namespace"])
}

/// A short host name is one of the rule's own namespace.
pub(crate) fn full_host(host: &str, namespace: &str) -> String {
    if host.contains('.') { host.to_lowercase() } else { format!("{host}.{namespace}.svc.cluster.local") }
}
