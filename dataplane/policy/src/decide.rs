//! One decision: authority → host → route → action → destination → endpoint.

use std::net::IpAddr;

use ringway_config::model::{ListenerProtocol, RuleId, TcpBackend, TlsRoute};

use crate::authority::Authority;
use crate::balance::{Choose, below, by_weight, pick};
use crate::facts::{Facts, Rng};
use crate::fault::{Injected, inject};
use crate::key;
use crate::planted;
use crate::state::{Slot, State};
use crate::trace::{Note, Trace};
use crate::view::{Answer, HostView, Request, Share, Split, View};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it there.
    Forward(Plan),
    /// Answer it here.
    Reply(Local),
    /// Something must be known first; decide again with the answer.
    Ask(Question),
    /// Wait, then decide again, [`Facts::delayed`].
    Delay(Delay),
    /// Close without an answer.
    Reject(Reason),
}

/// An opaque connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Index of the listener in the view.
    pub listener: u32,
    /// Address of the client.
    pub client: IpAddr,
    /// The time, in nanoseconds.
    pub now: u64,
}

/// Where a request (or connection) goes, in ids of the view that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Plan {
    /// The rule that decided: the route's, or a TCP listener's.
    pub rule: RuleId,
    pub host: u32,
    pub route: u32,
    pub action: u32,
    /// Index into the action's (or TCP listener's, or TLS route's) backends.
    pub backend: u32,
    pub cluster: u32,
    pub endpoint: u32,
    pub slot: Slot,
    /// Whole exchange; 0 is none.
    pub timeout_ms: u64,
    /// What a cluster with consistent hashing chose by, for another choice of the same request.
    pub key: u64,
    /// A cookie for the client to come back with; [`cookie_text`](crate::cookie_text) is its value.
    pub cookie: Option<u64>,
}

impl Plan {
    /// [`Plan::host`] and [`Plan::action`] of an opaque connection, and [`Plan::route`] of one without a server name to choose by.
    pub const NONE: u32 = u32::MAX;
}

/// An answer that the proxy gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its status.
    pub status: u16,
    /// The rule that decided: of the route, else of the host, else of the listener.
    pub rule: RuleId,
    /// Index of the host that was found; [`Plan::NONE`] when none was.
    pub host: u32,
    /// Index of the route that matched; [`Plan::NONE`] when none did.
    pub route: u32,
    /// Index of its action, or of the one that the destination drawn has of its own; [`Plan::NONE`] without a route.
    pub action: u32,
    /// Index of the destination that was drawn; [`Plan::NONE`] when none was.
    pub backend: u32,
    /// Why.
    pub kind: LocalKind,
}

/// Why the proxy answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LocalKind {
    /// No host has the authority, or none of its routes matches.
    RouteNotFound,
    /// The destination drawn does not exist.
    ClusterNotFound,
    /// The cluster has no endpoint that takes requests.
    NoHealthyUpstream,
    /// [`View::location`] tells where to.
    Redirect { host: u32, action: u32 },
    /// [`View::action`] has the body.
    Respond { host: u32, action: u32 },
    /// An injected fault.
    Fault,
    /// A CORS preflight; [`View::preflight_lines`] has its headers.
    Preflight { host: u32, action: u32 },
}

/// An injected delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub ms: u64,
    /// The rule that injects it.
    pub rule: RuleId,
    /// Index of the route that matched.
    pub route: u32,
}

/// What must be known first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The host that the authority names: it is not in the snapshot, and the listener asks for hosts on demand.
    Host,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The listener is not in this view, or speaks another protocol.
    NoListener,
    /// A TCP listener or TLS route without a destination of any weight.
    NoRoute,
    /// No route of a TLS listener takes the server name.
    NoServerName,
    /// The destination drawn does not exist.
    ClusterNotFound,
    /// A TCP destination without an endpoint that takes connections.
    NoHealthyUpstream,
}

