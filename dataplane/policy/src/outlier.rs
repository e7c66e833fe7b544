//! Outlier detection: which endpoints failed too often in a row, and for how long they are left alone. Istio's `outlierDetection` by Envoy's rules.
//!
//! A worker classifies what became of a request ([`Rules::signal`]) and tells what may matter; the one [`Detector`] of the proxy counts and gives
//! verdicts, which go to every worker. Success is the rule and is worth no message: it is told only of an endpoint that is *suspect*, one with a
//! failure since its last success. So a healthy proxy sends nothing.
//!
//! The detector has no clock and no threads: time is an argument, verdicts are values.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_config::model::OutlierDetection;

/// Longest ejection, unless the base time is longer (Envoy's default, which Istio does not change).
const EJECTION_MS_MAX: u64 = 300_000;
const NS_IN_MS: u64 = 1_000_000;

/// What became of a request or a connection, on one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// A connection took a request; what the answer will be is open.
    Sent,
    /// An opaque connection was made: that is all there is to know.
    Opened,
    /// No connection, no answer in time, or one that broke off.
    Broken,
}

/// A success or failure as the detector counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The endpoint answered well.
    Fine,
    /// It answered with an error (502, 503 and 504 are errors of a gateway), or did not where that counts as one.
    Failed {
        /// Also counts for `consecutiveGatewayErrors`.
        gateway: bool,
    },
    /// It could be reached; told apart only with `splitExternalLocalOriginErrors`.
    Reached,
    /// It could not.
    Unreached,
}

/// What a worker must know to classify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    split: bool,
    /// Statuses that are errors; empty: 5xx.
    codes: Box<[u16]>,
}

/// Failures since the last success, of one kind or the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    answers: bool,
    reach: bool,
}

/// What all workers are told of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// What.
    pub change: Change,
}

/// A verdict's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Some worker saw it fail: tell the next success.
    Suspect(Suspicion),
    /// Give it nothing.
    Eject,
    /// Its time is over.
    Restore,
}

/// Counts of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejections {
    /// Endpoints ejected now.
    pub active: usize,
    /// Ejections so far.
    pub total: u64,
    /// Endpoints that had failed enough and stayed because too many others were ejected.
    pub overflow: u64,
}

/// All clusters with outlier detection.
#[derive(Debug, Default)]
pub struct Detector {
    clusters: HashMap<Arc<str>, Watched>,
}

#[derive(Debug)]
struct Watched {
    rules: OutlierDetection,
    /// Sorted by address.
    hosts: Vec<(SocketAddr, Host)>,
    ejections: Ejections,
    /// When endpoints are looked at for the end of their ejection.
    sweep: u64,
}

#[derive(Debug, Default)]
struct Host {
    errors: u32,
    gateway_errors: u32,
    local_failures: u32,
    ejected_at: Option<u64>,
    /// Times the base ejection time: grows with each ejection, shrinks with each quiet interval.
    backoff: u64,
    suspicion: Suspicion,
}

impl Rules {
    /// From a cluster's.
    pub fn of(outlier: &OutlierDetection) -> Rules {
        Rules { split: outlier.split_local_origin, codes: outlier.error_codes.as_slice().into() }
    }

    /// What the detector counts of it, if anything.
    pub fn signal(&self, outcome: Outcome) -> Option<Signal> {
        Some(match (outcome, self.split) {
            (Outcome::Status(status), split) => self.answer(status, split),
            (Outcome::Sent, false) => return None,
            (Outcome::Opened, false) => Signal::Fine,
            // As if it had answered 503 or 504.
            (Outcome::Broken, false) => Signal::Failed { gateway: true },
            (Outcome::Sent | Outcome::Opened, true) => Signal::Reached,
            (Outcome::Broken, true) => Signal::Unreached,
        })
    }

    fn answer(&self, status: u16, split: bool) -> Signal {
        if self.codes.is_empty() {
            return match status {
                502..=504 => Signal::Failed { gateway: true },
                500..=599 => Signal::Failed { gateway: false },
                _ => Signal::Fine,
            };
        }
        // A status of the list counts as Envoy's "request failed": 500, or 503 where local failures are told apart.
        if self.codes.contains(&status) { Signal::Failed { gateway: split } } else { Signal::Fine }
    }
}

