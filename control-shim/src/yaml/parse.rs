//! From saphyr's events to [`Node`]s, under a [`Budget`].

use super::{Entry, Node, Piece, Span, Value};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What one file may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Size of the file.
    pub bytes_max: usize,
    /// Nesting of lists and mappings.
    pub depth_max: usize,
    /// Nodes written in the file.
    pub nodes_max: usize,
    /// Nodes that aliases stand for, together: what an alias bomb multiplies.
    pub alias_nodes_max: u64,
    /// Documents in the file.
    pub documents_max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            bytes_max: 16 << 20,
            depth_max: 64,
            nodes_max: 1_000_000,
            alias_nodes_max: 100_000,
            documents_max: 100_000,
        }
    }
}

impl Budget {
    /// Whether a text is of a size to be read at all.
    ///
    /// # Errors
    /// When it is larger.
    pub fn admits(&self, text: &str) -> Result<(), YamlError> {
        if text.len() <= self.bytes_max {
            return Ok(());
        }
        let message = format!("the file has {} bytes, more than {}", text.len(), self.bytes_max);
        Err(limit(message, Span { line: 1, column: 1, start: 0, end: 0 }))
    }

    /// Whether so much may be spent.
    pub fn affords(&self, spent: Spent) -> bool {
        spent.nodes <= self.nodes_max && spent.aliases <= self.alias_nodes_max && spent.documents <= self.documents_max
    }
}

impl Spent {
    /// Both together.
    pub fn and(self, other: Spent) -> Spent {
        Spent {
            nodes: self.nodes.saturating_add(other.nodes),
            aliases: self.aliases.saturating_add(other.aliases),
            documents: self.documents.saturating_add(other.documents),
        }
    }

    /// What was spent since.
    pub fn without(self, before: Spent) -> Spent {
        Spent {
            nodes: self.nodes.saturating_sub(before.nodes),
            aliases: self.aliases.saturating_sub(before.aliases),
            documents: self.documents.saturating_sub(before.documents),
        }
    }
}

/// Why a file is not a tree of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// A word that counts: `yaml-syntax`, `yaml-limit`, `yaml-duplicate-key`, `yaml-tag`, `yaml-merge`, `yaml-key`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub mend: String,
    /// Where.
    pub span: Span,
    /// The other place that takes part, such as the first of two equal keys.
    pub other: Option<Span>,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.span.line, self.span.column, self.message)
    }
}

/// Parses every document of a file. Empty documents are left out.
///
/// # Errors
/// The first thing that is not YAML, is not accepted here, or costs more than the budget.
pub fn parse(text: &str, budget: &Budget) -> Result<Vec<Node>, YamlError> {
    budget.admits(text)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    parse_piece(text, &Piece { range: 0..text.len(), line: 1 }, budget, &mut Spent::default())
}

/// Parses the documents of one [piece](super::pieces) of a text. `spent` is what the pieces before it cost.
///
/// # Errors
/// As of [`parse`].
pub fn parse_piece(text: &str, piece: &Piece, budget: &Budget, spent: &mut Spent) -> Result<Vec<Node>, YamlError> {
    let text = text.get(piece.range.clone()).unwrap_or_default();
    let offsets = Offsets::new(text, piece.range.start, piece.line.saturating_sub(1));
    Reader { text, offsets, budget, open: Vec::new(), anchors: HashMap::new(), spent, documents: Vec::new() }.read()
}

/// What was taken of a [`Budget`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Nodes written.
    pub nodes: usize,
    /// Nodes that aliases stand for.
    pub aliases: u64,
    /// Documents, empty ones left out.
    pub documents: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    anchor: usize,
    span: Span,
    /// Nodes in it, aliases expanded.
    weight: u64,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, keys: HashMap<Arc<str>, Span>, key: Option<(Arc<str>, Span)> },
}

