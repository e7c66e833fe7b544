//! Slow start over time, against the shares that the API promises.

use ringway_config::model::{Balance, Warmup};
use ringway_policy::{Choose, State, View, pick};

use crate::choices::chi_square;
use crate::world::{Seeded, World};

const SECOND: u64 = 1_000_000_000;
const DRAWS: u32 = 40_000;

/// A cluster of endpoints 10.0.0.n:80 (n, weight).
fn cluster(balance: Balance, warmup: Warmup, endpoints: &[(u8, u32)], previous: Option<&View>) -> View {
    let addresses: Vec<(String, u32)> = endpoints.iter().map(|(n, w)| (format!("10.0.0.{n}:80"), *w)).collect();
    let endpoints: Vec<_> = addresses.iter().map(|(address, weight)| (&**address, *weight, false)).collect();
    let mut world = World::new().cluster("c", balance, &endpoints);
    world.clusters[0].warmup = Some(warmup);
    View::build(&world.snapshot(), previous).unwrap()
}

fn shares(view: &View, state: &mut State, now: u64) -> Vec<u32> {
    let mut rng = Seeded(now);
    let mut counts = vec![0; view.endpoints_len()];
    for _ in 0..DRAWS {
        counts[pick(view, 0, state, &mut rng, Choose { now, ..Choose::default() }).unwrap().0 as usize] += 1;
    }
    counts
}

/// What Envoy's documentation says of slow start: `weight × max(minimum, (time / window) ^ (1 / aggression))`.
fn promised(weight: u32, warmup: &Warmup, age_s: f64) -> f64 {
    let time = (age_s * 1000.0 / warmup.duration_ms as f64).min(1.0);
    let grown = time.powf(1000.0 / f64::from(warmup.aggression));
    f64::from(weight) * grown.max(f64::from(warmup.minimum) / 10_000.0)
}

#[test]
fn a_new_endpoint_gets_its_share_bit_by_bit() {
    for (aggression, minimum) in [(1000, 1000), (2000, 500), (500, 2500), (1000, 0)] {
        let warmup = Warmup { duration_ms: 60_000, minimum, aggression };
        for balance in [Balance::LeastRequest, Balance::RoundRobin] {
            let old = cluster(balance, warmup, &[(1, 1), (2, 2)], None);
            let (mut state, mut rng) = (State::new(), Seeded(1));
            state.adopt(&old, 0, &mut rng, &mut Vec::new());
            let new = cluster(balance, warmup, &[(1, 1), (2, 2), (3, 3)], Some(&old));
            state.adopt(&new, 100 * SECOND, &mut rng, &mut Vec::new());
            for age in [1, 5, 15, 30, 45, 59, 60, 61] {
                let counts = shares(&new, &mut state, (100 + age) * SECOND);
                let parts = [1.0, 2.0, promised(3, &warmup, age as f64)].map(|part| (part * 100_000.0) as u32);
                // 13.8 is the 99.9 % quantile for two degrees of freedom; round robin does not even vary so much.
                let distance = chi_square(&counts, &parts);
                assert!(distance < 13.8, "{balance:?} {warmup:?} after {age} s: {counts:?} for {parts:?}");
            }
        }
    }
}

#[test]
fn endpoints_seen_together_share_by_weight_from_the_start() {
    let warmup = Warmup { duration_ms: 60_000, minimum: 1000, aggression: 1000 };
    let view = cluster(Balance::LeastRequest, warmup, &[(1, 1), (2, 3)], None);
    let mut state = State::new();
    state.adopt(&view, SECOND, &mut Seeded(1), &mut Vec::new());
    for now in [1, 2, 30, 100] {
        let counts = shares(&view, &mut state, now * SECOND);
        assert!(chi_square(&counts, &[1, 3]) < 10.83, "after {now} s: {counts:?}");
    }
}

/// However small their parts are: without a minimum, and slow to begin with.
#[test]
fn young_endpoints_share_by_their_parts() {
    let warmup = Warmup { duration_ms: 3_600_000, minimum: 0, aggression: 250 };
    let old = cluster(Balance::LeastRequest, warmup, &[(1, 1)], None);
    let (mut state, mut rng) = (State::new(), Seeded(1));
    state.adopt(&old, 0, &mut rng, &mut Vec::new());
    let new = cluster(Balance::LeastRequest, warmup, &[(1, 1), (2, 1)], Some(&old));
    state.adopt(&new, 20 * SECOND, &mut rng, &mut Vec::new());
    // (20 / 40)^4 of the other's.
    let counts = shares(&new, &mut state, 40 * SECOND);
    assert!(chi_square(&counts, &[16, 1]) < 10.83, "{counts:?}");
}

#[test]
fn an_endpoint_that_was_away_is_new_again() {
    let warmup = Warmup { duration_ms: 60_000, minimum: 1000, aggression: 1000 };
    let both = cluster(Balance::LeastRequest, warmup, &[(1, 1), (2, 1)], None);
    let one = cluster(Balance::LeastRequest, warmup, &[(1, 1)], None);
    let (mut state, mut rng, mut gone) = (State::new(), Seeded(1), Vec::new());
    state.adopt(&both, 0, &mut rng, &mut gone);
    state.adopt(&one, 100 * SECOND, &mut rng, &mut gone);
    state.adopt(&both, 200 * SECOND, &mut rng, &mut gone);
    let counts = shares(&both, &mut state, 200 * SECOND);
    assert!(chi_square(&counts, &[10, 1]) < 10.83, "{counts:?}");
    // A swap that keeps it does not make it younger or older.
    state.adopt(&both, 230 * SECOND, &mut rng, &mut gone);
    let counts = shares(&both, &mut state, 230 * SECOND);
    assert!(chi_square(&counts, &[2, 1]) < 10.83, "{counts:?}");
}
