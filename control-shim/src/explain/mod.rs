//! Why a request goes where it goes: the proxy's own decision on the proxy's own snapshot, told step by step with the manifest line behind each.
//!
//! Decides nothing itself: [`ringway_policy::decide`] does, with a recording trace. What depends on chance (weights, balancing) is told as shares.

mod head;
mod json;
mod line;
mod live;
mod proxy;
mod text;
mod told;
mod why;

pub use line::LogLine;
pub use live::{Live, fetch};
pub use proxy::{Asked, Source, TargetUrl, pod_named};
pub use text::{Palette, percent, said};
pub use told::{Destination, Endpoint, Explanation, FaultMet, HostMet, Outcome, Passed, RouteMet, Rule};
pub use why::conditions;

use ringway_config::model::{Action, ListenerProtocol, Place, Profile, Role, RuleId};
use ringway_config::{Snapshot, dump};
use ringway_http::h1::{HeadLimits, RequestError, reason};
use ringway_http::head::Sender;
use ringway_policy::outlier::{Change, Verdict as Judgement};
use ringway_policy::view::BuildError;
use ringway_policy::{
    Connection, Facts, Fields, Layers, Local, LocalKind, Note, PathError, Plan, Rng, State, Step, Trace, Values, View,
    decide, decide_tcp, decide_tls, forwarded_client, normal_target, scheme, settled, shares,
};
use serde_json::Value;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One proxy's configuration, ready to be asked.
pub struct Subject {
    view: View,
    node: String,
    /// What a worker remembers; a decision takes turns.
    state: RefCell<State>,
}

/// Who decides on a request: the host, the route and the status of an answer that the proxy gives itself, in numbers of one subject.
pub type Verdict = (Option<u32>, u32, u16);

/// A request as a proxy receives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Host, and port if one was written.
    pub authority: String,
    /// The other header lines.
    pub headers: Vec<(String, String)>,
}

impl Subject {
    /// Compiles a snapshot as the proxy does.
    ///
    /// # Errors
    /// What the proxy would refuse it for.
    pub fn new(snapshot: &Snapshot) -> Result<Subject, BuildError> {
        let view = View::build(snapshot, None)?;
        let mut state = State::new();
        state.adopt(&view, NOW, &mut Last, &mut Vec::new());
        Ok(Subject { view, node: snapshot.listeners().name().to_string(), state: RefCell::new(state) })
    }

    /// Leaves endpoints (cluster, address) alone, as a running proxy does whose outlier detection has found them.
    pub fn eject(&mut self, found: &[(String, SocketAddr)]) {
        for (cluster, address) in found {
            let verdict = Judgement { cluster: cluster.as_str().into(), address: *address, change: Change::Eject };
            self.state.borrow_mut().judge(&self.view, &verdict, NOW);
        }
    }

    /// What the proxy runs.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// A rule of this snapshot.
    pub fn rule(&self, id: RuleId) -> Rule {
        Rule { id, origin: self.view.origin(id) }
    }

    /// Decides on a request at a listener and tells why. `absent`: the shim was asked for the host and there is none.
    pub fn explain(&self, listener: u32, request: &Request, absent: bool) -> Explanation {
        let request = &match self.normal(listener, request) {
            Ok(normal) => normal,
            Err(refused) => return Explanation { outcome: refused.outcome(), ..self.blank(listener) },
        };
        let mut notes: Vec<Note> = Vec::new();
        let mut facts = self.facts(request, listener, absent);
        let step = decide(&self.view, &mut facts, &mut self.state.borrow_mut(), &mut Last, 0, &mut notes);
        let mut told = self.blank(listener);
        let host = notes.iter().find_map(|note| if let Note::Host(id) = note { Some(*id) } else { None });
        told.host = host.map(|id| self.host(id));
        told.passed = host.map(|id| self.passed(id, &notes, request)).unwrap_or_default();
        let (route, rule) = match &step {
            Step::Forward(plan) => (plan.route, plan.rule),
            Step::Reply(local) => (local.route, local.rule),
            Step::Delay(delay) => (delay.route, delay.rule),
            Step::Ask(_) | Step::Reject(_) => (Plan::NONE, RuleId(0)),
        };
        told.rule = self.rule(rule);
        if let Some(host) = host
            && let Some(met) = self.view.host(host).model().routes.get(route as usize)
        {
            told.route = Some(RouteMet { name: met.name.clone(), rule: self.rule(met.rule) });
            told.action = dump::action_of(self.view.host(host).model(), met.action);
            told.fault = self.view.action(host, met.action).and_then(|action| self.fault(action));
        }
        told.outcome = match step {
            Step::Forward(plan) => self.forward(&plan, request, &facts),
            Step::Reply(local) => self.reply(host, &local, &facts, request),
            Step::Ask(_) | Step::Delay(_) => Outcome::Ask,
            Step::Reject(reason) => Outcome::Reject { flags: reason.flags(), details: reason.details() },
        };
        told
    }

