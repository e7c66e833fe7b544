//! Row 68: operations that end while they are cancelled. Thousands of connections go away in the middle of everything; afterwards nothing is
//! left behind, nobody got another's bytes, and the proxy serves as before.

use std::time::Duration;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

/// Connections each way of going away is tried on.
const ROUNDS: usize = 150;

matrix!(row_68_clients_vanish_in_every_phase, row_68_upstreams_vanish_in_every_phase, row_68_tunnels_break);

fn row_68_clients_vanish_in_every_phase(case: Case) {
    let upstream = Upstream::script(|conn| {
        while let Ok(Some(request)) = conn.request() {
            let big = "x".repeat(200_000);
            let body = if request.target == "/big" { big.as_str() } else { request.target.as_str() };
            if conn.wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    let starts = [
        "",
        "GET / HT",
        "GET /whole HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: up.test\r\n\r\n",
        "POST /half HTTP/1.1\r\nHost: up.test\r\nContent-Length: 100000\r\n\r\nhalf",
        "GET /one HTTP/1.1\r\nHost: up.test\r\n\r\nGET /big HTTP/1.1\r\nHost: up.test\r\n\r\nGET /three HT",
    ];
    for round in 0..ROUNDS {
        for (i, start) in starts.iter().enumerate() {
            let mut client = proxy.client();
            client.send(start);
            if (round + i) % 3 == 0 {
                // Unread bytes turn the close into a reset.
                client.tcp().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let _ = client.take(1);
            }
        }
    }
    nothing_is_left(&proxy);
    let mut client = proxy.client();
    for i in 0..100 {
        assert_eq!(client.get("up.test", &format!("/after{i}")).text(), format!("/after{i}"));
    }
}

fn row_68_upstreams_vanish_in_every_phase(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(request)) = conn.request() else { return };
        let said = match request.target.as_str() {
            "/nothing" => "",
            "/half-head" => "HTTP/1.1 200 OK\r\nContent-Le",
            "/half-body" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "/half-chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound",
        };
        conn.wire.send(said);
    });
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    for _ in 0..ROUNDS {
        for path in ["/nothing", "/half-head", "/half-body", "/half-chunk", "/sound"] {
            let mut client = proxy.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: up.test\r\n\r\n"));
            match (path, client.try_response(false)) {
                ("/sound", Ok(r)) => assert_eq!(r.text(), "sound"),
                ("/nothing" | "/half-head", Ok(r)) => assert!(matches!(r.status, 502 | 503), "{path}: {r:?}"),
                ("/half-body" | "/half-chunk", Err(_)) => {}
                (_, other) => panic!("{path}: {other:?}"),
            }
        }
    }
    nothing_is_left(&proxy);
    assert_eq!(proxy.get("/sound").text(), "sound");
}

fn row_68_tunnels_break(case: Case) {
    let upstream = Upstream::script(|conn| {
        // Some upstreams talk without end, some close at once, some read to the end.
        match conn.number % 3 {
            0 => while conn.wire.try_send([7; 8192]).is_ok() {},
            1 => {}
            _ => drop(conn.wire.rest()),
        }
    });
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Inbound, upstream.address())).start();
    for round in 0..ROUNDS {
        let mut client = proxy.client();
        let _ = client.try_send([9; 3000]);
        if round % 2 == 0 {
            client.tcp().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let _ = client.take(1);
        }
    }
    nothing_is_left(&proxy);
}

fn nothing_is_left(proxy: &Proxy) {
    until("all downstream connections to be gone", || {
        (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(())
    });
    let served = proxy.metric("ringway_accepted_total", &[]);
    assert!(served >= ROUNDS as f64, "only {served} connections were accepted");
    // What pools keep open is all that is left: the descriptor table agrees with the counters.
    let open = proxy.metric("ringway_upstream_connections", &[]) as usize;
    until("descriptors to be given back", || (proxy.program.descriptors() < open + 64).then_some(()));
}
