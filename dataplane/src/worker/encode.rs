//! Heads on their way out: what is stripped, added and edited. Everything else keeps its bytes and its order.

use std::io::Write as _;
use std::net::IpAddr;

use ringway_config::model::{HashCookie, Role};
use ringway_http::h1::HeadWriter;
use ringway_http::head::{Fields, Known, Method, RequestHead, ResponseHead, Sender, Upgrade, Version};
use ringway_policy::{Layers, Rng, Values, cookie_text};

/// Text of a generated `x-request-id`.
pub type RequestId = [u8; 36];

/// What the mesh and its rules change on a request.
#[derive(Clone, Copy)]
pub struct RequestEdits<'a> {
    /// Which side of the mesh we are.
    pub role: Role,
    /// Who sent the request.
    pub sender: Sender,
    /// The route's and the destination's edits.
    pub rules: Layers<'a>,
    /// What their variables stand for.
    pub values: Values<'a>,
    /// Path and query to send.
    pub path: &'a [u8],
    /// New authority.
    pub authority: Option<&'a [u8]>,
    /// Our own peer metadata, as header lines; empty towards apps and the outside.
    pub peer_headers: &'a [u8],
    /// Whose connection it came by.
    pub client: IpAddr,
    /// A new request id, when there was none.
    pub request_id: Option<&'a RequestId>,
    /// A WebSocket handshake passes through.
    pub upgrade: bool,
}

