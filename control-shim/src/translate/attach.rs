//! What routes of the Gateway API attach to: which listeners of a Gateway take one, which ports of a Service, and why none does.

use super::{Pass, View, intersect, namespace_of};
use crate::object::gateway_api::{Allowed, K8sGateway, K8sListener, K8sProtocol, LabelSelector};
use crate::object::http_route::{BackendRef, HttpRoute, Parent, ParentKind, Rule};
use crate::object::objects::K8S_GATEWAY;
use crate::object::opaque_route::OpaqueRoute;
use crate::object::service::{Carried, Service};
use crate::object::{Meta, Object, ObjectRef};

/// What every kind of route has.
#[derive(Clone, Debug)]
pub(super) struct AnyRoute<'a> {
    pub meta: &'a Meta,
    pub parents: &'a [Parent],
    pub hostnames: &'a [String],
    /// Everywhere that it sends something, copies included, in the order of its rules.
    pub backends: Vec<&'a BackendRef>,
    pub carried: Carried,
    /// Rules that cannot be honoured, and why.
    pub dropped: Vec<(&'a str, &'a str)>,
}

/// Why a parent does not take a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// No listener has the name and the port that the route asks for.
    NoListener,
    /// None of those lets routes of its kind or namespace attach.
    NotAllowed,
    /// None of those has a hostname in common with it.
    NoHostname,
    /// The Service has no such port.
    NoPort,
    /// No such port of the Service carries what the route is for.
    Carried,
}

impl Obstacle {
    /// For people: what is wrong, and how to mend it.
    pub fn tell(self, route: &Meta, parent: &ObjectRef) -> (String, &'static str) {
        let (kind, own) = (&route.reference.kind, route.namespace());
        match self {
            Obstacle::NoListener => {
                (format!("no listener of {parent} has this `sectionName` and `port`"), "correct the reference")
            }
            Obstacle::NotAllowed => (
                format!("no listener of {parent} that is meant lets a {kind} of namespace `{own}` attach"),
                "look at the listener's protocol and allowedRoutes",
            ),
            Obstacle::NoHostname => (
                format!("no listener of {parent} that is meant has a hostname in common with the route"),
                "look at `hostnames` and at the listener's hostname",
            ),
            Obstacle::NoPort => (format!("{parent} has no such port"), "correct the port"),
            Obstacle::Carried => (
                format!("no port of {parent} that is meant carries what a {kind} is for"),
                "name the port by what it speaks",
            ),
        }
    }
}

impl<'a> From<&'a HttpRoute> for AnyRoute<'a> {
    fn from(route: &'a HttpRoute) -> Self {
        let fit = route.rules.iter().filter(|rule| rule.unfit.is_none());
        let backends = fit.flat_map(Rule::destinations);
        let dropped = route.rules.iter().filter_map(|rule| Some((rule.path.as_str(), rule.unfit.as_deref()?)));
        AnyRoute {
            dropped: dropped.collect(),
            meta: &route.meta,
            parents: &route.parents,
            hostnames: &route.hostnames,
            backends: backends.collect(),
            carried: Carried::Http,
        }
    }
}

impl<'a> From<&'a OpaqueRoute> for AnyRoute<'a> {
    fn from(route: &'a OpaqueRoute) -> Self {
        AnyRoute {
            meta: &route.meta,
            parents: &route.parents,
            hostnames: &route.hostnames,
            backends: route.rule.backends.iter().collect(),
            dropped: Vec::new(),
            carried: Carried::Tcp,
        }
    }
}

impl<'a> AnyRoute<'a> {
    /// An object that is a route.
    pub fn of(object: &'a Object) -> Option<Self> {
        match object {
            Object::HttpRoute(route) => Some(route.into()),
            Object::OpaqueRoute(route) => Some(route.into()),
            _ => None,
        }
    }
}

impl Parent {
    /// The object that is meant.
    pub fn reference(&self) -> ObjectRef {
        let kind = match self.kind {
            ParentKind::Gateway => K8S_GATEWAY,
            ParentKind::Service => "Service",
        };
        ObjectRef::new(kind, &self.namespace, &self.name)
    }

    /// Whether it means this listener of its Gateway.
    fn names(&self, listener: &K8sListener) -> bool {
        self.section.as_ref().is_none_or(|section| *section == listener.name)
            && self.port.is_none_or(|port| port == listener.port)
    }
}

