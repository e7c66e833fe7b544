//! What endpoints of a cluster get at this moment, where that is not simply their weight: some are new (DestinationRule `warmup`, Envoy's slow
//! start), some are ejected, or they are in several localities.

use std::ops::Range;
use std::sync::Arc;

use ringway_config::model::{Endpoint, Warmup};

use super::tiers::{NOWHERE, Tier, Tiers};
use super::{Weights, below, mix};
use crate::facts::Rng;

/// Points of a whole weight of 1 while endpoints warm up. A share is as fine as one part in so many.
const POINTS: f64 = 4096.0;
/// Times that weights are laid out anew while one endpoint warms up: between them they stand still.
const STEPS: u64 = 256;
/// Nanoseconds between two layouts at least: a short warm-up must not cost a layout a request.
const STEP_NS_MIN: u64 = 1_000_000;
/// Per cent of its requests that a part can take, for each per cent of it that is in order (Envoy's overprovisioning factor of 1.4).
const OVERPROVISIONING: u64 = 140;
/// What all endpoints are where nothing tells them apart.
const ONE_TIER: &[Tier] = &[Tier { level: 0, weight: 1 }];

/// What is known of an endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// When it was first seen, in nanoseconds.
    pub since: u64,
    /// It is not to be taken.
    pub ejected: bool,
}

/// One worker's shares of a cluster.
pub(crate) struct Live {
    warmup: Option<Warmup>,
    tiers: Option<Arc<Tiers>>,
    /// One for each tier.
    parts: Vec<Part>,
    /// Per cent of the requests, and the parts that share them.
    levels: Vec<(u64, Range<usize>)>,
    /// When they are to be laid out anew, in nanoseconds.
    due: u64,
}

/// Endpoints that are equal but for their weights.
#[derive(Default)]
pub(crate) struct Part {
    pub weights: Weights,
    /// Weight among the parts of its level.
    share: u64,
    /// Where round robin stands.
    pub point: u64,
    /// Endpoints in it, without those that drain.
    total: u64,
}

impl Live {
    /// None when every endpoint simply has its weight.
    pub(crate) fn new(
        warmup: Option<Warmup>,
        tiers: Option<Arc<Tiers>>,
        endpoints: &[Endpoint],
        seen: impl Fn(u32) -> Seen + Copy,
        now: u64,
    ) -> Option<Live> {
        let mut live = Live { warmup, tiers, parts: Vec::new(), levels: Vec::new(), due: 0 };
        let ejected = (0..endpoints.len() as u32).any(|position| seen(position).ejected);
        let warms = live.warms(endpoints, seen, now);
        if !ejected && !warms && live.tiers.is_none() {
            return None;
        }
        live.lay_out(endpoints, seen, now);
        Some(live)
    }

    /// Brings the shares up to this moment.
    pub(crate) fn refresh(&mut self, endpoints: &[Endpoint], seen: impl Fn(u32) -> Seen + Copy, now: u64) {
        if now >= self.due {
            self.lay_out(endpoints, seen, now);
        }
    }

