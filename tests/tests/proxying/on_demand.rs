//! Hosts that are not in the snapshot are asked for when somebody calls them.

use ringway_config::message::Message;
use ringway_config::model::{ListenerProtocol, Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Config, Link, Proxy, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

matrix!(
    a_host_is_asked_for_and_found,
    an_absent_host_is_404_and_remembered,
    nobody_answers,
    callers_of_one_host_ask_once
);

fn a_host_is_asked_for_and_found(case: Case) {
    let upstream = Upstream::echo();
    let (proxy, mut link) = start(case);
    let mut client = proxy.client();
    client.send("POST /x HTTP/1.1\r\nHost: late.test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(wanted(&mut link), ["late.test"]);
    link.publish(&with_late(&upstream).snapshot_at(2));
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.requests()[0].body, b"hello");
    client.expect_alive("late.test");
}

fn an_absent_host_is_404_and_remembered(case: Case) {
    let (proxy, mut link) = start(case);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n");
    let names = wanted(&mut link);
    link.send(&Message::Absent { names, lifetime_ms: 60_000 });
    assert_eq!(client.response().status, 404);
    // The next caller gets the answer without a question.
    for _ in 0..5 {
        assert_eq!(proxy.client().get("nowhere.test", "/").status, 404);
    }
    client.send("GET / HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n");
    assert_eq!(wanted(&mut link), ["elsewhere.test"]);
}

fn nobody_answers(case: Case) {
    let (proxy, mut link) = start(case);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: late.test\r\n\r\n");
    assert_eq!(wanted(&mut link), ["late.test"]);
    assert_eq!(client.response().status, 503);
}

fn callers_of_one_host_ask_once(case: Case) {
    let upstream = Upstream::echo();
    let (proxy, mut link) = start(case);
    let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: late.test\r\n\r\n");
    }
    assert_eq!(wanted(&mut link), ["late.test"]);
    until("all callers to be waiting", || (proxy.metric("ringway_parked_total", &[]) >= 50.0).then_some(()));
    // The next message is the Ack, not another question.
    link.publish(&with_late(&upstream).snapshot_at(2));
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
}

/// Long enough for a busy machine, short enough to wait for.
const ASK_TIMEOUT_MS: u32 = 3_000;

/// A proxy that knows no host, on a shim that does.
fn start(case: Case) -> (Proxy, Link) {
    ProxyBuilder::new(case, empty()).start_with_shim()
}

fn empty() -> Config {
    let mut config = Config::http(Role::Outbound);
    config.policy.ask_timeout_ms = ASK_TIMEOUT_MS;
    if let ListenerProtocol::Http { on_demand, .. } = &mut config.listeners.listeners[0].protocol {
        *on_demand = true;
    }
    config
}

fn with_late(upstream: &Upstream) -> Config {
    let mut config = empty();
    config.cluster("late", Protocol::Http1, &[upstream.address()]);
    config.host("late", "late.test", forward(&[("late", 1)]));
    config
}

fn wanted(link: &mut Link) -> Vec<String> {
    match link.message() {
        Message::Want { names } => names,
        other => panic!("no question: {other:?}"),
    }
}
