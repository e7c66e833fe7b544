//! What the evaluator says about a request: every answer that is possible, with its probability and the rule that decides.

use std::net::Ipv4Addr;

use crate::dice::Dice;
use crate::generate::request::Request;
use crate::message::{Answer, Head, edited};
use crate::origins::REPLY;
use ringway_config::Snapshot;
use ringway_config::model::{Action, Backend, Forward, HeaderEdits, Role, RuleId};
use ringway_policy::{Facts, Fields, Local, LocalKind, Note, Plan, State, Step, View, decide};

/// Draws after which every live destination has been met: the smallest share is 1 in 181.
const DRAWS_MAX: usize = 4096;
/// Our own peer metadata goes to endpoints with proxies.
pub const PEER: &str = "x-envoy-peer-metadata";
/// Stands for values that depend on the moment or the machine.
pub const PRESENT: &str = "(present)";

/// A proxy's config, asked without the proxy.
pub struct Oracle {
    view: View,
    listener: u32,
    state: State,
    dice: Dice,
}

/// What may happen to a request.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The rule that decides, as the access log names it.
    pub rule: RuleId,
    /// What may happen. Probabilities add up to 1.
    pub outcomes: Vec<Outcome>,
}

/// One possibility.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How likely.
    pub probability: f64,
    /// The answer.
    pub answer: Answer,
}

impl Oracle {
    /// On the config of a proxy.
    pub fn new(snapshot: &Snapshot, listener: &str) -> Oracle {
        let view = View::build(snapshot, None).unwrap_or_else(|e| panic!("the proxy would refuse its config: {e}"));
        let listener = view.listener(listener).unwrap_or_else(|| panic!("there is no listener {listener}"));
        let (mut state, mut dice) = (State::new(), Dice::new(0, 0));
        state.adopt(&view, 0, &mut dice, &mut Vec::new());
        Oracle { view, listener, state, dice }
    }

    /// What may happen to a request.
    pub fn predict(&mut self, request: &Request) -> Prediction {
        let mut facts = Facts {
            listener: self.listener,
            method: request.method.as_bytes(),
            path: request.target.as_bytes(),
            authority: request.authority.as_bytes(),
            scheme: "http",
            client: Ipv4Addr::LOCALHOST.into(),
            fields: &Lines(&request.headers),
            host_absent: true,
            delayed: false,
        };
        let mut notes = Vec::new();
        let mut step = decide(&self.view, &mut facts, &mut self.state, &mut self.dice, 0, &mut notes);
        let host = notes.iter().find_map(|note| if let Note::Host(host) = note { Some(*host) } else { None });
        let missing = |step: &Step| {
            let Step::Reply(local) = step else { return None };
            matches!(local.kind, LocalKind::ClusterNotFound | LocalKind::NoHealthyUpstream)
                .then_some((local.rule, local.route))
        };
        // One destination of several may be missing, and drawn first.
        for _ in 0..DRAWS_MAX {
            if missing(&step).is_some() {
                step = decide(&self.view, &mut facts, &mut self.state, &mut self.dice, 0, &mut ());
            }
        }
        match (&step, missing(&step), host) {
            (Step::Forward(plan), ..) => self.forwards(request, plan.host, plan.route, plan.rule, Some(*plan)),
            (_, Some((rule, route)), Some(host)) => self.forwards(request, host, route, rule, None),
            (Step::Reply(local), ..) => {
                let answer = self.local(local, &facts);
                Prediction { rule: local.rule, outcomes: vec![Outcome { probability: 1.0, answer }] }
            }
            _ => panic!("{step:?} for\n{request}"),
        }
    }

