//! One host and at most one port, or nothing: the authority of RFC 9110 §4.2.1 without what parsers disagree on (userinfo, lists,
//! percent-encoding, empty ports, zone ids).

use crate::token::host_len;
use std::net::Ipv6Addr;

/// Longest host name (RFC 1035 §2.3.4), with a trailing dot.
const HOST_BYTES_MAX: usize = 254;

/// Whether the bytes are `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    match bytes {
        [b'[', rest @ ..] => match rest.iter().position(|&b| b == b']') {
            Some(end) => is_ipv6(&rest[..end]) && is_port_suffix(&rest[end + 1..]),
            None => false,
        },
        _ => {
            let host = host_len(bytes);
            (1..=HOST_BYTES_MAX).contains(&host) && is_port_suffix(&bytes[host..])
        }
    }
}

/// Whether the bytes are an authority with its port, as `CONNECT` wants it (RFC 9112 §3.2.3).
pub(super) fn is_authority_with_port(bytes: &[u8]) -> bool {
    is_authority(bytes) && bytes.last().is_some_and(u8::is_ascii_digit) && {
        let after_ipv6 = bytes.iter().rposition(|&b| b == b']').map_or(0, |end| end + 1);
        bytes[after_ipv6..].contains(&b':')
    }
}

fn is_ipv6(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or `:` and 0–65535 in 1 to 5 digits.
fn is_port_suffix(bytes: &[u8]) -> bool {
    let [b':', digits @ ..] = bytes else { return bytes.is_empty() };
    (1..=5).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, |port: u32, digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_15_authority_grammar() {
        for good in [
            "a",
            "a.b",
            "reviews.default.svc.cluster.local",
            "reviews.",
            "A_b~c-d",
            "10.0.0.1",
            "a:0",
            "a:80",
            "a:65535",
            "[::1]",
            "[::1]:443",
            "[2001:db8::ffff:10.0.0.1]:1",
            "outbound_.80_.v1_.reviews",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        let long = "a".repeat(255);
        for bad in [
            "",
            ":80",
            "a:",
            "a:80:80",
            "a:65536",
            "a:123456",
            "a:+1",
            "a:8o",
            "a,b",
            "user@a",
            "@",
            "a#",
            "a/",
            "a\\b",
            "a b",
            "a?b",
            "a%2eb",
            "[::1",
            "::1",
            "[::1]a",
            "[]",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "a[::1]",
            "a\tb",
            "a;b",
            "*",
            "ä",
            "[::1]:",
            &long,
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn connect_needs_a_port() {
        for (authority, wanted) in [("a:1", true), ("[::1]:1", true), ("a", false), ("[::1]", false), ("a:", false)] {
            assert_eq!(is_authority_with_port(authority.as_bytes()), wanted, "{authority}");
        }
    }
}
