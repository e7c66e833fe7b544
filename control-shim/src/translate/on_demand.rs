//! Hosts that nobody can list, made when a proxy asks for them: those under a wildcard whose address is that of the name which a request gives and,
//! where an outbound traffic policy allows it, any other.
//!
//! Each has a cluster of its own, whose endpoint the proxy looks up. A proxy may hold as many as it may ask for.

use super::Pass;
use super::cluster::IDLE_TIMEOUT_MS;
use super::compiled::HostConfig;
use super::outbound::OUTBOUND;
use super::registry::itself;
use crate::mesh::{Options, Pod};
use crate::object::mesh_config::REFERENCE;
use crate::object::{Object, ObjectRef};
use ringway_config::Blob;
use ringway_config::model::{
    Action, Backend, Cluster, ConnectionRules, Domain, Endpoint, EndpointSet, Forward, Host, Match, Model,
    NamedEndpoint, Route, RuleId,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Istio's name for what no manifest names, in telemetry and as the beginning of the clusters' names.
const PASSTHROUGH: &str = "PassthroughCluster";
/// Istio's name of the route there.
const ALLOW_ANY: &str = "allow_any";

impl Pass<'_> {
    /// The rule that lets a pod ask for any host: its Sidecar's, else the mesh's.
    pub(super) fn allow_any(&self, pod: &Pod) -> Option<RuleId> {
        const FIELD: &str = "outboundTrafficPolicy.mode";
        if pod.stand_in {
            return None;
        }
        let of_sidecar = self.sidecars.of(pod).and_then(|sidecar| Some((&sidecar.meta, sidecar.outbound.as_ref()?)));
        let [kind, namespace, name] = REFERENCE;
        let entry = self.mesh.objects.get(&ObjectRef::new(kind, namespace, name));
        let of_mesh = match entry.map(|entry| &entry.object) {
            Some(Object::MeshConfig(config)) => config.outbound.as_ref().map(|policy| (&config.meta, policy)),
            _ => None,
        };
        let (meta, policy) = of_sidecar.or(of_mesh)?;
        policy.allow_any.then(|| self.rule(meta, FIELD, &policy.spot))
    }
}

impl HostConfig {
    /// What a proxy gets that asks for a host under this wildcard.
    pub(super) fn of_host(&self, host: &str, port: u16) -> Option<Arc<HostConfig>> {
        let name = format!("{host}:{port}");
        let blobs = self.blobs.iter().map(|blob| self.narrowed(blob, &name, host, port)).collect::<Option<Vec<_>>>()?;
        let (origin, rules, on_demand) = (self.origin.clone(), self.rules.clone(), self.on_demand.clone());
        Some(Arc::new(HostConfig { name, blobs, rules, origin, on_demand }))
    }

    fn narrowed(&self, blob: &Blob, name: &str, host: &str, port: u16) -> Option<Blob> {
        let own = |cluster: &str| {
            let (front, _) = cluster.rsplit_once('|').filter(|_| self.on_demand.contains_key(cluster))?;
            Some(format!("{front}|{host}"))
        };
        let rename = |cluster: &mut String| *cluster = own(cluster).unwrap_or(std::mem::take(cluster));
        let mut model = blob.model().clone();
        match &mut model {
            Model::Host(model) => {
                model.name = name.into();
                model.domains = vec![Domain { pattern: host.into(), port }];
                let forwards = model.actions.iter_mut().filter_map(|action| match action {
                    Action::Forward(forward) => Some(forward),
                    Action::Redirect(_) | Action::Respond(_) => None,
                });
                for forward in forwards {
                    forward.backends.iter_mut().for_each(|backend| rename(&mut backend.cluster));
                    forward.mirrors.iter_mut().for_each(|mirror| rename(&mut mirror.cluster));
                }
            }
            Model::Cluster(model) if self.on_demand.contains_key(&model.name) => {
                rename(&mut model.name);
                model.endpoints = model.name.clone();
                model.mesh_internal = false;
            }
            Model::Endpoints(model) => {
                let Some(target) = self.on_demand.get(&model.name) else { return Some(blob.clone()) };
                *model = endpoints(own(&model.name)?, host, *target);
            }
            _ => return Some(blob.clone()),
        }
        Blob::encode(&model).ok()
    }
}

/// What a proxy gets that asks for a host which no manifest names. None: it cannot be anywhere but here, and would only come back.
pub(super) fn any_host(rule: RuleId, (host, port): (&str, u16), options: &Options) -> Option<Arc<HostConfig>> {
    let here = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    if here {
        return None;
    }
    let (name, cluster) = (format!("{ALLOW_ANY}:{host}:{port}"), format!("{PASSTHROUGH}|{port}|{host}"));
    let backend = Backend { cluster: cluster.clone(), weight: 1, rule, missing_status: 503, ..Backend::default() };
    let models = [
        Model::Host(Host {
            name: name.clone(),
            listener: OUTBOUND.into(),
            rule,
            domains: vec![Domain { pattern: host.into(), port }],
            routes: vec![Route { rule, name: ALLOW_ANY.into(), matches: Match::default(), action: 0 }],
            actions: vec![Action::Forward(Forward { backends: vec![backend], ..Forward::default() })],
        }),
        Model::Cluster(Cluster {
            name: cluster.clone(),
            rule,
            endpoints: cluster.clone(),
            connect_timeout_ms: options.connect_timeout_ms,
            idle_timeout_ms: IDLE_TIMEOUT_MS,
            connection: options
                .keepalive
                .map(|keepalive| ConnectionRules { keepalive: Some(keepalive), ..Default::default() }),
            service_host: PASSTHROUGH.into(),
            service_name: PASSTHROUGH.into(),
            ..Cluster::default()
        }),
        Model::Endpoints(endpoints(cluster, host, port)),
    ];
    // A host that is no name: nobody has it.
    let blobs = models.iter().map(|model| Blob::encode(model).ok()).collect::<Option<Vec<_>>>()?;
    Some(Arc::new(HostConfig::new(name, ("", host), blobs)))
}

/// A host as the only endpoint.
fn endpoints(name: String, host: &str, port: u16) -> EndpointSet {
    let (mut endpoints, mut names) = (Vec::new(), Vec::new());
    match itself(host, port) {
        Ok(one) => endpoints.push(Endpoint {
            address: one.address,
            weight: one.weight,
            draining: false,
            workload: u32::MAX,
            place: u32::MAX,
        }),
        Err(one) => names.push(NamedEndpoint {
            host: one.host,
            port: one.port,
            weight: one.weight,
            first_only: one.first_only,
            place: u32::MAX,
        }),
    }
    EndpointSet { name, endpoints, names, ..EndpointSet::default() }
}
