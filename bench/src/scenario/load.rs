//! When requests are due: a rate, stages, a recording, or a closed loop.

use std::time::Duration;

use super::{Arrivals, Scenario, StageText};
use crate::arrivals::{Spacing, Stage};
use crate::gate;
use crate::plan::Load;

/// Requests per second of one run.
const RATE_MAX: f64 = 1e8;
/// A recording is counted for as long at least.
const RECORDED_MIN: Duration = Duration::from_secs(1);

impl Scenario {
    /// What is due when, and how long is counted.
    pub(super) fn load(&self, warmup: Duration, counted: Duration) -> Result<(Load, Duration), String> {
        if let Some(recording) = &self.recording {
            let due: Vec<u64> = recording.requests.iter().map(|request| request.due).collect();
            let kinds = recording.requests.iter().map(|request| request.method).collect();
            let last = Duration::from_nanos(due.last().map_or(0, |due| due + 1));
            let statuses = match self.expect_recorded_status {
                true => recording.requests.iter().map(|request| request.status).collect(),
                false => Vec::new(),
            };
            return Ok((Load::Recorded { due, kinds, statuses }, last.max(RECORDED_MIN)));
        }
        let closed = self.closed.unwrap_or(self.bulk.is_some());
        if self.bulk.is_some() && (!closed || self.rate.is_some() || !self.stages.is_empty()) {
            return Err("bulk: has no rate and no stages: bytes go as fast as they are taken".into());
        }
        if !closed && self.think.is_some() {
            return Err("think: only in a closed loop (closed = true, --closed)".into());
        }
        if closed {
            if self.rate.is_some() || !self.stages.is_empty() || self.arrivals.is_some() {
                return Err(
                    "a closed loop has no rate, stages or arrivals: its connections ask as fast as they are answered"
                        .into(),
                );
            }
            let think = self.think.as_deref().map_or(Ok(Duration::ZERO), gate::duration)?;
            return Ok((Load::Closed { think }, counted));
        }
        let mut stages = match (self.rate, self.stages.is_empty()) {
            (Some(_), false) => return Err("rate and stages: only one of them".into()),
            (Some(rate), true) => vec![Stage::constant(checked_rate(rate)?, counted.as_nanos() as u64)],
            (None, false) => self.stages.iter().map(StageText::stage).collect::<Result<_, _>>()?,
            (None, true) => {
                return Err("no rate: say how many requests a second are due (--rate 1000), or ask for a closed loop (--closed)".into());
            }
        };
        if !self.stages.is_empty() && self.duration.is_some() {
            return Err("duration and stages: the stages say how long it takes".into());
        }
        let duration = Duration::from_nanos(stages.iter().map(|stage| stage.nanos).sum());
        if stages.iter().map(Stage::area).sum::<f64>() <= 0.0 {
            return Err("no request would ever be due: every rate is 0".into());
        }
        if !warmup.is_zero() {
            stages.insert(0, Stage::constant(stages[0].from, warmup.as_nanos() as u64));
        }
        let spacing = match self.arrivals {
            None | Some(Arrivals::Constant) => Spacing::Constant,
            Some(Arrivals::Poisson) => Spacing::Poisson,
        };
        Ok((Load::Open { stages, spacing }, duration))
    }
}

impl StageText {
    fn stage(&self) -> Result<Stage, String> {
        if self.r#for.is_empty() {
            return Err("stages: `for` says how long one takes, as in { rate = 100, for = \"10s\" }".into());
        }
        let nanos = gate::duration(&self.r#for)?.as_nanos() as u64;
        if nanos == 0 {
            return Err("stages: each takes longer than 0".into());
        }
        let (from, to) = match (self.rate, self.from, self.to) {
            (Some(rate), None, None) => (rate, rate),
            (None, Some(from), Some(to)) => (from, to),
            _ => return Err("stages: each has `rate`, or `from` and `to`".into()),
        };
        Ok(Stage { from: checked_rate(from)?, to: checked_rate(to)?, nanos })
    }
}

fn checked_rate(rate: f64) -> Result<f64, String> {
    if rate.is_finite() && (0.0..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("rate {rate}: from 0 to {RATE_MAX} requests per second"))
    }
}
