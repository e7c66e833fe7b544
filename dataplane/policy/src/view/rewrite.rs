//! New paths and Location values. Both start from the condition that matched, so that what is replaced is what was matched.

use ringway_config::model::{PathRewrite, Redirect};

use super::conditions::PathTest;
use super::regex_rewrite::RegexRewrite;
use super::{Answer, View};
use crate::authority;
use crate::decide::{Local, LocalKind, Plan};
use crate::facts::Facts;

impl View {
    /// Appends the rewritten target (path and query) to `out`; false: unchanged, use the received one. The query stays, unless the replacement brings
    /// one of its own.
    pub fn rewrite_path(&self, plan: &Plan, path: &[u8], out: &mut Vec<u8>) -> bool {
        let (forward, _) = self.forward(plan);
        if let PathRewrite::Regex { .. } = forward.path {
            let regex = self.hosting.hosts.get(plan.host as usize).and_then(|host| host.regex_rewrite(plan.action));
            return regex.is_some_and(|regex| rewrite_matches(regex, path, out));
        }
        rewrite(self.matched(plan.host, plan.route), &forward.path, path, out)
    }

    /// Appends the Location of a redirect to `out`; nothing for any other answer.
    ///
    /// What is not given stays as the client sent it; the scheme's own port is not written.
    pub fn location(&self, local: &Local, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let LocalKind::Redirect { host, action } = local.kind else { return };
        let Some(Answer::Redirect { redirect, .. }) = self.answer(host, action) else { return };
        location_origin(redirect, facts, out);
        if !rewrite(self.matched(host, local.route), &redirect.path, facts.path, out) {
            // `OPTIONS *` has no path to keep.
            let path = if facts.path.starts_with(b"/") { facts.path } else { b"/" };
            out.extend_from_slice(path);
        }
    }
}

impl View {
    fn matched(&self, host: u32, route: u32) -> &PathTest {
        self.compiled(host, route).map_or(&PathTest::Any, |route| &route.conditions.path)
    }
}

fn location_origin(redirect: &Redirect, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let scheme = if redirect.scheme.is_empty() { facts.scheme } else { &redirect.scheme };
    let (received_host, bracketed, received_port) = authority::split(facts.authority).unwrap_or((b"", false, b""));
    let (host, brackets) = match redirect.host.as_bytes() {
        b"" => (received_host, bracketed),
        host => (host, redirect.host.contains(':') && !redirect.host.starts_with('[')),
    };
    if host.is_empty() {
        // HTTP/1.0 without Host: only a path can be told (RFC 9110 §10.2.2 allows a relative reference).
        return;
    }
    out.extend_from_slice(scheme.as_bytes());
    out.extend_from_slice(b"://");
    out.extend_from_slice(if brackets { b"[" } else { b"" });
    out.extend_from_slice(host);
    out.extend_from_slice(if brackets { b"]" } else { b"" });
    let mut given = [0; 5];
    let port = match redirect.port {
        // What was left unsaid by the client, or could have been, stays unsaid.
        None if scheme != facts.scheme && received_port == own_port(facts.scheme) => b"",
        None => received_port,
        Some(0) => b"",
        Some(port) => decimal(port, &mut given),
    };
    if !port.is_empty() && port != own_port(scheme) {
        out.push(b':');
        out.extend_from_slice(port);
    }
}

fn own_port(scheme: &str) -> &'static [u8] {
    if scheme == "https" { b"443" } else { b"80" }
}

/// The query takes no part and stays.
fn rewrite_matches(regex: &RegexRewrite, target: &[u8], out: &mut Vec<u8>) -> bool {
    if !target.starts_with(b"/") {
        return false;
    }
    let (path, query) = target.split_at(target.iter().position(|b| *b == b'?').unwrap_or(target.len()));
    let start = out.len();
    regex.apply(path, out);
    if !out[start..].starts_with(b"/") {
        out.insert(start, b'/');
    }
    out.extend_from_slice(query);
    true
}

