//! A bounded tree of YAML documents in which every node knows where it stands.
//!
//! Stands on saphyr's event parser; recursion, aliases and size are budgeted here, so that no file makes the shim spend more than a small multiple
//! of its own size. Tags and merge keys are refused, duplicate keys are errors. Knows nothing of Kubernetes.

mod parse;
mod pieces;

pub use parse::{Budget, Spent, YamlError, parse, parse_piece};
pub use pieces::{Piece, pieces};

use std::sync::Arc;

/// Where a node stands in its file. Lines and columns count from 1, in characters; the byte range is half open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// One node of the tree. Aliases share their anchor's content; cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands; for an alias, where the alias stands.
    pub span: Span,
}

/// Content of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text and whether it was written plain (unquoted), in which case it may be a number, a boolean or null.
    Scalar {
        /// The text after unescaping.
        text: Arc<str>,
        /// Written without quotes and not as a block.
        plain: bool,
    },
    /// `[…]` or `- …`.
    Sequence(Arc<Vec<Node>>),
    /// `{…}` or `key: …`, in the order of the file; keys are unique.
    Mapping(Arc<Vec<Entry>>),
}

/// One `key: value` of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: Arc<str>,
    /// Where the key stands.
    pub key_span: Span,
    /// What it maps to.
    pub value: Node,
}

impl Node {
    /// Nothing: `null`, `~` or no text at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// A word for the kind of content, for messages.
    pub fn kind_word(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { text, plain: true } if parse_bool(text).is_some() => "a boolean",
            Value::Scalar { text, plain: true } if is_number(text) => "a number",
            Value::Scalar { .. } => "text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// A plain scalar's boolean, as YAML 1.2 and Kubernetes' JSON conversion agree on it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether a plain scalar is a number rather than text.
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+' | b'_'))
        && text.parse::<f64>().is_ok()
        || text.strip_prefix("0x").is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
