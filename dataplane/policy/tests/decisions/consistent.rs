//! Consistent hashing: what is hashed, who gets how many keys, and who moves when endpoints come and go.

use proptest::prelude::*;
use ringway_config::model::{Balance, ConsistentHash, HashCookie, HashKey, Match};
use ringway_policy::{Choose, Connection, State, Step, View, cookie_text, decide, decide_tcp, pick};

use crate::choices::chi_square;
use crate::world::{Request, Seeded, TCP, World, adopted, avoiding, connection, get};

const BOTH: [(Balance, u32); 2] = [(Balance::RingHash, 1024), (Balance::Maglev, 65_537)];

fn world(balance: Balance, table_size: u32, key: HashKey, endpoints: &[(&str, u32, bool)]) -> World {
    let mut world = World::new().cluster("c", balance, endpoints).host("h", &[("*", 0)], &[Match::default()]);
    world.clusters[0].hash = Some(ConsistentHash { key, table_size });
    world
}

/// A cluster of these endpoints (address, weight), choosing by source address.
fn view(balance: Balance, table_size: u32, endpoints: &[(String, u32)], previous: Option<&View>) -> View {
    let endpoints: Vec<_> = endpoints.iter().map(|(address, weight)| (&**address, *weight, false)).collect();
    View::build(&world(balance, table_size, HashKey::SourceIp, &endpoints).snapshot(), previous).unwrap()
}

fn addresses(seed: u64, count: usize) -> Vec<(String, u32)> {
    let subnet = seed % 250;
    (0..count).map(|n| (format!("10.{subnet}.{}.{}:80", n / 250, n % 250), 1)).collect()
}

/// The address that each of `keys` keys is sent to.
fn owners(view: &View, keys: u64) -> Vec<std::net::SocketAddr> {
    let (mut state, mut rng, mut random) = (adopted(view), Seeded(1), Seeded(99));
    let mut owner = || {
        let key = ringway_policy::Rng::random(&mut random);
        let (_, slot) = pick(view, 0, &mut state, &mut rng, Choose { key, ..Choose::default() }).unwrap();
        state.address(slot)
    };
    (0..keys).map(|_| owner()).collect()
}

fn moved(before: &[std::net::SocketAddr], after: &[std::net::SocketAddr]) -> f64 {
    before.iter().zip(after).filter(|(a, b)| a != b).count() as f64 / before.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// When one of n endpoints goes, at most 1/n + 2 % of the keys move; and its own do, all of them.
    #[test]
    fn one_endpoint_goes(seed in any::<u64>(), count in 2usize..80, gone in any::<prop::sample::Index>()) {
        for (balance, size) in BOTH {
            let mut endpoints = addresses(seed, count);
            let before = owners(&view(balance, size, &endpoints, None), 20_000);
            let gone = endpoints.remove(gone.index(count)).0.parse().unwrap();
            let after = owners(&view(balance, size, &endpoints, None), 20_000);
            let share = moved(&before, &after);
            prop_assert!(share <= 1.0 / count as f64 + 0.02, "{:?}: {} of {} keys move", balance, share, count);
            prop_assert!(!after.contains(&gone));
        }
    }
}

#[test]
fn keys_are_shared_by_weight() {
    for (balance, size) in BOTH {
        for weights in [&[1, 1, 1, 1][..], &[5, 3, 2], &[10, 90]] {
            let endpoints: Vec<_> =
                weights.iter().enumerate().map(|(n, weight)| (format!("10.0.0.{n}:80"), *weight)).collect();
            let owners = owners(&view(balance, size, &endpoints, None), 100_000);
            let total: u32 = weights.iter().sum();
            for (address, weight) in &endpoints {
                let address = address.parse().unwrap();
                let share = owners.iter().filter(|owner| **owner == address).count() as f64 / owners.len() as f64;
                let fair = f64::from(*weight) / f64::from(total);
                assert!((share - fair).abs() < 0.02, "{balance:?} {weights:?}: {share} of {fair}");
            }
        }
    }
}

