//! What a proxy does over time, our own and Envoy, against what is true of the endpoints. What differs is in `docs/envoy-differences.md`.

use ringway_corpus::chi_square;
use ringway_corpus::message::ORIGIN;
use ringway_corpus::over_time::{CALLED, Endpoint, Side, Stage};
use ringway_tests::harness::{Backend, Case, Client, Response, until};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Several workers: what is counted is counted for the whole proxy.
const CASE: Case = Case { backend: Backend::Epoll, workers: 2 };
/// Good answers in a row after which a verdict is with everybody.
const SETTLED: usize = 30;

/// Asks until this endpoint was asked once more.
fn ask(side: &mut Side, endpoint: &Endpoint) {
    let before = endpoint.asked();
    until("an endpoint to be asked", || {
        side.get();
        (endpoint.asked() > before).then_some(())
    });
}

/// Asks this endpoint until it is left alone.
fn eject(side: &mut Side, endpoint: &Endpoint, status: u16) {
    endpoint.say(status);
    until("an endpoint to be ejected", || {
        side.get();
        side.ejected().contains(&endpoint.address()).then_some(())
    });
    until("everybody to leave it alone", || {
        let before = endpoint.asked();
        (0..SETTLED).for_each(|_| drop(side.get()));
        (endpoint.asked() == before).then_some(())
    });
}

/// How often each endpoint answers `n` requests; by the proxy, under its status.
fn count(side: &mut Side, n: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..n {
        let (status, from) = side.get();
        *counts.entry(from.unwrap_or_else(|| status.to_string())).or_default() += 1;
    }
    counts
}

fn addresses<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> BTreeSet<SocketAddr> {
    endpoints.into_iter().map(Endpoint::address).collect()
}

#[test]
fn errors_in_a_row_eject_and_each_time_for_longer() {
    const ERRORS: usize = 3;
    const BASE: Duration = Duration::from_millis(300);
    const INTERVAL: Duration = Duration::from_millis(400);
    let stage = Stage::new(2).route(json!({})).policy(json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        // Ejections end with an interval, and each interval without one makes the next ejection shorter again.
        "outlierDetection": {"consecutive5xxErrors": ERRORS, "interval": "400ms", "baseEjectionTime": "300ms", "maxEjectionPercent": 50},
    }));
    stage.run(CASE, |stage, side| {
        let bad = &stage.endpoints()[1];
        // One good answer, and the count starts again.
        for status in [500, 503, 200, 500, 503, 200] {
            bad.say(status);
            ask(side, bad);
        }
        assert_eq!(side.ejected(), BTreeSet::new(), "{}", side.name());
        bad.say(503);
        // How many times the base an ejection lasts at least. Where an interval may have passed since the last one, that is not known.
        let (mut times, mut ended) = (1, Instant::now());
        while times < 3 {
            for _ in 0..ERRORS - 1 {
                ask(side, bad);
            }
            assert_eq!(side.ejected(), BTreeSet::new(), "{}: {times}", side.name());
            let begun = Instant::now();
            ask(side, bad);
            until("the ejection", || (side.ejected() == addresses([bad])).then_some(()));
            times = if ended.elapsed() < INTERVAL { times } else { 1 };
            until("its end", || {
                ended = Instant::now();
                side.ejected().is_empty().then_some(())
            });
            let lasted = begun.elapsed();
            assert!(lasted >= BASE * times, "{}: an ejection of {times} times the base lasts {lasted:?}", side.name());
            times += 1;
        }
    });
}

#[test]
fn errors_of_gateways_are_counted_apart() {
    let stage = Stage::new(2).route(json!({})).policy(json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "outlierDetection": {"consecutive5xxErrors": 0, "consecutiveGatewayErrors": 2, "interval": "1h", "baseEjectionTime": "1h", "maxEjectionPercent": 100},
    }));
    stage.run(CASE, |stage, side| {
        let bad = &stage.endpoints()[0];
        for status in [500, 501, 505, 500, 502, 500, 504, 500, 503] {
            bad.say(status);
            ask(side, bad);
        }
        assert_eq!(side.ejected(), BTreeSet::new(), "{}", side.name());
        ask(side, bad);
        until("two in a row to be enough", || (side.ejected() == addresses([bad])).then_some(()));
    });
}

#[test]
fn no_more_are_ejected_than_the_share_that_may_be() {
    for (percent, expected) in [(10, 0), (49, 1), (50, 2), (100, 3)] {
        let stage = Stage::new(4).route(json!({})).policy(json!({
            "loadBalancer": {"simple": "ROUND_ROBIN"},
            "outlierDetection": {"consecutive5xxErrors": 1, "interval": "1h", "baseEjectionTime": "1h", "maxEjectionPercent": percent},
        }));
        stage.run(CASE, |stage, side| {
            let (good, bad) = stage.endpoints().split_first().expect("four endpoints");
            bad.iter().for_each(|one| one.say(500));
            until("as many ejections as there may be", || {
                count(side, 8);
                (side.ejected().len() == expected).then_some(())
            });
            until("everybody to know", || {
                let counts = count(side, 60);
                (counts.len() == 4 - expected).then_some(())
            });
            count(side, 60);
            let ejected = side.ejected();
            assert_eq!(ejected.len(), expected, "{} at {percent} %", side.name());
            assert!(!ejected.contains(&good.address()));
        });
    }
}

