//! Limits of clusters: they hold exactly, for all workers together, and whoever has to wait gets its turn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use ringway_config::model::{AccessLog, Action, Cluster, Forward, PathMatch, Protocol, Role};
use ringway_tests::harness::config::{forward, route};
use ringway_tests::harness::{Case, Client, Config, Proxy, ProxyBuilder, Reply, Response, Upstream, until};
use ringway_tests::matrix;

matrix!(
    one_connection_and_one_waiting_request_hold_exactly,
    nobody_starves_behind_a_limit,
    an_idle_connection_makes_room_for_another_endpoint_or_worker,
    requests_under_way_are_limited,
    a_waiting_request_times_out_and_leaves_its_place,
    a_waiting_client_that_goes_leaves_its_place,
    a_body_waits_with_its_request,
    a_wider_limit_lets_waiting_requests_go,
    opaque_connections_are_limited_and_do_not_wait,
);

/// A server that answers `/held…` only once it is told to, and counts how many requests it has at once.
struct Held {
    upstream: Upstream,
    open: Arc<AtomicBool>,
    busiest: Arc<AtomicUsize>,
}

impl Held {
    fn new() -> Held {
        Held::beside(&Arc::default())
    }

    /// One that counts its requests together with others.
    fn beside(busy: &Arc<AtomicUsize>) -> Held {
        let (open, busiest, busy) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), busy.clone());
        let upstream = Upstream::serve({
            let (open, busiest) = (open.clone(), busiest.clone());
            move |request| {
                busiest.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
                if request.target.starts_with("/held") {
                    until("the test to go on", || open.load(SeqCst).then_some(()));
                }
                busy.fetch_sub(1, SeqCst);
                Reply::ok(&request.body)
            }
        });
        Held { upstream, open, busiest }
    }

    fn proxy(&self, case: Case, limit: impl FnOnce(&mut Cluster)) -> Proxy {
        ProxyBuilder::new(case, config(&[self.upstream.address()], limit)).start()
    }

    fn release(&self) {
        self.open.store(true, SeqCst);
    }

    /// Requests that have arrived.
    fn seen(&self, n: usize) {
        until("the server to have the requests", || (self.upstream.requests_seen() == n).then_some(()));
    }
}

fn config(addresses: &[SocketAddr], limit: impl FnOnce(&mut Cluster)) -> Config {
    let mut config = Config::http(Role::Outbound);
    config.policy.access_log = AccessLog::Text;
    limit(config.cluster("up", Protocol::Http1, addresses));
    config.host("any", "*", forward(&[("up", 1)]));
    config
}

fn queued(proxy: &Proxy, n: usize) {
    until("requests to wait", || (proxy.metric("ringway_upstream_queued_total", &[]) >= n as f64).then_some(()));
}

/// What `/clusters` says of cluster `up`.
fn tally(proxy: &Proxy, what: &str) -> u32 {
    let page = proxy.admin("/clusters").text();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("up::{what}::")));
    line.unwrap_or_else(|| panic!("no {what} in {page}")).parse().expect("a number")
}

fn assert_overflow(response: &Response) {
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.header("x-envoy-overloaded"), Some("true"), "{response:?}");
}

fn one_connection_and_one_waiting_request_hold_exactly(case: Case) {
    let held = Held::new();
    let proxy = held.proxy(case, |c| (c.max_connections, c.max_pending_requests) = (1, 1));
    let send = |proxy: &Proxy| {
        let mut client = proxy.client();
        client.send("GET /held HTTP/1.1\r\nHost: up.test\r\n\r\n");
        client
    };
    let mut first = send(&proxy);
    held.seen(1);
    let mut second = send(&proxy);
    queued(&proxy, 1);
    for _ in 0..8 {
        assert_overflow(&proxy.get("/"));
    }
    assert_eq!(["cx_active", "rq_active", "rq_pending_active"].map(|what| tally(&proxy, what)), [1, 1, 1]);
    assert_eq!(tally(&proxy, "default_priority::max_connections"), 1);
    held.release();
    assert_eq!([first.response().status, second.response().status], [200, 200]);
    assert_eq!(proxy.get("/after").status, 200);
    assert_eq!(held.busiest.load(SeqCst), 1);
    assert_eq!(proxy.metric("ringway_upstream_overflows_total", &[]), 8.0);
    assert_eq!(proxy.metric("istio_requests_total", &[("response_flags", "UO"), ("response_code", "503")]), 8.0);
    let log = until("the log", || Some(proxy.program.stdout()).filter(|log| log.matches(" UO ").count() == 8));
    assert!(log.contains("upstream_reset_before_response_started{overflow}"), "{log}");
}

