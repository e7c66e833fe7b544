//! Every field that the decoders know, and what they do with it: found by decoding, so that no list has to be kept beside them.
//!
//! A decoder is given a document of one field at a time and notes what it asks for. What it asks for is put in next, in the shape that it was asked in,
//! until nothing new is asked. Runs when the documentation is made or checked, never on people's manifests.

use super::decode::{Asked, Context, Options, Shape};
use super::objects::{self, KindInfo};
use super::{ObjectRef, SourceFile};
use crate::diagnostic::Severity;
use crate::yaml::{Entry, Node, Span, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Does what its API says.
    Honoured,
    /// The object is taken; this has no effect.
    Warning,
    /// Would change traffic or protection, and is not built: the object is refused.
    Error,
    /// Has nothing to do with traffic.
    Silent,
}

/// One field of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Such as `spec.http[].route[].weight`; `{}` stands for a key of the user's choice.
    pub path: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// It holds other fields, which are listed too.
    pub container: bool,
    /// Values with another outcome than the field's.
    pub values: Vec<(String, Outcome)>,
}

/// Words that fields have to have, by their paths.
type Words = Vec<(Vec<String>, String)>;

/// A field in the making.
#[derive(Clone, Debug, Default)]
struct Known {
    outcome: Option<Outcome>,
    required: bool,
    shape: Option<Shape>,
    /// Mapping: by name; list and free mapping: one under `[]` or `{}`.
    children: BTreeMap<String, Known>,
    /// Words that other fields had when this one was first asked for.
    with: Words,
}

/// A list's element and a free mapping's value among [`Known::children`].
const ELEMENT: &str = "[]";
const ANY_KEY: &str = "{}";
/// Rounds of putting in what was asked for; a document is hardly ever deeper.
const ROUNDS_MAX: usize = 24;

/// All kinds that are decoded.
pub fn kinds() -> Vec<KindInfo> {
    objects::known_kinds()
}

/// Every field of a kind, in order of their paths.
pub fn survey(kind: &KindInfo) -> Vec<Found> {
    let mut root = Known { shape: Some(Shape::Mapping), outcome: Some(Outcome::Honoured), ..Known::default() };
    for name in ["apiVersion", "kind"] {
        root.children.insert(name.into(), Known { outcome: Some(Outcome::Silent), required: true, ..Known::default() });
    }
    for _ in 0..ROUNDS_MAX {
        let before = root.count();
        for (path, with) in root.targets() {
            let run = Run::new(kind, &root, &path, &with);
            run.learn(&mut root, &with);
        }
        if root.count() == before {
            break;
        }
    }
    let mut found = Vec::new();
    root.list(kind, &root, &mut Vec::new(), &mut found);
    found
}

impl Known {
    /// Grows with everything that is learnt.
    fn count(&self) -> usize {
        1 + usize::from(self.shape.is_some()) + self.children.values().map(Known::count).sum::<usize>()
    }

    /// Every field, and every word of a field that takes words: each makes a document.
    fn targets(&self) -> Vec<(Vec<String>, Words)> {
        let mut targets = Vec::new();
        self.visit(&mut Vec::new(), &mut |path, known| {
            targets.push((path.to_vec(), known.with.clone()));
            if let Some(Shape::Words(words)) = &known.shape {
                for word in words {
                    let mut with = known.with.clone();
                    with.retain(|(other, _)| other != path);
                    with.push((path.to_vec(), (*word).to_string()));
                    targets.push((path.to_vec(), with));
                }
            }
        });
        targets
    }

    fn visit(&self, path: &mut Vec<String>, each: &mut impl FnMut(&[String], &Known)) {
        each(path, self);
        for (name, child) in &self.children {
            path.push(name.clone());
            child.visit(path, each);
            path.pop();
        }
    }

    fn at(&mut self, path: &[String]) -> Option<&mut Known> {
        match path {
            [] => Some(self),
            [first, rest @ ..] => self.children.get_mut(first)?.at(rest),
        }
    }

