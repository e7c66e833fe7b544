//! Heads in and out: parsed, brought into their normal form, written with what the mesh and its rules change.

use std::hint::black_box;
use std::net::IpAddr;

use dataplane::worker::encode::{self, RequestEdits, RequestId, ResponseEdits};
use ringway_config::model::{HeaderEdits, HeaderValue, Part, PathNormalization, PolicySet, Role, Variable, What};
use ringway_http::client_hello;
use ringway_http::h1::{HeadLimits, HeadWriter, Parse};
use ringway_http::head::{Method, RequestHead, ResponseHead, Sender};
use ringway_policy::{Layers, Values, normal_target};

use super::HotPath;

const OPERATIONS: usize = 100;

/// As small clients write them.
const SHORT: &[u8] =
    b"GET /api/v1/items?page=2 HTTP/1.1\r\nHost: catalog.shop.svc.cluster.local:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// As browsers and frameworks write them, behind another proxy.
const LONG: &[u8] = b"POST /cart/checkout?currency=EUR&session=8d1f2c HTTP/1.1\r\n\
Host: shop.example.com\r\n\
Connection: keep-alive\r\n\
Content-Length: 312\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Content-Type: application/x-www-form-urlencoded\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Origin: https://shop.example.com\r\n\
Referer: https://shop.example.com/cart\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: shop_session-id=3f5c0f2e-0a33-4b0e-9a53-a0f4f7f7e3d1; shop_currency=EUR\r\n\
x-forwarded-for: 203.0.113.7\r\n\
x-forwarded-proto: https\r\n\
x-request-id: 7b2a1f0e-3c4d-4e5f-8a9b-0c1d2e3f4a5b\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 09:30:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 128\r\n\
Server: gunicorn\r\nCache-Control: no-store\r\nx-envoy-upstream-service-time: 3\r\n\r\n";

const PEER: &[u8] = b"x-envoy-peer-metadata-id: sidecar~10.1.2.3~front-0.shop~shop.svc.cluster.local\r\n\
x-envoy-peer-metadata: ChkKDkFQUF9DT05UQUlORVJTEgcaBWZyb250ChoKCkNMVVNURVJfSUQSDBoKS3ViZXJuZXRlcw==\r\n";

/// A head at the start of a buffer, as reads bring it. Constants lie where the linker puts them, and what goes by the word takes more instructions at
/// one place than at another.
#[repr(align(64))]
struct Received {
    buffer: [u8; 2048],
    len: usize,
}

