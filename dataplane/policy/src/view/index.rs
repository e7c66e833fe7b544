//! Finds the first matching route of a host without looking at all of them.
//!
//! Routes are first-match in list order. The index gathers the routes whose *path* condition holds from ascending lists: what ends at a segment's
//! end (hash lookups), other prefixes, what patterns start with, and those that ignore case (a walk down a radix tree each), and the rest (any path,
//! patterns that may start with anything). In each list
//! the first route whose other conditions hold is its candidate; the lowest candidate is the answer. Conditions are pure, so the order in which
//! lists are looked at cannot change it, only how early a list is left: nothing at or after the best candidate is tested.

use super::conditions::{PathTest, Request};
use super::host::Compiled;
use super::paths::Paths;
use super::trie::{After, Entry, Trie};

/// Lists up to this length are scanned: that is as fast as any lookup.
pub(crate) const SCAN_ROUTES_MAX: usize = 8;

/// How to find a host's route.
pub(crate) enum Index {
    Scan,
    Tables(Box<Tables>),
}

pub(crate) struct Tables {
    segments: Paths,
    prefixes: Trie,
    ignoring_case: Trie,
    /// Routes for any path or with a pattern that may start with anything, ascending.
    others: Box<[u32]>,
}

impl Index {
    pub(crate) fn new(routes: &[Compiled]) -> Index {
        if routes.len() <= SCAN_ROUTES_MAX { Index::Scan } else { Index::Tables(Box::new(Tables::new(routes))) }
    }

    /// The number of the first route that matches.
    #[inline]
    pub(crate) fn find(&self, routes: &[Compiled], request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
        match self {
            Index::Scan => scan(routes, request, scratch),
            Index::Tables(tables) => tables.find(routes, request, scratch),
        }
    }
}

/// What every index has to agree with.
pub(crate) fn scan(routes: &[Compiled], request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
    routes.iter().position(|route| route.conditions.hold(request, scratch)).map(|n| n as u32)
}

impl Tables {
    fn new(routes: &[Compiled]) -> Tables {
        let mut segments: Vec<(&[u8], Entry)> = Vec::new();
        let mut others = Vec::new();
        let (mut prefixes, mut ignoring_case) = (Trie::new(false), Trie::new(true));
        for (conditions, route) in routes.iter().map(|r| &r.conditions).zip(0..) {
            let (key, after): (&[u8], After) = match &conditions.path {
                PathTest::Exact(path) => (path, After::End),
                PathTest::Segments(prefix) => (prefix, After::Boundary),
                PathTest::Prefix(prefix) => match prefix.strip_suffix(b"/") {
                    Some(front) => (front, After::Slash),
                    None => (prefix, After::Anything),
                },
                PathTest::Pattern(pattern) if !pattern.start.is_empty() => {
                    prefixes.insert(&pattern.start, route, After::Anything);
                    continue;
                }
                PathTest::Any | PathTest::Pattern(_) => {
                    others.push(route);
                    continue;
                }
            };
            match after {
                _ if conditions.ignore_case => ignoring_case.insert(key, route, after),
                After::Anything => prefixes.insert(key, route, after),
                After::Boundary | After::Slash | After::End => segments.push((key, Entry { route, after })),
            }
        }
        prefixes.shrink();
        ignoring_case.shrink();
        Tables { segments: Paths::new(segments), prefixes, ignoring_case, others: others.into() }
    }

    fn find(&self, routes: &[Compiled], request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
        let mut best = u32::MAX;
        let mut consider = |entries: &[Entry], following| {
            for entry in entries.iter().take_while(|e| e.route < best) {
                let conditions = &routes[entry.route as usize].conditions;
                if entry.allows(following) && conditions.rest_holds(request, scratch) {
                    best = entry.route;
                    return;
                }
            }
        };
        self.segments.walk(request.path, &mut consider);
        self.prefixes.walk(request.path, &mut consider);
        self.ignoring_case.walk(request.path, &mut consider);
        for number in self.others.iter().take_while(|n| **n < best) {
            if routes[*number as usize].conditions.hold(request, scratch) {
                return Some(*number);
            }
        }
        (best != u32::MAX).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoFields;
    use crate::view::conditions::Conditions;
    use crate::view::pattern::Patterns;
    use proptest::prelude::*;
    use ringway_config::model::{Match, PathMatch, RuleId, StringMatch};

    /// Paths of few letters, so that prefixes nest.
    fn path() -> impl Strategy<Value = String> {
        "(/[aAb]{0,2}){1,4}|[/aA]{0,3}"
    }

    fn route() -> impl Strategy<Value = Match> {
        let path = prop_oneof![
            1 => Just(PathMatch::Any),
            5 => path().prop_map(PathMatch::Exact),
            5 => path().prop_map(PathMatch::Prefix),
            5 => path().prop_map(PathMatch::Segments),
            1 => Just(PathMatch::Regex("(/a|/Ab)+".into())),
            1 => Just(PathMatch::Regex("/a/?[aAb]*".into())),
            1 => Just(PathMatch::Regex("[aA]*|/.*b".into())),
        ];
        let method = prop::option::weighted(0.4, "[GP]".prop_map(StringMatch::Exact));
        let matches = |(path, ignore_case, method)| Match { path, ignore_case, method, ..Match::default() };
        (path, prop::bool::weighted(0.3), method).prop_map(matches)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Indexed however few routes there are.
        #[test]
        fn equals_the_scan(
            routes in prop::collection::vec(route(), 0..40),
            requests in prop::collection::vec((path(), "[GPX]"), 1..30),
        ) {
            let mut patterns = Patterns::default();
            let mut compile = |matches| Compiled {
                faulty: false,
                rule: RuleId(0),
                action: 0,
                conditions: Conditions::compile(matches, &[], &mut patterns).unwrap(),
            };
            let routes: Vec<_> = routes.iter().map(&mut compile).collect();
            let tables = Tables::new(&routes);
            for (path, method) in &requests {
                let (path, method) = (path.as_bytes(), method.as_bytes());
                let request =
                    Request { path, query: b"", method, scheme: b"http", authority: [b"a", b"a:80"], fields: &NoFields };
                let mut scratch = Vec::new();
                prop_assert_eq!(tables.find(&routes, &request, &mut scratch), scan(&routes, &request, &mut scratch));
            }
        }
    }
}