#[test]
fn with_too_few_left_all_are_asked() {
    let stage = Stage::new(4).route(json!({})).policy(json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "outlierDetection": {"consecutive5xxErrors": 1, "interval": "1h", "baseEjectionTime": "1h", "maxEjectionPercent": 100, "minHealthPercent": 50},
    }));
    stage.run(CASE, |stage, side| {
        let all = stage.endpoints();
        eject(side, &all[0], 500);
        eject(side, &all[1], 500);
        // Half of them is enough.
        let two: Vec<_> = [2, 3].iter().map(|n: &usize| all[*n].name().to_owned()).collect();
        assert_eq!(count(side, 100).into_keys().collect::<Vec<_>>(), two, "{}", side.name());
        all[2].say(500);
        ask(side, &all[2]);
        until("all to be asked", || (count(side, 8).len() == 4).then_some(()));
        assert_eq!(side.ejected(), addresses(&all[..3]), "{}", side.name());
        let quarter = all.iter().map(|one| (one.name().to_owned(), 0.25)).collect();
        chi_square::check(&quarter, &count(side, 400)).unwrap_or_else(|e| panic!("{}: {e}", side.name()));
    });
}

/// What is left of the near endpoints takes 1.4 times its part in all of them, and the next locality the rest.
#[test]
fn localities_fail_over_by_what_is_left_of_them() {
    const REQUESTS: usize = 1_000;
    const OVERPROVISIONING: f64 = 1.4;
    let stage = Stage::new(4).elsewhere(2, "there.z").route(json!({})).policy(json!({
        "loadBalancer": {"simple": "RANDOM"},
        "outlierDetection": {"consecutive5xxErrors": 1, "interval": "1h", "baseEjectionTime": "1h", "maxEjectionPercent": 100},
    }));
    stage.run(CASE, |stage, side| {
        let (near, far) = stage.endpoints().split_at(4);
        for failed in 0..=near.len() {
            if failed > 0 {
                eject(side, &near[failed - 1], 503);
            }
            let left = &near[failed..];
            let here = (OVERPROVISIONING * left.len() as f64 / near.len() as f64).min(1.0);
            let mut expected = BTreeMap::new();
            for (locality, share) in [(left, here), (far, 1.0 - here)] {
                expected.extend(
                    locality
                        .iter()
                        .map(|one| (one.name().to_owned(), share / locality.len() as f64))
                        .filter(|one| one.1 > 0.0),
                );
            }
            let counted = count(side, REQUESTS);
            chi_square::check(&expected, &counted)
                .unwrap_or_else(|e| panic!("{} without {failed} of its four near endpoints: {e}", side.name()));
        }
    });
}

#[test]
fn one_connection_and_one_that_waits_hold_exactly() {
    const CLIENTS: usize = 12;
    let stage = Stage::new(1).route(json!({})).policy(json!({
        "connectionPool": {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}},
    }));
    stage.run(CASE, |stage, side| {
        let server = &stage.endpoints()[0];
        for round in 1..=3 {
            server.hold();
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| side.connect()).collect();
            let request = format!("GET / HTTP/1.1\r\nHost: {CALLED}\r\n\r\n");
            // The first has the connection before the others come.
            let before = server.asked();
            clients[0].send(&request);
            until("the first to be under way", || (server.asked() > before).then_some(()));
            clients[1..].iter_mut().for_each(|client| client.send(&request));
            let mut refused = 0;
            let mut left = clients.split_off(1);
            until("all but one to be refused", || {
                left.retain_mut(|client| match answered(client) {
                    Some(response) => {
                        assert_eq!((response.status, response.header(ORIGIN)), (503, None), "{}", side.name());
                        refused += 1;
                        false
                    }
                    None => true,
                });
                (refused == CLIENTS - 2).then_some(())
            });
            server.let_go();
            clients.append(&mut left);
            for mut client in clients {
                assert_eq!(client.response().status, 200, "{}, round {round}", side.name());
            }
        }
    });
}

/// The response, if one is there.
fn answered(client: &mut Client) -> Option<Response> {
    client.tcp().set_nonblocking(true).expect("a socket can be told not to block");
    let there = client.tcp().peek(&mut [0]).is_ok();
    client.tcp().set_nonblocking(false).expect("a socket can be told to block");
    there.then(|| client.response())
}

