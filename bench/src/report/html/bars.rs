//! Bars as SVG: one a name, its interval drawn over it, drawn for wide and for narrow screens like the line charts.

use std::fmt::Write;

use super::chart::{Axis, COLOURS};
use crate::report::escape;

/// Width of both drawings, room for the names and for the figures beside the bars, and the class that shows them.
const SIZES: [(f64, f64, f64, &str); 2] = [(960.0, 130.0, 240.0, "wide"), (360.0, 104.0, 84.0, "narrow")];
/// Of a bar with its share of the space between two.
const ROW: f64 = 28.0;
const BAR: f64 = 16.0;
/// Below the bars: the axis.
const BOTTOM: f64 = 24.0;

/// A chart of bars, all from 0.
pub struct Bars<'a> {
    /// What it shows, for those who cannot see it.
    pub label: &'a str,
    /// From the top down.
    pub bars: Vec<Bar>,
}

/// A bar.
pub struct Bar {
    /// In front of it.
    pub name: String,
    /// Taken modulo [`COLOURS`].
    pub colour: usize,
    /// How long it is.
    pub value: f64,
    /// Where its value may lie.
    pub interval: (f64, f64),
    /// Behind it where there is room: the value and its interval.
    pub text: String,
    /// Behind it on narrow screens.
    pub short: String,
}

impl Bars<'_> {
    /// Both drawings. `show` writes the values of the axis.
    pub fn draw(&self, show: impl Fn(f64) -> String) -> String {
        // An interval that leaves the chart is cut; one round that went wrong is not what the others are drawn to.
        let most = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max) * 1.1;
        let axis = Axis::from_zero(most, show);
        SIZES.iter().map(|size| self.draw_at(&axis, *size)).collect()
    }

    fn draw_at(&self, axis: &Axis, (width, left, right, class): (f64, f64, f64, &str)) -> String {
        let plot = width - left - right;
        let x = |value: f64| left + axis.place(value) * plot;
        let bottom = self.bars.len() as f64 * ROW;
        let mut out = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{}\">",
            bottom + BOTTOM,
            escape(self.label)
        );
        for (value, text) in axis.thinned(left + plot, x) {
            let (at, text) = (x(*value), escape(text));
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} 0v{bottom:.1}\"/><text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
                bottom + 16.0
            );
        }
        for (n, bar) in self.bars.iter().enumerate() {
            let top = n as f64 * ROW + (ROW - BAR) / 2.0;
            let (middle, letters) = (top + BAR / 2.0, top + BAR / 2.0 + 4.0);
            let text = if class == "wide" { &bar.text } else { &bar.short };
            let (low, high) = (x(bar.interval.0), x(bar.interval.1));
            let _ = write!(
                out,
                "<text class=\"y\" x=\"{:.1}\" y=\"{letters:.1}\">{}</text>\
                 <rect class=\"bar c{}\" x=\"{left}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\"><title>{}: {}</title></rect>\
                 <path class=\"whisker\" d=\"M{low:.1} {:.1}v8M{low:.1} {middle:.1}H{high:.1}M{high:.1} {:.1}v8\"/>\
                 <text class=\"figure\" x=\"{:.1}\" y=\"{letters:.1}\">{}</text>",
                left - 8.0,
                escape(&bar.name),
                bar.colour % COLOURS,
                (x(bar.value) - left).max(0.5),
                escape(&bar.name),
                escape(&bar.text),
                middle - 4.0,
                middle - 4.0,
                left + plot + 8.0,
                escape(text)
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_at_zero_and_intervals_stay_inside() {
        let bar = |name: &str, value: f64, high: f64| Bar {
            name: name.into(),
            colour: 9,
            value,
            interval: (value / 2.0, high),
            text: format!("{value} (…)"),
            short: value.to_string(),
        };
        let bars = Bars { label: "a & b", bars: vec![bar("<ours>", 5.0, 6.0), bar("other", 10.0, 1e9)] };
        let drawn = bars.draw(|value| value.to_string());
        assert_eq!((drawn.matches("<svg").count(), drawn.matches("class=\"bar c1\"").count()), (2, 4));
        assert!(drawn.contains("&lt;ours&gt;: 5 (…)") && drawn.contains("aria-label=\"a &amp; b\""), "{drawn}");
        // What is beyond the axis ends with it.
        assert!(drawn.contains("H720.0") && drawn.contains("H276.0"), "{drawn}");
        assert!(Bars { label: "", bars: Vec::new() }.draw(|v| v.to_string()).contains("<svg"));
    }
}
