//! Regular expressions: whole-value matches in linear time, of bounded size.
//!
//! Istio's patterns are RE2's, whose `\d`, `\w`, `\s` and `\b` are ASCII; so are ours, unless a pattern needs Unicode (`\p{…}`, `[é]`) to
//! compile at all. Paths and nearly all header values are ASCII anyway.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

/// Bytes that one compiled pattern may take.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bytes of state that matching one pattern may cache on one thread.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// Groups within groups.
const NEST_MAX: u32 = 50;

/// The patterns of one host: equal ones are compiled once.
#[derive(Default)]
pub(crate) struct Patterns {
    compiled: HashMap<String, Regex>,
}

impl Patterns {
    /// Err: why it does not compile.
    pub(crate) fn compile(&mut self, pattern: &str) -> Result<Regex, String> {
        if let Some(regex) = self.compiled.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = whole(pattern)?;
        self.compiled.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
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
    let anchored = format!(r"\A(?:{pattern})\z");
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
        ] {
            let regex = Patterns::default().compile(pattern).unwrap();
            assert_eq!(regex.is_match(value.as_bytes()), matches, "{pattern} on {value}");
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
            assert_eq!(Patterns::default().compile(pattern).unwrap_err(), why, "{pattern}");
        }
    }
}
