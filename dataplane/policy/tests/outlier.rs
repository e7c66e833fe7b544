//! The outlier detector against a plain simulation: one that looks at every millisecond, keeps whole histories and skips nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_config::model::OutlierDetection;
use ringway_policy::outlier::{Change, Detector, Ejections, Outcome, Rules, Signal, Suspicion, Verdict};

const MS: u64 = 1_000_000;

fn rules() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx_errors: 3,
        interval_ms: 100,
        base_ejection_ms: 300,
        max_ejection_percent: 100,
        ..OutlierDetection::default()
    }
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8], 80))
}

/// A detector of one cluster `c`, as housekeeping drives it.
struct House {
    detector: Detector,
    verdicts: Vec<Verdict>,
}

impl House {
    fn new(rules: &OutlierDetection, hosts: usize) -> House {
        let mut house = House { detector: Detector::new(), verdicts: Vec::new() };
        house.watch(rules, 0..hosts, 0);
        house
    }

    fn watch(&mut self, rules: &OutlierDetection, hosts: std::ops::Range<usize>, ms: u64) {
        let name: Arc<str> = "c".into();
        let all = [(&name, rules, hosts.map(address).collect())];
        self.detector.watch(all.into_iter(), ms * MS, &mut self.verdicts);
    }

    fn report(&mut self, host: usize, signal: Signal, ms: u64) {
        self.detector.report("c", address(host), signal, ms * MS, &mut self.verdicts);
    }

    /// Sleeps until `ms`, waking up when the detector wants to.
    fn sleep_until(&mut self, ms: u64) {
        while let Some(due) = self.detector.due().filter(|due| *due <= ms * MS) {
            self.detector.sweep(due, &mut self.verdicts);
        }
    }

    fn ejected(&self, hosts: usize) -> BTreeSet<usize> {
        (0..hosts).filter(|host| self.detector.is_ejected("c", address(*host))).collect()
    }

    fn ejections(&self) -> Ejections {
        self.detector.ejections().next().expect("one cluster").1
    }
}

const ERROR: Signal = Signal::Failed { gateway: false };
const GATEWAY: Signal = Signal::Failed { gateway: true };

/// Known truth: what Envoy's documentation says, told the long way.
struct Truth {
    rules: OutlierDetection,
    hosts: Vec<TrueHost>,
}

#[derive(Clone, Default)]
struct TrueHost {
    /// Since the last restore, or the last time they were enough.
    answers: Vec<Signal>,
    gateway_answers: Vec<Signal>,
    reaches: Vec<Signal>,
    ejected_until: Option<u64>,
    times: u64,
}

impl Truth {
    fn signal(&mut self, host: usize, signal: Signal, ms: u64) {
        let host_count = self.hosts.len();
        let active = self.hosts.iter().filter(|h| h.ejected_until.is_some()).count();
        let rules = self.rules.clone();
        let h = &mut self.hosts[host];
        let ends_with = |list: &[Signal], max: u32, counts: fn(&Signal) -> bool| {
            max > 0 && list.len() >= max as usize && list[list.len() - max as usize..].iter().all(counts)
        };
        match signal {
            Signal::Fine | Signal::Failed { .. } => {
                h.answers.push(signal);
                h.gateway_answers.push(signal);
            }
            Signal::Reached | Signal::Unreached => h.reaches.push(signal),
        }
        if h.ejected_until.is_some() {
            return;
        }
        let errors = ends_with(&h.answers, rules.consecutive_5xx_errors, |s| *s != Signal::Fine);
        let gateway = ends_with(&h.gateway_answers, rules.consecutive_gateway_errors, |s| *s == GATEWAY);
        let local = ends_with(&h.reaches, rules.consecutive_local_failures, |s| *s == Signal::Unreached);
        for (full, list) in [(errors, &mut h.answers), (gateway, &mut h.gateway_answers), (local, &mut h.reaches)] {
            if full {
                list.clear();
            }
        }
        let allowed = (active + 1) as f64 / host_count as f64 * 100.0 <= f64::from(rules.max_ejection_percent);
        if (errors || gateway || local) && allowed {
            let longest = rules.base_ejection_ms.max(300_000);
            if h.times * rules.base_ejection_ms < longest + rules.base_ejection_ms {
                h.times += 1;
            }
            h.ejected_until = Some(ms + (h.times * rules.base_ejection_ms).min(longest));
        }
    }

