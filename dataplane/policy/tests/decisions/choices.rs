//! Weights of destinations and endpoints, and the three ways to balance. Frequencies are tested by χ² on a seeded source.

use ringway_config::model::{Balance, Host, Match};
use ringway_policy::{Choose, Slot, State, Step, View, decide, pick};

use crate::world::{Seeded, World, address, adopted, avoiding, bare_host, forward, get, route};

const DRAWS: u32 = 100_000;

/// χ² of counts against weights.
pub fn chi_square(counts: &[u32], weights: &[u32]) -> f64 {
    let (drawn, total) = (counts.iter().sum::<u32>(), weights.iter().sum::<u32>());
    let expected = |weight: u32| f64::from(drawn) * f64::from(weight) / f64::from(total);
    let term = |(count, weight): (&u32, &u32)| (f64::from(*count) - expected(*weight)).powi(2) / expected(*weight);
    counts.iter().zip(weights).filter(|(_, weight)| **weight > 0).map(term).sum()
}

/// A cluster `c` of endpoints 10.0.0.n:80 with these weights; 0 is draining.
fn cluster(balance: Balance, weights: &[u32]) -> View {
    let addresses: Vec<String> = (0..weights.len()).map(|n| format!("10.0.0.{n}:80")).collect();
    let endpoint = |(address, weight)| match weight {
        0 => (address, 1000, true),
        _ => (address, weight, false),
    };
    let endpoints: Vec<_> = addresses.iter().map(String::as_str).zip(weights.iter().copied()).map(endpoint).collect();
    World::new().cluster("c", balance, &endpoints).view()
}

/// Picks `draws` times with nothing in flight: how often each endpoint was chosen.
fn tally(view: &View, draws: u32) -> Vec<u32> {
    let (mut state, mut rng) = (adopted(view), Seeded(7));
    let mut counts = vec![0; view.endpoints_len()];
    for _ in 0..draws {
        let (endpoint, slot) = pick(view, 0, &mut state, &mut rng, Choose::default()).unwrap();
        assert_eq!(state.slot(endpoint), slot);
        counts[endpoint as usize] += 1;
    }
    counts
}

