//! Trailer fields that are not passed on (RFC 9110 §6.5.1): those that frame, route, authenticate, condition or control a message are read
//! before its body, so that one that comes after it is a mistake or an attack on whoever merges trailers into the head.
//!
//! A name may be split over inputs, and a decoder keeps no bytes. It keeps its place in this list instead: as long as a name is the start of
//! one in the list, it is held back as (entry, length), and if it turns out to be another name, the list lends the bytes, in lower case.

/// Refused names in order; one that ends in `-` refuses all that start with it.
const REFUSED: [&str; 42] = [
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "if-",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-",
    "range",
    "retry-after",
    "sec-",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-b3-",
    "x-envoy-",
    "x-forwarded-",
    "x-istio-",
    "x-request-id",
];

/// The start of a trailer's name that is the start of a refused one as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    entry: u8,
    len: u8,
}

/// What a further byte of the name decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Still open.
    Held(Held),
    /// The name is refused whatever follows.
    Refused,
    /// The name is none of the list.
    Kept,
}

impl Held {
    /// With one more byte of the name.
    pub fn push(self, byte: u8) -> Verdict {
        let byte = byte.to_ascii_lowercase();
        let (first, len) = (self.entry as usize, self.len as usize);
        let start = self.bytes();
        let found = REFUSED[first..]
            .iter()
            .take_while(|name| name.as_bytes().starts_with(start))
            .position(|name| name.as_bytes().get(len) == Some(&byte));
        let Some(found) = found else { return Verdict::Kept };
        let entry = first + found;
        if byte == b'-' && REFUSED[entry].len() == len + 1 {
            return Verdict::Refused;
        }
        Verdict::Held(Held { entry: entry as u8, len: (len + 1) as u8 })
    }

    /// Whether the name that ends here is in the list: the shortest name with this start comes first.
    pub fn is_refused(self) -> bool {
        self.len > 0 && REFUSED[self.entry as usize].len() == self.len as usize
    }

    /// The bytes held, in lower case.
    pub fn bytes(self) -> &'static [u8] {
        &REFUSED[self.entry as usize].as_bytes()[..self.len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(name: &str) -> bool {
        let mut held = Held::default();
        for (at, byte) in name.bytes().enumerate() {
            assert_eq!(held.bytes(), name[..at].to_lowercase().as_bytes());
            match held.push(byte) {
                Verdict::Held(next) => held = next,
                Verdict::Refused => return true,
                Verdict::Kept => return false,
            }
        }
        held.is_refused()
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(REFUSED.is_sorted());
    }

    #[test]
    fn row_13_names_that_are_refused_and_their_neighbours() {
        for name in REFUSED {
            assert!(is_refused(name), "{name}");
            assert!(is_refused(&name.to_uppercase()), "{name}");
            assert_eq!(is_refused(&format!("{name}x")), name.ends_with('-'), "{name}x");
            assert!(!is_refused(&name[..name.len() - 1]) || REFUSED.contains(&&name[..name.len() - 1]), "{name}");
        }
        for name in ["x-forwarded-for", "X-Envoy-Peer-Metadata", "if-match", "proxy-authorization", "TE", "Host"] {
            assert!(is_refused(name), "{name}");
        }
        for name in [
            "grpc-status",
            "grpc-message",
            "etag",
            "server-timing",
            "digest",
            "content",
            "content-",
            "hosts",
            "x",
            "tea",
            "iff",
        ] {
            assert!(!is_refused(name), "{name}");
        }
    }
}
