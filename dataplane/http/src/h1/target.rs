//! The request-target in its four forms (RFC 9112 §3.2).

use crate::h1::RequestError;
use crate::h1::authority::{is_authority, is_authority_with_port};
use crate::head::{Method, Span};
use crate::token::{is_target_byte, plain_target_len};

/// What a target says; spans into the head's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Path and query.
    pub path: Span,
    /// Where the query starts, or `path.end`.
    pub query_at: u16,
    /// The authority of an absolute-form or authority-form target.
    pub authority: Option<Span>,
    /// `scheme://authority/…`.
    pub absolute_form: bool,
    /// The scheme of an absolute-form target is `https`.
    pub https: bool,
}

/// Takes a target apart.
pub(super) fn parse(bytes: &[u8], target: Span, method: Method) -> Result<Target, RequestError> {
    match (target.of(bytes), method) {
        (_, Method::Connect) => authority_form(bytes, target),
        ([b'/', ..], _) => Ok(local(target, query_at(bytes, target)?)),
        (b"*", Method::Options) => Ok(local(target, target.end)),
        _ => absolute_form(bytes, target, method),
    }
}

fn local(path: Span, query_at: u16) -> Target {
    Target { path, query_at, authority: None, absolute_form: false, https: false }
}

fn authority_form(bytes: &[u8], target: Span) -> Result<Target, RequestError> {
    if !is_authority_with_port(target.of(bytes)) {
        return Err(RequestError::TargetForm);
    }
    let path = Span { start: target.end, end: target.end };
    Ok(Target { authority: Some(target), ..local(path, target.end) })
}

/// `http://a/b?c`. An empty path means `/`, whose byte is lent by the scheme's second slash; an empty path before a query, or of an
/// `OPTIONS` (where it means `*`, RFC 9112 §3.2.4), has no bytes to stand for it and is refused.
fn absolute_form(bytes: &[u8], target: Span, method: Method) -> Result<Target, RequestError> {
    let (https, scheme_len) = match target.of(bytes) {
        text if starts_with_ignore_case(text, b"http://") => (false, 7),
        text if starts_with_ignore_case(text, b"https://") => (true, 8),
        _ => return Err(RequestError::TargetForm),
    };
    let start = target.start + scheme_len;
    let after_scheme = Span { start, end: target.end };
    let authority_len = after_scheme.of(bytes).iter().position(|b| b"/?#".contains(b)).unwrap_or(after_scheme.len());
    let authority = Span { start, end: start + authority_len as u16 };
    if !is_authority(authority.of(bytes)) {
        return Err(RequestError::AuthorityInvalid);
    }
    let path = Span { start: authority.end, end: target.end };
    let target = match path.of(bytes).first() {
        Some(b'/') => local(path, query_at(bytes, path)?),
        Some(b'#') => return Err(RequestError::TargetFragment),
        None if method != Method::Options => local(Span { start: start - 1, end: start }, start),
        _ => return Err(RequestError::TargetForm),
    };
    Ok(Target { authority: Some(authority), absolute_form: true, https, ..target })
}

fn starts_with_ignore_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Checks path and query, and gives the position of `?`.
fn query_at(bytes: &[u8], path: Span) -> Result<u16, RequestError> {
    let text = path.of(bytes);
    let (mut query, mut at) = (None, plain_target_len(text));
    while let Some(&byte) = text.get(at) {
        match byte {
            b'#' => return Err(RequestError::TargetFragment),
            b'%' if text[at + 1..].starts_with(b"00") => return Err(RequestError::TargetNul),
            b'?' if query.is_none() => query = Some(at),
            _ if !is_target_byte(byte) => return Err(RequestError::TargetInvalid),
            _ => {}
        }
        at += 1;
        at += plain_target_len(&text[at..]);
    }
    Ok(query.map_or(path.end, |at| path.start + at as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, method: Method) -> Result<(String, String, Option<String>), RequestError> {
        let bytes = text.as_bytes();
        let target = parse(bytes, Span { start: 0, end: bytes.len() as u16 }, method)?;
        let string = |span: Span| String::from_utf8(span.of(bytes).to_vec()).unwrap();
        let query = string(Span { start: target.query_at, end: target.path.end.max(target.query_at) });
        Ok((string(target.path), query, target.authority.map(string)))
    }

    #[test]
    fn the_four_forms() {
        let cases = [
            ("/", Method::Get, ("/", "", None)),
            ("//a/b", Method::Get, ("//a/b", "", None)),
            ("/a?b?c", Method::Get, ("/a?b?c", "?b?c", None)),
            ("/a%2Fb%20|{}\"<\\", Method::Get, ("/a%2Fb%20|{}\"<\\", "", None)),
            ("*", Method::Options, ("*", "", None)),
            ("http://a", Method::Get, ("/", "", Some("a"))),
            ("http://a/", Method::Get, ("/", "", Some("a"))),
            ("HTTP://a:81/b?c=http://d", Method::Post, ("/b?c=http://d", "?c=http://d", Some("a:81"))),
            ("https://[::1]:8443/b", Method::Get, ("/b", "", Some("[::1]:8443"))),
            ("a:80", Method::Connect, ("", "", Some("a:80"))),
        ];
        for (text, method, (path, query, authority)) in cases {
            let wanted = (path.to_owned(), query.to_owned(), authority.map(str::to_owned));
            assert_eq!(parsed(text, method), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn refused_targets() {
        let cases = [
            ("/a#b", Method::Get, RequestError::TargetFragment),
            ("/a%00", Method::Get, RequestError::TargetNul),
            ("/a?b=%00", Method::Get, RequestError::TargetNul),
            ("/\u{e4}", Method::Get, RequestError::TargetInvalid),
            ("*", Method::Get, RequestError::TargetForm),
            ("**", Method::Options, RequestError::TargetForm),
            ("a", Method::Get, RequestError::TargetForm),
            ("a:80", Method::Get, RequestError::TargetForm),
            ("?a", Method::Get, RequestError::TargetForm),
            ("ftp://a/", Method::Get, RequestError::TargetForm),
            ("http:/a", Method::Get, RequestError::TargetForm),
            ("http://", Method::Get, RequestError::AuthorityInvalid),
            ("http:///a", Method::Get, RequestError::AuthorityInvalid),
            ("http://u@a/", Method::Get, RequestError::AuthorityInvalid),
            ("http://u:p@a/", Method::Get, RequestError::AuthorityInvalid),
            ("http://a,b/", Method::Get, RequestError::AuthorityInvalid),
            ("http://a\\b/", Method::Get, RequestError::AuthorityInvalid),
            ("http://a?b", Method::Get, RequestError::TargetForm),
            ("http://a", Method::Options, RequestError::TargetForm),
            ("http://a#b", Method::Get, RequestError::TargetFragment),
            ("http://a/#b", Method::Get, RequestError::TargetFragment),
            ("/", Method::Connect, RequestError::TargetForm),
            ("a", Method::Connect, RequestError::TargetForm),
            ("http://a/", Method::Connect, RequestError::TargetForm),
        ];
        for (text, method, error) in cases {
            assert_eq!(parsed(text, method), Err(error), "{text}");
        }
    }
}
