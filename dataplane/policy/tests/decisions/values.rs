//! Values that are made up for each request: what variables come to, and what an empty one does.

use ringway_config::model::{HeaderEdits, HeaderValue, Part, Variable, What};
use ringway_policy::{Answered, Asked, Layers, Values};

use crate::world::Headers;

fn headers(list: &[(&str, &str)]) -> Headers {
    Headers(list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

fn variable(what: What, header: &str, alternative: &str, bytes_max: u32) -> Part {
    Part::Variable(Variable { what, header: header.into(), alternative: alternative.into(), bytes_max })
}

fn told(layers: Layers<'_>, values: &Values<'_>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    layers.each(values, &mut |name, value| {
        let mut bytes = Vec::new();
        layers.parts(value, values, &mut |part| bytes.extend_from_slice(part));
        lines.push((name.to_string(), String::from_utf8(bytes).unwrap()));
    });
    lines
}

#[test]
fn variables_come_to_what_is_so() {
    let asked = headers(&[("x-user", "jason"), ("x-user", "second"), ("x-next", "/a?b"), ("x-gone", "1")]);
    let answered = headers(&[("server", "up")]);
    let request = Asked { method: b"GET", path: b"/p?q=1", authority: b"shop:80", scheme: "http", fields: &asked };
    let response = Answered {
        status: 503,
        details: "via_upstream",
        flags: "-",
        upstream: Some("10.0.0.2:9080".parse().unwrap()),
        fields: &answered,
    };
    let values = Values {
        request: Some(request),
        client: Some("[2001:db8::1]:4711".parse().unwrap()),
        direct: Some("[2001:db8::2]:7".parse().unwrap()),
        local: Some("[::ffff:10.0.0.1]:80".parse().unwrap()),
        protocol: "HTTP/1.1",
        route: "canary",
        cluster: "outbound|80||shop",
        hostname: "web-1",
        start_us: 1_795_231_506_789_012,
        response: Some(response),
    };
    for (what, header, alternative, bytes_max, expected) in [
        (What::DownstreamRemoteAddress, "", "", 0, "[2001:db8::1]:4711"),
        (What::DownstreamRemoteAddressWithoutPort, "", "", 0, "2001:db8::1"),
        (What::DownstreamRemotePort, "", "", 0, "4711"),
        (What::DownstreamDirectRemoteAddress, "", "", 0, "[2001:db8::2]:7"),
        (What::DownstreamDirectRemoteAddressWithoutPort, "", "", 0, "2001:db8::2"),
        (What::DownstreamDirectRemotePort, "", "", 0, "7"),
        (What::DownstreamLocalAddress, "", "", 0, "10.0.0.1:80"),
        (What::DownstreamLocalAddressWithoutPort, "", "", 0, "10.0.0.1"),
        (What::DownstreamLocalPort, "", "", 0, "80"),
        (What::Protocol, "", "", 0, "HTTP/1.1"),
        (What::Req, "x-user", "", 0, "jason"),
        (What::Req, "x-user", "", 3, "jas"),
        (What::Req, "x-user", "", 99, "jason"),
        (What::Req, "x-none", "x-next", 0, "/a?b"),
        (What::Req, "x-none", "", 0, ""),
        (What::Req, "x-none", ":method", 0, "GET"),
        (What::Req, ":path", "", 0, "/p?q=1"),
        (What::Req, ":authority", "x-user", 0, "shop:80"),
        (What::Req, ":scheme", "", 0, "http"),
        (What::ReqWithoutQuery, ":path", "", 0, "/p"),
        (What::ReqWithoutQuery, "x-next", "", 1, "/"),
        (What::RouteName, "", "", 0, "canary"),
        (What::Hostname, "", "", 0, "web-1"),
        (What::UpstreamCluster, "", "", 8, "outbound"),
        (What::StartTime, "", "", 0, "2026-11-21T03:25:06.789Z"),
        (What::StartTime, "%s.%6f", "", 0, "1795231506.789012"),
        (What::StartTime, "%Y-%m", "", 4, "2026"),
        (What::Resp, "server", "", 0, "up"),
        (What::Resp, "x-user", "", 0, ""),
        (What::ResponseCode, "", "", 0, "503"),
        (What::ResponseCodeDetails, "", "", 0, "via_upstream"),
        (What::ResponseFlags, "", "", 0, "-"),
        (What::UpstreamRemoteAddress, "", "", 0, "10.0.0.2:9080"),
        (What::UpstreamRemoteAddressWithoutPort, "", "", 0, "10.0.0.2"),
        (What::UpstreamRemotePort, "", "", 0, "9080"),
    ] {
        let part = variable(what, header, alternative, bytes_max);
        let set =
            vec![("x".to_string(), HeaderValue::Format(vec![Part::Text("<".into()), part, Part::Text(">".into())]))];
        let outer = HeaderEdits { set, ..HeaderEdits::default() };
        let layers = Layers::of_response(&outer, &outer);
        let expected = format!("<{expected}>");
        assert_eq!(told(layers, &values), [("x".to_string(), expected.clone())], "{what:?} {header} {alternative}");
        assert!(layers.bytes_max(&values) >= 2 * (1 + expected.len()), "{what:?}");
    }
}

#[test]
fn what_comes_out_empty_neither_sets_nor_adds() {
    let empty = || HeaderValue::Format(vec![variable(What::Req, "x-none", "", 0)]);
    let outer = HeaderEdits {
        set: vec![("x-a".into(), empty()), ("x-b".into(), "1".into())],
        add: vec![("x-c".into(), empty())],
        remove: Vec::new(),
    };
    let inner = HeaderEdits { set: vec![("x-b".into(), empty())], ..HeaderEdits::default() };
    let fields = headers(&[]);
    let request = Asked { method: b"GET", path: b"/", authority: b"a", scheme: "http", fields: &fields };
    let values = Values { request: Some(request), ..Values::default() };
    let layers = Layers::of_request(&outer, &inner);
    assert!(layers.vary() && layers.read_request());
    assert_eq!(told(layers, &values), [("x-b".to_string(), "1".to_string())]);
    assert!(!layers.drop(b"x-a", &values) && layers.drop(b"X-B", &values) && !layers.drop(b"x-c", &values));
}

/// Removals of a message come first; they take nothing from the other message.
#[test]
fn what_is_removed_is_not_read() {
    let fields = headers(&[("x-old", "1")]);
    let request = Asked { method: b"GET", path: b"/", authority: b"a", scheme: "http", fields: &fields };
    let values = Values { request: Some(request), ..Values::default() };
    let outer = HeaderEdits { remove: vec!["X-Old".into()], ..HeaderEdits::default() };
    let set = vec![("x-new".into(), HeaderValue::Format(vec![variable(What::Req, "x-old", "", 0)]))];
    let inner = HeaderEdits { set, ..HeaderEdits::default() };
    assert_eq!(told(Layers::of_request(&outer, &inner), &values), []);
    assert_eq!(told(Layers::of_response(&outer, &inner), &values), [("x-new".to_string(), "1".to_string())]);
}