impl Suspicion {
    /// Takes a signal in; true if the detector has to hear of it.
    pub fn learn(&mut self, signal: Signal) -> bool {
        match signal {
            Signal::Fine => std::mem::take(&mut self.answers),
            Signal::Reached => std::mem::take(&mut self.reach),
            Signal::Failed { .. } => {
                self.answers = true;
                true
            }
            Signal::Unreached => {
                self.reach = true;
                true
            }
        }
    }

    /// Both together.
    pub fn and(self, other: Suspicion) -> Suspicion {
        Suspicion { answers: self.answers || other.answers, reach: self.reach || other.reach }
    }
}

impl Detector {
    /// Nothing to watch yet.
    pub fn new() -> Detector {
        Detector::default()
    }

    /// Watches these clusters and endpoints from now on. What stays keeps its counts; endpoints that go are restored, should they be ejected.
    pub fn watch<'a>(
        &mut self,
        clusters: impl Iterator<Item = (&'a Arc<str>, &'a OutlierDetection, Vec<SocketAddr>)>,
        now: u64,
        out: &mut Vec<Verdict>,
    ) {
        let mut before = std::mem::take(&mut self.clusters);
        for (name, rules, addresses) in clusters {
            let mut watched = before.remove(name).unwrap_or_else(|| Watched::new(rules.clone(), now));
            watched.update(name, rules, &addresses, now, out);
            self.clusters.insert(name.clone(), watched);
        }
        for (name, mut watched) in before {
            watched.forget_all_but(&name, &[], out);
        }
    }

    /// A worker tells something of an endpoint.
    pub fn report(&mut self, cluster: &str, address: SocketAddr, signal: Signal, now: u64, out: &mut Vec<Verdict>) {
        let Some((name, _)) = self.clusters.get_key_value(cluster) else { return };
        let name = name.clone();
        if let Some(watched) = self.clusters.get_mut(cluster) {
            let mut tell = |change| out.push(Verdict { cluster: name.clone(), address, change });
            watched.report(address, signal, now, &mut tell);
        }
    }

    /// Restores those whose time is over. To be called at [`Detector::due`]; more often does no harm.
    pub fn sweep(&mut self, now: u64, out: &mut Vec<Verdict>) {
        for (name, watched) in &mut self.clusters {
            if watched.sweep <= now {
                watched.sweep(name, now, out);
            }
        }
    }

    /// When [`Detector::sweep`] has something to do; never, while nothing is ejected nor was lately.
    pub fn due(&self) -> Option<u64> {
        self.clusters.values().filter(|watched| watched.is_restless()).map(|watched| watched.sweep).min()
    }

    /// Whether an endpoint is ejected now.
    pub fn is_ejected(&self, cluster: &str, address: SocketAddr) -> bool {
        let watched = self.clusters.get(cluster);
        watched.is_some_and(|w| w.place(address).is_ok_and(|at| w.hosts[at].1.ejected_at.is_some()))
    }

    /// The counts of each cluster.
    pub fn ejections(&self) -> impl Iterator<Item = (&Arc<str>, Ejections)> {
        self.clusters.iter().map(|(name, watched)| (name, watched.ejections))
    }
}

impl Watched {
    fn new(rules: OutlierDetection, now: u64) -> Watched {
        let sweep = now.saturating_add(rules.interval_ms.saturating_mul(NS_IN_MS));
        Watched { rules, hosts: Vec::new(), ejections: Ejections::default(), sweep }
    }

    fn interval(&self) -> u64 {
        self.rules.interval_ms.max(1).saturating_mul(NS_IN_MS)
    }

    fn is_restless(&self) -> bool {
        self.ejections.active > 0 || self.hosts.iter().any(|(_, host)| host.backoff > 0)
    }

    fn update(
        &mut self,
        name: &Arc<str>,
        rules: &OutlierDetection,
        addresses: &[SocketAddr],
        now: u64,
        out: &mut Vec<Verdict>,
    ) {
        if self.rules != *rules {
            self.rules = rules.clone();
            self.sweep = self.sweep.min(now.saturating_add(self.interval()));
        }
        self.forget_all_but(name, addresses, out);
        let known = self.hosts.len();
        self.hosts.reserve_exact(addresses.len().saturating_sub(known));
        for address in addresses {
            if self.hosts[..known].binary_search_by_key(address, |(known, _)| *known).is_err() {
                self.hosts.push((*address, Host::default()));
            }
        }
        self.hosts.sort_by_key(|(address, _)| *address);
        self.hosts.dedup_by_key(|(address, _)| *address);
    }

