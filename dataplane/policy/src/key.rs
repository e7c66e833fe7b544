//! What consistent hashing hashes of a request (DestinationRule `consistentHash`).

use std::net::IpAddr;

use ringway_config::model::{ConsistentHash, HashKey};

use crate::balance::Hash;
use crate::facts::{Facts, Fields, Rng};

/// Bytes of a generated cookie's value.
pub const COOKIE_BYTES: usize = 16;

/// What a cluster chooses by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The hash.
    pub hash: u64,
    /// A new cookie that has this hash; see [`cookie_text`].
    pub cookie: Option<u64>,
}

/// The value of a generated cookie.
pub fn cookie_text(cookie: u64) -> [u8; COOKIE_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|n| DIGITS[(cookie >> (60 - 4 * n) & 15) as usize])
}

/// The key of a request; any, when it does not have what is hashed.
pub(crate) fn of_request(hash: &ConsistentHash, facts: &Facts<'_>, query: &[u8], rng: &mut impl Rng) -> Key {
    let plain = |hash| Key { hash, cookie: None };
    match &hash.key {
        HashKey::Header(name) => plain(header(facts.fields, name).unwrap_or_else(|| rng.random())),
        HashKey::SourceIp => plain(Hash::of_ip(facts.client)),
        HashKey::Query(name) => plain(match parameter(query, name.as_bytes()) {
            Some(value) => Hash::of(value),
            None => rng.random(),
        }),
        HashKey::Cookie(cookie) => match (cookie_hash(facts.fields, cookie.name.as_bytes()), cookie.ttl_ms) {
            (Some(hash), _) => plain(hash),
            (None, None) => plain(rng.random()),
            (None, Some(_)) => {
                let new = rng.random();
                Key { hash: Hash::of(&cookie_text(new)), cookie: Some(new) }
            }
        },
    }
}

/// The key of a connection: nothing but its client is known.
pub(crate) fn of_connection(hash: &ConsistentHash, client: IpAddr, rng: &mut impl Rng) -> u64 {
    match hash.key {
        HashKey::SourceIp => Hash::of_ip(client),
        _ => rng.random(),
    }
}

/// Of all values, whatever their order.
fn header(fields: &dyn Fields, name: &str) -> Option<u64> {
    let mut sum: Option<u64> = None;
    fields.each(name, &mut |value| sum = Some(sum.unwrap_or(0).wrapping_add(Hash::of(value))));
    sum
}

/// Of the first cookie with this name.
fn cookie_hash(fields: &dyn Fields, name: &[u8]) -> Option<u64> {
    let mut found = None;
    fields.each("cookie", &mut |line| {
        if found.is_none() {
            found = cookie_value(line, name).map(Hash::of);
        }
    });
    found
}

/// RFC 6265 §5.4 writes `name=value` pairs, a semicolon between them; quotes around a value are not part of it.
fn cookie_value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.split(|b| *b == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// The raw value of the first parameter with this name.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_parameters() {
        for (line, value) in [
            ("user=a", Some("a")),
            ("x=1; user=\"a b\";y", Some("a b")),
            ("user =a", None),
            ("xuser=a;USER=b", None),
            ("user=;user=b", Some("")),
            ("user", None),
        ] {
            assert_eq!(cookie_value(line.as_bytes(), b"user"), value.map(str::as_bytes), "{line}");
        }
        for (query, value) in [("u=1&u=2", Some("1")), ("x=1&u=%20", Some("%20")), ("uu=1&u", None), ("", None)] {
            assert_eq!(parameter(query.as_bytes(), b"u"), value.map(str::as_bytes), "{query}");
        }
        assert_eq!(&cookie_text(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }
}
