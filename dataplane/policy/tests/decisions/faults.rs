//! Injected delays and aborts, and how often they happen.

use ringway_config::model::*;
use ringway_policy::{Delay, LocalKind, Step, decide};

use crate::world::{Seeded, World, adopted, bare_host, get, route, small};

fn world(action: Action) -> World {
    let mut world = small();
    let routes = vec![route(5, Match::default(), 0)];
    world.hosts.push(Host { routes, actions: vec![action], ..bare_host("h", &[("*", 0)]) });
    world
}

fn forward(fault: Fault) -> Action {
    let backends = vec![Backend { cluster: "c".into(), weight: 1, ..Backend::default() }];
    Action::Forward(Forward { backends, fault: Some(Fault { rule: RuleId(9), ..fault }), ..Forward::default() })
}

/// How often of `n` requests each thing happened: (delayed, aborted, forwarded).
fn counts(action: Action, seed: u64, n: usize, delayed: bool) -> (usize, usize, usize) {
    let view = world(action).view();
    let (mut state, mut rng, mut counts) = (adopted(&view), Seeded(seed), (0, 0, 0));
    for _ in 0..n {
        let request = get("/");
        let mut facts = request.facts();
        facts.delayed = delayed;
        match decide(&view, &mut facts, &mut state, &mut rng, 0, &mut ()) {
            Step::Delay(_) => counts.0 += 1,
            Step::Reply(local) if local.kind == LocalKind::Fault => counts.1 += 1,
            Step::Forward(_) => counts.2 += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

#[test]
fn a_delay_comes_before_an_abort_and_is_not_repeated() {
    let fault = Fault {
        delay_ms: 70,
        delay_per_million: 1_000_000,
        abort_status: 418,
        abort_per_million: 1_000_000,
        ..Fault::default()
    };
    let view = world(forward(fault)).view();
    let request = get("/");
    let mut facts = request.facts();
    let step = |facts: &mut _| decide(&view, facts, &mut adopted(&view), &mut Seeded(1), 0, &mut ());
    assert_eq!(step(&mut facts), Step::Delay(Delay { ms: 70, rule: RuleId(9), route: 0 }));
    facts.delayed = true;
    let Step::Reply(local) = step(&mut facts) else { panic!() };
    assert_eq!((local.status, local.rule, local.kind), (418, RuleId(9), LocalKind::Fault));
    assert_eq!((local.flags(), local.details(), local.body()), ("FI", "fault_filter_abort", "fault filter abort"));
}

#[test]
fn redirects_and_fixed_answers_have_faults_too() {
    let fault = Some(Fault { abort_status: 599, abort_per_million: 1_000_000, ..Fault::default() });
    for action in [
        Action::Redirect(Redirect { status: 301, fault: fault.clone(), ..Redirect::default() }),
        Action::Respond(Respond { status: 200, fault: fault.clone(), ..Respond::default() }),
    ] {
        assert_eq!(counts(action, 1, 3, false), (0, 3, 0));
    }
}

/// One degree of freedom: a fair draw exceeds this once in a thousand seeds.
const CHI_SQUARED_MAX: f64 = 10.83;

#[test]
fn shares_are_kept() {
    const N: usize = 200_000;
    for (seed, per_million) in [(11, 500_000), (12, 100_000), (13, 12_500), (14, 1_000), (15, 999_000)] {
        let delay = Fault { delay_ms: 1, delay_per_million: per_million, ..Fault::default() };
        let abort = Fault { abort_status: 500, abort_per_million: per_million, ..Fault::default() };
        let share = f64::from(per_million) / 1e6;
        for happened in [counts(forward(delay), seed, N, false).0, counts(forward(abort), seed, N, false).1] {
            let expected = N as f64 * share;
            let chi_squared = (happened as f64 - expected).powi(2) / (expected * (1.0 - share));
            assert!(chi_squared < CHI_SQUARED_MAX, "{happened} of {N} for {per_million} of a million: {chi_squared}");
        }
    }
    let never = Fault { delay_ms: 1, abort_status: 500, ..Fault::default() };
    assert_eq!(counts(forward(never), 1, 1000, false), (0, 0, 1000));
    let both = Fault { delay_ms: 1, delay_per_million: 1_000_000, abort_status: 500, ..Fault::default() };
    assert_eq!(counts(forward(both.clone()), 1, 10, false), (10, 0, 0));
    assert_eq!(counts(forward(both), 1, 10, true), (0, 0, 10));
}
