//! Which fields of manifests the cases had: those of the rule that decided, and of what made the destinations what they are.

use crate::generate::{Mesh, Place};
use crate::predict::Met;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Keys below which the names are users' own.
const NAMED: [&str; 10] = [
    "headers",
    "withoutHeaders",
    "queryParams",
    "set",
    "add",
    "labels",
    "sourceLabels",
    "matchLabels",
    "to",
    "selector",
];
/// Fields whose values are features of their own.
const WORDS: [&str; 9] =
    ["derivePort", "kind", "location", "mode", "protocol", "resolution", "simple", "type", "unmatchedPreflights"];
/// Lists whose length matters.
const SHARED: [&str; 3] = [".route", ".backendRefs", ".mirrors"];
/// Alternatives, of which one decides.
const ALTERNATIVES: [&str; 3] = ["match", "matches", "subsets"];
/// The list of all features.
const LISTED: &str = include_str!("../features.txt");

/// How many cases had which feature.
#[derive(Default)]
pub struct Coverage {
    cases: usize,
    counts: BTreeMap<String, usize>,
}

impl Coverage {
    /// Counts a case in which these rules had a say.
    pub fn note(&mut self, mesh: &Mesh, place: Place, met: &[Met]) {
        let mut features = BTreeSet::from([format!("at the {}", place.name())]);
        for met in met {
            let object = mesh.documents.iter().find(|document| met.is(document));
            object.into_iter().for_each(|object| of_object(object, &met.field, &mut features));
            object.into_iter().for_each(|object| of_others(&mesh.documents, object, &mut features));
        }
        let holds = |one: &&Value| match one["kind"].as_str() {
            Some("Sidecar") => place == Place::Sidecar,
            Some("Gateway") => place == Place::Edge && one["spec"]["selector"]["istio"] == "edge",
            _ => false,
        };
        let around: Vec<&Value> = mesh.documents.iter().filter(holds).collect();
        let gateways = around.iter().filter(|one| one["kind"] == "Gateway").count();
        features.extend((gateways > 1).then(|| "Gateway, several at one port".to_owned()));
        for one in around {
            of_fields(&one["spec"], one["kind"].as_str().unwrap_or_default(), ("", None), &mut features);
        }
        self.cases += 1;
        features.into_iter().for_each(|feature| *self.counts.entry(feature).or_default() += 1);
    }

    /// Takes in what was counted elsewhere.
    pub fn extend(&mut self, other: Coverage) {
        self.cases += other.cases;
        other.counts.into_iter().for_each(|(feature, count)| *self.counts.entry(feature).or_default() += count);
    }

    /// How many cases there were.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// `Err` where a feature of `features.txt` occurs less than this often, or one occurs that is not there.
    pub fn check(&self, at_least: usize) -> Result<(), String> {
        let listed: BTreeSet<&str> = LISTED.lines().collect();
        let count = |feature: &str| self.counts.get(feature).copied().unwrap_or(0);
        let rare: Vec<_> =
            listed.iter().filter(|feature| count(feature) < at_least).map(|f| format!("{} {f}", count(f))).collect();
        let new: Vec<_> = self.counts.keys().filter(|feature| !listed.contains(feature.as_str())).cloned().collect();
        if rare.is_empty() && new.is_empty() {
            return Ok(());
        }
        Err(format!("less than {at_least} times:\n{}\nnot in features.txt:\n{}", rare.join("\n"), new.join("\n")))
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases by what decided on them:", self.cases)?;
        self.counts.iter().try_for_each(|(feature, count)| writeln!(f, "{count:8} {feature}"))
    }
}

/// What an object has to do with others: who sees it, and who else has its hosts.
fn of_others(all: &[Value], object: &Value, features: &mut BTreeSet<String>) {
    let (kind, spec) = (object["kind"].as_str().unwrap_or_default(), &object["spec"]);
    let annotation = &object["metadata"]["annotations"]["networking.istio.io/exportTo"];
    if spec["exportTo"].is_array() || annotation.is_string() {
        features.insert(format!("{kind} exportTo"));
    }
    let hosts = if kind == "HTTPRoute" { "hostnames" } else { "hosts" };
    let same = |one: &&Value| one["kind"] == *kind && one["spec"][hosts] == spec[hosts];
    if spec[hosts].is_array() && all.iter().filter(same).count() > 1 {
        features.insert(format!("{kind} {hosts}, of several"));
    }
}

