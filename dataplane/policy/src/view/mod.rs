//! The compiled config: built once by housekeeping from a verified snapshot, shared by all workers, never changed.
//!
//! Names are dense ids here: listeners, hosts, clusters and endpoints are numbered from 0. The numbers hold for this view alone; what outlives a swap
//! is found again by name, or by [`Slot`](crate::Slot).

mod blob_of;
mod build;
mod conditions;
mod cors;
mod domains;
mod error;
mod host;
mod index;
mod manner;
mod names;
mod paths;
mod pattern;
mod regex_rewrite;
mod rewrite;
mod settings;
mod table;
mod text;
mod trie;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use ringway_config::model::{
    Action, Backend, Balance, Cluster, ConsistentHash, Endpoint, Forward, HashCookie, HashKey, HeaderEdits,
    ListenerProtocol, ListenerSet, Model, PathRewrite, Place, PolicySet, ProvenanceEntry, Respond, Role, RuleId,
    Workload,
};
use ringway_config::{Blob, Hash, Order};

use crate::authority::Authority;
use crate::balance::{Table, Tiers, Weights};
use crate::decide::{Local, LocalKind, Plan};
use crate::outlier::Rules;
use crate::values::Layers;

pub use blob_of::{BlobOf, Content};
pub use build::TABLES_BYTES_MAX;
pub use error::{BuildError, Cause};
pub use host::HostView;
pub use pattern::PATTERN_BYTES_MAX;
pub use settings::Settings;

pub(crate) use conditions::Request;
pub(crate) use domains::Domains;
pub(crate) use host::{Answer, Share, Split};

/// A snapshot, compiled.
pub struct View {
    order: Order,
    listeners: BlobOf<ListenerSet>,
    policy: BlobOf<PolicySet>,
    provenance: Option<Blob>,
    groups: Arc<[Held<Arc<Group>>]>,
    hosting: Arc<Hosting>,
    clusters: Vec<ClusterView>,
    endpoints: Vec<EndpointView>,
}

/// One listening address.
#[derive(Clone)]
pub struct ListenerView {
    /// Its name.
    pub name: Arc<str>,
    /// The manifest rule behind it.
    pub rule: RuleId,
    /// Address and port to bind.
    pub address: SocketAddr,
    /// Which side of the mesh it serves.
    pub role: Role,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// The clusters of a TCP listener's backends, in their order; of a TLS listener one list for each of its routes.
    /// None: the destination does not exist.
    pub tunnels: Vec<Vec<Option<u32>>>,
}

/// One destination. What every decision reads comes first, side by side.
#[repr(C)]
pub struct ClusterView {
    /// Dense ids of its endpoints.
    pub endpoints: Range<u32>,
    /// How many endpoints, if all of them take requests and weigh the same.
    even: Option<u32>,
    pub(crate) balance: Balance,
    /// What endpoints get is not simply their weight: some may be new, or come first.
    pub(crate) varies: bool,
    /// Its connections have limits or a life of their own, so they (and what is remembered of its endpoints) are shared with no other cluster of the
    /// same addresses.
    pub apart: bool,
    /// `outbound|PORT|SUBSET|HOST` or `inbound|PORT||`.
    pub name: Arc<str>,
    /// The manifest rule behind it.
    pub rule: RuleId,
    /// What it says of balancing, limits and times.
    pub settings: Arc<Settings>,
    /// How to classify what becomes of its requests, if endpoints that fail are to be left alone.
    pub outlier: Option<Arc<Rules>>,
    /// Which endpoints come first.
    pub(crate) tiers: Option<Arc<Tiers>>,
    /// Who owns which keys, where `balance` is consistent.
    pub(crate) table: Option<Arc<Table>>,
    pub(crate) group: Arc<Group>,
    blob: Blob,
}

/// One address of one cluster.
#[derive(Clone, Debug)]
pub struct EndpointView {
    /// Where it listens.
    pub address: SocketAddr,
    /// Relative weight.
    pub weight: u32,
    /// Takes no new requests.
    pub draining: bool,
    /// Dense id of its cluster.
    pub cluster: u32,
    /// Who it is, if known.
    pub workload: Option<Arc<Workload>>,
}

/// What was compiled from a blob, and the hash under which it may be kept.
struct Held<T> {
    name: Arc<str>,
    hash: Hash,
    item: T,
}

/// An endpoint set, ready to choose from.
pub(crate) struct Group {
    name: Arc<str>,
    endpoints: Box<[Endpoint]>,
    places: Box<[Place]>,
    workloads: Box<[Arc<Workload>]>,
    pub weights: Weights,
}

