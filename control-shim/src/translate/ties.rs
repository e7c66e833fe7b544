//! How far an object reaches: what is made from it, and what else that is made from.
//!
//! A translation after an edit makes again what the edited objects reach, and nothing else ([`super::reach`]). Fields are taken apart by name, so that a new one that mentions a host is not overlooked.

use super::expand;
use super::virtual_service::{MESH, gateway_key};
use crate::mesh::service_host;
use crate::object::http_route::{BackendRef, Parent, ParentKind, Rule};
use crate::object::objects::{Entry, K8S_GATEWAY};
use crate::object::service::Carried;
use crate::object::service_entry::{EntryAddress, EntryEndpoint};
use crate::object::virtual_service::{Destination, HttpAction, HttpRoute, HttpRule, VirtualService};
use crate::object::{Labels, Object, ObjectRef};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Something that a translation makes of objects, or looks them up by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// A host, expanded; or a pattern of hosts, which stands for all that it covers.
    Host(String),
    /// Of a gateway: all that is bound to it. Of a delegate: its rules, wherever they are read.
    Object(ObjectRef),
    /// Whether routes of the first namespace may name Services of the second one.
    Grant(Arc<str>, Arc<str>),
    /// What selects workloads of a namespace, by the first label that it asks for.
    Selecting(Arc<str>, String, String),
    /// The WorkloadEntries of a namespace.
    Entries(Arc<str>),
    /// What writes down addresses of endpoints in a network, so that those at a pod's are found.
    Network(IpAddr),
    /// The Sidecars of a namespace.
    Sidecars(Arc<str>),
    /// Ports that carry bytes: every sidecar listens for them from the start.
    Opaque,
    /// What applies to more than can be listed: patterns of hosts, rules that select their clients, Namespaces. Every part of a mesh has them.
    Everything,
}

impl Key {
    /// The host, if it is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Key::Host(host) => Some(host),
            _ => None,
        }
    }
}

/// The reach of an object.
#[derive(Debug, Default)]
pub(super) struct Tied {
    /// What is made for these depends on the object.
    pub made: Vec<Key>,
    /// What is made from the object depends on these.
    pub reads: Vec<Key>,
    /// The object is looked up by these, too.
    pub listed: Vec<Key>,
    /// It decides how the pods of its hosts are reached: their sidecars have it from the start.
    pub inbound: bool,
    /// It names subsets of what it reads.
    pub subsets: bool,
    /// It says what nobody keeps account of.
    pub unbounded: bool,
}

/// How far an object reaches.
pub(super) fn ties(entry: &Entry, domain: &str) -> Tied {
    let own = || entry.object.meta().reference.namespace.clone();
    let host = |name: &str, namespace: &str| Key::Host(format!("{name}.{namespace}.svc.{domain}"));
    let opaque = || carries_bytes(&entry.object).then_some(Key::Opaque);
    let everything = |listed: bool| if listed { vec![Key::Everything] } else { Vec::new() };
    match &entry.object {
        Object::Service(service) => {
            let mut listed: Vec<_> = selecting(&own(), Some(&service.selector)).collect();
            listed.extend(opaque());
            let inbound = !service.selector.is_empty();
            Tied { made: vec![Key::Host(service_host(service, domain))], listed, inbound, ..Tied::default() }
        }
        Object::EndpointSlice(slice) => {
            let listed = networks(&entry.object).collect();
            Tied { made: vec![host(&slice.service, slice.meta.namespace())], listed, ..Tied::default() }
        }
        Object::DestinationRule(rule) => {
            let host = expand(&rule.host, rule.meta.namespace(), domain);
            let listed = everything(host.starts_with('*') || rule.selector.is_some());
            Tied { made: vec![Key::Host(host)], listed, inbound: rule.policy.has_pool(), ..Tied::default() }
        }
        object @ Object::ServiceEntry(entry) => {
            let made: Vec<_> = entry.hosts.iter().map(|(host, _)| Key::Host(host.clone())).collect();
            let mut listed = everything(entry.hosts.iter().any(|(host, _)| host.starts_with('*')));
            listed.extend(selecting(&own(), entry.selector.as_ref()));
            listed.extend(opaque());
            listed.extend(networks(object));
            Tied { made, listed, ..Tied::default() }
        }
        Object::VirtualService(service) => virtual_service(service, domain),
        Object::HttpRoute(route) => {
            let backends: Vec<_> = route.rules.iter().flat_map(Rule::destinations).collect();
            of_route(own(), &route.parents, &backends, host)
        }
        Object::OpaqueRoute(route) => {
            let backends: Vec<_> = route.rule.backends.iter().collect();
            of_route(own(), &route.parents, &backends, host)
        }
        Object::Gateway(_) | Object::K8sGateway(_) => {
            Tied { made: vec![Key::Object(entry.object.meta().reference.clone())], ..Tied::default() }
        }
        Object::ReferenceGrant(grant) => {
            let made = grant.from.iter().map(|(_, _, from)| Key::Grant(from.as_str().into(), own()));
            Tied { made: made.collect(), ..Tied::default() }
        }
        Object::WorkloadEntry(_) => {
            let listed = networks(&entry.object).chain([Key::Entries(own())]);
            Tied { listed: listed.collect(), ..Tied::default() }
        }
        Object::Sidecar(_) => Tied { listed: vec![Key::Sidecars(own())], ..Tied::default() },
        Object::Namespace(_) | Object::MeshConfig(_) => {
            Tied { listed: vec![Key::Everything], unbounded: true, ..Tied::default() }
        }
        // Pods are compared as such; and the rest makes no difference to proxies.
        Object::Workload(_) | Object::ServiceAccount(_) | Object::GatewayClass(_) => Tied::default(),
    }
}

