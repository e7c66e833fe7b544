//! Reads fields out of YAML nodes and leaves none unread: a field nobody asked for is an error with the nearest name.

use super::survey::Outcome;
use super::{Labels, ObjectRef, SourceFile, Spot};
use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::{self, Node, Span, Value};
use std::cell::RefCell;
use std::sync::Arc;

/// What decoding may take for granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Security that is not enforced yet becomes a warning instead of an error.
    pub allow_unenforced: bool,
}

/// Collects the findings of one document.
pub struct Context {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The object, once its name is known.
    pub object: Option<ObjectRef>,
    /// What may be taken for granted.
    pub options: Options,
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Errors about parts that are left out; the rest of the object stands.
    parts: RefCell<Vec<Diagnostic>>,
    /// What was asked for; kept in a survey alone.
    asked: Option<RefCell<Vec<Asked>>>,
}

/// What a decoder asked of a document. Nodes are named by their lines: a survey gives each node a line of its own.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A field of a mapping, and what becomes of it.
    Field { node: u32, name: &'static str, outcome: Outcome, required: bool },
    /// What a node has to be.
    Shape { node: u32, shape: Shape },
}

/// What a node has to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Text,
    /// From this one on.
    Number(u64),
    Boolean,
    Duration,
    Words(Vec<&'static str>),
    List,
    Mapping,
    /// A mapping with keys of the user's choice.
    FreeMapping,
}

/// Most findings kept for one document; a machine-made file should not drown the first one.
const DIAGNOSTICS_MAX: usize = 100;

impl Context {
    /// For one document of `file`.
    pub fn new(file: Arc<SourceFile>, options: Options) -> Self {
        let (diagnostics, parts) = Default::default();
        Context { file, object: None, options, diagnostics, parts, asked: None }
    }

    /// The same, which also keeps what is asked for.
    pub(super) fn surveying(file: Arc<SourceFile>, options: Options) -> Self {
        Context { asked: Some(RefCell::default()), ..Self::new(file, options) }
    }

    /// Whether a list of fields is made: documents are as the decoder asks for them.
    pub(super) fn is_survey(&self) -> bool {
        self.asked.is_some()
    }

    /// Everything found, and everything asked for.
    pub(super) fn surveyed(mut self) -> (Vec<Diagnostic>, Vec<Asked>) {
        let asked = self.asked.take();
        (self.finish(), asked.map(RefCell::into_inner).unwrap_or_default())
    }

    fn ask(&self, asked: impl FnOnce() -> Asked) {
        if let Some(all) = &self.asked {
            all.borrow_mut().push(asked());
        }
    }

    /// Reads a part with what is found about it apart from all else.
    pub fn apart<T>(&self, read: impl FnOnce() -> T) -> (T, Vec<Diagnostic>) {
        let before = self.diagnostics.take();
        let value = read();
        (value, self.diagnostics.replace(before))
    }

    /// Adds what was found apart.
    pub fn add(&self, found: Vec<Diagnostic>) {
        found.into_iter().for_each(|one| self.push(one));
    }

    /// Adds what was found about a part that is left out, for the sake of the others.
    pub fn leave_out(&self, found: Vec<Diagnostic>) {
        let mut parts = self.parts.borrow_mut();
        let room = DIAGNOSTICS_MAX.saturating_sub(parts.len());
        parts.extend(found.into_iter().take(room));
    }

    /// Whether there is an error so far.
    pub fn broken(&self) -> bool {
        self.diagnostics.borrow().iter().any(Diagnostic::is_error)
    }

    /// Everything found.
    pub fn finish(self) -> Vec<Diagnostic> {
        let mut all = self.diagnostics.into_inner();
        all.extend(self.parts.into_inner());
        all
    }

    /// The spot of a span of this file.
    pub fn spot(&self, span: Span) -> Spot {
        Spot { file: self.file.clone(), span }
    }

    /// Adds an error.
    pub fn error(&self, span: Span, code: &'static str, message: impl Into<String>, mend: impl Into<String>) {
        self.say(Severity::Error, span, code, message.into(), mend.into());
    }

    /// Adds an error about a part that is left out, for the sake of the others.
    pub fn part_error(&self, span: Span, code: &'static str, message: String, mend: &str) {
        let mut diagnostic = Diagnostic::error(code, message, mend).at(self.spot(span).place());
        diagnostic.object = self.object.clone();
        self.leave_out(vec![diagnostic]);
    }

    /// Adds a warning.
    pub fn warning(&self, span: Span, code: &'static str, message: impl Into<String>, mend: impl Into<String>) {
        self.say(Severity::Warning, span, code, message.into(), mend.into());
    }

