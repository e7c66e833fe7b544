//! How far an object reaches: which hosts are made from it, and which hosts it sends requests to.
//!
//! A translation after an edit makes again what the edited object reaches, and nothing else ([`super::edit`]). Fields are taken apart by name, so that a new one that mentions a host is not overlooked.

use super::expand;
use super::virtual_service::{MESH, gateway_key};
use crate::mesh::service_host;
use crate::object::http_route::{BackendRef, Parent, ParentKind, Rule};
use crate::object::objects::{Entry, K8S_GATEWAY};
use crate::object::service::Carried;
use crate::object::virtual_service::{Destination, HttpAction, HttpRoute, HttpRule, VirtualService};
use crate::object::{Object, ObjectRef};

/// The reach of an object.
#[derive(Debug)]
pub(super) enum Ties {
    /// Of these hosts alone, as sidecars see them, and of these gateways.
    Hosts(Tied),
    /// Of all that is bound to this gateway, which is the object.
    Gate(ObjectRef),
    /// Of more than some hosts; but it reads only these, and applies to no hosts but these and those under its patterns.
    Wide(Tied),
}

/// Hosts, expanded.
#[derive(Debug, Default)]
pub(super) struct Tied {
    /// What is made for these depends on the object.
    pub hosts: Vec<String>,
    /// What is made from the object depends on these.
    pub mentions: Vec<String>,
    /// The object is bound to these gateways: their proxies have what is made of it from the start.
    pub gates: Vec<ObjectRef>,
    /// The host has ports that carry bytes: every sidecar listens for them from the start.
    pub opaque: bool,
    /// The object decides how pods are reached, or what they know of themselves: their sidecars have it from the start.
    pub inbound: bool,
}

/// How far an object reaches.
pub(super) fn ties(entry: &Entry, domain: &str) -> Ties {
    let tied = Tied::default();
    let service = |name: &str, namespace: &str| format!("{name}.{namespace}.svc.{domain}");
    match &entry.object {
        Object::Service(service) => {
            let opaque = service.ports.iter().any(|port| port.carried != Carried::Http);
            let inbound = !service.selector.is_empty();
            Ties::Hosts(Tied { hosts: vec![service_host(service, domain)], opaque, inbound, ..tied })
        }
        Object::EndpointSlice(slice) => {
            Ties::Hosts(Tied { hosts: vec![service(&slice.service, slice.meta.namespace())], ..tied })
        }
        Object::DestinationRule(rule) => {
            let host = expand(&rule.host, rule.meta.namespace(), domain);
            // A pattern reads nothing, so whoever reads it has all there is to know.
            // From the start proxies hold those of their own labels that it compares, the limits that hold on their own side, and whether it
            // selects them.
            let inbound = !rule.compared_labels().is_empty() || rule.policy.has_pool() || rule.selector.is_some();
            if host.starts_with('*') {
                Ties::Wide(tied)
            } else {
                Ties::Hosts(Tied { hosts: vec![host], inbound, ..tied })
            }
        }
        Object::ServiceEntry(entry) => {
            let hosts: Vec<_> = entry.hosts.iter().map(|(host, _)| host.clone()).collect();
            let opaque = entry.ports.iter().any(|port| port.carried != Carried::Http);
            let pattern = hosts.iter().any(|host| host.starts_with('*'));
            if pattern { Ties::Wide(tied) } else { Ties::Hosts(Tied { hosts, opaque, ..tied }) }
        }
        Object::VirtualService(service) => virtual_service(service, domain),
        Object::HttpRoute(route) => {
            let hosts =
                parents(&route.parents, ParentKind::Service).map(|parent| service(&parent.name, &parent.namespace));
            let mentions =
                route.rules.iter().flat_map(backends).map(|backend| service(&backend.name, &backend.namespace));
            Ties::Hosts(Tied {
                hosts: hosts.collect(),
                mentions: mentions.collect(),
                gates: k8s_gates(&route.parents),
                ..tied
            })
        }
        Object::OpaqueRoute(route) => {
            let hosts =
                parents(&route.parents, ParentKind::Service).map(|parent| service(&parent.name, &parent.namespace));
            let mentions = route.rule.backends.iter().map(|backend| service(&backend.name, &backend.namespace));
            let (hosts, mentions): (Vec<_>, _) = (hosts.collect(), mentions.collect());
            // What hangs on an opaque listener is held by sidecars from the start.
            let wide = !hosts.is_empty();
            let tied = Tied { hosts, mentions, gates: k8s_gates(&route.parents), ..tied };
            if wide { Ties::Wide(tied) } else { Ties::Hosts(tied) }
        }
        Object::Gateway(gateway) => Ties::Gate(gateway.meta.reference.clone()),
        Object::K8sGateway(gateway) => Ties::Gate(gateway.meta.reference.clone()),
        Object::Namespace(_)
        | Object::ServiceAccount(_)
        | Object::Workload(_)
        | Object::WorkloadEntry(_)
        | Object::GatewayClass(_)
        | Object::Sidecar(_)
        | Object::MeshConfig(_)
        | Object::ReferenceGrant(_) => Ties::Wide(tied),
    }
}

