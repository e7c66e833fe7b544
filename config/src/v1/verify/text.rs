//! What each kind of string may say. Whatever is later written into a head or a log line is checked here, once, so that no config can forge
//! either.

use crate::limits::{BLOB_NAME_BYTES_MAX, LINE_BYTES_MAX, STRING_BYTES_MAX};

/// A kind of text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A name of a blob or listener: not empty, no control characters.
    Name,
    /// The same, or empty.
    NameOrNone,
    /// One line: no control characters.
    Line,
    /// What a request is compared with, or a body: anything.
    Free,
    /// A lower-case host, a `*.suffix` of hosts, or `*`.
    Pattern,
    /// A lower-case host to append.
    Suffix,
    /// A lower-case DNS name: labels of at most 63 bytes, 253 bytes in all.
    DnsName,
    /// A host to put into a Location, or empty.
    Host,
    /// Host and port for a Host field, or empty.
    Authority,
    /// A path to put into a request line or a Location, or empty.
    Path,
    /// The same, from the root: starts with a slash.
    RootPath,
    /// Whole segments of a path: starts with a slash and does not end with one, unless it is `/`.
    Segments,
    /// A lower-case header name.
    LowerToken,
    /// A header name.
    Token,
    /// A header value.
    Value,
    /// `http`, `https` or empty.
    Scheme,
    /// A value of an attribute of a cookie (RFC 6265 §4.1.1), or empty.
    CookieValue,
}

impl Text {
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Text::Name | Text::NameOrNone | Text::Pattern | Text::Suffix | Text::Host | Text::Authority => {
                BLOB_NAME_BYTES_MAX
            }
            Text::Free => STRING_BYTES_MAX,
            _ => LINE_BYTES_MAX,
        }
    }

    pub(super) fn may_be_empty(self) -> bool {
        !matches!(
            self,
            Text::Name
                | Text::Pattern
                | Text::Suffix
                | Text::DnsName
                | Text::RootPath
                | Text::Segments
                | Text::LowerToken
                | Text::Token
        )
    }

    /// Whether a string, which is empty only if it may be, is one of these.
    pub(super) fn holds(self, s: &str) -> bool {
        match self {
            Text::Name | Text::NameOrNone | Text::Line => all(s, LINE) && no_c1(s),
            Text::Free => true,
            Text::Pattern => s == "*" || is_host(s.strip_prefix("*.").unwrap_or(s), LOWER_HOST),
            Text::Suffix => is_host(s, LOWER_HOST),
            Text::DnsName => is_dns_name(s),
            Text::Host => s.is_empty() || is_host(s, HOST),
            Text::Authority => all(s, AUTHORITY),
            Text::Path => all(s, PATH),
            Text::RootPath => s.starts_with('/') && all(s, PATH),
            Text::Segments => s.starts_with('/') && (s.len() == 1 || !s.ends_with('/')),
            Text::LowerToken => all(s, LOWER_TOKEN),
            Text::Token => all(s, TOKEN),
            Text::Value => all(s, VALUE) && no_c1(s),
            Text::Scheme => matches!(s, "" | "http" | "https"),
            Text::CookieValue => s.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';'),
        }
    }
}

/// No control character.
const LINE: u8 = 1;
/// The same, but a tab may be there.
const VALUE: u8 = 1 << 1;
/// Visible ASCII without a fragment.
const PATH: u8 = 1 << 2;
/// Visible ASCII that has no meaning around an authority.
const AUTHORITY: u8 = 1 << 3;
/// RFC 9110 §5.6.2.
const TOKEN: u8 = 1 << 4;
/// The same in lower case.
const LOWER_TOKEN: u8 = 1 << 5;
/// Visible ASCII that has no meaning in or around a host.
const HOST: u8 = 1 << 6;
/// The same in lower case.
const LOWER_HOST: u8 = 1 << 7;

/// The classes of each byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        classes[b] = classes_of(b as u8);
        b += 1;
    }
    classes
};

