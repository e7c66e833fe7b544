//! Which host answers to an authority: hash lookups, however many hosts there are.

use super::names::Names;
use crate::authority::{Authority, HOST_BYTES_MAX};

/// The hosts of one listener by authority. Under a name, port 0 is any.
pub(crate) struct Domains {
    exact: Names,
    /// `*.suffix`, without the `*.`; `*` is the empty one.
    suffixes: Names,
    /// Most labels in any of `suffixes`: longer tails of a name are not looked up.
    suffix_labels_max: usize,
    /// Appended to names without a dot.
    search: Box<[Box<[u8]>]>,
    /// The port that an authority means when it has none.
    pub port: u16,
}

/// Why a domain was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not exact, `*.suffix` or `*`.
    Pattern,
    /// Another host has it.
    Taken(u32),
}

impl Domains {
    pub(crate) fn new(search: &[String], port: u16) -> Domains {
        Domains {
            exact: Names::new(),
            suffixes: Names::new(),
            suffix_labels_max: 0,
            search: search.iter().map(|s| s.trim_matches('.').to_ascii_lowercase().into_bytes().into()).collect(),
            port,
        }
    }

    /// Saves growing while `count` domains are inserted.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.exact.reserve(count);
    }

    /// Gives back the room that building left.
    pub(crate) fn shrink(&mut self) {
        self.exact.shrink();
        self.suffixes.shrink();
    }

    pub(crate) fn insert(&mut self, pattern: &str, port: u16, host: u32) -> Result<(), Refused> {
        let lower = pattern.to_ascii_lowercase();
        let (names, name) = match lower.strip_prefix('*') {
            Some("") => (&mut self.suffixes, ""),
            Some(rest) => {
                let suffix = rest.strip_prefix('.').filter(|suffix| !suffix.is_empty()).ok_or(Refused::Pattern)?;
                self.suffix_labels_max = self.suffix_labels_max.max(labels(suffix.as_bytes()));
                (&mut self.suffixes, suffix)
            }
            None if lower.is_empty() => return Err(Refused::Pattern),
            None => (&mut self.exact, lower.strip_prefix('[').and_then(|s| s.strip_suffix(']')).unwrap_or(&lower)),
        };
        if name.contains('*') || name.len() > HOST_BYTES_MAX {
            return Err(Refused::Pattern);
        }
        match names.insert(name.as_bytes(), port, host) {
            Err(first) if first != host => Err(Refused::Taken(first)),
            _ => Ok(()),
        }
    }

    /// Exact, then with each search suffix if the name has no dot, then the longest `*.suffix`, then `*`. Within a name its port goes before
    /// any port.
    pub(crate) fn find(&self, authority: &Authority) -> Option<u32> {
        let (name, port) = (authority.host(), authority.port());
        at(&self.exact, name, port).or_else(|| self.find_short(name, port)).or_else(|| self.find_suffix(name, port))
    }

    fn find_short(&self, name: &[u8], port: u16) -> Option<u32> {
        if name.is_empty() || name.iter().any(|b| matches!(b, b'.' | b':')) {
            return None;
        }
        self.search.iter().find_map(|suffix| {
            let mut full = [0; HOST_BYTES_MAX];
            let end = name.len() + 1 + suffix.len();
            let (head, tail) = full.get_mut(..end)?.split_at_mut(name.len());
            head.copy_from_slice(name);
            tail[0] = b'.';
            tail[1..].copy_from_slice(suffix);
            at(&self.exact, &full[..end], port)
        })
    }

    fn find_suffix(&self, name: &[u8], port: u16) -> Option<u32> {
        if self.suffixes.is_empty() {
            return None;
        }
        let mut left = labels(name);
        let mut rest = name;
        while let Some(dot) = rest.iter().position(|b| *b == b'.') {
            let before = name.len() - rest.len() + dot;
            rest = &rest[dot + 1..];
            left -= 1;
            // `*` stands for at least one byte.
            if left > self.suffix_labels_max || before == 0 {
                continue;
            }
            if let Some(host) = at(&self.suffixes, rest, port) {
                return Some(host);
            }
        }
        at(&self.suffixes, b"", port)
    }
}

/// The host of a name at a port, else at any port.
#[inline]
fn at(names: &Names, name: &[u8], port: u16) -> Option<u32> {
    names.get(name, port).or_else(|| names.get(name, 0))
}

fn labels(name: &[u8]) -> usize {
    name.iter().filter(|b| **b == b'.').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(patterns: &[(&str, u16)]) -> Domains {
        let mut domains = Domains::new(&["default.svc.cluster.local".into(), "example.org".into()], 80);
        for ((pattern, port), host) in patterns.iter().zip(0..) {
            domains.insert(pattern, *port, host).unwrap();
        }
        domains
    }

    #[test]
    fn precedence() {
        let domains = domains(&[
            ("*", 0),
            ("reviews.default.svc.cluster.local", 9080),
            ("*.example.com", 0),
            ("*.api.example.com", 0),
            ("www.example.com", 0),
            ("www.example.com", 8443),
            ("Ratings.Example.org", 0),
            ("[::1]", 80),
            ("*.only.example.com", 1),
            ("details", 80),
            ("10.0.0.1", 0),
        ]);
        for (authority, host) in [
            ("www.example.com", 4),
            ("WWW.example.com.", 4),
            ("www.example.com:8443", 5),
            ("www.example.com:1", 4),
            ("example.com", 0),
            ("a.example.com", 2),
            (".example.com", 0),
            ("a.b.c.example.com", 2),
            ("v1.api.example.com", 3),
            ("x.v1.api.example.com:99", 3),
            ("a.only.example.com:1", 8),
            ("a.only.example.com", 2),
            ("reviews:9080", 1),
            ("reviews", 0),
            ("reviews.default:9080", 0),
            ("ratings", 6),
            ("details", 9),
            ("details:81", 0),
            ("[::1]", 7),
            ("[::1]:81", 0),
            ("10.0.0.1:70", 10),
            ("", 0),
        ] {
            let parsed = Authority::parse(authority.as_bytes(), 80).unwrap();
            assert_eq!(domains.find(&parsed), Some(host), "{authority}");
        }
    }

    #[test]
    fn a_name_too_long_with_its_search_suffix_is_not_found() {
        let domains = domains(&[("a.example.org", 0)]);
        let parsed = Authority::parse("a".repeat(250).as_bytes(), 80).unwrap();
        assert_eq!(domains.find(&parsed), None);
    }

    #[test]
    fn refusals() {
        let mut domains = domains(&[("a", 80), ("a", 81), ("*", 1)]);
        assert_eq!(domains.insert("a", 80, 0), Ok(()));
        assert_eq!(domains.insert("A", 81, 7), Err(Refused::Taken(1)));
        assert_eq!(domains.insert("*", 1, 7), Err(Refused::Taken(2)));
        assert_eq!(domains.insert("*", 2, 7), Ok(()));
        for pattern in ["", "*.", "a.*", "*a", "*.*.b", &"a".repeat(256)] {
            assert_eq!(domains.insert(pattern, 0, 7), Err(Refused::Pattern), "{pattern}");
        }
    }
}
