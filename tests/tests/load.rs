//! Many at once: clients that do not read, and configs that change under a thousand open connections. One after the other: they measure.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_config::model::{Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Client, Config, Proxy, ProxyBuilder, Reply, Upstream, skip, until};
use ringway_tests::matrix;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

matrix!(clients_that_never_read, a_thousand_swaps_with_a_thousand_websockets);

/// Clients that ask and never read.
const STUCK_MAX: usize = 5_000;
/// Fewer than this say nothing.
const STUCK_MIN: usize = 500;
/// They come in groups that the upstream's accept queue holds (4,096 on most machines): what overflows it is sent again for minutes.
const GROUP: usize = 500;
/// Body of the replies they do not read.
const REPLY_BYTES: usize = 64 << 10;
/// Measurements of each proxy, interleaved. Odd, for a median.
const ROUNDS: usize = 9;
/// What a machine's scheduler adds to one p99 and not to the other.
const NOISE: Duration = Duration::from_micros(500);

fn clients_that_never_read(case: Case) {
    let _alone = alone();
    let Some(stuck) = stuck_clients() else { return skip("too few descriptors are allowed (ulimit -n)") };
    let upstream = Upstream::serve(|request| match request.target.as_str() {
        "/big" => Reply::ok(vec![b'x'; REPLY_BYTES]),
        _ => Reply::ok("small"),
    });
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    config.policy.body_idle_timeout_ms = 600_000;
    // A second proxy without a crowd tells what the machine adds: 10,000 sockets with a closed window keep the kernel's timers busy.
    let bystander = ProxyBuilder::new(case, config.clone()).start();
    let proxy = ProxyBuilder::new(case, config).start();
    let budget = printed_budget(&proxy);

    let mut crowd = Vec::new();
    while crowd.len() < stuck {
        let group = GROUP.min(stuck - crowd.len());
        crowd.extend((0..group).map(|_| stuck_client(proxy.address())));
        let seen = || upstream.requests_seen();
        until("everybody's request to be upstream", || (seen() >= crowd.len()).then_some(()));
    }
    until("everything that can move to have moved", || settled(&proxy).then_some(()));
    let (without, with) = p99s_in_turns(&bystander, &proxy);
    let memory = proxy.program.resident_bytes_max();

    assert!(
        with <= without * 2 + NOISE,
        "p99 is {without:?} beside {stuck} clients that do not read, and {with:?} on the proxy that they ask"
    );
    assert!(memory <= budget, "{} MiB are used, {} MiB were promised", memory >> 20, budget >> 20);
    drop(crowd);
    until("all of them to be gone", || (proxy.metric("ringway_downstream_connections", &[]) <= 8.0).then_some(()));
    assert_eq!(proxy.get("/small").text(), "small");
}

fn a_thousand_swaps_with_a_thousand_websockets(case: Case) {
    const SOCKETS: usize = 1_000;
    const SWAPS: u64 = 1_000;
    let _alone = alone();
    if descriptors() < 6 * SOCKETS as u64 {
        return skip("too few descriptors are allowed (ulimit -n)");
    }
    let chat = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request_head() else { return };
        conn.wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        while let Ok(message) = conn.wire.take(4) {
            conn.wire.send(message);
        }
    });
    let (one, two) = (Upstream::serve(|_| Reply::ok("one")), Upstream::serve(|_| Reply::ok("two")));
    let config = |weight: u32| {
        let mut config = Config::http(Role::Gateway);
        config.cluster("chat", Protocol::Http1, &[chat.address()]);
        config.cluster("one", Protocol::Http1, &[one.address()]);
        config.cluster("two", Protocol::Http1, &[two.address()]);
        config.host("chat", "chat.test", forward(&[("chat", 1)]));
        config.host("any", "*", forward(&[("one", weight), ("two", 100 - weight)]));
        config
    };
    let (proxy, mut link) = ProxyBuilder::new(case, config(50)).start_with_shim();
    let mut sockets: Vec<Client> = (0..SOCKETS).map(|_| websocket(&proxy)).collect();
    let mut client = proxy.client();
    let mut sequence = 1;
    let mut swap = |times: u64, client: &mut Client| {
        for _ in 0..times {
            sequence += 1;
            link.publish(&config(1 + (sequence % 99) as u32).snapshot_at(sequence));
            client.expect_alive("up.test");
        }
    };

    // What the first bytes and the first swaps make the process keep (buffers, tables) is not counted against the others.
    everybody_talks(&mut sockets);
    swap(50, &mut client);
    let before = settled_memory(&proxy);
    swap(SWAPS, &mut client);
    let alive = proxy.metric("ringway_snapshots_alive", &[]);
    assert!((1.0..=4.0).contains(&alive), "{alive} snapshots are alive");
    everybody_talks(&mut sockets);
    let after = settled_memory(&proxy);
    assert!(after <= before + before / 20, "memory went from {} to {} KiB", before >> 10, after >> 10);
    assert_eq!(chat.accepted(), SOCKETS);
}