impl Pass<'_> {
    /// Whether a route names this listener, and the listener lets it.
    pub(super) fn attaches(
        &self,
        route: &Meta,
        parents: &[Parent],
        gateway: &K8sGateway,
        listener: &K8sListener,
    ) -> bool {
        let means = |parent: &Parent| {
            let named = (parent.namespace.as_str(), parent.name.as_str());
            let own = (gateway.meta.namespace(), gateway.meta.name());
            parent.kind == ParentKind::Gateway && named == own && parent.names(listener)
        };
        parents.iter().any(means) && self.lets(route, gateway, listener)
    }

    /// Whether a listener lets routes of this kind and namespace attach.
    fn lets(&self, route: &Meta, gateway: &K8sGateway, listener: &K8sListener) -> bool {
        let own = route.namespace();
        let allowed = match &listener.allowed {
            Allowed::All => true,
            Allowed::Same => own == gateway.meta.namespace(),
            Allowed::None => false,
            Allowed::Selector(selector) => self.namespace_matches(own, selector),
        };
        let kind = listener.protocol.map(K8sProtocol::route_kind);
        allowed && listener.takes_routes && kind == Some(&*route.reference.kind)
    }

    fn namespace_matches(&self, namespace: &str, selector: &LabelSelector) -> bool {
        // Kubernetes labels every namespace with its own name.
        const NAME_LABEL: &str = "kubernetes.io/metadata.name";
        let mut labels = self.namespaces.get(namespace).map(|labels| (*labels).clone()).unwrap_or_default();
        labels.entry(NAME_LABEL.into()).or_insert_with(|| namespace.into());
        selector.selects(&labels)
    }

    /// The listeners that take a route by one of its parents; none of a Service. `None`: there is no such parent.
    pub(super) fn taken_by(
        &self,
        route: &AnyRoute<'_>,
        parent: &Parent,
    ) -> Option<Result<Vec<&K8sListener>, Obstacle>> {
        match &self.mesh.objects.get(&parent.reference())?.object {
            Object::K8sGateway(gateway) => Some(self.taken_by_gateway(route, parent, gateway)),
            Object::Service(service) => Some(taken_by_service(route, parent, service).map(|()| Vec::new())),
            _ => None,
        }
    }

    /// In the order in which the API asks.
    fn taken_by_gateway<'g>(
        &self,
        route: &AnyRoute<'_>,
        parent: &Parent,
        gateway: &'g K8sGateway,
    ) -> Result<Vec<&'g K8sListener>, Obstacle> {
        let some = |found: Vec<_>, obstacle| if found.is_empty() { Err(obstacle) } else { Ok(found) };
        let mut found: Vec<_> = gateway.listeners.iter().filter(|listener| parent.names(listener)).collect();
        found = some(found, Obstacle::NoListener)?;
        found.retain(|listener| self.lets(route.meta, gateway, listener));
        found = some(found, Obstacle::NotAllowed)?;
        found.retain(|listener| !domains(route.hostnames, listener).is_empty());
        some(found, Obstacle::NoHostname)
    }

    /// Says what is wrong with the parents of a route.
    pub(super) fn check_parents(&self, route: &AnyRoute<'_>) {
        let object = &route.meta.reference;
        for parent in route.parents {
            let reference = parent.reference();
            match self.taken_by(route, parent) {
                None => {
                    let message = format!("there is no {reference} to attach to");
                    self.findings.error(object, &parent.spot, "unknown-parent", message, "add it, or correct the name");
                }
                Some(Ok(_) | Err(Obstacle::Carried)) if parent.kind == ParentKind::Service => {
                    self.check_service_parent(route, parent, &reference)
                }
                Some(Err(obstacle)) => {
                    let (message, mend) = obstacle.tell(route.meta, &reference);
                    let code = if obstacle == Obstacle::NoPort { "unknown-port" } else { "not-attached" };
                    self.findings.error(object, &parent.spot, code, message, mend);
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// What of a route does nothing for the Service that it is attached to.
    fn check_service_parent(&self, route: &AnyRoute<'_>, parent: &Parent, reference: &ObjectRef) {
        let object = &route.meta.reference;
        let Some(Object::Service(service)) = self.mesh.objects.get(reference).map(|entry| &entry.object) else {
            return;
        };
        let meant = service.ports.iter().filter(|port| parent.port.is_none_or(|wanted| wanted == port.port));
        for port in meant.filter(|port| port.carried != route.carried) {
            let carried = if port.carried == Carried::Http { "HTTP" } else { "opaque TCP" };
            let message =
                format!("port {} of {reference} carries {carried}; this route does nothing for it", port.port);
            self.findings.warning(object, &parent.spot, "not-applied", message, "name one `port` of the Service");
        }
        if !route.hostnames.is_empty() && route.carried == Carried::Http {
            let message = "`hostnames` do not count for a parent of kind Service".to_string();
            self.findings.warning(object, &parent.spot, "not-honoured", message, "");
        }
    }
}

/// Of routes attached to Services, those that hold for a port as seen from a namespace: its own, else those of the Service's namespace.
pub(super) fn in_force<'r, R>(
    routes: impl Iterator<Item = &'r R>,
    parts: impl Fn(&'r R) -> (&'r Meta, &'r [Parent]),
    view: View<'_>,
    service: &Service,
    port: u16,
) -> Vec<&'r R> {
    let own = service.meta.namespace();
    let attached = |route: &&'r R| {
        parts(route).1.iter().any(|parent| {
            parent.kind == ParentKind::Service
                && (parent.namespace.as_str(), parent.name.as_str()) == (own, service.meta.name())
                && parent.port.is_none_or(|wanted| wanted == port)
        })
    };
    let all: Vec<_> = routes.filter(attached).collect();
    let of = |namespace: &str| -> Vec<_> {
        all.iter().copied().filter(|route| parts(route).0.namespace() == namespace).collect()
    };
    let consumer = of(namespace_of(view));
    if consumer.is_empty() { of(own) } else { consumer }
}

fn taken_by_service(route: &AnyRoute<'_>, parent: &Parent, service: &Service) -> Result<(), Obstacle> {
    let mut meant = service.ports.iter().filter(|port| parent.port.is_none_or(|wanted| wanted == port.port)).peekable();
    if meant.peek().is_none() {
        return Err(Obstacle::NoPort);
    }
    if meant.any(|port| port.carried == route.carried) { Ok(()) } else { Err(Obstacle::Carried) }
}

/// The hosts on which a route and a listener meet.
pub(super) fn domains(hostnames: &[String], listener: &K8sListener) -> Vec<String> {
    if hostnames.is_empty() {
        return vec![listener.hostname.clone()];
    }
    hostnames.iter().filter_map(|host| intersect(&listener.hostname, host)).collect()
}
