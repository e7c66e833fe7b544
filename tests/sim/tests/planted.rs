//! The simulation finds every planted bug, and nothing without one.

use dataplane::planted::{Bug, plant};
use ringway_sim::run::run;

/// The seeds of a plain `cargo test`.
const SEEDS: u64 = 64;

fn first_seed_that_fails(bug: Bug) -> Option<String> {
    plant(Some(bug));
    let found = (0..SEEDS).find_map(|seed| run(seed, false).err());
    plant(None);
    found
}

fn is_found(bug: Bug) {
    let failure = first_seed_that_fails(bug).unwrap_or_else(|| panic!("{bug:?} goes unnoticed in {SEEDS} seeds"));
    println!("{bug:?}: {failure}");
}

#[test]
fn a_dropped_piece_of_a_body_is_found() {
    is_found(Bug::PieceDroppedUnderPressure);
}

#[test]
fn a_pooled_connection_with_half_a_response_is_found() {
    is_found(Bug::UndrainedConnectionPooled);
}

#[test]
fn a_fin_that_a_tunnel_keeps_is_found() {
    is_found(Bug::FinNotForwarded);
}

#[test]
fn a_leaked_in_flight_count_is_found() {
    is_found(Bug::InFlightLeaked);
}

#[test]
fn a_replayed_post_is_found() {
    is_found(Bug::PostReplayed);
}

#[test]
fn a_pool_that_outlives_its_endpoint_is_found() {
    is_found(Bug::StalePoolUsed);
}