impl Local {
    /// Istio's response flag.
    pub fn flags(&self) -> &'static str {
        match self.kind {
            LocalKind::RouteNotFound => "NR",
            LocalKind::ClusterNotFound => "NC",
            LocalKind::NoHealthyUpstream => "UH",
            LocalKind::Fault => "FI",
            LocalKind::Redirect { .. } | LocalKind::Respond { .. } | LocalKind::Preflight { .. } => "-",
        }
    }

    /// Istio's response code details.
    pub fn details(&self) -> &'static str {
        match self.kind {
            LocalKind::RouteNotFound => "route_not_found",
            LocalKind::ClusterNotFound => "cluster_not_found",
            LocalKind::NoHealthyUpstream => "no_healthy_upstream",
            LocalKind::Redirect { .. } | LocalKind::Respond { .. } => "direct_response",
            LocalKind::Fault => "fault_filter_abort",
            LocalKind::Preflight { .. } => "cors_response",
        }
    }

    /// Istio's body; that of [`LocalKind::Respond`] is in its action.
    pub fn body(&self) -> &'static str {
        match self.kind {
            LocalKind::NoHealthyUpstream => "no healthy upstream",
            LocalKind::Fault => "fault filter abort",
            _ => "",
        }
    }
}

impl Reason {
    /// Istio's response flag.
    pub fn flags(&self) -> &'static str {
        match self {
            Reason::NoListener | Reason::NoRoute | Reason::NoServerName => "NR",
            Reason::ClusterNotFound => "NC",
            Reason::NoHealthyUpstream => "UH",
        }
    }

    /// Istio's details.
    pub fn details(&self) -> &'static str {
        match self {
            Reason::NoListener | Reason::NoServerName => "filter_chain_not_found",
            Reason::NoRoute => "route_not_found",
            Reason::ClusterNotFound => "cluster_not_found",
            Reason::NoHealthyUpstream => "no_healthy_upstream",
        }
    }
}

/// Decides on a request. `state` must have adopted `view`. Allocates nothing, apart from what `trace` and growing scratch buffers take.
pub fn decide(
    view: &View,
    facts: &mut Facts<'_>,
    state: &mut State,
    rng: &mut impl Rng,
    now: u64,
    trace: &mut impl Trace,
) -> Step {
    planted::spend();
    let Some(domains) = view.domains(facts.listener) else { return Step::Reject(Reason::NoListener) };
    let authority = Authority::parse(facts.authority, domains.port);
    let Some((authority, host_id)) = authority.as_ref().and_then(|a| Some((a, domains.find(a)?))) else {
        trace.note(|| Note::NoHost);
        return unknown_host(view, facts, authority.is_some_and(|a| !a.host().is_empty()));
    };
    trace.note(|| Note::Host(host_id));
    let host = view.host(host_id);
    let (path, query) = Request::split_target(facts.path);
    let (method, scheme, fields) = (facts.method, facts.scheme.as_bytes(), facts.fields);
    let request = Request { path, query, method, scheme, authority: authority.texts(), fields };
    let found = host.program.find(&request, &mut state.scratch);
    note_misses(host, found, &request, &mut state.scratch, trace);
    let Some(route) = found else {
        return Found { host: host_id, ..Found::NOTHING }.reply(404, host.program.rule, LocalKind::RouteNotFound);
    };
    let compiled = &host.program.routes[route as usize];
    let (rule, action) = (compiled.rule, compiled.action);
    trace.note(|| Note::Route(rule));
    let mut found = Found { host: host_id, route, action, ..Found::NOTHING };
    if compiled.faulty
        && let Some(fault) = host.program.fault(action)
        && let Some(injected) = inject(fault, facts.delayed, rng)
    {
        return match injected {
            Injected::Delay(ms) => Step::Delay(Delay { ms, rule: fault.rule, route }),
            Injected::Abort(status) => {
                // Whose edits the answer gets.
                if let Answer::Forward(split) = &host.program.answers[action as usize] {
                    found.backend = split.draw(rng).unwrap_or(Plan::NONE);
                    if let Some(own) = split.own(found.backend) {
                        (found.action, found.backend) = (own, 0);
                    }
                }
                found.reply(status, fault.rule, LocalKind::Fault)
            }
        };
    }
    match &host.program.answers[action as usize] {
        Answer::Redirect { status, .. } => found.reply(*status, rule, LocalKind::Redirect { host: host_id, action }),
        Answer::Respond { status, .. } => found.reply(*status, rule, LocalKind::Respond { host: host_id, action }),
        Answer::Forward(split) if split.sharing().is_some_and(|sharing| sharing.answers(&request)) => {
            found.reply(200, rule, LocalKind::Preflight { host: host_id, action })
        }
        Answer::Forward(split) => {
            let met = Met { host: host_id, route, action, rule, facts, query, now };
            met.forward(view, split, state, rng, trace)
        }
    }
}