    fn place(&self, address: SocketAddr) -> Result<usize, usize> {
        self.hosts.binary_search_by_key(&address, |(known, _)| *known)
    }

    fn forget_all_but(&mut self, name: &Arc<str>, addresses: &[SocketAddr], out: &mut Vec<Verdict>) {
        let kept: std::collections::HashSet<&SocketAddr> = addresses.iter().collect();
        let ejections = &mut self.ejections;
        self.hosts.retain(|(address, host)| {
            let stays = kept.contains(address);
            if !stays && host.ejected_at.is_some() {
                ejections.active -= 1;
                out.push(Verdict { cluster: name.clone(), address: *address, change: Change::Restore });
            }
            stays
        });
    }

    fn report(&mut self, address: SocketAddr, signal: Signal, now: u64, tell: &mut impl FnMut(Change)) {
        let hosts = self.hosts.len() as u64;
        let (interval, restless) = (self.interval(), self.is_restless());
        let Ok(at) = self.place(address) else { return };
        let host = &mut self.hosts[at].1;
        let before = host.suspicion;
        host.suspicion.learn(signal);
        if host.suspicion.and(before) != before {
            tell(Change::Suspect(host.suspicion));
        }
        if !host.count(signal, &self.rules) {
            return;
        }
        let percent = 100 * (self.ejections.active as u64 + 1);
        if percent > u64::from(self.rules.max_ejection_percent) * hosts {
            self.ejections.overflow += 1;
            return;
        }
        host.eject(now, &self.rules);
        self.ejections.active += 1;
        self.ejections.total += 1;
        if !restless && self.sweep <= now {
            // Sweeps that had nothing to do were left out; they keep their rhythm.
            self.sweep += (now - self.sweep) / interval * interval + interval;
        }
        tell(Change::Eject);
    }

    fn sweep(&mut self, name: &Arc<str>, now: u64, out: &mut Vec<Verdict>) {
        self.sweep = now.saturating_add(self.interval());
        for (address, host) in &mut self.hosts {
            let Some(since) = host.ejected_at else {
                host.backoff = host.backoff.saturating_sub(1);
                continue;
            };
            if now.saturating_sub(since) >= host.ejection_ns(&self.rules) {
                *host = Host { backoff: host.backoff, ..Host::default() };
                self.ejections.active -= 1;
                out.push(Verdict { cluster: name.clone(), address: *address, change: Change::Restore });
            }
        }
    }
}

impl Host {
    /// Counts; true when that is enough for an ejection. A counter that is full starts again.
    fn count(&mut self, signal: Signal, rules: &OutlierDetection) -> bool {
        let mut full = false;
        let mut add = |counter: &mut u32, max: u32, ejected: bool| {
            *counter = counter.saturating_add(1);
            if *counter == max && !ejected {
                *counter = 0;
                full = true;
            }
        };
        let ejected = self.ejected_at.is_some();
        match signal {
            Signal::Fine => (self.errors, self.gateway_errors) = (0, 0),
            Signal::Reached => self.local_failures = 0,
            Signal::Failed { gateway } => {
                if gateway {
                    add(&mut self.gateway_errors, rules.consecutive_gateway_errors, ejected);
                } else {
                    self.gateway_errors = 0;
                }
                add(&mut self.errors, rules.consecutive_5xx_errors, ejected);
            }
            Signal::Unreached => add(&mut self.local_failures, rules.consecutive_local_failures, ejected),
        }
        full
    }

    fn eject(&mut self, now: u64, rules: &OutlierDetection) {
        self.ejected_at = Some(now);
        if self.backoff.saturating_mul(rules.base_ejection_ms) < ejection_ms_max(rules) + rules.base_ejection_ms {
            self.backoff += 1;
        }
    }

    /// How long its ejection lasts.
    fn ejection_ns(&self, rules: &OutlierDetection) -> u64 {
        self.backoff.saturating_mul(rules.base_ejection_ms).min(ejection_ms_max(rules)).saturating_mul(NS_IN_MS)
    }
}

fn ejection_ms_max(rules: &OutlierDetection) -> u64 {
    rules.base_ejection_ms.max(EJECTION_MS_MAX)
}