/// An endpoint that says nothing is given up after its time, and another try is made where the rule says so.
#[test]
fn silent_endpoints_are_given_up_try_by_try() {
    const TRY: Duration = Duration::from_millis(60);
    const BOUND: Duration = Duration::from_secs(10);
    for (on, attempts, tries) in
        [("5xx", 2, 3), ("gateway-error", 1, 2), ("reset", 3, 4), ("connect-failure,retriable-4xx", 3, 1)]
    {
        let retries = json!({"attempts": attempts, "perTryTimeout": "60ms", "retryOn": on, "backoff": "1ms"});
        Stage::new(2).route(json!({"retries": retries})).run(CASE, |stage, side| {
            let asked = || stage.endpoints().iter().map(Endpoint::asked).sum::<usize>();
            stage.endpoints().iter().for_each(Endpoint::hold);
            let begun = Instant::now();
            let answer = side.get();
            let lasted = begun.elapsed();
            assert_eq!(answer, (504, None), "{} at {on}", side.name());
            // Envoy's timers count from the moment its loop woke up.
            let (least, most) = (TRY * (tries as u32) * 9 / 10, TRY * (tries as u32) + BOUND);
            assert!(lasted >= least && lasted < most, "{} at {on}: {lasted:?}", side.name());
            until("every try to arrive", || (asked() >= tries).then_some(()));
            stage.endpoints().iter().for_each(Endpoint::let_go);
            assert_eq!(side.get().0, 200, "{} at {on}", side.name());
            assert_eq!(asked(), tries + 1, "{} at {on}", side.name());
        });
    }
}

/// Within 5.5 standard deviations of a binomial distribution.
fn assert_share(what: &str, side: &Side, counted: usize, of: usize, share: f64) {
    let shares = [("yes".to_owned(), share), ("no".to_owned(), 1.0 - share)];
    let counts = [("yes".to_owned(), counted), ("no".to_owned(), of - counted)];
    chi_square::check(&shares.into(), &counts.into()).unwrap_or_else(|e| panic!("{}: {what}: {e}", side.name()));
}

#[test]
fn faults_meet_their_share() {
    const REQUESTS: usize = 4_000;
    for percent in [0.5, 30.0] {
        let fault = json!({"fault": {"abort": {"httpStatus": 418, "percentage": {"value": percent}}}});
        Stage::new(1).route(fault).run(CASE, |_, side| {
            let aborted = count(side, REQUESTS).get("418").copied().unwrap_or(0);
            assert_share("faults", side, aborted, REQUESTS, percent / 100.0);
        });
    }
}

#[test]
fn mirrors_get_their_share() {
    const REQUESTS: usize = 4_000;
    let mirror = json!({"mirror": {"host": "copies"}, "mirrorPercentage": {"value": 12.5}});
    Stage::new(1).with_copies().route(mirror).run(CASE, |stage, side| {
        count(side, REQUESTS);
        let sent = side.copies();
        let [server, copies] = stage.endpoints() else { panic!("two endpoints") };
        until("the copies to arrive", || (copies.asked() == sent).then_some(()));
        assert_eq!(server.asked(), REQUESTS);
        assert_share("copies", side, sent, REQUESTS, 0.125);
    });
}

/// A new endpoint gets max(minimum, age / duration) of what it will get; the requests of each moment are drawn with the share of that moment.
#[test]
fn a_new_endpoint_warms_up() {
    const DURATION: Duration = Duration::from_secs(1);
    const MINIMUM: f64 = 0.1;
    /// The endpoint may be in use this long before or after the moment that is taken for its first.
    const DOUBT: Duration = Duration::from_millis(60);
    let stage = Stage::new(2).route(json!({})).policy(json!({
        "loadBalancer": {"simple": "ROUND_ROBIN", "warmup": {"duration": "1s", "minimumPercent": 10, "aggression": 1.0}},
    }));
    stage.run_from(1, CASE, |stage, side| {
        // The first endpoint is warm when the second one comes.
        let begun = Instant::now();
        while begun.elapsed() < DURATION + DOUBT {
            side.get();
        }
        side.publish(stage, 2);
        let new = stage.endpoints()[1].name();
        let begun = Instant::now();
        let share = |age: Duration| {
            let weight = (age.as_secs_f64() / DURATION.as_secs_f64()).clamp(MINIMUM, 1.0);
            weight / (1.0 + weight)
        };
        let (mut asked, mut least, mut most, mut variance) = (0, 0.0, 0.0, 0.0);
        loop {
            let age = begun.elapsed();
            if age >= DURATION {
                break;
            }
            asked += usize::from(side.get().1.as_deref() == Some(new));
            least += share(age.saturating_sub(DOUBT));
            most += share(begun.elapsed() + DOUBT);
            variance += share(age) * (1.0 - share(age));
        }
        let doubt = 5.5 * f64::sqrt(variance);
        let asked = asked as f64;
        assert!(
            (least - doubt..=most + doubt).contains(&asked),
            "{}: {asked} requests, where {least:.0} to {most:.0} were expected, ± {doubt:.0}",
            side.name()
        );
        let half = stage.endpoints().iter().map(|one| (one.name().to_owned(), 0.5)).collect();
        chi_square::check(&half, &count(side, 400)).unwrap_or_else(|e| panic!("{}, warm: {e}", side.name()));
    });
}