    fn list(&self, kind: &KindInfo, root: &Known, path: &mut Vec<String>, found: &mut Vec<Found>) {
        let outcome = self.outcome.unwrap_or(Outcome::Honoured);
        if !path.is_empty() && !matches!(path.last().map(String::as_str), Some(ELEMENT | ANY_KEY)) {
            let (outcome, values) = self.judged(kind, root, path, outcome);
            let container = outcome == Outcome::Honoured && self.has_fields();
            found.push(Found { path: written(path), outcome, container, values });
            if outcome != Outcome::Honoured {
                return;
            }
        }
        for (name, child) in &self.children {
            path.push(name.clone());
            child.list(kind, root, path, found);
            path.pop();
        }
    }

    fn has_fields(&self) -> bool {
        self.children.iter().any(|(name, child)| !matches!(name.as_str(), ELEMENT | ANY_KEY) || child.has_fields())
    }

    /// A field that is asked for and then refused, always or for some of its values.
    fn judged(
        &self,
        kind: &KindInfo,
        root: &Known,
        path: &[String],
        said: Outcome,
    ) -> (Outcome, Vec<(String, Outcome)>) {
        // What is said of a field that holds others is said of what it lacks.
        if said != Outcome::Honoured || self.has_fields() {
            return (said, Vec::new());
        }
        let words: Vec<Option<&str>> = match &self.shape {
            Some(Shape::Words(words)) => words.iter().map(|word| Some(*word)).collect(),
            Some(Shape::Boolean) => vec![Some("true"), Some("false")],
            _ => vec![None],
        };
        let outcomes: Vec<(Option<&str>, Outcome)> = words
            .into_iter()
            .map(|word| {
                let mut with = self.with.clone();
                with.extend(word.map(|word| (path.to_vec(), word.to_string())));
                (word, Run::new(kind, root, path, &with).verdict())
            })
            .collect();
        let first = outcomes.first().map_or(said, |(_, outcome)| *outcome);
        if outcomes.iter().all(|(_, outcome)| *outcome == first) {
            return (first, Vec::new());
        }
        let values = outcomes.into_iter().filter(|(_, outcome)| *outcome != Outcome::Honoured);
        (Outcome::Honoured, values.filter_map(|(word, outcome)| Some((word?.to_string(), outcome))).collect())
    }
}

/// `spec`, `http`, `[]`, `name` → `spec.http[].name`.
fn written(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        match part.as_str() {
            ELEMENT => text.push_str(ELEMENT),
            ANY_KEY => text.push_str(".{}"),
            name if text.is_empty() => text.push_str(name),
            name => {
                text.push('.');
                text.push_str(name);
            }
        }
    }
    text
}

/// One document, decoded.
struct Run {
    /// Where each node stands, by the number in its span.
    paths: Vec<Vec<String>>,
    asked: Vec<Asked>,
    findings: Vec<crate::diagnostic::Diagnostic>,
    target: u32,
}

impl Run {
    /// A document with what is required, and the field at `path`.
    fn new(kind: &KindInfo, root: &Known, path: &[String], with: &[(Vec<String>, String)]) -> Run {
        let mut maker = Maker { kind, with, path, paths: vec![Vec::new()] };
        let node = maker.make(root, &mut Vec::new());
        let target = maker.paths.iter().position(|other| other == path).unwrap_or(0);
        let file = Arc::new(SourceFile { name: "survey".into(), text: String::new() });
        let mut context = Context::surveying(file, Options::default());
        objects::decode_for_survey(&mut context, &node, &ObjectRef::new(kind.reference_kind, "default", "a"));
        let (findings, asked) = context.surveyed();
        Run { paths: maker.paths, asked, findings, target: target as u32 }
    }

    fn learn(&self, root: &mut Known, with: &[(Vec<String>, String)]) {
        for asked in &self.asked {
            let (number, change) = match asked {
                Asked::Field { node, name, outcome, required } => (node, Err((name, outcome, required))),
                Asked::Shape { node, shape } => (node, Ok(shape)),
            };
            let Some(known) = self.paths.get(*number as usize).and_then(|path| root.at(path)) else { continue };
            match change {
                Ok(shape) => {
                    let free = match shape {
                        Shape::List => Some(ELEMENT),
                        Shape::FreeMapping => Some(ANY_KEY),
                        _ => None,
                    };
                    if known.shape.is_none() || matches!((&known.shape, shape), (Some(Shape::Text), Shape::Words(_))) {
                        known.shape = Some(shape.clone());
                    }
                    if let Some(free) = free {
                        let with = with.to_vec();
                        known.children.entry(free.into()).or_insert_with(|| Known {
                            outcome: Some(Outcome::Honoured),
                            required: true,
                            with,
                            ..Known::default()
                        });
                    }
                }
                Err((name, outcome, required)) => {
                    let child = known
                        .children
                        .entry((*name).to_string())
                        .or_insert_with(|| Known { with: with.to_vec(), ..Known::default() });
                    child.required |= required;
                    // One branch may honour what another one refuses.
                    child.outcome = Some(child.outcome.map_or(*outcome, |before| before.min(*outcome)));
                }
            }
        }
    }

