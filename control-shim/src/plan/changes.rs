//! What differs between two configurations, seen from one seat: hosts, routes, settings, endpoints.

use super::seats::Side;
use super::{Change, Kind, Seat, without_rules};
use crate::explain::Source;
use crate::lint::reachable;
use ringway_config::diff::{What, values};
use ringway_config::dump;
use ringway_config::model::{EndpointSet, Host, Kind as BlobKind, Model};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Objects with errors that had none before.
pub(super) fn refused(old: &Source, new: &Source) -> Vec<Change> {
    let errors = |source: &Source| match source {
        Source::Manifests { diagnostics, .. } => diagnostics.iter().filter(|d| d.is_error()).cloned().collect(),
        Source::Snapshot(_) | Source::Live(_) => Vec::new(),
    };
    let before: BTreeSet<String> = errors(old).into_iter().map(|error| error.message).collect();
    let fresh = errors(new).into_iter().filter(|error| !before.contains(&error.message));
    let change = |error: crate::diagnostic::Diagnostic| Change {
        kind: Kind::Refused,
        what: error.object.as_ref().map_or_else(|| "a manifest".to_string(), ToString::to_string),
        place: error
            .place
            .as_ref()
            .map_or(String::new(), |place| format!("{}:{}:{}", place.file, place.line, place.column)),
        text: error.message,
        seat: String::new(),
    };
    fresh.map(change).collect()
}

/// Everything that differs at a seat.
pub(super) fn of_seat(seat: &Seat) -> Vec<Change> {
    let mut found = Found { seat: &seat.name, changes: Vec::new() };
    match (&seat.old, &seat.new) {
        (Some(old), Some(new)) => found.both(old, new),
        (Some(_), None) => found.add(Kind::Host, &seat.name, "is gone", String::new()),
        (None, Some(_)) => found.add(Kind::Host, &seat.name, "is new", String::new()),
        (None, None) => {}
    }
    found.changes
}

struct Found<'a> {
    seat: &'a str,
    changes: Vec<Change>,
}

