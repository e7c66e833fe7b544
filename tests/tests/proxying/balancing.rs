//! Which endpoint a request goes to: consistent hashing with its cookie, and the warm-up of new endpoints. (Shares by weight are in `routing`.)

use std::time::{Duration, Instant};

use ringway_config::model::{
    Balance, Cluster, ConsistentHash, Distribute, HashCookie, HashKey, LocalityRule, Place, Protocol, Role, Warmup,
};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Client, Config, ProxyBuilder, Upstream};
use ringway_tests::matrix;

matrix!(
    a_cookie_is_given_once_and_leads_back,
    requests_of_one_key_go_to_one_endpoint,
    connections_of_one_client_go_to_one_endpoint,
    localities_get_their_shares,
    traffic_follows_the_nearest_locality_that_is_left,
    a_new_endpoint_is_eased_in
);

/// A cluster `up` of these servers behind one host.
fn config(upstreams: &[Upstream], edit: impl FnOnce(&mut Cluster)) -> Config {
    let mut config = Config::http(Role::Outbound);
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    edit(config.cluster("up", Protocol::Http1, &addresses));
    config.host("any", "*", forward(&[("up", 1)]));
    config
}

fn servers(count: usize) -> Vec<Upstream> {
    (0..count).map(|_| Upstream::echo()).collect()
}

/// The servers that were asked since the last call.
fn asked(upstreams: &[Upstream]) -> Vec<usize> {
    let counts = upstreams.iter().map(|upstream| upstream.take_requests().len());
    counts.enumerate().filter(|(_, count)| *count > 0).map(|(n, _)| n).collect()
}

fn get(client: &mut Client, path: &str, line: &str) -> Option<String> {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: up.test\r\n{line}\r\n"));
    let response = client.response();
    assert_eq!(response.status, 200);
    response.header("set-cookie").map(str::to_owned)
}

fn a_cookie_is_given_once_and_leads_back(case: Case) {
    let upstreams = servers(4);
    let cookie = HashCookie {
        name: "lane".into(),
        path: "/shop".into(),
        ttl_ms: Some(60_000),
        attributes: vec![("SameSite".into(), "Strict".into()), ("Secure".into(), String::new())],
    };
    let config = config(&upstreams, |cluster| {
        cluster.balance = Balance::Maglev;
        cluster.hash = Some(ConsistentHash { key: HashKey::Cookie(cookie), table_size: 1021 });
    });
    let proxy = ProxyBuilder::new(case, config).start();
    let mut lanes = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let given = get(&mut proxy.client(), "/", "").expect("a cookie for who has none");
        let (value, attributes) = given.split_once("; ").expect("a cookie with attributes");
        assert_eq!(attributes, "Max-Age=60; Path=/shop; SameSite=Strict; Secure; HttpOnly");
        let first = asked(&upstreams);
        for line in [value.to_owned(), value.replace('"', ""), format!("a=b; {value}; c")] {
            // Another connection, and so perhaps another worker.
            assert_eq!(get(&mut proxy.client(), "/shop", &format!("Cookie: {line}\r\n")), None, "{line}");
            assert_eq!(asked(&upstreams), first, "{line}");
        }
        lanes.insert(first);
    }
    assert!(lanes.len() > 1, "20 clients met {lanes:?}");
}

fn requests_of_one_key_go_to_one_endpoint(case: Case) {
    for (balance, table_size) in [(Balance::RingHash, 1024), (Balance::Maglev, 65_537)] {
        for key in [HashKey::Header("x-user".into()), HashKey::Query("user".into())] {
            let upstreams = servers(4);
            let config = config(&upstreams, |cluster| {
                cluster.balance = balance;
                cluster.hash = Some(ConsistentHash { key: key.clone(), table_size });
            });
            let proxy = ProxyBuilder::new(case, config).start();
            let mut met = std::collections::BTreeSet::new();
            for user in 0..20 {
                for path in ["/a", "/b"] {
                    let (path, line) = match &key {
                        HashKey::Query(name) => (format!("{path}?{name}=u{user}"), String::new()),
                        _ => (path.to_owned(), format!("X-User: u{user}\r\n")),
                    };
                    assert_eq!(get(&mut proxy.client(), &path, &line), None);
                }
                let servers = asked(&upstreams);
                assert_eq!(servers.len(), 1, "{balance:?} {key:?} {user}");
                met.insert(servers);
            }
            assert!(met.len() > 1, "{balance:?} {key:?}: 20 users met {met:?}");
        }
    }
}

