//! Istio's Gateway: what listens at a gateway's pod, and the hosts that VirtualServices put there.

use super::cluster::ClusterKey;
use super::findings::Missing;
use super::gateway_api::K8S_GATEWAY_LABEL;
use super::virtual_service::{MESH, Routes, Seat, gateway_key};
use super::{Pass, View, expand, intersect, seniority};
use crate::diagnostic::Diagnostic;
use crate::mesh::Pod;
use crate::object::gateway::{Gateway, Server, ServerHost, ServerProtocol};
use crate::object::objects::K8S_GATEWAY;
use crate::object::virtual_service::VirtualService;
use crate::object::{K8sGateway, Labels, Object, selects};
use ringway_config::Blob;
use ringway_config::model::{Domain, Host, Listener, ListenerProtocol, Match, Model, PathMatch, Role, Route, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One port of a gateway's pod while it is put together.
pub(super) struct GatewayPort<'p> {
    /// The pod's view of the mesh.
    pub view: View<'p>,
    /// Declared number.
    pub number: u16,
    /// The same, unless it is bound to another one, as on a machine where it takes rights.
    pub reachable: Option<u16>,
    /// Name of its listener.
    pub listener: String,
    /// Routes by domain.
    pub hosts: BTreeMap<String, (RuleId, Routes)>,
}