fn rewrite(matched: &PathTest, rewrite: &PathRewrite, target: &[u8], out: &mut Vec<u8>) -> bool {
    if !target.starts_with(b"/") {
        return false;
    }
    let (path, query) = target.split_at(target.iter().position(|b| *b == b'?').unwrap_or(target.len()));
    let after = |matched: usize| path.get(matched..).unwrap_or_default();
    let (new, rest) = match rewrite {
        // The ones with a pattern are compiled; see above.
        PathRewrite::Keep | PathRewrite::Regex { .. } => return false,
        PathRewrite::Full(new) => (new.as_str(), &b""[..]),
        PathRewrite::Prefix(new) => (new.as_str(), after(matched_bytes(matched, path))),
        PathRewrite::Segments(new) => (new.trim_end_matches('/'), after(matched_segments(matched, path))),
    };
    // Whatever bytes were cut, a path starts with a slash (RFC 9112 §3.2.1).
    if !new.starts_with('/') && (!new.is_empty() || !rest.starts_with(b"/")) {
        out.push(b'/');
    }
    out.extend_from_slice(new.as_bytes());
    out.extend_from_slice(rest);
    if !new.contains('?') {
        out.extend_from_slice(query);
    }
    true
}

/// Bytes that a bytewise replacement takes away. A route without a path condition matched the prefix `/` (Istio's API says so of `uri`).
fn matched_bytes(matched: &PathTest, path: &[u8]) -> usize {
    match matched {
        PathTest::Any => 1,
        PathTest::Prefix(prefix) | PathTest::Segments(prefix) => prefix.len(),
        PathTest::Exact(_) | PathTest::Pattern(_) => path.len(),
    }
}

/// Bytes that a replacement of segments takes away: what is left is empty or starts with a slash, if segments were matched.
fn matched_segments(matched: &PathTest, path: &[u8]) -> usize {
    match matched {
        PathTest::Any => 0,
        PathTest::Prefix(prefix) | PathTest::Segments(prefix) => {
            prefix.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1)
        }
        PathTest::Exact(_) | PathTest::Pattern(_) => path.len(),
    }
}