    fn role(&self, listener: u32) -> Option<Role> {
        self.view.listeners().get(listener as usize).map(|listener| listener.role)
    }

    /// Who sends requests there.
    fn sender(&self, listener: u32) -> Sender {
        match self.role(listener) {
            Some(Role::Gateway) if self.view.policy().trusted_proxies > 0 => Sender::Proxy,
            Some(Role::Gateway) => Sender::Outside,
            _ => Sender::Mesh,
        }
    }

    /// The client, where a trusted proxy tells of it.
    fn forwarded_client(&self, listener: u32, request: &Request) -> Option<IpAddr> {
        let proxies = if self.sender(listener) == Sender::Proxy { self.view.policy().trusted_proxies } else { 0 };
        forwarded_client(request.values("x-forwarded-for"), proxies)
    }

    /// What a decision may know of a request.
    fn facts<'r>(&self, request: &'r Request, listener: u32, host_absent: bool) -> Facts<'r> {
        Facts {
            listener,
            method: request.method.as_bytes(),
            path: request.target.as_bytes(),
            authority: request.authority.as_bytes(),
            scheme: request.scheme(),
            client: self.forwarded_client(listener, request).unwrap_or(CLIENT),
            fields: request,
            host_absent,
            // An injected delay changes when something happens and not what; the action tells of it.
            delayed: true,
        }
    }

    /// The request as everything goes by it.
    fn normal(&self, listener: u32, request: &Request) -> Result<Request, Refused> {
        let policy = self.view.policy();
        let strict = policy.profile == Profile::Strict;
        let limits = HeadLimits::new(policy.head_bytes_max as usize, policy.header_fields_max as usize, strict);
        let headers = head::seen(request, self.sender(listener), &limits)?;
        let mut written = Vec::new();
        let target = normal_target(policy, request.target.as_bytes(), &mut written)?;
        let mut normal = Request { target: String::from_utf8_lossy(target).into_owned(), headers, ..request.clone() };
        if strict && let Some(authority) = self.view.normal_authority(listener, request.authority.as_bytes()) {
            normal.authority = String::from_utf8_lossy(authority.text()).into_owned();
        }
        Ok(normal)
    }

    /// Decides on a request without saying why.
    pub fn verdict(&self, listener: u32, request: &Request) -> Verdict {
        let request = match self.normal(listener, request) {
            Ok(normal) => normal,
            Err(refused) => return (None, Plan::NONE, refused.status),
        };
        let mut host = OnlyHost(None);
        let mut facts = self.facts(&request, listener, true);
        match decide(&self.view, &mut facts, &mut self.state.borrow_mut(), &mut Last, 0, &mut host) {
            Step::Forward(plan) => (host.0, plan.route, 0),
            Step::Reply(local) => (host.0, local.route, local.status),
            Step::Delay(delay) => (host.0, delay.route, 0),
            Step::Ask(_) | Step::Reject(_) => (host.0, Plan::NONE, 0),
        }
    }

    /// Decides on a connection at a TCP listener, or at a TLS listener for this server name, and tells why.
    pub fn explain_tcp(&self, listener: u32, server_name: &str) -> Explanation {
        let mut told = self.blank(listener);
        let protocol = self.view.listeners().get(listener as usize).map(|l| &l.protocol);
        let connection = Connection { listener, client: CLIENT, now: NOW };
        let step = match protocol {
            Some(ListenerProtocol::Tls { .. }) => {
                let name = Some(server_name.as_bytes());
                decide_tls(&self.view, connection, name, &mut self.state.borrow_mut(), &mut Last, &mut ())
            }
            _ => decide_tcp(&self.view, connection, &mut self.state.borrow_mut(), &mut Last, &mut ()),
        };
        told.outcome = match step {
            Step::Forward(plan) => Outcome::Forward {
                target: String::new(),
                authority: String::new(),
                destinations: self.tcp_destinations(listener, &plan),
            },
            Step::Reject(reason) => Outcome::Reject { flags: reason.flags(), details: reason.details() },
            Step::Reply(_) | Step::Ask(_) | Step::Delay(_) => Outcome::Ask,
        };
        match (protocol, step) {
            (_, Step::Forward(plan)) => told.rule = self.rule(plan.rule),
            (Some(ListenerProtocol::Tcp { rule, .. }), _) => told.rule = self.rule(*rule),
            _ => {}
        }
        told
    }

    fn blank(&self, listener: u32) -> Explanation {
        let listener = self.view.listeners().get(listener as usize);
        Explanation {
            node: self.node.clone(),
            listener: listener.map_or(String::new(), |l| l.name.to_string()),
            address: listener.map(|l| l.address),
            role: listener.map(|l| l.role),
            host: None,
            passed: Vec::new(),
            route: None,
            action: Value::Null,
            fault: None,
            outcome: Outcome::Ask,
            rule: self.rule(RuleId(0)),
        }
    }

    fn fault(&self, action: &Action) -> Option<FaultMet> {
        const ALL: f64 = 1_000_000.0;
        let fault = match action {
            Action::Forward(forward) => &forward.fault,
            Action::Redirect(redirect) => &redirect.fault,
            Action::Respond(respond) => &respond.fault,
        };
        let share = |per_million: u32, on: bool| if on { f64::from(per_million) / ALL } else { 0.0 };
        fault.as_ref().map(|fault| FaultMet {
            rule: self.rule(fault.rule),
            delay_ms: fault.delay_ms,
            delay_probability: share(fault.delay_per_million, fault.delay_ms > 0),
            abort_status: fault.abort_status,
            abort_probability: share(fault.abort_per_million, fault.abort_status > 0),
        })
    }

    fn host(&self, id: u32) -> HostMet {
        let host = self.view.host(id);
        let domains = host.model().domains.iter().map(|domain| match domain.port {
            0 => domain.pattern.clone(),
            port => format!("{}:{port}", domain.pattern),
        });
        HostMet { name: host.name.to_string(), domains: domains.collect(), rule: self.rule(host.model().rule) }
    }

    /// The trace names the routes passed in their order.
    fn passed(&self, host: u32, notes: &[Note], request: &Request) -> Vec<Passed> {
        let passed =
            notes.iter().filter_map(|note| if let Note::Passed(rule, miss) = note { Some((rule, miss)) } else { None });
        let routes = &self.view.host(host).model().routes;
        let why = |(route, (rule, miss)): (&ringway_config::model::Route, (&RuleId, &String))| Passed {
            rule: self.rule(*rule),
            why: why::sentence(miss, &route.matches, request),
        };
        routes.iter().zip(passed).map(why).collect()
    }

    /// All that may become of a request that met a plan's route.
    fn forward(&self, plan: &Plan, request: &Request, facts: &Facts<'_>) -> Outcome {
        let route = self.view.host(plan.host).model().routes.get(plan.route as usize);
        let plan = &Plan { action: route.map_or(plan.action, |route| route.action), ..*plan };
        let (target, authority) = self.sent(plan, request);
        Outcome::Forward { target, authority, destinations: self.destinations(plan, request, facts) }
    }

    /// Path and query, and the authority, as a plan's action sends them.
    fn sent(&self, plan: &Plan, request: &Request) -> (String, String) {
        let (forward, _) = self.view.forward(plan);
        let mut target = Vec::new();
        if !self.view.rewrite_path(plan, request.target.as_bytes(), &mut target) {
            target = request.target.clone().into_bytes();
        }
        let authority = if forward.authority.is_empty() { &request.authority } else { &forward.authority };
        (String::from_utf8_lossy(&target).into_owned(), authority.clone())
    }

    fn reply(&self, host: Option<u32>, local: &Local, facts: &Facts<'_>, request: &Request) -> Outcome {
        // One share of a split has nobody to go to, or is answered; the others have, or have nobody in another way.
        if let Some(host) = host
            && let Some(route) = self.view.host(host).model().routes.get(local.route as usize)
            && local.kind != LocalKind::Fault
        {
            let plan = Plan { host, route: local.route, ..NOWHERE };
            let missing = match local.kind {
                LocalKind::ClusterNotFound => Some(true),
                LocalKind::NoHealthyUpstream => Some(false),
                _ => None,
            };
            let alike = |one: &Destination| {
                one.location.is_empty() && one.status == Some(local.status) && Some(one.cluster.is_empty()) == missing
            };
            if (missing.is_some() || route.action != local.action)
                && let Outcome::Forward { target, authority, destinations } = self.forward(&plan, request, facts)
                && !destinations.iter().all(alike)
            {
                return Outcome::Forward { target, authority, destinations };
            }
        }
        let location = self.location(local, facts);
        let body = match local.kind {
            LocalKind::Respond { host, action } => match self.view.action(host, action) {
                Some(Action::Respond(respond)) => respond.body.clone(),
                _ => String::new(),
            },
            _ => local.body().to_string(),
        };
        Outcome::Reply { status: local.status, flags: local.flags(), details: local.details(), location, body }
    }

    fn location(&self, local: &Local, facts: &Facts<'_>) -> String {
        let mut location = Vec::new();
        self.view.location(local, facts, &mut location);
        String::from_utf8_lossy(&location).into_owned()
    }

    fn destinations(&self, plan: &Plan, request: &Request, facts: &Facts<'_>) -> Vec<Destination> {
        let (host, action, route) = (plan.host, plan.action, self.view.route_name(plan));
        let Some(Action::Forward(forward)) = self.view.action(host, action) else { return Vec::new() };
        let alone = forward.backends.len() == 1;
        let total: f64 = forward.backends.iter().map(|b| f64::from(b.weight)).sum();
        let authority = if forward.authority.is_empty() { &request.authority } else { &forward.authority };
        let mut all = Vec::new();
        for (backend, number) in forward.backends.iter().zip(0..) {
            let probability = if alone { 1.0 } else { f64::from(backend.weight) / total };
            if let Some(own) = backend.action.filter(|_| probability > 0.0) {
                let plan = Plan { action: own, ..*plan };
                all.extend(self.own_destination(&plan, self.rule(backend.rule), probability, request, facts));
            } else if probability > 0.0 {
                let cluster = self.view.host(host).cluster(action, number);
                let missing = if backend.missing_status == 0 { 503 } else { backend.missing_status };
                let mut one = self.destination(self.rule(backend.rule), cluster, probability, missing);
                if let Some(cluster) = cluster {
                    let settled = settled(&self.view, cluster, &mut self.state.borrow_mut(), facts);
                    one.settle(settled.map(|endpoint| self.view.endpoint(endpoint).address));
                    let peer = self.view.cluster(cluster).settings.mesh_internal;
                    let rules = Layers::of_request(&forward.request, &backend.request);
                    let name: &str = &self.view.cluster(cluster).name;
                    let client = self.forwarded_client(facts.listener, request).map(|ip| SocketAddr::new(ip, 0));
                    let known = Values { route, cluster: name, hostname: self.view.pod(), client, ..Values::default() };
                    let from = (self.role(facts.listener), self.sender(facts.listener));
                    one.head = head::sent(request, authority, from, rules, known, peer);
                }
                all.push(one);
            }
        }
        all
    }

    /// The destination of a share that has an action of its own.
    fn own_destination(
        &self,
        plan: &Plan,
        rule: Rule,
        share: f64,
        request: &Request,
        facts: &Facts<'_>,
    ) -> Option<Destination> {
        let Plan { host, action, route, .. } = *plan;
        let (status, kind) = match self.view.action(host, action)? {
            Action::Forward(_) => {
                let mut one = self.destinations(plan, request, facts).pop()?;
                one.probability *= share;
                one.endpoints.iter_mut().for_each(|endpoint| endpoint.probability *= share);
                (one.target, one.authority) = self.sent(plan, request);
                return Some(one);
            }
            Action::Redirect(redirect) => (redirect.status, LocalKind::Redirect { host, action }),
            Action::Respond(respond) => (respond.status, LocalKind::Respond { host, action }),
        };
        let local = Local { status, rule: RuleId(0), host, route, action, backend: Plan::NONE, kind };
        let location = self.location(&local, facts);
        Some(Destination { location, ..self.destination(rule, None, share, status) })
    }

    fn tcp_destinations(&self, listener: u32, plan: &Plan) -> Vec<Destination> {
        let Some(listener) = self.view.listeners().get(listener as usize) else { return Vec::new() };
        let (backends, clusters) = match &listener.protocol {
            ListenerProtocol::Tcp { backends, .. } => (backends, &listener.tunnels[0]),
            ListenerProtocol::Tls { routes } => {
                (&routes[plan.route as usize].backends, &listener.tunnels[plan.route as usize])
            }
            ListenerProtocol::Http { .. } => return Vec::new(),
        };
        let total: f64 = backends.iter().map(|b| f64::from(b.weight)).sum();
        let with_cluster = backends.iter().zip(clusters).filter(|(backend, _)| backend.weight > 0);
        let one = |(backend, cluster): (&ringway_config::model::TcpBackend, &Option<u32>)| {
            self.destination(self.rule(plan.rule), *cluster, f64::from(backend.weight) / total, 0)
        };
        with_cluster.map(one).collect()
    }

    fn destination(&self, rule: Rule, cluster: Option<u32>, probability: f64, missing: u16) -> Destination {
        const NO_ENDPOINT: u16 = 503;
        let Some(id) = cluster else {
            let (cluster_rule, cluster) = (self.rule(RuleId(0)), String::new());
            let (settings, endpoints, status) = (Value::Null, Vec::new(), Some(missing));
            return Destination {
                rule,
                head: Vec::new(),
                cluster_rule,
                cluster,
                settings,
                probability,
                endpoints,
                status,
                target: String::new(),
                authority: String::new(),
                location: String::new(),
            };
        };
        let cluster = self.view.cluster(id);
        let endpoints: Vec<Endpoint> = shares(&self.view, id, &mut self.state.borrow_mut(), NOW)
            .into_iter()
            .map(|share| {
                let endpoint = self.view.endpoint(share.endpoint);
                let workload = endpoint.workload.as_deref();
                Endpoint {
                    address: endpoint.address,
                    workload: workload.map_or(String::new(), |w| format!("{}/{}", w.namespace, w.name)),
                    version: workload.map_or(String::new(), |w| w.version.clone()),
                    locality: share.place.as_ref().map_or(String::new(), locality),
                    probability: probability * share.share,
                    draining: endpoint.draining,
                    ejected: share.ejected,
                }
            })
            .collect();
        let status = endpoints.iter().all(|e| e.probability == 0.0).then_some(NO_ENDPOINT);
        Destination {
            rule,
            head: Vec::new(),
            cluster_rule: self.rule(cluster.rule),
            cluster: cluster.name.to_string(),
            settings: dump::content(cluster.blob().model()),
            probability,
            endpoints,
            status,
            target: String::new(),
            authority: String::new(),
            location: String::new(),
        }
    }
}

