//! Whether the second server is worse: the effect and the chance of every measure.

use serde::Serialize;

use crate::cli::{INCONCLUSIVE, MET, MISSED};
use crate::gate::Figure;
use crate::statistics::{self, Ratio, Spread};
use crate::trial::{Allowed, Measure, Round};

use super::ROUNDS_MIN;

/// A difference is no chance below this.
const SIGNIFICANT: f64 = 0.01;
/// Failed requests beyond this part of all are no noise.
const ERRORS_MAX: f64 = 0.001;

/// One measure of both.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub measure: String,
    pub a: Spread,
    pub b: Spread,
    /// b ÷ a.
    pub ratio: Option<Ratio>,
    /// Part of 1, where one was asked for.
    pub allowed: Option<f64>,
    pub verdict: Option<&'static str>,
    /// The least regression that as many rounds as noisy as these find in 95 of 100 comparisons, where one is looked for, and noise is even. Part of 1.
    pub finds: Option<f64>,
    #[serde(skip)]
    pub of: Measure,
}

/// What is said of all measures.
pub(super) struct Judged {
    pub measures: Vec<Compared>,
    /// More requests failed than noise explains.
    pub unanswered: Option<Unanswered>,
    /// The exit code.
    pub code: u8,
}

/// Requests that failed.
#[derive(Debug, Serialize)]
pub(super) struct Unanswered {
    pub verdict: &'static str,
    pub said: String,
}

/// Every measure of both sides.
pub(super) fn judge(allowed: &[Allowed], a: &[Round], b: &[Round]) -> Judged {
    let shown = [
        Measure::Cpu,
        Measure::Load(Figure::Rate),
        Measure::Load(Figure::Percentile(50.0)),
        Measure::Load(Figure::Percentile(99.0)),
        Measure::Memory,
        Measure::Switches,
    ];
    let others = allowed.iter().map(|allowed| allowed.measure).filter(|measure| !shown.contains(measure));
    let unfit = a.iter().chain(b).filter(|round| round.report.generator.unfit).count() * 2 > a.len() + b.len();
    let mut code = MET;
    let mut measures = Vec::new();
    for measure in shown.into_iter().chain(others) {
        let values = |rounds: &[Round]| rounds.iter().map(|round| measure.of(round)).collect::<Vec<_>>();
        let pairs: Vec<(f64, f64)> = values(b).into_iter().zip(values(a)).collect();
        let ratio = statistics::ratio(&pairs);
        let limit =
            allowed.iter().filter(|allowed| allowed.measure == measure).map(|allowed| allowed.part).reduce(f64::min);
        let verdict = limit.map(|limit| match ratio {
            Some(_) if unfit && measure.needs_fit_generator() => INCONCLUSIVE,
            Some(ratio) => judge_one(measure, &pairs, ratio, limit),
            None => INCONCLUSIVE,
        });
        // A miss outweighs a doubt.
        code = match (code, verdict) {
            (_, Some(MISSED)) | (MISSED, _) => MISSED,
            (_, Some(INCONCLUSIVE)) | (INCONCLUSIVE, _) => INCONCLUSIVE,
            _ => MET,
        };
        measures.push(Compared {
            measure: measure.to_string(),
            a: statistics::spread(&values(a)),
            b: statistics::spread(&values(b)),
            ratio,
            allowed: limit,
            verdict: verdict.map(|verdict| match verdict {
                MET => "met",
                MISSED => "missed",
                _ => "inconclusive",
            }),
            finds: limit.zip(ratio).map(|(limit, ratio)| finds(limit, ratio.noise, pairs.len())),
            of: measure,
        });
    }
    let errors =
        |rounds: &[Round]| statistics::spread(&rounds.iter().map(|round| round.errors).collect::<Vec<_>>()).median;
    let (errors_a, errors_b) = (errors(a), errors(b));
    let said = |part: f64, whose: char| format!("{:.2} % of {whose}'s requests failed", part * 100.0);
    let mut unanswered = None;
    if errors_a > ERRORS_MAX {
        unanswered = Some(Unanswered { verdict: "inconclusive", said: said(errors_a, 'a') });
        code = code.max(INCONCLUSIVE);
    } else if errors_b > ERRORS_MAX {
        unanswered = Some(Unanswered { verdict: "missed", said: said(errors_b, 'b') });
        code = MISSED;
    }
    Judged { measures, unanswered, code }
}

/// As far as noise is normally distributed: the median has to come out beyond the limit, and the test below its chance (with few rounds it wants more).
fn finds(limit: f64, noise: f64, rounds: usize) -> f64 {
    const SURE: f64 = 1.645;
    const UNLIKELY: f64 = 2.326;
    // The standard error of a median is that of the mean times √(π/2).
    let of_median = SURE * std::f64::consts::FRAC_PI_2.sqrt() * noise / (rounds as f64).sqrt();
    // With seven rounds every one has to be worse, which takes 2.44 deviations; with many a normal test is as good.
    let of_test = (UNLIKELY + SURE) * noise / (rounds.max(ROUNDS_MIN) as f64 - 4.35).sqrt();
    (limit + of_median).max(of_test)
}