/// The features of an object of which this field had a say (`http[1].match[0]`, `subsets[0]`, `ports[80]`).
fn of_object(object: &Value, field: &str, features: &mut BTreeSet<String>) {
    let kind = object["kind"].as_str().unwrap_or_default();
    features.insert(kind.to_owned());
    let mut steps = field.split('.').map(step);
    let first = steps.next().unwrap_or((field, None));
    match (kind, first) {
        ("VirtualService" | "HTTPRoute", (list, Some(at))) => {
            let rule = &object["spec"][list][at];
            let (key, at) = steps.next().unwrap_or(("", None));
            of_fields(rule, &format!("{kind} {list}"), (key, at), features);
        }
        // The objects that routes stand in declare hosts too.
        ("VirtualService" | "HTTPRoute" | "Gateway", (field, _)) => {
            features.insert(format!("{kind} {field}"));
        }
        ("DestinationRule", (list, Some(at))) => {
            // A subset's policy has the fields of the rule's, and so has a port's.
            features.insert(format!("{kind} {list}"));
            of_fields(&object["spec"][list][at]["trafficPolicy"], "DestinationRule trafficPolicy", first, features);
            of_fields(&object["spec"]["trafficPolicy"], "DestinationRule trafficPolicy", first, features);
        }
        _ => of_fields(&object["spec"], kind, first, features),
    }
}

/// A name with the number in brackets behind it.
fn step(text: &str) -> (&str, Option<usize>) {
    let parts = text.strip_suffix(']').and_then(|text| text.split_once('['));
    parts.map_or((text, None), |(name, at)| (name, at.parse().ok()))
}

/// The features below `path`. Of alternatives, the one that decided.
fn of_fields(value: &Value, path: &str, decided: (&str, Option<usize>), features: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let named = path.rsplit(['.', ' ']).next().is_some_and(|key| NAMED.contains(&key));
                // `headers` of a rule has fields, that of a match has names.
                let named = named && name != "request" && name != "response";
                let space = if path.contains(' ') { '.' } else { ' ' };
                let path = if named { format!("{path}.*") } else { format!("{path}{space}{name}") };
                let path = path.replace("portLevelSettings.loadBalancer", "loadBalancer");
                let path = path.replace("portLevelSettings.outlierDetection", "outlierDetection");
                match value {
                    Value::Array(all) if ALTERNATIVES.contains(&name.as_str()) => {
                        let one = decided.1.filter(|_| decided.0 == name).and_then(|at| all.get(at));
                        one.into_iter().for_each(|one| of_fields(one, &path, decided, features));
                    }
                    Value::String(word) if WORDS.contains(&name.as_str()) => {
                        features.insert(format!("{path}: {word}"));
                    }
                    _ => of_fields(value, &path, decided, features),
                }
            }
        }
        Value::Array(all) => {
            if all.len() > 1 && SHARED.iter().any(|list| path.ends_with(list)) {
                features.insert(format!("{path}, several"));
            }
            all.iter().for_each(|one| of_fields(one, path, decided, features));
        }
        _ => {}
    }
    let is_leaf = value.as_object().is_none_or(serde_json::Map::is_empty) && !value.is_array();
    if is_leaf || value.as_array().is_some_and(|all| all.iter().all(|one| !one.is_object())) {
        features.insert(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fields_of_the_match_that_decided_count() {
        let object = json!({"kind": "VirtualService", "spec": {"hosts": ["a"], "http": [
            {"redirect": {"uri": "/"}},
            {
                "match": [{"uri": {"exact": "/"}}, {"headers": {"x-user": {"prefix": "a"}, "x-env": {}}}],
                "route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}],
                "headers": {"request": {"set": {"a": "b"}, "remove": ["c"]}},
            },
        ]}});
        let mut features = BTreeSet::new();
        of_object(&object, "http[1].match[1]", &mut features);
        let expected = [
            "VirtualService",
            "VirtualService http.headers.request.remove",
            "VirtualService http.headers.request.set.*",
            "VirtualService http.match.headers.*",
            "VirtualService http.match.headers.*.prefix",
            "VirtualService http.route, several",
            "VirtualService http.route.destination.host",
        ];
        assert_eq!(features.into_iter().collect::<Vec<_>>(), expected);
    }
}
