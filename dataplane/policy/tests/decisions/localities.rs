//! Localities: shares by `distribute`, and failover as endpoints are ejected, against the shares that Envoy documents.

use ringway_config::model::{Balance, ConsistentHash, Distribute, HashKey, LocalityRule, Place};
use ringway_policy::{Choose, Rng, State, View, pick, shares};

use crate::choices::chi_square;
use crate::world::{Seeded, World, adopted, avoiding};

const DRAWS: u32 = 40_000;

fn place(locality: &str) -> Place {
    let mut parts = locality.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Place { region: next(), zone: next(), subzone: next(), labels: Vec::new() }
}

/// A proxy in eu/a, and a cluster of endpoints (locality, weight) under a rule.
fn view(balance: Balance, rule: LocalityRule, endpoints: &[(&str, u32)]) -> View {
    let addresses: Vec<_> = (0..endpoints.len()).map(|n| format!("10.0.0.{n}:80")).collect();
    let plain: Vec<_> = addresses.iter().zip(endpoints).map(|(a, (_, weight))| (&**a, *weight, false)).collect();
    let mut world = World::new().cluster("c", balance, &plain);
    world.listeners.place = Some(place("eu/a"));
    let hash = ConsistentHash { key: HashKey::SourceIp, table_size: 65_537 };
    world.clusters[0].hash = balance.is_consistent().then_some(hash);
    world.clusters[0].locality = Some(rule);
    world.endpoints[0].places = endpoints.iter().map(|(locality, _)| place(locality)).collect();
    for (endpoint, n) in world.endpoints[0].endpoints.iter_mut().zip(0..) {
        endpoint.place = n;
    }
    world.view()
}

fn nearest() -> LocalityRule {
    LocalityRule::Failover { priority: Vec::new(), regions: Vec::new() }
}

fn counts(view: &View, state: &mut State) -> Vec<u32> {
    let (mut rng, mut keys) = (Seeded(7), Seeded(8));
    let mut counts = vec![0; view.endpoints_len()];
    for _ in 0..DRAWS {
        let choose = Choose { key: keys.random(), ..Choose::default() };
        counts[pick(view, 0, state, &mut rng, choose).unwrap().0 as usize] += 1;
    }
    counts
}

/// The share of each endpoint, from the documentation: levels take 1.4 times what is healthy of them, the first ones first.
fn promised(levels: &[&[usize]], ejected: &[usize], endpoints: usize) -> Vec<f64> {
    let healthy = |level: &[usize]| level.iter().filter(|n| !ejected.contains(n)).count();
    let health: Vec<f64> = levels.iter().map(|l| (1.4 * healthy(l) as f64 / l.len() as f64).min(1.0)).collect();
    let total = health.iter().sum::<f64>().min(1.0);
    let (mut left, mut shares) = (1.0f64, vec![0.0; endpoints]);
    for (level, health) in levels.iter().zip(health) {
        let load = (health / total).min(left);
        left -= load;
        for n in level.iter().filter(|n| !ejected.contains(n)) {
            shares[*n] = load / healthy(level) as f64;
        }
    }
    shares
}

#[test]
fn traffic_fails_over_as_far_as_endpoints_are_ejected() {
    let endpoints = ["eu/a", "eu/a", "eu/a", "eu/a", "eu/b", "eu/b", "us/a", "us/a"].map(|at| (at, 1));
    let levels: [&[usize]; 3] = [&[0, 1, 2, 3], &[4, 5], &[6, 7]];
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random, Balance::RingHash, Balance::Maglev] {
        let view = view(balance, nearest(), &endpoints);
        let mut state = adopted(&view);
        let mut ejected: Vec<usize> = Vec::new();
        // In and out again, one after the other.
        for (slot, out) in
            [(0, false), (0, true), (1, true), (4, true), (2, true), (3, true), (5, true), (0, false), (1, false)]
        {
            ejected.retain(|n| *n != slot);
            if out {
                ejected.push(slot);
            }
            let id = state.slot(slot as u32);
            state.set_ejected(&view, id, out, 0);
            let (counts, shares) = (counts(&view, &mut state), promised(&levels, &ejected, endpoints.len()));
            for (n, share) in shares.iter().enumerate() {
                let got = f64::from(counts[n]) / f64::from(DRAWS);
                assert!((got - share).abs() < 0.025, "{balance:?} without {ejected:?}: {n} got {got} of {share}");
                assert!(*share > 0.0 || counts[n] == 0, "{balance:?} without {ejected:?}: {n} got {got}");
            }
        }
    }
}

#[test]
fn nobody_in_order() {
    for balance in [Balance::LeastRequest, Balance::Maglev] {
        let view = view(balance, nearest(), &[("eu/a", 1), ("us/a", 1)]);
        let mut state = adopted(&view);
        for slot in [state.slot(0), state.slot(1)] {
            state.set_ejected(&view, slot, true, 0);
        }
        assert_eq!(pick(&view, 0, &mut state, &mut Seeded(1), Choose::default()), None, "{balance:?}");
        let first = state.slot(0);
        state.set_ejected(&view, first, false, 0);
        assert_eq!(pick(&view, 0, &mut state, &mut Seeded(1), Choose::default()), Some((0, first)), "{balance:?}");
    }
}