struct Reader<'a> {
    text: &'a str,
    offsets: Offsets<'a>,
    budget: &'a Budget,
    open: Vec<Open>,
    /// Anchor id → its content and weight.
    anchors: HashMap<usize, (Node, u64)>,
    spent: &'a mut Spent,
    documents: Vec<Node>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Vec<Node>, YamlError> {
        let mut parser = Parser::new_from_str(self.text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let span = self.offsets.span(&span);
            self.event(event, span)?;
        }
        Ok(self.documents)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                // Anchors live for one document.
                self.anchors.clear();
                if self.spent.documents >= self.budget.documents_max {
                    return Err(limit(format!("more than {} documents in one file", self.budget.documents_max), span));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.count(span)?;
                let value = Value::Scalar { text: Arc::from(&*text), plain: style == ScalarStyle::Plain };
                self.close(Node { value, span }, 1, anchor)
            }
            Event::Alias(anchor) => {
                let Some((node, weight)) = self.anchors.get(&anchor) else {
                    return Err(error(
                        "yaml-syntax",
                        "the alias has no complete anchor before it",
                        "write the value out",
                        span,
                    ));
                };
                let (node, weight) = (Node { value: node.value.clone(), span }, *weight);
                self.spent.aliases = self.spent.aliases.saturating_add(weight);
                if self.spent.aliases > self.budget.alias_nodes_max {
                    return Err(limit(
                        format!("aliases stand for more than {} nodes", self.budget.alias_nodes_max),
                        span,
                    ));
                }
                self.close(node, weight, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.open(Content::Sequence(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.open(Content::Mapping { entries: Vec::new(), keys: HashMap::new(), key: None }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let span = Span { end: span.end.max(open.span.end), ..open.span };
                let value = match open.content {
                    Content::Sequence(items) => Value::Sequence(Arc::new(items)),
                    Content::Mapping { entries, .. } => Value::Mapping(Arc::new(entries)),
                };
                self.close(Node { value, span }, open.weight, open.anchor)
            }
        }
    }

    fn open(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), YamlError> {
        self.count(span)?;
        if self.open.len() >= self.budget.depth_max {
            return Err(limit(format!("nested deeper than {}", self.budget.depth_max), span));
        }
        self.open.push(Open { anchor, span, weight: 1, content });
        Ok(())
    }

    fn count(&mut self, span: Span) -> Result<(), YamlError> {
        self.spent.nodes += 1;
        if self.spent.nodes > self.budget.nodes_max {
            return Err(limit(format!("more than {} nodes in one file", self.budget.nodes_max), span));
        }
        Ok(())
    }

    /// Puts a finished node into the container that is open, or makes it a document.
    fn close(&mut self, node: Node, weight: u64, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(parent) = self.open.last_mut() else {
            if !node.is_null() {
                self.spent.documents += 1;
                self.documents.push(node);
            }
            return Ok(());
        };
        parent.weight = parent.weight.saturating_add(weight);
        match &mut parent.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, keys, key } => match key.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: node }),
                None => *key = Some(take_key(node, keys)?),
            },
        }
        Ok(())
    }

    fn syntax(&self, scan: &saphyr_parser::ScanError) -> YamlError {
        let span = self.offsets.mark(scan.marker());
        let mend = match scan.info().contains("indentation") {
            true => "indent this line further than the key it belongs to, closing brackets too",
            false => "check indentation, quotes and brackets up to here",
        };
        error("yaml-syntax", scan.info(), mend, span)
    }
}

/// A key is text, not `<<`, and new in its mapping.
fn take_key(node: Node, keys: &mut HashMap<Arc<str>, Span>) -> Result<(Arc<str>, Span), YamlError> {
    let Value::Scalar { text, plain } = node.value else {
        return Err(error("yaml-key", "a key has to be text", "write the key as plain text", node.span));
    };
    if plain && &*text == "<<" {
        return Err(error("yaml-merge", "merge keys (`<<`) are not accepted", "write the fields out", node.span));
    }
    if let Some(first) = keys.insert(text.clone(), node.span) {
        let message = format!("key `{text}` is there twice; the first is on line {}", first.line);
        let mut error = error("yaml-duplicate-key", &message, "remove one of the two", node.span);
        error.other = Some(first);
        return Err(error);
    }
    Ok((text, node.span))
}

fn refuse_tag(tag: Option<&saphyr_parser::Tag>, span: Span) -> Result<(), YamlError> {
    match tag {
        None => Ok(()),
        Some(tag) => Err(error(
            "yaml-tag",
            &format!("the tag `{tag}` is not accepted"),
            "remove the tag; quote the value if it is text",
            span,
        )),
    }
}

