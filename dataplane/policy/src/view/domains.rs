//! Which host answers to an authority: hash lookups, however many hosts there are.

use std::collections::HashMap;

use crate::authority::{Authority, HOST_BYTES_MAX};
use crate::fold::Seed;

/// The hosts of one listener by authority.
pub(crate) struct Domains {
    exact: Names,
    /// `*.suffix`, without the `*.`.
    suffixes: Names,
    /// Most labels in any of `suffixes`: longer tails of a name are not looked up.
    suffix_labels_max: usize,
    /// `*`.
    any: Option<Ports>,
    /// Appended to names without a dot.
    search: Box<[Box<[u8]>]>,
    /// The port that an authority means when it has none.
    pub port: u16,
}

type Names = HashMap<Box<[u8]>, Ports, Seed>;

/// Hosts of one name by port; port 0 is any.
enum Ports {
    One(u16, u32),
    /// Sorted by port.
    Many(Vec<(u16, u32)>),
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
            exact: HashMap::with_hasher(Seed::new()),
            suffixes: HashMap::with_hasher(Seed::new()),
            suffix_labels_max: 0,
            any: None,
            search: search.iter().map(|s| s.trim_matches('.').to_ascii_lowercase().into_bytes().into()).collect(),
            port,
        }
    }

    /// Saves growing while `count` domains are inserted.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.exact.reserve(count);
    }

    pub(crate) fn insert(&mut self, pattern: &str, port: u16, host: u32) -> Result<(), Refused> {
        let lower = pattern.to_ascii_lowercase();
        if lower == "*" {
            return Ports::put(self.any.get_or_insert(Ports::One(port, host)), port, host);
        }
        let (names, name) = match lower.strip_prefix("*.") {
            Some(suffix) => {
                self.suffix_labels_max = self.suffix_labels_max.max(labels(suffix.as_bytes()));
                (&mut self.suffixes, suffix)
            }
            None => (&mut self.exact, lower.strip_prefix('[').and_then(|s| s.strip_suffix(']')).unwrap_or(&lower)),
        };
        if name.is_empty() || name.contains('*') || name.len() > HOST_BYTES_MAX {
            return Err(Refused::Pattern);
        }
        match names.get_mut(name.as_bytes()) {
            Some(ports) => ports.put(port, host),
            None => {
                names.insert(name.as_bytes().into(), Ports::One(port, host));
                Ok(())
            }
        }
    }

    /// Exact, then with each search suffix if the name has no dot, then the longest `*.suffix`, then `*`. Within a name its port goes before
    /// any port.
    pub(crate) fn find(&self, authority: &Authority) -> Option<u32> {
        let (name, port) = (authority.host(), authority.port());
        let exact = self.exact.get(name).and_then(|ports| ports.get(port));
        exact
            .or_else(|| self.find_short(name, port))
            .or_else(|| self.find_suffix(name, port))
            .or_else(|| self.any.as_ref().and_then(|ports| ports.get(port)))
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
            self.exact.get(&full[..end])?.get(port)
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
            if let Some(host) = self.suffixes.get(rest).and_then(|ports| ports.get(port)) {
                return Some(host);
            }
        }
        None
    }
}

impl Ports {
    fn get(&self, port: u16) -> Option<u32> {
        match self {
            Ports::One(only, host) => (*only == port || *only == 0).then_some(*host),
            Ports::Many(all) => {
                let of = |port: u16| all.binary_search_by_key(&port, |(p, _)| *p).ok().map(|at| all[at].1);
                of(port).or_else(|| of(0))
            }
        }
    }

    fn put(&mut self, port: u16, host: u32) -> Result<(), Refused> {
        if let Ports::One(only, first) = *self {
            if only == port {
                return if first == host { Ok(()) } else { Err(Refused::Taken(first)) };
            }
            *self = Ports::Many(vec![(only, first)]);
        }
        if let Ports::Many(all) = self {
            match all.binary_search_by_key(&port, |(p, _)| *p) {
                Ok(at) if all[at].1 != host => return Err(Refused::Taken(all[at].1)),
                Ok(_) => {}
                Err(at) => all.insert(at, (port, host)),
            }
        }
        Ok(())
    }
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
