//! Clusters and their endpoints: `outbound|PORT|SUBSET|HOST`.

use super::registry::{Destination, DestinationKind, Endpoint, Named, Port, itself};
use super::{Pass, View};
use crate::object::destination_rule::Pool;
use crate::object::locality::{LocalitySetting, place};
use crate::object::outlier::Outlier;
use crate::object::service::Carried;
use crate::object::{Labels, Meta};
use ringway_config::Blob;
use ringway_config::model::{
    Cluster, ConnectionRules, Endpoint as ModelEndpoint, EndpointSet, FailoverLabel, Keepalive, LocalityRule, Model,
    NamedEndpoint, Protocol, Workload,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

/// Istio's default idle time of a pooled connection, and of an opaque one.
pub(super) const IDLE_TIMEOUT_MS: u64 = 3_600_000;

/// Names a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClusterKey {
    pub host: String,
    pub port: u16,
    pub subset: String,
}

impl ClusterKey {
    pub fn name(&self) -> String {
        format!("outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

/// A cluster's blob and its endpoints'.
pub(super) type Pair = [Blob; 2];

/// Encoded clusters by view, so that each is made once.
#[derive(Default)]
pub(super) struct Clusters {
    made: RefCell<HashMap<(String, ClusterKey), Option<Pair>>>,
}

impl Pass<'_> {
    /// A cluster with its endpoints; `None` when nothing has that host, port or subset.
    pub(super) fn cluster(&self, view: View<'_>, key: &ClusterKey) -> Option<Pair> {
        let made = self.clusters.made.borrow().get(&(view.to_string(), key.clone())).cloned();
        made.unwrap_or_else(|| {
            let blobs = self.make_cluster(view, key);
            self.clusters.made.borrow_mut().insert((view.to_string(), key.clone()), blobs.clone());
            blobs
        })
    }

    fn make_cluster(&self, view: View<'_>, key: &ClusterKey) -> Option<Pair> {
        let destination = self.registry.get(&key.host).filter(|destination| destination.visible(view))?;
        let port = destination.port(key.port)?;
        let rules = self.destination_rules.find(view, &key.host, destination.meta.namespace());
        for (first, other) in rules.conflicts() {
            let message = format!(
                "{} has the same host as {}; its traffic policy does not count",
                other.meta.reference, first.meta.reference
            );
            self.findings.warning(&other.meta.reference, &other.host_spot, "conflict", message, "merge the two");
        }
        let subset = match key.subset.as_str() {
            "" => None,
            name => Some(rules.subset(name)?),
        };
        let rule = match rules.origin(subset) {
            Some((meta, field, spot)) => self.rule(meta, &field, spot),
            None => self.rule(destination.meta, &port.field, port.spot),
        };
        let labels = subset.map(|(_, subset)| &subset.labels);
        let chosen: Vec<_> =
            port.endpoints.iter().filter(|e| labels.is_none_or(|labels| e.in_subset(labels))).collect();
        // A host under a wildcard, named by a route.
        let own = port.on_demand.filter(|_| !key.host.starts_with('*')).map(|target| itself(&key.host, target));
        let names: Vec<_> = port
            .names
            .iter()
            .chain(own.as_ref().and_then(|own| own.as_ref().err()))
            .filter(|n| labels.is_none_or(|labels| n.in_subset(labels)))
            .collect();
        let policy = rules.policy(subset.map(|(_, subset)| subset), key.port);
        let balancer = policy.balancer.unwrap_or_default();
        let pool = policy.pool.unwrap_or_default();
        if let (Some(outlier), Some((meta, ..))) = (&policy.outlier, rules.origin(subset)) {
            self.check_ejections(meta, outlier, chosen.iter().filter(|e| !e.draining).count());
        }
        let locality = self.locality(balancer.locality, policy.outlier.is_some(), destination);
        let name = key.name();
        let endpoints = endpoint_set(&name, &chosen, &names, locality.as_ref());
        let cluster = Cluster {
            name: name.clone(),
            rule,
            protocol: protocol(port),
            balance: balancer.balance,
            hash: balancer.hash,
            warmup: balancer.warmup,
            locality,
            endpoints: name.clone(),
            retry_budget: policy.retry_budget.or(pool.max_retries).unwrap_or_default(),
            service_host: key.host.clone(),
            service_name: destination.service_name.clone(),
            service_namespace: destination.meta.namespace().into(),
            outlier: policy.outlier.map(|outlier| outlier.rules),
            mesh_internal: names.is_empty() && internal(destination, &chosen),
            ..self.pooled(&pool)
        };
        Some([self.encode(&Model::Cluster(cluster))?, self.encode(&Model::Endpoints(endpoints))?])
    }

    /// Which endpoints come first: as a rule says; else the near ones, where a Service asks for them; else as the mesh says, or the near ones where
    /// outlier detection notices that they fail.
    fn locality(
        &self,
        setting: Option<LocalitySetting>,
        notices: bool,
        destination: &Destination<'_>,
    ) -> Option<LocalityRule> {
        let nearest = LocalityRule::Failover { priority: Vec::new(), regions: Vec::new() };
        match (setting, &destination.kind) {
            (None, DestinationKind::Service(service)) if service.prefers_close => Some(nearest),
            (setting, _) => match setting.or_else(|| self.mesh.options.locality.clone()) {
                Some(LocalitySetting::Rule(LocalityRule::Failover { .. }, _)) if !notices => None,
                Some(LocalitySetting::Rule(rule, _)) => Some(rule),
                Some(LocalitySetting::Off) => None,
                None => notices.then_some(nearest),
            },
        }
    }

    /// Says when outlier detection can do nothing: a part of few endpoints may be less than one.
    fn check_ejections(&self, meta: &Meta, outlier: &Outlier, endpoints: usize) {
        let percent = usize::from(outlier.rules.max_ejection_percent);
        if endpoints == 0 || endpoints * percent >= 100 {
            return;
        }
        let message =
            format!("`maxEjectionPercent` {percent} of {endpoints} endpoints is less than one: none is ever ejected");
        let mend = format!("set it to {} or more", 100usize.div_ceil(endpoints));
        self.findings.warning(&meta.reference, &outlier.spot, "idle-outlier-detection", message, mend);
    }

    /// A cluster with these limits and times of its connections, or the mesh's.
    pub(super) fn pooled(&self, pool: &Pool) -> Cluster {
        let options = &self.mesh.options;
        let said = pool.connection.unwrap_or_default();
        let connection = ConnectionRules { keepalive: merged(said.keepalive, options.keepalive), ..said };
        Cluster {
            connect_timeout_ms: pool.connect_timeout_ms.unwrap_or(options.connect_timeout_ms),
            idle_timeout_ms: pool.idle_timeout_ms.unwrap_or(IDLE_TIMEOUT_MS),
            max_requests_per_connection: pool.max_requests_per_connection,
            max_connections: pool.max_connections,
            max_pending_requests: pool.max_pending_requests,
            max_requests: pool.max_requests,
            connection: (connection != ConnectionRules::default()).then_some(connection),
            ..Cluster::default()
        }
    }

    /// The cluster of a pod's own app: `inbound|PORT||`.
    pub(super) fn inbound_cluster(&self, cluster: Cluster, app: SocketAddr, workload: &Workload) -> Option<Pair> {
        let endpoint = ModelEndpoint { address: app, weight: 1, draining: false, workload: 0, place: u32::MAX };
        let endpoints = EndpointSet {
            name: cluster.name.clone(),
            workloads: vec![workload.clone()],
            endpoints: vec![endpoint],
            ..EndpointSet::default()
        };
        Some([self.encode(&Model::Cluster(cluster))?, self.encode(&Model::Endpoints(endpoints))?])
    }
}

/// What a rule says of keepalive, and of its fields that it leaves out what the mesh says.
fn merged(own: Option<Keepalive>, mesh: Option<Keepalive>) -> Option<Keepalive> {
    let (Some(own), Some(mesh)) = (own, mesh) else { return own.or(mesh) };
    let either = |own: u32, mesh: u32| if own == 0 { mesh } else { own };
    Some(Keepalive {
        probes: either(own.probes, mesh.probes),
        time_s: either(own.time_s, mesh.time_s),
        interval_s: either(own.interval_s, mesh.interval_s),
    })
}

fn protocol(port: &Port<'_>) -> Protocol {
    match port.carried {
        Carried::Http => Protocol::Http1,
        Carried::Tcp => Protocol::Tcp,
    }
}

/// Metadata of peers must not reach an app, so one endpoint without a proxy makes the whole cluster a foreign one.
fn internal(destination: &Destination<'_>, endpoints: &[&Endpoint<'_>]) -> bool {
    let mesh = match destination.kind {
        DestinationKind::Service(_) => true,
        DestinationKind::Entry(entry) => entry.internal,
    };
    mesh && endpoints.iter().all(|endpoint| endpoint.has_proxy())
}

/// With where the endpoints are, if that makes a difference.
fn endpoint_set(
    name: &str,
    chosen: &[&Endpoint<'_>],
    names: &[&Named<'_>],
    locality: Option<&LocalityRule>,
) -> EndpointSet {
    let compared: &[FailoverLabel] = match locality {
        Some(LocalityRule::Failover { priority, .. }) => priority,
        _ => &[],
    };
    let place = |labels: Option<&Labels>| {
        let labels = labels.filter(|_| locality.is_some())?;
        place(labels, compared.iter().map(|label| label.name.as_str()))
    };
    let (mut workloads, mut places) = (Listed::default(), Listed::default());
    let endpoints = chosen
        .iter()
        .map(|endpoint| {
            let workload = workloads.number(endpoint.pod.map(|pod| pod.workload.clone()));
            let place = places.number(place(endpoint.labels));
            let Endpoint { address, weight, draining, .. } = **endpoint;
            ModelEndpoint { address, weight, draining, workload, place }
        })
        .collect();
    let named = |one: &&Named<'_>| NamedEndpoint {
        host: one.host.clone(),
        port: one.port,
        weight: one.weight,
        first_only: one.first_only,
        place: places.number(place(one.labels)),
    };
    let names = names.iter().map(named).collect();
    EndpointSet { name: name.into(), workloads: workloads.all, places: places.all, endpoints, names }
}

/// Things in order of their first appearance.
struct Listed<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Listed<T> {
    /// The number of one of them, u32::MAX of nothing.
    fn number(&mut self, item: Option<T>) -> u32 {
        let Some(item) = item else { return u32::MAX };
        *self.numbers.entry(item).or_insert_with_key(|item| {
            self.all.push(item.clone());
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}
