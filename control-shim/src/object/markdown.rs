//! docs/support.md's list of every field, made from the survey.

use super::objects::KindInfo;
use super::survey::{Found, Outcome, kinds, survey};
use std::collections::BTreeMap;

/// Where the list begins and ends in docs/support.md.
pub const BEGIN: &str = "<!-- every field: made by `make fields`, checked by a test -->";
/// The end of the list.
pub const END: &str = "<!-- end of every field -->";

/// Fewest lines of a part for which a reference to an equal one is worth its line.
const REPEATED_LINES_MIN: usize = 4;

/// The list, from [`BEGIN`] to [`END`].
pub fn markdown() -> String {
    let mut out = format!("{BEGIN}\n");
    let mut seen = Seen::new();
    for kind in kinds() {
        out.push_str(&of_kind(&kind, &mut seen));
    }
    out.push_str(END);
    out
}

/// Parts that were listed: their lines, without the path that leads there → kind and path.
type Seen = BTreeMap<Vec<(String, String)>, (&'static str, String)>;

fn of_kind(kind: &KindInfo, seen: &mut Seen) -> String {
    let group = if kind.group.is_empty() { String::new() } else { format!(" ({})", kind.group) };
    let mut out = format!("\n### {}{group}\n\n| Field | Outcome |\n|---|---|\n", kind.kind);
    for (path, words) in rows(kind.kind, &survey(kind), seen) {
        out.push_str(&format!("| `{path}` | {words} |\n"));
    }
    out
}

/// One row a field that holds no others; equal parts are said once.
fn rows(kind: &'static str, found: &[Found], seen: &mut Seen) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut skip: Option<String> = None;
    for field in found {
        if skip.as_ref().is_some_and(|prefix| below(&field.path, prefix)) {
            continue;
        }
        skip = None;
        if !field.container {
            rows.push((field.path.clone(), words(field)));
            continue;
        }
        let part: Vec<(String, String)> = found
            .iter()
            .filter(|other| below(&other.path, &field.path) && !other.container)
            .map(|other| (other.path[field.path.len()..].to_string(), words(other)))
            .collect();
        match seen.get(&part) {
            Some((of, first)) if part.len() >= REPEATED_LINES_MIN => {
                let of = if *of == kind { String::new() } else { format!(" of {of}") };
                rows.push((field.path.clone(), format!("as `{first}`{of}")));
                skip = Some(field.path.clone());
            }
            _ => {
                seen.entry(part).or_insert_with(|| (kind, field.path.clone()));
            }
        }
    }
    rows
}

/// Whether `path` is a part of what is at `prefix`.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn words(field: &Found) -> String {
    let word = |outcome| match outcome {
        Outcome::Honoured => "honoured",
        Outcome::Warning => "warning",
        Outcome::Error => "error",
        Outcome::Silent => "silent",
    };
    let mut text = word(field.outcome).to_string();
    for outcome in [Outcome::Warning, Outcome::Error] {
        let values: Vec<String> =
            field.values.iter().filter(|(_, of)| *of == outcome).map(|(value, _)| format!("`{value}`")).collect();
        if !values.is_empty() {
            text.push_str(&format!("; {}: {}", values.join(", "), word(outcome)));
        }
    }
    text
}
