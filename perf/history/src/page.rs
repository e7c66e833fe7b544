//! The page: every figure as a small chart over the revisions. It is one file, loads nothing and runs nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::record::{History, Record};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 96.0;
/// Room around the line, for its points and its figures.
const MARGIN: f64 = 8.0;
/// A chart spans at least this part of its highest value, so that noise looks small.
const SPAN_MIN: f64 = 0.1;

/// One value of a figure.
struct Point<'a> {
    /// Which record has it.
    at: usize,
    value: f64,
    record: &'a Record,
}

/// Draws all of it. Revisions of different machines are different lines.
pub fn draw(history: &History) -> String {
    let mut figures: BTreeMap<(&str, &str), BTreeMap<&str, Vec<Point<'_>>>> = BTreeMap::new();
    for (at, record) in history.0.iter().enumerate() {
        for (figure, value) in &record.figures {
            let (name, unit) = figure.trim_end_matches(']').rsplit_once(" [").unwrap_or((figure, ""));
            if let Some(value) = value.as_f64() {
                let lines = figures.entry((unit, name)).or_default();
                lines.entry(&record.machine).or_default().push(Point { at, value, record });
            }
        }
    }
    let mut page = String::from(HEAD);
    let span = match (history.0.first(), history.0.last()) {
        (Some(first), Some(last)) => format!(
            "{} revisions, from {} ({}) to {} ({}). Lower is better, but for what is per second (/s) or so many times another. Point at a dot for its revision.",
            history.0.len(),
            escape(&first.revision),
            escape(&first.date),
            escape(&last.revision),
            escape(&last.date)
        ),
        _ => "Nothing has been measured yet.".into(),
    };
    let _ = writeln!(page, "<h1>History of the figures</h1>\n<p class=\"quiet\">{span}</p>");
    let mut unit_before = None;
    for ((unit, name), lines) in &figures {
        if unit_before != Some(unit) {
            let end = if unit_before.is_some() { "</div>\n" } else { "" };
            let _ = writeln!(
                page,
                "{end}<h2>{}</h2>\n<div class=\"charts\">",
                escape(if unit.is_empty() { "other" } else { unit })
            );
            unit_before = Some(unit);
        }
        page += &figure(name, lines, history.0.len());
    }
    if unit_before.is_some() {
        page.push_str("</div>\n");
    }
    page + "</main>\n</body>\n</html>\n"
}

fn figure(name: &str, lines: &BTreeMap<&str, Vec<Point<'_>>>, records: usize) -> String {
    let values = || lines.values().flatten().map(|point| point.value);
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let middle = (low + high) / 2.0;
    let half = ((high - low).max(high.abs() * SPAN_MIN) / 2.0).max(f64::MIN_POSITIVE);
    let x = |at: usize| MARGIN + at as f64 / (records.max(2) - 1) as f64 * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT / 2.0 - (value - middle) / half * (HEIGHT / 2.0 - MARGIN);
    let mut out = format!("<figure>\n<figcaption>{}</figcaption>\n", escape(name));
    let _ = writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(name));
    for (colour, points) in lines.values().enumerate() {
        let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.at), y(p.value))).collect();
        let _ = writeln!(out, "<g class=\"c{}\"><polyline points=\"{}\"/>", colour % 4, path.join(" "));
        for point in points {
            let Record { revision, date, machine, .. } = point.record;
            let said = format!("{} at {revision} ({date}) {machine}", shown(point.value));
            let (x, y) = (x(point.at), y(point.value));
            let _ =
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>", escape(&said));
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    for (colour, (machine, points)) in lines.iter().enumerate() {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        let change = (last.value / first.value - 1.0) * 100.0;
        let change = if points.len() > 1 && change.is_finite() {
            format!(" <small>{change:+.1} %</small>")
        } else {
            String::new()
        };
        let of = if lines.len() > 1 { format!(" <small>{}</small>", escape(machine)) } else { String::new() };
        let _ = writeln!(out, "<p class=\"c{}\"><b>{}</b>{change}{of}</p>", colour % 4, shown(last.value));
    }
    out + "</figure>\n"
}

/// To four digits or the whole number.
fn shown(value: f64) -> String {
    let places = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) };
    let text = format!("{value:.*}", places as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>History of the figures</title>
<style>
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --text: #1d2125; --quiet: #5c646c; --grid: #e3e5e8;
  --c0: #1f6fd0; --c1: #d9541e; --c2: #12875a; --c3: #8445c4; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --text: #e6e8ea; --quiet: #9aa3ab; --grid: #30363c;
  --c0: #6aa8f7; --c1: #ff9166; --c2: #45c792; --c3: #bd90f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 20px 16px 40px; }
h1 { font-size: 22px; margin: 0 0 2px; }
h2 { font-size: 16px; margin: 24px 0 8px; }
p { margin: 0; }
.quiet, small { color: var(--quiet); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(280px, 100%), 1fr)); gap: 12px; }
figure { margin: 0; padding: 10px 12px; background: var(--card); border: 1px solid var(--grid); border-radius: 8px; display: flex; flex-direction: column; }
figcaption { font-size: 13px; flex: 1; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; margin: 4px 0; }
polyline { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
circle { fill: currentColor; }
circle:hover { stroke: currentColor; stroke-width: 4; }
figure p { color: var(--text); font-variant-numeric: tabular-nums; }
figure p b { color: inherit; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
figure p[class] { border-left: 3px solid var(--c0); padding-left: 8px; }
figure p.c1 { border-color: var(--c1); } figure p.c2 { border-color: var(--c2); } figure p.c3 { border-color: var(--c3); }
</style>
</head>
<body>
<main>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_a_chart_with_its_last_value_and_change() {
        let mut history = History::default();
        for (n, revision) in ["aaa", "bbb", "c<c"].into_iter().enumerate() {
            let figures = format!(
                "{{\"figure\":\"parse & write\",\"instructions\":{},\"machine\":\"m\"}}\n{{\"figure\":\"swap\",\"value\":0,\"unit\":\"ms\"}}",
                1000 + n * 50
            );
            history.add(revision, "2026-11-21", &figures).unwrap();
        }
        let page = draw(&history);
        assert!(page.contains("3 revisions, from aaa (2026-11-21) to c&lt;c (2026-11-21)"), "{page}");
        assert!(
            page.contains("<figcaption>parse &amp; write</figcaption>") && page.contains("<h2>instructions</h2>"),
            "{page}"
        );
        assert!(page.contains("<p class=\"c0\"><b>1100</b> <small>+10.0 %</small></p>"), "{page}");
        assert_eq!((page.matches("<circle ").count(), page.matches("<svg ").count()), (6, 2));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("NaN") && !page.contains("inf"),
            "{page}"
        );
        assert!(draw(&History::default()).contains("Nothing has been measured yet"));
    }

    #[test]
    fn values_have_four_digits() {
        for (value, text) in
            [(0.0, "0"), (1234.5678, "1235"), (1.5, "1.5"), (0.012345, "0.01235"), (2_289_784.0, "2289784")]
        {
            assert_eq!(shown(value), text);
        }
    }
}
