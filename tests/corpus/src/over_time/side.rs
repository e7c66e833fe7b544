//! Who is before the endpoints: our proxy, or Envoy with its endpoints in files that may change.

use super::{CALLED, Stage};
use crate::envoy::{Envoy, config};
use crate::generate::Place;
use crate::message::ORIGIN;
use crate::origins::Addresses;
use crate::ringway::{Program, Proxies};
use ringway_tests::harness::{Case, Client, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// The outbound side of a sidecar.
pub struct Side {
    kind: Kind,
    client: Client,
    sequence: u64,
}

enum Kind {
    Ringway(Box<Proxies>),
    Envoy(Envoy, TempDir),
}

impl Side {
    pub(super) fn ringway(case: Case, (documents, addresses): &(Vec<Value>, Addresses)) -> Side {
        let program = Program::compile(&crate::yaml::write(documents), addresses, 1);
        let proxies = Proxies::start(case, &program, None);
        let client = proxies.at(Place::Sidecar).listener(Place::Sidecar.listener());
        Side { kind: Kind::Ringway(Box::new(proxies)), client: Client::connect(client), sequence: 1 }
    }

    pub(super) fn envoy(program: PathBuf, manifests: &(Vec<Value>, Addresses)) -> Side {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let envoy = Envoy::run(program, &in_files(manifests, &dir, 1));
        let client = envoy.connect(Place::Sidecar);
        Side { kind: Kind::Envoy(envoy, dir), client, sequence: 1 }
    }

    /// For messages.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Ringway(_) => "Ringway",
            Kind::Envoy(..) => "Envoy",
        }
    }

    /// Whether this is Envoy.
    pub fn is_envoy(&self) -> bool {
        matches!(self.kind, Kind::Envoy(..))
    }

    /// Asks the service once, on a connection that is kept. The status, and which endpoint it is from.
    pub fn get(&mut self) -> (u16, Option<String>) {
        let response = self.client.get(CALLED, "/");
        if response.closes() {
            self.client = self.connect();
        }
        (response.status, response.header(ORIGIN).map(str::to_owned))
    }

    /// Another connection.
    pub fn connect(&self) -> Client {
        match &self.kind {
            Kind::Ringway(proxies) => Client::connect(proxies.at(Place::Sidecar).listener(Place::Sidecar.listener())),
            Kind::Envoy(envoy, _) => envoy.connect(Place::Sidecar),
        }
    }

    /// Brings it the endpoints that there are now.
    pub fn publish(&mut self, stage: &Stage, endpoints: usize) {
        let manifests = stage.manifests(endpoints);
        self.sequence += 1;
        match &mut self.kind {
            Kind::Ringway(proxies) => {
                let program = Program::compile(&crate::yaml::write(&manifests.0), &manifests.1, self.sequence);
                proxies.publish(&program);
            }
            Kind::Envoy(envoy, dir) => {
                in_files(&manifests, dir, self.sequence);
                let all: Vec<String> = manifests.1.values().map(|address| format!("::{address}::")).collect();
                until("Envoy to read its files", || {
                    let page = envoy.admin("/clusters");
                    all.iter().all(|address| page.contains(address)).then_some(())
                });
            }
        }
    }

    /// The endpoints of the service that are left alone because they failed.
    pub fn ejected(&self) -> BTreeSet<SocketAddr> {
        let (page, mark) = match &self.kind {
            Kind::Ringway(proxies) => (proxies.at(Place::Sidecar).admin("/clusters").text(), "::health::ejected"),
            Kind::Envoy(envoy, _) => (envoy.admin("/clusters"), "::health_flags::/failed_outlier_check"),
        };
        let lines = page.lines().filter_map(|line| line.strip_suffix(mark));
        lines.filter_map(|line| line.rsplit("::").next()?.parse().ok()).collect()
    }

    /// Copies that it has sent.
    pub fn copies(&self) -> usize {
        match &self.kind {
            Kind::Ringway(proxies) => proxies.at(Place::Sidecar).metric("ringway_mirrors_sent_total", &[]) as usize,
            Kind::Envoy(envoy, _) => {
                let page = envoy.admin("/clusters");
                let lines = page.lines().filter(|line| line.contains("|copies.") && line.contains("::rq_total::"));
                lines.filter_map(|line| line.rsplit("::").next()?.parse::<usize>().ok()).sum()
            }
        }
    }
}

/// Envoy's config with the endpoints of each cluster in a file of its own.
fn in_files((documents, addresses): &(Vec<Value>, Addresses), dir: &TempDir, version: u64) -> Value {
    let mut config = config(&[(crate::yaml::write(documents), addresses.clone())], None);
    config["node"] = json!({"id": "caller", "cluster": "caller"});
    for part in ["listeners", "clusters"] {
        let all = config["static_resources"][part].as_array_mut().expect("a list");
        all.retain(|one| {
            one["name"].as_str().is_some_and(|name| name.starts_with(&format!("0/{}", Place::Sidecar.name())))
        });
    }
    let clusters = config["static_resources"]["clusters"].as_array_mut().expect("a list of clusters");
    for (number, cluster) in clusters.iter_mut().enumerate() {
        let mut assignment = cluster["load_assignment"].take();
        cluster.as_object_mut().expect("a cluster").remove("load_assignment");
        assignment["@type"] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".into();
        let file = dir.path().join(format!("{number}.json"));
        let written = dir.path().join(format!("{number}.new"));
        let response = json!({"version_info": version.to_string(), "resources": [assignment]});
        // Envoy looks when a file is moved here.
        std::fs::write(&written, response.to_string()).expect("a temporary folder takes a file");
        std::fs::rename(&written, &file).expect("a file can be moved");
        cluster["type"] = "EDS".into();
        cluster["eds_cluster_config"] = json!({"eds_config": {"path_config_source": {"path": file}}});
    }
    config
}
