//! An authority in the one form that every lookup and match sees: lower case, one trailing dot gone, port apart.

/// Bytes of the longest host name that can match anything (RFC 1035 §2.3.4).
pub(crate) const HOST_BYTES_MAX: usize = 255;
/// The port that a URL means when it has none (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;
/// The host, brackets around it, a colon and five digits.
const TEXT_BYTES_MAX: usize = HOST_BYTES_MAX + 8;

/// A normalised authority, on the stack.
pub struct Authority {
    text: [u8; TEXT_BYTES_MAX],
    /// Where the host is in `text`: inside of the brackets, if there are any.
    host: (usize, usize),
    /// Where the text ends without the default port, and with it.
    ends: (usize, usize),
    /// Where it ends for those who do not know the listener's default port.
    end: usize,
    port: u16,
}

impl Authority {
    /// `None` when it is no host\[:port\] that any pattern could have. `default_port` is meant where none is written.
    pub(crate) fn parse(raw: &[u8], default_port: u16) -> Option<Authority> {
        let (host, bracketed, port) = split(raw)?;
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.len() > HOST_BYTES_MAX {
            return None;
        }
        let explicit = match port {
            b"" => None,
            digits => Some(number(digits)?),
        };
        let port = explicit.unwrap_or(default_port);
        let mut authority = Authority { text: [0; TEXT_BYTES_MAX], host: (0, 0), ends: (0, 0), end: 0, port };
        let mut end = if bracketed { authority.put(0, b"[") } else { 0 };
        authority.host = (end, authority.put(end, host));
        end = authority.host.1;
        authority.text[..end].make_ascii_lowercase();
        if bracketed {
            end = authority.put(end, b"]");
        }
        authority.ends = (end, end);
        authority.end = end;
        if !host.is_empty() {
            end = authority.put(end, b":");
            authority.ends.1 = authority.put_number(end, port);
        }
        // The default port is the same authority with or without it (RFC 9110 §4.2.3).
        if port != default_port {
            authority.ends.0 = authority.ends.1;
        }
        if explicit.is_some_and(|port| port != HTTP_PORT) {
            authority.end = authority.ends.1;
        }
        Some(authority)
    }

    /// The host alone.
    pub(crate) fn host(&self) -> &[u8] {
        &self.text[self.host.0..self.host.1]
    }

    /// The port written, else the default.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// host\[:port\] with a port that was written, unless it is HTTP's own: what is logged, and forwarded under the strict profile.
    pub fn text(&self) -> &[u8] {
        &self.text[..self.end]
    }

    /// host\[:port\] without the default port, and with it.
    pub(crate) fn texts(&self) -> [&[u8]; 2] {
        [&self.text[..self.ends.0], &self.text[..self.ends.1]]
    }

    // Everything fits: the host is at most HOST_BYTES_MAX, a port at most five digits.
    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.text[at..at + bytes.len()].copy_from_slice(bytes);
        at + bytes.len()
    }

    fn put_number(&mut self, at: usize, number: u16) -> usize {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = number;
        for place in (at..at + digits).rev() {
            self.text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        at + digits
    }
}

/// (host, whether it stood in brackets, port digits).
pub(crate) fn split(raw: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    if let Some(rest) = raw.strip_prefix(b"[") {
        let end = rest.iter().position(|b| *b == b']')?;
        return match &rest[end + 1..] {
            b"" => Some((&rest[..end], true, b"")),
            [b':', port @ ..] => Some((&rest[..end], true, port)),
            _ => None,
        };
    }
    match raw.iter().position(|b| *b == b':') {
        None => Some((raw, false, b"")),
        Some(colon) => Some((&raw[..colon], false, &raw[colon + 1..])),
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    u16::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        let long = "a".repeat(255);
        for (raw, host, port, short, full) in [
            ("reviews", "reviews", 80, "reviews", "reviews:80"),
            ("Reviews.Default.", "reviews.default", 80, "reviews.default", "reviews.default:80"),
            ("a..", "a.", 80, "a.", "a.:80"),
            ("a:80", "a", 80, "a", "a:80"),
            ("a:", "a", 80, "a", "a:80"),
            ("A.:9080", "a", 9080, "a:9080", "a:9080"),
            ("a:00080", "a", 80, "a", "a:80"),
            ("a:0", "a", 0, "a:0", "a:0"),
            ("a:65535", "a", 65535, "a:65535", "a:65535"),
            ("[::1]", "::1", 80, "[::1]", "[::1]:80"),
            ("[2001:DB8::1]:8080", "2001:db8::1", 8080, "[2001:db8::1]:8080", "[2001:db8::1]:8080"),
            ("", "", 80, "", ""),
            (&long, &long, 80, &long, &format!("{long}:80")),
        ] {
            let authority = Authority::parse(raw.as_bytes(), 80).unwrap();
            assert_eq!(authority.host(), host.as_bytes(), "{raw}");
            assert_eq!(authority.port(), port, "{raw}");
            assert_eq!(authority.texts(), [short.as_bytes(), full.as_bytes()], "{raw}");
        }
    }

    #[test]
    fn row_16_the_text_for_others_keeps_a_port_that_was_written() {
        for (raw, default_port, text) in [
            ("Any.Example.", 8080, "any.example"),
            ("any.example:8080", 8080, "any.example:8080"),
            ("ANY.example.:80", 80, "any.example"),
            ("any.example:80", 8080, "any.example"),
            ("[::A]:81", 80, "[::a]:81"),
            ("", 80, ""),
        ] {
            let authority = Authority::parse(raw.as_bytes(), default_port).unwrap();
            assert_eq!(authority.text(), text.as_bytes(), "{raw} at {default_port}");
        }
    }

    #[test]
    fn nothing_has_these() {
        let long = "a".repeat(256);
        for raw in ["a:65536", "a:x", "a:+1", "a:1:2", "[::1", "[::1]x", "a:000080", &long] {
            assert!(Authority::parse(raw.as_bytes(), 80).is_none(), "{raw}");
        }
    }
}