    /// Every interval, for every host.
    fn interval(&mut self, ms: u64) {
        for h in &mut self.hosts {
            match h.ejected_until {
                Some(until) if until <= ms => *h = TrueHost { times: h.times, ..TrueHost::default() },
                Some(_) => {}
                None => h.times = h.times.saturating_sub(1),
            }
        }
    }

    fn ejected(&self) -> BTreeSet<usize> {
        (0..self.hosts.len()).filter(|host| self.hosts[*host].ejected_until.is_some()).collect()
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn the_detector_ejects_and_restores_exactly_as_the_simulation_does() {
    const HOSTS: usize = 6;
    let (mut ejections, mut restores) = (0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed * 7919 + 1);
        let rules = OutlierDetection {
            consecutive_5xx_errors: [0, 2, 3, 5][dice.below(4) as usize],
            consecutive_gateway_errors: [0, 2, 4][dice.below(3) as usize],
            consecutive_local_failures: [0, 2, 3][dice.below(3) as usize],
            interval_ms: 1 + dice.below(120),
            base_ejection_ms: 1 + dice.below(400),
            max_ejection_percent: [10, 17, 34, 50, 100][dice.below(5) as usize],
            ..OutlierDetection::default()
        };
        let mut truth = Truth { rules: rules.clone(), hosts: vec![TrueHost::default(); HOSTS] };
        let mut house = House::new(&rules, HOSTS);
        // Some hosts fail in bouts.
        let mut sick = [false; HOSTS];
        for ms in 1..4_000 {
            house.sleep_until(ms);
            if ms % rules.interval_ms == 0 {
                truth.interval(ms);
            }
            for (host, sick) in sick.iter_mut().enumerate() {
                *sick ^= dice.below(150) == 0;
                if dice.below(8) != 0 {
                    continue;
                }
                let fails = *sick && dice.below(10) > 0 || dice.below(30) == 0;
                let signal = match (fails, dice.below(3)) {
                    (true, 0) => ERROR,
                    (true, 1) => GATEWAY,
                    (true, _) => Signal::Unreached,
                    (false, 0 | 1) => Signal::Fine,
                    (false, _) => Signal::Reached,
                };
                truth.signal(host, signal, ms);
                house.report(host, signal, ms);
            }
            assert_eq!(house.ejected(HOSTS), truth.ejected(), "seed {seed} at {ms} ms under {rules:?}");
        }
        let count = |change| house.verdicts.iter().filter(|v| v.change == change).count();
        assert_eq!(count(Change::Eject) as u64, house.ejections().total);
        assert_eq!(count(Change::Eject) - count(Change::Restore), house.ejections().active);
        ejections += count(Change::Eject);
        restores += count(Change::Restore);
    }
    assert!(ejections > 300 && restores > 250, "{ejections} ejections and {restores} restores prove little");
}

#[test]
fn outcomes_count_as_istio_says() {
    let plain = Rules::of(&rules());
    let split = Rules::of(&OutlierDetection { split_local_origin: true, ..rules() });
    let codes = OutlierDetection { error_codes: vec![429, 503], ..rules() };
    let split_codes = Rules::of(&OutlierDetection { split_local_origin: true, ..codes.clone() });
    let codes = Rules::of(&codes);
    let fine = Some(Signal::Fine);
    for (outcome, expected) in [
        (Outcome::Status(200), [fine, fine, fine, fine]),
        (Outcome::Status(404), [fine, fine, fine, fine]),
        (Outcome::Status(429), [fine, fine, Some(ERROR), Some(GATEWAY)]),
        (Outcome::Status(500), [Some(ERROR), Some(ERROR), fine, fine]),
        (Outcome::Status(502), [Some(GATEWAY), Some(GATEWAY), fine, fine]),
        (Outcome::Status(503), [Some(GATEWAY), Some(GATEWAY), Some(ERROR), Some(GATEWAY)]),
        (Outcome::Broken, [Some(GATEWAY), Some(Signal::Unreached), Some(GATEWAY), Some(Signal::Unreached)]),
        (Outcome::Sent, [None, Some(Signal::Reached), None, Some(Signal::Reached)]),
        (Outcome::Opened, [fine, Some(Signal::Reached), fine, Some(Signal::Reached)]),
    ] {
        let found = [&plain, &split, &codes, &split_codes].map(|rules| rules.signal(outcome));
        assert_eq!(found, expected, "{outcome:?}");
    }
}

#[test]
fn each_ejection_is_longer_than_the_last_until_quiet_intervals_forgive() {
    let mut house = House::new(&rules(), 1);
    let mut lengths = Vec::new();
    let mut ms = 0;
    for _ in 0..3 {
        (0..3).for_each(|_| house.report(0, ERROR, ms));
        let begun = ms;
        while house.detector.is_ejected("c", address(0)) {
            ms += 1;
            house.sleep_until(ms);
        }
        lengths.push(ms - begun);
    }
    // Times end with the interval in which they are over.
    assert_eq!(lengths, [300, 600, 900]);
    ms += 1_000;
    house.sleep_until(ms);
    assert_eq!(house.detector.due(), None, "nothing to wake up for");
    (0..3).for_each(|_| house.report(0, ERROR, ms));
    house.sleep_until(ms + 300);
    assert_eq!(house.ejected(1), BTreeSet::new());
}

#[test]
fn ten_percent_of_fewer_than_ten_endpoints_is_none() {
    for (hosts, percent, ejected) in
        [(9, 10, 0), (10, 10, 1), (3, 34, 1), (3, 33, 0), (2, 100, 2), (20, 10, 2), (3, 0, 0)]
    {
        let mut house = House::new(&OutlierDetection { max_ejection_percent: percent, ..rules() }, hosts);
        for host in 0..hosts {
            (0..3).for_each(|_| house.report(host, ERROR, 5));
        }
        assert_eq!(house.ejected(hosts).len(), ejected, "{percent} % of {hosts}");
        assert_eq!(house.ejections().overflow, (hosts - ejected) as u64);
    }
}

#[test]
fn new_configuration_keeps_what_stays_and_restores_what_goes() {
    let mut house = House::new(&rules(), 3);
    for host in 0..3 {
        (0..2).for_each(|_| house.report(host, ERROR, 1));
    }
    house.report(0, ERROR, 2);
    house.report(1, ERROR, 2);
    house.verdicts.clear();
    house.watch(&rules(), 1..4, 10);
    let restored = |host| Verdict { cluster: "c".into(), address: address(host), change: Change::Restore };
    assert_eq!(house.verdicts, [restored(0)]);
    assert_eq!((house.ejected(4), house.ejections().active), ([1].into(), 1));
    // The third error of one that stayed.
    house.report(2, ERROR, 11);
    assert_eq!(house.ejected(4), [1, 2].into());
    house.verdicts.clear();
    house.detector.watch(std::iter::empty(), 12 * MS, &mut house.verdicts);
    house.verdicts.sort_by_key(|v| v.address);
    assert_eq!(house.verdicts, [restored(1), restored(2)]);
    house.report(2, ERROR, 13);
    assert_eq!(house.detector.due(), None);
}

#[test]
fn only_what_may_matter_is_told() {
    let mut worker = Suspicion::default();
    let told = [Signal::Fine, Signal::Reached, ERROR, Signal::Reached, Signal::Fine, Signal::Fine, Signal::Unreached];
    assert_eq!(told.map(|signal| worker.learn(signal)), [false, false, true, false, true, false, true]);
    // Every worker hears of the first failure, once.
    let mut house = House::new(&rules(), 1);
    for signal in [ERROR, ERROR, Signal::Fine, ERROR] {
        house.report(0, signal, 1);
    }
    let changes: Vec<bool> = house.verdicts.iter().map(|v| matches!(v.change, Change::Suspect(_))).collect();
    assert_eq!(changes, [true, true]);
    assert_eq!(house.ejected(1), BTreeSet::new());
}
