//! HTTPRoute → routes, sorted by how specific they are, as the Gateway API says.

use super::attach::in_force;
use super::cluster::ClusterKey;
use super::findings::Missing;
use super::virtual_service::Routes;
use super::{Pass, View};
use crate::diagnostic::Diagnostic;
use crate::mesh::service_host;
use crate::object::http_route::{BackendRef, HttpRoute, ParentKind, Rule};
use crate::object::service::{Carried, Service};
use crate::object::{Meta, Object, ObjectRef, Objects};
use ringway_config::model::{Action, Backend, Forward, Match, Mirror, PathMatch, Redirect, Route, RuleId};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// All of them, by (age, namespace, name).
pub(super) struct HttpRoutes<'a> {
    all: Vec<&'a HttpRoute>,
    /// (namespace, name) of a Service → those attached to it.
    by_service: HashMap<(&'a str, &'a str), Vec<&'a HttpRoute>>,
    /// (kind of route, its namespace, the Service's namespace) → names of services that may be referred to; empty is any.
    grants: HashMap<(&'a str, &'a str, &'a str), Vec<&'a str>>,
}

/// Status for the share of a backend that is not there or not allowed.
const MISSING_STATUS: u16 = 500;

impl<'a> HttpRoutes<'a> {
    pub fn new(objects: &'a Objects) -> Self {
        let mut routes = HttpRoutes { all: Vec::new(), by_service: HashMap::new(), grants: HashMap::new() };
        for entry in objects.iter() {
            match &entry.object {
                Object::HttpRoute(route) => routes.all.push(route),
                Object::ReferenceGrant(grant) => {
                    let from = grant.from.iter().filter(|(group, _, _)| group == "gateway.networking.k8s.io");
                    for (_, kind, namespace) in from {
                        let to = grant
                            .to
                            .iter()
                            .filter(|(group, kind, _)| matches!(group.as_str(), "" | "core") && kind == "Service");
                        let names = routes.grants.entry((kind, namespace, grant.meta.namespace())).or_default();
                        names.extend(to.map(|(_, _, name)| name.as_str()));
                    }
                }
                _ => {}
            }
        }
        routes.all.sort_by_key(|route| {
            (route.meta.created.is_empty(), &route.meta.created, route.meta.namespace(), route.meta.name())
        });
        for route in &routes.all {
            let services = route.parents.iter().filter(|parent| parent.kind == ParentKind::Service);
            let names: BTreeSet<_> = services.map(|parent| (parent.namespace.as_str(), parent.name.as_str())).collect();
            for name in names {
                routes.by_service.entry(name).or_default().push(route);
            }
        }
        routes
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &'a HttpRoute> + '_ {
        self.all.iter().copied()
    }

    /// Namespaces with routes to services of others: only their own clients see those.
    pub fn special(&self) -> BTreeSet<&'a str> {
        let consumers = self.by_service.iter().flat_map(|((namespace, _), routes)| {
            routes.iter().map(|route| route.meta.namespace()).filter(move |own| own != namespace)
        });
        consumers.collect()
    }