    /// Security that is asked for and not enforced: an error, or a warning where that is allowed.
    pub fn unenforced(&self, span: Span, message: impl Into<String>) {
        if self.options.allow_unenforced {
            self.warning(span, "not-enforced", message, "");
        } else {
            let mend = "remove it, or pass --allow-unenforced to run without this protection";
            self.error(span, "not-enforced", message, mend);
        }
    }

    fn say(&self, severity: Severity, span: Span, code: &'static str, message: String, mend: String) {
        let mut diagnostic = Diagnostic::new(severity, code, message, mend).at(self.spot(span).place());
        diagnostic.object = self.object.clone();
        self.push(diagnostic);
    }

    fn push(&self, diagnostic: Diagnostic) {
        let mut all = self.diagnostics.borrow_mut();
        // An error is never dropped in favour of earlier warnings: it decides whether the object is refused.
        if all.len() < DIAGNOSTICS_MAX || diagnostic.is_error() && !all.iter().any(Diagnostic::is_error) {
            all.push(diagnostic);
        }
    }
}

/// A value together with the path that leads to it.
#[derive(Clone)]
pub struct Field<'a> {
    /// Where findings go.
    pub context: &'a Context,
    /// The value.
    pub node: &'a Node,
    /// The path from the spec on, such as `http[2].route[0]`.
    pub path: String,
}

/// The fields of a mapping, each to be asked for once.
pub struct Fields<'a> {
    context: &'a Context,
    node: &'a Node,
    path: String,
    /// What this mapping is, for messages: `a VirtualService`, `a route`.
    noun: &'static str,
    seen: Vec<bool>,
    asked: Vec<&'static str>,
}

impl<'a> Field<'a> {
    /// The root of a document.
    pub fn root(context: &'a Context, node: &'a Node) -> Self {
        Field { context, node, path: String::new() }
    }

    /// Where it stands.
    pub fn spot(&self) -> Spot {
        self.context.spot(self.node.span)
    }

    /// Adds an error here.
    pub fn error(&self, code: &'static str, message: impl Into<String>, mend: impl Into<String>) {
        self.context.error(self.node.span, code, message, mend);
    }

    /// Adds a warning here.
    pub fn warning(&self, code: &'static str, message: impl Into<String>, mend: impl Into<String>) {
        self.context.warning(self.node.span, code, message, mend);
    }

    /// Says that what stands here is understood but not built yet.
    pub fn not_supported(&self, message: impl Into<String>) {
        self.error(
            "not-supported-yet",
            format!("{} is not supported yet", message.into()),
            "remove it; docs/support.md lists what is honoured",
        );
    }

    fn shape(&self, shape: impl FnOnce() -> Shape) {
        self.context.ask(|| Asked::Shape { node: self.node.span.line, shape: shape() });
    }

    fn wrong(&self, wanted: &str) {
        let message = format!("`{}` has to be {wanted} and is {}", self.path, self.node.kind_word());
        let quoted = wanted == "text" && matches!(&self.node.value, Value::Scalar { .. }) && !self.node.is_null();
        self.error("wrong-type", message, if quoted { "put the value into quotes" } else { "" });
    }

    /// A mapping; `noun` names it in messages.
    pub fn fields(&self, noun: &'static str) -> Option<Fields<'a>> {
        self.shape(|| Shape::Mapping);
        match &self.node.value {
            Value::Mapping(entries) => Some(Fields {
                context: self.context,
                node: self.node,
                path: self.path.clone(),
                noun,
                seen: vec![false; entries.len()],
                asked: Vec::new(),
            }),
            _ => {
                self.wrong("a mapping");
                None
            }
        }
    }

    /// A field of a mapping that is read as a whole later.
    pub fn peek(&self, name: &'static str) -> Option<Field<'a>> {
        self.shape(|| Shape::Mapping);
        let line = self.node.span.line;
        self.context.ask(|| Asked::Field { node: line, name, outcome: Outcome::Honoured, required: true });
        let path = format!("{}.{name}", self.path);
        self.node.get(name).map(|node| Field { context: self.context, node, path })
    }

    /// A list.
    pub fn items(&self) -> Vec<Field<'a>> {
        self.shape(|| Shape::List);
        match &self.node.value {
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Field { context: self.context, node, path: format!("{}[{index}]", self.path) })
                .collect(),
            _ => {
                self.wrong("a list");
                Vec::new()
            }
        }
    }

