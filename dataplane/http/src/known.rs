//! Which header names the proxy knows, found by length and first letter: one jump and one comparison a line.

use crate::head::{KNOWN_COUNT, Known};

impl Known {
    /// The name in lower case; empty for [`Known::Other`].
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Classifies a name in any case.
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first() else { return Known::Other };
        let candidate = match (name.len(), first | 0x20) {
            (2, b't') => Known::Te,
            (4, b'h') => Known::Host,
            (4, b'd') => Known::Date,
            (6, b'e') => Known::Expect,
            (6, b's') => Known::Server,
            (7, b't') => Known::Trailer,
            (7, b'u') => Known::Upgrade,
            (10, b'c') => Known::Connection,
            (10, b'k') => Known::KeepAlive,
            (10, b'u') => Known::UserAgent,
            (11, b'g') => Known::GrpcStatus,
            (12, b'x') => Known::XRequestId,
            (14, b'c') => Known::ContentLength,
            (14, b'h') => Known::Http2Settings,
            (14, b'x') => Known::XRingwayRule,
            (15, b'x') => Known::XForwardedFor,
            (16, b'p') => Known::ProxyConnection,
            (16, b'x') => Known::XForwardedHost,
            (17, b't') => Known::TransferEncoding,
            (17, b'x') => Known::XForwardedProto,
            (18, b'p') => Known::ProxyAuthenticate,
            (18, b'x') => Known::XEnvoyOverloaded,
            (19, b'p') => Known::ProxyAuthorization,
            (21, b'x') if name[8] | 0x20 == b'p' => Known::XEnvoyPeerMetadata,
            (21, b'x') if name[8] | 0x20 == b'a' => Known::XEnvoyAttemptCount,
            (21, b'x') => Known::XEnvoyOriginalPath,
            (23, b'x') => Known::XForwardedClientCert,
            (24, b'x') => Known::XEnvoyPeerMetadataId,
            (27, b'x') => Known::XEnvoyDecoratorOperation,
            (29, b'x') => Known::XEnvoyUpstreamServiceTime,
            _ => return Known::Other,
        };
        if PATTERNS[candidate as usize].matches(name) { candidate } else { Known::Other }
    }
}

/// A name to compare with in words: a byte of a name, with its bit of case set where the pattern has a letter, must equal the pattern's.
struct Pattern {
    lower: [u8; PATTERN_BYTES],
    case: [u8; PATTERN_BYTES],
}

/// Room for the longest name.
const PATTERN_BYTES: usize = 32;

const PATTERNS: [Pattern; KNOWN_COUNT] = {
    let mut patterns = [const { Pattern { lower: [0; PATTERN_BYTES], case: [0; PATTERN_BYTES] } }; KNOWN_COUNT];
    let mut known = 0;
    while known < KNOWN_COUNT {
        let name = NAMES[known].1.as_bytes();
        let mut at = 0;
        while at < name.len() {
            patterns[known].lower[at] = name[at];
            patterns[known].case[at] = if name[at].is_ascii_alphabetic() { 0x20 } else { 0 };
            at += 1;
        }
        known += 1;
    }
    patterns
};

impl Pattern {
    /// Whether `name`, which has the pattern's length, is the pattern in any case. Words may overlap.
    fn matches(&self, name: &[u8]) -> bool {
        let len = name.len();
        match len {
            0..4 => (0..len).all(|at| name[at] | self.case[at] == self.lower[at]),
            4..8 => self.word4(name, 0) && self.word4(name, len - 4),
            _ => (0..len / 8).all(|word| self.word8(name, word * 8)) && self.word8(name, len - 8),
        }
    }

    fn word4(&self, name: &[u8], at: usize) -> bool {
        let word = |bytes: &[u8]| bytes[at..].first_chunk().map_or(0, |chunk| u32::from_ne_bytes(*chunk));
        word(name) | word(&self.case) == word(&self.lower)
    }

    fn word8(&self, name: &[u8], at: usize) -> bool {
        let word = |bytes: &[u8]| bytes[at..].first_chunk().map_or(0, |chunk| u64::from_ne_bytes(*chunk));
        word(name) | word(&self.case) == word(&self.lower)
    }
}

/// In the order of the variants.
const NAMES: [(Known, &str); KNOWN_COUNT] = [
    (Known::Other, ""),
    (Known::Host, "host"),
    (Known::Connection, "connection"),
    (Known::ContentLength, "content-length"),
    (Known::TransferEncoding, "transfer-encoding"),
    (Known::KeepAlive, "keep-alive"),
    (Known::ProxyConnection, "proxy-connection"),
    (Known::ProxyAuthorization, "proxy-authorization"),
    (Known::ProxyAuthenticate, "proxy-authenticate"),
    (Known::Te, "te"),
    (Known::Trailer, "trailer"),
    (Known::Upgrade, "upgrade"),
    (Known::Http2Settings, "http2-settings"),
    (Known::Expect, "expect"),
    (Known::UserAgent, "user-agent"),
    (Known::Date, "date"),
    (Known::Server, "server"),
    (Known::XRequestId, "x-request-id"),
    (Known::XForwardedFor, "x-forwarded-for"),
    (Known::XForwardedProto, "x-forwarded-proto"),
    (Known::XForwardedHost, "x-forwarded-host"),
    (Known::XEnvoyPeerMetadata, "x-envoy-peer-metadata"),
    (Known::XEnvoyPeerMetadataId, "x-envoy-peer-metadata-id"),
    (Known::XEnvoyUpstreamServiceTime, "x-envoy-upstream-service-time"),
    (Known::XEnvoyAttemptCount, "x-envoy-attempt-count"),
    (Known::XEnvoyOriginalPath, "x-envoy-original-path"),
    (Known::XEnvoyDecoratorOperation, "x-envoy-decorator-operation"),
    (Known::XForwardedClientCert, "x-forwarded-client-cert"),
    (Known::XRingwayRule, "x-ringway-rule"),
    (Known::XEnvoyOverloaded, "x-envoy-overloaded"),
    (Known::GrpcStatus, "grpc-status"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_near_it() {
        for (index, (known, name)) in NAMES.into_iter().enumerate() {
            assert_eq!(known as usize, index);
            assert_eq!(Known::of(name.as_bytes()), known);
            assert_eq!(Known::of(name.to_uppercase().as_bytes()), known);
            for at in 0..name.len() {
                let mut near = name.as_bytes().to_vec();
                near[at] = if near[at] == b'z' { b'q' } else { b'z' };
                assert_eq!(Known::of(&near), Known::Other, "{}", String::from_utf8_lossy(&near));
                near[at] = name.as_bytes()[at] & !0x20;
                assert_eq!(Known::of(&near) == known, near.eq_ignore_ascii_case(name.as_bytes()), "{near:?}");
            }
        }
    }

    #[test]
    fn an_underscore_is_not_a_hyphen() {
        assert_eq!(Known::of(b"content_length"), Known::Other);
        assert_eq!(Known::of(b"x_forwarded-for"), Known::Other);
    }
}
