//! Rows 1–12 from the upstream's side: a response that cannot be trusted becomes a 502, or a body that is visibly cut short.

use std::sync::Arc;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Proxy, Upstream};
use ringway_tests::matrix;

/// A response that a smuggler hopes another client will get.
const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

matrix!(
    row_01_response_with_content_length_and_transfer_encoding,
    row_02_response_with_obscured_transfer_encoding,
    row_03_response_of_http_1_0_with_transfer_encoding,
    row_04_response_with_content_length_that_is_not_one_number,
    row_05_response_before_the_body_was_read,
    row_06_response_chunk_sizes,
    row_07_response_chunk_extensions,
    row_08_response_chunk_data_without_its_end,
    row_09_response_with_bare_line_ends,
    row_10_response_with_folded_lines,
    row_11_response_with_space_around_names,
    row_12_response_with_bad_names_and_values,
    row_12_bytes_behind_a_response_are_no_response,
    row_12_bytes_nobody_asked_for,
);

fn row_01_response_with_content_length_and_transfer_encoding(case: Case) {
    bad_heads(
        case,
        &["Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"],
    );
}

fn row_02_response_with_obscured_transfer_encoding(case: Case) {
    bad_heads(
        case,
        &[
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding:\r\n",
        ],
    );
}

fn row_03_response_of_http_1_0_with_transfer_encoding(case: Case) {
    bad_responses(case, &["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]);
}

fn row_04_response_with_content_length_that_is_not_one_number(case: Case) {
    bad_heads(
        case,
        &[
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 3 3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
        ],
    );
}

/// The upstream answers while the request's body is under way: its connection holds half a request and is not used again.
fn row_05_response_before_the_body_was_read(case: Case) {
    let upstream = Upstream::script(|conn| {
        if let Ok(Some(head)) = conn.request_head() {
            let body = format!("{}{}", conn.number, head.target);
            if head.target.starts_with("/other") {
                // A whole exchange: its connection could be used again, so it says that it is not.
                conn.wire.send(format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
                return;
            }
            conn.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            // Keeps the connection open, as a server does that believes in reuse. What comes next must be the end, or the old body.
            if let Ok(rest) = conn.wire.rest() {
                assert!(!rest.windows(4).any(|w| w == b"GET "), "a request on a connection with half a body");
            }
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    for round in 0..3 {
        let mut client = proxy.client();
        client.send(format!("POST /{round} HTTP/1.1\r\nHost: up.test\r\nContent-Length: 100000\r\n\r\nhalf"));
        let early = client.response();
        assert_eq!((early.status, early.text()), (200, format!("{}/{round}", 2 * round)));
        // The rest of that body may come or not; it is never taken for a request, and nobody else gets the upstream connection.
        let _ = client.try_send("GET /smuggled HTTP/1.1\r\nHost: up.test\r\n\r\n");
        assert_eq!(proxy.get(&format!("/other{round}")).text(), format!("{}/other{round}", 2 * round + 1));
    }
}

fn row_06_response_chunk_sizes(case: Case) {
    bad_chunks(
        case,
        &[
            "\r\nabc\r\n0\r\n\r\n",
            ";a\r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "00000000000000003\r\nabc\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "+3\r\nabc\r\n0\r\n\r\n",
            "3_\r\nabc\r\n0\r\n\r\n",
        ],
    );
}

fn row_07_response_chunk_extensions(case: Case) {
    let long = format!("3;a={}\r\nabc\r\n0\r\n\r\n", "x".repeat(4096));
    bad_chunks(case, &["3;a\nabc\r\n0\r\n\r\n", "3;a\rb\r\nabc\r\n0\r\n\r\n", "3;a=\0\r\nabc\r\n0\r\n\r\n", &long]);
}

fn row_08_response_chunk_data_without_its_end(case: Case) {
    bad_chunks(
        case,
        &[
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabcXX0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "0\r\nX y: z\r\n\r\n",
        ],
    );
}

fn row_09_response_with_bare_line_ends(case: Case) {
    bad_responses(
        case,
        &[
            "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\nX: y\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\rContent-Length: 3\r\n\r\nabc",
        ],
    );
}

fn row_10_response_with_folded_lines(case: Case) {
    bad_heads(
        case,
        &["Content-Length: 3\r\nX: a\r\n b\r\n", "Content-Length:\r\n 3\r\n", "Transfer-Encoding:\r\n chunked\r\n"],
    );
}

fn row_11_response_with_space_around_names(case: Case) {
    bad_heads(
        case,
        &[
            "Content-Length : 3\r\n",
            " X: y\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nX : y\r\n",
            "Transfer-Encoding\t: chunked\r\n",
        ],
    );
}

fn row_12_response_with_bad_names_and_values(case: Case) {
    bad_heads(
        case,
        &[
            "Content-Length: 3\r\n: y\r\n",
            "Content-Length: 3\r\nnocolon\r\n",
            "Content-Length: 3\r\nX: a\0b\r\n",
            "Content-Length: 3\r\nX: a\x7fb\r\n",
            "Content-Length: 3\r\nX\0: y\r\n",
            "Content-Length: 3\r\nX(y): z\r\n",
        ],
    );
    bad_responses(
        case,
        &[
            "HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 abc OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 099 Low\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 O\0K\r\nContent-Length: 3\r\n\r\nabc",
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        ],
    );
}

/// More bytes than the response announced: the client gets its answer, the rest is nobody's.
fn row_12_bytes_behind_a_response_are_no_response(case: Case) {
    let upstream = Upstream::serve(|request| {
        let own = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", request.target.len(), request.target);
        ringway_tests::harness::Reply::raw([own.as_str(), SMUGGLED].concat())
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    for path in ["/a", "/bb", "/ccc"] {
        assert_eq!(client.get("up.test", path).text(), path);
    }
    assert_eq!(upstream.requests().iter().map(|r| r.connection).collect::<Vec<_>>(), [0, 1, 2]);
}

/// An upstream that speaks on an idle connection: it is not used again, and nobody gets those bytes.
fn row_12_bytes_nobody_asked_for(case: Case) {
    let (speak, spoken) = std::sync::mpsc::channel::<()>();
    let spoken = std::sync::Mutex::new(spoken);
    let upstream = Upstream::script(move |conn| {
        while let Ok(Some(request)) = conn.request() {
            conn.wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
                request.target.len(),
                request.target
            ));
            if request.target == "/then-speak" {
                let _ = spoken.lock().unwrap().recv();
                conn.wire.send(SMUGGLED);
            }
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    let mut client = proxy.client();
    assert_eq!(client.get("up.test", "/then-speak").text(), "/then-speak");
    speak.send(()).unwrap();
    ringway_tests::harness::until("the proxy to close the connection", || (upstream.open() == 0).then_some(()));
    assert_eq!(client.get("up.test", "/next").text(), "/next");
}

fn bad_heads(case: Case, lines: &[&str]) {
    let responses: Vec<String> =
        lines.iter().map(|l| format!("HTTP/1.1 200 OK\r\n{l}\r\n3\r\nabc\r\n0\r\n\r\n")).collect();
    bad_responses(case, &responses.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Each is answered with 502, and its connection is not used again.
fn bad_responses(case: Case, responses: &[&str]) {
    let (_upstream, proxy) = serving(case, responses);
    for (i, response) in responses.iter().enumerate() {
        let mut client = proxy.client();
        let got = client.get("up.test", &format!("/{i}"));
        assert_eq!(got.status, 502, "{response:?} became {got:?}");
        still_sound(&mut client, &proxy, response);
    }
}

/// The head is good and may be out already: then the body must end in a way that no client takes for whole.
fn bad_chunks(case: Case, bodies: &[&str]) {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole: Vec<String> =
        bodies.iter().flat_map(|b| [format!("{head}{b}"), format!("{head}5\r\nfirst\r\n{b}")]).collect();
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let (_upstream, proxy) = serving(case, &whole);
    for (i, response) in whole.iter().enumerate() {
        let mut client = proxy.client();
        client.send(format!("GET /{i} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        match client.try_response(false) {
            Ok(got) => assert_eq!(got.status, 502, "{response:?} became {got:?}"),
            Err(cut) => assert!(
                matches!(cut.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset),
                "{response:?} was passed on: {cut}"
            ),
        }
        still_sound(&mut proxy.client(), &proxy, response);
    }
}

/// Path `/N` gets the N-th response (with a smuggled one behind it), once on each connection; everything else is answered properly.
fn serving(case: Case, responses: &[&str]) -> (Upstream, Proxy) {
    let responses: Arc<Vec<String>> = Arc::new(responses.iter().map(|r| (*r).to_owned()).collect());
    let upstream = Upstream::script(move |conn| {
        let mut spoilt = false;
        while let Ok(Some(request)) = conn.request() {
            assert!(!spoilt, "a second request on a connection that gave a bad response");
            match request.target[1..].parse::<usize>() {
                Ok(i) => {
                    spoilt = true;
                    let _ = conn.wire.try_send([responses[i].as_str(), SMUGGLED].concat());
                }
                Err(_) => conn.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound"),
            }
        }
    });
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    (upstream, proxy)
}

fn still_sound(client: &mut Client, proxy: &Proxy, after: &str) {
    assert_eq!(client.get("up.test", "/sound").text(), "sound", "after {after:?}");
    assert_eq!(proxy.get("/sound").text(), "sound", "after {after:?}");
}