#[test]
fn ejection_without_localities() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        let endpoints = [("10.0.0.1:80", 1, false), ("10.0.0.2:80", 2, false), ("10.0.0.3:80", 4, false)];
        let view = World::new().cluster("c", balance, &endpoints).cluster("d", balance, &endpoints).view();
        let mut state = adopted(&view);
        let slot = state.slot(1);
        state.set_ejected(&view, slot, true, 0);
        assert!(chi_square(&counts(&view, &mut state), &[1, 0, 4]) < 10.83, "{balance:?}");
        // A swap does not bring it back.
        state.adopt(&view, 0, &mut Seeded(1), &mut Vec::new());
        assert_eq!(counts(&view, &mut state)[1], 0, "{balance:?}");
        state.set_ejected(&view, slot, false, 0);
        assert!(chi_square(&counts(&view, &mut state), &[1, 2, 4]) < 13.82, "{balance:?}");
    }
}

#[test]
fn shares_of_localities() {
    let to = vec![("eu/a".to_owned(), 70), ("eu/*".to_owned(), 20), ("us".to_owned(), 10)];
    let rule = LocalityRule::Distribute(vec![Distribute { from: "eu/a/*".into(), to }]);
    // By weight within a locality; asia is in none and gets nothing.
    let endpoints = [("eu/a/1", 1), ("eu/a/2", 3), ("eu/b", 1), ("eu/c", 1), ("us/a", 5), ("asia", 9)];
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        let view = view(balance, rule.clone(), &endpoints);
        let mut state = adopted(&view);
        let counts = counts(&view, &mut state);
        // 99.9 % for four degrees of freedom.
        assert!(chi_square(&counts, &[175, 525, 100, 100, 100, 0]) < 18.47, "{balance:?}: {counts:?}");
        assert_eq!(counts[5], 0);
        // A locality that is gone altogether leaves its share to the others.
        let us = state.slot(4);
        state.set_ejected(&view, us, true, 0);
        let counts = self::counts(&view, &mut state);
        assert!(chi_square(&counts, &[175, 525, 100, 100, 0, 0]) < 16.27, "{balance:?}: {counts:?}");
    }
}

/// Those who explain a decision tell the shares that requests come to.
#[test]
fn shares_are_told_as_they_are_drawn() {
    let to = vec![("eu/a".to_owned(), 70), ("eu/*".to_owned(), 20), ("us".to_owned(), 10)];
    let distribute = LocalityRule::Distribute(vec![Distribute { from: "eu/a/*".into(), to }]);
    let endpoints = [("eu/a/1", 1), ("eu/a/2", 3), ("eu/b", 1), ("eu/c", 1), ("us/a", 5), ("asia", 9)];
    for (rule, ejected) in [(distribute, &[2, 4][..]), (nearest(), &[][..]), (nearest(), &[0, 2])] {
        let view = view(Balance::Random, rule, &endpoints);
        let mut state = adopted(&view);
        for endpoint in ejected {
            let slot = state.slot(*endpoint);
            state.set_ejected(&view, slot, true, 0);
        }
        let told = shares(&view, 0, &mut state, 0);
        let places: Vec<_> = told.iter().map(|share| share.place.clone()).collect();
        assert_eq!(places, endpoints.map(|(locality, _)| Some(place(locality))));
        let expected: Vec<u32> = told.iter().map(|share| (share.share * 10_000.0).round() as u32).collect();
        let counts = counts(&view, &mut state);
        // 99.9 % for five degrees of freedom.
        assert!(chi_square(&counts, &expected) < 20.52, "{ejected:?}: {counts:?} {expected:?}");
        assert!(told.iter().all(|share| share.ejected == ejected.contains(&share.endpoint)));
    }
}

#[test]
fn a_retry_leaves_the_locality_when_it_has_no_other_endpoint() {
    let view = view(Balance::LeastRequest, nearest(), &[("eu/a", 1), ("us/a", 1)]);
    let mut state = adopted(&view);
    let (near, far) = (state.slot(0), state.slot(1));
    assert_eq!(pick(&view, 0, &mut state, &mut Seeded(1), Choose::default()), Some((0, near)));
    assert_eq!(pick(&view, 0, &mut state, &mut Seeded(1), avoiding(near)), Some((1, far)));
}

/// A key stays where it is while its endpoint and its level are in order.
#[test]
fn keys_stay_in_the_nearest_locality() {
    let endpoints = ["eu/a", "eu/a", "eu/a", "us/a", "us/a"].map(|at| (at, 1));
    for balance in [Balance::RingHash, Balance::Maglev] {
        let view = view(balance, nearest(), &endpoints);
        let (mut state, mut rng) = (adopted(&view), Seeded(1));
        let mut owners = |state: &mut State| -> Vec<u32> {
            let mut keys = Seeded(9);
            let mut owner = || pick(&view, 0, state, &mut rng, Choose { key: keys.random(), ..Choose::default() });
            (0..10_000).map(|_| owner().unwrap().0).collect()
        };
        let before = owners(&mut state);
        assert!(before.iter().all(|owner| *owner < 3), "{balance:?}");
        let first = state.slot(0);
        state.set_ejected(&view, first, true, 0);
        let after = owners(&mut state);
        // Two of three are 93 % of what is needed: 7 % leave, and of the others only the ejected endpoint's keys move.
        let left = after.iter().filter(|owner| **owner >= 3).count();
        assert!((500..900).contains(&left), "{balance:?}: {left}");
        let moved = before.iter().zip(&after).filter(|(a, b)| **a != 0 && **b < 3 && a != b).count();
        assert_eq!(moved, 0, "{balance:?}");
    }
}
