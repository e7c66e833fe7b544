//! Config that changes under load: swapped whole, nobody disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use ringway_config::message::Message;
use ringway_config::model::{Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Client, Config, Proxy, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

matrix!(
    a_swap_moves_the_traffic_at_once,
    swaps_under_load_fail_no_request,
    a_config_that_is_refused_changes_nothing,
    listeners_come_and_go,
    a_removed_endpoint_drains,
    the_last_good_config_starts_the_next_process,
    a_lost_shim_is_found_again,
);

fn a_swap_moves_the_traffic_at_once(case: Case) {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let (proxy, mut link) = ProxyBuilder::new(case, to(&one)).start_with_shim();
    assert_eq!(link.node, "tests/caller-1");
    let mut client = proxy.client();
    client.expect_alive("up.test");
    link.publish(&to(&two).snapshot_at(2));
    until("all workers to have it", || {
        (proxy.metric("ringway_swaps_total", &[]) >= 2.0 * case.workers as f64).then_some(())
    });
    one.take_requests();
    for _ in 0..20 {
        client.expect_alive("up.test");
        assert_eq!(proxy.get("/").status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (0, 40));
}

fn swaps_under_load_fail_no_request(case: Case) {
    const CLIENTS: usize = 16;
    const SWAPS: u64 = 200;
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let (proxy, mut link) = ProxyBuilder::new(case, split(&one, &two, 1)).start_with_shim();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (mut client, stop, served) = (proxy.client(), stop.clone(), served.clone());
            // One connection throughout: closing it would fail the test.
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    client.expect_alive("up.test");
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for i in 0..SWAPS {
        link.publish(&split(&one, &two, 1 + (i as u32 % 99)).snapshot_at(2 + i));
        // Load goes on between swaps.
        let before = served.load(SeqCst);
        until("requests between swaps", || (served.load(SeqCst) > before + 2).then_some(()));
    }
    stop.store(true, SeqCst);
    threads.into_iter().for_each(|t| t.join().unwrap());
    let counted = one.requests().len() + two.requests().len();
    assert_eq!(counted, served.load(SeqCst));
    assert_eq!(proxy.metric("istio_requests_total", &[("response_code", "200")]), counted as f64);
    assert!(snapshots_alive(&proxy) <= 4.0);
}

fn a_config_that_is_refused_changes_nothing(case: Case) {
    let upstream = Upstream::echo();
    let (proxy, mut link) = ProxyBuilder::new(case, to(&upstream)).start_with_shim();
    // A listener on an address that is not ours.
    let mut config = to(&upstream);
    config.listeners.listeners[0].address = "192.0.2.1:8080".parse().unwrap();
    link.push(&config.snapshot_at(2));
    match link.message() {
        Message::Nack { order, reason, .. } => {
            assert!(order.sequence == 2 && reason.contains("192.0.2.1:8080"), "{reason}")
        }
        other => panic!("accepted: {other:?}"),
    }
    assert_eq!(proxy.get("/").status, 200);
    // And the next good one is taken.
    link.publish(&to(&upstream).snapshot_at(3));
    assert_eq!(proxy.get("/").status, 200);
}

fn listeners_come_and_go(case: Case) {
    let upstream = Upstream::echo();
    let (mut proxy, mut link) = ProxyBuilder::new(case, to(&upstream)).start_with_shim();
    let mut kept = proxy.client();
    let mut more = to(&upstream);
    let mut second = more.listeners.listeners[0].clone();
    second.name = "second".into();
    more.listeners.listeners.push(second);
    let mut host = more.hosts[0].clone();
    (host.name, host.listener) = ("any-second".into(), "second".into());
    more.hosts.push(host);
    link.publish(&more.snapshot_at(2));
    let main = proxy.address();
    until("the second listener", || {
        proxy.look();
        (proxy.listeners().len() == 2).then_some(())
    });
    assert_eq!(proxy.address(), main);
    let second = proxy.listener("second");
    let mut client = Client::connect(second);
    client.expect_alive("up.test");
    link.publish(&to(&upstream).snapshot_at(3));
    until("the second listener to close", || Client::try_connect(second).is_err().then_some(()));
    client.expect_end();
    kept.expect_alive("up.test");
}

/// Idle connections to it close, the request under way finishes.
fn a_removed_endpoint_drains(case: Case) {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let both = |addresses: &[&Upstream]| {
        let mut config = Config::http(Role::Outbound);
        config.cluster("up", Protocol::Http1, &addresses.iter().map(|u| u.address()).collect::<Vec<_>>());
        config.host("any", "*", forward(&[("up", 1)]));
        config
    };
    let (proxy, mut link) = ProxyBuilder::new(case, both(&[&one, &two])).start_with_shim();
    let mut client = proxy.client();
    for _ in 0..50 {
        client.expect_alive("up.test");
    }
    assert!(one.open() > 0 && two.open() > 0);
    link.publish(&both(&[&one]).snapshot_at(2));
    until("the pool of the removed endpoint to close", || (two.open() == 0).then_some(()));
    assert!(one.open() > 0);
    client.expect_alive("up.test");
}

fn the_last_good_config_starts_the_next_process(case: Case) {
    let upstream = Upstream::echo();
    let state = tempfile::tempdir().unwrap();
    let builder = || ProxyBuilder::new(case, to(&upstream)).state_dir(state.path());
    let (mut proxy, mut link) = builder().start_with_shim();
    link.publish(&to(&upstream).snapshot_at(7));
    proxy.program.signal("TERM");
    assert!(proxy.program.wait().success());
    drop((proxy, link));
    // No shim answers this time.
    let (program, dir, shim) = builder().spawn_with_shim();
    let proxy = Proxy::when_ready(program, dir);
    assert_eq!(proxy.get("/").status, 200);
    // And when one does, it learns what the proxy holds.
    let link = shim.accept();
    assert_eq!(link.held.map(|(_, order)| order.sequence), Some(7));
}

fn a_lost_shim_is_found_again(case: Case) {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let (proxy, link) = ProxyBuilder::new(case, to(&one)).start_with_shim();
    let mut client = proxy.client();
    client.expect_alive("up.test");
    let mut link = link.again();
    assert_eq!(link.held.map(|(hash, _)| hash), Some(to(&one).snapshot().root().hash()));
    client.expect_alive("up.test");
    link.publish(&to(&two).snapshot_at(2));
    until("the new config to be in force", || {
        client.expect_alive("up.test");
        (!two.requests().is_empty()).then_some(())
    });
}

/// Snapshots alive in the process, by its own count.
pub fn snapshots_alive(proxy: &Proxy) -> f64 {
    proxy.metric("ringway_snapshots_alive", &[])
}

fn to(upstream: &Upstream) -> Config {
    Config::http(Role::Outbound).upstream(upstream.address())
}

fn split(one: &Upstream, two: &Upstream, weight: u32) -> Config {
    let mut config = Config::http(Role::Outbound);
    config.cluster("one", Protocol::Http1, &[one.address()]);
    config.cluster("two", Protocol::Http1, &[two.address()]);
    config.host("any", "*", forward(&[("one", weight), ("two", 100 - weight)]));
    config
}