const fn classes_of(b: u8) -> u8 {
    let plain = b >= 0x20 && b != 0x7f;
    let (graphic, upper) = (b.is_ascii_graphic(), b.is_ascii_uppercase());
    let authority = graphic && !matches!(b, b'/' | b'\\' | b'@' | b'#' | b'?' | b',' | b'"' | b'<' | b'>');
    let host = authority && !matches!(b, b':' | b'[' | b']' | b'*' | b'%');
    let delimiter = matches!(
        b,
        b'"' | b'('
            | b')'
            | b','
            | b'/'
            | b':'
            | b';'
            | b'<'
            | b'='
            | b'>'
            | b'?'
            | b'@'
            | b'['
            | b'\\'
            | b']'
            | b'{'
            | b'}'
    );
    let token = graphic && !delimiter;
    let path = graphic && b != b'#';
    let all = [plain, plain || b == b'\t', path, authority, token, token && !upper, host, host && !upper];
    let (mut classes, mut i) = (0, 0);
    while i < all.len() {
        classes |= (all[i] as u8) << i;
        i += 1;
    }
    classes
}

fn all(s: &str, class: u8) -> bool {
    s.bytes().all(|b| CLASSES[b as usize] & class != 0)
}

/// Headers that belong to the connection or decide where a message ends. Host is the action's authority.
pub(super) fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FRAMING.iter().any(|f| name.eq_ignore_ascii_case(f))
}

/// U+0080 to U+009F steer a terminal as ESC does.
fn no_c1(s: &str) -> bool {
    s.is_ascii() || !s.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c))
}

/// What can be asked for as it stands.
fn is_dns_name(s: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    s.len() <= 253 && s.split('.').all(label)
}

/// Bytes of the class and no trailing dot, or an IPv6 address in brackets.
fn is_host(s: &str, class: u8) -> bool {
    match s.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
        Some(ip) => !ip.is_empty() && ip.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f' | b':' | b'.')),
        None => !s.is_empty() && !s.ends_with('.') && all(s, class),
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, is_framing};

    #[test]
    fn each_kind_of_text_takes_its_own_and_nothing_else() {
        let table: [(Text, &[&str], &[&str]); 14] = [
            (Text::DnsName, &["a.b", "_x.a-b", "1.2.3.4"], &["", "a.", "A", "*.a", "a..b", "a b", "ü"]),
            (Text::Name, &["outbound|80||a.b", "ns/pod-0", "ü"], &["a\nb", "a\0", "\x7f", "\u{9b}31m"]),
            (
                Text::Pattern,
                &["*", "*.a.b", "a", "a_b.c", "10.0.0.1", "[::1]"],
                &["A", "a.", "*a", "a.*", "*.", "**", "a b", "a:80", "::1", "[]", "a/b", "ü"],
            ),
            (Text::Suffix, &["svc.cluster.local"], &["*.a", "*", "A.b"]),
            (Text::Host, &["", "Example.com", "[2001:db8::1]"], &["a:1", "a/b", "a@b", "a\r\nb"]),
            (Text::Authority, &["", "a:80", "[::1]:80"], &["a b", "a@b", "a/b", "a\r\n", "ü"]),
            (Text::Path, &["", "/a?b=c", "a"], &["/a b", "/a\r\nx", "/a#b", "/ü"]),
            (Text::RootPath, &["/", "/a%20b"], &["a", "/a b"]),
            (Text::Segments, &["/", "/a", "/a/b"], &["a", "/a/"]),
            (Text::LowerToken, &["x-a", "end-user"], &["X-A", ":method", "a b", "a:"]),
            (Text::Token, &["X-A"], &["a b", "a\r", "ü"]),
            (Text::Value, &["", "a\tb c", "ü", "a\tü"], &["a\r\nb", "a\0", "ü\r", "\t\u{9b}"]),
            (Text::Scheme, &["", "http", "https"], &["ftp", "HTTP"]),
            (Text::CookieValue, &["", "/a b", "Strict"], &["/;x", "a\tb", "a\r\nb", "ü"]),
        ];
        for (text, good, bad) in table {
            good.iter().for_each(|s| assert!(text.holds(s), "{s:?} is refused"));
            bad.iter().for_each(|s| assert!(!text.holds(s), "{s:?} is taken"));
        }
        assert!(is_framing("Transfer-Encoding") && !is_framing("x-forwarded-for"));
    }
}
