//! What `ringway explain` says about a request: every answer that is possible, with its probability and the rule that decides.

mod edits;
mod tries;

pub use edits::Layers;
use edits::Moment;
pub use tries::Retries;

use crate::generate::request::{Fail, Request, What};
use crate::message::{Answer, Head, edited, is_edited};
use crate::mirrors::Mirror;
use crate::origins::REPLY;
use control_shim::explain::{self, Subject};
use ringway_config::Snapshot;
use ringway_policy::{Rng, State, shares};
use serde_json::Value;

/// Our own peer metadata goes to endpoints with proxies.
pub const PEER: &str = "x-envoy-peer-metadata";
/// What the proxy says when a connection broke before the head of an answer was whole.
pub const BROKEN: &str = "Service Unavailable: upstream_reset_before_response_started{connection_termination}\n";
/// Lines that a proxy writes in the place of those that came.
const IN_PLACE: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];
/// Stands for values that depend on the moment or the machine.
pub const PRESENT: &str = "(present)";

/// A proxy's config, asked without the proxy.
pub struct Oracle {
    subject: Subject,
    listener: u32,
    reading: Reading,
}

/// How a proxy understands what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The order of header edits.
    pub layers: Layers,
    /// What is tried again where nobody wrote it.
    pub retries: Retries,
    /// Where a key leads.
    pub keys: Keys,
}

/// Where consistent hashing leads a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// To the endpoint that `explain` tells.
    Told,
    /// To another one of the same destination: the hash is another.
    Anywhere,
}

/// What may happen to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// What may happen. Probabilities add up to 1.
    pub outcomes: Vec<Outcome>,
    /// Who gets copies of what is sent on.
    pub mirrors: Vec<Mirror>,
    /// A key leads to an endpoint of one of several destinations.
    pub keys_of_several: bool,
    /// What had a say: host, route, destinations.
    pub met: Vec<Met>,
}

/// An object of the manifests that had a say, and the field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    object: [String; 3],
    /// Such as `http[2].match[0]`.
    pub field: String,
}

impl Met {
    fn new(rule: &Value) -> Option<Met> {
        let object = ["kind", "namespace", "name"].map(|key| text(&rule[key]).to_owned());
        (!object[0].is_empty()).then(|| Met { object, field: text(&rule["field"]).to_owned() })
    }

    /// Whether this is the object.
    pub fn is(&self, document: &Value) -> bool {
        let meta = &document["metadata"];
        [&document["kind"], &meta["namespace"], &meta["name"]].into_iter().zip(&self.object).all(|(is, was)| is == was)
    }
}

impl Reading {
    /// What we do.
    pub const OURS: Reading = Reading { layers: Layers::RuleFirst, retries: Retries::Safe, keys: Keys::Told };
}

/// One possibility.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How likely.
    pub probability: f64,
    /// The rule that decides, as the access log names it.
    pub rule: String,
    /// The answer.
    pub answer: Answer,
}

impl Oracle {
    /// On the config of a proxy.
    pub fn new(snapshot: &Snapshot, listener: &str) -> Oracle {
        let subject = Subject::new(snapshot).unwrap_or_else(|e| panic!("the proxy would refuse its config: {e}"));
        let listener = subject.view().listener(listener).unwrap_or_else(|| panic!("there is no listener {listener}"));
        Oracle { subject, listener, reading: Reading::OURS }
    }

    /// What might happen if it were understood so.
    pub fn predict_with(&mut self, reading: Reading, request: &Request) -> Prediction {
        self.reading = reading;
        let prediction = self.predict(request);
        self.reading = Reading::OURS;
        prediction
    }

    /// Whether a key decides on the endpoint at some destination of the request.
    pub fn goes_by_a_key(&mut self, request: &Request) -> bool {
        self.predict(request).outcomes
            != self.predict_with(Reading { keys: Keys::Anywhere, ..Reading::OURS }, request).outcomes
    }

    /// What may happen to a request: all from `explain --output json`.
    pub fn predict(&self, request: &Request) -> Prediction {
        let asked = explain::Request {
            method: request.method.clone(),
            target: request.target.clone(),
            authority: request.authority.clone(),
            headers: request.headers.clone(),
        };
        let told = self.subject.explain(self.listener, &asked, true).json();
        let outcome = &told["outcome"];
        let rule = id(&told["rule"]);
        let trusted = self.subject.view().policy().trusted_proxies;
        let moment = Moment { request, route: text(&told["route"]["name"]), trusted, answer: None };
        let answers = match outcome["kind"].as_str() {
            Some("forward") => self.forward(moment, &told),
            Some("reply") => self.reply(moment, outcome, &told["action"]),
            kind => panic!("{kind:?} for\n{request}\n{told:#}"),
        };
        // A fault that always happens is the outcome itself.
        let aborted = told["fault"]["abort_probability"].as_f64().filter(|share| *share < 1.0).unwrap_or(0.0);
        let mut outcomes: Vec<Outcome> = answers
            .into_iter()
            .map(|(share, answer)| Outcome { probability: share * (1.0 - aborted), rule: rule.clone(), answer })
            .collect();
        if aborted > 0.0 {
            let (status, rule) = (status(&told["fault"]["abort_status"]), id(&told["fault"]["rule"]));
            for (share, reply) in self.edits_of_faults(moment.answered(status, None), &told["action"]) {
                let answer = error(status, "fault filter abort", reply);
                outcomes.push(Outcome { probability: share * aborted, rule: rule.clone(), answer });
            }
        }
        let destinations = list(&outcome["destinations"]);
        let keys_of_several =
            destinations.len() > 1 && destinations.iter().any(|one| one["settings"]["hash"].is_object());
        let clusters = destinations.iter().map(|one| &one["cluster_rule"]);
        let met = [&told["host"]["rule"], &told["route"]["rule"]].into_iter().chain(clusters).filter_map(Met::new);
        let mirrors = self.mirrors(&told["action"]["forward"]["mirrors"]);
        Prediction { outcomes, mirrors, keys_of_several, met: met.collect() }
    }

