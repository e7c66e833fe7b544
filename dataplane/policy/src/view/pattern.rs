//! Regular expressions: whole-value matches in linear time, of bounded size.
//!
//! Istio's patterns are RE2's, whose `\d`, `\w`, `\s` and `\b` are ASCII; so are ours, unless a pattern needs Unicode (`\p{…}`, `[é]`) to
//! compile at all. Paths and nearly all header values are ASCII anyway.

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

/// Bytes that one compiled pattern may take.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bytes of state that matching one pattern may cache on one thread.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// Bytes of a pattern's table, and of what making it takes; a pattern that needs more stays a [`Regex`].
const TABLE_BYTES_MAX: usize = 16 << 10;
const TABLE_WORK_BYTES_MAX: usize = 128 << 10;
/// Groups within groups.
const NEST_MAX: u32 = 50;

/// The patterns of one host: equal ones are compiled once.
#[derive(Default)]
pub(crate) struct Patterns {
    compiled: HashMap<String, Pattern>,
}

/// A pattern for a whole value.
#[derive(Clone)]
pub(crate) enum Pattern {
    /// Every state with its next one for each byte: nothing is allocated to match, and most patterns of routes take one or two KiB.
    Table(Arc<dense::DFA<Vec<u32>>>),
    Regex(Regex),
}

impl Pattern {
    /// Whether the whole value matches.
    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Table(table) => {
                let input = Input::new(value).anchored(Anchored::Yes);
                // No table has bytes at which it gives up, so there is no error.
                table.try_search_fwd(&input).is_ok_and(|end| end.is_some())
            }
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Patterns {
    /// Err: why it does not compile.
    pub(crate) fn compile(&mut self, pattern: &str) -> Result<Pattern, String> {
        if let Some(compiled) = self.compiled.get(pattern) {
            return Ok(compiled.clone());
        }
        let compiled = match table(pattern) {
            Some(table) => Pattern::Table(Arc::new(table)),
            None => Pattern::Regex(whole(pattern)?),
        };
        self.compiled.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
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

/// What every value that matches starts with; empty where nothing can be said.
pub(crate) fn start_of(pattern: &str) -> Vec<u8> {
    let parse =
        |unicode| ParserBuilder::new().unicode(unicode).utf8(false).nest_limit(NEST_MAX).build().parse(pattern).ok();
    let mut start = Vec::new();
    if let Some(hir) = parse(false).or_else(|| parse(true)) {
        push_start(&hir, &mut start);
    }
    start
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

/// The table of a whole-value pattern. `None` where it would be too large, and where the pattern is not one: [`whole`] says why.
fn table(pattern: &str) -> Option<dense::DFA<Vec<u32>>> {
    let unicode = parse(pattern, false).is_none();
    // As it was written it has to be a pattern too, not only inside of our group.
    if unicode {
        parse(pattern, true)?;
    }
    let syntax = regex_automata::util::syntax::Config::new().unicode(unicode).utf8(false).nest_limit(NEST_MAX);
    let nfa =
        thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(PATTERN_BYTES_MAX));
    let dfa = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .accelerate(false)
        .dfa_size_limit(Some(TABLE_BYTES_MAX))
        .determinize_size_limit(Some(TABLE_WORK_BYTES_MAX));
    let mut builder = dense::Builder::new();
    builder.syntax(syntax).thompson(nfa).configure(dfa);
    builder.build(&anchored(pattern)).ok()
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
            assert!(table.memory_usage() < 8 << 10, "{pattern}: {} bytes", table.memory_usage());
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
                let table = Pattern::Table(Arc::new(table));
                for value in &values {
                    prop_assert_eq!(table.is_match(value.as_bytes()), regex.is_match(value.as_bytes()), "{} on {}", pattern, value);
                }
            }
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
            assert_eq!(start_of(pattern), start.as_bytes(), "{pattern}");
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