/// Everything that hosts and listeners decide: shared between views when only endpoints changed.
struct Hosting {
    listeners: Vec<ListenerView>,
    /// Beside `listeners`; None for TCP and TLS.
    domains: Vec<Option<Domains>>,
    /// Beside `listeners`: which route of a TLS listener a server name takes. None for other protocols.
    server_names: Vec<Option<Domains>>,
    /// Listener numbers, sorted by name.
    listeners_by_name: Vec<u32>,
    hosts: Vec<HostView>,
    host_blobs: Arc<[Held<Arc<host::Program>>]>,
}

impl View {
    /// The listeners, by id.
    pub fn listeners(&self) -> &[ListenerView] {
        &self.hosting.listeners
    }

    /// The id of a listener.
    pub fn listener(&self, name: &str) -> Option<u32> {
        let (sorted, listeners) = (&self.hosting.listeners_by_name, &self.hosting.listeners);
        let found = sorted.binary_search_by(|id| (*listeners[*id as usize].name).cmp(name)).ok()?;
        Some(sorted[found])
    }

    /// A cluster of this view; panics on the id of another.
    pub fn cluster(&self, id: u32) -> &ClusterView {
        &self.clusters[id as usize]
    }

    /// The clusters, by id; sorted by name.
    pub fn clusters(&self) -> &[ClusterView] {
        &self.clusters
    }

    /// The id of a cluster.
    pub fn cluster_named(&self, name: &str) -> Option<u32> {
        self.clusters.binary_search_by(|c| (*c.name).cmp(name)).ok().map(|id| id as u32)
    }

    /// A host of this view; panics on the id of another.
    pub fn host(&self, id: u32) -> &HostView {
        &self.hosting.hosts[id as usize]
    }

    /// The hosts, by id.
    pub fn hosts(&self) -> &[HostView] {
        &self.hosting.hosts
    }

    /// Limits and logging.
    pub fn policy(&self) -> &PolicySet {
        &self.policy
    }

    /// The proxy's own workload.
    pub fn node(&self) -> &Workload {
        &self.listeners.node
    }

    /// The proxy's own pod.
    pub fn pod(&self) -> &str {
        &self.listeners.pod
    }

    /// The order of the snapshot it was built from.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Dense endpoint ids are below this.
    pub fn endpoints_len(&self) -> usize {
        self.endpoints.len()
    }

    /// An endpoint of this view; panics on the id of another.
    pub fn endpoint(&self, id: u32) -> &EndpointView {
        &self.endpoints[id as usize]
    }

    /// The manifest line behind a rule id.
    pub fn origin(&self, rule: RuleId) -> Option<ProvenanceEntry> {
        self.provenance.as_ref()?.origin(rule)
    }

    /// How a plan made on this view is forwarded: the edits, tries and the like of its action and its destination. Where to and within what time says the
    /// plan; these say nothing of it. Empty ones for a plan of [`decide_tcp`](crate::decide_tcp), which edits nothing.
    #[inline]
    pub fn forward(&self, plan: &Plan) -> (&Forward, &Backend) {
        self.manner(plan.host, plan.action, plan.backend)
    }

    fn manner(&self, host: u32, action: u32, backend: u32) -> (&Forward, &Backend) {
        let split = self.hosting.hosts.get(host as usize).and_then(|host| host.split(action));
        match split.and_then(|split| split.manner.as_deref()) {
            Some(manner) => (&manner.forward, manner.forward.backends.get(backend as usize).unwrap_or(&NO_BACKEND)),
            None => (&NO_FORWARD, &NO_BACKEND),
        }
    }

