//! VirtualService → routes: which one holds for a host, and what its rules become.

use super::cluster::ClusterKey;
use super::findings::Missing;
use super::{Pass, View, covers, expand, namespace_of, seniority};
use crate::diagnostic::Diagnostic;
use crate::mesh::Options;
use crate::object::fault::FaultRule;
use crate::object::patterns::ExportTo;
use crate::object::service::Carried;
use crate::object::virtual_service::{Destination, HttpAction, HttpMatch, HttpRoute, HttpRule, Mirror, VirtualService};
use crate::object::{Object, ObjectRef, Objects};
use ringway_config::model as config;
use ringway_config::model::{Action, Backend, Fault, Forward, Match, Redirect, Respond, Route};
use std::collections::{BTreeSet, HashMap};

/// All of them in order of age, indexed by host.
pub(super) struct VirtualServices<'a> {
    all: Vec<&'a VirtualService>,
    /// Expanded host → those of the mesh that have it, in order of age.
    exact: HashMap<String, Vec<&'a VirtualService>>,
    /// Patterns of the mesh, the longest first.
    wildcard: Vec<(String, &'a VirtualService)>,
    /// `namespace/name` of a gateway → those bound to it.
    by_gateway: HashMap<String, Vec<&'a VirtualService>>,
    /// Who sees those that do not say it.
    exports: &'a ExportTo,
}

/// Where routes are made for.
#[derive(Clone, Copy)]
pub(super) struct Seat<'s> {
    /// From which namespace.
    pub view: View<'s>,
    /// The port that a request came to.
    pub port: u16,
    /// `mesh`, or the `namespace/name` of a gateway.
    pub gateway: &'s str,
}

/// Routes with what they do, and the clusters that they need.
#[derive(Default)]
pub(super) struct Routes {
    pub routes: Vec<Route>,
    pub actions: Vec<Action>,
    pub clusters: BTreeSet<ClusterKey>,
}

/// Status of a route whose destination is not there, as in Istio.
pub(super) const MISSING_STATUS: u16 = 503;
/// Name of the gateway that stands for all sidecars.
pub(super) const MESH: &str = "mesh";

impl<'a> VirtualServices<'a> {
    pub fn new(objects: &'a Objects, options: &'a Options) -> Self {
        let mut all: Vec<_> = objects
            .iter()
            .filter_map(|entry| match &entry.object {
                Object::VirtualService(service) => Some(service),
                _ => None,
            })
            .collect();
        all.sort_by_key(|service| seniority(&service.meta));
        let mut index = VirtualServices {
            all: Vec::new(),
            exact: HashMap::new(),
            wildcard: Vec::new(),
            by_gateway: HashMap::new(),
            exports: &options.exports.virtual_services,
        };
        for service in all {
            index.all.push(service);
            for gateway in service.gateways.iter().map(|(name, _)| gateway_key(name, service.meta.namespace())) {
                index.by_gateway.entry(gateway).or_default().push(service);
            }
            if !service.gateways.iter().any(|(name, _)| name == MESH) {
                continue;
            }
            for (host, _) in &service.hosts {
                let host = expand(host, service.meta.namespace(), &options.cluster_domain);
                match host.starts_with('*') {
                    true => index.wildcard.push((host, service)),
                    false => index.exact.entry(host).or_default().push(service),
                }
            }
        }
        index.wildcard.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        index
    }

    /// Whether a namespace sees it.
    pub fn is_visible(&self, service: &VirtualService, namespace: &str) -> bool {
        service.export_to.or(self.exports).visible(service.meta.namespace(), namespace)
    }

    /// Namespaces that see some of them, or are matched by some, unlike others.
    pub fn special(&self) -> BTreeSet<&'a str> {
        let mut special = BTreeSet::new();
        for service in &self.all {
            special.extend(service.export_to.or(self.exports).only(service.meta.namespace()));
            special.extend(
                service.http.iter().flat_map(|rule| &rule.matches).filter_map(|one| one.source_namespace.as_deref()),
            );
        }
        special
    }

    /// Labels of clients that some rule asks for: each proxy knows its own.
    pub fn source_labels(&self) -> BTreeSet<&'a str> {
        let matches = self.all.iter().flat_map(|service| &service.http).flat_map(|rule| &rule.matches);
        matches.flat_map(|one| &one.matches.source).map(|(name, _)| name.as_str()).collect()
    }

    /// All, in order of age.
    pub fn iter(&self) -> impl Iterator<Item = &'a VirtualService> + '_ {
        self.all.iter().copied()
    }

    /// Its place in the order of age.
    pub fn age(&self, service: &VirtualService) -> Option<usize> {
        self.all.iter().position(|other| other.meta.reference == service.meta.reference)
    }

    /// Those that a view of the mesh has for a host, the one in force first.
    pub fn of_host(&self, view: View<'_>, host: &str) -> Vec<&'a VirtualService> {
        let visible = |service: &&VirtualService| self.is_visible(service, namespace_of(view));
        let exact: Vec<_> = self.exact.get(host).into_iter().flatten().copied().filter(visible).collect();
        if !exact.is_empty() {
            return exact;
        }
        let wildcard = self.wildcard.iter().find(|(pattern, service)| covers(pattern, host) && visible(service));
        wildcard.map(|(_, service)| *service).into_iter().collect()
    }

    /// Hosts and patterns of the mesh that VirtualServices name.
    pub fn hosts(&self) -> BTreeSet<&str> {
        self.exact.keys().chain(self.wildcard.iter().map(|(host, _)| host)).map(String::as_str).collect()
    }

    /// Those bound to a gateway, by age.
    pub fn of_gateway(&self, key: &str) -> &[&'a VirtualService] {
        self.by_gateway.get(key).map_or(&[], Vec::as_slice)
    }
}