fn nobody_starves_behind_a_limit(case: Case) {
    const CLIENTS: usize = 12;
    let busy = Arc::default();
    let (a, b) = (Held::beside(&busy), Held::beside(&busy));
    let addresses = [a.upstream.address(), b.upstream.address()];
    let proxy = ProxyBuilder::new(case, config(&addresses, |c| c.max_connections = 2)).start();
    let start = Arc::new(Barrier::new(CLIENTS));
    let threads: Vec<_> = (0..CLIENTS)
        .map(|t| {
            let (start, mut client) = (start.clone(), proxy.client());
            thread::spawn(move || {
                start.wait();
                for i in 0..50 {
                    assert_eq!(client.get("up.test", &format!("/{t}/{i}")).status, 200);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(a.busiest.load(SeqCst).max(b.busiest.load(SeqCst)) <= 2);
    assert!(tally(&proxy, "cx_active") <= 2);
    assert_eq!(["rq_active", "rq_pending_active"].map(|what| tally(&proxy, what)), [0, 0]);
}

fn an_idle_connection_makes_room_for_another_endpoint_or_worker(case: Case) {
    let (a, b) = (Held::new(), Held::new());
    let addresses = [a.upstream.address(), b.upstream.address()];
    let proxy = ProxyBuilder::new(case, config(&addresses, |c| c.max_connections = 1)).start();
    for _ in 0..40 {
        // Each client is another connection, and so mostly another worker.
        assert_eq!(proxy.get("/").status, 200);
        assert_eq!(tally(&proxy, "cx_active"), 1);
    }
    assert!(a.upstream.requests_seen() > 0 && b.upstream.requests_seen() > 0);
}

fn requests_under_way_are_limited(case: Case) {
    let held = Held::new();
    let proxy = held.proxy(case, |c| c.max_requests = 2);
    let mut busy: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for (n, client) in busy.iter_mut().enumerate() {
        client.send("GET /held HTTP/1.1\r\nHost: up.test\r\n\r\n");
        held.seen(n + 1);
    }
    for _ in 0..4 {
        assert_overflow(&proxy.get("/"));
    }
    held.release();
    for mut client in busy {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(proxy.get("/").status, 200);
}

/// A proxy whose only connection is taken, and the client that has it.
fn occupied(case: Case, held: &Held) -> (Proxy, Client) {
    let mut config = config(&[held.upstream.address()], |c| (c.max_connections, c.max_pending_requests) = (1, 1));
    let host = &mut config.hosts[0];
    host.actions.push(Action::Forward(Forward { timeout_ms: 200, ..forward(&[("up", 1)]) }));
    host.routes.insert(0, route("late", PathMatch::Prefix("/late".into()), 1));
    let proxy = ProxyBuilder::new(case, config).start();
    let mut first = proxy.client();
    first.send("GET /held HTTP/1.1\r\nHost: up.test\r\n\r\n");
    held.seen(1);
    (proxy, first)
}

fn a_waiting_request_times_out_and_leaves_its_place(case: Case) {
    let held = Held::new();
    let (proxy, mut first) = occupied(case, &held);
    let response = proxy.get("/late");
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(tally(&proxy, "rq_pending_active"), 0);
    held.release();
    assert_eq!(first.response().status, 200);
    assert_eq!(proxy.get("/").status, 200);
}

fn a_waiting_client_that_goes_leaves_its_place(case: Case) {
    let held = Held::new();
    let (proxy, mut first) = occupied(case, &held);
    for n in 1..=3 {
        // A request whose body is still on its way: its client's end is the end of it.
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 5\r\n\r\n");
        queued(&proxy, n);
        drop(client);
        until("its place to be free", || (tally(&proxy, "rq_pending_active") == 0).then_some(()));
    }
    held.release();
    assert_eq!(first.response().status, 200);
    assert_eq!(held.upstream.requests_seen(), 1);
}

fn a_body_waits_with_its_request(case: Case) {
    let held = Held::new();
    let (proxy, mut first) = occupied(case, &held);
    let body: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body[..1000]);
    queued(&proxy, 1);
    let sender = thread::spawn(move || {
        client.send(&body[1000..]);
        let response = client.response();
        assert!(response.body == body, "{} bytes came back", response.body.len());
    });
    held.release();
    assert_eq!(first.response().status, 200);
    sender.join().unwrap();
}

fn a_wider_limit_lets_waiting_requests_go(case: Case) {
    let held = Held::new();
    let limited = |max| config(&[held.upstream.address()], move |c| c.max_connections = max);
    let (proxy, mut link) = ProxyBuilder::new(case, limited(1)).start_with_shim();
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send("GET /held HTTP/1.1\r\nHost: up.test\r\n\r\n");
        if n == 0 { held.seen(1) } else { queued(&proxy, n) }
    }
    link.publish(&limited(3).snapshot_at(2));
    held.seen(3);
    held.release();
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
}

fn opaque_connections_are_limited_and_do_not_wait(case: Case) {
    let upstream = Upstream::script(|conn| {
        conn.wire.send("hello");
        let _ = conn.wire.rest();
    });
    let mut config = Config::tcp(Role::Outbound, upstream.address());
    config.clusters[0].max_connections = 1;
    let proxy = ProxyBuilder::new(case, config).start();
    for round in 1..=2 {
        let mut first = proxy.client();
        assert_eq!(first.take(5).unwrap(), b"hello");
        for _ in 0..4 {
            // The reset may come before the connect is known to have worked.
            if let Ok(mut client) = Client::try_connect(proxy.address()) {
                client.expect_end();
            }
        }
        drop(first);
        until("the connection to end", || (upstream.open() == 0).then_some(()));
        assert_eq!(upstream.accepted(), round);
        until("its place to be free", || proxy.admin("/clusters").text().contains("tcp::cx_active::0\n").then_some(()));
    }
    assert_eq!(proxy.metric("ringway_upstream_overflows_total", &[]), 8.0);
}