    /// The edits on an answer of the proxy's own: those of its route, and those of the destination that was drawn. Nothing edits what no route
    /// decided, an answered preflight, and a fault in the place of a redirect or a fixed answer, as in Envoy.
    pub fn reply_edits(&self, local: &Local) -> Layers<'_> {
        if matches!(local.kind, LocalKind::RouteNotFound | LocalKind::Preflight { .. }) {
            return Layers::NONE;
        }
        let (outer, inner) = match self.answer(local.host, local.action) {
            Some(Answer::Forward(_)) => {
                let (forward, backend) = self.manner(local.host, local.action, local.backend);
                (&forward.response, &backend.response)
            }
            Some(_) if local.kind == LocalKind::Fault => return Layers::NONE,
            Some(Answer::Redirect { redirect, .. }) => (&redirect.response, &NO_BACKEND.response),
            Some(Answer::Respond { respond, .. }) => (&respond.response, &NO_BACKEND.response),
            None => return Layers::NONE,
        };
        Layers::of_response(outer, inner)
    }

    /// The name of the route that an answer of the proxy's own comes from; empty without.
    pub fn reply_route(&self, local: &Local) -> &str {
        self.name_of_route(local.host, local.route)
    }

    /// Name of the cluster in whose place the proxy answers; empty when none was drawn, or the one that was does not exist.
    pub fn reply_cluster(&self, local: &Local) -> &str {
        let host = self.hosting.hosts.get(local.host as usize);
        let cluster = host.and_then(|host| host.cluster(local.action, local.backend));
        cluster.map_or("", |id| &self.cluster(id).name)
    }

    /// The name of the route of a plan made on this view; empty for a plan of [`decide_tcp`](crate::decide_tcp).
    pub fn route_name(&self, plan: &Plan) -> &str {
        self.name_of_route(plan.host, plan.route)
    }

    /// An action of a host, for those who tell of it ([`HostView::model`]).
    pub fn action(&self, host: u32, action: u32) -> Option<&Action> {
        self.hosting.hosts.get(host as usize)?.model().actions.get(action as usize)
    }

    /// The fixed answer of an action, if it gives one.
    pub fn respond(&self, host: u32, action: u32) -> Option<&Respond> {
        match self.answer(host, action)? {
            Answer::Respond { respond, .. } => Some(respond),
            _ => None,
        }
    }

    fn name_of_route(&self, host: u32, route: u32) -> &str {
        let name = self.hosting.hosts.get(host as usize).and_then(|host| host.pieces().route_name(route));
        name.unwrap_or_default()
    }

    fn answer(&self, host: u32, action: u32) -> Option<&Answer> {
        self.hosting.hosts.get(host as usize)?.program.answers.get(action as usize)
    }

    fn compiled(&self, host: u32, route: u32) -> Option<&host::Compiled> {
        self.hosting.hosts.get(host as usize)?.program.routes.get(route as usize)
    }

    /// The one form of an authority received on an HTTP listener; `None` when it is none that could be asked for there.
    pub fn normal_authority(&self, listener: u32, authority: &[u8]) -> Option<Authority> {
        Authority::parse(authority, self.domains(listener)?.port)
    }

    pub(crate) fn domains(&self, listener: u32) -> Option<&Domains> {
        self.hosting.domains.get(listener as usize)?.as_ref()
    }

    pub(crate) fn server_names(&self, listener: u32) -> Option<&Domains> {
        self.hosting.server_names.get(listener as usize)?.as_ref()
    }
}

impl Group {
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where an endpoint runs, if the set says.
    pub(crate) fn place(&self, position: u32) -> Option<&Place> {
        self.places.get(self.endpoints.get(position as usize)?.place as usize)
    }
}

impl ClusterView {
    /// Nothing further is read where all endpoints take requests and weigh the same.
    #[inline]
    pub(crate) fn weights(&self) -> Cow<'_, Weights> {
        self.even.map_or(Cow::Borrowed(&self.group.weights), |len| Cow::Owned(Weights::even(len)))
    }

    /// The cookie that it chooses by.
    pub fn cookie(&self) -> Option<&HashCookie> {
        match &self.consistent_hash()?.key {
            HashKey::Cookie(cookie) => Some(cookie),
            _ => None,
        }
    }

    /// What it chooses by, if by a key.
    pub(crate) fn consistent_hash(&self) -> Option<&ConsistentHash> {
        if self.balance.is_consistent() { self.settings.hash.as_ref() } else { None }
    }

    /// Its blob.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// What its blob says, decoded anew.
    pub fn decode(&self) -> Cluster {
        match self.blob.decode() {
            Model::Cluster(cluster) => cluster,
            _ => unreachable!("a cluster's blob is one"),
        }
    }
}

static NO_FORWARD: Forward = Forward {
    backends: Vec::new(),
    timeout_ms: 0,
    retry: None,
    path: PathRewrite::Keep,
    authority: String::new(),
    request: no_edits(),
    response: no_edits(),
    fault: None,
    cors: None,
    mirrors: Vec::new(),
};

static NO_BACKEND: Backend = Backend {
    cluster: String::new(),
    weight: 0,
    rule: RuleId(0),
    missing_status: 0,
    request: no_edits(),
    response: no_edits(),
    action: None,
};

const fn no_edits() -> HeaderEdits {
    HeaderEdits { set: Vec::new(), add: Vec::new(), remove: Vec::new() }
}
