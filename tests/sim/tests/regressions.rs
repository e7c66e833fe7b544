//! What the simulation has found, each in the smallest plan that shows it, over a handful of seeds.

use std::time::Duration;

use ringway_engine::sim::Faults;
use ringway_sim::mesh::Road;
use ringway_sim::plan::{
    Answer, ClientPlan, Opaque, Pace, Plan, Profile, Request, Sabotage, TunnelPlan, Turns, Upload,
};
use ringway_sim::run::run_plan;
use ringway_sim::wire::Body;

const FAST: Pace = Pace { bytes: usize::MAX, gap: Duration::ZERO };

fn get(road: Road, bytes: usize) -> Request {
    let answer = Answer {
        status: 200,
        body: Some(Body::Length(0)),
        bytes,
        interim: 0,
        early: false,
        close: false,
        delay: Duration::ZERO,
        sabotage: None,
    };
    Request { road, method: "GET", upload: Upload::None, expect: false, upgrade: None, answer }
}

fn client(requests: std::ops::Range<u32>, depth: usize, pace: Pace, half_close: bool) -> ClientPlan {
    let (start, requests) = (Duration::ZERO, requests.collect());
    ClientPlan { start, requests, depth, pace, half_close, leave: None, stays: false }
}

fn plan(faults: Faults, requests: Vec<Request>, clients: Vec<ClientPlan>) -> Plan {
    Plan {
        profile: Profile::Timing,
        faults,
        workers: 1,
        requests,
        clients,
        tunnels: Vec::new(),
        swaps: Vec::new(),
        drain: None,
    }
}

fn holds(plan: &Plan) {
    for seed in 0..12 {
        run_plan(seed, plan.clone(), false).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

#[test]
fn input_behind_a_consumed_pipeline_is_read_from_its_start() {
    let mut requests: Vec<Request> = (0..24).map(|i| get(Road::Plain, i * 7)).collect();
    requests.iter_mut().for_each(|r| r.answer.delay = Duration::from_millis(3));
    holds(&plan(Faults::timing(), requests, vec![client(0..24, 5, FAST, false)]));
}

#[test]
fn a_fin_behind_a_pipeline_waits_for_answers_of_the_proxy_and_of_upstreams() {
    let roads = [Road::Local, Road::Plain, Road::Nowhere, Road::Local, Road::Plain];
    let requests = roads.map(|road| get(road, 100)).to_vec();
    holds(&plan(Faults::none(), requests, vec![client(0..5, 5, FAST, true)]));
}

#[test]
fn a_fin_does_not_drop_the_answer_before_it_has_left() {
    holds(&plan(Faults::none(), vec![get(Road::Local, 0)], vec![client(0..1, 1, FAST, true)]));
}

#[test]
fn a_drain_closes_pooled_connections_before_it_says_that_nothing_is_open() {
    let requests: Vec<Request> = (0..3).map(|_| get(Road::Plain, 10)).collect();
    holds(&plan(Faults::none(), requests, vec![client(0..3, 1, FAST, false)]));
}

#[test]
fn a_tunnel_that_connects_again_after_a_swap_stays_in_its_cluster() {
    let faults = Faults { connect_refused: 0.4, latency_max: Duration::from_millis(20), ..Faults::timing() };
    let opaque = Opaque { up: 100, down: 100, turns: Turns::Free };
    let tunnel = |i: u32| TunnelPlan { start: Duration::from_millis(5) * i, opaque, pace: FAST, leave: None };
    let mut plan = plan(faults, Vec::new(), Vec::new());
    plan.profile = Profile::Swarm;
    plan.tunnels = (0..40).map(tunnel).collect();
    plan.swaps = (0..30).map(|i| Duration::from_millis(7) * i).collect();
    holds(&plan);
}

#[test]
fn bulk_that_is_spliced_stays_behind_what_was_received_before() {
    let faults = Faults { late_receive: 1.0, short_read: 0.7, ..Faults::timing() };
    let opaque = Opaque { up: 700 << 10, down: 700 << 10, turns: Turns::Free };
    let mut plan = plan(faults, Vec::new(), Vec::new());
    plan.tunnels = vec![TunnelPlan { start: Duration::ZERO, opaque, pace: FAST, leave: None }; 4];
    for seed in 0..3 {
        run_plan(seed, plan.clone(), false).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

#[test]
fn a_reset_that_a_send_learns_of_does_not_make_half_an_answer_look_whole() {
    let mut request = get(Road::Plain, 50 << 10);
    (request.method, request.upload) = ("POST", Upload::Length(150 << 10));
    (request.answer.body, request.answer.early) = (Some(Body::UntilClose), true);
    request.answer.sabotage = Some(Sabotage::Reset(20 << 10));
    let faults = Faults { socket_buffer_bytes: 16 << 10, ..Faults::timing() };
    let mut plan = plan(faults, vec![request; 4], (0..4).map(|i| client(i..i + 1, 1, FAST, false)).collect());
    plan.profile = Profile::Hostile;
    holds(&plan);
}

#[test]
fn a_limit_that_comes_while_connections_are_pooled_holds_nobody_up() {
    let mut requests: Vec<Request> = (0..200).map(|_| get(Road::Plain, 200)).collect();
    requests.iter_mut().for_each(|r| r.answer.delay = Duration::from_millis(2));
    let clients = (0..10).map(|i| client(20 * i..20 * i + 20, 1, FAST, false)).collect();
    let mut plan = plan(Faults::timing(), requests, clients);
    plan.swaps = (0..8).map(|i| Duration::from_millis(5) * i).collect();
    holds(&plan);
}

#[test]
fn a_websocket_that_outlives_its_drain_is_counted_when_the_proxy_sees_its_end() {
    let mut request = get(Road::Plain, 0);
    request.upgrade = Some(Opaque { up: 100, down: 100, turns: Turns::Free });
    request.answer = Answer { status: 101, body: None, delay: Duration::from_secs(11), ..request.answer };
    let mut plan = plan(Faults::none(), vec![request], vec![client(0..1, 1, FAST, false)]);
    plan.drain = Some(Duration::from_millis(20));
    holds(&plan);
}
