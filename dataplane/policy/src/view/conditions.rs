//! The conditions of one route, compiled, and the plain way to test them. The index only ever leaves out what this would refuse.

use ringway_config::model::{HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};

use super::pattern::{Pattern, Patterns};
use super::text::Text;
use crate::facts::Fields;

/// A request in the form that conditions test.
pub(crate) struct Request<'a> {
    /// Path without the query.
    pub path: &'a [u8],
    /// What follows the first `?`; empty when there is none.
    pub query: &'a [u8],
    pub method: &'a [u8],
    pub scheme: &'a [u8],
    /// Normalised, without the default port and with it: a pattern may mean either.
    pub authority: [&'a [u8]; 2],
    pub fields: &'a dyn Fields,
}

/// The first condition that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss<'a> {
    Path,
    Method,
    Scheme,
    Authority,
    Header(&'a str),
    Query(&'a str),
    Source,
}

/// The conditions of one route.
pub(crate) struct Conditions {
    pub path: PathTest,
    pub ignore_case: bool,
    /// All but the path; most routes have none.
    rest: Option<Box<Rest>>,
}

/// A condition on the path.
pub(crate) enum PathTest {
    Any,
    Exact(Text),
    Prefix(Text),
    /// Without its trailing slash; empty for `/`.
    Segments(Text),
    Pattern(Box<PathPattern>),
}

/// A pattern for the whole path.
pub(crate) struct PathPattern {
    whole: Pattern,
    /// What every path that matches starts with.
    pub(crate) start: Box<[u8]>,
}

struct Rest {
    /// Few routes test any of these.
    control: Option<Box<Control>>,
    headers: Box<[HeaderTest]>,
    query: Box<[QueryTest]>,
    /// The route is for other workloads than the proxy's.
    elsewhere: bool,
}

/// Conditions on a request's control data (RFC 9110 §6.2), but for the path.
struct Control {
    method: Option<TextTest>,
    scheme: Option<TextTest>,
    authority: Option<TextTest>,
}

struct HeaderTest {
    name: Box<str>,
    value: TextTest,
    invert: bool,
}

struct QueryTest {
    name: Box<str>,
    value: TextTest,
}

pub(crate) enum TextTest {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Pattern(Pattern),
    Present,
}

impl<'a> Request<'a> {
    /// Path and query of a request target.
    pub(crate) fn split_target(target: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        match target.iter().position(|b| *b == b'?') {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, b""),
        }
    }
}

impl Conditions {
    /// `own`: the labels of the proxy's workload. Err: why a pattern does not compile.
    pub(crate) fn compile(
        matches: &Match,
        own: &[(String, String)],
        patterns: &mut Patterns,
    ) -> Result<Conditions, String> {
        let path = match &matches.path {
            PathMatch::Any => PathTest::Any,
            PathMatch::Exact(path) => PathTest::Exact(path.as_bytes().into()),
            PathMatch::Prefix(prefix) => PathTest::Prefix(prefix.as_bytes().into()),
            PathMatch::Segments(prefix) => PathTest::Segments(prefix.trim_end_matches('/').as_bytes().into()),
            PathMatch::Regex(pattern) => {
                let (whole, start) = patterns.compile_with_start(pattern)?;
                PathTest::Pattern(Box::new(PathPattern { whole, start }))
            }
        };
        let mut text = |test: &Option<StringMatch>| test.as_ref().map(|t| TextTest::compile(t, patterns)).transpose();
        let (method, scheme) = (text(&matches.method)?, text(&matches.scheme)?);
        let authority = match &matches.authority {
            Some(StringMatch::Exact(s)) => Some(TextTest::Exact(bytes(&s.to_ascii_lowercase()))),
            Some(StringMatch::Prefix(s)) => Some(TextTest::Prefix(bytes(&s.to_ascii_lowercase()))),
            Some(StringMatch::Suffix(s)) => Some(TextTest::Suffix(bytes(&s.to_ascii_lowercase()))),
            other => text(other)?,
        };
        let headers = matches.headers.iter().map(|h| HeaderTest::compile(h, patterns)).collect::<Result<_, _>>()?;
        let query = matches.query.iter().map(|q| QueryTest::compile(q, patterns)).collect::<Result<_, _>>()?;
        let elsewhere = matches.source.iter().any(|label| !own.contains(label));
        let control = Control { method, scheme, authority };
        let rest = Rest { control: (!control.is_empty()).then(|| Box::new(control)), headers, query, elsewhere };
        let rest = if rest.is_empty() { None } else { Some(Box::new(rest)) };
        Ok(Conditions { path, ignore_case: matches.ignore_case, rest })
    }