impl Received {
    fn new(head: &[u8]) -> Box<Received> {
        let mut received = Box::new(Received { buffer: [0; 2048], len: head.len() });
        received.buffer[..head.len()].copy_from_slice(head);
        received
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

pub fn paths() -> Vec<HotPath> {
    let mut paths = Vec::new();
    for (what, head) in [("a request head of 3 lines", SHORT), ("a request head of 16 lines", LONG)] {
        paths.push(HotPath::new(format!("parse {what}"), OPERATIONS, move || {
            let (mut request, limits, received) = (RequestHead::default(), HeadLimits::default(), Received::new(head));
            Box::new(move || {
                for _ in 0..OPERATIONS {
                    assert_eq!(request.parse(black_box(received.bytes()), 0, &limits), Ok(Parse::Complete));
                }
            })
        }));
    }
    paths.push(HotPath::new("parse a response head of 6 lines", OPERATIONS, || {
        let (mut response, limits, received) =
            (ResponseHead::default(), HeadLimits::default(), Received::new(RESPONSE));
        Box::new(move || {
            for _ in 0..OPERATIONS {
                let head = black_box(received.bytes());
                assert_eq!(response.parse(head, 0, Method::Get, &limits), Ok(Parse::Complete));
            }
        })
    }));
    for (what, head) in [("3", SHORT), ("16", LONG)] {
        paths.push(written(format!("write a request head of {what} lines"), head, HeaderEdits::default()));
    }
    paths.push(written("write a request head of 16 lines with 4 edits".into(), LONG, edits()));
    paths.push(response_written("write a response head of 6 lines", HeaderEdits::default()));
    paths.push(response_written("write a response head of 6 lines with 4 edits", edits()));
    for (what, target) in [
        ("a plain path", &b"/api/v1/items?page=2"[..]),
        ("a path with dots and escapes", b"/api//v1/./a%41/../items?page=2"),
    ] {
        paths.push(HotPath::new(format!("normal form of {what}"), OPERATIONS, move || {
            let policy = PolicySet { path_normalization: PathNormalization::MergeSlashes, ..PolicySet::default() };
            let mut out = Vec::new();
            Box::new(move || {
                for _ in 0..OPERATIONS {
                    let normal = normal_target(&policy, black_box(target), &mut out).unwrap();
                    assert!(black_box(normal).ends_with(b"/items?page=2"));
                }
            })
        }));
    }
    paths.push(HotPath::new("server name of a ClientHello", OPERATIONS, || {
        let (hello, mut scratch) = (hello(), Vec::new());
        Box::new(move || {
            for _ in 0..OPERATIONS {
                let read = client_hello::parse(black_box(&hello), &mut scratch);
                assert!(matches!(read, Ok(client_hello::Hello::Complete(Some(_)))));
            }
        })
    }));
    paths
}

/// One line of each kind that a rule can edit, and one that says something about the request.
fn edits() -> HeaderEdits {
    let variable = Variable { what: What::DownstreamRemoteAddressWithoutPort, ..Variable::default() };
    let text = |text: &str| Part::Text(text.into());
    HeaderEdits {
        set: vec![
            ("x-tier".into(), "gold".into()),
            ("x-from".into(), HeaderValue::Format(vec![text("["), Part::Variable(variable), text("]")])),
        ],
        add: vec![("x-served-by".into(), "ringway".into())],
        remove: vec!["server".into()],
    }
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
const REQUEST_ID: RequestId = *b"00000000-0000-4000-8000-000000000000";

fn values() -> Values<'static> {
    Values { client: Some((CLIENT, 40_000).into()), ..Values::default() }
}

/// What a sidecar sends into the mesh.
fn written(name: String, head: &'static [u8], edits: HeaderEdits) -> HotPath {
    HotPath::new(name, OPERATIONS, move || {
        let (mut request, edits, none) = (RequestHead::default(), edits.clone(), HeaderEdits::default());
        request.parse(head, 0, &HeadLimits::default()).unwrap();
        let mut out = vec![0; 4096];
        Box::new(move || {
            for _ in 0..OPERATIONS {
                let path = request.path.of(head);
                let edits = RequestEdits {
                    rules: Layers::of_request(black_box(&edits), &none),
                    values: values(),
                    peer_headers: PEER,
                    request_id: Some(&REQUEST_ID),
                    ..RequestEdits::none(Role::Outbound, Sender::Mesh, path, CLIENT)
                };
                let mut writer = HeadWriter::new(&mut out);
                encode::request_head(&mut writer, black_box(head), &request, &edits);
                assert!(writer.end().unwrap() > head.len());
            }
        })
    })
}

fn response_written(name: &'static str, edits: HeaderEdits) -> HotPath {
    HotPath::new(name, OPERATIONS, move || {
        let (mut response, edits, none) = (ResponseHead::default(), edits.clone(), HeaderEdits::default());
        response.parse(RESPONSE, 0, Method::Get, &HeadLimits::default()).unwrap();
        let mut out = vec![0; 4096];
        Box::new(move || {
            for _ in 0..OPERATIONS {
                let edits = ResponseEdits {
                    rules: Layers::of_response(black_box(&edits), &none),
                    values: values(),
                    last: &[],
                    cookie: None,
                    close: false,
                    keep_alive: false,
                    dechunk: false,
                    upgrade: false,
                    outside: false,
                };
                let mut writer = HeadWriter::new(&mut out);
                encode::response_head(&mut writer, black_box(RESPONSE), &response, &edits);
                assert!(writer.end().unwrap() > 64);
            }
        })
    })
}

/// As a TLS 1.3 client begins: eight other extensions before the server's name, as browsers mix them.
fn hello() -> Vec<u8> {
    const NAME: &[u8] = b"catalog.shop.svc.cluster.local";
    let with_len = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_len(body)].concat();
    let mut extensions: Vec<u8> = (40..48).flat_map(|kind| extension(kind, &[7; 40])).collect();
    extensions.extend(extension(0, &with_len(&[&[0][..], &with_len(NAME)].concat())));
    let body = [&[3, 3][..], &[9; 32], &[0], &with_len(&[0x13, 1, 0x13, 2]), &[1, 0], &with_len(&extensions)].concat();
    let message = [&[1, 0][..], &with_len(&body)].concat();
    [&[0x16, 3, 1][..], &with_len(&message)].concat()
}