fn limit(message: String, span: Span) -> YamlError {
    error("yaml-limit", &message, "split the file", span)
}

fn error(code: &'static str, message: &str, mend: &str, span: Span) -> YamlError {
    YamlError { code, message: message.into(), mend: mend.into(), span, other: None }
}

/// Character index → byte offset, without a table: marks come almost in order, so the last one is remembered.
struct Offsets<'a> {
    text: &'a str,
    ascii: bool,
    last: std::cell::Cell<(usize, usize)>,
    /// Bytes and lines of the file before the text.
    bytes_before: usize,
    lines_before: u32,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str, bytes_before: usize, lines_before: u32) -> Self {
        Offsets { text, ascii: text.is_ascii(), last: std::cell::Cell::new((0, 0)), bytes_before, lines_before }
    }

    fn byte(&self, index: usize) -> usize {
        if self.ascii {
            return index.min(self.text.len());
        }
        let (mut character, mut byte) = self.last.get();
        while character > index && byte > 0 {
            byte -= 1;
            while !self.text.is_char_boundary(byte) {
                byte -= 1;
            }
            character -= 1;
        }
        for next in self.text[byte..].chars().take(index - character) {
            character += 1;
            byte += next.len_utf8();
        }
        self.last.set((character, byte));
        byte
    }

    fn span(&self, span: &saphyr_parser::Span) -> Span {
        let start = self.mark(&span.start);
        Span { end: (self.bytes_before + self.byte(span.end.index())).max(start.start), ..start }
    }

    fn mark(&self, mark: &saphyr_parser::Marker) -> Span {
        let start = self.bytes_before + self.byte(mark.index());
        let line = narrow(mark.line()).saturating_add(self.lines_before);
        Span { line, column: narrow(mark.col() + 1), start, end: start }
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text, &Budget::default()).expect_err("must be refused").code
    }

    #[test]
    fn positions_are_lines_columns_and_bytes() {
        let text = "a: é\nb:\n  - \"x y\"\n";
        let documents = parse(text, &Budget::default()).unwrap();
        let b = documents[0].get("b").unwrap();
        let Value::Sequence(items) = &b.value else { panic!("{b:?}") };
        let span = items[0].span;
        assert_eq!((span.line, span.column, &text[span.start..span.end]), (3, 5, "\"x y\""));
    }

    #[test]
    fn several_documents_and_empty_ones() {
        let documents = parse("# only a comment\n---\na: 1\n---\n---\nb: 2\n", &Budget::default()).unwrap();
        assert_eq!(documents.len(), 2);
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(code("a: 1\na: 2\n"), "yaml-duplicate-key");
        assert_eq!(code("a: !!binary aGk=\n"), "yaml-tag");
        assert_eq!(code("a: !thing {}\n"), "yaml-tag");
        assert_eq!(code("a: &x {b: 1}\nc:\n  <<: *x\n"), "yaml-merge");
        assert_eq!(code("? [a]\n: 1\n"), "yaml-key");
        assert_eq!(code("a: [1\n"), "yaml-syntax");
        assert_eq!(code("a: *nothing\n"), "yaml-syntax");
        assert_eq!(code(&"[".repeat(100)), "yaml-limit");
        let small = Budget { nodes_max: 100, documents_max: 2, ..Budget::default() };
        for text in [format!("[{}]", "1,".repeat(200)), "--- a\n".repeat(3)] {
            assert_eq!(parse(&text, &small).expect_err("must be refused").code, "yaml-limit");
        }
        assert_eq!(code(&" ".repeat((16 << 20) + 1)), "yaml-limit");
    }

    #[test]
    fn row_61_a_billion_laughs_are_bounded() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..30 {
            let below = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let error = parse(&text, &Budget::default()).expect_err("must be refused");
        assert_eq!((error.code, error.span.line), ("yaml-limit", 5));
    }

    #[test]
    fn an_alias_shares_its_anchor() {
        let documents = parse("a: &x {k: v}\nb: *x\n", &Budget::default()).unwrap();
        let b = documents[0].get("b").unwrap();
        assert_eq!((b.span.line, b.get("k").is_some()), (2, true));
    }
}