impl Found<'_> {
    fn add(&mut self, kind: Kind, what: &str, text: impl Into<String>, place: String) {
        self.changes.push(Change { kind, what: what.into(), text: text.into(), place, seat: self.seat.into() });
    }

    fn both(&mut self, old: &Side, new: &Side) {
        let names = |kind| {
            let of = |side: &Side| {
                let entries = side.snapshot.root().entries().iter().filter(|entry| entry.kind == kind);
                entries.map(|entry| (entry.name.clone(), entry.hash)).collect::<BTreeMap<_, _>>()
            };
            (of(old), of(new))
        };
        for kind in [BlobKind::Policy, BlobKind::Host, BlobKind::Cluster, BlobKind::Endpoints] {
            let (before, after) = names(kind);
            for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
                if before.get(name) != after.get(name) {
                    let model = |side: &Side| side.snapshot.blob(kind, name).map(|blob| blob.model().clone());
                    self.blob(name, model(old).as_ref(), model(new).as_ref(), (old, new));
                }
            }
        }
    }

    fn blob(&mut self, name: &str, before: Option<&Model>, after: Option<&Model>, sides: (&Side, &Side)) {
        match (before, after) {
            (Some(Model::Host(before)), Some(Model::Host(after))) => self.host(name, before, after, sides),
            (Some(Model::Host(host)), None) => self.add(Kind::Host, name, "is gone", sides.0.place(host.rule)),
            (None, Some(Model::Host(host))) => self.add(Kind::Host, name, "is new", sides.1.place(host.rule)),
            (Some(Model::Endpoints(before)), after) => {
                let empty = EndpointSet::default();
                let after = if let Some(Model::Endpoints(after)) = after { after } else { &empty };
                self.endpoints(name, before, after);
            }
            (None, Some(Model::Endpoints(after))) => self.endpoints(name, &EndpointSet::default(), after),
            (Some(before @ Model::Cluster(_)), Some(after @ Model::Cluster(cluster))) => {
                let content = |model| without_rules(dump::content(model));
                self.fields(name, "", &content(before), &content(after), &sides.1.place(cluster.rule));
            }
            (Some(before @ Model::Policy(_)), Some(after @ Model::Policy(_))) => {
                self.fields("MeshConfig", "", &dump::content(before), &dump::content(after), "");
            }
            // A cluster comes and goes with the routes that lead to it.
            _ => {}
        }
    }

    /// Routes are the same when they ask for the same.
    fn host(&mut self, name: &str, before: &Host, after: &Host, sides: (&Side, &Side)) {
        let (old, new) = (conditions(before), conditions(after));
        let words = |key: &str| if key == ANYTHING { "any request".to_string() } else { key.to_string() };
        for (key, number) in &old {
            let route = &before.routes[*number];
            let Some(now) = new.get(key) else {
                self.add(Kind::Route, name, format!("route for {} is gone", words(key)), sides.0.place(route.rule));
                continue;
            };
            let here = sides.1.place(after.routes[*now].rule);
            let what = format!("route for {}", words(key));
            self.fields(name, &what, &action(before, *number), &action(after, *now), &here);
            if reachable(&before.routes[..*number], route) && !reachable(&after.routes[..*now], &after.routes[*now]) {
                self.add(
                    Kind::Shadowed,
                    name,
                    format!("{what} no longer matches: a route above takes all that it would"),
                    here,
                );
            }
        }
        for (key, number) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            let route = &after.routes[*number];
            let never = if reachable(&after.routes[..*number], route) { "" } else { ", and never matches" };
            self.add(Kind::Route, name, format!("route for {} is new{never}", words(key)), sides.1.place(route.rule));
        }
        let domains = |host: &Host| host.domains.iter().map(|d| (d.pattern.clone(), d.port)).collect::<BTreeSet<_>>();
        let (old, new) = (domains(before), domains(after));
        for (set, other, word) in [(&old, &new, "no longer answers to"), (&new, &old, "answers to")] {
            for (pattern, port) in set.difference(other) {
                let port = if *port == 0 { String::new() } else { format!(":{port}") };
                self.add(Kind::Host, name, format!("{word} {pattern}{port}"), sides.1.place(after.rule));
            }
        }
    }

    fn fields(&mut self, name: &str, what: &str, before: &Value, after: &Value, place: &str) {
        for change in values(before, after) {
            let What::Changed { field, old, new } = change else { continue };
            let kind = kind_of(&field, what.is_empty());
            let lost =
                matches!(kind, Kind::Timeout | Kind::Retries | Kind::Tls) && is_nothing(&new) && !is_nothing(&old);
            let field = field.strip_prefix("forward.").unwrap_or(&field);
            let text = match lost {
                true => format!("{field} is lost, it was {old}"),
                false => format!("{field}: {} → {}", shown(&old), shown(&new)),
            };
            let text = if what.is_empty() { text } else { format!("{what}: {text}") };
            self.add(kind, name, text, place.into());
        }
    }

    fn endpoints(&mut self, name: &str, before: &EndpointSet, after: &EndpointSet) {
        let of = |set: &EndpointSet| {
            let named = |endpoint: &ringway_config::model::Endpoint| {
                let workload = set.workloads.get(endpoint.workload as usize);
                let workload = workload.map_or(String::new(), |w| format!(" ({}/{})", w.namespace, w.name));
                (endpoint.address, (format!("{}{workload}", endpoint.address), endpoint.weight, endpoint.draining))
            };
            set.endpoints.iter().map(named).collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (of(before), of(after));
        for (address, (text, weight, draining)) in &old {
            match new.get(address) {
                None => self.add(Kind::Endpoints, name, format!("{text} is gone"), String::new()),
                Some((_, now, drains)) if (now, drains) != (weight, draining) => {
                    let drains = if *drains { ", draining" } else { "" };
                    self.add(Kind::Endpoints, name, format!("{text}: weight {weight} → {now}{drains}"), String::new());
                }
                Some(_) => {}
            }
        }
        for (_, (text, ..)) in new.iter().filter(|(address, _)| !old.contains_key(address)) {
            self.add(Kind::Endpoints, name, format!("{text} is new"), String::new());
        }
        let takes = |set: &EndpointSet| set.endpoints.iter().any(|endpoint| !endpoint.draining && endpoint.weight > 0);
        if takes(before) && !takes(after) {
            self.add(Kind::Endpoints, name, "nobody is left: requests get 503", String::new());
        }
    }
}

/// The key of a route without conditions.
const ANYTHING: &str = "{}";

/// What each route asks for → its number; of equal ones the first counts.
fn conditions(host: &Host) -> BTreeMap<String, usize> {
    let content = dump::content(&Model::Host(host.clone()));
    let mut all = BTreeMap::new();
    for (route, number) in content["routes"].as_array().into_iter().flatten().zip(0..) {
        let asked: serde_json::Map<String, Value> = route
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| !matches!(key.as_str(), "rule" | "name" | "action") && !is_nothing(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        all.entry(Value::Object(asked).to_string()).or_insert(number);
    }
    all
}

fn action(host: &Host, route: usize) -> Value {
    let action = host.routes.get(route).and_then(|route| host.actions.get(route.action as usize));
    action.map(|action| without_rules(dump::action(action))).unwrap_or_default()
}

fn kind_of(field: &str, cluster: bool) -> Kind {
    if field.contains("tls") {
        Kind::Tls
    } else if field.contains("retr") {
        Kind::Retries
    } else if field.contains("timeout") {
        Kind::Timeout
    } else if cluster {
        Kind::Settings
    } else if field.ends_with("weight") {
        Kind::Weights
    } else {
        Kind::Route
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
