//! Header lines on their way through the proxy: what ends at this hop, and what an endpoint sees in the end.
//!
//! The values that a proxy makes up are told as what they are, in parentheses.

use super::Request;
use ringway_config::model::{HeaderValue, Part, Role, What};
use ringway_http::h1::{HeadLimits, Parse, RequestError};
use ringway_http::head::{Known, RequestHead, Sender, Span};
use ringway_policy::{Asked, Layers, Values};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What proxies tell each other of themselves.
const PEER_METADATA: [&str; 2] = ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"];

/// The lines that conditions see, read as the proxy reads them: without those that end at this hop, or that are not the client's to say.
///
/// # Errors
/// Why the proxy refuses the head.
pub(super) fn seen(
    request: &Request,
    sender: Sender,
    limits: &HeadLimits,
) -> Result<Vec<(String, String)>, RequestError> {
    let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.authority);
    for (name, value) in &request.headers {
        let _ = write!(bytes, "{name}: {value}\r\n");
    }
    bytes.push_str("\r\n");
    let (bytes, mut head) = (bytes.as_bytes(), RequestHead::default());
    match head.parse(bytes, 0, limits)? {
        Parse::Complete => {}
        Parse::Partial { .. } => return Err(RequestError::RequestLine),
    }
    let kept = head.fields.iter().filter(|field| {
        !field.is_withheld(bytes, sender) && !matches!(field.known, Known::Host | Known::TransferEncoding)
    });
    let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
    Ok(kept.map(|field| (text(field.name), text(field.value))).collect())
}

/// The lines that an endpoint sees. `peer`: the endpoint is of this mesh.
pub(super) fn sent(
    request: &Request,
    authority: &str,
    (role, sender): (Option<Role>, Sender),
    rules: Layers<'_>,
    known: Values<'_>,
    peer: bool,
) -> Vec<(String, String)> {
    let gateway = sender != Sender::Mesh;
    let mut lines = Vec::new();
    let has = |name: &str| request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let forwarded_for = |name: &str| gateway && name.eq_ignore_ascii_case("x-forwarded-for");
    // Tries are counted anew for each hop between proxies.
    let counted = |name: &str| role != Some(Role::Inbound) && name.eq_ignore_ascii_case(ATTEMPT);
    let kept = |name: &str| !forwarded_for(name) && !counted(name);
    lines.extend(request.headers.iter().filter(|(name, _)| kept(name)).cloned());
    let mut own = |name: &str, value: &str| lines.push((name.to_string(), value.to_string()));
    if gateway {
        let before: Vec<&str> =
            request.headers.iter().filter(|(name, _)| forwarded_for(name)).map(|(_, value)| value.as_str()).collect();
        own("x-forwarded-for", &[before.as_slice(), &[CLIENT]].concat().join(", "));
    }
    if sender == Sender::Outside || !has("x-forwarded-proto") {
        own("x-forwarded-proto", "http");
    }
    if !has("x-request-id") {
        own("x-request-id", "(made by the proxy)");
    }
    if role != Some(Role::Inbound) {
        lines.push((ATTEMPT.to_string(), "1".to_string()));
    }
    let before = Request { headers: lines, ..request.clone() };
    let asked = Asked {
        method: before.method.as_bytes(),
        path: before.target.as_bytes(),
        authority: before.authority.as_bytes(),
        scheme: before.scheme(),
        fields: &before,
    };
    let values = Values {
        request: Some(asked),
        protocol: "HTTP/1.1",
        client: known.client.or(UNKNOWN),
        direct: UNKNOWN,
        local: UNKNOWN,
        ..known
    };
    let given = |(name, _): &&(String, String)| !rules.drop(name.as_bytes(), &values);
    let mut lines = vec![("host".to_string(), authority.to_string())];
    lines.extend(before.headers.iter().filter(given).cloned());
    if peer && role != Some(Role::Inbound) {
        lines.extend(PEER_METADATA.map(|name| (name.to_string(), "(the proxy's own workload)".to_string())));
    }
    rules.each(&values, &mut |name, value| lines.push((name.to_string(), text(value, rules, &values))));
    lines
}

/// Says which try it is.
const ATTEMPT: &str = "x-envoy-attempt-count";
const CLIENT: &str = "(the client's address)";
const CLIENTS_PORT: &[u8] = b"(the client's port)";
/// An address that nobody knows here, and that a proxy has.
const UNKNOWN: Option<SocketAddr> = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

