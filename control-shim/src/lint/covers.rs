//! Whether one condition takes everything that another one would. Errs on the side of "no": regular expressions are compared as texts.

use ringway_config::model::{HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};

/// Whether every request that `inner` matches is matched by `outer` too.
pub fn covers(outer: &Match, inner: &Match) -> bool {
    // All fields by name: a new kind of condition has to be thought of here.
    let Match { path, ignore_case, method, scheme, authority, headers, query, source } = outer;
    path_covers(path, *ignore_case, &inner.path, inner.ignore_case)
        && optional_covers(method.as_ref(), inner.method.as_ref())
        && optional_covers(scheme.as_ref(), inner.scheme.as_ref())
        && optional_covers(authority.as_ref(), inner.authority.as_ref())
        && headers.iter().all(|header| inner.headers.iter().any(|of_inner| header_covers(header, of_inner)))
        && query.iter().all(|one| inner.query.iter().any(|of_inner| query_covers(one, of_inner)))
        && source.iter().all(|label| inner.source.contains(label))
}

fn path_covers(outer: &PathMatch, any_case: bool, inner: &PathMatch, inner_any_case: bool) -> bool {
    if is_any(outer) {
        return true;
    }
    // A path in any case is more than one path.
    if inner_any_case && !any_case {
        return false;
    }
    let (outer, inner) = if any_case { (&lower(outer), &lower(inner)) } else { (outer, inner) };
    match (outer, inner) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) | (PathMatch::Regex(a), PathMatch::Regex(b)) => a == b,
        (PathMatch::Prefix(a), PathMatch::Exact(b) | PathMatch::Prefix(b) | PathMatch::Segments(b)) => {
            b.starts_with(a.as_str())
        }
        (PathMatch::Segments(a), PathMatch::Exact(b) | PathMatch::Segments(b)) => under(a, b),
        // `/a/b` as bytes also starts `/a/bc`, which is still under `/a`, but `/a` also starts `/ab`, which is not.
        (PathMatch::Segments(a), PathMatch::Prefix(b)) => {
            b.strip_prefix(a.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    }
}

/// Whether a path matches every path.
fn is_any(path: &PathMatch) -> bool {
    match path {
        PathMatch::Any => true,
        PathMatch::Prefix(prefix) | PathMatch::Segments(prefix) => prefix == "/" || prefix.is_empty(),
        PathMatch::Regex(pattern) => pattern == ".*" || pattern == "/.*",
        PathMatch::Exact(_) => false,
    }
}

fn under(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn lower(path: &PathMatch) -> PathMatch {
    match path {
        PathMatch::Exact(text) => PathMatch::Exact(text.to_ascii_lowercase()),
        PathMatch::Prefix(text) => PathMatch::Prefix(text.to_ascii_lowercase()),
        PathMatch::Segments(text) => PathMatch::Segments(text.to_ascii_lowercase()),
        // Case does not change what an expression matches.
        other => other.clone(),
    }
}

fn optional_covers(outer: Option<&StringMatch>, inner: Option<&StringMatch>) -> bool {
    match (outer, inner) {
        (None, _) => true,
        (Some(outer), Some(inner)) => text_covers(outer, inner),
        (Some(_), None) => false,
    }
}

fn text_covers(outer: &StringMatch, inner: &StringMatch) -> bool {
    match (outer, inner) {
        (StringMatch::Present, _) => true,
        (StringMatch::Prefix(a), StringMatch::Exact(b) | StringMatch::Prefix(b)) => b.starts_with(a.as_str()),
        (StringMatch::Suffix(a), StringMatch::Exact(b) | StringMatch::Suffix(b)) => b.ends_with(a.as_str()),
        (a, b) => a == b,
    }
}

/// What must not match is the other way round: whoever may not have much may not have a part of it.
fn header_covers(outer: &HeaderMatch, inner: &HeaderMatch) -> bool {
    let HeaderMatch { name, value, invert } = outer;
    let covered = match (invert, inner.invert) {
        (false, false) => text_covers(value, &inner.value),
        (true, true) => text_covers(&inner.value, value),
        _ => false,
    };
    *name == inner.name && covered
}

fn query_covers(outer: &QueryMatch, inner: &QueryMatch) -> bool {
    let QueryMatch { name, value } = outer;
    *name == inner.name && text_covers(value, &inner.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use PathMatch::{Any, Exact, Prefix, Regex, Segments};
        let s = String::from;
        for (outer, inner, covered) in [
            (Any, Regex(s("/a")), true),
            (Prefix(s("/")), Any, true),
            (Regex(s("/.*")), Exact(s("/a")), true),
            (Exact(s("/a")), Any, false),
            (Exact(s("/a")), Exact(s("/a")), true),
            (Exact(s("/a")), Prefix(s("/a")), false),
            (Prefix(s("/a")), Exact(s("/ab")), true),
            (Prefix(s("/a")), Prefix(s("/a/b")), true),
            (Prefix(s("/a")), Segments(s("/ab")), true),
            (Prefix(s("/ab")), Prefix(s("/a")), false),
            (Segments(s("/a")), Exact(s("/a")), true),
            (Segments(s("/a")), Exact(s("/ab")), false),
            (Segments(s("/a")), Segments(s("/a/b")), true),
            (Segments(s("/a")), Prefix(s("/a")), false),
            (Segments(s("/a")), Prefix(s("/a/")), true),
            (Regex(s("/a.*")), Regex(s("/a.*")), true),
            (Regex(s("/a.*")), Exact(s("/ab")), false),
        ] {
            let of = |path| Match { path, ..Match::default() };
            assert_eq!(covers(&of(outer.clone()), &of(inner.clone())), covered, "{outer:?} {inner:?}");
        }
    }

    #[test]
    fn case_and_other_conditions() {
        let path =
            |text: &str, ignore_case| Match { path: PathMatch::Prefix(text.into()), ignore_case, ..Match::default() };
        assert!(covers(&path("/A", true), &path("/ab", false)));
        assert!(!covers(&path("/a", false), &path("/a", true)));
        let header = |value, invert| Match {
            headers: vec![HeaderMatch { name: "x".into(), value, invert }],
            ..Match::default()
        };
        let exact = |text: &str| StringMatch::Exact(text.into());
        assert!(covers(&Match::default(), &header(exact("a"), false)));
        assert!(!covers(&header(exact("a"), false), &Match::default()));
        assert!(covers(&header(StringMatch::Present, false), &header(exact("a"), false)));
        assert!(!covers(&header(StringMatch::Present, true), &header(exact("a"), true)));
        assert!(covers(&header(exact("a"), true), &header(StringMatch::Present, true)), "an absent header is no `a`");
        assert!(!covers(&header(exact("a"), true), &header(exact("a"), false)));
        let method = |text: &str| Match { method: Some(exact(text)), ..Match::default() };
        let from = |labels: &[&str]| Match {
            source: labels.iter().map(|name| ((*name).into(), "1".into())).collect(),
            ..Match::default()
        };
        assert!(covers(&from(&["a"]), &from(&["a", "b"])) && !covers(&from(&["a", "b"]), &from(&["a"])));
        assert!(covers(&method("GET"), &method("GET")) && !covers(&method("GET"), &method("POST")));
    }
}
