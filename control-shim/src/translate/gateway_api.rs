//! Gateway of the Gateway API: its listeners and the routes attached to them.

use super::gateway::{GatewayPort, http};
use super::virtual_service::Routes;
use super::{Pass, covers, intersect};
use crate::object::gateway_api::{Allowed, K8sGateway, K8sListener, K8sProtocol};
use crate::object::http_route::{HttpRoute, Parent, ParentKind};
use crate::object::{Meta, selects};
use ringway_config::Blob;
use ringway_config::model::{ListenerProtocol, RuleId};
use std::collections::BTreeMap;

/// Label that ties a pod to a Gateway.
pub(super) const K8S_GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

impl Pass<'_> {
    /// Fills a port from the listeners that have it; `None` when none has.
    pub(super) fn k8s_port(
        &self,
        gateways: &[&K8sGateway],
        port: &mut GatewayPort<'_>,
        clusters: &mut BTreeMap<String, [Blob; 2]>,
    ) -> Option<(RuleId, ListenerProtocol)> {
        let listeners: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| gateway.listeners.iter().map(move |listener| (*gateway, listener)))
            .filter(|(_, listener)| listener.port == port.number)
            .collect();
        let (gateway, first) = listeners.first()?;
        let rule = self.rule(&gateway.meta, &first.path, &first.spot);
        if first.protocol != K8sProtocol::Http {
            return Some((rule, self.k8s_opaque(&listeners, port.view, clusters)));
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
        for (domain, (host_rule, attached)) in by_domain {
            let mut routes = Routes::default();
            self.http_route_routes(&attached, port.view, &mut routes);
            port.hosts.insert(domain, (host_rule, routes));
        }
        Some((rule, http(port.number)))
    }

    /// Whether a route names this listener, and the listener lets it.
    pub(super) fn attaches(
        &self,
        route: &Meta,
        parents: &[Parent],
        gateway: &K8sGateway,
        listener: &K8sListener,
    ) -> bool {
        let named = parents.iter().any(|parent| {
            parent.kind == ParentKind::Gateway
                && (parent.namespace.as_str(), parent.name.as_str()) == (gateway.meta.namespace(), gateway.meta.name())
                && parent.section.as_ref().is_none_or(|section| *section == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
        });
        let own = route.namespace();
        let allowed = match &listener.allowed {
            Allowed::All => true,
            Allowed::Same => own == gateway.meta.namespace(),
            Allowed::None => false,
            Allowed::Selector(selector) => self.namespace_matches(own, selector),
        };
        named && allowed && listener.takes_routes && listener.protocol.route_kind() == &*route.reference.kind
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
pub(super) fn domains(hostnames: &[String], listener: &K8sListener) -> Vec<String> {
    if hostnames.is_empty() {
        return vec![listener.hostname.clone()];
    }
    hostnames.iter().filter_map(|host| intersect(&listener.hostname, host)).collect()
}

/// Whether another listener of the port has a narrower hostname that covers the domain: the most specific one alone answers for a host.
pub(super) fn narrower(listeners: &[(&K8sGateway, &K8sListener)], listener: &K8sListener, domain: &str) -> bool {
    listeners.iter().any(|(_, other)| {
        other.hostname != listener.hostname
            && covers(&listener.hostname, &other.hostname)
            && covers(&other.hostname, domain)
    })
}