/// Decides on a connection of a TCP listener: Forward or Reject. `state` must have adopted `view`.
pub fn decide_tcp(
    view: &View,
    connection: Connection,
    state: &mut State,
    rng: &mut impl Rng,
    trace: &mut impl Trace,
) -> Step {
    let Some(listener) = view.listeners().get(connection.listener as usize) else {
        return Step::Reject(Reason::NoListener);
    };
    let ListenerProtocol::Tcp { backends, rule, .. } = &listener.protocol else {
        return Step::Reject(Reason::NoListener);
    };
    let to = Tunnel { from: connection, rule: *rule, route: Plan::NONE, backends, clusters: &listener.tunnels[0] };
    tunnel(view, to, state, rng, trace)
}

/// Decides on a connection of a TLS listener by the server name in its ClientHello, in lower case: Forward or Reject. `state` must have adopted
/// `view`. A plan's route is the index of the listener's.
pub fn decide_tls(
    view: &View,
    connection: Connection,
    server_name: Option<&[u8]>,
    state: &mut State,
    rng: &mut impl Rng,
    trace: &mut impl Trace,
) -> Step {
    let number = connection.listener;
    let (Some(names), Some(listener)) = (view.server_names(number), view.listeners().get(number as usize)) else {
        return Step::Reject(Reason::NoListener);
    };
    let ListenerProtocol::Tls { routes } = &listener.protocol else { return Step::Reject(Reason::NoListener) };
    let found = Authority::parse(server_name.unwrap_or_default(), 0).and_then(|name| names.find(&name));
    let Some(route) = found else {
        trace.note(|| Note::NoHost);
        return Step::Reject(Reason::NoServerName);
    };
    let TlsRoute { rule, backends, .. } = &routes[route as usize];
    trace.note(|| Note::Route(*rule));
    let clusters = &listener.tunnels[route as usize];
    tunnel(view, Tunnel { from: connection, rule: *rule, route, backends, clusters }, state, rng, trace)
}

/// Where opaque bytes may go.
struct Tunnel<'v> {
    from: Connection,
    rule: RuleId,
    route: u32,
    backends: &'v [TcpBackend],
    clusters: &'v [Option<u32>],
}

fn tunnel(view: &View, to: Tunnel<'_>, state: &mut State, rng: &mut impl Rng, trace: &mut impl Trace) -> Step {
    let Tunnel { from, rule, route, backends, clusters } = to;
    let total = backends.iter().map(|b| u64::from(b.weight)).sum();
    let drawn = below(rng, total).and_then(|point| by_weight(backends.iter().map(|b| b.weight), point));
    let Some(backend) = drawn else { return Step::Reject(Reason::NoRoute) };
    trace.note(|| Note::Backend(rule));
    let Some(cluster) = clusters[backend as usize] else { return Step::Reject(Reason::ClusterNotFound) };
    let hash = view.clusters().get(cluster as usize).and_then(|c| c.consistent_hash());
    let key = hash.map_or(0, |hash| key::of_connection(hash, from.client, rng));
    let choose = Choose { now: from.now, key, avoid: None };
    let Some((endpoint, slot)) = pick(view, cluster, state, rng, choose) else {
        return Step::Reject(Reason::NoHealthyUpstream);
    };
    trace.note(|| Note::Endpoint(state.address(slot)));
    Step::Forward(Plan {
        rule,
        host: Plan::NONE,
        route,
        action: Plan::NONE,
        backend,
        cluster,
        endpoint,
        slot,
        timeout_ms: 0,
        key,
        cookie: None,
    })
}

/// The route that a request met.
struct Met<'a> {
    host: u32,
    route: u32,
    action: u32,
    rule: RuleId,
    facts: &'a Facts<'a>,
    query: &'a [u8],
    now: u64,
}