    /// Whether all hold. `scratch` is cleared and used for values that have to be put together.
    pub(crate) fn hold(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> bool {
        self.miss(request, scratch).is_none()
    }

    /// The first that does not hold.
    pub(crate) fn miss(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<Miss<'_>> {
        if !self.path.holds(request.path, self.ignore_case) {
            return Some(Miss::Path);
        }
        self.rest.as_ref().and_then(|rest| rest.miss(request, scratch))
    }

    /// Whether all holds that the index does not know of: of the path, it knows all but patterns, and of those how they start.
    #[inline]
    pub(crate) fn rest_holds(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> bool {
        if let PathTest::Pattern(pattern) = &self.path
            && !pattern.holds(request.path)
        {
            return false;
        }
        match &self.rest {
            None => true,
            Some(rest) => rest.miss(request, scratch).is_none(),
        }
    }
}

impl PathPattern {
    /// Apart from what is done for every candidate, so that those without a pattern stay short.
    #[inline(never)]
    fn holds(&self, path: &[u8]) -> bool {
        self.whole.is_match(path)
    }
}

impl PathTest {
    fn holds(&self, path: &[u8], ignore_case: bool) -> bool {
        let starts = |prefix: &[u8]| match path.get(..prefix.len()) {
            Some(start) if ignore_case => start.eq_ignore_ascii_case(prefix),
            Some(start) => start == prefix,
            None => false,
        };
        match self {
            PathTest::Any => true,
            PathTest::Exact(whole) => path.len() == whole.len() && starts(whole),
            PathTest::Prefix(prefix) => starts(prefix),
            PathTest::Segments(prefix) => starts(prefix) && matches!(path.get(prefix.len()), None | Some(b'/')),
            PathTest::Pattern(pattern) => pattern.whole.is_match(path),
        }
    }
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.control.is_none() && self.headers.is_empty() && self.query.is_empty() && !self.elsewhere
    }

    fn miss(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<Miss<'_>> {
        if self.elsewhere {
            return Some(Miss::Source);
        }
        if let Some(miss) = self.control.as_ref().and_then(|control| control.miss(request)) {
            return Some(miss);
        }
        if let Some(test) = self.headers.iter().find(|test| !test.holds(request.fields, scratch)) {
            return Some(Miss::Header(&test.name));
        }
        let failed = self.query.iter().find(|test| !test.holds(request.query, scratch));
        failed.map(|test| Miss::Query(&test.name))
    }
}

impl Control {
    fn is_empty(&self) -> bool {
        self.method.is_none() && self.scheme.is_none() && self.authority.is_none()
    }

    fn miss(&self, request: &Request<'_>) -> Option<Miss<'static>> {
        let fails = |test: &Option<TextTest>, value: &[u8]| test.as_ref().is_some_and(|t| !t.holds(value));
        if fails(&self.method, request.method) {
            return Some(Miss::Method);
        }
        if fails(&self.scheme, request.scheme) {
            return Some(Miss::Scheme);
        }
        request.authority.iter().all(|form| fails(&self.authority, form)).then_some(Miss::Authority)
    }
}

impl HeaderTest {
    fn compile(header: &HeaderMatch, patterns: &mut Patterns) -> Result<HeaderTest, String> {
        let value = TextTest::compile(&header.value, patterns)?;
        Ok(HeaderTest { name: header.name.to_ascii_lowercase().into(), value, invert: header.invert })
    }

    fn holds(&self, fields: &dyn Fields, scratch: &mut Vec<u8>) -> bool {
        self.found(fields, scratch) != self.invert
    }

    /// Each value is tested, and all of them as the one list that RFC 9110 §5.3 lets anybody make of them: what matches must not depend on
    /// whether a hop before us joined the lines.
    fn found(&self, fields: &dyn Fields, scratch: &mut Vec<u8>) -> bool {
        let (mut lines, mut found) = (0, false);
        fields.each(&self.name, &mut |value| {
            lines += 1;
            found = found || self.value.holds(value);
        });
        if found || lines < 2 {
            return found;
        }
        scratch.clear();
        let mut first = true;
        fields.each(&self.name, &mut |value| {
            if !std::mem::take(&mut first) {
                scratch.push(b',');
            }
            scratch.extend_from_slice(value);
        });
        self.value.holds(scratch)
    }
}

impl QueryTest {
    fn compile(query: &QueryMatch, patterns: &mut Patterns) -> Result<QueryTest, String> {
        Ok(QueryTest { name: query.name.as_str().into(), value: TextTest::compile(&query.value, patterns)? })
    }

    fn holds(&self, query: &[u8], scratch: &mut Vec<u8>) -> bool {
        match parameter(query, self.name.as_bytes()) {
            None => false,
            Some(raw) if raw.contains(&b'%') => {
                percent_decode(raw, scratch);
                self.value.holds(scratch)
            }
            Some(raw) => self.value.holds(raw),
        }
    }
}

impl TextTest {
    pub(super) fn compile(test: &StringMatch, patterns: &mut Patterns) -> Result<TextTest, String> {
        Ok(match test {
            StringMatch::Exact(s) => TextTest::Exact(bytes(s)),
            StringMatch::Prefix(s) => TextTest::Prefix(bytes(s)),
            StringMatch::Suffix(s) => TextTest::Suffix(bytes(s)),
            StringMatch::Regex(pattern) => TextTest::Pattern(patterns.compile(pattern)?),
            StringMatch::Present => TextTest::Present,
        })
    }

    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self {
            TextTest::Exact(whole) => value == &**whole,
            TextTest::Prefix(prefix) => value.starts_with(prefix),
            TextTest::Suffix(suffix) => value.ends_with(suffix),
            TextTest::Pattern(regex) => regex.is_match(value),
            TextTest::Present => true,
        }
    }
}

impl std::fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Miss::Path => f.write_str("path"),
            Miss::Method => f.write_str("method"),
            Miss::Scheme => f.write_str("scheme"),
            Miss::Authority => f.write_str("authority"),
            Miss::Header(name) => write!(f, "header {name}"),
            Miss::Query(name) => write!(f, "query {name}"),
            Miss::Source => f.write_str("source"),
        }
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// The raw value of the first parameter called `name`.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|b| *b == b'&').find_map(|pair| match pair.strip_prefix(name)? {
        [] => Some(&b""[..]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    })
}

/// Decodes `%XX`; what is no such triple stays as it is, and so does `+` (RFC 3986 knows no other encoding in a query).
fn percent_decode(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let hex = |b: u8| char::from(b).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let byte = hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0);
                out.push(byte as u8);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
}