/// Nobody has seen an endpoint before, so all are equally warm.
const NOW: u64 = 0;

/// `region/zone/subzone`, as far as it is known.
fn locality(place: &Place) -> String {
    let text = format!("{}/{}/{}", place.region, place.zone, place.subzone);
    text.trim_end_matches('/').to_string()
}

/// Who asks: an app reaches its sidecar over loopback.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Destination {
    /// All requests like this one go to one endpoint.
    fn settle(&mut self, address: Option<std::net::SocketAddr>) {
        let Some(address) = address else { return };
        for endpoint in &mut self.endpoints {
            endpoint.probability = if endpoint.address == address { self.probability } else { 0.0 };
        }
    }
}

/// A plan of no host.
const NOWHERE: Plan = Plan {
    rule: RuleId(0),
    host: Plan::NONE,
    route: Plan::NONE,
    action: Plan::NONE,
    backend: 0,
    cluster: 0,
    endpoint: 0,
    slot: ringway_policy::Slot(u32::MAX),
    timeout_ms: 0,
    key: 0,
    cookie: None,
};

/// A request that the proxy takes for none: it answers and closes.
struct Refused {
    status: u16,
    details: &'static str,
}

impl From<PathError> for Refused {
    fn from(error: PathError) -> Refused {
        Refused { status: 400, details: error.name() }
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Refused {
        Refused { status: error.status(), details: error.name() }
    }
}

impl Refused {
    fn outcome(&self) -> Outcome {
        Outcome::Reply {
            status: self.status,
            flags: if self.status < 500 { "DPE" } else { "-" },
            details: self.details,
            location: String::new(),
            body: format!("{}: {}\n", reason(self.status), self.details),
        }
    }
}

impl Request {
    fn values<'r>(&'r self, name: &'r str) -> impl DoubleEndedIterator<Item = &'r [u8]> {
        let named = self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_bytes())
    }

    /// By what its lines say, which are those that the proxy believes.
    fn scheme(&self) -> &'static str {
        scheme(self.values("x-forwarded-proto"))
    }
}

impl Fields for Request {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name.eq_ignore_ascii_case("host") {
            return visit(self.authority.as_bytes());
        }
        self.values(name).for_each(visit);
    }
}

/// Hears of the host alone.
struct OnlyHost(Option<u32>);

impl Trace for OnlyHost {
    const LISTENS: bool = false;

    fn note(&mut self, note: impl FnOnce() -> Note) {
        if self.0.is_none()
            && let Note::Host(id) = note()
        {
            self.0 = Some(id);
        }
    }
}

/// Always the last of what can be drawn: what happens to every request is drawn, what happens to some of them is not.
struct Last;

impl Rng for Last {
    fn random(&mut self) -> u64 {
        u64::MAX
    }
}
