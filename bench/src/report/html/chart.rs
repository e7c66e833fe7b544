//! Line charts as SVG. A chart is drawn twice, for wide and for narrow screens, and the style sheet shows one: letters keep their size, and the
//! page needs no script.

use std::fmt::Write;

use crate::report::escape;

/// Lines that one chart can tell apart by colour: the style sheet has so many.
pub const COLOURS: usize = 8;
/// Room beside the plot, in pixels: left for the figures of the vertical axis, below for those of the horizontal one.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Width and height of both drawings, and the class that shows them.
const SIZES: [(f64, f64, &str); 2] = [(960.0, 320.0, "wide"), (360.0, 260.0, "narrow")];

/// A chart.
pub struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub label: &'a str,
    /// From left to right.
    pub x: Axis,
    /// From the bottom up.
    pub y: Axis,
    /// Lines.
    pub lines: Vec<Line>,
    /// What is said about a place when it is pointed at.
    pub notes: Vec<Note>,
}

/// A line.
pub struct Line {
    /// Below [`COLOURS`].
    pub colour: usize,
    /// Drawn with gaps: the lesser of two lines of a colour.
    pub dashed: bool,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A strip of the chart, from top to bottom, and what it says.
pub struct Note {
    /// Where it begins and ends on the horizontal axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The text; lines of their own for each of the chart's lines.
    pub text: String,
}

/// An axis.
pub struct Axis {
    from: f64,
    to: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `from` to `to`, with these ticks.
    pub fn with_ticks(from: f64, to: f64, ticks: Vec<(f64, String)>) -> Axis {
        Axis { from, to, log: false, ticks }
    }

    /// From 0 to a round number not below `max`, with a handful of ticks.
    pub fn from_zero(max: f64, show: impl Fn(f64) -> String) -> Axis {
        let step = round_up((max / 4.0).max(f64::MIN_POSITIVE));
        let step = if max > 0.0 { step } else { 0.25 };
        let count = (max / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|n| n as f64 * step).map(|value| (value, show(value))).collect();
        Axis { from: 0.0, to: count as f64 * step, log: false, ticks }
    }

    /// Logarithmic, from a round number not above `min` to one not below `max`.
    pub fn log(min: f64, max: f64, show: impl Fn(f64) -> String) -> Axis {
        let min = if min > 0.0 { min } else { 1.0 };
        let (from, to) = (round_down(min), round_up(max.max(min * 1.001)));
        let decades = (to / from).log10();
        let mut ticks = Vec::new();
        let mut power = 10f64.powf(from.log10().floor());
        while power <= to * 1.001 {
            for digit in [1.0, 2.0, 5.0] {
                let value = digit * power;
                // A tick in each decade is enough where there are many.
                if (digit == 1.0 || decades <= 2.5) && value >= from * 0.999 && value <= to * 1.001 {
                    ticks.push((value, show(value)));
                }
            }
            power *= 10.0;
        }
        Axis { from, to, log: true, ticks }
    }

    /// Where a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Axis {
    /// Ticks whose texts do not touch each other, on a plot that ends at `end`.
    pub(super) fn thinned(&self, end: f64, x: impl Fn(f64) -> f64) -> Vec<&(f64, String)> {
        let mut free_from = f64::MIN;
        let mut kept = Vec::new();
        for tick in &self.ticks {
            // Letters are about 7 pixels wide; the texts are centred.
            let half = tick.1.chars().count() as f64 * 3.5 + 4.0;
            if x(tick.0) - half >= free_from && x(tick.0) + half <= end + RIGHT + half / 2.0 {
                free_from = x(tick.0) + half;
                kept.push(tick);
            }
        }
        kept
    }
}

impl Chart<'_> {
    /// Both drawings.
    pub fn draw(&self) -> String {
        SIZES.iter().map(|(width, height, class)| self.draw_at(*width, *height, class)).collect()
    }