fn virtual_service(service: &VirtualService, domain: &str) -> Ties {
    let VirtualService { meta, hosts, gateways, export_to: _, http, tcp, tls } = service;
    let full = |host: &str| expand(host, meta.namespace(), domain);
    let gates = gateways.iter().filter(|(name, _)| name != MESH).map(|(name, _)| {
        let key = gateway_key(name, meta.namespace());
        let (namespace, name) = key.split_once('/').unwrap_or_default();
        ObjectRef::new("Gateway", namespace, name)
    });
    let gates: Vec<_> = gates.collect();
    let of_sidecars = gateways.iter().any(|(name, _)| name == MESH);
    // What hangs on an opaque listener is held by sidecars from the start; rules of a delegate are read by its roots.
    let mut wide = of_sidecars && !(tcp.is_empty() && tls.is_empty()) || hosts.is_empty();
    // Proxies hold those of their own labels that rules ask for from the start.
    let inbound = http.iter().flat_map(|rule| &rule.matches).any(|one| !one.matches.source.is_empty());
    let mut mentions = Vec::new();
    let opaque = tcp.iter().map(|rule| &rule.destinations).chain(tls.iter().map(|rule| &rule.destinations));
    mentions.extend(opaque.flatten().map(|destination| full(&destination.host)));
    for HttpRule { path: _, spot: _, name: _, matches: _, fault: _, action } in http {
        match action {
            HttpAction::Route(route) => mentions.extend(destinations(route).map(|to| full(&to.host))),
            HttpAction::Delegate(delegate) => {
                wide = true;
                mentions.extend(destinations(&delegate.settings).map(|to| full(&to.host)));
            }
            HttpAction::Redirect { .. } | HttpAction::Respond(_) => {}
        }
    }
    let hosts: Vec<_> = hosts.iter().filter(|_| of_sidecars).map(|(host, _)| full(host)).collect();
    wide |= hosts.iter().any(|host| host.starts_with('*'));
    let tied = Tied { hosts, mentions, gates, opaque: false, inbound };
    if wide { Ties::Wide(tied) } else { Ties::Hosts(tied) }
}

fn parents(all: &[Parent], kind: ParentKind) -> impl Iterator<Item = &Parent> {
    all.iter().filter(move |parent| parent.kind == kind)
}

fn k8s_gates(all: &[Parent]) -> Vec<ObjectRef> {
    let gate = |parent: &Parent| ObjectRef::new(K8S_GATEWAY, &parent.namespace, &parent.name);
    parents(all, ParentKind::Gateway).map(gate).collect()
}

/// Everywhere that a route sends requests, or copies of them.
fn destinations(route: &HttpRoute) -> impl Iterator<Item = &Destination> {
    let HttpRoute {
        destinations,
        mirrors,
        timeout_ms: _,
        retry: _,
        path: _,
        authority: _,
        request: _,
        response: _,
        cors: _,
    } = route;
    destinations.iter().chain(mirrors.iter().map(|mirror| &mirror.destination))
}

/// Everywhere that a rule of an HTTPRoute sends requests, or copies of them.
fn backends(rule: &Rule) -> impl Iterator<Item = &BackendRef> {
    let Rule {
        backends,
        mirrors,
        path: _,
        spot: _,
        name: _,
        matches: _,
        redirect: _,
        rewrite: _,
        authority: _,
        request: _,
        response: _,
        cors: _,
        timeout_ms: _,
        retry: _,
        unfit: _,
    } = rule;
    backends.iter().chain(mirrors.iter().map(|(backend, _)| backend))
}
