//! What only the strict profile refuses: heads that are well-formed, and that two readers could still understand in two ways.

use crate::h1::RequestError;
use crate::head::{Field, Fields};

/// Headers that have one value by their definitions (RFC 9110, RFC 6265 §5.4, RFC 6454 §7.3) and are no lists: of two, some readers take the first and
/// others the last. Host, Content-Length and Expect are refused twice whatever the profile.
const SINGLE_VALUED: [&[u8]; 16] = [
    b"authorization",
    b"content-type",
    b"cookie",
    b"date",
    b"from",
    b"if-modified-since",
    b"if-range",
    b"if-unmodified-since",
    b"max-forwards",
    b"origin",
    b"proxy-authorization",
    b"range",
    b"referer",
    b"user-agent",
    b"x-forwarded-proto",
    b"x-request-id",
];

/// Refuses underscores in names (CGI and WSGI read `x_user` as `x-user`) and a second value of what has one.
pub(super) fn check(bytes: &[u8], fields: &Fields) -> Result<(), RequestError> {
    let mut seen = [false; SINGLE_VALUED.len()];
    for Field { name, .. } in fields.iter() {
        let name = name.of(bytes);
        if name.contains(&b'_') {
            return Err(RequestError::UnderscoreInName);
        }
        let single = SINGLE_VALUED.iter().position(|single| single.eq_ignore_ascii_case(name));
        if let Some(single) = single
            && std::mem::replace(&mut seen[single], true)
        {
            return Err(RequestError::SingleValuedTwice);
        }
    }
    Ok(())
}
