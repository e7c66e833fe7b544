//! Whether the bars are met.
//!
//! A bar becomes a pair for every round: what was measured, and what was allowed in that very round. It is met when the median of their ratios is not
//! beyond 1. Beyond, it is missed when a permutation test over the rounds finds less than one chance in twenty; otherwise nobody can say. What stands
//! for itself, as memory does, is judged by its median alone.

use serde::Serialize;

use super::bars::{Against, BARS, Bar, Bound, Measure, WORSE_NS, WORSE_PART};
use super::contender::LOGGED;
use super::evidence::{failed, find, is_proven};
use super::rounds::Cell;
use super::trials::Trial;
use super::{Comparison, Described};
use crate::statistics::{self, Ratio, Spread};

/// A bar that is missed is no chance below this.
const SIGNIFICANT: f64 = 0.05;

/// What became of a bar.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Name of the trial.
    pub workload: &'static str,
    /// The bar in words.
    pub bar: String,
    /// What ours came in at, and the others where the bar names some; in words.
    pub measured: String,
    /// Ours ÷ the other's.
    pub ratio: Option<Ratio>,
    /// Met or not.
    pub outcome: Outcome,
    /// The same with access logs on both sides.
    pub logged: Option<Judged>,
    /// The generator was late or busy while a latency was measured.
    pub unfit: bool,
}

/// A ratio and what it means.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Ours ÷ the other's.
    pub ratio: Option<Ratio>,
    /// Met or not.
    pub outcome: Outcome,
}

/// Met or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not beyond the bar.
    Met {
        /// How far from it, as a part of 1.
        by: f64,
    },
    /// Beyond the bar, and no chance.
    Missed {
        /// How far.
        by: f64,
    },
    /// Beyond the bar, but it may be chance.
    Unsure {
        /// How far.
        by: f64,
        /// How likely it is chance.
        p: f64,
    },
    /// Nothing was measured that could tell.
    Open {
        /// Why.
        why: String,
    },
}

/// One side of a bar.
struct Side<'a> {
    cell: &'a Cell,
    values: Vec<f64>,
}

/// All bars of the trials that ran.
pub fn verdicts(comparison: &Comparison, trials: &[Trial]) -> Vec<Verdict> {
    let ran = |bar: &&Bar| trials.iter().any(|trial| trial.name() == bar.trial);
    BARS.iter().filter(ran).map(|bar| verdict(comparison, bar)).collect()
}

fn verdict(comparison: &Comparison, bar: &Bar) -> Verdict {
    let (sides, judged) = judge(comparison, bar, false);
    let show = |side: &Side<'_>| bar.measure.show(statistics::spread(&side.values).median);
    let measured = match &sides[..] {
        [] => String::new(),
        [ours] => show(ours),
        [ours, other, ..] => {
            let name = if matches!(bar.bound, Bound::Times(_, Against::Own(_))) {
                &other.cell.workload
            } else {
                &other.cell.contender
            };
            format!("{}, {name} {}", show(ours), show(other))
        }
    };
    let unfit = |side: &Side<'_>| side.cell.loads().any(|round| round.report.generator.unfit);
    let logged = has_logged_column(bar).then(|| judge(comparison, bar, true).1);
    Verdict {
        workload: bar.trial,
        bar: bar.to_string(),
        measured,
        ratio: judged.ratio,
        outcome: judged.outcome,
        logged: logged.filter(|judged| !matches!(judged.outcome, Outcome::Open { .. })),
        unfit: bar.measure.is_latency() && sides.iter().any(unfit),
    }
}

/// Where both sides can write a log.
fn has_logged_column(bar: &Bar) -> bool {
    match bar.bound {
        Bound::Times(_, other) | Bound::NoWorse(other) => {
            bar.contender == "ringway" && !matches!(other, Against::BestBare | Against::Own(_))
        }
        _ => false,
    }
}