    /// What was said of the target.
    fn verdict(&self) -> Outcome {
        let about = self
            .findings
            .iter()
            .filter(|finding| finding.place.as_ref().is_some_and(|place| place.line == self.target));
        let mut outcome = Outcome::Honoured;
        for finding in about {
            match (finding.code, finding.severity) {
                ("not-supported-yet" | "not-enforced", Severity::Error) => return Outcome::Error,
                ("not-honoured" | "not-enforced" | "not-carried", _) => outcome = Outcome::Warning,
                _ => {}
            }
        }
        outcome
    }
}

/// Makes one document; every node gets a number of its own as its line.
struct Maker<'a> {
    kind: &'a KindInfo,
    with: &'a [(Vec<String>, String)],
    path: &'a [String],
    paths: Vec<Vec<String>>,
}

impl Maker<'_> {
    fn make(&mut self, known: &Known, at: &mut Vec<String>) -> Node {
        let number = self.paths.len() as u32;
        self.paths.push(at.clone());
        let span = Span { line: number, column: 1, start: 0, end: 0 };
        let value = match at.last().map(String::as_str) {
            Some("apiVersion") if at.len() == 1 => text(&self.kind.api_version(), true),
            Some("kind") if at.len() == 1 => text(self.kind.kind, true),
            Some("name") if at.len() == 2 && at[0] == "metadata" => text("a", true),
            _ => self.value(known, at),
        };
        Node { value, span }
    }

    fn value(&mut self, known: &Known, at: &mut Vec<String>) -> Value {
        let here = &*at;
        if let Some((_, word)) = self.with.iter().find(|(path, _)| path == here) {
            return text(word, true);
        }
        match &known.shape {
            // Nobody has said yet what it is: whoever looks says so.
            None => Value::Mapping(Arc::new(Vec::new())),
            Some(Shape::Text) => text("a", true),
            Some(Shape::Number(min)) => text(&min.to_string(), true),
            Some(Shape::Boolean) => text("true", true),
            Some(Shape::Duration) => text("1s", true),
            Some(Shape::Words(words)) => text(words.first().unwrap_or(&"a"), true),
            Some(Shape::List) => {
                let items = known.children.get(ELEMENT).map(|element| self.child(element, ELEMENT, at));
                Value::Sequence(Arc::new(items.into_iter().collect()))
            }
            Some(Shape::FreeMapping) => {
                let entries = known.children.get(ANY_KEY).map(|value| entry("a", self.child(value, ANY_KEY, at)));
                Value::Mapping(Arc::new(entries.into_iter().collect()))
            }
            Some(Shape::Mapping) => {
                let mut entries = Vec::new();
                for (name, child) in &known.children {
                    if child.required && child.outcome == Some(Outcome::Honoured)
                        || self.leads(at, name)
                        || at.is_empty() && child.required
                    {
                        entries.push(entry(name, self.child(child, name, at)));
                    }
                }
                Value::Mapping(Arc::new(entries))
            }
        }
    }

    fn child(&mut self, known: &Known, name: &str, at: &mut Vec<String>) -> Node {
        at.push(name.to_string());
        let node = self.make(known, at);
        at.pop();
        node
    }

    /// Whether the field `name` at `at` is on the way to the target, or to a word that the target needs.
    fn leads(&self, at: &[String], name: &str) -> bool {
        let on = |path: &[String]| path.len() > at.len() && path.starts_with(at) && path[at.len()] == name;
        on(self.path) || self.with.iter().any(|(path, _)| on(path))
    }
}

fn text(text: &str, plain: bool) -> Value {
    Value::Scalar { text: text.into(), plain }
}

fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.into(), key_span: value.span, value }
}