impl Pass<'_> {
    /// The gateway listeners of a pod, with their hosts and the clusters that these need.
    pub(super) fn gateway_listeners(
        &self,
        pod: &Pod,
        view: View<'_>,
        hosts: &mut Vec<Blob>,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> Vec<Listener> {
        if pod.gateway.is_empty() {
            return Vec::new();
        }
        let (istio, k8s) = self.gateways_of(pod);
        let mut listeners = Vec::new();
        for (number, address) in &pod.gateway {
            let servers: Vec<_> = istio
                .iter()
                .flat_map(|gateway| gateway.servers.iter().map(move |server| (*gateway, server)))
                .filter(|(_, server)| server.port == *number)
                .collect();
            let reachable = Some(*number).filter(|number| address.port() == *number);
            let listener = format!("gateway-{number}");
            let mut port = GatewayPort { view, number: *number, reachable, listener, hosts: BTreeMap::new() };
            let (rule, protocol) = match servers.first() {
                Some((gateway, first)) => {
                    self.warn_about_protocols(&servers, first.protocol);
                    let rule = self.rule(&gateway.meta, &first.path, &first.spot);
                    (rule, self.serve(&servers, first.protocol, pod, &mut port, needed))
                }
                None => match self.k8s_port(&k8s, &mut port, needed) {
                    Some(served) => served,
                    None => continue,
                },
            };
            for (domain, (host_rule, routes)) in std::mem::take(&mut port.hosts) {
                let host = Host {
                    name: format!("{}/{domain}", port.listener),
                    listener: port.listener.clone(),
                    rule: host_rule,
                    domains: vec![Domain { pattern: domain, port: 0 }],
                    routes: routes.routes,
                    actions: routes.actions,
                };
                hosts.extend(self.encode(&Model::Host(host)));
                needed.extend(routes.clusters);
            }
            listeners.push(Listener { name: port.listener, rule, address: *address, role: Role::Gateway, protocol });
        }
        listeners
    }

    fn gateways_of(&self, pod: &Pod) -> (Vec<&Gateway>, Vec<&K8sGateway>) {
        let (mut istio, mut k8s) = (Vec::new(), Vec::new());
        let objects = &self.mesh.objects;
        let all = objects.of_kind("Gateway").chain(objects.of_kind(K8S_GATEWAY));
        for entry in all.filter(|entry| is_gateway_of(&entry.object, pod)) {
            match &entry.object {
                Object::Gateway(gateway) => istio.push(gateway),
                Object::K8sGateway(gateway) => k8s.push(gateway),
                _ => {}
            }
        }
        istio.sort_by_key(|gateway| seniority(&gateway.meta));
        (istio, k8s)
    }

    fn warn_about_protocols(&self, servers: &[(&Gateway, &Server)], protocol: ServerProtocol) {
        for (gateway, server) in servers.iter().filter(|(_, server)| server.protocol != protocol) {
            let message =
                format!("another server has port {} with another protocol; this one is not served", server.port);
            self.findings.error(&gateway.meta.reference, &server.spot, "conflict", message, "give it another port");
        }
    }

    fn serve(
        &self,
        servers: &[(&Gateway, &Server)],
        protocol: ServerProtocol,
        pod: &Pod,
        port: &mut GatewayPort<'_>,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> ListenerProtocol {
        let servers: Vec<_> = servers.iter().copied().filter(|(_, server)| server.protocol == protocol).collect();
        match protocol {
            ServerProtocol::Http => {
                self.http_servers(&servers, pod, port);
                http(port.number)
            }
            ServerProtocol::Tcp => self.opaque_servers(&servers, false, pod, port, needed),
            ServerProtocol::Tls => self.opaque_servers(&servers, true, pod, port, needed),
        }
    }

    /// Merges the hosts of all servers on a port: the VirtualServices of one host add up, those of the oldest Gateway first, of each in order of age.
    fn http_servers(&self, servers: &[(&Gateway, &Server)], pod: &Pod, port: &mut GatewayPort<'_>) {
        let mut by_domain: BTreeMap<String, Vec<(&VirtualService, String)>> = BTreeMap::new();
        for (gateway, server) in servers {
            let key = gateway_key(gateway.meta.name(), gateway.meta.namespace());
            for service in self.virtual_services.of_gateway(&key) {
                if service.http.is_empty() || !self.virtual_services.is_visible(service, &pod.namespace) {
                    continue;
                }
                for domain in self.domains(server, service) {
                    let list = by_domain.entry(domain).or_default();
                    if !list.iter().any(|(other, at)| other.meta.reference == service.meta.reference && *at == key) {
                        list.push((service, key.clone()));
                    }
                }
            }
        }
        for (domain, services) in by_domain {
            let mut routes = Routes::default();
            for (service, gateway) in &services {
                let before = routes.routes.len();
                self.virtual_service_routes(service, Seat { view: port.view, port: port.number, gateway }, &mut routes);
                if services.len() > 1 {
                    routes.keep_reachable(before, &pod.labels);
                }
            }
            if services.len() > 1 {
                routes.catch_alls_last();
            }
            let rule = services
                .first()
                .map_or(RuleId(0), |(service, _)| self.rule(&service.meta, "hosts", &service.meta.spot));
            port.hosts.insert(domain, (rule, routes));
        }
    }

    /// Where the hosts of a server and of a VirtualService meet.
    pub(super) fn domains(&self, server: &Server, service: &VirtualService) -> Vec<String> {
        let own = service.meta.namespace();
        let domain = &self.mesh.options.cluster_domain;
        let meets = |host: &ServerHost| host.namespace.as_deref().is_none_or(|namespace| namespace == own);
        let mut domains = Vec::new();
        for host in server.hosts.iter().filter(|host| meets(host)) {
            domains
                .extend(service.hosts.iter().filter_map(|(name, _)| intersect(&host.host, &expand(name, own, domain))));
        }
        domains
    }

    /// References that no pod's translation would come across.
    pub(super) fn check_references(&self) {
        let gateways: BTreeMap<String, &Gateway> = self
            .mesh
            .objects
            .of_kind("Gateway")
            .filter_map(|entry| match &entry.object {
                Object::Gateway(gateway) => Some((gateway_key(gateway.meta.name(), gateway.meta.namespace()), gateway)),
                _ => None,
            })
            .collect();
        for service in self.virtual_services.iter() {
            for (name, spot) in service.gateways.iter().filter(|(name, _)| name != MESH) {
                let key = gateway_key(name, service.meta.namespace());
                let object = &service.meta.reference;
                match gateways.get(&key) {
                    None => {
                        let message = format!("there is no Gateway `{key}`");
                        let found = Diagnostic::error("unknown-gateway", message, "add the Gateway");
                        self.findings.missing(object, spot, found, Missing::Gateway(key.clone()));
                    }
                    Some(gateway) if gateway.servers.iter().all(|server| self.domains(server, service).is_empty()) => {
                        let message = format!("no host of this VirtualService is a host of Gateway `{key}`");
                        self.findings.warning(object, spot, "no-common-host", message, "nothing of it is served there");
                    }
                    Some(_) => {}
                }
            }
            self.check_protocols(service);
            // Seen from nowhere in particular, so that a route without a gateway pod or service of its own is checked too.
            let seat = Seat { view: "", port: 80, gateway: "" };
            for gateway in service.gateways.iter().map(|(name, _)| gateway_key(name, service.meta.namespace())) {
                if gateway != MESH && gateways.contains_key(&gateway) {
                    continue;
                }
                let known = service.hosts.iter().any(|(host, _)| {
                    self.registry
                        .get(&expand(host, service.meta.namespace(), &self.mesh.options.cluster_domain))
                        .is_some()
                });
                if !known {
                    let seat = Seat { gateway: &gateway, ..seat };
                    self.virtual_service_routes(service, seat, &mut Routes::default());
                    self.check_opaque_rules(service, seat);
                }
            }
        }
        self.check_http_route_parents();
        self.check_opaque_routes();
    }
}