fn judge<'a>(comparison: &'a Comparison, bar: &Bar, logged: bool) -> (Vec<Side<'a>>, Judged) {
    let open = |why: String| Judged { ratio: None, outcome: Outcome::Open { why } };
    let ours = match side(comparison, bar, bar.trial, &named(bar.contender, logged)) {
        Ok(ours) => ours,
        Err(why) => return (Vec::new(), open(why)),
    };
    let against = match bar.bound {
        Bound::AtMost(most) => {
            let outcome = outcome_of_median(statistics::spread(&ours.values), most);
            return (vec![ours], Judged { ratio: None, outcome });
        }
        Bound::Times(_, other) | Bound::AtLeast(_, other) | Bound::Plus(_, other) | Bound::NoWorse(other) => other,
    };
    let other = match other(comparison, bar, against, logged) {
        Ok(other) => other,
        Err(why) => return (vec![ours], open(why)),
    };
    let pairs: Vec<(f64, f64)> = ours.values.iter().copied().zip(other.values.iter().copied()).collect();
    let judged = Judged { ratio: statistics::ratio(&pairs), outcome: outcome(&pairs, bar.bound) };
    (vec![ours, other], judged)
}

/// From pairs of ours and the other's, round by round.
fn outcome(pairs: &[(f64, f64)], bound: Bound) -> Outcome {
    let beyond: Vec<(f64, f64)> = pairs
        .iter()
        .map(|(ours, other)| match bound {
            Bound::AtMost(most) => (*ours, most),
            Bound::Times(factor, _) => (*ours, factor * other),
            Bound::AtLeast(factor, _) => (factor * other, *ours),
            Bound::Plus(more, _) => (*ours, other + more),
            Bound::NoWorse(_) => (*ours, other + f64::max(other * WORSE_PART, WORSE_NS)),
        })
        .collect();
    match statistics::ratio(&beyond) {
        None => Outcome::Open { why: "nothing to compare".into() },
        Some(ratio) if ratio.median <= 1.0 => Outcome::Met { by: 1.0 - ratio.median },
        Some(ratio) if ratio.p_more < SIGNIFICANT => Outcome::Missed { by: ratio.median - 1.0 },
        Some(ratio) => Outcome::Unsure { by: ratio.median - 1.0, p: ratio.p_more },
    }
}

fn outcome_of_median(values: Spread, most: f64) -> Outcome {
    let by = values.median / most - 1.0;
    if by <= 0.0 { Outcome::Met { by: -by } } else { Outcome::Missed { by } }
}

fn side<'a>(comparison: &'a Comparison, bar: &Bar, trial: &str, contender: &str) -> Result<Side<'a>, String> {
    let cell = find(comparison, trial, contender).ok_or(format!("{contender} was not measured"))?;
    if failed(cell) {
        return Err(format!("requests of {contender} failed"));
    }
    let workload = Trial::named(trial)?.workload();
    let values: Vec<f64> = cell.rounds.iter().filter_map(|sample| bar.measure.of(sample, &workload)).collect();
    if values.is_empty() { Err(format!("{contender} was not measured")) } else { Ok(Side { cell, values }) }
}

fn other<'a>(comparison: &'a Comparison, bar: &Bar, against: Against, logged: bool) -> Result<Side<'a>, String> {
    let of = |name: &str| side(comparison, bar, bar.trial, name);
    let all = || comparison.contenders.iter();
    let name = |contender: &Described| contender.name.clone();
    match against {
        Against::One(name) => of(&named(name, logged)),
        Against::Own(trial) => side(comparison, bar, trial, &named(bar.contender, logged)),
        Against::Best(names) => best(bar.measure, names.iter().map(|name| of(&named(name, logged)))),
        Against::BestPeer => {
            let peers = all().filter(|contender| contender.peer && contender.access_log == logged);
            best(bar.measure, peers.map(|peer| of(&name(peer))))
        }
        Against::BestBare => {
            let bare: Vec<&Described> = all().filter(|contender| contender.bare).collect();
            if !bare.is_empty() && bare.iter().all(|bare| !is_proven(comparison, bare)) {
                return Err("no bare yardstick has proven itself beside nginx in this run".into());
            }
            let proven = bare.into_iter().filter(|bare| is_proven(comparison, bare));
            best(bar.measure, proven.map(|bare| of(&name(bare))))
        }
    }
}