    /// Text. A plain `1` or `true` is no text, as in Kubernetes.
    pub fn text(&self) -> Option<&'a str> {
        self.shape(|| Shape::Text);
        match &self.node.value {
            Value::Scalar { text, plain } if !plain || self.node.kind_word() == "text" => Some(text),
            _ => {
                self.wrong("text");
                None
            }
        }
    }

    /// Text of which these values are told apart.
    pub fn text_among(&self, words: &'static [&'static str]) -> Option<&'a str> {
        self.shape(|| Shape::Words(words.to_vec()));
        self.text()
    }

    /// Text, or the number or boolean as it is written (label values in old manifests, IntOrString).
    pub fn scalar(&self) -> Option<&'a str> {
        self.shape(|| Shape::Text);
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.wrong("text or a number");
                None
            }
        }
    }

    /// A whole number from `min` to `max`.
    pub fn number(&self, min: u64, max: u64) -> Option<u64> {
        self.shape(|| Shape::Number(min));
        let number = match &self.node.value {
            Value::Scalar { text, plain: true } => text.parse::<u64>().ok().or_else(|| whole(text)),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                let message = format!("`{}` has to be a whole number from {min} to {max}", self.path);
                self.error("wrong-number", message, "");
                None
            }
        }
    }

    /// A number from `min` to `max`, with or without a fraction.
    pub fn decimal(&self, min: f64, max: f64) -> Option<f64> {
        self.shape(|| Shape::Number(min as u64));
        let number = match &self.node.value {
            Value::Scalar { text, plain: true } if yaml::is_number(text) => text.parse::<f64>().ok(),
            _ => None,
        };
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.error("wrong-number", format!("`{}` has to be a number from {min} to {max}", self.path), "");
        }
        number
    }

    /// A port.
    pub fn port(&self) -> Option<u16> {
        self.number(1, 65_535).and_then(|port| u16::try_from(port).ok())
    }

    /// A boolean.
    pub fn boolean(&self) -> Option<bool> {
        self.shape(|| Shape::Boolean);
        let value = match &self.node.value {
            Value::Scalar { text, plain: true } => yaml::parse_bool(text),
            _ => None,
        };
        if value.is_none() {
            self.wrong("true or false");
        }
        value
    }

    /// A list of text.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(|item| item.text().map(String::from)).collect()
    }

    /// A mapping of text to text.
    pub fn text_map(&self) -> Vec<(String, String)> {
        self.entries()
            .into_iter()
            .filter_map(|(key, field)| Some((key.to_string(), field.text()?.to_string())))
            .collect()
    }

    /// The entries of a mapping with keys of the user's choice.
    pub fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        self.shape(|| Shape::FreeMapping);
        match &self.node.value {
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| {
                    let path = format!("{}[{}]", self.path, entry.key);
                    (&*entry.key, Field { context: self.context, node: &entry.value, path })
                })
                .collect(),
            _ => {
                self.wrong("a mapping");
                Vec::new()
            }
        }
    }

    /// Labels or annotations.
    pub fn labels(&self) -> Labels {
        self.entries()
            .into_iter()
            .filter(|(_, field)| !field.node.is_null())
            .filter_map(|(key, field)| Some((key.to_string(), field.text()?.to_string())))
            .collect()
    }

    /// Milliseconds of a duration such as `1.5s` or `1h30m`, rounded up.
    pub fn duration_ms(&self) -> Option<u64> {
        self.shape(|| Shape::Duration);
        let text = self.text()?;
        let parsed = super::duration::parse_ms(text);
        if parsed.is_none() {
            let message = format!("`{text}` is no duration");
            self.error("wrong-duration", message, "write a number with a unit, such as 500ms, 10s or 1m30s");
        }
        parsed
    }

    /// One word of a set; the error lists the set.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        self.shape(|| Shape::Words(words.iter().map(|(word, _)| *word).collect()));
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{text}` is no value of `{}`", self.path);
            self.error(
                "wrong-value",
                message,
                nearest(text, &list).map_or(format!("one of {}", list.join(", ")), did_you_mean),
            );
        }
        found
    }
}

impl<'a> Fields<'a> {
    /// Where the mapping stands.
    pub fn spot(&self) -> Spot {
        self.context.spot(self.node.span)
    }

    /// The mapping as a value.
    pub fn field(&self) -> Field<'a> {
        Field { context: self.context, node: self.node, path: self.path.clone() }
    }

    /// The path that leads here.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Asks for a field. `null` counts as absent.
    pub fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.ask(name, Outcome::Honoured, false)
    }

    fn ask(&mut self, name: &'static str, outcome: Outcome, required: bool) -> Option<Field<'a>> {
        self.context.ask(|| Asked::Field { node: self.node.span.line, name, outcome, required });
        self.asked.push(name);
        let Value::Mapping(entries) = &self.node.value else { return None };
        let index = entries.iter().position(|entry| &*entry.key == name)?;
        self.seen[index] = true;
        let node = &entries[index].value;
        if node.is_null() {
            return None;
        }
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Some(Field { context: self.context, node, path })
    }

    /// Asks for a field that has to be there.
    pub fn require(&mut self, name: &'static str) -> Option<Field<'a>> {
        let field = self.ask(name, Outcome::Honoured, true);
        if field.is_none() {
            let message = format!("{} has to have `{name}`", self.noun);
            self.context.error(self.here(), "missing-field", message, format!("add `{name}`"));
        }
        field
    }

    /// Fields that have nothing to do with traffic.
    pub fn harmless(&mut self, names: &[&'static str]) {
        for name in names {
            self.ask(name, Outcome::Silent, false);
        }
    }

    /// Fields that change traffic in a way that is not built yet: the object is refused.
    pub fn not_supported(&mut self, names: &[&'static str]) {
        for name in names {
            if let Some(field) = self.ask(name, Outcome::Error, false) {
                field.not_supported(format!("`{}`", field.path));
            }
        }
    }

    /// Fields of something that is refused as a whole: nothing more is said of them.
    pub fn refused(&mut self, names: &[&'static str]) {
        for name in names {
            self.ask(name, Outcome::Error, false);
        }
    }

    /// Fields that are not honoured, where running without them is still what most people want.
    pub fn not_honoured(&mut self, names: &[&'static str]) {
        for name in names {
            if let Some(field) = self.ask(name, Outcome::Warning, false) {
                let message = format!("`{}` is not honoured", field.path);
                field.warning("not-honoured", message, "");
            }
        }
    }

    /// Ends the mapping: what nobody asked for is an error with the nearest name.
    pub fn finish(self) {
        let Value::Mapping(entries) = &self.node.value else { return };
        for (entry, _) in entries.iter().zip(&self.seen).filter(|(_, seen)| !**seen) {
            let message = format!("`{}` is no field of {}", entry.key, self.noun);
            let mend = nearest(&entry.key, &self.asked).map_or_else(|| "remove it".to_string(), did_you_mean);
            self.context.error(entry.key_span, "unknown-field", message, mend);
        }
    }

    /// A span for what is missing: the first key rather than a whole block.
    fn here(&self) -> Span {
        match &self.node.value {
            Value::Mapping(entries) => entries.first().map_or(self.node.span, |entry| entry.key_span),
            _ => self.node.span,
        }
    }
}

/// `1e3`, `80.0`: numbers that are whole though not written so.
fn whole(text: &str) -> Option<u64> {
    let number = text.parse::<f64>().ok()?;
    (yaml::is_number(text) && number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The candidate that takes the fewest edits, if they are few.
pub fn nearest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    const NAME_CHARS_MAX: usize = 64;
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    let lower = name.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    // Hosts have most of their characters in common, and those take no edit.
    let common = |(one, other): &(char, char)| one == other;
    let bytes = |(one, _): (char, char)| one.len_utf8();
    let ends: usize = a.chars().rev().zip(b.chars().rev()).take_while(common).map(bytes).sum();
    let (a, b) = (&a[..a.len() - ends], &b[..b.len() - ends]);
    let starts: usize = a.chars().zip(b.chars()).take_while(common).map(bytes).sum();
    let (a, b): (Vec<char>, Vec<char>) = (a[starts..].chars().collect(), b[starts..].chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let names = ["weight", "destination", "headers"];
        assert_eq!(nearest("wieght", &names), Some("weight"));
        assert_eq!(nearest("Header", &names), Some("headers"));
        assert_eq!(nearest("banana", &names), None);
    }

    #[test]
    fn unread_fields_are_errors_and_plain_numbers_are_no_text() {
        let file = Arc::new(SourceFile { name: "t.yaml".into(), text: "name: 1\nprot: 2\nport: 3\n".into() });
        let documents = yaml::parse(&file.text, &yaml::Budget::default()).unwrap();
        let context = Context::new(file, Options::default());
        let mut fields = Field::root(&context, &documents[0]).fields("a thing").unwrap();
        assert_eq!(fields.get("name").unwrap().text(), None);
        assert_eq!(fields.get("port").unwrap().port(), Some(3));
        fields.finish();
        let found: Vec<_> = context.finish().into_iter().map(|d| (d.code, d.mend)).collect();
        assert_eq!(
            found,
            [
                ("wrong-type", "put the value into quotes".to_string()),
                ("unknown-field", "did you mean `port`?".to_string())
            ]
        );
    }
}
