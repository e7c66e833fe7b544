//! What a decision may know about a request.

use std::net::IpAddr;

/// Header lines of a request, as the policy looks at them.
pub trait Fields {
    /// Calls `visit` with each value of the header called `name` (lower case), in order.
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8]));
}

/// A request without headers.
pub struct NoFields;

impl Fields for NoFields {
    fn each(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
}

/// The scheme of a request on a connection without TLS, from the values of its `x-forwarded-proto` as far as they are to be believed: the only one, if
/// it names a scheme.
pub fn scheme<'a>(mut said: impl Iterator<Item = &'a [u8]>) -> &'static str {
    match (said.next(), said.next()) {
        (Some(one), None) if one.eq_ignore_ascii_case(b"https") => "https",
        _ => "http",
    }
}

/// The client of a gateway with so many trusted proxies in front of it, from the values of `x-forwarded-for`: each proxy appends whom it was asked by.
/// None where it is not told.
pub fn forwarded_client<'a>(said: impl DoubleEndedIterator<Item = &'a [u8]>, proxies: u32) -> Option<IpAddr> {
    let before = proxies.checked_sub(1)? as usize;
    let address = said.rev().flat_map(|value| value.rsplit(|byte| *byte == b',')).nth(before)?;
    std::str::from_utf8(address).ok()?.trim().parse().ok()
}

/// Randomness is an argument.
pub trait Rng {
    /// A uniformly random 64-bit number.
    fn random(&mut self) -> u64;
}

/// One request.
pub struct Facts<'a> {
    /// Index of the listener in the view ([`crate::View::listener`]).
    pub listener: u32,
    /// Method.
    pub method: &'a [u8],
    /// Path and query in their normal form ([`crate::normal_target`]): `/a?b=c`, or `*`.
    pub path: &'a [u8],
    /// Authority as received, checked by the codec to be one host[:port]; empty for HTTP/1.0 without Host.
    pub authority: &'a [u8],
    /// `http` or `https`: [`scheme`].
    pub scheme: &'a str,
    /// Address of the client: the connection's, or [`forwarded_client`].
    pub client: IpAddr,
    /// The headers, without those that end at this hop: nobody behind it can decide by them.
    pub fields: &'a dyn Fields,
    /// The answer to an earlier [`crate::Question`]: the host was asked for and does not exist.
    pub host_absent: bool,
    /// The request has waited for an earlier [`crate::Delay`]: it is not delayed again.
    pub delayed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_who_asked_the_first_trusted_proxy() {
        for (lines, proxies, client) in [
            (&["1.1.1.1"][..], 0, None),
            (&["1.1.1.1"], 1, Some("1.1.1.1")),
            (&["9.9.9.9, 1.1.1.1"], 1, Some("1.1.1.1")),
            (&["9.9.9.9, 1.1.1.1"], 2, Some("9.9.9.9")),
            (&["9.9.9.9, 1.1.1.1"], 3, None),
            (&["9.9.9.9", "1.1.1.1"], 1, Some("1.1.1.1")),
            (&["8.8.8.8,9.9.9.9", "1.1.1.1"], 2, Some("9.9.9.9")),
            (&["2001:db8::1"], 1, Some("2001:db8::1")),
            (&["1.1.1.1:80"], 1, None),
            (&["1.1.1.1,"], 1, None),
            (&["\u{e9}"], 1, None),
            (&[], 1, None),
        ] {
            let found = forwarded_client(lines.iter().map(|line| line.as_bytes()), proxies);
            assert_eq!(found, client.map(|text| text.parse().expect(text)), "{lines:?} behind {proxies}");
        }
    }
}