fn judge_one(measure: Measure, pairs: &[(f64, f64)], ratio: Ratio, limit: f64) -> u8 {
    let (worse, chance) = if measure.more_is_better() {
        let turned: Vec<(f64, f64)> = pairs.iter().map(|(b, a)| (*a, *b)).collect();
        // Its parts are above 0, or there were no ratio.
        (1.0 - ratio.median, statistics::ratio(&turned).map_or(1.0, |turned| turned.p_more))
    } else {
        (ratio.median - 1.0, ratio.p_more)
    };
    if worse <= limit {
        MET
    } else if chance < SIGNIFICANT {
        MISSED
    } else {
        INCONCLUSIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::Random;

    /// What is off in a round.
    #[derive(Clone, Copy, Debug)]
    struct Machine {
        /// The standard deviation of the logarithm of a round's ratio.
        noise: f64,
        /// One round of either side in so many meets another's work, which adds up to a quarter. 0: none does.
        neighbour: u64,
    }

    const QUIET: Machine = Machine { noise: 0.02, neighbour: 0 };
    const SHARED: Machine = Machine { noise: 0.03, neighbour: 20 };
    const WILD: Machine = Machine { noise: 0.15, neighbour: 5 };

    impl Machine {
        /// Rounds of a server that costs 10 µs a request, and of one that costs `more` of that besides.
        fn rounds(self, random: &mut Random, count: usize, more: f64) -> Vec<(f64, f64)> {
            let mut one = |cost: f64| {
                // Twelve even numbers add up to nearly a normal one; the two sides of a pair share the noise.
                let normal = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
                let met = self.neighbour > 0 && random.below(self.neighbour) == 0;
                let neighbour = if met { random.unit() * 0.25 } else { 0.0 };
                cost * (1.0 + normal * self.noise / std::f64::consts::SQRT_2 + neighbour)
            };
            (0..count).map(|_| (one(10.0 * (1.0 + more)), one(10.0))).collect()
        }

        /// The part of comparisons that end with a miss.
        fn missed(self, comparisons: u32, count: usize, more: f64, limit: f64) -> f64 {
            let mut random = Random::new(count as u64);
            let hits = (0..comparisons).filter(|_| {
                let pairs = self.rounds(&mut random, count, more);
                judge_one(Measure::Cpu, &pairs, statistics::ratio(&pairs).unwrap(), limit) == MISSED
            });
            hits.count() as f64 / f64::from(comparisons)
        }
    }

    #[test]
    fn a_server_compared_with_itself_is_no_alarm() {
        const COMPARISONS: u32 = 2000;
        // One in a hundred, and three standard deviations of what so many comparisons make of it.
        let most = SIGNIFICANT + 3.0 * (SIGNIFICANT / f64::from(COMPARISONS)).sqrt();
        for machine in [QUIET, SHARED, WILD] {
            for (count, limit) in [(7, 0.01), (10, 0.01), (10, 0.03), (12, 0.03)] {
                let alarms = machine.missed(COMPARISONS, count, 0.0, limit);
                assert!(alarms <= most, "{machine:?}, {count} rounds, allowed {limit}: {alarms}");
            }
        }
    }

    #[test]
    fn three_percent_are_found_on_a_quiet_machine() {
        let found = QUIET.missed(500, 12, 0.03, 0.005);
        assert!(found >= 0.95, "{found}");
    }

    #[test]
    fn what_is_said_to_be_found_is_found() {
        // What is said is said of even noise; bursts hide more.
        let cases = [(QUIET, 7, 0.01, 0.9), (QUIET, 10, 0.03, 0.9), (SHARED, 10, 0.03, 0.75), (SHARED, 14, 0.01, 0.75)];
        for (machine, count, limit, least) in cases {
            let mut random = Random::new(1);
            let noise = |_| statistics::ratio(&machine.rounds(&mut random, count, 0.0)).unwrap().noise;
            let noise = (0..200).map(noise).sum::<f64>() / 200.0;
            let more = finds(limit, noise, count);
            let found = machine.missed(300, count, more, limit);
            assert!(found >= least, "{machine:?}, {count} rounds, allowed {limit}: {more:.4} in {found}");
            // It does not say much more than that either.
            let less = machine.missed(300, count, more * 0.6, limit);
            assert!(less < 0.9, "{machine:?}, {count} rounds, allowed {limit}: {:.4} in {less}", more * 0.6);
        }
    }
}
