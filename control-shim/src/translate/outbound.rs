//! The client's side: a host blob for each HTTP port of each destination, and what each TCP listener forwards to.

use super::cluster::{ClusterKey, IDLE_TIMEOUT_MS};
use super::compiled::{HostConfig, Hosts, literal};
use super::opaque::{OpaqueSeat, Tunnel};
use super::registry::{Destination, DestinationKind, Port};
use super::scope::Scope;
use super::virtual_service::{MESH, Routes, Seat};
use super::{Pass, View};
use crate::mesh::Pod;
use crate::object::service::Carried;
use crate::object::subnet::Subnet;
use ringway_config::model::{
    Action, Backend, Domain, Forward, Host, Listener, ListenerProtocol, Match, Model, Role, Route, TcpBackend,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Name of every sidecar's HTTP proxy listener; one name, so that hosts are shared by all.
pub(super) const OUTBOUND: &str = "outbound";
/// The port that an authority without one means.
const HTTP_PORT: u16 = 80;

impl Pass<'_> {
    /// The outbound hosts that are wanted, as a view sees them, by (domain, port).
    pub(super) fn outbound_hosts(&self, view: View<'_>, wanted: impl Fn(&str) -> bool) -> Hosts {
        let mut table = Hosts::default();
        let destinations = self.registry.iter().filter(|destination| wanted(&destination.host));
        for destination in destinations.filter(|destination| destination.visible(view)) {
            for port in destination.ports.iter().filter(|port| port.carried == Carried::Http) {
                let domains = domains(destination, port.number, &self.mesh.options.cluster_domain);
                let routes = self.destination_routes(view, destination, port);
                let rule = self.rule(destination.meta, &port.field, port.spot);
                let name = format!("{}:{}", destination.host, port.number);
                self.put_host(
                    view,
                    Host { name, listener: OUTBOUND.into(), rule, domains, ..Host::default() },
                    (destination.meta.namespace(), &destination.host),
                    routes,
                    &mut table,
                );
            }
        }
        self.virtual_hosts(view, wanted, &mut table);
        table
    }

    /// Hosts that only VirtualServices know: `api.example.com` routed to services of the mesh, on any port.
    fn virtual_hosts(&self, view: View<'_>, wanted: impl Fn(&str) -> bool, table: &mut Hosts) {
        for host in self.virtual_services.hosts().into_iter().filter(|host| wanted(host)) {
            let known = self
                .registry
                .get(host)
                .is_some_and(|destination| destination.host == host && destination.visible(view));
            let services = self.virtual_services.of_host(view, host);
            let Some(service) = services.first().filter(|service| !known && !service.http.is_empty()) else { continue };
            // A port that rules ask for is one of its own.
            let asked = service.http.iter().flat_map(|rule| &rule.matches).filter_map(|one| one.port);
            let asked: BTreeSet<u16> = asked.filter(|port| *port != HTTP_PORT).collect();
            for port in asked.into_iter().map(Some).chain([None]) {
                let mut routes = Routes::default();
                let seat = Seat { view, port: port.unwrap_or(HTTP_PORT), gateway: MESH };
                self.virtual_service_routes(service, seat, &mut routes);
                let rule = self.rule(&service.meta, "hosts", &service.meta.spot);
                let name = port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
                let domains = vec![Domain { pattern: host.into(), port: port.unwrap_or(0) }];
                self.put_host(
                    view,
                    Host { name, listener: OUTBOUND.into(), rule, domains, ..Host::default() },
                    (service.meta.namespace(), host),
                    routes,
                    table,
                );
            }
        }
    }

    fn put_host(&self, view: View<'_>, mut host: Host, origin: (&str, &str), routes: Routes, table: &mut Hosts) {
        host.domains.retain(|domain| {
            let key = (domain.pattern.clone(), domain.port);
            let free = !table.contains_key(&key);
            if !free {
                self.contested.borrow_mut().insert(key);
            }
            free
        });
        host.routes = routes.routes;
        host.actions = routes.actions;
        let keys: Vec<_> = host.domains.iter().map(|domain| (domain.pattern.clone(), domain.port)).collect();
        let name = host.name.clone();
        let Some(blob) = self.encode(&Model::Host(host)) else { return };
        let mut blobs = vec![blob];
        let mut on_demand = BTreeMap::new();
        for key in &routes.clusters {
            blobs.extend(self.cluster(view, key).into_iter().flatten());
            let port = self.registry.get(&key.host).and_then(|destination| destination.port(key.port));
            let target = port.and_then(|port| port.on_demand).filter(|_| key.host.starts_with('*'));
            on_demand.extend(target.map(|target| (key.name(), target)));
        }
        let config = Arc::new(HostConfig { on_demand, ..HostConfig::new(name, origin, blobs) });
        for key in keys {
            table.insert(key, config.clone());
        }
    }

    /// What holds for a destination's port: a VirtualService, else HTTPRoutes, else straight to its endpoints.
    fn destination_routes(&self, view: View<'_>, destination: &Destination<'_>, port: &Port<'_>) -> Routes {
        let mut routes = Routes::default();
        let seat = Seat { view, port: port.number, gateway: MESH };
        let services = self.virtual_services.of_host(view, &destination.host);
        let mut with_http = services.iter().filter(|service| !service.http.is_empty());
        let attached = match destination.kind {
            DestinationKind::Service(service) => self.http_routes.of_service(view, service, port.number),
            DestinationKind::Entry(_) => Vec::new(),
        };
        if let Some(first) = with_http.next() {
            self.virtual_service_routes(first, seat, &mut routes);
            let others = with_http.map(|other| &other.meta).chain(attached.iter().map(|route| &route.meta));
            for other in others {
                let message = format!(
                    "{} and {} both route `{}`; the first is in force",
                    first.meta.reference, other.reference, destination.host
                );
                self.findings.warning(&other.reference, &other.spot, "conflict", message, "merge the two");
            }
            return routes;
        }
        if !attached.is_empty() {
            self.http_route_routes(&attached, view, Some(port.number), &mut routes);
            return routes;
        }
        let key = ClusterKey { host: destination.host.clone(), port: port.number, subset: String::new() };
        let rule = self.rule(destination.meta, &port.field, port.spot);
        let backend = Backend { cluster: key.name(), weight: 1, rule, missing_status: 503, ..Backend::default() };
        let forward = Forward { backends: vec![backend], retry: self.mesh.options.retry.clone(), ..Forward::default() };
        routes.actions.push(Action::Forward(forward));
        routes.routes.push(Route { rule, name: "default".into(), matches: Match::default(), action: 0 });
        routes.clusters.insert(key);
        routes
    }

    /// The listeners of a sidecar towards the mesh, and the clusters that the TCP ones need.
    pub(super) fn outbound_listeners(
        &self,
        pod: &Pod,
        view: View<'_>,
        scope: &Scope,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> Vec<Listener> {
        if pod.stand_in {
            return Vec::new();
        }
        let search = vec![format!("{}.svc.{}", pod.namespace, self.mesh.options.cluster_domain)];
        let mut listeners = vec![Listener {
            name: OUTBOUND.into(),
            rule: Default::default(),
            address: pod.outbound,
            role: Role::Outbound,
            protocol: ListenerProtocol::Http { on_demand: true, search, port: HTTP_PORT },
        }];
        for ((host, number), address) in &pod.tcp {
            let seen = |destination: &&Destination<'_>| {
                destination.visible(view) && scope.sees(destination.meta.namespace(), host, *number)
            };
            let Some(destination) = self.registry.get(host).filter(seen) else {
                continue;
            };
            let Some(port) = destination.port(*number).filter(|port| port.carried == Carried::Tcp) else { continue };
            let declared = self.rule(destination.meta, &port.field, port.spot);
            let seat = Seat { view, port: *number, gateway: MESH };
            let key = ClusterKey { host: host.clone(), port: *number, subset: String::new() };
            let addresses = destination.addresses();
            let at = OpaqueSeat { seat, pod, addresses: &addresses };
            let services = self.virtual_services.of_host(view, host);
            // TLS ports take `tls` rules and others `tcp` rules, as in Istio. Routes of the Gateway API come second, TLSRoutes before TCPRoutes.
            let attached = match destination.kind {
                DestinationKind::Service(service) => Some(service),
                DestinationKind::Entry(_) => None,
            };
            let mut routes = Vec::new();
            if port.tls {
                routes = services.iter().flat_map(|service| self.tls_rules(service, at, &["*"], needed)).collect();
                if routes.is_empty() {
                    routes = attached.map_or_else(Vec::new, |service| self.service_tls_routes(at, service, needed));
                }
            }
            let mut routed = services.iter().filter(|_| !port.tls).find_map(|service| self.tcp_rule(service, at));
            if routed.is_none() && routes.is_empty() {
                routed = attached.and_then(|service| self.service_tcp_route(at, service));
            }
            let protocol = if routes.is_empty() {
                let straight = || Tunnel {
                    rule: declared,
                    backends: vec![TcpBackend { cluster: key.name(), weight: 1 }],
                    clusters: [key.clone()].into(),
                };
                self.tcp(routed.unwrap_or_else(straight), view, needed)
            } else {
                ListenerProtocol::Tls { routes }
            };
            listeners.push(Listener {
                name: format!("{OUTBOUND}|{number}|{host}"),
                rule: declared,
                address: *address,
                role: Role::Outbound,
                protocol,
            });
        }
        listeners
    }

    /// How long an opaque connection to a destination may be silent.
    pub(super) fn tcp_idle(&self, view: View<'_>, key: &ClusterKey) -> u64 {
        let namespace = self.registry.get(&key.host).map_or("", |destination| destination.meta.namespace());
        let policy = self.destination_rules.find(view, &key.host, namespace).policy(None, key.port);
        policy.pool.and_then(|pool| pool.tcp_idle_timeout_ms).unwrap_or(IDLE_TIMEOUT_MS)
    }
}

/// The authorities of a destination: its host, what Kubernetes' search path allows, and its literal addresses.
fn domains(destination: &Destination<'_>, port: u16, cluster_domain: &str) -> Vec<Domain> {
    let mut names = vec![destination.host.clone()];
    if let DestinationKind::Service(service) = destination.kind {
        let short = format!("{}.{}", service.meta.name(), service.meta.namespace());
        names.extend([format!("{short}.svc"), short]);
        if service.headless {
            // Single pods of a StatefulSet.
            names.push(format!("*.{}.{}.svc.{cluster_domain}", service.meta.name(), service.meta.namespace()));
        }
    }
    names.extend(destination.addresses().iter().filter_map(Subnet::single).map(literal));
    names.into_iter().map(|pattern| Domain { pattern, port }).collect()
}
