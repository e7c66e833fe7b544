//! What endpoints of a cluster weigh while some of them are new (DestinationRule `warmup`, Envoy's slow start).

use ringway_config::model::{Endpoint, Warmup};

use super::Weights;

/// Points of a whole weight of 1 while endpoints warm up. A share is as fine as one part in so many.
const POINTS: f64 = 4096.0;
/// Times that weights are laid out anew while one endpoint warms up: between them they stand still.
const STEPS: u64 = 256;
/// Nanoseconds between two layouts at least: a short warm-up must not cost a layout a request.
const STEP_NS_MIN: u64 = 1_000_000;

/// One worker's weights of a cluster while endpoints of it warm up.
pub(crate) struct Live {
    warmup: Warmup,
    weights: Weights,
    /// When they are to be laid out anew, in nanoseconds.
    due: u64,
}

impl Live {
    /// None when every endpoint has its whole weight. `since` tells when an endpoint was first seen.
    pub(crate) fn new(
        warmup: Warmup,
        endpoints: &[Endpoint],
        since: impl Fn(u32) -> u64 + Copy,
        now: u64,
    ) -> Option<Live> {
        let mut live = Live { warmup, weights: Weights::default(), due: 0 };
        live.lay_out(endpoints, since, now).then_some(live)
    }

    /// The weights of this moment; none when all endpoints have their whole weight by now.
    pub(crate) fn weights(
        &mut self,
        endpoints: &[Endpoint],
        since: impl Fn(u32) -> u64 + Copy,
        now: u64,
    ) -> Option<&Weights> {
        (now < self.due || self.lay_out(endpoints, since, now)).then_some(&self.weights)
    }

    /// False when nothing warms up any more.
    fn lay_out(&mut self, endpoints: &[Endpoint], since: impl Fn(u32) -> u64 + Copy, now: u64) -> bool {
        let duration = self.warmup.duration_ms.saturating_mul(1_000_000);
        let age = move |position| now.saturating_sub(since(position));
        let warms = |(e, position): (&Endpoint, u32)| !e.draining && age(position) < duration;
        if !endpoints.iter().zip(0..).any(warms) {
            return false;
        }
        let warmup = self.warmup;
        // Measured against the oldest: when all are young, their shares are as fine as otherwise.
        let oldest = endpoints.iter().zip(0..).filter(|(e, _)| !e.draining).map(|(_, position)| age(position)).max();
        let whole = factor(&warmup, oldest.unwrap_or(0));
        self.weights.fill(endpoints.iter().zip(0..).map(move |(e, position)| {
            let part = if whole > 0.0 { factor(&warmup, age(position)) / whole } else { 1.0 };
            let points = f64::from(e.weight) * part * POINTS;
            (position, if e.draining { 0 } else { (points.round() as u64).max(1) })
        }));
        self.due = now.saturating_add((duration / STEPS).max(STEP_NS_MIN));
        true
    }
}

/// The part of its weight that an endpoint of this age (in nanoseconds) has.
fn factor(warmup: &Warmup, age: u64) -> f64 {
    let time = age as f64 / (warmup.duration_ms as f64 * 1e6);
    let grown = time.min(1.0).powf(1000.0 / f64::from(warmup.aggression));
    grown.max(f64::from(warmup.minimum) / 10_000.0)
}
