//! Injected faults: delays, aborts, how often they happen, and what they must not touch.

use std::time::{Duration, Instant};

use ringway_config::model::{AccessLog, Action, Fault, Role, RuleId};
use ringway_tests::harness::{Case, Config, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

matrix!(a_delay_delays, an_abort_answers, shares_are_kept, a_client_that_leaves_during_a_delay_leaves_nothing_behind);

const DELAY: Duration = Duration::from_millis(150);

fn faulty(upstream: &Upstream, fault: Fault) -> Config {
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    config.policy.access_log = AccessLog::Json;
    match &mut config.hosts[0].actions[0] {
        Action::Forward(forward) => forward.fault = Some(Fault { rule: RuleId(0xfa17), ..fault }),
        other => panic!("{other:?}"),
    }
    config
}

fn delay() -> Fault {
    Fault { delay_ms: DELAY.as_millis() as u64, delay_per_million: 1_000_000, ..Fault::default() }
}

fn a_delay_delays(case: Case) {
    let upstream = Upstream::echo();
    let proxy = ProxyBuilder::new(case, faulty(&upstream, delay())).start();
    let mut client = proxy.client();
    // Twice, pipelined, with bodies: each waits for itself, and nothing of it is lost.
    let request = "POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 4\r\n\r\nbody";
    let begun = Instant::now();
    client.send(format!("{request}{request}"));
    for _ in 0..2 {
        let response = client.response();
        assert_eq!((response.status, response.text().ends_with("body")), (200, true), "{response:?}");
    }
    assert!(begun.elapsed() >= 2 * DELAY, "{:?}", begun.elapsed());
    let line = until("the access log", || proxy.program.stdout().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["response_flags"], &line["response_code"]), (&"DI".into(), &200.into()), "{line}");
    assert!(line["duration"].as_u64().unwrap() >= DELAY.as_millis() as u64, "{line}");
    assert_eq!(proxy.metric("istio_requests_total", &[("response_flags", "DI")]), 2.0);
}

fn an_abort_answers(case: Case) {
    let upstream = Upstream::echo();
    let fault = Fault { abort_status: 418, abort_per_million: 1_000_000, ..delay() };
    let proxy = ProxyBuilder::new(case, faulty(&upstream, fault)).start();
    let mut client = proxy.client();
    let begun = Instant::now();
    let response = client.get("up.test", "/");
    assert_eq!((response.status, response.text().as_str()), (418, "fault filter abort"));
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert_eq!(upstream.accepted(), 0);
    let line = until("the access log", || proxy.program.stdout().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["response_flags"], &line["response_code_details"]),
        (&"DI,FI".into(), &"fault_filter_abort".into()),
        "{line}"
    );
}

/// Five standard deviations on either side.
fn shares_are_kept(case: Case) {
    const N: u32 = 2_000;
    let upstream = Upstream::echo();
    let fault = Fault { abort_status: 503, abort_per_million: 250_000, ..Fault::default() };
    let proxy = ProxyBuilder::new(case, faulty(&upstream, fault)).start();
    let mut client = proxy.client();
    let aborted = (0..N).filter(|_| client.get("up.test", "/").status == 503).count();
    assert!((403..=597).contains(&aborted), "{aborted} of {N} for 25 %");
    assert_eq!(upstream.requests_seen() + aborted, N as usize);
}

fn a_client_that_leaves_during_a_delay_leaves_nothing_behind(case: Case) {
    let upstream = Upstream::echo();
    let hour = Fault { delay_ms: 3_600_000, ..delay() };
    let proxy = ProxyBuilder::new(case, faulty(&upstream, hour)).start();
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
        until("the request to wait", || (proxy.metric("ringway_downstream_connections", &[]) >= 1.0).then_some(()));
        rustix::net::sockopt::set_socket_linger(client.tcp(), Some(Duration::ZERO)).unwrap();
        drop(client);
    }
    until("the connections to be gone", || (proxy.metric("ringway_downstream_connections", &[]) == 0.0).then_some(()));
    assert_eq!(upstream.accepted(), 0);
}