/// `namespace/name` of a gateway as a VirtualService names it; `mesh` stays.
pub(super) fn gateway_key(name: &str, namespace: &str) -> String {
    match name {
        MESH => MESH.to_string(),
        _ if name.contains('/') => name.to_string(),
        _ => format!("{namespace}/{name}"),
    }
}

impl Pass<'_> {
    /// Appends what a VirtualService says at a seat.
    pub(super) fn virtual_service_routes(&self, service: &VirtualService, seat: Seat<'_>, into: &mut Routes) {
        for rule in &service.http {
            match &rule.action {
                HttpAction::Delegate(to) => self.delegate_routes(service, rule, to, seat, into),
                _ => self.rule_routes(service, rule, seat, into),
            }
        }
    }

    /// Appends one rule, if any of its matches can hold at the seat.
    pub(super) fn rule_routes(&self, service: &VirtualService, rule: &HttpRule, seat: Seat<'_>, into: &mut Routes) {
        if rule.matches.is_empty() || rule.matches.iter().any(|one| self.applies(service, one, seat)) {
            let made = self.http_action(service, rule, seat, &mut into.clusters);
            self.put_rule(service, rule, made, seat, into);
        }
    }

    /// Appends the matches of a rule that can hold at the seat, with what they do.
    pub(super) fn put_rule(
        &self,
        service: &VirtualService,
        rule: &HttpRule,
        made: Action,
        seat: Seat<'_>,
        into: &mut Routes,
    ) {
        let action = u32::try_from(into.actions.len()).unwrap_or(u32::MAX);
        into.actions.push(made);
        let mut put = |path: &str, spot, matches| {
            let id = self.rule(&service.meta, path, spot);
            into.routes.push(Route { rule: id, name: rule.name.clone(), matches, action });
        };
        if rule.matches.is_empty() {
            put(&rule.path, &rule.spot, Match::default());
        }
        for one in rule.matches.iter().filter(|one| self.applies(service, one, seat)) {
            put(&one.path, &one.spot, one.matches.clone());
        }
    }

    /// The selectors of a match that are decided here and not by the proxy.
    fn applies(&self, service: &VirtualService, one: &HttpMatch, seat: Seat<'_>) -> bool {
        one.port.is_none_or(|port| port == seat.port)
            && seated(&one.gateways, service.meta.namespace(), seat)
            && one.source_namespace.as_deref().is_none_or(|namespace| namespace == namespace_of(seat.view))
    }

    /// The fault that a rule injects.
    pub(super) fn fault(&self, service: &VirtualService, rule: &HttpRule) -> Option<Fault> {
        let with_id = |f: &FaultRule| Fault { rule: self.rule(&service.meta, &f.path, &f.spot), ..f.fault.clone() };
        rule.fault.as_ref().map(with_id)
    }

    fn http_action(
        &self,
        service: &VirtualService,
        rule: &HttpRule,
        seat: Seat<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Action {
        let fault = self.fault(service, rule);
        match &rule.action {
            HttpAction::Redirect { to, request_port } => {
                // Without a new scheme or authority the port stays as the client wrote it, which may be another one than ours.
                let port = if *request_port && !(to.scheme.is_empty() && to.host.is_empty()) {
                    Some(seat.port)
                } else {
                    to.port
                };
                Action::Redirect(Redirect { fault, port, ..to.clone() })
            }
            HttpAction::Respond(respond) => Action::Respond(Respond { fault, ..respond.clone() }),
            // Resolved before; this one has nowhere to go.
            HttpAction::Delegate(_) => Action::Forward(Forward::default()),
            HttpAction::Route(route) => {
                Action::Forward(Forward { fault, ..self.forward(service, route, seat, clusters) })
            }
        }
    }

    fn forward(
        &self,
        service: &VirtualService,
        route: &HttpRoute,
        seat: Seat<'_>,
        clusters: &mut BTreeSet<ClusterKey>,
    ) -> Forward {
        let backends = route
            .destinations
            .iter()
            .map(|destination| {
                let key = self.resolve(service, destination, seat, Carried::Http);
                let backend = Backend {
                    cluster: key.as_ref().map(ClusterKey::name).unwrap_or_default(),
                    weight: destination.weight,
                    rule: self.rule(&service.meta, &destination.path, &destination.spot),
                    missing_status: MISSING_STATUS,
                    action: None,
                    request: destination.request.clone(),
                    response: destination.response.clone(),
                };
                clusters.extend(key);
                backend
            })
            .collect();
        let mut mirrors = Vec::new();
        for Mirror { destination, per_million } in &route.mirrors {
            if let Some(key) = self.resolve(service, destination, seat, Carried::Http) {
                let rule = self.rule(&service.meta, &destination.path, &destination.spot);
                mirrors.push(config::Mirror { cluster: key.name(), per_million: *per_million, rule });
                clusters.insert(key);
            }
        }
        Forward {
            backends,
            timeout_ms: route.timeout_ms,
            retry: route.retry.or(&self.mesh.options.retry),
            path: route.path.clone(),
            authority: route.authority.clone(),
            request: route.request.clone(),
            response: route.response.clone(),
            fault: None,
            cors: route.cors.clone(),
            mirrors,
        }
    }

    /// The cluster of a destination, or a diagnostic that says what is missing.
    pub(super) fn resolve(
        &self,
        service: &VirtualService,
        destination: &Destination,
        seat: Seat<'_>,
        carried: Carried,
    ) -> Option<ClusterKey> {
        let object = &service.meta.reference;
        let host = expand(&destination.host, service.meta.namespace(), &self.mesh.options.cluster_domain);
        let Some(target) = self.registry.get(&host) else {
            let message = format!("nothing has the host `{host}`; {}", consequence(destination));
            let found = Diagnostic::error("unknown-host", message, "add its Service or ServiceEntry");
            self.findings.missing(object, &destination.host_spot, found, Missing::Host(host));
            return None;
        };
        let client = namespace_of(seat.view);
        if !target.visible(seat.view) {
            // Clients elsewhere may have no business with the rule.
            if seat.gateway != MESH || client == service.meta.namespace() {
                let message = format!("`{host}` is not exported to `{client}`; {}", consequence(destination));
                let mend = format!("widen `exportTo` of {}", target.meta.reference);
                self.findings.warning(object, &destination.host_spot, "not-exported", message, mend);
            }
            return None;
        }
        let number = match destination.port {
            Some(port) => port,
            None if target.ports.len() == 1 => target.ports[0].number,
            None => seat.port,
        };
        let Some(port) = target.port(number) else {
            let ports: Vec<String> = target.ports.iter().map(|port| port.number.to_string()).collect();
            let message = format!("`{host}` has no port {number}; {}", consequence(destination));
            self.findings.error(
                object,
                &destination.spot,
                "unknown-port",
                message,
                format!("its ports: {}", ports.join(", ")),
            );
            return None;
        };
        if port.carried != carried {
            let (is, route) = if port.carried == Carried::Tcp { ("opaque TCP", "an HTTP") } else { ("HTTP", "a TCP") };
            let message =
                format!("port {number} of `{host}` carries {is} and cannot be the destination of {route} route");
            self.findings.error(
                object,
                &destination.spot,
                "protocol-mismatch",
                message,
                "name the port by what it speaks",
            );
            return None;
        }
        self.check_subset(object, destination, seat.view, &host, number)?;
        Some(ClusterKey { host, port: number, subset: destination.subset.clone() })
    }

    fn check_subset(
        &self,
        object: &ObjectRef,
        destination: &Destination,
        view: View<'_>,
        host: &str,
        port: u16,
    ) -> Option<()> {
        if destination.subset.is_empty() {
            return Some(());
        }
        let target = self.registry.get(host)?;
        let rules = self.destination_rules.find(view, host, target.meta.namespace());
        let Some((_, subset)) = rules.subset(&destination.subset) else {
            let known = rules.subsets();
            let message = format!(
                "no DestinationRule gives `{host}` a subset `{}`; {}",
                destination.subset,
                consequence(destination)
            );
            let mend = match crate::object::decode::nearest(&destination.subset, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "add a DestinationRule with it".into(),
                None => format!("its subsets: {}", known.join(", ")),
            };
            self.findings.error(object, &destination.subset_spot, "unknown-subset", message, mend);
            return None;
        };
        let behind = target.port(port)?;
        let here = behind.endpoints.iter().any(|endpoint| endpoint.in_subset(&subset.labels));
        if !here && !behind.names.iter().any(|name| name.in_subset(&subset.labels)) {
            let message =
                format!("subset `{}` of `{host}` has no endpoint; {}", destination.subset, consequence(destination));
            self.findings.warning(object, &destination.subset_spot, "empty-subset", message, "no pod has its labels");
        }
        Some(())
    }
}

/// Whether a match's `gateways` include the seat's.
pub(super) fn seated(gateways: &[String], namespace: &str, seat: Seat<'_>) -> bool {
    gateways.is_empty() || gateways.iter().any(|name| gateway_key(name, namespace) == seat.gateway)
}

/// What comes of a destination that is not there.
fn consequence(destination: &Destination) -> String {
    match destination.copies {
        true => "it gets no copies".into(),
        false => format!("requests that take this route get {MISSING_STATUS}"),
    }
}