fn decimal(number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let mut rest = number;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::conditions::Conditions;
    use crate::view::pattern::Patterns;
    use ringway_config::model::{Match, PathMatch};

    #[test]
    fn paths() {
        use PathMatch::{Any, Exact, Prefix, Regex, Segments};
        use PathRewrite as R;
        let s = String::from;
        for (matched, rule, target, new) in [
            (Any, R::Keep, "/a", None),
            (Any, R::Full(s("/x")), "*", None),
            (Any, R::Full(s("/x")), "/a?b=c", Some("/x?b=c")),
            (Any, R::Full(s("/x?y=1")), "/a?b=c", Some("/x?y=1")),
            (Any, R::Full(s("")), "/a", Some("/")),
            (Any, R::Full(s("x")), "/a", Some("/x")),
            (Any, R::Prefix(s("/v1/")), "/a?b", Some("/v1/a?b")),
            (Prefix(s("/a")), R::Prefix(s("/x")), "/ab/c?d=/e?f", Some("/xb/c?d=/e?f")),
            (Prefix(s("/a/")), R::Prefix(s("/")), "/a/b", Some("/b")),
            (Prefix(s("/a")), R::Prefix(s("/")), "/a/b", Some("//b")),
            (Prefix(s("/a")), R::Prefix(s("")), "/ab", Some("/b")),
            (Prefix(s("/a")), R::Prefix(s("")), "/a", Some("/")),
            (Exact(s("/a/b")), R::Prefix(s("/x")), "/a/b?q", Some("/x?q")),
            (Regex(s("/.*")), R::Prefix(s("/x")), "/a/b?q", Some("/x?q")),
            (Segments(s("/a")), R::Prefix(s("/x")), "/a/b", Some("/x/b")),
            // The table of HTTPPathModifier.replacePrefixMatch in the Gateway API.
            (Segments(s("/foo")), R::Segments(s("/xyz")), "/foo/bar", Some("/xyz/bar")),
            (Segments(s("/foo")), R::Segments(s("/xyz/")), "/foo/bar", Some("/xyz/bar")),
            (Segments(s("/foo/")), R::Segments(s("/xyz")), "/foo/bar", Some("/xyz/bar")),
            (Segments(s("/foo/")), R::Segments(s("/xyz/")), "/foo/bar", Some("/xyz/bar")),
            (Segments(s("/foo")), R::Segments(s("/xyz")), "/foo", Some("/xyz")),
            (Segments(s("/foo")), R::Segments(s("/xyz")), "/foo/", Some("/xyz/")),
            (Segments(s("/foo")), R::Segments(s("")), "/foo/bar", Some("/bar")),
            (Segments(s("/foo")), R::Segments(s("")), "/foo/", Some("/")),
            (Segments(s("/foo")), R::Segments(s("")), "/foo", Some("/")),
            (Segments(s("/foo")), R::Segments(s("/")), "/foo/", Some("/")),
            (Segments(s("/foo")), R::Segments(s("/")), "/foo", Some("/")),
            (Segments(s("/")), R::Segments(s("/xyz")), "/foo?q", Some("/xyz/foo?q")),
            (Any, R::Segments(s("/xyz")), "/foo", Some("/xyz/foo")),
        ] {
            let mut out = b"before ".to_vec();
            let matches = Match { path: matched.clone(), ..Match::default() };
            let conditions = Conditions::compile(&matches, &[], &mut Patterns::default()).unwrap();
            let changed = rewrite(&conditions.path, &rule, target.as_bytes(), &mut out);
            let said = changed.then(|| std::str::from_utf8(&out[7..]).unwrap());
            assert_eq!(said, new, "{matched:?} {rule:?} {target}");
        }
    }

    #[test]
    fn origins() {
        let redirect = |scheme: &str, host: &str, port| Redirect {
            scheme: scheme.into(),
            host: host.into(),
            port,
            ..Redirect::default()
        };
        for (rule, scheme, authority, origin) in [
            (redirect("", "", None), "http", "Example.com", "http://Example.com"),
            (redirect("", "", None), "http", "example.com:80", "http://example.com"),
            (redirect("", "", None), "http", "example.com:8080", "http://example.com:8080"),
            (redirect("https", "", None), "http", "example.com:8080", "https://example.com:8080"),
            (redirect("https", "", None), "http", "example.com:80", "https://example.com"),
            (redirect("http", "", None), "https", "example.com:443", "http://example.com"),
            (redirect("https", "", Some(0)), "http", "example.com:8080", "https://example.com"),
            (redirect("https", "", Some(443)), "http", "example.com", "https://example.com"),
            (redirect("https", "", Some(8443)), "http", "example.com:80", "https://example.com:8443"),
            (redirect("http", "", Some(0)), "http", "example.com:8080", "http://example.com"),
            (redirect("", "other.org", None), "http", "example.com:8080", "http://other.org:8080"),
            (redirect("", "other.org", Some(0)), "https", "example.com:8443", "https://other.org"),
            (redirect("", "other.org", Some(80)), "http", "example.com:8080", "http://other.org"),
            (redirect("", "", Some(443)), "http", "example.com", "http://example.com:443"),
            (redirect("", "", Some(65535)), "https", "[::1]:443", "https://[::1]:65535"),
            (redirect("", "2001:db8::1", None), "http", "a", "http://[2001:db8::1]"),
            (redirect("https", "", None), "http", "", ""),
        ] {
            let facts = Facts {
                client: std::net::IpAddr::from([127, 0, 0, 1]),
                listener: 0,
                method: b"GET",
                path: b"/",
                authority: authority.as_bytes(),
                scheme,
                fields: &crate::NoFields,
                host_absent: false,
                delayed: false,
            };
            let mut out = Vec::new();
            location_origin(&rule, &facts, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), origin, "{rule:?} {authority}");
        }
    }
}