    /// The mirrors of a rule that have anybody.
    fn mirrors(&self, told: &Value) -> Vec<Mirror> {
        let view = self.subject.view();
        let mut state = State::new();
        state.adopt(view, 0, &mut NoChance, &mut Vec::new());
        let addresses = |mirror: &Value| {
            assert_eq!(mirror["per_million"], 1_000_000, "copies of a share cannot be told request by request");
            let cluster = view.cluster_named(text(&mirror["cluster"]))?;
            let shares = shares(view, cluster, &mut state, 0).into_iter().filter(|share| share.share > 0.0);
            Some(shares.map(|share| view.endpoint(share.endpoint).address).collect())
        };
        list(told).iter().filter_map(addresses).filter(|mirror: &Mirror| !mirror.is_empty()).collect()
    }

    /// The answers of a route's destinations, with their shares.
    fn forward(&self, moment: Moment<'_>, told: &Value) -> Vec<(f64, Answer)> {
        let request = moment.request;
        let (outcome, forward) = (&told["outcome"], &told["action"]["forward"]);
        let mut answers = Vec::new();
        let fail = Fail::of(&request.headers);
        let tries = fail.map_or(1, |fail| self.reading.retries.tries(request, fail, &forward["retry"]));
        let failed = fail.filter(|fail| fail.times >= tries).map(|fail| fail.what);
        for destination in list(&outcome["destinations"]) {
            let rule = &destination["rule"]["id"];
            let backend = list(&forward["backends"]).iter().find(|backend| backend["rule"] == *rule);
            let backend = backend.unwrap_or(&Value::Null);
            let edit = |moment: &Moment<'_>, fields: Vec<(String, String)>| {
                edited(&self.reading.layers.edit(moment, fields, &forward["response"], &backend["response"]))
            };
            let own = |status| edit(&moment.answered(status, None), Vec::new());
            if !destination["status"].is_null() {
                let body = if destination["cluster"].is_null() { "" } else { "no healthy upstream" };
                let status = status(&destination["status"]);
                let answer = error(status, body, own(status));
                answers.push((number(&destination["probability"]), answer));
                continue;
            }
            let told = list(&destination["head"]).iter().map(|pair| owned((text(&pair[0]), text(&pair[1]))));
            let edits = [&forward["request"], &backend["request"]];
            let mut fields = self.in_their_order(moment, told.collect(), edits);
            if !request.body.is_empty() {
                fields.push(("content-length".into(), request.body.len().to_string()));
            }
            if let Some((_, count)) = fields.iter_mut().find(|(name, _)| name == "x-envoy-attempt-count") {
                *count = tries.to_string();
            }
            let status = match failed {
                Some(What::Status(status)) => status,
                Some(What::Cut) => {
                    answers.push((number(&destination["probability"]), broken(tries, own(503))));
                    continue;
                }
                Some(What::Grpc(_)) | None => 200,
            };
            let mut head = Head::new(&format!("{} {}", request.method, text(&outcome["target"])), fields);
            made_up(&mut head);
            let endpoints: Vec<&Value> =
                list(&destination["endpoints"]).iter().filter(|one| one["draining"] == false).collect();
            let keyed = destination["settings"]["hash"].is_object();
            let settled = keyed && endpoints.iter().any(|one| number(&one["probability"]) == 0.0);
            for endpoint in &endpoints {
                let address = text(&endpoint["address"]).parse().unwrap_or_else(|e| panic!("{endpoint}: {e}"));
                let probability = match self.reading.keys {
                    Keys::Anywhere if settled => number(&destination["probability"]) / endpoints.len() as f64,
                    _ => number(&endpoint["probability"]),
                };
                // A second try is for another endpoint, wherever that is.
                let is_elsewhere = tries > 1 && !keyed;
                if probability == 0.0 && !is_elsewhere {
                    continue;
                }
                let reply = edit(&moment.answered(status, Some(address)), REPLY.map(owned).into());
                let answer = Answer::Endpoint { address, status, tries, head: head.clone(), reply };
                answers.push((probability, answer));
            }
        }
        answers
    }

    /// The lines that `told` has, as they are when the edits among them are done in the order of [`Reading::layers`].
    fn in_their_order(
        &self,
        moment: Moment<'_>,
        told: Vec<(String, String)>,
        [rule, destination]: [&Value; 2],
    ) -> Vec<(String, String)> {
        let request = moment.request;
        if self.reading.layers == Layers::RuleFirst {
            return told;
        }
        let is = |names: &[(String, String)], name: &str| names.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        // Of what was received, lines that no rule edits are told as they go on; others that are told are the proxy's own.
        let received = request.headers.iter().filter(|(name, _)| is(&told, name) || is_edited(name)).cloned();
        let received: Vec<_> =
            received.filter(|(name, _)| !IN_PLACE.contains(&name.to_ascii_lowercase().as_str())).collect();
        let own: Vec<_> = told.into_iter().filter(|(name, _)| !is(&received, name) && !is_edited(name)).collect();
        let mut fields = self.reading.layers.edit(&moment, received, rule, destination);
        fields.extend(own);
        fields
    }

    /// The proxy's own answer. Its headers are edited unless no route decided, or it is that to a preflight.
    fn reply(&self, moment: Moment<'_>, outcome: &Value, action: &Value) -> Vec<(f64, Answer)> {
        let moment = moment.answered(status(&outcome["status"]), None);
        let location = outcome["location"].as_str();
        let edits = match outcome["details"].as_str() {
            Some("route_not_found" | "cors_response") => vec![(1.0, Vec::new())],
            Some("fault_filter_abort") => self.edits_of_faults(moment, action),
            _ => self.own_edits(moment, action),
        };
        let answer = |(share, reply)| {
            let answer = Answer::Local {
                status: status(&outcome["status"]),
                tries: 0,
                location: location.map(str::to_owned),
                body: if location.is_some() { String::new() } else { text(&outcome["body"]).to_owned() },
                reply,
            };
            (share, answer)
        };
        edits.into_iter().map(answer).collect()
    }

    /// A fault is not edited where the rule would have answered itself.
    fn edits_of_faults(&self, moment: Moment<'_>, action: &Value) -> Vec<(f64, Vec<(String, String)>)> {
        if action["forward"].is_object() { self.own_edits(moment, action) } else { vec![(1.0, Vec::new())] }
    }

    /// What a rule writes into answers of the proxy's own, by the destination that was drawn, with its share.
    fn own_edits(&self, moment: Moment<'_>, action: &Value) -> Vec<(f64, Vec<(String, String)>)> {
        let own = [&action["forward"], &action["redirect"], &action["respond"]].into_iter().find(|own| own.is_object());
        let rule = own.map_or(&Value::Null, |own| &own["response"]);
        let edit = |destination| edited(&self.reading.layers.edit(&moment, Vec::new(), rule, destination));
        let weight = |backend: &Value| backend["weight"].as_f64().unwrap_or(0.0);
        match own.map_or(&[][..], |own| list(&own["backends"])) {
            [] => vec![(1.0, edit(&Value::Null))],
            [one] => vec![(1.0, edit(&one["response"]))],
            several => {
                let all: f64 = several.iter().map(weight).sum();
                let drawn = several.iter().filter(|one| weight(one) > 0.0);
                drawn.map(|one| (weight(one) / all, edit(&one["response"]))).collect()
            }
        }
    }
}

