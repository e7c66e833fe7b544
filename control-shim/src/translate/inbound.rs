//! A proxy's own side: its listener set, and the way from each inbound listener to the app.

use super::cluster::IDLE_TIMEOUT_MS;
use super::compiled::{ProxyConfig, rules_of_all};
use super::outbound::OUTBOUND;
use super::rules::rules_of;
use super::{Pass, View, namespace_of};
use crate::mesh::{Pod, service_host};
use crate::object::destination_rule::Pool;
use crate::object::locality::place;
use crate::object::service::{Carried, Service, ServicePort};
use ringway_config::Blob;
use ringway_config::model::{
    Action, Backend, Cluster, Domain, Forward, Host, Listener, ListenerProtocol, ListenerSet, Match, Model, PolicySet,
    Protocol, Role, Route, RuleId, TcpBackend,
};

impl Pass<'_> {
    /// Everything that a proxy holds from the start.
    pub(super) fn proxy(&self, pod: &Pod, view: View<'_>) -> Option<ProxyConfig> {
        let (mut needed, mut blobs, mut rules) = Default::default();
        let scope = self.sidecars.scope(pod, self.allow_any(pod), self.destination_rules.selected_view(pod));
        let mut listeners = self.outbound_listeners(pod, view, &scope, &mut needed);
        for port in pod.inbound.keys() {
            listeners.extend(self.inbound_listener(pod, view, *port, &mut blobs));
        }
        self.check_ingress(pod);
        listeners.extend(self.gateway_listeners(pod, view, &mut blobs, &mut needed));
        rules_of_all(&blobs, &mut rules);
        let asks = listeners.iter().any(|listener| listener.name == OUTBOUND);
        let policy = self.policy(pod)?;
        let set = Model::Listeners(ListenerSet {
            name: pod.node(),
            node: pod.workload.clone(),
            place: place(&pod.labels, self.labels.iter().map(String::as_str)),
            pod: pod.name.clone(),
            policy: policy.name().into(),
            listeners,
        });
        rules_of(&set, &mut rules);
        blobs.splice(..0, [self.encode(&set)?, policy]);
        Some(ProxyConfig { node: pod.node(), blobs, holds: self.holding(view, needed), rules, asks, scope })
    }

    /// What a Sidecar says of ports that the pod does not have.
    fn check_ingress(&self, pod: &Pod) {
        let Some(sidecar) = self.sidecars.of(pod) else { return };
        for one in sidecar.ingress.iter().filter(|one| !pod.inbound.contains_key(&one.port)) {
            let message =
                format!("a pod that it holds for has no port {}: no container and no Service names it", one.port);
            let mend = "declare it at the container, or as `targetPort` of a Service";
            self.findings.warning(&sidecar.meta.reference, &one.spot, "idle-ingress", message, mend);
        }
    }

    /// Limits and logging of a pod's proxy.
    fn policy(&self, pod: &Pod) -> Option<Blob> {
        let of_mesh = &self.mesh.options.policy;
        let trusted_proxies = pod.proxy.trusted_proxies.unwrap_or(of_mesh.trusted_proxies);
        let made = self.policies.borrow().get(&trusted_proxies).cloned();
        made.unwrap_or_else(|| {
            let blob = self.encode(&Model::Policy(PolicySet { trusted_proxies, ..of_mesh.clone() }));
            self.policies.borrow_mut().insert(trusted_proxies, blob.clone());
            blob
        })
    }

    fn inbound_listener(&self, pod: &Pod, view: View<'_>, port: u16, blobs: &mut Vec<Blob>) -> Option<Listener> {
        let address = *pod.inbound.get(&port)?;
        let (services, carried) = self.services_of(pod, port);
        let of_service = || {
            let (service, port) = services.first()?;
            Some(self.rule(&service.meta, &format!("ports[{}]", port.port), &port.spot))
        };
        let (sidecar, ingress) = self.sidecars.ingress(pod, port).unzip();
        let said = sidecar.zip(ingress);
        let said = said.map(|(sidecar, one)| self.rule(&sidecar.meta, &one.path, &one.spot));
        let rule = said.or_else(of_service).unwrap_or_default();
        let carried = ingress.map_or(carried, |one| one.carried);
        let app = pod.app(ingress.and_then(|one| one.endpoint).unwrap_or(port));
        let name = format!("inbound|{port}||");
        let first = services.first().map(|(service, _)| *service);
        let cluster = Cluster {
            name: name.clone(),
            rule,
            protocol: if carried == Carried::Http { Protocol::Http1 } else { Protocol::Tcp },
            endpoints: name.clone(),
            service_host: first
                .map_or(String::new(), |service| service_host(service, &self.mesh.options.cluster_domain)),
            service_name: first.map_or("", |service| service.meta.name()).into(),
            service_namespace: first.map_or("", |service| service.meta.namespace()).into(),
            ..self.pooled(&self.inbound_pool(pod, (port, &services, carried), view))
        };
        blobs.extend(self.inbound_cluster(cluster, app, &pod.workload)?);
        let listener = format!("inbound-{port}");
        let protocol = match carried {
            Carried::Tcp => {
                let backends = vec![TcpBackend { cluster: name, weight: 1 }];
                ListenerProtocol::Tcp { backends, rule, idle_timeout_ms: IDLE_TIMEOUT_MS }
            }
            Carried::Http => {
                blobs.push(self.encode(&Model::Host(inbound_host(&listener, rule, name)))?);
                ListenerProtocol::Http { on_demand: false, search: Vec::new(), port }
            }
        };
        Some(Listener { name: listener, rule, address, role: Role::Inbound, protocol })
    }

    /// Limits and times of the connections to a pod's own app: its Sidecar's, else those of the rule for the first of its Services, which hold on
    /// both sides, as in Istio.
    fn inbound_pool(
        &self,
        pod: &Pod,
        (port, services, carried): (u16, &[(&Service, &ServicePort)], Carried),
        view: View<'_>,
    ) -> Pool {
        let of_port = self.sidecars.ingress(pod, port).and_then(|(_, ingress)| ingress.pool.clone());
        let own = of_port.or_else(|| self.sidecars.of(pod)?.inbound_pool.clone());
        let mut pool = own.or_else(|| {
            let (service, port) = services.first()?;
            let host = service_host(service, &self.mesh.options.cluster_domain);
            // A rule that selects its clients holds on their side alone.
            self.destination_rules
                .find(namespace_of(view), &host, service.meta.namespace())
                .policy(None, port.port)
                .pool
        });
        // An opaque connection is the caller's to end: in Istio, too, it has no longest time on this side.
        let rules = pool.as_mut().and_then(|pool| pool.connection.as_mut());
        rules.filter(|_| carried == Carried::Tcp).into_iter().for_each(|rules| rules.duration_max_ms = 0);
        pool.unwrap_or_default()
    }

    /// The service ports behind a pod's port, and how it is carried: as bytes where nobody says HTTP, or where they disagree.
    fn services_of(&self, pod: &Pod, number: u16) -> (Vec<(&Service, &ServicePort)>, Carried) {
        let selected: Vec<_> = self.selectors.of(&pod.namespace, &pod.labels).collect();
        let mut found = Vec::new();
        for service in selected {
            let ports = service.ports.iter().filter(|port| pod.port(&port.target) == Some(number));
            found.extend(ports.map(|port| (service, port)));
        }
        found.sort_by(|a, b| (a.0.meta.name(), a.1.port).cmp(&(b.0.meta.name(), b.1.port)));
        let http = found.iter().filter(|(_, port)| port.carried == Carried::Http).count();
        let carried = if http > 0 && http == found.len() { Carried::Http } else { Carried::Tcp };
        // Each pair is told of by itself: what one pair does is no business of a third Service.
        for (service, port) in found.iter().filter(|(_, port)| port.carried == Carried::Http) {
            for (other, _) in found.iter().filter(|(_, port)| port.carried == Carried::Tcp) {
                let message = format!(
                    "port {number} of its pods is HTTP for {} and TCP for {}; it is carried as TCP",
                    service.meta.reference, other.meta.reference
                );
                let mend = "give both the same protocol";
                self.findings.warning(&service.meta.reference, &port.spot, "conflict", message, mend);
            }
        }
        (found, carried)
    }
}

fn inbound_host(listener: &str, rule: RuleId, cluster: String) -> Host {
    let backend = Backend { cluster, weight: 1, rule, missing_status: 503, ..Backend::default() };
    Host {
        name: listener.into(),
        listener: listener.into(),
        rule,
        domains: vec![Domain { pattern: "*".into(), port: 0 }],
        routes: vec![Route { rule, name: "default".into(), matches: Match::default(), action: 0 }],
        actions: vec![Action::Forward(Forward { backends: vec![backend], ..Forward::default() })],
    }
}
