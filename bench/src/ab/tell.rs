//! An outcome for people and for CI systems.

use crate::report::ci::{self, Ending};
use crate::statistics::Spread;

use super::Outcome;
use super::judge::Compared;

/// A table, and how much these rounds can find.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut out = format!("{} rounds of each, in turn. b ÷ a with the interval of 95 %.\n\n", outcome.rounds_a.len());
    out += &format!("{:<9} {:>10} {:>10}  {:<27} {:<12} {}\n", "", "a", "b", "b ÷ a", "chance", "verdict");
    for compared in &outcome.measures {
        let [a, b] = medians(compared);
        let (ratio, chance) = ratio(compared);
        let verdict = verdict(compared).unwrap_or_default();
        let line = format!("{:<9} {a:>10} {b:>10}  {ratio:<27} {chance:<12} {verdict}", compared.measure);
        out += line.trim_end();
        out.push('\n');
    }
    let found: Vec<String> = outcome.measures.iter().filter_map(found).collect();
    if !found.is_empty() {
        out += &format!("\n{}\n", found.join("\n"));
    }
    out
}

/// The same in Markdown.
pub(super) fn markdown(outcome: &Outcome) -> String {
    let sign = match outcome.verdict {
        "met" => "✅",
        "missed" => "❌",
        _ => "⚠️",
    };
    let mut out = format!("### {sign} Two servers in turn: {}\n\n", outcome.verdict);
    out += "| | a | b | b ÷ a (95 %) | chance | verdict |\n|---|---|---|---|---|---|\n";
    for compared in &outcome.measures {
        let [a, b] = medians(compared);
        let (ratio, chance) = ratio(compared);
        let verdict = verdict(compared).unwrap_or_default();
        out += &format!("| {} | {a} | {b} | {ratio} | {chance} | {verdict} |\n", compared.measure);
    }
    let code = |command: &str| command.replace('`', "'").replace('\n', " ");
    out += &format!(
        "\n{} rounds of each. a: `{}` · b: `{}`\n",
        outcome.rounds_a.len(),
        code(&outcome.a),
        code(&outcome.b)
    );
    for line in outcome.measures.iter().filter_map(found).chain(outcome.unanswered.iter().map(|u| u.said.clone())) {
        out += &format!("\n> {line}\n");
    }
    out
}

/// JUnit: one test case for each allowance, and one for failed requests.
pub(super) fn junit(outcome: &Outcome) -> String {
    let mut told: Vec<(String, Option<&str>, String)> = Vec::new();
    for compared in &outcome.measures {
        if let Some(allowed) = compared.allowed {
            let [a, b] = medians(compared);
            let (ratio, chance) = ratio(compared);
            let why = format!("{a} and {b}: b ÷ a is {ratio}, chance {chance}");
            let percent = (allowed * 1e4).round() / 100.0;
            told.push((format!("{} at most {percent} % worse", compared.measure), compared.verdict, why));
        }
    }
    let unanswered = outcome.unanswered.as_ref();
    let said = unanswered.map_or_else(String::new, |u| u.said.clone());
    told.push(("requests are answered".into(), unanswered.map(|u| u.verdict), said));
    let ending = |verdict: Option<&str>, why: &String| match verdict {
        Some("missed") => Ending::Failed(why.clone()),
        Some("inconclusive") => Ending::Open(why.clone()),
        _ => Ending::Held,
    };
    let mut cases = Vec::new();
    for (name, verdict, why) in &told {
        cases.push((name.as_str(), ending(*verdict, why)));
    }
    ci::suite(&outcome.b, outcome.seconds, &cases)
}

fn medians(compared: &Compared) -> [String; 2] {
    [compared.a, compared.b].map(|spread: Spread| compared.of.show(spread.median))
}

/// With its interval; and the chance.
fn ratio(compared: &Compared) -> (String, String) {
    compared.ratio.map_or(("–".to_string(), "–".to_string()), |ratio| {
        (format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.low, ratio.high), format!("{:.4}", ratio.p_differs))
    })
}

fn verdict(compared: &Compared) -> Option<String> {
    Some(format!("{} (allowed: {:.1} % worse)", compared.verdict?, compared.allowed? * 100.0))
}

/// How much worse something has to be for such a comparison to find it.
fn found(compared: &Compared) -> Option<String> {
    let (finds, noise) = (compared.finds? * 100.0, compared.ratio?.noise * 100.0);
    let measure = &compared.measure;
    Some(format!(
        "{measure}: the rounds' ratios differ by {noise:.1} %; {finds:.1} % worse would be found in 95 of 100 such comparisons."
    ))
}
