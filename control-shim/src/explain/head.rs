//! Header lines on their way through the proxy: what ends at this hop, and what an endpoint sees in the end.
//!
//! The values that a proxy makes up are told as what they are, in parentheses.

use super::Request;
use ringway_config::model::{HeaderEdits, Role};

/// Lines that end at this hop, whatever the rules say (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What only the mesh may say, and nobody from outside.
const INTERNAL: &str = "x-envoy-";
const FROM_INSIDE: [&str; 2] = ["x-forwarded-proto", "x-forwarded-client-cert"];
const PEER_METADATA: [&str; 2] = ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"];

/// The lines that conditions see: without those that end here, or that are not the client's to say.
pub(super) fn seen(headers: &[(String, String)], role: Option<Role>) -> Vec<(String, String)> {
    let named: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let gateway = role == Some(Role::Gateway);
    let kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        let outside = gateway && (FROM_INSIDE.contains(&name.as_str()) || name.starts_with(INTERNAL));
        !HOP_BY_HOP.contains(&name.as_str())
            && !named.contains(&name)
            && !PEER_METADATA.contains(&name.as_str())
            && !outside
    };
    headers.iter().filter(|(name, _)| kept(name)).cloned().collect()
}

/// The lines that an endpoint sees: `outer` are the route's edits, `inner` the destination's; `peer`: the endpoint is of this mesh.
pub(super) fn sent(
    request: &Request,
    authority: &str,
    role: Option<Role>,
    [outer, inner]: [&HeaderEdits; 2],
    peer: bool,
) -> Vec<(String, String)> {
    let gateway = role == Some(Role::Gateway);
    let mut lines = vec![("host".to_string(), authority.to_string())];
    let edited = |name: &str| outer.overrides(name.as_bytes()) || inner.overrides(name.as_bytes());
    let has = |name: &str| request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let forwarded_for = |name: &str| gateway && name.eq_ignore_ascii_case("x-forwarded-for");
    lines.extend(request.headers.iter().filter(|(name, _)| !edited(name) && !forwarded_for(name)).cloned());
    let mut own = |name: &str, value: &str| lines.push((name.to_string(), value.to_string()));
    if gateway {
        let before: Vec<&str> =
            request.headers.iter().filter(|(name, _)| forwarded_for(name)).map(|(_, value)| value.as_str()).collect();
        own("x-forwarded-for", &[before.as_slice(), &["(the client's address)"]].concat().join(", "));
    }
    if gateway || !has("x-forwarded-proto") {
        own("x-forwarded-proto", "http");
    }
    if !has("x-request-id") {
        own("x-request-id", "(made by the proxy)");
    }
    if peer && role != Some(Role::Inbound) {
        PEER_METADATA.iter().for_each(|name| own(name, "(the proxy's own workload)"));
    }
    let of_route = outer.set.iter().chain(&outer.add).filter(|(name, _)| !inner.overrides(name.as_bytes()));
    lines.extend(of_route.cloned());
    lines.extend(inner.set.iter().chain(&inner.add).cloned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn what_ends_here_is_not_seen() {
        let given = lines(&[
            ("Connection", "x-a, close"),
            ("X-A", "1"),
            ("x-b", "2"),
            ("x-forwarded-proto", "https"),
            ("TE", "trailers"),
        ]);
        assert_eq!(seen(&given, Some(Role::Outbound)), lines(&[("x-b", "2"), ("x-forwarded-proto", "https")]));
        assert_eq!(seen(&given, Some(Role::Gateway)), lines(&[("x-b", "2")]));
    }

    #[test]
    fn the_destination_s_edits_come_after_the_route_s() {
        let request =
            Request { headers: lines(&[("x-request-id", "r"), ("x-a", "0"), ("x-c", "c")]), ..Request::default() };
        let outer = HeaderEdits { set: lines(&[("x-a", "1"), ("x-b", "1")]), ..HeaderEdits::default() };
        let inner = HeaderEdits { add: lines(&[("x-b", "2")]), remove: vec!["x-A".into()], ..HeaderEdits::default() };
        let sent = sent(&request, "h", Some(Role::Outbound), [&outer, &inner], false);
        let expected = [
            ("host", "h"),
            ("x-request-id", "r"),
            ("x-c", "c"),
            ("x-forwarded-proto", "http"),
            ("x-b", "1"),
            ("x-b", "2"),
        ];
        assert_eq!(sent, lines(&expected));
    }
}
