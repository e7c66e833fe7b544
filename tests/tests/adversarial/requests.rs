//! Rows 1–12 from the client's side: what must never reach an upstream.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Proxy, Upstream};
use ringway_tests::matrix;

/// A request that the smuggler hopes an upstream will see.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: up.test\r\n\r\n";

matrix!(
    row_01_content_length_and_transfer_encoding,
    row_02_obscured_transfer_encoding,
    row_03_transfer_encoding_in_http_1_0,
    row_04_content_length_that_is_not_one_number,
    row_05_a_body_is_framed_whatever_the_method,
    row_06_chunk_sizes,
    row_07_chunk_extensions,
    row_08_chunk_data_without_its_end,
    row_09_bare_line_ends,
    row_10_folded_lines,
    row_11_space_around_names,
    row_12_names_and_values,
    row_12_nothing_is_refused_that_is_allowed,
);

fn row_01_content_length_and_transfer_encoding(case: Case) {
    Refusals::new(case).heads(&[
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length: 0\r\nTRANSFER-ENCODING: CHUNKED\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 0\r\n",
    ]);
}

fn row_02_obscured_transfer_encoding(case: Case) {
    Refusals::new(case).heads(&[
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding:\r\n",
    ]);
}

fn row_03_transfer_encoding_in_http_1_0(case: Case) {
    Refusals::new(case).requests(&[
        "POST / HTTP/1.0\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: up.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

fn row_04_content_length_that_is_not_one_number(case: Case) {
    Refusals::new(case).heads(&[
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
    ]);
}

/// "CL.0": the body of a GET or HEAD is a body, not the next request.
fn row_05_a_body_is_framed_whatever_the_method(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let mut client = proxy.client();
        client.send(format!(
            "{method} /first HTTP/1.1\r\nHost: up.test\r\nContent-Length: {}\r\n\r\n{SMUGGLED}GET /second HTTP/1.1\r\nHost: up.test\r\n\r\n",
            SMUGGLED.len()
        ));
        let first = client.try_response(method == "HEAD").unwrap();
        assert_eq!(first.status, 200, "{method}");
        assert_eq!(client.response().status, 200, "{method}");
        let seen: Vec<_> = upstream.take_requests().into_iter().map(|r| (r.target, r.body.len())).collect();
        assert_eq!(seen, [("/first".to_owned(), SMUGGLED.len()), ("/second".to_owned(), 0)], "{method}");
    }
}

fn row_06_chunk_sizes(case: Case) {
    Refusals::new(case).chunked(&[
        "\r\nabc\r\n0\r\n\r\n",
        ";a\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\t3\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\nabc",
        "ffffffffffffffff\r\nabc",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "1_0\r\nabc",
        "3g\r\nabc\r\n0\r\n\r\n",
        "3,3\r\nabc\r\n0\r\n\r\n",
        "\"3\"\r\nabc\r\n0\r\n\r\n",
        "3\0\r\nabc\r\n0\r\n\r\n",
    ]);
}

fn row_07_chunk_extensions(case: Case) {
    let long = format!("3;a={}\r\nabc\r\n0\r\n\r\n", "x".repeat(4096));
    let many =
        "1;a=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n"
            .repeat(2000);
    Refusals::new(case).chunked(&[
        "3;a\nabc\r\n0\r\n\r\n",
        "3;a=b\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "3;a=\"x\ny\"\r\nabc\r\n0\r\n\r\n",
        "3;a=\0\r\nabc\r\n0\r\n\r\n",
        "3;\x7f\r\nabc\r\n0\r\n\r\n",
        &long,
        &many,
    ]);
}

fn row_08_chunk_data_without_its_end(case: Case) {
    Refusals::new(case).chunked(&[
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX y: z\r\n\r\n",
        "0\r\n: z\r\n\r\n",
        "0\n\n",
    ]);
}

fn row_09_bare_line_ends(case: Case) {
    Refusals::new(case).requests(&[
        "GET / HTTP/1.1\nHost: up.test\n\n",
        "GET / HTTP/1.1\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\r\nX: y\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\r\n\n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\rX: y\r\n\r\n",
        "GET / HTTP/1.1\rHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: up.test\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: up.test\r\n\r\n",
    ]);
}

fn row_10_folded_lines(case: Case) {
    Refusals::new(case).heads(&[
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\r\n \r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length: 1\r\n 0\r\n",
    ]);
}

fn row_11_space_around_names(case: Case) {
    let refusals = Refusals::new(case);
    refusals.heads(&[
        "X : y\r\n",
        "X\t: y\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X y: z\r\n",
    ]);
    refusals.requests(&[
        "GET / HTTP/1.1\r\n Host: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\tHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\n X: y\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : up.test\r\n\r\n",
    ]);
}

fn row_12_names_and_values(case: Case) {
    let refusals = Refusals::new(case);
    refusals.heads(&[
        ": y\r\n",
        "no colon\r\n",
        "nocolon\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x1bb\r\n",
        "X: a\x7fb\r\n",
        "X\0: y\r\n",
        "X\x7f: y\r\n",
        "X(y): z\r\n",
        "X@y: z\r\n",
        "X[: z\r\n",
        "\"X\": z\r\n",
    ]);
    refusals.requests(&[
        "GET / HTTP/1.1\r\nHost: up.test\r\nX\u{e4}: y\r\n\r\n",
        "G\0ET / HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: up.test\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: up.test\r\n\r\n",
        "GET / http/1.1\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/11\r\nHost: up.test\r\n\r\n",
        "GET /\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test\r\nHost: up.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test, other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@up.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: up.test/x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /#fragment HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: up.test\r\n\r\n",
    ]);
}

/// The other half of strictness: odd but valid messages pass, so that the rows above do not succeed by refusing everything.
fn row_12_nothing_is_refused_that_is_allowed(case: Case) {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let allowed: &[&[u8]] = &[
        b"\r\nGET / HTTP/1.1\r\nHost: up.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:up.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \t up.test \t \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: up.test\r\nX:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: up.test\r\nX: \xff\xfe \"(){}\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: up.test\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
        b"PURGE /?a=b&c=%20 HTTP/1.1\r\nHost: up.test:80\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: up.test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 0005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: up.test\r\ntransfer-encoding: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n0005;a=b;c=\"d;\\\"e\"\r\nhello\r\n000\r\nX: y\r\n\r\n",
    ];
    for request in allowed {
        let mut client = proxy.client();
        client.send(request);
        let response = client.response();
        assert_eq!(response.status, 200, "{}\n{response:?}", request.escape_ascii());
        client.expect_alive("up.test");
    }
}

/// Proxies for bad requests and an upstream that must not notice any.
struct Refusals {
    upstream: Upstream,
    proxies: Vec<Proxy>,
}

impl Refusals {
    fn new(case: Case) -> Refusals {
        let upstream = Upstream::echo();
        let proxies = [Role::Outbound, Role::Gateway].map(|role| Proxy::to(case, role, upstream.address())).into();
        Refusals { upstream, proxies }
    }

    /// These header lines make a POST unacceptable.
    fn heads(&self, lines: &[&str]) {
        for lines in lines {
            self.refused(&format!("POST / HTTP/1.1\r\nHost: up.test\r\n{lines}\r\n0\r\n\r\n"));
        }
    }

    /// These whole requests are unacceptable.
    fn requests(&self, requests: &[&str]) {
        for request in requests {
            self.refused(request);
        }
    }

    /// These chunked bodies are unacceptable, alone and behind good chunks that are already on their way.
    fn chunked(&self, bodies: &[&str]) {
        for body in bodies {
            let head = "POST / HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            self.refused(&format!("{head}{body}"));
            self.refused(&format!("{head}5\r\nfirst\r\n{body}"));
        }
    }

    fn refused(&self, request: &str) {
        for proxy in &self.proxies {
            let mut client = proxy.client();
            refused(&mut client, request);
            assert!(
                self.upstream.requests().is_empty(),
                "the upstream saw {:?} because of {request:?}",
                self.upstream.requests()
            );
            proxy.client().expect_alive("up.test");
            assert_eq!(self.upstream.take_requests().len(), 1);
        }
    }
}

/// The request gets one answer that says no and closes; what is pipelined behind it gets none.
fn refused(client: &mut Client, request: &str) {
    // The proxy may close before it has taken everything.
    let _ = client.try_send([request, SMUGGLED].concat());
    let response = client.try_response(false).unwrap_or_else(|e| panic!("no answer ({e}) to {request:?}"));
    assert!(matches!(response.status, 400 | 405 | 414 | 417 | 431 | 501 | 505), "{request:?} got {response:?}");
    assert!(response.closes(), "{request:?} got {response:?}");
    client.expect_end();
}