/// A value, with what only a running proxy knows in parentheses.
fn text(value: &HeaderValue, rules: Layers<'_>, values: &Values<'_>) -> String {
    let mut bytes = Vec::new();
    let HeaderValue::Format(parts) = value else { return value.to_string() };
    for part in parts {
        match part {
            Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) => match variable.what {
                What::DownstreamRemoteAddress | What::DownstreamRemoteAddressWithoutPort
                    if values.client == UNKNOWN =>
                {
                    bytes.extend_from_slice(CLIENT.as_bytes());
                }
                What::DownstreamDirectRemoteAddress | What::DownstreamDirectRemoteAddressWithoutPort => {
                    bytes.extend_from_slice(CLIENT.as_bytes());
                }
                What::DownstreamRemotePort if values.client == UNKNOWN => bytes.extend_from_slice(CLIENTS_PORT),
                What::DownstreamDirectRemotePort => bytes.extend_from_slice(CLIENTS_PORT),
                What::DownstreamLocalAddress | What::DownstreamLocalAddressWithoutPort => {
                    bytes.extend_from_slice(b"(the proxy's address)");
                }
                What::StartTime => bytes.extend_from_slice(b"(the time)"),
                What::DownstreamLocalPort => bytes.extend_from_slice(b"(the proxy's port)"),
                _ => rules.variable(variable, values, &mut |part| bytes.extend_from_slice(part)),
            },
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::model::HeaderEdits;

    fn edits(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
        let values =
            |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        HeaderEdits { set: values(set), add: values(add), remove: remove.iter().map(|name| (*name).into()).collect() }
    }

    fn lines(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    fn request(list: &[(&str, &str)]) -> Request {
        Request { method: "GET".into(), target: "/".into(), authority: "a".into(), headers: lines(list) }
    }

    #[test]
    fn what_ends_here_is_not_seen() {
        let given = request(&[
            ("Connection", "x-a, close"),
            ("X-A", "1"),
            ("x-b", "2"),
            ("x-forwarded-proto", "https"),
            ("TE", "trailers"),
            ("Trailer", "x-c"),
            ("Keep-Alive", "1"),
        ]);
        let seen = |sender| seen(&given, sender, &HeadLimits::default()).expect("well-formed");
        let kept = [("x-b", "2"), ("x-forwarded-proto", "https"), ("TE", "trailers"), ("Trailer", "x-c")];
        assert_eq!(seen(Sender::Mesh), lines(&kept));
        assert_eq!(seen(Sender::Proxy), lines(&kept));
        assert_eq!(seen(Sender::Outside), lines(&[kept[0], kept[2], kept[3]]));
    }

    #[test]
    fn what_a_proxy_refuses_is_refused() {
        for (line, strict, status) in [
            (("Content-Length", "x"), false, 400),
            (("Connection", "host"), false, 400),
            (("Expect", "more"), false, 417),
            (("x_a", "1"), true, 400),
        ] {
            let limits = HeadLimits::new(60 << 10, 100, strict);
            let refused = seen(&request(&[line]), Sender::Mesh, &limits).expect_err(line.0);
            assert_eq!(refused.status(), status, "{line:?}");
        }
        assert!(seen(&request(&[("x_a", "1")]), Sender::Mesh, &HeadLimits::default()).is_ok());
    }

    #[test]
    fn the_destination_s_edits_come_after_the_route_s() {
        let request = request(&[("x-request-id", "r"), ("x-a", "0"), ("x-c", "c")]);
        let (outer, inner) = (edits(&[("x-a", "1"), ("x-b", "1")], &[], &[]), edits(&[], &[("x-b", "2")], &["x-A"]));
        let layers = Layers::of_request(&outer, &inner);
        let sent = sent(&request, "h", (Some(Role::Outbound), Sender::Mesh), layers, Values::default(), false);
        let expected = [
            ("host", "h"),
            ("x-request-id", "r"),
            ("x-c", "c"),
            ("x-forwarded-proto", "http"),
            ("x-envoy-attempt-count", "1"),
            ("x-b", "1"),
            ("x-b", "2"),
        ];
        assert_eq!(sent, lines(&expected));
    }

    #[test]
    fn what_a_caller_says_of_tries_is_not_sent_on() {
        let headers = lines(&[("x-request-id", "r"), ("X-Envoy-Attempt-Count", "7")]);
        let request = Request { headers, ..Request::default() };
        let none = HeaderEdits::default();
        for (role, sent_on) in [(Role::Outbound, false), (Role::Gateway, false), (Role::Inbound, true)] {
            let sender = if role == Role::Gateway { Sender::Outside } else { Sender::Mesh };
            let sent =
                sent(&request, "h", (Some(role), sender), Layers::of_request(&none, &none), Values::default(), false);
            assert_eq!(sent.iter().any(|(_, value)| value == "7"), sent_on, "{role:?}");
        }
    }
}