/// The rules of several VirtualServices for one host.
impl Routes {
    /// A rule that matches everything that comes to the gateway, as Envoy would sort it last.
    fn is_catch_all(route: &Route) -> bool {
        let matches = &route.matches;
        let any_path = match &matches.path {
            PathMatch::Any => true,
            PathMatch::Prefix(prefix) | PathMatch::Segments(prefix) => prefix == "/",
            PathMatch::Regex(regex) => regex == ".*",
            PathMatch::Exact(_) => false,
        };
        let rest = Match { path: PathMatch::Any, ignore_case: false, source: Vec::new(), ..matches.clone() };
        any_path && rest == Match::default()
    }

    /// Takes out what a VirtualService put behind `from` in vain: rules that another Gateway has brought already, and those behind a catch-all of its
    /// own, which stay unreachable when that goes to the end. `labels` are those of the gateway's pod.
    fn keep_reachable(&mut self, from: usize, labels: &Labels) {
        let added = self.routes.split_off(from);
        let holds = |route: &Route| route.matches.source.iter().all(|(name, value)| labels.get(name) == Some(value));
        let end = added.iter().position(|route| Self::is_catch_all(route) && holds(route));
        let end = end.map_or(added.len(), |at| at + 1);
        let known: HashSet<RuleId> = self.routes.iter().map(|route| route.rule).collect();
        let is_known = |route: &Route| {
            let same = |other: &Route| other.rule == route.rule && other.matches == route.matches;
            known.contains(&route.rule) && self.routes.iter().any(same)
        };
        let new: Vec<Route> = added.into_iter().take(end).filter(|route| !is_known(route)).collect();
        self.routes.extend(new);
        let used: BTreeSet<u32> = self.routes.iter().map(|route| route.action).collect();
        let mut number = 0..;
        self.actions.retain(|_| number.next().is_some_and(|number| used.contains(&number)));
        let places: HashMap<u32, u32> = used.into_iter().zip(0..).collect();
        self.routes.iter_mut().for_each(|route| route.action = places[&route.action]);
    }

    /// Puts catch-alls last, else keeps the order.
    fn catch_alls_last(&mut self) {
        self.routes.sort_by_key(Self::is_catch_all);
    }
}

/// Whether an object is a gateway that a pod serves.
pub(super) fn is_gateway_of(object: &Object, pod: &Pod) -> bool {
    match object {
        Object::Gateway(gateway) => selects(&gateway.selector, &pod.labels),
        Object::K8sGateway(gateway) => {
            gateway.meta.namespace() == pod.namespace
                && pod.labels.get(K8S_GATEWAY_LABEL).is_some_and(|name| name == gateway.meta.name())
        }
        _ => false,
    }
}

/// HTTP on a declared port.
pub(super) fn http(port: u16) -> ListenerProtocol {
    ListenerProtocol::Http { on_demand: false, search: Vec::new(), port }
}