    fn draw_at(&self, width: f64, height: f64, class: &str) -> String {
        let (plot_width, plot_height) = (width - LEFT - RIGHT, height - TOP - BOTTOM);
        let x = |value: f64| LEFT + self.x.place(value) * plot_width;
        let y = |value: f64| TOP + (1.0 - self.y.place(value)) * plot_height;
        let bottom = TOP + plot_height;
        let mut out = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escape(self.label)
        );
        for (value, text) in &self.y.ticks {
            let (at, text) = (y(*value), escape(text));
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}h{plot_width:.1}\"/><text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (value, text) in self.x.thinned(LEFT + plot_width, x) {
            let (at, text) = (x(*value), escape(text));
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}v{plot_height:.1}\"/><text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
                bottom + 18.0
            );
        }
        for line in &self.lines {
            let dashed = if line.dashed { " dashed" } else { "" };
            let points: String = line.points.iter().map(|(px, py)| format!("{:.1},{:.1} ", x(*px), y(*py))).collect();
            let colour = line.colour % COLOURS;
            let _ = match line.points.as_slice() {
                [(px, py)] => {
                    write!(out, "<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>", x(*px), y(*py))
                }
                _ => write!(out, "<polyline class=\"line c{colour}{dashed}\" points=\"{}\"/>", points.trim_end()),
            };
        }
        for note in &self.notes {
            let (from, to) = (x(note.from), x(note.to));
            let _ = write!(
                out,
                "<rect class=\"note\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{plot_height:.1}\"><title>{}</title></rect>",
                (to - from).max(1.0),
                escape_lines(&note.text)
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// The next of 1, 2, 5, 10, … that is not below a positive value.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * power >= value * 0.999_999).unwrap_or(10.0);
    digit * power
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let digit = [5.0, 2.0, 1.0].into_iter().find(|digit| digit * power <= value * 1.000_001).unwrap_or(1.0);
    digit * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let show = |value: f64| format!("{value}");
        for (max, expected) in [
            (0.0, &["0", "0.25"][..]),
            (1.0, &["0", "0.5", "1"]),
            (998.0, &["0", "500", "1000"]),
            (70.0, &["0", "20", "40", "60", "80"]),
        ] {
            assert_eq!(ticks(&Axis::from_zero(max, show)), expected, "up to {max}");
        }
        for (min, max, expected) in [
            (130.0, 900.0, &["100", "200", "500", "1000"][..]),
            (3.0, 90_000.0, &["10", "100", "1000", "10000", "100000"]),
            (0.0, 0.0, &["1", "2"]),
            (50.0, 50.0, &["50", "100"]),
        ] {
            assert_eq!(ticks(&Axis::log(min, max, show)), expected, "from {min} to {max}");
        }
    }

    #[test]
    fn values_have_their_place_also_beyond_the_ends() {
        let log = Axis::log(10.0, 1000.0, |v| v.to_string());
        assert_eq!([0.0, 10.0, 100.0, 5000.0].map(|v| (log.place(v) * 100.0).round()), [0.0, 0.0, 50.0, 100.0]);
        let linear = Axis::with_ticks(0.0, 4.0, Vec::new());
        assert_eq!([-1.0, 1.0, f64::NAN].map(|v| linear.place(v)), [0.0, 0.25, 0.0]);
    }

    #[test]
    fn a_chart_is_drawn_for_both_widths() {
        let drawn = Chart {
            label: "<rates>",
            x: Axis::from_zero(10.0, |v| v.to_string()),
            y: Axis::from_zero(10.0, |v| v.to_string()),
            lines: vec![Line { colour: 0, dashed: false, points: vec![(0.0, 1.0), (10.0, 9.0)] }],
            notes: vec![Note { from: 0.0, to: 5.0, text: "a & b\nc".into() }],
        }
        .draw();
        assert_eq!(drawn.matches("<svg").count(), 2);
        assert_eq!(drawn.matches("<title>a &amp; b\nc</title>").count(), 2);
        assert!(drawn.contains("aria-label=\"&lt;rates&gt;\""), "{drawn}");
    }
}
