//! What a run is told as: text and HTML for people, JSON for programs, an HdrHistogram log, JUnit and a Markdown summary for CI.

pub mod ci;
pub mod hdr;
pub mod html;
pub mod json;
pub mod text;

/// A time with three digits and its unit: `12.3 µs`.
pub fn time(nanos: u64) -> String {
    let value = nanos as f64;
    let (value, unit) = match value {
        v if v < 1e3 => return format!("{nanos} ns"),
        v if v < 1e6 => (v / 1e3, "µs"),
        v if v < 1e9 => (v / 1e6, "ms"),
        v => (v / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// Requests per second: whole, unless there are few.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{}", (per_second * 1e3).round() / 1e3) } else { format!("{per_second:.0}") }
}

/// Bytes with three digits and their unit: `1.21 MiB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = if unit == "B" || value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2} TiB")
}

/// For the text and the attributes of XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Control characters have no place in XML 1.0.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_three_digits() {
        for (nanos, shown) in [
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (56_780, "56.8 µs"),
            (940_000_000, "940 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(time(nanos), shown);
        }
        for (count, shown) in [(0, "0 B"), (1000, "1000 B"), (1536, "1.50 KiB"), (200 << 20, "200 MiB")] {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("p99>5ms & \"more\"\u{1}"), "p99&gt;5ms &amp; &quot;more&quot; ");
    }
}