    /// Draws the part that a request goes to; none when no endpoint is in order.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        self.part(|n| below(rng, n))
    }

    /// The part that a key goes to: always the same, while the parts stay in order.
    pub(crate) fn of_key(&self, key: u64) -> Option<usize> {
        let mut roll = key;
        self.part(|n| {
            roll = mix(roll ^ n);
            (n > 0).then(|| ((u128::from(roll) * u128::from(n)) >> 64) as u64)
        })
    }

    /// The parts in order of preference.
    pub(crate) fn parts(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    /// The part of an endpoint.
    pub(crate) fn of(&self, position: u32) -> Option<usize> {
        match &self.tiers {
            None => Some(0),
            Some(tiers) => tiers.of.get(position as usize).filter(|part| **part != NOWHERE).map(|part| *part as usize),
        }
    }

    /// Tells the share of each endpoint that takes requests, by its position in the endpoint set.
    pub(crate) fn shares(&self, mut tell: impl FnMut(u32, f64)) {
        let all: u64 = self.levels.iter().map(|(load, _)| *load).sum();
        for (load, parts) in self.levels.iter().filter(|(load, _)| *load > 0) {
            let parts = &self.parts[parts.clone()];
            let of_level: u64 = parts.iter().map(|part| part.share).sum();
            for part in parts.iter().filter(|part| part.share > 0) {
                let share = (*load as f64 / all as f64) * (part.share as f64 / of_level as f64);
                part.weights.shares(|position, of_part| tell(position, share * of_part));
            }
        }
    }

    fn part(&self, mut roll: impl FnMut(u64) -> Option<u64>) -> Option<usize> {
        let mut point = roll(self.levels.iter().map(|(load, _)| *load).sum())?;
        let level = self.levels.iter().find(|(load, _)| match point.checked_sub(*load) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        })?;
        let parts = level.1.clone();
        let mut point = roll(self.parts[parts.clone()].iter().map(|part| part.share).sum())?;
        parts.into_iter().find(|n| match point.checked_sub(self.parts[*n].share) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        })
    }

    fn warms(&self, endpoints: &[Endpoint], seen: impl Fn(u32) -> Seen, now: u64) -> bool {
        let Some(warmup) = &self.warmup else { return false };
        let duration = warmup.duration_ms.saturating_mul(1_000_000);
        let young = |position| now.saturating_sub(seen(position).since) < duration;
        endpoints.iter().zip(0..).any(|(e, position)| !e.draining && young(position))
    }

    fn lay_out(&mut self, endpoints: &[Endpoint], seen: impl Fn(u32) -> Seen + Copy, now: u64) {
        let warms = self.warms(endpoints, seen, now);
        let age = move |position| now.saturating_sub(seen(position).since);
        self.due = u64::MAX;
        let mut warmup = None;
        if let Some(rule) = self.warmup.filter(|_| warms) {
            // Measured against the oldest: when all are young, their shares are as fine as otherwise.
            let oldest =
                endpoints.iter().zip(0..).filter(|(e, _)| !e.draining).map(|(_, position)| age(position)).max();
            warmup = Some((rule, factor(&rule, oldest.unwrap_or(0))));
            let step = rule.duration_ms.saturating_mul(1_000_000) / STEPS;
            self.due = now.saturating_add(step.max(STEP_NS_MIN));
        }
        let weight = move |(e, position): (&Endpoint, u32)| {
            let points = match warmup {
                _ if e.draining || seen(position).ejected => 0,
                None => u64::from(e.weight),
                Some((rule, whole)) => {
                    let part = if whole > 0.0 { factor(&rule, age(position)) / whole } else { 1.0 };
                    ((f64::from(e.weight) * part * POINTS).round() as u64).max(1)
                }
            };
            (position, points)
        };
        let tiers = self.tiers.clone();
        let (kinds, of): (&[Tier], _) = tiers.as_ref().map_or((ONE_TIER, None), |t| (&t.parts, Some(&t.of)));
        self.parts.resize_with(kinds.len(), Part::default);
        for (part, number) in self.parts.iter_mut().zip(0..) {
            let inside = move |(_, position): &(&Endpoint, u32)| of.is_none_or(|of| of[*position as usize] == number);
            let members = endpoints.iter().zip(0..).filter(inside);
            part.total = members.clone().filter(|(e, _)| !e.draining).count() as u64;
            part.weights.fill(members.map(weight));
        }
        self.share_out(kinds);
    }

    /// Levels as Envoy has them: each takes 1.4 times what is in order of it, the first ones first.
    fn share_out(&mut self, kinds: &[Tier]) {
        let health =
            |healthy: usize, total: u64| (OVERPROVISIONING * healthy as u64).checked_div(total).unwrap_or(0).min(100);
        for (part, kind) in self.parts.iter_mut().zip(kinds) {
            part.share = u64::from(kind.weight) * health(part.weights.len, part.total);
        }
        self.levels.clear();
        let mut first = 0;
        while let Some(kind) = kinds.get(first) {
            let end = first + kinds[first..].iter().take_while(|k| k.level == kind.level).count();
            let of = &self.parts[first..end];
            let (healthy, total) = (of.iter().map(|p| p.weights.len).sum(), of.iter().map(|p| p.total).sum());
            let takes = of.iter().any(|part| part.share > 0);
            self.levels.push((if takes { health(healthy, total) } else { 0 }, first..end));
            first = end;
        }
        let total = self.levels.iter().map(|(load, _)| *load).sum::<u64>().min(100);
        let (mut left, mut best) = (100, None);
        for (n, (load, _)) in self.levels.iter_mut().enumerate() {
            *load = (*load * 100).checked_div(total).unwrap_or(0).min(left);
            left -= *load;
            best = best.or((*load > 0).then_some(n));
        }
        // What rounding leaves over.
        if let Some(best) = best {
            self.levels[best].0 += left;
        }
    }
}

/// The part of its weight that an endpoint of this age (in nanoseconds) has.
fn factor(warmup: &Warmup, age: u64) -> f64 {
    let time = age as f64 / (warmup.duration_ms as f64 * 1e6);
    let grown = libm::pow(time.min(1.0), 1000.0 / f64::from(warmup.aggression));
    grown.max(f64::from(warmup.minimum) / 10_000.0)
}
