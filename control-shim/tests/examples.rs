//! The examples together cover every kind with every outcome that its fields have.

use control_shim::object::survey::{self, Found, Outcome};
use control_shim::object::{Loaded, ObjectRef};
use control_shim::source::folder;
use control_shim::yaml::{self, Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository").join("examples")
}

fn documents(folder: &Path) -> Vec<Node> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(documents(&path));
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = std::fs::read_to_string(&path).expect("an example");
            all.extend(yaml::parse(&text, &yaml::Budget::default()).expect("YAML"));
        }
    }
    all
}

fn text<'n>(node: &'n Node, key: &str) -> &'n str {
    match node.get(key).map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => text,
        _ => "",
    }
}

/// Outcomes of the fields that a node has.
fn outcomes(node: &Node, path: &str, fields: &BTreeMap<&str, &Found>, into: &mut BTreeSet<Outcome>) {
    let field = fields.get(path);
    if let Some(field) = field {
        let own = match &node.value {
            Value::Scalar { text, .. } => {
                field.values.iter().find(|(value, _)| **value == **text).map(|(_, outcome)| *outcome)
            }
            _ => None,
        };
        into.insert(own.unwrap_or(field.outcome));
        if field.outcome != Outcome::Honoured {
            return;
        }
    }
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| outcomes(item, &format!("{path}[]"), fields, into)),
        Value::Mapping(entries) => {
            for entry in entries.iter() {
                let path = if path.is_empty() { entry.key.to_string() } else { format!("{path}.{}", entry.key) };
                outcomes(&entry.value, &path, fields, into);
            }
        }
        // A ConfigMap holds a document of its own.
        Value::Scalar { text, .. } if field.is_some_and(|field| field.container) => {
            let inner = yaml::parse(text, &yaml::Budget::default()).expect("YAML");
            let mappings = inner.iter().filter(|inner| matches!(inner.value, Value::Mapping(_)));
            mappings.for_each(|inner| outcomes(inner, path, fields, into));
        }
        Value::Scalar { .. } => {}
    }
}

#[test]
fn every_kind_has_an_example_of_every_outcome() {
    let documents = documents(&examples());
    let mut missing = Vec::new();
    for kind in survey::kinds() {
        let found = survey::survey(&kind);
        let fields: BTreeMap<&str, &Found> = found.iter().map(|field| (field.path.as_str(), field)).collect();
        let wanted = found.iter().flat_map(|field| {
            let values = field.values.iter().map(|(_, outcome)| *outcome);
            values.chain([field.outcome])
        });
        let wanted: BTreeSet<Outcome> = wanted.collect();
        let mut shown = BTreeSet::new();
        for document in &documents {
            let group = text(document, "apiVersion").split_once('/').map_or("", |(group, _)| group);
            if group == kind.group && text(document, "kind") == kind.kind {
                outcomes(document, "", &fields, &mut shown);
            }
        }
        missing.extend(wanted.difference(&shown).map(|outcome| {
            let paths = found
                .iter()
                .filter(|field| field.outcome == *outcome || field.values.iter().any(|(_, other)| other == outcome));
            let paths: Vec<&str> = paths.map(|field| field.path.as_str()).take(5).collect();
            format!("{} of {:?}: {outcome:?}, such as {}", kind.kind, kind.group, paths.join(", "))
        }));
    }
    assert!(missing.is_empty(), "kinds and outcomes without an example:\n{}", missing.join("\n"));
}

fn load(name: &str) -> Loaded {
    folder::load(&[examples().join("outcomes").join(name)])
}

#[test]
fn what_is_said_to_be_refused_is_refused_object_by_object() {
    let loaded = load("refused.yaml");
    // One of them only loses a listener, for the sake of the other one.
    let standing: Vec<&str> = loaded.objects.iter().map(|entry| &*entry.object.meta().reference.name).collect();
    assert_eq!(standing, ["listener-alone"]);
    let said: BTreeSet<&ObjectRef> =
        loaded.diagnostics.iter().filter(|found| found.is_error()).filter_map(|found| found.object.as_ref()).collect();
    assert_eq!(said.len(), loaded.broken.len() + standing.len());
}

#[test]
fn what_is_said_to_be_warned_about_is_taken_and_warned_about() {
    let loaded = load("warned.yaml");
    let errors: Vec<String> =
        loaded.diagnostics.iter().filter(|found| found.is_error()).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let warned: BTreeSet<&ObjectRef> = loaded.diagnostics.iter().filter_map(|found| found.object.as_ref()).collect();
    for entry in loaded.objects.iter() {
        let reference = &entry.object.meta().reference;
        assert!(warned.contains(reference), "nothing is said about {reference}");
    }
}
