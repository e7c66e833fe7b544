//! What a worker's state keeps over swaps.

use proptest::prelude::*;
use ringway_config::model::Balance;
use ringway_policy::{Choose, Slot, State, View, pick};
use std::collections::HashMap;
use std::net::SocketAddr;

use crate::world::{Seeded, World, address, adopted};

/// Clusters by name, each with the last bytes of its endpoints' addresses.
fn view(clusters: &[(&str, &[u8])], previous: Option<&View>) -> View {
    let mut world = World::new();
    for (name, endpoints) in clusters {
        let addresses: Vec<String> = endpoints.iter().map(|n| format!("10.0.0.{n}:80")).collect();
        let endpoints: Vec<_> = addresses.iter().map(|a| (&**a, 1, false)).collect();
        world = world.cluster(name, Balance::RoundRobin, &endpoints);
    }
    View::build(&world.snapshot(), previous).unwrap()
}

#[test]
fn counts_survive_and_gone_slots_are_told() {
    let old = view(&[("c", &[1, 2]), ("d", &[2, 3])], None);
    let mut state = adopted(&old);
    let slots: Vec<Slot> = (0..4).map(|endpoint| state.slot(endpoint)).collect();
    assert_eq!((slots[1], state.slots()), (slots[2], 3));
    slots.iter().for_each(|slot| state.started(*slot));

    // 1 leaves; 2 leaves c but stays in d; 4 is new; c comes second now.
    let new = view(&[("a", &[4]), ("c", &[3]), ("d", &[2])], Some(&old));
    let mut gone = Vec::new();
    state.adopt(&new, 0, &mut Seeded(1), &mut gone);
    assert_eq!(gone, [slots[0]]);
    assert_eq!((state.slot(1), state.slot(2)), (slots[3], slots[1]));
    assert_eq!((state.in_flight(slots[1]), state.in_flight(slots[3]), state.in_flight(slots[0])), (2, 1, 1));
    assert_eq!(state.address(state.slot(0)), address("10.0.0.4:80"));
    assert_eq!(state.slot(3), Slot(u32::MAX));

    assert!(!state.forget(slots[0]), "a request is in flight");
    assert!(!state.forget(slots[1]), "it is in the view");
    state.finished(slots[0]);
    assert!(state.forget(slots[0]));
    assert!(!state.forget(slots[0]), "it is forgotten already");
    assert!(!state.forget(Slot(99)), "it never was");
}

#[test]
fn a_gone_endpoint_may_come_back() {
    let (old, new) = (view(&[("c", &[1, 2])], None), view(&[("c", &[2])], None));
    let mut state = adopted(&old);
    let first = state.slot(0);
    state.started(first);
    let mut gone = Vec::new();
    state.adopt(&new, 0, &mut Seeded(1), &mut gone);
    assert_eq!(gone, [first]);
    state.adopt(&old, 0, &mut Seeded(1), &mut gone);
    assert_eq!(gone, []);
    assert_eq!((state.slot(0), state.in_flight(first)), (first, 1));
    state.finished(first);
    assert!(!state.forget(first));
}

#[test]
fn a_forgotten_slot_is_used_again() {
    let mut state = adopted(&view(&[("c", &[1, 2])], None));
    let mut gone = Vec::new();
    state.adopt(&view(&[("c", &[2])], None), 0, &mut Seeded(1), &mut gone);
    assert!(state.forget(gone[0]));
    state.adopt(&view(&[("c", &[2, 3])], None), 0, &mut Seeded(1), &mut Vec::new());
    assert_eq!((state.slot(1), state.slots()), (gone[0], 2));
    assert_eq!(state.address(gone[0]), address("10.0.0.3:80"));
}

#[test]
fn round_robin_starts_anew_after_a_swap() {
    let same = view(&[("c", &[1, 2, 3, 4])], None);
    let mut state = adopted(&same);
    let mut rng = Seeded(21);
    let mut firsts = [0; 4];
    for _ in 0..200 {
        state.adopt(&same, 0, &mut rng, &mut Vec::new());
        firsts[pick(&same, 0, &mut state, &mut rng, Choose::default()).unwrap().0 as usize] += 1;
    }
    assert!(firsts.iter().all(|n| *n > 20), "{firsts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of views, requests and forgetting, compared with a map from addresses to counts.
    #[test]
    fn state_equals_a_map_of_addresses(
        rounds in prop::collection::vec((prop::collection::vec(prop::collection::vec(0u8..8, 0..4), 0..4), prop::collection::vec((0u8..8, any::<bool>()), 0..12)), 1..10),
    ) {
        let names = ["a", "b", "c", "d"];
        let (mut state, mut rng, mut gone) = (State::new(), Seeded(1), Vec::new());
        let mut counts: HashMap<SocketAddr, u32> = HashMap::new();
        let mut previous: Option<View> = None;
        for (clusters, requests) in rounds {
            let clusters: Vec<(&str, &[u8])> = names.into_iter().zip(clusters.iter().map(|c| &c[..])).collect();
            let new = view(&clusters, previous.as_ref());
            state.adopt(&new, 0, &mut rng, &mut gone);
            let mut slots = HashMap::new();
            for endpoint in 0..new.endpoints_len() as u32 {
                let (slot, at) = (state.slot(endpoint), new.endpoint(endpoint).address);
                prop_assert_eq!(state.address(slot), at);
                prop_assert_eq!(*slots.entry(at).or_insert(slot), slot);
                prop_assert_eq!(state.in_flight(slot), counts.get(&at).copied().unwrap_or(0));
                prop_assert!(!gone.contains(&slot));
            }
            for (last, start) in requests {
                let at = address(&format!("10.0.0.{last}:80"));
                let known = slots.get(&at).copied().or_else(|| gone.iter().copied().find(|s| state.address(*s) == at));
                let (Some(slot), count) = (known, counts.entry(at).or_default()) else { continue };
                if start {
                    state.started(slot);
                    *count += 1;
                } else if *count > 0 {
                    state.finished(slot);
                    *count -= 1;
                }
            }
            gone.retain(|slot| {
                let idle = state.in_flight(*slot) == 0;
                assert_eq!(state.forget(*slot), idle);
                !idle
            });
            prop_assert!(state.slots() <= 16);
            previous = Some(new);
        }
    }
}