impl Met<'_> {
    fn forward(
        self,
        view: &View,
        split: &Split,
        state: &mut State,
        rng: &mut impl Rng,
        trace: &mut impl Trace,
    ) -> Step {
        let Met { host, route, action, rule, facts, query, now } = self;
        let found = Found { host, route, action, backend: Plan::NONE };
        let Some(backend) = split.draw(rng) else { return found.missing(rule, split.shares.first()) };
        trace.note(|| Note::Backend(split.shares[backend as usize].rule));
        let own = split.own(backend).map(|action| (action, view.host(host).program.answers.get(action as usize)));
        let (split, found) = match own {
            None | Some((_, None)) => (split, Found { backend, ..found }),
            Some((action, Some(answer))) => {
                let found = Found { action, backend: 0, ..found };
                match answer {
                    Answer::Forward(own) => (own, found),
                    Answer::Redirect { status, .. } => {
                        return found.reply(*status, rule, LocalKind::Redirect { host, action });
                    }
                    Answer::Respond { status, .. } => {
                        return found.reply(*status, rule, LocalKind::Respond { host, action });
                    }
                }
            }
        };
        let Found { action, backend, .. } = found;
        let Some(share) = split.shares.get(backend as usize) else { return found.missing(rule, None) };
        let Some(cluster) = view.host(host).cluster_of(share) else { return found.missing(rule, Some(share)) };
        let hash = view.clusters().get(cluster as usize).and_then(|c| c.consistent_hash());
        let key = hash.map(|hash| key::of_request(hash, facts, query, rng));
        let (key, cookie) = key.map_or((0, None), |key| (key.hash, key.cookie));
        let choose = Choose { now, key, avoid: None };
        let Some((endpoint, slot)) = pick(view, cluster, state, rng, choose) else {
            return found.reply(503, rule, LocalKind::NoHealthyUpstream);
        };
        trace.note(|| Note::Endpoint(state.address(slot)));
        let timeout_ms = split.timeout_ms;
        Step::Forward(Plan { rule, host, route, action, backend, cluster, endpoint, slot, timeout_ms, key, cookie })
    }
}

fn unknown_host(view: &View, facts: &Facts<'_>, askable: bool) -> Step {
    let Some(listener) = view.listeners().get(facts.listener as usize) else { return Step::Reject(Reason::NoListener) };
    match &listener.protocol {
        ListenerProtocol::Http { on_demand: true, .. } if askable && !facts.host_absent => Step::Ask(Question::Host),
        _ => Found::NOTHING.reply(404, listener.rule, LocalKind::RouteNotFound),
    }
}

/// The routes above the one found, and why each was passed. The index looked at few of them; they are all tested here, for the one who listens.
fn note_misses(
    host: &HostView,
    found: Option<u32>,
    request: &Request<'_>,
    scratch: &mut Vec<u8>,
    trace: &mut impl Trace,
) {
    fn listens<T: Trace>(_: &T) -> bool {
        T::LISTENS
    }
    if !listens(trace) {
        return;
    }
    let routes = &host.program.routes;
    let end = found.map_or(routes.len(), |route| route as usize);
    for (route, number) in routes[..end].iter().zip(0..) {
        let miss = host.program.miss(number, request, scratch);
        debug_assert!(miss.is_some(), "the index passed over a route that matches");
        trace.note(|| Note::Passed(route.rule, miss.map_or_else(String::new, |m| m.to_string())));
    }
}

/// How far a decision came.
struct Found {
    host: u32,
    route: u32,
    action: u32,
    backend: u32,
}

impl Found {
    const NOTHING: Found = Found { host: Plan::NONE, route: Plan::NONE, action: Plan::NONE, backend: Plan::NONE };

    fn reply(self, status: u16, rule: RuleId, kind: LocalKind) -> Step {
        let Found { host, route, action, backend } = self;
        Step::Reply(Local { status, rule, host, route, action, backend, kind })
    }

    fn missing(self, rule: RuleId, share: Option<&Share>) -> Step {
        let status = share.map_or(0, |s| s.missing_status);
        self.reply(if status == 0 { 503 } else { status }, rule, LocalKind::ClusterNotFound)
    }
}
