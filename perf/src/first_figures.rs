//! The figures that the project promises and that need no peer to compare with, one JSON object a line: allocations and system calls per request, idle memory, bytes
//! per idle connection, the time from start to the first answer, and what swapping 100,000 routes does to the 99th percentile.
//!
//! `perf/first-figures` builds the proxy with its counting allocator and runs this; it starts the binary of `RINGWAY_BIN_DIR` on both drivers.

// A measurement that cannot be made ends with a panic that says why.
#![allow(clippy::unwrap_used)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringway_config::model::{PathMatch, Role};
use ringway_tests::harness::config::route;
use ringway_tests::harness::{Backend, Case, Client, Config, Link, Proxy, ProxyBuilder, Reply, Upstream, until};
use serde_json::json;

/// Connections under load.
const CONNECTIONS: usize = 64;
/// Requests on each of them, after as many to warm up.
const REQUESTS: usize = 500;
/// Idle connections that are weighed.
const IDLE: usize = 2_000;
/// Routes of the large config.
const ROUTES: usize = 100_000;
/// Routes of one of its hosts.
const ROUTES_PER_HOST: usize = 1_000;

/// Figures beyond their budgets.
static BEYOND: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    for backend in [Backend::Uring, Backend::Epoll] {
        let case = Case { backend, workers: 1 };
        requests(case);
        memory(case);
        swaps(case);
    }
    match BEYOND.load(SeqCst) {
        0 => ExitCode::SUCCESS,
        beyond => {
            eprintln!("{beyond} figures are over their budget");
            ExitCode::FAILURE
        }
    }
}

fn print(case: Case, figure: &str, value: f64, unit: &str) {
    println!("{}", json!({"figure": figure, "backend": case.backend.name(), "value": value, "unit": unit}));
}

/// A figure that may be at most `budget`.
fn hold(case: Case, figure: &str, value: f64, budget: f64, unit: &str) {
    let holds = value <= budget;
    BEYOND.fetch_add(usize::from(!holds), SeqCst);
    let backend = case.backend.name();
    let line =
        json!({"figure": figure, "backend": backend, "value": value, "unit": unit, "budget": budget, "holds": holds});
    println!("{line}");
}

/// What a request costs once everything is warm.
fn requests(case: Case) {
    let upstream = Upstream::serve(|_| Reply::ok([b'x'; 128]));
    let begun = Instant::now();
    let proxy = Proxy::to(case, Role::Outbound, upstream.address());
    assert_eq!(proxy.get("/").status, 200);
    print(case, "start_to_first_answer", begun.elapsed().as_secs_f64() * 1000.0, "ms");

    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| proxy.client()).collect();
    load(&mut clients, REQUESTS);
    let counters = || {
        let cell = |name: &str| proxy.metric(name, &[]);
        [
            cell("ringway_requests_total"),
            cell("ringway_driver_system_calls_total"),
            cell("ringway_driver_operations_total"),
            cell("ringway_allocations_total"),
        ]
    };
    let before = counters();
    let cpu = proxy.program.cpu_time();
    load(&mut clients, REQUESTS);
    let cpu = proxy.program.cpu_time() - cpu;
    let after = counters();
    let requests = after[0] - before[0];
    assert_eq!(requests, (CONNECTIONS * REQUESTS) as f64);
    print(case, "system_calls_per_request", (after[1] - before[1]) / requests, "calls");
    print(case, "operations_per_request", (after[2] - before[2]) / requests, "operations");
    print(case, "cpu_per_request", cpu.as_secs_f64() * 1e6 / requests, "us");
    if after[3] > 0.0 {
        hold(case, "allocations_per_request", (after[3] - before[3]) / requests, 0.0, "allocations");
    }
}

/// What nothing costs.
fn memory(case: Case) {
    let upstream = Upstream::serve(|_| Reply::ok("x"));
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    assert_eq!(proxy.get("/").status, 200);
    let fresh = proxy.program.resident_bytes();
    hold(case, "idle_resident_memory", fresh as f64, (6 << 20) as f64, "bytes");
    let clients: Vec<Client> = (0..IDLE).map(|_| proxy.client()).collect();
    until("all to be accepted", || (proxy.metric("ringway_downstream_connections", &[]) >= IDLE as f64).then_some(()));
    let full = proxy.program.resident_bytes();
    let each = full.saturating_sub(fresh) as f64 / clients.len() as f64;
    hold(case, "memory_per_idle_connection", each, 1024.0, "bytes");
}

/// Swapping 100,000 routes, each time with one host changed, under a steady load.
fn swaps(case: Case) {
    let upstream = Upstream::serve(|_| Reply::ok("x"));
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    let action = config.hosts[0].actions[0].clone();
    for h in 0..ROUTES / ROUTES_PER_HOST {
        let mut host = config.hosts[0].clone();
        (host.name, host.domains[0].pattern) = (format!("host{h}"), format!("host{h}.test"));
        host.actions = vec![action.clone()];
        host.routes =
            (0..ROUTES_PER_HOST).map(|r| route(&format!("r{r}"), PathMatch::Prefix(format!("/path{r}/")), 0)).collect();
        config.hosts.push(host);
    }
    let (proxy, mut link) = ProxyBuilder::new(case, config.clone()).start_with_shim();
    let quiet = p99(&proxy, None);
    let swapped = p99(&proxy, Some((&mut link, &mut config)));
    print(case, "p99_without_swaps", quiet.as_secs_f64() * 1000.0, "ms");
    print(case, "p99_during_swaps_of_100000_routes", swapped.as_secs_f64() * 1000.0, "ms");
    let moved = (swapped.as_secs_f64() - quiet.as_secs_f64()) * 1000.0;
    hold(case, "p99_moved_by_swaps_of_100000_routes", moved, 1.0, "ms");
}

/// The 99th percentile of two steady clients, while the shim publishes as fast as it is acknowledged, or while it is quiet.
fn p99(proxy: &Proxy, publishing: Option<(&mut Link, &mut Config)>) -> Duration {
    const SWAPS: u64 = 20;
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (mut client, stop) = (proxy.client(), stop.clone());
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while !stop.load(SeqCst) {
                    let begun = Instant::now();
                    assert_eq!(client.get("host7.test", "/path500/x").status, 200);
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    match publishing {
        None => std::thread::sleep(Duration::from_secs(3)),
        Some((link, config)) => {
            let order = config.snapshot().order().sequence;
            for i in 1..=SWAPS {
                config.hosts[1 + i as usize].routes[0].name = format!("changed{i}");
                link.publish(&config.snapshot_at(order + i));
            }
        }
    }
    stop.store(true, SeqCst);
    let mut times: Vec<Duration> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// `count` requests on every connection, all connections at once in each round.
fn load(clients: &mut [Client], count: usize) {
    for _ in 0..count {
        for client in clients.iter_mut() {
            client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
        }
        for client in clients.iter_mut() {
            assert_eq!(client.response().status, 200);
        }
    }
}
