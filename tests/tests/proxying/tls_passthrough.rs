//! TLS that is not terminated: the server name chooses, the bytes pass as they are.

use ringway_config::model::{AccessLog, Role};
use ringway_tests::harness::{Case, Client, Config, ProxyBuilder, Upstream, client_hello, tls, until};
use ringway_tests::matrix;

matrix!(
    the_server_name_chooses_and_no_byte_changes,
    a_hello_in_pieces_is_put_together,
    without_a_route_the_connection_is_closed,
    a_star_takes_clients_that_name_no_server,
    what_is_no_hello_is_closed,
    a_client_that_never_says_hello_is_closed,
);

/// Answers with its name and everything that it received, once the client has ended.
fn server(name: &'static str) -> Upstream {
    Upstream::script(move |conn| {
        let said = conn.wire.rest().unwrap();
        conn.wire.send([name.as_bytes(), b" got ", &said].concat());
    })
}

fn answer(mut client: Client, said: &[u8]) -> Vec<u8> {
    client.send(said);
    client.finish();
    client.rest().unwrap()
}

fn the_server_name_chooses_and_no_byte_changes(case: Case) {
    let (a, b) = (server("a"), server("b"));
    let mut config =
        Config::tls(Role::Gateway, &[(&["*.wild.test", "a.test"], a.address()), (&["b.wild.test"], b.address())]);
    config.policy.access_log = AccessLog::Json;
    let proxy = ProxyBuilder::new(case, config).start();
    for (name, server) in [("a.test", "a"), ("x.wild.test", "a"), ("b.wild.test", "b"), ("B.Wild.Test", "b")] {
        let said = [client_hello(Some(name)), b"\x17\x03\x03\x00\x05early".to_vec()].concat();
        let expected = [server.as_bytes(), b" got ", &said].concat();
        assert_eq!(answer(proxy.client(), &said), expected, "{name}");
    }
    assert_eq!(proxy.metric("istio_tcp_connections_opened_total", &[]), 4.0);
    let line = until("the connections to be logged", || {
        proxy.program.stdout().lines().find(|line| line.contains("b.wild.test")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["requested_server_name"], &line["rule"]), (&"b.wild.test".into(), &"00000002".into()), "{line}");
}

fn a_hello_in_pieces_is_put_together(case: Case) {
    let server = server("a");
    let proxy = ProxyBuilder::new(case, Config::tls(Role::Outbound, &[(&["a.test"], server.address())])).start();
    let whole = client_hello(Some("a.test"));
    // One byte at a time, and the message cut into several records.
    let cut: Vec<u8> = whole[5..].chunks(7).flat_map(tls::record).collect();
    for said in [whole, cut] {
        let mut client = proxy.client();
        for byte in &said {
            client.send([*byte]);
        }
        assert_eq!(answer(client, b"rest"), [b"a got ", &said[..], b"rest"].concat());
    }
}

fn without_a_route_the_connection_is_closed(case: Case) {
    let server = server("a");
    let mut config = Config::tls(Role::Gateway, &[(&["a.test", "*.b.test"], server.address())]);
    config.policy.access_log = AccessLog::Json;
    let proxy = ProxyBuilder::new(case, config).start();
    for name in [Some("other.test"), Some("b.test"), None] {
        let mut client = proxy.client();
        client.send(client_hello(name));
        client.expect_end();
    }
    until("the refusals to be logged", || {
        (proxy.program.stdout().matches("filter_chain_not_found").count() == 3).then_some(())
    });
    assert_eq!(server.accepted(), 0);
}

fn a_star_takes_clients_that_name_no_server(case: Case) {
    let (any, a) = (server("any"), server("a"));
    let config = Config::tls(Role::Gateway, &[(&["*"], any.address()), (&["a.test"], a.address())]);
    let proxy = ProxyBuilder::new(case, config).start();
    for (name, server) in [(None, "any"), (Some("x.test"), "any"), (Some("a.test"), "a")] {
        let said = client_hello(name);
        assert_eq!(answer(proxy.client(), &said), [server.as_bytes(), b" got ", &said].concat(), "{name:?}");
    }
}

fn what_is_no_hello_is_closed(case: Case) {
    let server = server("a");
    let proxy = ProxyBuilder::new(case, Config::tls(Role::Gateway, &[(&["*"], server.address())])).start();
    for said in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        client_hello(Some("10.0.0.1")),
        client_hello(Some("a.test.")),
        tls::record(&[1, 1, 0, 0]),
        vec![22, 3, 1, 0xff, 0xff],
    ] {
        let mut client = proxy.client();
        let _ = client.try_send(&said);
        client.expect_end();
    }
    // One that leaves in the middle of its hello.
    let mut client = proxy.client();
    client.send(&client_hello(Some("a.test"))[..20]);
    client.finish();
    client.expect_end();
    until("all connections to be gone", || (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(()));
    assert_eq!(server.accepted(), 0);
}

fn a_client_that_never_says_hello_is_closed(case: Case) {
    let server = server("a");
    let mut config = Config::tls(Role::Gateway, &[(&["*"], server.address())]);
    config.policy.head_timeout_ms = 200;
    let proxy = ProxyBuilder::new(case, config).start();
    let (mut silent, mut slow) = (proxy.client(), proxy.client());
    slow.send(&client_hello(Some("a.test"))[..50]);
    silent.expect_end();
    slow.expect_end();
    until("all connections to be gone", || (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(()));
}
