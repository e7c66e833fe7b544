//! What opaque listeners do: `tcp` and `tls` rules of VirtualServices, TCPRoutes and TLSRoutes of the Gateway API.

use super::attach::{domains, in_force};
use super::cluster::ClusterKey;
use super::gateway::GatewayPort;
use super::gateway_api::{narrow, narrower};
use super::virtual_service::{Seat, gateway_key, seated};
use super::{Pass, View, intersect};
use crate::mesh::Pod;
use crate::object::gateway::{Gateway, Server};
use crate::object::gateway_api::{K8sGateway, K8sListener, K8sProtocol};
use crate::object::opaque_route::{OpaqueRoute, Selector};
use crate::object::service::{Carried, Service};
use crate::object::subnet::Subnet;
use crate::object::virtual_service::{Destination, VirtualService};
use crate::object::{Object, Objects, Spot, selects};
use ringway_config::model::{ListenerProtocol, RuleId, TcpBackend, TlsRoute};
use std::collections::BTreeSet;

/// TCPRoutes and TLSRoutes, oldest first.
pub(super) struct OpaqueRoutes<'a> {
    all: Vec<&'a OpaqueRoute>,
}

impl<'a> OpaqueRoutes<'a> {
    pub fn new(objects: &'a Objects) -> Self {
        let mut all: Vec<_> = objects
            .iter()
            .filter_map(|entry| match &entry.object {
                Object::OpaqueRoute(route) => Some(route),
                _ => None,
            })
            .collect();
        all.sort_by_key(|route| {
            (route.meta.created.is_empty(), &route.meta.created, route.meta.namespace(), route.meta.name())
        });
        OpaqueRoutes { all }
    }

    /// Those that hold for a service's port as seen from a namespace; TLSRoutes or TCPRoutes.
    fn of_service(&self, tls: bool, view: View<'_>, service: &Service, port: u16) -> Vec<&'a OpaqueRoute> {
        let all = self.all.iter().copied().filter(|route| route.tls == tls);
        in_force(all, |route| (&route.meta, &route.parents), view, service, port)
    }
}

/// Where an opaque listener is made for.
#[derive(Clone, Copy)]
pub(super) struct OpaqueSeat<'s> {
    pub seat: Seat<'s>,
    /// The pod whose proxy listens.
    pub pod: &'s Pod,
    /// What connections are addressed to.
    pub addresses: &'s [Subnet],
}

/// Where opaque bytes go, and the clusters that this needs.
#[derive(Default)]
pub(super) struct Tunnel {
    pub rule: RuleId,
    pub backends: Vec<TcpBackend>,
    pub clusters: BTreeSet<ClusterKey>,
}