impl<'a> RequestEdits<'a> {
    /// What the mesh says anyway, of a request with this path and query.
    pub fn none(role: Role, sender: Sender, path: &'a [u8], client: IpAddr) -> RequestEdits<'a> {
        RequestEdits {
            role,
            sender,
            rules: Layers::NONE,
            values: Values::default(),
            path,
            authority: None,
            peer_headers: &[],
            client,
            request_id: None,
            upgrade: false,
        }
    }

    /// Upper bound of the bytes that the edits add to a head.
    pub fn extra_bytes(&self) -> usize {
        const OWN: usize = 256;
        OWN + self.peer_headers.len()
            + self.path.len()
            + self.authority.map_or(0, <[u8]>::len)
            + rules_len(&self.rules, &self.values)
    }
}

/// Bytes that these edits add at most.
pub fn rules_len(rules: &Layers<'_>, values: &Values<'_>) -> usize {
    const PUNCTUATION: usize = ": \r\n".len();
    rules.bytes_max(values) + PUNCTUATION * rules.lines_max()
}

/// Writes a request head for the upstream.
pub fn request_head(out: &mut HeadWriter<'_>, head: &[u8], request: &RequestHead, edits: &RequestEdits<'_>) {
    let gateway = edits.sender != Sender::Mesh;
    let rules = Rules { layers: edits.rules, values: &edits.values, last: &[] };
    let new_host = match edits.authority {
        Some(authority) => Some(authority),
        None if request.absolute_form || request.fields.get(Known::Host).is_none() => Some(request.authority.of(head)),
        None => None,
    };
    out.request_line(request.method_span.of(head), edits.path);
    if let Some(host) = new_host {
        out.field(b"Host", host);
    }
    out.fields(head, &request.fields, |field| match field.known {
        Known::TransferEncoding => false,
        Known::Host => new_host.is_some(),
        // HTTP/1.0 knows no expectations (RFC 9110 §10.1.1): its client would not understand the 100 that this asks for.
        Known::Expect => request.version == Version::Http10,
        Known::XForwardedFor => gateway,
        // Counted anew for each hop between proxies; what the caller's proxy counted is for the app to read.
        Known::XEnvoyAttemptCount if edits.role != Role::Inbound => true,
        _ => field.is_withheld(head, edits.sender) || rules.drop(field.name.of(head)),
    });
    if edits.upgrade {
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    let mut own = |name: &str, value: &dyn Fn(&mut HeadWriter<'_>)| {
        if !rules.drop(name.as_bytes()) {
            out.put(name.as_bytes());
            out.put(b": ");
            value(out);
            out.put(b"\r\n");
        }
    };
    if gateway {
        own("x-forwarded-for", &|out| forwarded_for(out, head, request, edits.client));
    }
    if says_scheme(edits.sender, &request.fields) {
        own("x-forwarded-proto", &|out| out.put(b"http"));
    }
    if let Some(id) = edits.request_id {
        own("x-request-id", &|out| out.put(id));
    }
    out.put(edits.peer_headers);
    rules.write(out);
    if edits.role != Role::Inbound && !rules.drop(b"x-envoy-attempt-count") {
        out.put(FIRST_TRY);
    }
}

/// Whether it is for us to say the scheme: nobody who is believed did.
pub fn says_scheme(sender: Sender, fields: &Fields) -> bool {
    sender == Sender::Outside || fields.get(Known::XForwardedProto).is_none()
}

/// The last line of a request that goes out for the first time.
pub const FIRST_TRY: &[u8] = b"x-envoy-attempt-count: 1\r\n";

/// Appends the client to what earlier proxies said (Envoy's `use_remote_address`).
fn forwarded_for(out: &mut HeadWriter<'_>, head: &[u8], request: &RequestHead, client: IpAddr) {
    for field in request.fields.iter().filter(|f| f.known == Known::XForwardedFor) {
        out.put(field.value.of(head));
        out.put(b", ");
    }
    out.put(address_text(client, &mut [0; ADDRESS_BYTES_MAX]));
}

/// Bytes of the longest address: eight groups of an IPv6 address, the last two of them as IPv4.
pub const ADDRESS_BYTES_MAX: usize = 45;

/// An address in words, without allocation.
pub fn address_text(address: IpAddr, text: &mut [u8; ADDRESS_BYTES_MAX]) -> &[u8] {
    let mut rest = &mut text[..];
    // Every address fits.
    let _ = write!(rest, "{address}");
    let used = ADDRESS_BYTES_MAX - rest.len();
    &text[..used]
}

/// What the mesh and its rules change on a response.
pub struct ResponseEdits<'a> {
    /// The route's and the destination's edits.
    pub rules: Layers<'a>,
    /// What their variables stand for.
    pub values: Values<'a>,
    /// Header lines that replace those of the same names, whatever the rules say (CORS).
    pub last: &'a [u8],
    /// A cookie of consistent hashing that the client is to come back with, and the number that is its value.
    pub cookie: Option<(&'a HashCookie, u64)>,
    /// Say `Connection: close`.
    pub close: bool,
    /// Say `Connection: keep-alive` (to HTTP/1.0 clients that asked for it).
    pub keep_alive: bool,
    /// Leave Transfer-Encoding out: the client speaks HTTP/1.0.
    pub dechunk: bool,
    /// This is the 101 of a WebSocket.
    pub upgrade: bool,
    /// The client is outside of the mesh: rule ids are not for it.
    pub outside: bool,
}

/// Upper bound of the bytes that [`ResponseEdits`] adds.
pub fn response_extra(edits: &ResponseEdits<'_>) -> usize {
    let cookie = edits.cookie.map_or(0, |(cookie, _)| cookie_len(cookie));
    64 + cookie + edits.last.len() + rules_len(&edits.rules, &edits.values)
}

/// Writes a response head for the client.
pub fn response_head(out: &mut HeadWriter<'_>, head: &[u8], response: &ResponseHead, edits: &ResponseEdits<'_>) {
    let rules = Rules { layers: edits.rules, values: &edits.values, last: edits.last };
    out.status_line(response.status, response.reason.of(head));
    out.fields(head, &response.fields, |field| match field.known {
        Known::TransferEncoding => edits.dechunk,
        Known::XEnvoyPeerMetadata | Known::XEnvoyPeerMetadataId => true,
        Known::XRingwayRule if edits.outside => true,
        _ => field.hop || rules.drop(field.name.of(head)),
    });
    if edits.upgrade && response.upgrade == Upgrade::WebSocket {
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if edits.close {
        out.put(b"Connection: close\r\n");
    } else if edits.keep_alive {
        out.put(b"Connection: keep-alive\r\n");
    }
    if let Some((cookie, value)) = edits.cookie {
        set_cookie(out, cookie, value);
    }
    rules.write(out);
}

/// A line as Envoy writes it (RFC 6265 §4.1): not readable by scripts, since only this proxy has a use for it.
fn set_cookie(out: &mut HeadWriter<'_>, cookie: &HashCookie, value: u64) {
    out.put(b"set-cookie: ");
    out.put(cookie.name.as_bytes());
    out.put(b"=\"");
    out.put(&cookie_text(value));
    out.put(b"\"");
    if let Some(seconds) = cookie.ttl_ms.map(|ms| ms.div_ceil(1000)).filter(|seconds| *seconds > 0) {
        out.put(b"; Max-Age=");
        out.put_u64(seconds);
    }
    if !cookie.path.is_empty() {
        out.put(b"; Path=");
        out.put(cookie.path.as_bytes());
    }
    for (name, value) in &cookie.attributes {
        out.put(b"; ");
        out.put(name.as_bytes());
        if !value.is_empty() {
            out.put(b"=");
            out.put(value.as_bytes());
        }
    }
    out.put(b"; HttpOnly\r\n");
}

/// Upper bound of what [`set_cookie`] writes.
fn cookie_len(cookie: &HashCookie) -> usize {
    const FIXED: usize = 96;
    let attributes = cookie.attributes.iter().map(|(name, value)| name.len() + value.len() + 3);
    FIXED + cookie.name.len() + cookie.path.len() + attributes.sum::<usize>()
}

/// What rules edit on a head, and what has the last word.
pub struct Rules<'a> {
    /// Their edits.
    pub layers: Layers<'a>,
    /// What their variables stand for.
    pub values: &'a Values<'a>,
    /// Header lines that replace those of the same names, whatever the rules say.
    pub last: &'a [u8],
}

impl Rules<'_> {
    /// Whether a line of this name is taken away.
    pub fn drop(&self, name: &[u8]) -> bool {
        self.layers.drop(name, self.values) || names(self.last, name)
    }

    /// Writes all lines.
    pub fn write(&self, out: &mut HeadWriter<'_>) {
        self.layers.each(self.values, &mut |name, value| {
            if !names(self.last, name.as_bytes()) {
                out.put(name.as_bytes());
                out.put(b": ");
                self.layers.parts(value, self.values, &mut |part| out.put(part));
                out.put(b"\r\n");
            }
        });
        out.put(self.last);
    }
}

/// Whether one of these header lines has this name.
fn names(lines: &[u8], name: &[u8]) -> bool {
    let named = |line: &[u8]| {
        line.split_at_checked(name.len())
            .is_some_and(|(start, rest)| rest.starts_with(b":") && start.eq_ignore_ascii_case(name))
    };
    !lines.is_empty() && lines.split(|b| *b == b'\n').any(named)
}

/// Methods whose repetition is harmless (RFC 9110 §9.2.2).
pub fn idempotent(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Options | Method::Put | Method::Delete | Method::Trace)
}

/// A version 4 UUID as text.
pub fn request_id(rng: &mut impl Rng) -> RequestId {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits =
        (u128::from(rng.random()) << 64 | u128::from(rng.random())) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let mut text = [b'-'; 36];
    let mut nibble = 32;
    for (i, byte) in text.iter_mut().enumerate() {
        if !matches!(i, 8 | 13 | 18 | 23) {
            nibble -= 1;
            *byte = HEX[(bits >> (nibble * 4)) as usize & 15];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);
    impl Rng for Fixed {
        fn random(&mut self) -> u64 {
            self.0
        }
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        assert_eq!(&request_id(&mut Fixed(0)), b"00000000-0000-4000-8000-000000000000");
        assert_eq!(&request_id(&mut Fixed(u64::MAX)), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
