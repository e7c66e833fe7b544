//! What changed between two snapshots, in the words of the model: routes by name, endpoints by address, whatever their place in the bytes.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use crate::dump;
use crate::model::Kind;
use crate::snapshot::Snapshot;

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Kind of the blob.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// A field has another value.
    Changed {
        /// Path of the field, such as `routes[v1].action.forward.timeout_ms`.
        field: String,
        /// Before; null when it was not there.
        old: Value,
        /// After; null when it is gone.
        new: Value,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.kind, &self.name);
        match &self.what {
            What::Added => write!(f, "+ {kind:?} {name}"),
            What::Removed => write!(f, "- {kind:?} {name}"),
            What::Changed { field, old: Value::Null, new } => write!(f, "~ {kind:?} {name} {field}: + {new}"),
            What::Changed { field, old, new: Value::Null } => write!(f, "~ {kind:?} {name} {field}: - {old}"),
            What::Changed { field, old, new } => write!(f, "~ {kind:?} {name} {field}: {old} → {new}"),
        }
    }
}

/// All changes, by kind and name. Provenance is left out: it says where rules stand, not what they do.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    for blob in old.blobs().filter(|b| b.kind() != Kind::Provenance) {
        let (kind, name) = (blob.kind(), blob.name().to_owned());
        match new.blob(kind, &name) {
            None => changes.push(Change { kind, name, what: What::Removed }),
            Some(now) if now.hash() != blob.hash() => {
                let (before, after) = (dump::content(blob.model()), dump::content(now.model()));
                let found = values(&resolved(before), &resolved(after));
                changes.extend(found.into_iter().map(|what| Change { kind, name: name.clone(), what }));
            }
            Some(_) => {}
        }
    }
    let added = new.blobs().filter(|b| b.kind() != Kind::Provenance && old.blob(b.kind(), b.name()).is_none());
    changes.extend(added.map(|b| Change { kind: b.kind(), name: b.name().to_owned(), what: What::Added }));
    changes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    changes
}

/// The fields in which two values differ, by path.
pub fn values(old: &Value, new: &Value) -> Vec<What> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

/// Puts what an index points to in the place of the index: a renumbered action or workload is no change.
fn resolved(mut content: Value) -> Value {
    let Some(map) = content.as_object_mut() else { return content };
    for (list, index, table) in
        [("routes", "action", "actions"), ("endpoints", "workload", "workloads"), ("endpoints", "place", "places")]
    {
        let Some(Value::Array(mut targets)) = map.remove(table) else { continue };
        let numbered = targets.clone();
        let own = |number: u32| numbered.get(number as usize).cloned().unwrap_or_default();
        targets.iter_mut().for_each(|target| dump::put_own_actions(target, &own));
        for item in map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let target = item[index].as_u64().and_then(|i| targets.get(i as usize)).cloned();
            item[index] = target.unwrap_or(Value::Null);
        }
    }
    content
}

fn compare(path: &str, old: &Value, new: &Value, out: &mut Vec<What>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let sub = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&sub, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), out);
            }
        }
        (Value::Array(a), Value::Array(b)) => compare_lists(path, a, b, out),
        _ => out.push(What::Changed { field: path.to_owned(), old: old.clone(), new: new.clone() }),
    }
}

/// Items are the same when they have the same key; lists without keys are compared by place.
fn compare_lists(path: &str, old: &[Value], new: &[Value], out: &mut Vec<What>) {
    let Some((old_keys, new_keys)) = KEYS.iter().find_map(|key| Some((keys(old, key)?, keys(new, key)?))) else {
        return compare_places(path, old, new, out);
    };
    let places: HashMap<&str, &Value> = new_keys.iter().map(String::as_str).zip(new).collect();
    let known: HashMap<&str, &Value> = old_keys.iter().map(String::as_str).zip(old).collect();
    for (key, before) in old_keys.iter().zip(old) {
        compare(&format!("{path}[{key}]"), before, places.get(key.as_str()).copied().unwrap_or(&Value::Null), out);
    }
    for (key, after) in new_keys.iter().zip(new).filter(|(key, _)| !known.contains_key(key.as_str())) {
        compare(&format!("{path}[{key}]"), &Value::Null, after, out);
    }
    let kept: Vec<&String> = old_keys.iter().filter(|key| places.contains_key(key.as_str())).collect();
    let still: Vec<&String> = new_keys.iter().filter(|key| known.contains_key(key.as_str())).collect();
    if kept != still {
        out.push(What::Changed { field: format!("{path} order"), old: json!(kept), new: json!(still) });
    }
}

fn compare_places(path: &str, old: &[Value], new: &[Value], out: &mut Vec<What>) {
    for i in 0..old.len().max(new.len()) {
        let (before, after) = (old.get(i).unwrap_or(&Value::Null), new.get(i).unwrap_or(&Value::Null));
        compare(&format!("{path}[{i}]"), before, after, out);
    }
}

/// What names an item of a list, best first.
const KEYS: [&[&str]; 6] = [&["name"], &["address"], &["pattern", "port"], &["cluster"], &["rule"], &[]];

/// The keys of all items, if each has one of its own.
fn keys(list: &[Value], fields: &[&str]) -> Option<Vec<String>> {
    let key = |item: &Value| match (fields, item) {
        // A list of strings.
        ([], Value::String(s)) => Some(s.clone()),
        ([], _) => None,
        _ => {
            let parts: Vec<String> = fields.iter().map(|f| Some(plain(item.get(f)?))).collect::<Option<_>>()?;
            match parts.join(":") {
                // A list whose items may go without a name has other keys.
                key if key.is_empty() => (*fields != ["name"]).then(|| "none".to_owned()),
                key => Some(key),
            }
        }
    };
    let keys: Vec<String> = list.iter().map(key).collect::<Option<_>>()?;
    let distinct: std::collections::HashSet<&String> = keys.iter().collect();
    (distinct.len() == keys.len()).then_some(keys)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
