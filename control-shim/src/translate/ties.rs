//! How far an object reaches: which hosts are made from it, and which hosts it sends requests to.
//!
//! A translation after an edit makes again what the edited object reaches, and nothing else ([`super::edit`]). An object whose reach is not told here reaches
//! everything, which is always right and never fast. Fields are taken apart by name, so that a new one that mentions a host is not overlooked.

use super::expand;
use super::virtual_service::MESH;
use crate::mesh::service_host;
use crate::object::Object;
use crate::object::http_route::{BackendRef, ParentKind, Rule};
use crate::object::objects::Entry;
use crate::object::service::Carried;
use crate::object::virtual_service::{Destination, HttpAction, HttpRoute, HttpRule, VirtualService};

/// The reach of an object.
#[derive(Debug)]
pub(super) enum Ties {
    /// Of these hosts alone, as sidecars see them.
    Hosts(Tied),
    /// Of more than some hosts; but it reads only these, and applies to no hosts but these and those under its patterns.
    Wide(Tied),
    /// Nobody knows.
    Everything,
}

/// Hosts, expanded.
#[derive(Debug, Default)]
pub(super) struct Tied {
    /// What is made for these depends on the object.
    pub hosts: Vec<String>,
    /// What is made from the object depends on these.
    pub mentions: Vec<String>,
    /// The host has ports that carry bytes: every sidecar listens for them from the start.
    pub opaque: bool,
    /// The object decides how pods are reached, or what they know of themselves: their sidecars have it from the start.
    pub inbound: bool,
}

/// How far an object reaches.
pub(super) fn ties(entry: &Entry, domain: &str) -> Ties {
    let tied = Tied::default();
    match &entry.object {
        Object::Service(service) => {
            let opaque = service.ports.iter().any(|port| port.carried != Carried::Http);
            let inbound = !service.selector.is_empty();
            Ties::Hosts(Tied { hosts: vec![service_host(service, domain)], opaque, inbound, ..tied })
        }
        Object::EndpointSlice(slice) => {
            let host = format!("{}.{}.svc.{domain}", slice.service, slice.meta.namespace());
            Ties::Hosts(Tied { hosts: vec![host], ..tied })
        }
        Object::DestinationRule(rule) => {
            let host = expand(&rule.host, rule.meta.namespace(), domain);
            // A pattern reads nothing, so whoever reads it has all there is to know.
            // From the start proxies hold those of their own labels that it compares, and the limits that hold on their own side.
            let inbound = !rule.compared_labels().is_empty() || rule.policy.has_pool();
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
            let parents = route.parents.iter().filter(|parent| parent.kind == ParentKind::Service);
            let hosts = parents.map(|parent| format!("{}.{}.svc.{domain}", parent.name, parent.namespace)).collect();
            let mentions = route.rules.iter().flat_map(backends);
            let mentions =
                mentions.map(|backend| format!("{}.{}.svc.{domain}", backend.name, backend.namespace)).collect();
            Ties::Wide(Tied { hosts, mentions, ..tied })
        }
        Object::Namespace(_)
        | Object::ServiceAccount(_)
        | Object::Workload(_)
        | Object::WorkloadEntry(_)
        | Object::Gateway(_)
        | Object::GatewayClass(_)
        | Object::K8sGateway(_)
        | Object::ReferenceGrant(_) => Ties::Wide(tied),
        _ => Ties::Everything,
    }
}

fn virtual_service(service: &VirtualService, domain: &str) -> Ties {
    let VirtualService { meta, hosts, gateways, export_to: _, http, tcp, tls } = service;
    let full = |host: &str| expand(host, meta.namespace(), domain);
    // What hangs on a gateway or on an opaque listener is held by proxies from the start; rules of a delegate are read by its roots.
    let mut wide = gateways.iter().any(|(name, _)| name != MESH) || !tcp.is_empty() || !tls.is_empty();
    wide |= hosts.is_empty();
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
    let hosts: Vec<_> = hosts.iter().map(|(host, _)| full(host)).collect();
    wide |= hosts.iter().any(|host| host.starts_with('*'));
    let tied = Tied { hosts, mentions, opaque: false, inbound: false };
    if wide { Ties::Wide(tied) } else { Ties::Hosts(tied) }
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
    } = rule;
    backends.iter().chain(mirrors.iter().map(|(backend, _)| backend))
}