    /// Those that hold for a service's port as seen from a view: the client's own, else the service's.
    pub fn of_service(&self, view: View<'_>, service: &Service, port: u16) -> Vec<&'a HttpRoute> {
        let of = self.by_service.get(&(service.meta.namespace(), service.meta.name()));
        let all = of.into_iter().flatten().copied();
        in_force(all, |route| (&route.meta, &route.parents), view, service, port)
    }

    fn granted(&self, kind: &str, from: &str, to: &str, name: &str) -> bool {
        self.grants
            .get(&(kind, from, to))
            .is_some_and(|names| names.iter().any(|granted| granted.is_empty() || *granted == name))
    }
}

/// Why a backend cannot be had.
pub(super) struct Unresolved {
    /// Reason of the condition `ResolvedRefs`.
    pub reason: &'static str,
    pub code: &'static str,
    pub message: String,
    /// When nothing is called alike.
    pub mend: String,
    pub missing: Option<Missing>,
}

/// How specific a match is; smaller comes first. Exact, then the longest path, then method, headers, query.
fn precedence(matches: &Match) -> impl Ord + use<> {
    let (kind, length) = match &matches.path {
        PathMatch::Exact(path) => (0, path.len()),
        PathMatch::Segments(path) | PathMatch::Prefix(path) => (1, path.len()),
        PathMatch::Regex(path) => (2, path.len()),
        PathMatch::Any => (3, 0),
    };
    (kind, Reverse(length), matches.method.is_none(), Reverse(matches.headers.len()), Reverse(matches.query.len()))
}

impl Pass<'_> {
    /// Appends what these routes say together, the most specific match first; equal ones in order of age, then of rules.
    /// `port` is the listener's, where clients can come back to it: what a redirect means that names neither scheme nor port.
    pub(super) fn http_route_routes(
        &self,
        attached: &[&HttpRoute],
        view: View<'_>,
        port: Option<u16>,
        into: &mut Routes,
    ) {
        let mut sorted = Vec::new();
        for route in attached {
            for rule in &route.rules {
                let action = u32::try_from(into.actions.len()).unwrap_or(u32::MAX);
                let mut made = self.rule_action(route, rule, view, &mut into.clusters);
                if let (Action::Redirect(redirect), Some(port)) = (&mut made, port)
                    && redirect.scheme.is_empty()
                    && redirect.port.is_none()
                {
                    redirect.port = Some(port);
                }
                into.actions.push(made);
                for one in &rule.matches {
                    let id = self.rule(&route.meta, &one.path, &one.spot);
                    let name = if rule.name.is_empty() {
                        format!("{}.{}", route.meta.namespace(), route.meta.name())
                    } else {
                        rule.name.clone()
                    };
                    sorted.push(Route { rule: id, name, matches: one.matches.clone(), action });
                }
            }
        }
        // The sort is stable: what is equally specific keeps its order.
        sorted.sort_by_cached_key(|route| precedence(&route.matches));
        into.routes.extend(sorted);
    }