/// Draws destinations of one action: how often each backend was chosen.
fn split(weights: &[u32]) -> Vec<u32> {
    let mut world = World::new().cluster("c", Balance::Random, &[("10.0.0.1:80", 1, false)]);
    let backends: Vec<_> = weights.iter().map(|weight| ("c", *weight)).collect();
    let routes = vec![route(1, Match::default(), 0)];
    world.hosts.push(Host { routes, actions: vec![forward(&backends)], ..bare_host("h", &[("*", 0)]) });
    let view = world.view();
    let (mut state, mut rng) = (adopted(&view), Seeded(11));
    let mut counts = vec![0; weights.len()];
    for _ in 0..DRAWS {
        match decide(&view, &mut get("/").facts(), &mut state, &mut rng, 0, &mut ()) {
            Step::Forward(plan) => counts[plan.backend as usize] += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

#[test]
fn destinations_are_drawn_by_weight() {
    // Bounds: the 99.9 % quantile of χ² with one degree of freedom less than there are weights above zero.
    for (weights, bound) in [
        (&[90, 10][..], 10.83),
        (&[50, 50], 10.83),
        (&[0, 1, 0, 2, 7], 13.82),
        (&[2_000_000_000, 2_000_000_000], 10.83),
    ] {
        let counts = split(weights);
        let small: Vec<u32> = weights.iter().map(|w| if *w > 1_000_000 { w / 1_000_000 } else { *w }).collect();
        assert!(chi_square(&counts, &small) < bound, "{weights:?}: {counts:?}");
        assert!(
            counts.iter().zip(weights).all(|(count, weight)| *weight > 0 || *count == 0),
            "{weights:?}: {counts:?}"
        );
    }
}

#[test]
fn a_single_destination_ignores_its_weight() {
    assert_eq!(split(&[0]), [DRAWS]);
}

#[test]
fn random_and_idle_least_request_follow_the_weights() {
    for balance in [Balance::Random, Balance::LeastRequest] {
        for (weights, bound) in [(&[1, 1, 1, 1][..], 16.27), (&[9, 1], 10.83), (&[0, 3, 0, 1, 2], 13.82)] {
            let counts = tally(&cluster(balance, weights), DRAWS);
            assert!(chi_square(&counts, weights) < bound, "{balance:?} {weights:?}: {counts:?}");
            assert!(counts.iter().zip(weights).all(|(count, weight)| *weight > 0 || *count == 0));
        }
    }
}

#[test]
fn round_robin_is_exact_in_every_round() {
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[0, 2, 4, 0], &[90, 10], &[7], &[1, 1000], &[3, 3, 3, 3]] {
        let divisor = [1, 2, 10, 7, 3].into_iter().filter(|d| weights.iter().all(|w| w % d == 0)).max().unwrap();
        let round: u32 = weights.iter().sum::<u32>() / divisor;
        let expected: Vec<u32> = weights.iter().map(|w| w / divisor * 3).collect();
        assert_eq!(tally(&cluster(Balance::RoundRobin, weights), 3 * round), expected, "{weights:?}");
    }
}

#[test]
fn round_robin_of_equals_goes_in_turn() {
    let view = cluster(Balance::RoundRobin, &[1, 0, 1, 1]);
    let (mut state, mut rng) = (adopted(&view), Seeded(1));
    let turns: Vec<u32> = (0..7).map(|_| pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap().0).collect();
    let start = [0, 2, 3].iter().position(|e| *e == turns[0]).unwrap();
    let expected: Vec<u32> = [0, 2, 3].into_iter().cycle().skip(start).take(7).collect();
    assert_eq!(turns, expected);
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_endpoint() {
    // 10 of 100 turns are the light one's: never two in a row, and never 20 without one.
    let view = cluster(Balance::RoundRobin, &[90, 10]);
    let (mut state, mut rng) = (adopted(&view), Seeded(5));
    let turns: Vec<u32> =
        (0..1000).map(|_| pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap().0).collect();
    let light: Vec<usize> = turns.iter().enumerate().filter(|(_, e)| **e == 1).map(|(at, _)| at).collect();
    let gaps: Vec<usize> = light.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|gap| (2..20).contains(gap)), "{gaps:?}");
}

#[test]
fn round_robin_starts_anywhere() {
    let view = cluster(Balance::RoundRobin, &[1, 1, 1, 1]);
    let mut starts = [0; 4];
    let mut rng = Seeded(9);
    for _ in 0..400 {
        let mut state = State::new();
        state.adopt(&view, 0, &mut rng, &mut Vec::new());
        starts[pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap().0 as usize] += 1;
    }
    assert!(chi_square(&starts, &[1, 1, 1, 1]) < 16.27, "{starts:?}");
}

#[test]
fn least_request_takes_the_less_busy_of_two() {
    let view = cluster(Balance::LeastRequest, &[1, 1]);
    let (mut state, mut rng) = (adopted(&view), Seeded(2));
    // Nothing ends: of two endpoints the less busy one is always taken, so they never differ by more than one.
    for _ in 0..1000 {
        let (_, slot) = pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap();
        state.started(slot);
        let (a, b) = (state.in_flight(state.slot(0)), state.in_flight(state.slot(1)));
        assert!(a.abs_diff(b) <= 1, "{a} {b}");
    }
}

#[test]
fn least_request_shares_by_weight_when_busy() {
    let weights = [8, 4, 2, 1, 1];
    let view = cluster(Balance::LeastRequest, &weights);
    let (mut state, mut rng) = (adopted(&view), Seeded(2));
    for _ in 0..16_000 {
        let (_, slot) = pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap();
        state.started(slot);
    }
    for (endpoint, weight) in (0..).zip(weights) {
        let share = state.in_flight(state.slot(endpoint));
        assert!(share.abs_diff(weight * 1000) <= 20, "{endpoint}: {share}");
    }
}

#[test]
fn least_request_keeps_to_unequal_weights_at_low_load() {
    // One request at a time in flight: the light endpoint must not get every request that finds the heavy one busy.
    let view = cluster(Balance::LeastRequest, &[9, 1]);
    let (mut state, mut rng) = (adopted(&view), Seeded(4));
    let mut counts = [0; 2];
    let mut running = None;
    for _ in 0..DRAWS {
        let (endpoint, slot) = pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap();
        state.started(slot);
        counts[endpoint as usize] += 1;
        if let Some(slot) = running.replace(slot) {
            state.finished(slot);
        }
    }
    let share = f64::from(counts[1]) / f64::from(DRAWS);
    assert!((0.07..0.12).contains(&share), "{counts:?}");
}

#[test]
fn least_request_avoids_a_stuck_endpoint() {
    let view = cluster(Balance::LeastRequest, &[1, 1, 1]);
    let (mut state, mut rng) = (adopted(&view), Seeded(2));
    let stuck = state.slot(1);
    (0..100).for_each(|_| state.started(stuck));
    for _ in 0..1000 {
        assert_ne!(pick(&view, 0, &mut state, &mut rng, Choose::default()).unwrap().1, stuck);
    }
}

#[test]
fn an_avoided_endpoint_is_the_last_resort() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        for weights in [&[1, 1, 1][..], &[1_000_000, 1, 1], &[1_000_000, 1, 0]] {
            let view = cluster(balance, weights);
            let (mut state, mut rng) = (adopted(&view), Seeded(3));
            let avoid = state.slot(0);
            for _ in 0..1000 {
                let (endpoint, slot) = pick(&view, 0, &mut state, &mut rng, avoiding(avoid)).unwrap();
                assert!(slot != avoid && weights[endpoint as usize] > 0, "{balance:?} {weights:?}: {endpoint}");
            }
        }
        let view = cluster(balance, &[1, 0]);
        let mut state = adopted(&view);
        let only = state.slot(0);
        assert_eq!(pick(&view, 0, &mut state, &mut Seeded(3), avoiding(only)), Some((0, only)));
    }
}

#[test]
fn nothing_to_pick() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        for weights in [&[][..], &[0], &[0, 0]] {
            let view = cluster(balance, weights);
            assert_eq!(pick(&view, 0, &mut adopted(&view), &mut Seeded(3), Choose::default()), None);
            assert_eq!(pick(&view, 1, &mut adopted(&view), &mut Seeded(3), Choose::default()), None);
        }
    }
}

#[test]
fn the_load_of_an_address_counts_in_all_its_clusters() {
    let both = [("10.0.0.1:80", 1, false), ("10.0.0.2:80", 1, false)];
    let view =
        World::new().cluster("c", Balance::LeastRequest, &both).cluster("d", Balance::LeastRequest, &both).view();
    let mut state = adopted(&view);
    assert_eq!((state.slot(0), state.slot(1)), (state.slot(2), state.slot(3)));
    let busy: Slot = state.slot(0);
    state.started(busy);
    for _ in 0..100 {
        let (endpoint, slot) = pick(&view, 1, &mut state, &mut Seeded(1), Choose::default()).unwrap();
        assert_eq!((endpoint, state.address(slot)), (3, address("10.0.0.2:80")));
    }
}
