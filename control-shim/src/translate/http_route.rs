//! HTTPRoute → routes, sorted by how specific they are, as the Gateway API says.

use super::attach::in_force;
use super::cluster::ClusterKey;
use super::findings::Missing;
use super::virtual_service::Routes;
use super::{Pass, View};
use crate::diagnostic::Diagnostic;
use crate::mesh::service_host;
use crate::object::http_filters::Filters;
use crate::object::http_route::{BackendRef, HttpRoute, ParentKind, Rule};
use crate::object::service::{Carried, Service};
use crate::object::{Meta, Object, ObjectRef, Objects};
use ringway_config::model::{
    Action, Backend, Forward, HeaderEdits, Match, Mirror, PathMatch, PathRewrite, Redirect, Route, RuleId,
};
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

/// A rule, and who looks at it.
#[derive(Clone, Copy)]
struct Of<'a> {
    route: &'a HttpRoute,
    rule: &'a Rule,
    view: View<'a>,
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
                let before = into.actions.len();
                self.rule_actions(Of { route, rule, view }, into);
                for made in &mut into.actions[before..] {
                    if let (Action::Redirect(redirect), Some(port)) = (made, port)
                        && redirect.scheme.is_empty()
                        && redirect.port.is_none()
                    {
                        redirect.port = Some(port);
                    }
                }
                let action = number(before);
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

    /// Appends what is done with a rule's requests: the action of its routes, and behind it those that backends have of their own.
    fn rule_actions(&self, of: Of<'_>, into: &mut Routes) {
        let Of { route, rule, .. } = of;
        if rule.unfit.is_some() {
            // What it asks for is not done, so its requests may go nowhere else either.
            let nowhere = missing(self.rule(&route.meta, &rule.path, &rule.spot), 1);
            return into.actions.push(Action::Forward(Forward { backends: vec![nowhere], ..Forward::default() }));
        }
        if let [] | [_] = rule.backends[..] {
            let made = self.rule_action(of, rule.backends.first(), &mut into.clusters);
            return into.actions.push(made);
        }
        let (mut backends, mut own) = (Vec::new(), Vec::new());
        for backend in &rule.backends {
            backends.push(if backend.filters.only_edit_headers() {
                self.backend(of, backend, &mut into.clusters)
            } else {
                own.push(self.rule_action(of, Some(backend), &mut into.clusters));
                let (rule, action) =
                    (self.rule(&route.meta, &backend.path, &backend.spot), into.actions.len() + own.len());
                Backend { weight: backend.weight, rule, action: Some(number(action)), ..Backend::default() }
            });
        }
        let shared = self.rule_forward(of, backends, &Filters::default(), &mut into.clusters);
        into.actions.push(shared);
        into.actions.extend(own);
    }

    /// What is done with requests that have nowhere to go but to one backend.
    fn rule_action(&self, of: Of<'_>, backend: Option<&BackendRef>, clusters: &mut BTreeSet<ClusterKey>) -> Action {
        let Of { route, rule, .. } = of;
        let nothing = Filters::default();
        let own = backend.map_or(&nothing, |backend| &backend.filters);
        // A redirect of a backend's own takes the backend to be there.
        let there = |backend: &BackendRef| {
            backend.weight > 0 && self.backend_cluster(&route.meta, backend, Carried::Http).is_some()
        };
        if let Some(redirect) = own.redirect.as_ref().or(rule.filters.redirect.as_ref())
            && backend.is_none_or(there)
        {
            let response = both(&own.response, &rule.filters.response);
            return Action::Redirect(Redirect { response, ..redirect.clone() });
        }
        let backends = backend.map(|backend| self.backend(of, backend, clusters)).into_iter().collect();
        self.rule_forward(of, backends, own, clusters)
    }

    /// `own` is what filters of the only backend ask for.
    fn rule_forward(
        &self,
        of: Of<'_>,
        mut backends: Vec<Backend>,
        own: &Filters,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Action {
        let Of { route, rule, .. } = of;
        let filters = &rule.filters;
        if backends.iter().all(|backend| backend.weight == 0) {
            // Nowhere to go, says the API, is an internal error.
            backends = vec![missing(self.rule(&route.meta, &rule.path, &rule.spot), 1)];
        }
        let path = if own.rewrite == PathRewrite::Keep { &filters.rewrite } else { &own.rewrite };
        let authority = if own.authority.is_empty() { &filters.authority } else { &own.authority };
        Action::Forward(Forward {
            backends,
            timeout_ms: rule.timeout_ms,
            retry: rule.retry.or(&self.mesh.options.retry),
            path: path.clone(),
            authority: authority.clone(),
            request: filters.request.clone(),
            response: filters.response.clone(),
            fault: None,
            cors: own.cors.as_ref().or(filters.cors.as_ref()).cloned(),
            mirrors: self.mirrors(of, own, clusters),
        })
    }

    fn mirrors(&self, of: Of<'_>, own: &Filters, clusters: &mut BTreeSet<ClusterKey>) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for (backend, per_million) in of.rule.filters.mirrors.iter().chain(&own.mirrors) {
            let Some(key) = self.backend_cluster(&of.route.meta, backend, Carried::Http) else { continue };
            if self.cluster(of.view, &key).is_some() {
                let rule = self.rule(&of.route.meta, &backend.path, &backend.spot);
                mirrors.push(Mirror { cluster: key.name(), per_million: *per_million, rule });
                clusters.insert(key);
            }
        }
        mirrors
    }

    fn backend(&self, of: Of<'_>, backend: &BackendRef, clusters: &mut BTreeSet<ClusterKey>) -> Backend {
        let Of { route, view, .. } = of;
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
            request: backend.filters.request.clone(),
            response: backend.filters.response.clone(),
            action: None,
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

/// Edits one after the other, as one list: of a header that the later ones remove or set, nothing stays.
fn both(first: &HeaderEdits, then: &HeaderEdits) -> HeaderEdits {
    let is = |name: &str| {
        let mut names = then.remove.iter().chain(then.set.iter().map(|(name, _)| name));
        names.any(|other| other.eq_ignore_ascii_case(name))
    };
    let mut both = first.clone();
    both.remove.retain(|name| !is(name));
    both.set.retain(|(name, _)| !is(name));
    both.add.retain(|(name, _)| !is(name));
    both.remove.extend_from_slice(&then.remove);
    both.set.extend_from_slice(&then.set);
    both.add.extend_from_slice(&then.add);
    both
}

/// An index as configs have it.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn missing(rule: RuleId, weight: u32) -> Backend {
    Backend { weight, rule, missing_status: MISSING_STATUS, ..Backend::default() }
}
