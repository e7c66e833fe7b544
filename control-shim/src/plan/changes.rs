//! What differs between two configurations, seen from one seat: hosts, routes, settings, endpoints.

use super::seats::Side;
use super::{Change, Kind, Seat, without_rules};
use crate::explain::{Source, conditions, said};
use crate::lint::reachable;
use ringway_config::diff::{What, values};
use ringway_config::dump;
use ringway_config::model::{EndpointSet, Host, Kind as BlobKind, Model};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

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
        self.reached(old, new);
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
            // Where the cluster is not there on both sides, nothing says that requests miss these addresses.
            (Some(Model::Endpoints(before)), Some(Model::Endpoints(after))) => self.endpoints(name, before, after),
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
        let (old, new) = (by_conditions(before), by_conditions(after));
        for (key, number) in &old {
            let route = &before.routes[*number];
            let Some(now) = new.get(key) else {
                self.add(
                    Kind::Route,
                    name,
                    format!("route for {} is gone", conditions(&route.matches)),
                    sides.0.place(route.rule),
                );
                continue;
            };
            let here = sides.1.place(after.routes[*now].rule);
            let what = format!("route for {}", conditions(&route.matches));
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
        for (_, number) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            let route = &after.routes[*number];
            let never = if reachable(&after.routes[..*number], route) { "" } else { ", and never matches" };
            self.add(
                Kind::Route,
                name,
                format!("route for {} is new{never}", conditions(&route.matches)),
                sides.1.place(route.rule),
            );
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
        let said = |text: String| if what.is_empty() { text } else { format!("{what}: {text}") };
        let (mut comes, mut goes) = (Vec::new(), Vec::new());
        for change in values(before, after) {
            let What::Changed { field, old, new } = change else { continue };
            let field = field.strip_prefix("forward.").unwrap_or(&field);
            // The order of destinations decides nothing.
            if field == "backends order" {
                continue;
            }
            if let Some(cluster) = field.strip_prefix("backends[").and_then(|rest| rest.strip_suffix(']')) {
                if new.is_null() {
                    goes.push(destination(cluster))
                } else {
                    comes.push(destination(cluster))
                }
                continue;
            }
            let kind = kind_of(field, what.is_empty());
            let lost =
                matches!(kind, Kind::Timeout | Kind::Retries | Kind::Tls) && is_nothing(&new) && !is_nothing(&old);
            let key = field.rsplit(['.', ']']).next().unwrap_or(field);
            let (old, new) = (shown(key, &old), shown(key, &new));
            let text =
                if lost { format!("{field} is lost, it was {old}") } else { format!("{field}: {old} → {new}") };
            self.add(kind, name, said(text), place.into());
        }
        let (comes, goes) = (comes.join(", "), goes.join(", "));
        let text = match (comes.is_empty(), goes.is_empty()) {
            (true, true) => return,
            (false, true) => format!("also goes to {comes}"),
            (true, false) => format!("no longer goes to {goes}"),
            (false, false) => format!("goes to {comes}, no longer to {goes}"),
        };
        self.add(Kind::Route, name, said(text), place.into());
    }

    /// Addresses that something leads to on one side alone.
    fn reached(&mut self, old: &Side, new: &Side) {
        let (before, after) = (reach(old), reach(new));
        let mut changed: BTreeMap<(&str, bool), Vec<String>> = BTreeMap::new();
        for (from, other, fresh) in [(&before, &after, false), (&after, &before, true)] {
            for (address, workload) in from.iter().filter(|(address, _)| !other.contains_key(*address)) {
                changed.entry((workload.as_str(), fresh)).or_default().push(address.to_string());
            }
        }
        for ((workload, fresh), addresses) in changed {
            let word = if fresh { "is reached now" } else { "is no longer reached by anything" };
            let more = addresses.len().saturating_sub(ADDRESSES_SHOWN_MAX);
            let mut list = addresses[..addresses.len() - more].join(", ");
            if more > 0 {
                list.push_str(&format!(" and {more} more"));
            }
            let what = if workload.is_empty() { "an endpoint" } else { workload };
            self.add(Kind::Endpoints, what, format!("{list} {word}"), String::new());
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

/// Addresses of a workload that a change names.
const ADDRESSES_SHOWN_MAX: usize = 5;

/// `host:port`, and the subset if there is one, of `outbound|PORT|SUBSET|HOST`.
fn destination(cluster: &str) -> String {
    let parts: Vec<&str> = cluster.split('|').collect();
    match parts[..] {
        [_, port, "", host] => format!("{host}:{port}"),
        [_, port, subset, host] => format!("{host}:{port} subset {subset}"),
        _ => cluster.to_string(),
    }
}

/// Every address that takes requests from there, with its workload (`namespace/name`).
fn reach(side: &Side) -> BTreeMap<SocketAddr, String> {
    let mut all = BTreeMap::new();
    for blob in side.snapshot.blobs() {
        let Model::Endpoints(set) = blob.model() else { continue };
        for endpoint in set.endpoints.iter().filter(|endpoint| endpoint.weight > 0 && !endpoint.draining) {
            let workload = set.workloads.get(endpoint.workload as usize);
            let name = workload.map_or(String::new(), |workload| format!("{}/{}", workload.namespace, workload.name));
            all.insert(endpoint.address, name);
        }
    }
    all
}

/// What each route asks for → its number; of equal ones the first counts.
fn by_conditions(host: &Host) -> BTreeMap<String, usize> {
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
    let action = host.routes.get(route).map(|route| dump::action_of(host, route.action));
    action.map(without_rules).unwrap_or_default()
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

fn shown(key: &str, value: &Value) -> String {
    if let Some(said) = said(key, value) {
        return said;
    }
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
