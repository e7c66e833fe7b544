//! Seeds of the simulated proxy, all green; one of them by its number: `RINGWAY_SEED=17 cargo test -p ringway-sim --test seeds -- --nocapture`; more of
//! them with `RINGWAY_SEEDS=10000`, and others than the first ones with `RINGWAY_SEEDS_FROM=10000` besides.

use ringway_sim::run::run;

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 640;

#[test]
fn every_seed_answers_every_request_once_and_leaks_nothing() {
    if let Some(seed) = number("RINGWAY_SEED") {
        let report = run(seed, true).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{report:?}");
        return;
    }
    let count = number("RINGWAY_SEEDS").unwrap_or(SEEDS);
    let from = number("RINGWAY_SEEDS_FROM").unwrap_or(0);
    let results: Vec<_> = (from..from + count).map(|seed| run(seed, false)).collect();
    let failures: Vec<&String> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(failures.is_empty(), "{} of {count} seeds fail:\n{}", failures.len(), list(&failures));
    let reports: Vec<_> = results.into_iter().flatten().collect();
    let sum = |pick: fn(&ringway_sim::run::Report) -> usize| reports.iter().map(pick).sum::<usize>();
    // The traffic of many seeds is not empty: what is checked above did happen.
    if count < SEEDS {
        return;
    }
    assert!(sum(|r| r.answered) > sum(|r| r.requests) / 2, "few requests were answered");
    assert!(sum(|r| r.tunnels) > 10 && sum(|r| r.swaps) > 50 && sum(|r| r.replays as usize) > 0, "{reports:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 6, 7, 11] {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
}

fn list(failures: &[&String]) -> String {
    failures.iter().map(|f| format!("  {f}\n")).collect()
}