fn best<'a>(measure: Measure, sides: impl Iterator<Item = Result<Side<'a>, String>>) -> Result<Side<'a>, String> {
    let value = |side: &Side<'_>| {
        let median = statistics::spread(&side.values).median;
        if measure.more_is_better() { -median } else { median }
    };
    sides.flatten().min_by(|a, b| value(a).total_cmp(&value(b))).ok_or("nobody to compare with was measured".into())
}

fn named(contender: &str, logged: bool) -> String {
    format!("{contender}{}", if logged { LOGGED } else { "" })
}

impl Outcome {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Met { .. } => "met",
            Outcome::Missed { .. } => "missed",
            Outcome::Unsure { .. } => "unsure",
            Outcome::Open { .. } => "open",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |part: f64| {
            let percent = part * 100.0;
            if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
        };
        match self {
            Outcome::Met { by } => write!(f, "met, {} to spare", percent(*by)),
            Outcome::Missed { by } => write!(f, "missed by {}", percent(*by)),
            Outcome::Unsure { by, p } => write!(f, "unsure: {} beyond, but p = {p:.3}", percent(*by)),
            Outcome::Open { why } => write!(f, "open: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Against = Against::BestPeer;

    #[test]
    fn what_a_bar_makes_of_rounds() {
        let steady = |ours: f64, other: f64| vec![(ours, other); 8];
        let noisy = vec![
            (8.0, 10.0),
            (7.0, 10.0),
            (6.0, 10.0),
            (6.2, 10.0),
            (8.1, 10.0),
            (6.9, 10.0),
            (6.0, 10.0),
            (7.4, 10.0),
        ];
        for (pairs, bound, word, by) in [
            (steady(6.0, 10.0), Bound::Times(0.65, OTHER), "met", 0.077),
            (steady(6.5, 10.0), Bound::Times(0.65, OTHER), "met", 0.0),
            (steady(7.0, 10.0), Bound::Times(0.65, OTHER), "missed", 0.077),
            (noisy.clone(), Bound::Times(0.55, OTHER), "missed", 0.264),
            (noisy, Bound::Times(0.65, OTHER), "unsure", 0.069),
            // So few rounds rule nothing out.
            (vec![(7.0, 10.0); 4], Bound::Times(0.65, OTHER), "unsure", 0.077),
            (vec![(7.0, 10.0); 5], Bound::Times(0.65, OTHER), "missed", 0.077),
            (steady(14.0, 10.0), Bound::AtLeast(1.3, OTHER), "met", 0.071),
            (steady(12.0, 10.0), Bound::AtLeast(1.3, OTHER), "missed", 0.083),
            (steady(11.0, 10.0), Bound::Plus(1.5, OTHER), "met", 0.043),
            (steady(12.0, 10.0), Bound::Plus(1.5, OTHER), "missed", 0.043),
            // 20 µs are more than 5 % of 100 µs, and less than 5 % of 1 ms.
            (steady(119e3, 100e3), Bound::NoWorse(OTHER), "met", 0.008),
            (steady(121e3, 100e3), Bound::NoWorse(OTHER), "missed", 0.008),
            (steady(1.049e6, 1e6), Bound::NoWorse(OTHER), "met", 0.001),
            (steady(1.051e6, 1e6), Bound::NoWorse(OTHER), "missed", 0.001),
        ] {
            let seen = outcome(&pairs, bound);
            let (Outcome::Met { by: far } | Outcome::Missed { by: far } | Outcome::Unsure { by: far, .. }) = &seen
            else {
                panic!("{bound:?}: {seen}");
            };
            assert!(seen.word() == word && (far - by).abs() < 6e-4, "{bound:?} {pairs:?}: {seen}");
        }
        assert_eq!(outcome(&[], Bound::Times(1.0, OTHER)).word(), "open");
    }

    #[test]
    fn what_stands_for_itself_is_judged_by_its_median() {
        let of = |values: &[f64]| outcome_of_median(statistics::spread(values), 5.0);
        assert_eq!(of(&[0.0, 0.0, 9.0]), Outcome::Met { by: 1.0 });
        assert_eq!(of(&[6.0, 10.0, 3.0]).to_string(), "missed by 20 %");
    }
}
