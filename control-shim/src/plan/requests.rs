//! Requests made from the conditions of routes: one that a route is meant for, and one just beside it.

use super::Seat;
use crate::explain::Request;
use ringway_config::model::{Domain, Match, PathMatch, StringMatch};
use std::collections::BTreeSet;

/// Most requests made for one seat.
const REQUESTS_MAX: usize = 50_000;

/// (listener, request) from the routes of both sides, each once.
pub(super) fn of_seat(seat: &Seat) -> Vec<(String, Request)> {
    let mut said = BTreeSet::new();
    let mut all = Vec::new();
    for side in seat.old.iter().chain(&seat.new) {
        for host in side.subject.view().hosts() {
            let model = host.model();
            let Some(domain) = model.domains.first() else { continue };
            let authority = authority(domain);
            let mut requests = vec![request(&authority, &Match::default(), "/")];
            for route in &model.routes {
                requests
                    .extend(paths(&route.matches.path).iter().map(|path| request(&authority, &route.matches, path)));
            }
            for request in requests {
                if all.len() < REQUESTS_MAX && said.insert(format!("{} {request:?}", model.listener)) {
                    all.push((model.listener.clone(), request));
                }
            }
        }
    }
    all
}

fn authority(domain: &Domain) -> String {
    let host = match domain.pattern.strip_prefix('*') {
        Some("") => "any.example".to_string(),
        Some(suffix) => format!("any{suffix}"),
        None if domain.pattern.contains(':') && !domain.pattern.starts_with('[') => format!("[{}]", domain.pattern),
        None => domain.pattern.clone(),
    };
    if domain.port == 0 { host } else { format!("{host}:{}", domain.port) }
}

fn paths(path: &PathMatch) -> Vec<String> {
    match path {
        PathMatch::Any => vec!["/".into()],
        PathMatch::Exact(text) => vec![rooted(text)],
        PathMatch::Prefix(text) | PathMatch::Segments(text) => {
            vec![rooted(text), rooted(&format!("{}/any", text.trim_end_matches('/')))]
        }
        PathMatch::Regex(pattern) => vec![rooted(&example_of(pattern))],
    }
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
}

fn request(authority: &str, matches: &Match, path: &str) -> Request {
    let query: Vec<String> = matches.query.iter().map(|q| format!("{}={}", q.name, example(&q.value))).collect();
    let target = if query.is_empty() { path.to_string() } else { format!("{path}?{}", query.join("&")) };
    // A header that must not match is left out: an absent one matches nothing.
    let headers = matches.headers.iter().filter(|header| !header.invert);
    Request {
        method: matches.method.as_ref().map_or("GET".into(), example),
        target,
        authority: matches.authority.as_ref().map_or(authority.to_string(), example),
        headers: headers.map(|header| (header.name.clone(), example(&header.value))).collect(),
    }
}

fn example(test: &StringMatch) -> String {
    match test {
        StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Suffix(text) => text.clone(),
        StringMatch::Regex(pattern) => example_of(pattern),
        StringMatch::Present => "any".into(),
    }
}

/// A text that many an expression matches: literals as they stand, the first of several alternatives, one of what may repeat. An expression for which this
/// does not hold gives a request beside its route, which is still a request.
fn example_of(pattern: &str) -> String {
    let mut out = String::new();
    let mut characters = pattern.chars().peekable();
    let mut depth = 0usize;
    // Inside of a group, everything behind the first `|` up to its end is left out.
    let mut skipping: Option<usize> = None;
    while let Some(character) = characters.next() {
        let made = match character {
            '\\' => match characters.next() {
                Some('d') => "1".into(),
                Some('w' | 'S') => "a".into(),
                Some('s') => " ".into(),
                Some('b' | 'B' | 'A' | 'z') | None => String::new(),
                Some(escaped) => escaped.to_string(),
            },
            '.' => "a".into(),
            '[' => class(&mut characters),
            '(' => {
                depth += 1;
                if characters.next_if_eq(&'?').is_some() {
                    // Flags and names end at `:` or `>`.
                    let _ = characters.by_ref().find(|c| matches!(c, ':' | '>' | ')'));
                }
                String::new()
            }
            ')' => {
                if skipping == Some(depth) {
                    skipping = None;
                }
                depth = depth.saturating_sub(1);
                String::new()
            }
            '|' => {
                skipping = skipping.or(Some(depth));
                String::new()
            }
            '^' | '$' | '*' | '+' | '?' => String::new(),
            '{' => {
                let _ = characters.by_ref().find(|c| *c == '}');
                String::new()
            }
            literal => literal.to_string(),
        };
        if skipping.is_none() {
            out.push_str(&made);
        }
    }
    out
}

/// The first character of a class; of a negated one, something unlikely to be in it.
fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let negated = characters.next_if_eq(&'^').is_some();
    let first = characters.next().unwrap_or('a');
    let first = if first == '\\' { characters.next().map_or('a', |c| if c == 'd' { '1' } else { 'a' }) } else { first };
    let mut before = first;
    for character in characters.by_ref() {
        if character == ']' && before != '\\' {
            break;
        }
        before = character;
    }
    if negated { "a".into() } else { first.to_string() }
}

#[cfg(test)]
mod tests {
    use super::example_of;

    #[test]
    fn examples_of_expressions() {
        for (pattern, text) in [
            ("/reviews/\\d+", "/reviews/1"),
            ("/(api|app)/v[12]/.*", "/api/v1/a"),
            ("/a(?:b|c)d?", "/abd"),
            ("/[^/]+/x", "/a/x"),
            ("/x{2,3}\\.html", "/x.html"),
            ("^/a|/b$", "/a"),
            ("(?i)/A", "/A"),
        ] {
            assert_eq!(example_of(pattern), text, "{pattern}");
        }
    }
}
