//! Gateway of the Gateway API: its listeners and the HTTPRoutes attached to them.

use super::gateway::GatewayPort;
use super::virtual_service::Routes;
use super::{Pass, covers, intersect};
use crate::object::gateway_api::{Allowed, K8sGateway, K8sListener};
use crate::object::http_route::{HttpRoute, ParentKind};
use crate::object::selects;
use ringway_config::model::RuleId;
use std::collections::BTreeMap;

/// Label that ties a pod to a Gateway.
pub(super) const K8S_GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

impl Pass<'_> {
    /// Fills a port from the listeners that have it; `None` when none has.
    pub(super) fn k8s_port(&self, gateways: &[&K8sGateway], port: &mut GatewayPort<'_>) -> Option<RuleId> {
        let listeners: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| gateway.listeners.iter().map(move |listener| (*gateway, listener)))
            .filter(|(_, listener)| listener.port == port.number)
            .collect();
        let (gateway, first) = listeners.first()?;
        let rule = self.rule(&gateway.meta, &first.path, &first.spot);
        let mut by_domain: BTreeMap<String, (RuleId, Vec<&HttpRoute>)> = BTreeMap::new();
        for (gateway, listener) in &listeners {
            let listener_rule = self.rule(&gateway.meta, &listener.path, &listener.spot);
            for route in self.http_routes.iter().filter(|route| self.attaches(route, gateway, listener)) {
                for domain in domains(route, listener) {
                    // The most specific listener of the port alone answers for a host.
                    let narrower = |other: &K8sListener| {
                        other.hostname != listener.hostname
                            && covers(&listener.hostname, &other.hostname)
                            && covers(&other.hostname, &domain)
                    };
                    if listeners.iter().any(|(_, other)| narrower(other)) {
                        continue;
                    }
                    let (_, routes) = by_domain.entry(domain).or_insert((listener_rule, Vec::new()));
                    if !routes.iter().any(|other| other.meta.reference == route.meta.reference) {
                        routes.push(route);
                    }
                }
            }
        }
        for (domain, (host_rule, attached)) in by_domain {
            let mut routes = Routes::default();
            self.http_route_routes(&attached, port.view, &mut routes);
            port.hosts.insert(domain, (host_rule, routes));
        }
        Some(rule)
    }

    /// Whether a route names this listener, and the listener lets it.
    pub(super) fn attaches(&self, route: &HttpRoute, gateway: &K8sGateway, listener: &K8sListener) -> bool {
        let named = route.parents.iter().any(|parent| {
            parent.kind == ParentKind::Gateway
                && (parent.namespace.as_str(), parent.name.as_str()) == (gateway.meta.namespace(), gateway.meta.name())
                && parent.section.as_ref().is_none_or(|section| *section == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
        });
        let own = route.meta.namespace();
        let allowed = match &listener.allowed {
            Allowed::All => true,
            Allowed::Same => own == gateway.meta.namespace(),
            Allowed::None => false,
            Allowed::Selector(selector) => self.namespace_matches(own, selector),
        };
        named && allowed && listener.http_routes
    }

    fn namespace_matches(&self, namespace: &str, selector: &crate::object::Labels) -> bool {
        // Kubernetes labels every namespace with its own name.
        const NAME_LABEL: &str = "kubernetes.io/metadata.name";
        let mut labels = self.namespaces.get(namespace).map(|labels| (*labels).clone()).unwrap_or_default();
        labels.entry(NAME_LABEL.into()).or_insert_with(|| namespace.into());
        selects(selector, &labels)
    }
}

/// The hosts on which a route and a listener meet.
pub(super) fn domains(route: &HttpRoute, listener: &K8sListener) -> Vec<String> {
    if route.hostnames.is_empty() {
        return vec![listener.hostname.clone()];
    }
    route.hostnames.iter().filter_map(|host| intersect(&listener.hostname, host)).collect()
}
