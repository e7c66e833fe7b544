//! Endpoints that are names: looked up at a DNS server of the test's own, again when an answer has lived its time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use ringway_config::model::{EndpointSet, NamedEndpoint, Role};
use ringway_tests::harness::config::AUTHORITY;
use ringway_tests::harness::dns::{Dns, Says};
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

matrix!(
    a_name_is_looked_up_and_followed_when_it_moves,
    a_failing_server_leaves_the_last_good_answer,
    of_a_round_robin_name_only_the_first_address_is_used,
    an_answer_too_long_for_a_datagram_comes_over_tcp,
);

fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// A cluster of one name, and the DNS server that the proxy asks.
fn named(case: Case, dns: &Dns, port: u16, first_only: bool) -> Proxy {
    let mut config = Config::http(Role::Outbound).upstream(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let names = vec![NamedEndpoint { host: "far.test".into(), port, weight: 1, first_only, place: u32::MAX }];
    config.endpoints[0] =
        EndpointSet { names, ..EndpointSet { name: config.endpoints[0].name.clone(), ..EndpointSet::default() } };
    ProxyBuilder::new(case, config).dns(dns.address()).start()
}

/// A server on 127.0.0.1 and one on 127.0.0.2, on the same port.
fn pair() -> (Upstream, Upstream, u16) {
    let answer = |text: &'static str| move |_: &ringway_tests::harness::Request| Reply::ok(text);
    loop {
        let first = Upstream::serve(answer("first"));
        let port = first.address().port();
        if let Ok(listener) = TcpListener::bind((local(2), port)) {
            return (first, Upstream::serve_on(listener, answer("second")), port);
        }
    }
}

fn says(addresses: &[u8]) -> Says {
    Says::Addresses(addresses.iter().map(|last| local(*last)).collect(), 1)
}

fn answers(proxy: &Proxy, body: &str) {
    until("the answers to come from there", || {
        let response = proxy.client().get(AUTHORITY, "/");
        (response.status == 200 && response.text() == body).then_some(())
    });
}

fn a_name_is_looked_up_and_followed_when_it_moves(case: Case) {
    let (_first, _second, port) = pair();
    let dns = Dns::start();
    dns.say("far.test", Says::Alias("deep.test".into()));
    dns.say("deep.test", says(&[1]));
    let proxy = named(case, &dns, port, false);
    answers(&proxy, "first");
    dns.say("deep.test", says(&[2]));
    answers(&proxy, "second");
    // A name without addresses has no endpoints.
    dns.say("deep.test", says(&[]));
    until("the endpoints to be gone", || (proxy.client().get(AUTHORITY, "/").status == 503).then_some(()));
    dns.say("far.test", says(&[1]));
    answers(&proxy, "first");
}

fn a_failing_server_leaves_the_last_good_answer(case: Case) {
    let (_first, _second, port) = pair();
    let dns = Dns::start();
    dns.say("far.test", says(&[1]));
    let proxy = named(case, &dns, port, false);
    answers(&proxy, "first");
    for trouble in [Says::Failure, Says::Silence] {
        dns.say("far.test", trouble);
        let before = dns.questions();
        until("the server to be asked again", || (dns.questions() >= before + 3).then_some(()));
        assert_eq!(proxy.client().get(AUTHORITY, "/").text(), "first");
    }
    assert!(proxy.program.stderr().contains("far.test cannot be looked up"), "{}", proxy.program.stderr());
    dns.say("far.test", says(&[2]));
    answers(&proxy, "second");
}

fn of_a_round_robin_name_only_the_first_address_is_used(case: Case) {
    let (_first, _second, port) = pair();
    let dns = Dns::start();
    dns.say("far.test", says(&[2, 1]));
    let proxy = named(case, &dns, port, true);
    answers(&proxy, "second");
    for _ in 0..20 {
        assert_eq!(proxy.client().get(AUTHORITY, "/").text(), "second");
    }
}

fn an_answer_too_long_for_a_datagram_comes_over_tcp(case: Case) {
    let (_first, _second, port) = pair();
    let dns = Dns::start();
    let many = [vec![local(1)], (0..60).map(|n| Ipv4Addr::new(127, 9, 9, n).into()).collect()].concat();
    dns.say("far.test", Says::Addresses(many, 60));
    let proxy = named(case, &dns, port, true);
    answers(&proxy, "first");
}