    fn forwards(&self, request: &Request, host: u32, route: u32, rule: RuleId, plan: Option<Plan>) -> Prediction {
        let view = self.view.host(host);
        let action = view.routes()[route as usize].action;
        let Action::Forward(forward) = &view.actions()[action as usize] else { panic!("{rule:?} does not forward") };
        let total: u32 = forward.backends.iter().map(|backend| backend.weight).sum();
        let mut outcomes = Vec::new();
        for (backend, number) in forward.backends.iter().zip(0..) {
            let share = match forward.backends.len() {
                1 => 1.0,
                _ => f64::from(backend.weight) / f64::from(total),
            };
            if share == 0.0 {
                continue;
            }
            let Some(cluster) = view.cluster(action, number) else {
                let status = if backend.missing_status == 0 { 503 } else { backend.missing_status };
                outcomes.push(Outcome { probability: share, answer: proxy_says(status, "") });
                continue;
            };
            let cluster = self.view.cluster(cluster);
            let endpoints: Vec<_> =
                cluster.endpoints.clone().map(|id| self.view.endpoint(id)).filter(|e| !e.draining).collect();
            let weights: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
            if endpoints.is_empty() {
                outcomes.push(Outcome { probability: share, answer: proxy_says(503, "no healthy upstream") });
            }
            for endpoint in endpoints {
                let plan = plan.map(|plan| Plan { backend: number, ..plan });
                let answer = Answer::Endpoint {
                    address: endpoint.address,
                    head: self.head(request, forward, backend, plan, cluster.model.mesh_internal),
                    reply: edited(&edit(REPLY.map(owned), [&forward.response, &backend.response])),
                };
                let probability = share * f64::from(endpoint.weight) / f64::from(weights);
                outcomes.push(Outcome { probability, answer });
            }
        }
        Prediction { rule, outcomes }
    }

    /// The request's head as an endpoint sees it.
    fn head(&self, request: &Request, forward: &Forward, backend: &Backend, plan: Option<Plan>, peers: bool) -> Head {
        let role = self.view.listeners()[self.listener as usize].role;
        let mut path = Vec::new();
        let rewritten = plan.is_some_and(|plan| self.view.rewrite_path(&plan, request.target.as_bytes(), &mut path));
        let target = if rewritten { String::from_utf8_lossy(&path).into_owned() } else { request.target.clone() };
        let authority = if forward.authority.is_empty() { &request.authority } else { &forward.authority };
        let mut fields = edit(request.headers.clone(), [&forward.request, &backend.request]);
        fields.push(owned(("host", authority)));
        fields.push(owned(("x-forwarded-proto", "http")));
        if role == Role::Gateway {
            fields.push(owned(("x-forwarded-for", "127.0.0.1")));
        }
        if peers {
            fields.push(owned((PEER, PRESENT)));
        }
        if !request.body.is_empty() {
            fields.push(("content-length".into(), request.body.len().to_string()));
        }
        Head::new(&format!("{} {target}", request.method), fields)
    }

    fn local(&self, local: &Local, facts: &Facts<'_>) -> Answer {
        let (host, action) = match local.kind {
            LocalKind::Redirect { host, action } | LocalKind::Respond { host, action } => (host, action),
            _ => return proxy_says(local.status, ""),
        };
        let mut location = Vec::new();
        self.view.location(local, facts, &mut location);
        let (body, edits) = match self.view.action(host, action) {
            Some(Action::Redirect(redirect)) => ("", &redirect.response),
            Some(Action::Respond(respond)) => (respond.body.as_str(), &respond.response),
            _ => panic!("{local:?} has no answer"),
        };
        Answer::Local {
            status: local.status,
            location: (!location.is_empty()).then(|| String::from_utf8_lossy(&location).into_owned()),
            body: body.into(),
            reply: edited(&edit(Vec::new(), [edits])),
        }
    }
}

impl Prediction {
    /// Whether an observed answer is among the possible ones.
    pub fn allows(&self, answer: &Answer) -> bool {
        self.outcomes.iter().any(|outcome| outcome.answer == *answer)
    }
}

/// An answer's address, or its status: what frequencies are counted over.
pub fn destination(answer: &Answer) -> String {
    match answer {
        Answer::Endpoint { address, .. } => address.to_string(),
        Answer::Local { status, .. } => status.to_string(),
    }
}

fn proxy_says(status: u16, body: &str) -> Answer {
    Answer::Local { status, location: None, body: body.into(), reply: Vec::new() }
}

/// Edits in Istio's order, level by level: remove, set, add.
fn edit<const N: usize>(fields: impl Into<Vec<(String, String)>>, levels: [&HeaderEdits; N]) -> Vec<(String, String)> {
    let mut fields = fields.into();
    for edits in levels {
        let gone = edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name));
        gone.for_each(|gone| fields.retain(|(name, _)| !name.eq_ignore_ascii_case(gone)));
        fields.extend(edits.set.iter().chain(&edits.add).cloned());
    }
    fields
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.into(), value.into())
}

/// Header lines as the policy looks at them.
struct Lines<'a>(&'a [(String, String)]);

impl Fields for Lines<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).for_each(|(_, value)| visit(value.as_bytes()));
    }
}