/// Entries of a Maglev table differ by at most one between equals; on top of that keys are as even as χ² allows.
#[test]
fn maglev_is_even() {
    let endpoints = addresses(3, 7);
    let view = view(Balance::Maglev, 65_537, &endpoints, None);
    let owners = owners(&view, 70_000);
    let count = |address: &String| owners.iter().filter(|o| o.to_string() == *address).count() as u32;
    let counts: Vec<u32> = endpoints.iter().map(|(address, _)| count(address)).collect();
    // 99.9 % for six degrees of freedom.
    assert!(chi_square(&counts, &[1; 7]) < 22.46, "{counts:?}");
}

/// Every proxy sends a key to the same endpoint, whatever the order of its list and whatever it ran before.
#[test]
fn order_and_history_do_not_matter() {
    for (balance, size) in BOTH {
        let endpoints = addresses(1, 9);
        let first = view(balance, size, &endpoints, None);
        let turned: Vec<_> = endpoints.iter().rev().cloned().collect();
        let later = view(balance, size, &turned, Some(&first));
        let again = view(balance, size, &turned, Some(&later));
        let expected = owners(&first, 10_000);
        assert_eq!(moved(&owners(&later, 10_000), &expected), 0.0, "{balance:?}");
        assert_eq!(moved(&owners(&again, 10_000), &expected), 0.0, "{balance:?}");
    }
}

#[test]
fn an_avoided_owner_gives_its_keys_to_the_others_and_no_other_key_moves() {
    for (balance, size) in BOTH {
        let view = view(balance, size, &addresses(1, 3), None);
        let (mut state, mut rng, mut random) = (adopted(&view), Seeded(1), Seeded(5));
        let avoided = state.slot(1);
        let mut to = [0; 3];
        for _ in 0..10_000 {
            let key = ringway_policy::Rng::random(&mut random);
            let choose = Choose { key, ..Choose::default() };
            let (first, _) = pick(&view, 0, &mut state, &mut rng, choose).unwrap();
            let (second, _) = pick(&view, 0, &mut state, &mut rng, Choose { key, ..avoiding(avoided) }).unwrap();
            assert!(second != 1 && (first == 1 || first == second), "{balance:?}: {first} {second}");
            to[second as usize] += usize::from(first == 1);
        }
        assert!(to[0] > 1000 && to[2] > 1000, "{balance:?}: {to:?}");
        let alone = self::view(balance, size, &addresses(1, 1), None);
        let mut state = adopted(&alone);
        let only = state.slot(0);
        assert_eq!(pick(&alone, 0, &mut state, &mut rng, avoiding(only)), Some((0, only)));
    }
}

#[test]
fn nobody_there_and_one_that_drains() {
    for (balance, size) in BOTH {
        let empty = view(balance, size, &[], None);
        assert_eq!(pick(&empty, 0, &mut adopted(&empty), &mut Seeded(1), Choose::default()), None);
        let endpoints = [("10.0.0.1:80", 1, true), ("10.0.0.2:80", 1, false)];
        let view = world(balance, size, HashKey::SourceIp, &endpoints).view();
        assert!(owners(&view, 1000).iter().all(|owner| owner.to_string() == "10.0.0.2:80"));
    }
}

/// The endpoint that a request is sent to, and the cookie that goes back.
fn sent(view: &View, state: &mut State, rng: &mut Seeded, request: &Request) -> (u32, Option<u64>) {
    match decide(view, &mut request.facts(), state, rng, 0, &mut ()) {
        Step::Forward(plan) => (plan.endpoint, plan.cookie),
        other => panic!("{other:?}"),
    }
}