/// Puts what is sure here in the place of what `explain` can only describe.
fn made_up(head: &mut Head) {
    head.remove("x-envoy-peer-metadata-id");
    for (_, value) in &mut head.fields {
        *value = value.replace("(the client's address)", "127.0.0.1").replace("(the proxy's own workload)", PRESENT);
    }
}

/// For what does not depend on chance.
struct NoChance;

impl Rng for NoChance {
    fn random(&mut self) -> u64 {
        0
    }
}

impl Prediction {
    /// Whether an observed answer is among the possible ones.
    pub fn allows(&self, answer: &Answer) -> bool {
        self.outcomes.iter().any(|outcome| outcome.answer == *answer)
    }

    /// The rules that may have decided on an answer.
    pub fn rules(&self, answer: &Answer) -> Vec<&str> {
        let outcomes = self.outcomes.iter().filter(|outcome| outcome.answer == *answer);
        outcomes.map(|outcome| outcome.rule.as_str()).collect()
    }
}

/// An answer's address, or its status: what frequencies are counted over.
pub fn destination(answer: &Answer) -> String {
    match answer {
        Answer::Endpoint { address, .. } => address.to_string(),
        Answer::Local { status, .. } => status.to_string(),
    }
}

fn error(status: u16, body: &str, reply: Vec<(String, String)>) -> Answer {
    Answer::Local { status, tries: 0, location: None, body: body.into(), reply }
}

/// The answer when the last try broke.
fn broken(tries: usize, reply: Vec<(String, String)>) -> Answer {
    Answer::Local { status: 503, tries, location: None, body: BROKEN.into(), reply }
}

fn id(rule: &Value) -> String {
    rule["id"].as_str().unwrap_or("00000000").to_owned()
}

fn status(value: &Value) -> u16 {
    value.as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_else(|| panic!("{value} is no status"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no probability"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.into(), value.into())
}
