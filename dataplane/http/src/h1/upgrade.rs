//! The one upgrade there is: WebSocket (RFC 6455 §4). h2c was taken out of HTTP (RFC 9113 §3.1) and is how requests are smuggled past proxies;
//! anything else is ignored, as a server may (RFC 9110 §7.8), and stripped.

use crate::h1::fields::Seen;
use crate::head::{Fields, Framing, Method, Upgrade, Version};

/// What a request asks for. A handshake that is not whole is none: it goes on as a plain request, without `Upgrade`.
pub(super) fn requested(
    bytes: &[u8],
    fields: &Fields,
    seen: &Seen,
    method: Method,
    version: Version,
    framing: Framing,
) -> Upgrade {
    let whole = || {
        seen.upgrade_option
            && method == Method::Get
            && version == Version::Http11
            && matches!(framing, Framing::None | Framing::Length(0))
            && only(bytes, fields, b"sec-websocket-key").is_some_and(|key| is_base64(key, 22, b"=="))
            && only(bytes, fields, b"sec-websocket-version").is_some()
    };
    if seen.upgrade == Upgrade::WebSocket && !whole() { Upgrade::Ignored } else { seen.upgrade }
}

/// Whether a 101 completes the handshake. That its digest answers the key is for the client to check, which alone made the key up.
pub(super) fn accepted(bytes: &[u8], fields: &Fields, seen: &Seen) -> bool {
    seen.upgrade == Upgrade::WebSocket
        && seen.upgrade_option
        && only(bytes, fields, b"sec-websocket-accept").is_some_and(|digest| is_base64(digest, 27, b"="))
}

/// The value of a field that is there exactly once.
fn only<'a>(bytes: &'a [u8], fields: &'a Fields, name: &'a [u8]) -> Option<&'a [u8]> {
    let mut lines = fields.named(bytes, name);
    let line = lines.next()?;
    if lines.next().is_some() { None } else { Some(line.value.of(bytes)) }
}

fn is_base64(value: &[u8], digits: usize, padding: &[u8]) -> bool {
    value.len() == digits + padding.len()
        && value.ends_with(padding)
        && value[..digits].iter().all(|&b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}