fn connections_of_one_client_go_to_one_endpoint(case: Case) {
    let upstreams = servers(4);
    let mut config = Config::tcp(Role::Outbound, upstreams[0].address());
    config.clusters.clear();
    config.endpoints.clear();
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let cluster = config.cluster("tcp", Protocol::Tcp, &addresses);
    cluster.balance = Balance::RingHash;
    cluster.hash = Some(ConsistentHash { key: HashKey::SourceIp, table_size: 1024 });
    let proxy = ProxyBuilder::new(case, config).start();
    for _ in 0..12 {
        get(&mut proxy.client(), "/", "");
    }
    assert_eq!(asked(&upstreams).len(), 1);
}

/// A proxy in eu/a; the servers are in these localities.
fn located(upstreams: &[Upstream], rule: LocalityRule, localities: &[&str]) -> Config {
    let place = |locality: &str| {
        let (region, zone) = locality.split_once('/').expect("region/zone");
        Place { region: region.into(), zone: zone.into(), ..Place::default() }
    };
    let mut config = config(upstreams, |cluster| cluster.locality = Some(rule));
    config.listeners.place = Some(place("eu/a"));
    config.endpoints[0].places = localities.iter().map(|locality| place(locality)).collect();
    for (endpoint, n) in config.endpoints[0].endpoints.iter_mut().zip(0..) {
        endpoint.place = n;
    }
    config
}

/// 70 / 30 over 1,000 requests: five standard deviations on either side; a third locality gets nothing.
fn localities_get_their_shares(case: Case) {
    let upstreams = servers(3);
    let to = vec![("eu/a".to_owned(), 70), ("us".to_owned(), 30)];
    let rule = LocalityRule::Distribute(vec![Distribute { from: "eu".into(), to }]);
    let proxy = ProxyBuilder::new(case, located(&upstreams, rule, &["eu/a", "us/a", "eu/b"])).start();
    let mut client = proxy.client();
    for _ in 0..1_000 {
        get(&mut client, "/", "");
    }
    let counts: Vec<usize> = upstreams.iter().map(|upstream| upstream.take_requests().len()).collect();
    assert!((625..=775).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
}

fn traffic_follows_the_nearest_locality_that_is_left(case: Case) {
    let upstreams = servers(3);
    let nearest = LocalityRule::Failover { priority: Vec::new(), regions: Vec::new() };
    let mut config = located(&upstreams, nearest, &["us/a", "eu/a", "eu/b"]);
    let (proxy, mut link) = ProxyBuilder::new(case, config.clone()).start_with_shim();
    let mut client = proxy.client();
    // eu/a is near; then it goes, and eu/b is next; then that drains, and us/a is all there is.
    for (sequence, expected) in [(1, 1), (2, 2), (3, 0)] {
        if sequence == 2 {
            config.endpoints[0].endpoints.remove(1);
        } else if sequence == 3 {
            config.endpoints[0].endpoints[1].draining = true;
        }
        if sequence > 1 {
            link.publish(&config.snapshot_at(sequence));
        }
        for _ in 0..20 {
            get(&mut client, "/", "");
        }
        assert_eq!(asked(&upstreams), [expected]);
    }
}

fn a_new_endpoint_is_eased_in(case: Case) {
    let upstreams = servers(2);
    // (age / 1 h)^10: next to one that is there for half a second, a new one gets a twentieth after a second and a half.
    let warmup = Some(Warmup { duration_ms: 3_600_000, minimum: 0, aggression: 100 });
    let both = config(&upstreams, |cluster| cluster.warmup = warmup);
    let mut one = both.clone();
    one.endpoints[0].endpoints.truncate(1);
    let (proxy, mut link) = ProxyBuilder::new(case, one).start_with_shim();
    let mut client = proxy.client();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        get(&mut client, "/", "");
    }
    assert_eq!(asked(&upstreams), [0]);
    link.publish(&both.snapshot_at(2));
    for _ in 0..200 {
        get(&mut client, "/", "");
    }
    let (old, new) = (upstreams[0].take_requests().len(), upstreams[1].take_requests().len());
    assert_eq!(old + new, 200);
    assert!(new < 60, "{new} of 200 requests went to the new endpoint");
}
