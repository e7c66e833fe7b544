//! Opaque TCP: bytes arrive as they were sent, each direction ends for itself.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use ringway_config::model::{AccessLog, ConnectionRules, Role};
use ringway_tests::harness::{Case, Client, Config, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;
use sha2::{Digest, Sha256};

matrix!(
    bulk_arrives_unchanged_both_ways,
    each_direction_ends_for_itself,
    a_server_may_speak_first,
    an_upstream_that_refuses_ends_the_client,
    a_slow_reader_slows_the_writer,
    an_idle_tunnel_is_closed,
    a_tunnel_of_some_age_is_closed,
);

/// Bytes each way.
const BULK_BYTES: usize = 64 << 20;

fn bulk_arrives_unchanged_both_ways(case: Case) {
    let upstream = Upstream::script(|conn| {
        let mut sender = Client::over_tcp(conn.wire.tcp().try_clone().unwrap()).unwrap();
        let sending = thread::spawn(move || send_bulk(&mut sender, 2));
        let got = digest_rest(&mut conn.wire);
        assert_eq!(got, sending.join().map(|_| digest_of(1)).unwrap(), "what the client sent changed on its way");
    });
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Outbound, upstream.address())).start();
    let mut client = proxy.client();
    let mut sender = Client::over_tcp(client.tcp().try_clone().unwrap()).unwrap();
    let sending = thread::spawn(move || send_bulk(&mut sender, 1));
    assert_eq!(digest_rest(&mut client), digest_of(2), "what the upstream sent changed on its way");
    sending.join().unwrap();
}

fn each_direction_ends_for_itself(case: Case) {
    let upstream = Upstream::script(|conn| {
        // Alternately: who says FIN first.
        if conn.number % 2 == 0 {
            assert_eq!(conn.wire.rest().unwrap(), b"question");
            conn.wire.send("answer after the end of the question");
        } else {
            conn.wire.send("early answer");
            conn.wire.finish();
            assert_eq!(conn.wire.rest().unwrap(), b"late question");
        }
    });
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Inbound, upstream.address())).start();
    for _ in 0..5 {
        let mut client = proxy.client();
        client.send("question");
        client.finish();
        assert_eq!(client.rest().unwrap(), b"answer after the end of the question");
        let mut client = proxy.client();
        assert_eq!(client.rest().unwrap(), b"early answer");
        client.send("late question");
        client.finish();
    }
    until("all tunnels to be gone", || (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(()));
    assert_eq!(proxy.metric("istio_tcp_connections_opened_total", &[]), 10.0);
    assert_eq!(proxy.metric("istio_tcp_connections_closed_total", &[]), 10.0);
}

fn a_server_may_speak_first(case: Case) {
    let upstream = Upstream::script(|conn| {
        conn.wire.send("220 ready\r\n");
        assert_eq!(conn.wire.line().unwrap(), b"QUIT\r\n");
        conn.wire.send("221 bye\r\n");
    });
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Outbound, upstream.address())).start();
    let mut client = proxy.client();
    assert_eq!(client.line().unwrap(), b"220 ready\r\n");
    client.send("QUIT\r\n");
    assert_eq!(client.rest().unwrap(), b"221 bye\r\n");
}

/// However much moves on it.
fn a_tunnel_of_some_age_is_closed(case: Case) {
    let upstream = Upstream::script(|conn| while conn.wire.some().is_ok() && conn.wire.try_send("tock").is_ok() {});
    let mut config = Config::tcp(Role::Outbound, upstream.address());
    config.clusters[0].connection = Some(ConnectionRules { duration_max_ms: 200, keepalive: None });
    config.policy.access_log = AccessLog::Json;
    let proxy = ProxyBuilder::new(case, config).start();
    let (begun, mut client) = (Instant::now(), proxy.client());
    while client.try_send("tick").is_ok() && client.some().is_ok() {}
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    until("its end to be logged", || proxy.program.stdout().contains("\"response_flags\":\"DT\"").then_some(()));
}

fn an_upstream_that_refuses_ends_the_client(case: Case) {
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Outbound, nobody())).start();
    for _ in 0..20 {
        // The reset may be there before the client has looked at its own connect.
        if let Ok(mut client) = Client::try_connect(proxy.address()) {
            let _ = client.try_send("hello?");
            client.expect_end();
        }
    }
    until("all connections to be gone", || (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(()));
}

/// Backpressure: what nobody reads is not piled up in the proxy.
fn a_slow_reader_slows_the_writer(case: Case) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::script(move |conn| {
        let _ = wait.lock().unwrap().recv();
        assert_eq!(digest_rest(&mut conn.wire), digest_of(1));
    });
    let proxy = ProxyBuilder::new(case, Config::tcp(Role::Outbound, upstream.address())).start();
    let fresh = proxy.program.resident_bytes();
    let mut client = proxy.client();
    client.tcp().set_nonblocking(true).unwrap();
    // As much as goes in while nobody reads: kernel buffers and a little.
    let mut bulk = Bulk::new(1);
    let mut stuck = 0;
    while stuck < 100 {
        match client.tcp().write(bulk.rest()) {
            Ok(n) => (bulk.at, stuck) = (bulk.at + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                stuck += 1;
                thread::yield_now();
                let _ = proxy.metric("ringway_downstream_connections", &[]);
            }
            Err(e) => panic!("{e}"),
        }
        if bulk.rest().is_empty() {
            break;
        }
    }
    let grown = proxy.program.resident_bytes().saturating_sub(fresh);
    assert!(grown < 16 << 20, "the proxy grew by {} MiB for a reader that does not read", grown >> 20);
    client.tcp().set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    client.send(bulk.rest());
    client.finish();
    client.expect_end();
}

fn an_idle_tunnel_is_closed(case: Case) {
    use ringway_config::model::ListenerProtocol;
    let upstream = Upstream::script(|conn| drop(conn.wire.rest()));
    let mut config = Config::tcp(Role::Outbound, upstream.address());
    if let ListenerProtocol::Tcp { idle_timeout_ms, .. } = &mut config.listeners.listeners[0].protocol {
        *idle_timeout_ms = 300;
    }
    let proxy = ProxyBuilder::new(case, config).start();
    let mut client = proxy.client();
    client.send("hello");
    client.expect_end();
    until("the upstream to be closed too", || (upstream.open() == 0).then_some(()));
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Pseudo-random bytes of one direction.
struct Bulk {
    bytes: Vec<u8>,
    at: usize,
}

impl Bulk {
    fn new(seed: u64) -> Bulk {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(BULK_BYTES);
        while bytes.len() < BULK_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Bulk { bytes, at: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

fn send_bulk(client: &mut Client, seed: u64) {
    client.send(Bulk::new(seed).rest());
    client.finish();
}

fn digest_of(seed: u64) -> Vec<u8> {
    Sha256::digest(Bulk::new(seed).rest()).to_vec()
}

fn digest_rest(client: &mut Client) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut total = 0;
    loop {
        match client.some() {
            Ok(piece) => {
                total += piece.len();
                digest.update(piece);
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
            Err(e) => panic!("after {total} bytes: {e}"),
        }
    }
    assert_eq!(total, BULK_BYTES);
    digest.finalize().to_vec()
}