/// Every WebSocket gets its own bytes back.
fn everybody_talks(sockets: &mut [Client]) {
    for (i, socket) in sockets.iter_mut().enumerate() {
        let message = format!("{i:04}");
        socket.send(&message);
        assert_eq!(socket.take(4).unwrap(), message.as_bytes(), "WebSocket {i}");
    }
}

fn websocket(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status, 101);
    client
}

/// Resident memory after everything queued has been done: the lowest of a few looks.
fn settled_memory(proxy: &Proxy) -> u64 {
    (0..10).map(|_| (proxy.admin("/ready").status, proxy.program.resident_bytes()).1).min().expect("ten looks")
}

/// A client with the smallest receive buffer there is, which asks for the big reply and never reads.
fn stuck_client(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
    connect(&socket, &address).unwrap();
    let mut stream = TcpStream::from(socket);
    std::io::Write::write_all(&mut stream, b"GET /big HTTP/1.1\r\nHost: up.test\r\n\r\n").unwrap();
    stream
}

/// The median 99th percentiles of two proxies that are measured in turns.
fn p99s_in_turns(a: &Proxy, b: &Proxy) -> (Duration, Duration) {
    let (mut of_a, mut of_b): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| (p99(a), p99(b))).unzip();
    of_a.sort_unstable();
    of_b.sort_unstable();
    (of_a[ROUNDS / 2], of_b[ROUNDS / 2])
}

/// The 99th percentile over 4 connections.
fn p99(proxy: &Proxy) -> Duration {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || {
                let timed = |_| {
                    let begun = Instant::now();
                    assert_eq!(client.get("up.test", "/small").text(), "small");
                    begun.elapsed()
                };
                (0..750).map(timed).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<Duration> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    all.sort_unstable();
    all[all.len() * 99 / 100]
}

/// The proxy has next to nothing to do: what it used of a short while is small.
fn settled(proxy: &Proxy) -> bool {
    let (begun, before) = (Instant::now(), proxy.program.cpu_time());
    std::thread::sleep(Duration::from_millis(200));
    proxy.program.cpu_time() - before < begun.elapsed() / 20
}

/// What the process said at its start: `memory budget: 86 MiB at most = …`.
fn printed_budget(proxy: &Proxy) -> u64 {
    let said = proxy.program.stderr();
    let mib = said.lines().find_map(|l| l.strip_prefix("memory budget: ")?.split(' ').next()?.parse::<u64>().ok());
    mib.unwrap_or_else(|| panic!("no memory budget in {said}")) << 20
}

fn stuck_clients() -> Option<usize> {
    // One descriptor for the client, two for its upstream connection.
    let possible = (descriptors().saturating_sub(500) / 3) as usize;
    (possible >= STUCK_MIN).then_some(possible.min(STUCK_MAX))
}

/// Descriptors this process may have, after asking for as many as it gets.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Measurements do not run beside each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