impl Pass<'_> {
    /// The first `tcp` rule of a VirtualService that holds at a seat.
    pub(super) fn tcp_rule(&self, service: &VirtualService, at: OpaqueSeat<'_>) -> Option<Tunnel> {
        let rule = service.tcp.iter().find(|rule| {
            rule.matches.is_empty() || rule.matches.iter().any(|selector| self.holds(service, selector, at))
        })?;
        let id = self.rule(&service.meta, &rule.path, &rule.spot);
        Some(self.destinations(service, id, &rule.destinations, at.seat))
    }

    /// The `tls` rules of a VirtualService that hold at a seat, for server names that these hosts cover.
    pub(super) fn tls_rules(
        &self,
        service: &VirtualService,
        at: OpaqueSeat<'_>,
        hosts: &[&str],
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Vec<TlsRoute> {
        let mut routes = Vec::new();
        for rule in &service.tls {
            for one in rule.matches.iter().filter(|one| self.holds(service, &one.selector, at)) {
                let mut names = Vec::new();
                for name in &one.server_names {
                    names.extend(hosts.iter().filter_map(|host| intersect(host, name)));
                }
                names.sort();
                names.dedup();
                if names.is_empty() {
                    continue;
                }
                let id = self.rule(&service.meta, &one.path, &one.spot);
                routes.push(self.tls_route(
                    names,
                    self.destinations(service, id, &rule.destinations, at.seat),
                    at.seat.view,
                    clusters,
                ));
            }
        }
        routes
    }

    fn tls_route(
        &self,
        names: Vec<String>,
        tunnel: Tunnel,
        view: View<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> TlsRoute {
        let idle_timeout_ms = tunnel.clusters.first().map_or(0, |key| self.tcp_idle(view, key));
        clusters.extend(tunnel.clusters);
        TlsRoute { rule: tunnel.rule, names, backends: tunnel.backends, idle_timeout_ms }
    }

    /// The selectors of a match; all are decided here.
    fn holds(&self, service: &VirtualService, selector: &Selector, at: OpaqueSeat<'_>) -> bool {
        let seat = at.seat;
        selector.port.is_none_or(|port| port == seat.port)
            && seated(&selector.gateways, service.meta.namespace(), seat)
            && selector.source_namespace.as_ref().is_none_or(|namespace| *namespace == at.pod.namespace)
            && selects(&selector.source_labels, &at.pod.labels)
            && self.addressed(service, selector, at)
    }

    fn addressed(&self, service: &VirtualService, selector: &Selector, at: OpaqueSeat<'_>) -> bool {
        let Some(spot) = &selector.subnets_spot else { return true };
        if selector.subnets.iter().any(Subnet::is_everything) {
            return true;
        }
        if at.addresses.is_empty() {
            let message = "`destinationSubnets` cannot be decided: nothing says which address the host has".to_string();
            let mend = "give its Service a clusterIP or its ServiceEntry `addresses`, or remove it";
            self.findings.error(&service.meta.reference, spot, "unknown-address", message, mend);
        }
        at.addresses.iter().any(|address| selector.subnets.iter().any(|subnet| subnet.covers(address)))
    }

    /// Weighted destinations; one that is not there keeps its share, which is closed.
    fn destinations(&self, service: &VirtualService, rule: RuleId, all: &[Destination], seat: Seat<'_>) -> Tunnel {
        let mut tunnel = Tunnel { rule, ..Tunnel::default() };
        for destination in all {
            let key = self.resolve(service, destination, seat, Carried::Tcp);
            tunnel.put(key, destination.weight);
        }
        tunnel
    }

    /// Opaque servers of Istio's Gateways on one port: VirtualServices in order of age.
    pub(super) fn opaque_servers(
        &self,
        servers: &[(&Gateway, &Server)],
        tls: bool,
        pod: &Pod,
        port: &GatewayPort<'_>,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> ListenerProtocol {
        let addresses = [Subnet::from(pod.address)];
        let mut bound: Vec<(&VirtualService, &Server, String)> = Vec::new();
        for (gateway, server) in servers {
            let key = gateway_key(gateway.meta.name(), gateway.meta.namespace());
            for service in self.virtual_services.of_gateway(&key) {
                if self.virtual_services.is_visible(service, &pod.namespace)
                    && !self.domains(server, service).is_empty()
                {
                    bound.push((service, server, key.clone()));
                }
            }
        }
        bound.sort_by_key(|(service, ..)| self.virtual_services.age(service));
        let mut routes = Vec::new();
        for (service, server, gateway) in &bound {
            let seat = Seat { view: port.view, port: port.number, gateway };
            let at = OpaqueSeat { seat, pod, addresses: &addresses };
            if tls {
                let hosts: Vec<&str> = server.hosts.iter().map(|host| host.host.as_str()).collect();
                routes.extend(self.tls_rules(service, at, &hosts, needed));
            } else if let Some(tunnel) = self.tcp_rule(service, at) {
                return self.tcp(tunnel, port.view, needed);
            }
        }
        if tls {
            return ListenerProtocol::Tls { routes };
        }
        ListenerProtocol::Tcp { backends: Vec::new(), rule: RuleId(0), idle_timeout_ms: 0 }
    }

    /// A TCP listener's protocol.
    pub(super) fn tcp(&self, tunnel: Tunnel, view: View<'_>, needed: &mut BTreeSet<ClusterKey>) -> ListenerProtocol {
        let idle_timeout_ms = tunnel.clusters.first().map_or(0, |key| self.tcp_idle(view, key));
        needed.extend(tunnel.clusters);
        ListenerProtocol::Tcp { backends: tunnel.backends, rule: tunnel.rule, idle_timeout_ms }
    }

    /// What the opaque listeners of Gateway API Gateways on one port do, by the routes attached to them.
    pub(super) fn k8s_opaque(
        &self,
        listeners: &[(&K8sGateway, &K8sListener)],
        view: View<'_>,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> ListenerProtocol {
        let (mut routes, mut clusters) = (Vec::new(), BTreeSet::new());
        for route in &self.opaque_routes.all {
            for (gateway, listener) in listeners {
                if !self.attaches(&route.meta, &route.parents, gateway, listener) {
                    continue;
                }
                if !route.tls {
                    return self.tcp(self.backends(route, view), view, needed);
                }
                let mut names = domains(&route.hostnames, listener);
                names.retain(|name| !narrower(listeners, listener, name));
                if !names.is_empty() {
                    routes.push(self.tls_route(names, self.backends(route, view), view, &mut clusters));
                }
            }
        }
        if listeners.iter().any(|(_, listener)| listener.protocol == Some(K8sProtocol::Tls)) {
            // Names of a narrower listener that no route of it takes are closed, not left to a wider one.
            for (gateway, listener) in narrow(listeners) {
                let name = &listener.hostname;
                if !routes.iter().any(|route| route.names.contains(name)) {
                    let rule = self.rule(&gateway.meta, &listener.path, &listener.spot);
                    routes.push(TlsRoute { rule, names: vec![name.clone()], ..TlsRoute::default() });
                }
            }
            needed.extend(clusters);
            return ListenerProtocol::Tls { routes };
        }
        ListenerProtocol::Tcp { backends: Vec::new(), rule: RuleId(0), idle_timeout_ms: 0 }
    }

    /// What routes attached to a Service say about a port that carries TLS, for the clients of a namespace.
    pub(super) fn service_tls_routes(
        &self,
        at: OpaqueSeat<'_>,
        service: &Service,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Vec<TlsRoute> {
        let routes = self.opaque_routes.of_service(true, &at.pod.namespace, service, at.seat.port);
        let any = || vec!["*".to_string()];
        let made = routes.into_iter().map(|route| {
            let names = if route.hostnames.is_empty() { any() } else { route.hostnames.clone() };
            self.tls_route(names, self.backends(route, at.seat.view), at.seat.view, clusters)
        });
        made.collect()
    }

    /// The same for bytes: the oldest route alone.
    pub(super) fn service_tcp_route(&self, at: OpaqueSeat<'_>, service: &Service) -> Option<Tunnel> {
        let routes = self.opaque_routes.of_service(false, &at.pod.namespace, service, at.seat.port);
        routes.first().map(|route| self.backends(route, at.seat.view))
    }

    fn backends(&self, route: &OpaqueRoute, view: View<'_>) -> Tunnel {
        let rule = self.rule(&route.meta, &route.rule.path, &route.rule.spot);
        let mut tunnel = Tunnel { rule, ..Tunnel::default() };
        for backend in &route.rule.backends {
            let key = self.backend_cluster(&route.meta, backend, Carried::Tcp);
            tunnel.put(key.filter(|key| self.cluster(view, key).is_some()), backend.weight);
        }
        tunnel
    }

    /// Broken backends of all TCPRoutes and TLSRoutes, parents that are not there, and routes that no parent takes.
    pub(super) fn check_opaque_routes(&self) {
        for route in &self.opaque_routes.all {
            self.backends(route, "");
            self.check_parents(&(*route).into());
        }
    }

    /// `tcp` and `tls` rules of VirtualServices that no proxy's translation would come across.
    pub(super) fn check_opaque_rules(&self, service: &VirtualService, seat: Seat<'_>) {
        let rules = service.tcp.iter().map(|rule| &rule.destinations);
        for destinations in rules.chain(service.tls.iter().map(|rule| &rule.destinations)) {
            self.destinations(service, RuleId(0), destinations, seat);
        }
    }

    /// Rules for one protocol do nothing for a host that is carried otherwise.
    pub(super) fn check_protocols(&self, service: &VirtualService) {
        if !service.gateways.iter().any(|(name, _)| name == super::virtual_service::MESH) {
            return;
        }
        for (name, spot) in &service.hosts {
            let host = super::expand(name, service.meta.namespace(), &self.mesh.options.cluster_domain);
            let Some(destination) = self.registry.get(&host) else { continue };
            let has = |carried, tls| destination.ports.iter().any(|port| (port.carried, port.tls) == (carried, tls));
            let (http, tls, tcp) = (has(Carried::Http, false), has(Carried::Tcp, true), has(Carried::Tcp, false));
            let carried: Vec<&str> = [(http, "HTTP"), (tls, "TLS"), (tcp, "opaque TCP")]
                .into_iter()
                .filter_map(|(there, word)| there.then_some(word))
                .collect();
            for (rules, dead) in [
                ("http", !http && !service.http.is_empty()),
                ("tls", !tls && !service.tls.is_empty()),
                ("tcp", !tcp && !service.tcp.is_empty()),
            ] {
                if dead && !carried.is_empty() {
                    self.warn_about_dead_rules(service, spot, rules, &host, &carried.join(" and "));
                }
            }
        }
    }

    fn warn_about_dead_rules(&self, service: &VirtualService, spot: &Spot, rules: &str, host: &str, carried: &str) {
        let message = format!("`{rules}` rules do nothing for `{host}`, all ports of which carry {carried}");
        let mend = "name the Service's ports by what they speak";
        self.findings.warning(&service.meta.reference, spot, "not-applied", message, mend);
    }
}

impl Tunnel {
    fn put(&mut self, key: Option<ClusterKey>, weight: u32) {
        let cluster = key.as_ref().map(ClusterKey::name).unwrap_or_default();
        self.backends.push(TcpBackend { cluster, weight });
        self.clusters.extend(key);
    }
}
