//! Regular expressions: whole-value matches in linear time, of bounded size.
//!
//! Istio's patterns are RE2's, whose `\d`, `\w`, `\s` and `\b` are ASCII; so are ours, unless a pattern needs Unicode (`\p{…}`, `[é]`) to
//! compile at all. Paths and nearly all header values are ASCII anyway.

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::table::Table;

/// Bytes that one compiled pattern may take.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bytes of state that matching one pattern may cache on one thread.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// Tables looked at before a new one is made.
const TAILS_MAX: usize = 16;
/// Groups within groups.
const NEST_MAX: u32 = 50;

/// The patterns of a view: equal ones are compiled once, and so is what equal ones go on with.
#[derive(Default)]
pub(crate) struct Patterns {
    compiled: HashMap<String, Pattern>,
    /// Tables that were made last.
    tails: Vec<(Hir, Arc<Table>)>,
}

/// A pattern for a whole value.
#[derive(Clone)]
pub(crate) enum Pattern {
    /// What most patterns of routes are: a text, and how it may go on. Many routes of a host go on alike.
    Table { text: Arc<[u8]>, tail: Arc<Table> },
    /// The others.
    Regex(Regex),
}

impl Pattern {
    /// Whether the whole value matches.
    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Table { text, tail } => value.strip_prefix(&**text).is_some_and(|rest| tail.is_match(rest)),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Patterns {
    /// Err: why it does not compile.
    pub(crate) fn compile(&mut self, pattern: &str) -> Result<Pattern, String> {
        match self.compiled.get(pattern) {
            Some(compiled) => Ok(compiled.clone()),
            None => self.compile_read(pattern, read(pattern)),
        }
    }

    /// The same with what every value that matches starts with; empty where nothing can be said.
    pub(crate) fn compile_with_start(&mut self, pattern: &str) -> Result<(Pattern, Box<[u8]>), String> {
        let read = read(pattern);
        let mut start = Vec::new();
        if let Some(hir) = &read {
            push_start(hir, &mut start);
        }
        let compiled = self.compiled.get(pattern).cloned();
        Ok((compiled.map_or_else(|| self.compile_read(pattern, read), Ok)?, start.into()))
    }

    fn compile_read(&mut self, pattern: &str, read: Option<Hir>) -> Result<Pattern, String> {
        let table = read.and_then(|hir| {
            let (text, tail) = split_text(hir);
            Some(Pattern::Table { text: text.into(), tail: self.tail(tail)? })
        });
        let compiled = match table {
            Some(table) => table,
            None => Pattern::Regex(whole(pattern)?),
        };
        self.compiled.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }

    fn tail(&mut self, tail: Hir) -> Option<Arc<Table>> {
        if let Some((_, table)) = self.tails.iter().find(|(known, _)| *known == tail) {
            return Some(table.clone());
        }
        let table = Arc::new(Table::new(tail.clone(), PATTERN_BYTES_MAX)?);
        if self.tails.len() == TAILS_MAX {
            self.tails.remove(0);
        }
        self.tails.push((tail, table.clone()));
        Some(table)
    }
}

impl Patterns {
    /// A pattern that may match anywhere. Err: why it does not compile.
    pub(crate) fn anywhere(pattern: &str) -> Result<Regex, String> {
        let built = match build(pattern, false) {
            Err(regex::Error::Syntax(_)) => build(pattern, true),
            other => other,
        };
        built.map_err(|e| reason(&e))
    }
}

/// A pattern in its parts; `None` where it is not one: [`whole`] says why.
fn read(pattern: &str) -> Option<Hir> {
    let parsed = |pattern: &str| parse(pattern, false).or_else(|| parse(pattern, true));
    // A comment has no end where a group is put around it, as RE2 would not take it at all.
    if pattern.contains('#') {
        parsed(&anchored(pattern))?;
    }
    parsed(pattern)
}

/// The text that a whole value starts with, and a pattern for what follows it.
fn split_text(pattern: Hir) -> (Box<[u8]>, Hir) {
    let parts = match pattern.kind() {
        HirKind::Literal(text) => return (text.0.clone(), Hir::empty()),
        HirKind::Concat(parts) => parts,
        _ => return (Box::default(), pattern),
    };
    // A whole value starts where `^` does.
    let skipped = usize::from(matches!(parts[0].kind(), HirKind::Look(Look::Start)));
    let Some(HirKind::Literal(text)) = parts.get(skipped).map(Hir::kind) else { return (Box::default(), pattern) };
    let (text, tail) = (text.0.clone(), Hir::concat(parts[skipped + 1..].to_vec()));
    // What looks back has to see the text.
    let looks_back = tail.properties().look_set().iter().any(|look| look != Look::End);
    if looks_back { (Box::default(), pattern) } else { (text, tail) }
}

fn parse(pattern: &str, unicode: bool) -> Option<Hir> {
    ParserBuilder::new().unicode(unicode).utf8(false).nest_limit(NEST_MAX).build().parse(pattern).ok()
}

/// Appends what a match of this part starts with.
fn push_start(part: &Hir, start: &mut Vec<u8>) {
    match part.kind() {
        HirKind::Literal(text) => start.extend_from_slice(&text.0),
        HirKind::Capture(group) => push_start(&group.sub, start),
        HirKind::Repetition(repeated) if repeated.min > 0 => push_start(&repeated.sub, start),
        HirKind::Concat(parts) => {
            let is_anchor = |part: &&Hir| matches!(part.kind(), HirKind::Look(Look::Start));
            if let Some(first) = parts.iter().find(|part| !is_anchor(part)) {
                push_start(first, start);
            }
        }
        _ => {}
    }
}

impl super::View {
    /// Whether a pattern will compile here, for those who write config. Err: why it does not.
    pub fn check_pattern(pattern: &str) -> Result<(), String> {
        whole(pattern).map(drop)
    }
}

fn whole(pattern: &str) -> Result<Regex, String> {
    let anchored = anchored(pattern);
    let built = match build(&anchored, false) {
        Err(regex::Error::Syntax(_)) => build(&anchored, true),
        other => other,
    };
    // `a)|(b` is no pattern, but becomes one inside of our group. And what is wrong is better said of the pattern as it was written.
    if built.is_err() || pattern.contains(')') {
        build(pattern, true).map_err(|e| reason(&e))?;
    }
    built.map_err(|e| reason(&e))
}

fn anchored(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}

fn build(pattern: &str, unicode: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(unicode)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .nest_limit(NEST_MAX)
        .build()
}

/// One line: the last one of a syntax error's drawing says what is wrong.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("compiles to more than {limit} bytes"),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(pattern: &str) -> Option<Table> {
        Table::new(read(pattern)?, PATTERN_BYTES_MAX)
    }

    #[test]
    fn whole_values() {
        for (pattern, value, matches) in [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("b", "abc", false),
            (".*b", "ab", true),
            ("^/v[0-9]+$", "/v12", true),
            (r"/\d+", "/12", true),
            (r"/\d+", "/१२", false),
            ("(?i)/ABC", "/abc", true),
            (r"\p{L}+", "é", true),
            ("[é]", "é", true),
            (".*", "a\nb", false),
            ("", "", true),
            ("", "a", false),
            (r"\bab\b", "ab", true),
            (r"(?m)^a$", "a", true),
            (r"(?m)^a$", "a\n", false),
            (r"[^/]+", "\u{1f600}", true),
        ] {
            let compiled = Patterns::default().compile(pattern).unwrap();
            assert_eq!(compiled.is_match(value.as_bytes()), matches, "{pattern} on {value}");
            assert_eq!(whole(pattern).unwrap().is_match(value.as_bytes()), matches, "{pattern} on {value}");
        }
    }

    #[test]
    fn patterns_of_routes_are_small_tables() {
        for pattern in
            ["/api/v[0-9]+/.*", "/users/[a-z0-9-]+/orders/[0-9]{1,8}", "(?i)firefox.*", r".*\.(png|jpe?g|css)"]
        {
            let Some(table) = table(pattern) else { panic!("{pattern} has no table") };
            assert!(table.bytes() < 2 << 10, "{pattern}: {} bytes", table.bytes());
        }
        for pattern in [r"\p{L}+", "(a|b)*a(a|b){12}", r"[é]\b"] {
            assert!(table(pattern).is_none() && Patterns::default().compile(pattern).is_ok(), "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn tables_agree_with_the_library(
            pattern in r"((\(a|b\)|\[ab/\]|a|b|/|\.|é|\^|\$|\\b)[*+?]?){0,6}",
            values in prop::collection::vec("[ab/é\n]{0,8}", 1..20),
        ) {
            if let (Some(table), Ok(regex)) = (table(&pattern), whole(&pattern)) {
                let split = Patterns::default().compile(&pattern).unwrap();
                for value in values.iter().map(String::as_bytes) {
                    let matches = regex.is_match(value);
                    prop_assert_eq!(table.is_match(value), matches, "{} on {:?}", pattern, value);
                    prop_assert_eq!(split.is_match(value), matches, "{} split, on {:?}", pattern, value);
                }
            }
        }
    }

    #[test]
    fn patterns_that_go_on_alike_share_a_table() {
        let mut patterns = Patterns::default();
        let mut tail = |pattern: &str| match patterns.compile(pattern) {
            Ok(Pattern::Table { text, tail }) => (text, tail),
            _ => panic!("{pattern} has no table"),
        };
        let (text, one) = tail("/a/[0-9]+");
        assert_eq!(*text, *b"/a/");
        for alike in ["/b/[0-9]+", "^/c/[0-9]+", "[0-9]+"] {
            assert!(Arc::ptr_eq(&one, &tail(alike).1), "{alike}");
        }
        // Whether a word ends is seen from both sides.
        for (looks_back, text) in [(r"/a\b[0-9]+", ""), (r"/a(?m:^)[0-9]+", ""), ("/a[0-9]+$", "/a")] {
            assert_eq!(*tail(looks_back).0, *text.as_bytes(), "{looks_back}");
        }
    }

    #[test]
    fn starts() {
        for (pattern, start) in [
            ("/api/v[0-9]+/x", "/api/v"),
            ("^/api/.*", "/api/"),
            ("/a", "/a"),
            (r"/a\.b\d", "/a.b"),
            ("(/a)/b", "/a"),
            ("(/ab)+", "/ab"),
            ("(/ab|/ac)+", ""),
            ("/ab?", "/a"),
            ("/ab*", "/a"),
            ("/é.*", "/é"),
            ("/a|b", ""),
            ("(/a)?/b", ""),
            ("(?i)/a", "/"),
            ("(?m)^/a", ""),
            (".*", ""),
            ("", ""),
            ("(", ""),
        ] {
            let found = Patterns::default().compile_with_start(pattern).map(|(_, start)| start);
            assert_eq!(found.unwrap_or_default(), start.as_bytes().into(), "{pattern}");
        }
    }

    #[test]
    fn refusals() {
        for (pattern, why) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("(?x)a #", "unclosed group"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
            ("(?:a{1000}){1000}", "compiles to more than 1048576 bytes"),
        ] {
            assert_eq!(Patterns::default().compile(pattern).err().as_deref(), Some(why), "{pattern}");
        }
    }
}
