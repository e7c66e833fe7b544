//! Gateway of the Gateway API: its listeners and the routes attached to them.

use super::attach::domains;
use super::cluster::ClusterKey;
use super::gateway::{GatewayPort, http};
use super::virtual_service::Routes;
use super::{Pass, covers};
use crate::object::gateway_api::{K8sGateway, K8sListener, K8sProtocol};
use crate::object::http_route::HttpRoute;
use ringway_config::model::{ListenerProtocol, RuleId};
use std::collections::{BTreeMap, BTreeSet};

/// Label that ties a pod to a Gateway.
pub(super) const K8S_GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

impl Pass<'_> {
    /// Fills a port from the listeners that have it; `None` when none has.
    pub(super) fn k8s_port(
        &self,
        gateways: &[&K8sGateway],
        port: &mut GatewayPort<'_>,
        needed: &mut BTreeSet<ClusterKey>,
    ) -> Option<(RuleId, ListenerProtocol)> {
        let listeners: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| gateway.listeners.iter().map(move |listener| (*gateway, listener)))
            .filter(|(_, listener)| listener.port == port.number && listener.problem.is_none())
            .collect();
        let (gateway, first) = listeners.first()?;
        let rule = self.rule(&gateway.meta, &first.path, &first.spot);
        if first.protocol != Some(K8sProtocol::Http) {
            return Some((rule, self.k8s_opaque(&listeners, port.view, needed)));
        }
        let mut by_domain: BTreeMap<String, (RuleId, Vec<&HttpRoute>)> = BTreeMap::new();
        for (gateway, listener) in &listeners {
            let listener_rule = self.rule(&gateway.meta, &listener.path, &listener.spot);
            for route in
                self.http_routes.iter().filter(|route| self.attaches(&route.meta, &route.parents, gateway, listener))
            {
                for domain in domains(&route.hostnames, listener) {
                    if narrower(&listeners, listener, &domain) {
                        continue;
                    }
                    let (_, routes) = by_domain.entry(domain).or_insert((listener_rule, Vec::new()));
                    if !routes.iter().any(|other| other.meta.reference == route.meta.reference) {
                        routes.push(route);
                    }
                }
            }
        }
        // What no route of a narrower listener takes is not left to a wider one.
        for (gateway, listener) in narrow(&listeners) {
            let rule = self.rule(&gateway.meta, &listener.path, &listener.spot);
            by_domain.entry(listener.hostname.clone()).or_insert((rule, Vec::new()));
        }
        for (domain, (host_rule, attached)) in by_domain {
            let mut routes = Routes::default();
            self.http_route_routes(&attached, port.view, port.reachable, &mut routes);
            port.hosts.insert(domain, (host_rule, routes));
        }
        Some((rule, http(port.number)))
    }
}

/// Whether another listener of the port has a narrower hostname that covers the domain: the most specific one alone answers for a host.
pub(super) fn narrower(listeners: &[(&K8sGateway, &K8sListener)], listener: &K8sListener, domain: &str) -> bool {
    listeners.iter().any(|(_, other)| {
        other.hostname != listener.hostname
            && covers(&listener.hostname, &other.hostname)
            && covers(&other.hostname, domain)
    })
}

/// The listeners of a port within the hostname of another one.
pub(super) fn narrow<'l, 'g>(
    listeners: &'l [(&'g K8sGateway, &'g K8sListener)],
) -> impl Iterator<Item = (&'g K8sGateway, &'g K8sListener)> + use<'l, 'g> {
    let within = |one: &K8sListener, other: &K8sListener| {
        other.hostname != one.hostname && covers(&other.hostname, &one.hostname)
    };
    listeners.iter().copied().filter(move |(_, one)| listeners.iter().any(|(_, other)| within(one, other)))
}