/// Requests of one row go to one endpoint; of the many rows each gets its own.
#[test]
fn what_is_hashed() {
    let endpoints: Vec<String> = (0..50).map(|n| format!("10.0.0.{n}:80")).collect();
    let endpoints: Vec<_> = endpoints.iter().map(|address| (&**address, 1, false)).collect();
    let cookie = |ttl_ms| HashKey::Cookie(HashCookie { name: "user".into(), ttl_ms, ..HashCookie::default() });
    let header = HashKey::Header("x-user".into());
    let query = HashKey::Query("u".into());
    let from = |request: Request, ip: &str| Request { client: ip.parse().unwrap(), ..request };
    type Rows = Vec<Vec<Request>>;
    let ip = |n: u8| format!("10.1.1.{n}");
    let rows: [(HashKey, Rows); 4] = [
        (
            header,
            (0..20)
                .map(|n| {
                    let (a, b) = (format!("a{n}"), format!("b{n}"));
                    vec![
                        get("/").header("x-user", &a).header("x-user", &b),
                        get("/other?u=1").header("x-user", &b).header("x-user", &a),
                    ]
                })
                .collect(),
        ),
        (
            cookie(None),
            (0..20)
                .map(|n| {
                    let plain = get("/").header("cookie", &format!("x=1; user=u{n}; y=2"));
                    vec![plain, get("/").header("cookie", "z=1").header("cookie", &format!("user=\"u{n}\""))]
                })
                .collect(),
        ),
        (query, (0..20).map(|n| vec![get(&format!("/?u=u{n}")), get(&format!("/x?v=1&u=u{n}&u=z"))]).collect()),
        (
            HashKey::SourceIp,
            (0..20).map(|n| vec![from(get("/"), &ip(n)), from(get("/y"), &format!("::ffff:{}", ip(n)))]).collect(),
        ),
    ];
    for (key, rows) in rows {
        let view = world(Balance::RingHash, 1024, key.clone(), &endpoints).view();
        let (mut state, mut rng) = (adopted(&view), Seeded(1));
        let mut met = std::collections::HashSet::new();
        for row in &rows {
            let mut went: Vec<u32> = row.iter().map(|request| sent(&view, &mut state, &mut rng, request).0).collect();
            went.dedup();
            assert_eq!(went.len(), 1, "{key:?} {row:?}");
            met.insert(went[0]);
        }
        assert!(met.len() > 10, "{key:?}: 20 keys met {} endpoints", met.len());
    }
}

#[test]
fn a_request_without_the_key_goes_anywhere_and_may_get_a_cookie() {
    let endpoints: Vec<String> = (0..20).map(|n| format!("10.0.0.{n}:80")).collect();
    let endpoints: Vec<_> = endpoints.iter().map(|address| (&**address, 1, false)).collect();
    let cookie = |ttl_ms| HashKey::Cookie(HashCookie { name: "user".into(), ttl_ms, ..HashCookie::default() });
    for (key, gives) in [
        (HashKey::Header("x-user".into()), false),
        (HashKey::Query("u".into()), false),
        (cookie(None), false),
        (cookie(Some(0)), true),
    ] {
        let view = world(Balance::Maglev, 1021, key.clone(), &endpoints).view();
        let (mut state, mut rng) = (adopted(&view), Seeded(1));
        let mut met = std::collections::HashSet::new();
        for _ in 0..200 {
            let (endpoint, new) = sent(&view, &mut state, &mut rng, &get("/"));
            met.insert(endpoint);
            assert_eq!(new.is_some(), gives, "{key:?}");
            if let Some(new) = new {
                let value = String::from_utf8(cookie_text(new).to_vec()).unwrap();
                let back = get("/").header("cookie", &format!("user={value}"));
                assert_eq!(sent(&view, &mut state, &mut rng, &back), (endpoint, None));
            }
        }
        assert!(met.len() > 15, "{key:?}: {}", met.len());
    }
}

#[test]
fn connections_are_chosen_by_their_client() {
    let endpoints: Vec<String> = (0..50).map(|n| format!("10.0.0.{n}:80")).collect();
    let endpoints: Vec<_> = endpoints.iter().map(|address| (&**address, 1, false)).collect();
    let mut world = world(Balance::Maglev, 65_537, HashKey::SourceIp, &endpoints);
    let backends = vec![ringway_config::model::TcpBackend { cluster: "c".into(), weight: 1 }];
    world.listeners.listeners[TCP as usize].protocol = ringway_config::model::ListenerProtocol::Tcp {
        backends,
        rule: ringway_config::model::RuleId(1),
        idle_timeout_ms: 0,
    };
    let view = world.view();
    let (mut state, mut rng) = (adopted(&view), Seeded(1));
    let mut endpoint = |ip: [u8; 4]| match decide_tcp(
        &view,
        Connection { client: ip.into(), ..connection(TCP) },
        &mut state,
        &mut rng,
        &mut (),
    ) {
        Step::Forward(plan) => plan.endpoint,
        other => panic!("{other:?}"),
    };
    let met: std::collections::HashSet<u32> = (0..20).map(|n| endpoint([10, 1, 1, n])).collect();
    assert!(met.len() > 10);
    assert_eq!(endpoint([10, 1, 1, 1]), endpoint([10, 1, 1, 1]));
}
