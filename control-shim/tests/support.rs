//! docs/support.md says what the decoders do, and the decoders know every field of the kinds' own schemas.

use control_shim::object::{markdown, survey};
use control_shim::yaml::{self, Node, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository")
}

/// `make fields` sets it: the list is written instead of compared.
const WRITE: &str = "RINGWAY_WRITE_FIELDS";

#[test]
fn the_list_of_every_field_is_up_to_date() {
    let path = repository().join("docs/support.md");
    let document = std::fs::read_to_string(&path).expect("docs/support.md");
    let (before, rest) = document.split_once(markdown::BEGIN).expect("the list begins");
    let (listed, after) = rest.split_once(markdown::END).expect("the list ends");
    let listed = format!("{}{listed}{}", markdown::BEGIN, markdown::END);
    let made = markdown::markdown();
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(&path, format!("{before}{made}{after}")).expect("written");
    }
    let missing = made.lines().find(|line| !listed.lines().any(|other| other == *line));
    let stale = listed.lines().find(|line| !made.lines().any(|other| other == *line));
    assert!(
        listed == made,
        "docs/support.md is not what the decoders say; `make fields` mends it. Missing: {missing:?}, stale: {stale:?}"
    );
}

#[test]
fn each_field_has_one_outcome() {
    for kind in survey::kinds() {
        let found = survey::survey(&kind);
        assert!(found.len() > 2, "{}: {found:?}", kind.kind);
        let paths: BTreeSet<&str> = found.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths.len(), found.len(), "{}", kind.kind);
    }
}

#[test]
fn known_fields_come_out_as_known() {
    use survey::Outcome::{Error, Honoured, Silent};
    let found = |kind: &str, group: &str| {
        let kinds = survey::kinds();
        let kind = kinds.iter().find(|known| known.kind == kind && known.group == group).expect("a kind");
        survey::survey(kind)
    };
    let services = found("VirtualService", "networking.istio.io");
    for (path, outcome) in [
        ("spec.http[].route[].weight", Honoured),
        ("spec.http[].route[].destination.subset", Honoured),
        ("spec.http[].match[].uri.prefix", Honoured),
        ("status", Silent),
        ("metadata.uid", Silent),
    ] {
        let field = services.iter().find(|field| field.path == path);
        assert_eq!(field.map(|field| field.outcome), Some(outcome), "{path}");
    }
    let rules = found("DestinationRule", "networking.istio.io");
    let simple =
        rules.iter().find(|field| field.path == "spec.trafficPolicy.loadBalancer.simple").expect("it is there");
    assert_eq!(
        (simple.outcome, simple.values.contains(&("PASSTHROUGH".into(), Error))),
        (Honoured, true),
        "{simple:?}"
    );
}

/// The kinds' own schemas lie beside the repository, or nowhere.
#[test]
fn every_field_of_the_schemas_is_known() {
    let Some(folder) = schemas() else {
        return println!("SKIPPED: no CRD schemas: neither RINGWAY_SHARED_DATA nor ../shared/data has a folder crds");
    };
    let mut unknown = Vec::new();
    let mut kinds_seen = 0;
    for document in documents(&folder) {
        let Some(spec) = document.get("spec") else { continue };
        let (group, names) = (text(spec.get("group")), spec.get("names").and_then(|names| names.get("kind")));
        let kind = text(names);
        let kinds = survey::kinds();
        let Some(known) = kinds.iter().find(|known| known.group == group && known.kind == kind) else { continue };
        kinds_seen += 1;
        let fields = survey::survey(known);
        for version in items(spec.get("versions")) {
            if !known.versions.contains(&text(version.get("name")).as_str()) {
                continue;
            }
            let schema = version.get("schema").and_then(|schema| schema.get("openAPIV3Schema"));
            if let Some(schema) = schema {
                walk(schema, "", &fields, &mut |path| unknown.push(format!("{kind}: {path}")));
            }
        }
    }
    unknown.sort();
    unknown.dedup();
    assert!(kinds_seen >= 6, "only {kinds_seen} kinds have schemas in {}", folder.display());
    assert!(unknown.is_empty(), "fields without an outcome:\n{}", unknown.join("\n"));
}

fn schemas() -> Option<PathBuf> {
    let named = std::env::var_os("RINGWAY_SHARED_DATA").map(PathBuf::from);
    let beside = repository().parent().map(|parent| parent.join("shared/data"));
    named.into_iter().chain(beside).map(|data| data.join("crds")).find(|folder| folder.is_dir())
}

fn documents(folder: &Path) -> Vec<Node> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(documents(&path));
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = std::fs::read_to_string(&path).expect("a schema");
            let budget = yaml::Budget::default();
            all.extend(
                yaml::parse(&text, &budget).unwrap_or_else(|error| panic!("{}: {}", path.display(), error.message)),
            );
        }
    }
    all
}

/// Goes down the properties as far as the decoders do.
fn walk(schema: &Node, path: &str, fields: &[survey::Found], unknown: &mut impl FnMut(&str)) {
    if let Some(items) = schema.get("items") {
        return walk(items, &format!("{path}[]"), fields, unknown);
    }
    let Some(Value::Mapping(properties)) = schema.get("properties").map(|node| &node.value) else { return };
    for property in properties.iter() {
        let path = if path.is_empty() { property.key.to_string() } else { format!("{path}.{}", property.key) };
        match fields.iter().find(|field| field.path == path) {
            None => unknown(&path),
            Some(field) if field.container => walk(&property.value, &path, fields, unknown),
            Some(_) => {}
        }
    }
}

fn items(node: Option<&Node>) -> Vec<&Node> {
    match node.map(|node| &node.value) {
        Some(Value::Sequence(items)) => items.iter().collect(),
        _ => Vec::new(),
    }
}

fn text(node: Option<&Node>) -> String {
    match node.map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => text.to_string(),
        _ => String::new(),
    }
}