/// What selects by these labels; nothing does by none.
fn selecting(namespace: &Arc<str>, selector: Option<&Labels>) -> impl Iterator<Item = Key> {
    let first = selector.and_then(Labels::first_key_value);
    first.map(|(name, value)| Key::Selecting(namespace.clone(), name.clone(), value.clone())).into_iter()
}

/// The addresses of endpoints that an object writes down.
pub(super) fn addresses(object: &Object) -> impl Iterator<Item = IpAddr> {
    let (slice, written): (_, &[EntryEndpoint]) = match object {
        Object::EndpointSlice(slice) => (&slice.endpoints[..], &[]),
        Object::ServiceEntry(entry) => (&[][..], &entry.endpoints),
        Object::WorkloadEntry(one) => (&[][..], std::slice::from_ref(&one.endpoint)),
        _ => (&[][..], &[]),
    };
    let written = written.iter().filter_map(|endpoint| match endpoint.address {
        EntryAddress::Ip(address) => Some(address),
        EntryAddress::Name(_) => None,
    });
    slice.iter().map(|endpoint| endpoint.address).chain(written)
}

/// The networks of those.
fn networks(object: &Object) -> impl Iterator<Item = Key> {
    addresses(object).map(network).collect::<BTreeSet<_>>().into_iter()
}

/// The network of an address: small enough to tell few objects, and wide enough that few are to be kept of an object.
pub(super) fn network(address: IpAddr) -> Key {
    Key::Network(match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !0xff).into(),
    })
}

/// Whether a host of an object has a port that carries bytes.
pub(super) fn carries_bytes(object: &Object) -> bool {
    match object {
        Object::Service(service) => service.ports.iter().any(|port| port.carried != Carried::Http),
        Object::ServiceEntry(entry) => entry.ports.iter().any(|port| port.carried != Carried::Http),
        _ => false,
    }
}

fn of_route(own: Arc<str>, all: &[Parent], backends: &[&BackendRef], host: impl Fn(&str, &str) -> Key) -> Tied {
    let mut made: Vec<_> =
        parents(all, ParentKind::Service).map(|parent| host(&parent.name, &parent.namespace)).collect();
    let gate = |parent: &Parent| Key::Object(ObjectRef::new(K8S_GATEWAY, &parent.namespace, &parent.name));
    made.extend(parents(all, ParentKind::Gateway).map(gate));
    let mut reads: Vec<_> = backends.iter().map(|backend| host(&backend.name, &backend.namespace)).collect();
    let others = backends.iter().filter(|backend| *backend.namespace != *own);
    reads.extend(others.map(|backend| Key::Grant(own.clone(), backend.namespace.as_str().into())));
    Tied { made, reads, ..Tied::default() }
}

fn virtual_service(service: &VirtualService, domain: &str) -> Tied {
    let VirtualService { meta, hosts, gateways, export_to: _, http, tcp, tls } = service;
    let full = |host: &str| Key::Host(expand(host, meta.namespace(), domain));
    let gates = gateways.iter().filter(|(name, _)| name != MESH).map(|(name, _)| {
        let key = gateway_key(name, meta.namespace());
        let (namespace, name) = key.split_once('/').unwrap_or_default();
        Key::Object(ObjectRef::new("Gateway", namespace, name))
    });
    let mut made: Vec<_> = gates.collect();
    let mut reads: Vec<_> = hosts.iter().map(|(host, _)| full(host)).collect();
    let (mut listed, mut subsets) = (Vec::new(), false);
    let mut read = |to: &Destination| {
        subsets |= !to.subset.is_empty();
        full(&to.host)
    };
    if gateways.iter().any(|(name, _)| name == MESH) {
        made.extend(reads.iter().cloned());
        listed.extend(hosts.iter().any(|(host, _)| host.starts_with('*')).then_some(Key::Everything));
    }
    made.push(Key::Object(meta.reference.clone()));
    let opaque = tcp.iter().map(|rule| &rule.destinations).chain(tls.iter().map(|rule| &rule.destinations));
    reads.extend(opaque.flatten().map(&mut read));
    for HttpRule { path: _, spot: _, name: _, matches: _, fault: _, has_headers: _, action } in http {
        match action {
            HttpAction::Route(route) => reads.extend(destinations(route).map(&mut read)),
            HttpAction::Delegate(delegate) => {
                let namespace = if delegate.namespace.is_empty() { meta.namespace() } else { &delegate.namespace };
                reads.push(Key::Object(ObjectRef::new("VirtualService", namespace, &delegate.name)));
                reads.extend(destinations(&delegate.settings).map(&mut read));
            }
            HttpAction::Redirect { .. } | HttpAction::Respond(_) => {}
        }
    }
    Tied { made, reads, listed, subsets, ..Tied::default() }
}

fn parents(all: &[Parent], kind: ParentKind) -> impl Iterator<Item = &Parent> {
    all.iter().filter(move |parent| parent.kind == kind)
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