    fn rule_action(
        &self,
        route: &HttpRoute,
        rule: &Rule,
        view: View<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Action {
        if rule.unfit.is_some() {
            // What it asks for is not done, so its requests may go nowhere else either.
            let rule = self.rule(&route.meta, &rule.path, &rule.spot);
            return Action::Forward(Forward { backends: vec![missing(rule, 1)], ..Forward::default() });
        }
        // A redirect of a backend's own takes the backend to be there.
        let there = |backend: &BackendRef| {
            backend.weight > 0 && self.backend_cluster(&route.meta, backend, Carried::Http).is_some()
        };
        if let Some(redirect) = &rule.redirect
            && rule.backends.iter().all(there)
        {
            return Action::Redirect(Redirect { response: rule.response.clone(), ..redirect.clone() });
        }
        let mut backends: Vec<_> =
            rule.backends.iter().map(|backend| self.backend(route, backend, view, clusters)).collect();
        if backends.iter().all(|backend| backend.weight == 0) {
            // Nowhere to go, says the API, is an internal error.
            let rule = self.rule(&route.meta, &rule.path, &rule.spot);
            backends = vec![missing(rule, 1)];
        }
        Action::Forward(Forward {
            backends,
            timeout_ms: rule.timeout_ms,
            retry: rule.retry.or(&self.mesh.options.retry),
            path: rule.rewrite.clone(),
            authority: rule.authority.clone(),
            request: rule.request.clone(),
            response: rule.response.clone(),
            fault: None,
            cors: rule.cors.clone(),
            mirrors: self.mirrors(route, rule, view, clusters),
        })
    }

    fn mirrors(
        &self,
        route: &HttpRoute,
        rule: &Rule,
        view: View<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for (backend, per_million) in &rule.mirrors {
            let Some(key) = self.backend_cluster(&route.meta, backend, Carried::Http) else { continue };
            if self.cluster(view, &key).is_some() {
                let rule = self.rule(&route.meta, &backend.path, &backend.spot);
                mirrors.push(Mirror { cluster: key.name(), per_million: *per_million, rule });
                clusters.insert(key);
            }
        }
        mirrors
    }

    fn backend(
        &self,
        route: &HttpRoute,
        backend: &BackendRef,
        view: View<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Backend {
        let rule = self.rule(&route.meta, &backend.path, &backend.spot);
        let Some(key) = self.backend_cluster(&route.meta, backend, Carried::Http) else {
            return missing(rule, backend.weight);
        };
        // A destination rule without subsets may still say how to talk to it; a cluster that cannot be made is missing too.
        if self.cluster(view, &key).is_none() {
            return missing(rule, backend.weight);
        }
        let made = Backend {
            cluster: key.name(),
            weight: backend.weight,
            rule,
            missing_status: MISSING_STATUS,
            request: backend.request.clone(),
            response: backend.response.clone(),
        };
        clusters.insert(key);
        made
    }

    /// The cluster of a backend of any kind of route, or a diagnostic that says what is missing.
    pub(super) fn backend_cluster(&self, route: &Meta, backend: &BackendRef, carried: Carried) -> Option<ClusterKey> {
        match self.resolve_backend(route, backend, carried) {
            Ok(key) => Some(key),
            Err(Unresolved { code, message, mend, missing, .. }) => {
                let message = match carried {
                    _ if backend.copies => format!("{message}; it gets no copies"),
                    Carried::Http => format!("{message}; its share of the requests gets {MISSING_STATUS}"),
                    Carried::Tcp => format!("{message}; its share of the connections is closed"),
                };
                let (object, spot) = (&route.reference, &backend.spot);
                match missing {
                    None => self.findings.error(object, spot, code, message, mend),
                    Some(missing) => {
                        self.findings.missing(object, spot, Diagnostic::error(code, message, mend), missing)
                    }
                }
                None
            }
        }
    }

    /// The cluster of a backend of any kind of route.
    pub(super) fn resolve_backend(
        &self,
        route: &Meta,
        backend: &BackendRef,
        carried: Carried,
    ) -> Result<ClusterKey, Unresolved> {
        let object = &route.reference;
        let fail = |reason, code, message: String, mend: String| {
            Err(Unresolved { reason, code, message, mend, missing: None })
        };
        if let Some(foreign) = &backend.foreign {
            let message = format!("a backend of kind {foreign} is not supported yet");
            return fail("InvalidKind", "not-supported-yet", message, "use a Service".into());
        }
        let own = route.namespace();
        let granted = || self.http_routes.granted(&object.kind, own, &backend.namespace, &backend.name);
        if backend.namespace != own && !granted() {
            let message = format!(
                "no ReferenceGrant in `{}` lets {}s of `{own}` use Service `{}`",
                backend.namespace, object.kind, backend.name
            );
            let mend = format!("add a ReferenceGrant to namespace `{}`", backend.namespace);
            return fail("RefNotPermitted", "not-granted", message, mend);
        }
        let reference = ObjectRef::new("Service", &backend.namespace, &backend.name);
        let Some(Object::Service(service)) = self.mesh.objects.get(&reference).map(|entry| &entry.object) else {
            let host = format!("{}.{}.svc.{}", backend.name, backend.namespace, self.mesh.options.cluster_domain);
            return Err(Unresolved {
                reason: "BackendNotFound",
                code: "unknown-backend",
                message: format!("there is no {reference}"),
                mend: "add the Service".into(),
                missing: Some(Missing::Host(host)),
            });
        };
        let ports: Vec<String> = service.ports.iter().map(|port| port.port.to_string()).collect();
        let mend = format!("its ports: {}", ports.join(", "));
        let Some(number) = backend.port else {
            let message = "a Service as backend has to have a port".into();
            return fail("BackendNotFound", "missing-field", message, mend);
        };
        match service.ports.iter().find(|port| port.port == number) {
            None => fail("BackendNotFound", "unknown-port", format!("{reference} has no port {number}"), mend),
            Some(port) if port.carried != carried => {
                let (is, name) = if carried == Carried::Http { ("opaque TCP", "http") } else { ("HTTP", "tcp") };
                let message = format!("port {number} of {reference} carries {is}");
                fail("UnsupportedProtocol", "protocol-mismatch", message, format!("name the port {name}"))
            }
            Some(_) => {
                let host = service_host(service, &self.mesh.options.cluster_domain);
                Ok(ClusterKey { host, port: number, subset: String::new() })
            }
        }
    }

    /// Parents that are not there, and routes that no parent takes.
    pub(super) fn check_http_route_parents(&self) {
        for route in self.http_routes.iter() {
            // Also finds broken backends of routes that are attached to nothing.
            self.http_route_routes(&[route], "", None, &mut Routes::default());
            self.check_parents(&route.into());
        }
    }
}

fn missing(rule: RuleId, weight: u32) -> Backend {
    Backend { weight, rule, missing_status: MISSING_STATUS, ..Backend::default() }
}
