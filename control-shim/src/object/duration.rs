//! Durations as Istio (Go) and the Gateway API write them.

/// Milliseconds, rounded up; `None` when it is no duration or longer than [`DURATION_MS_MAX`].
pub fn parse_ms(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total_ns: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() || whole.len() > 15 || fraction.len() > 9 {
            return None;
        }
        let (unit_ns, after) = unit(after)?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        total_ns = total_ns.checked_add(whole * unit_ns + part * unit_ns / scale)?;
        rest = after;
    }
    let ms = u64::try_from(total_ns.div_ceil(1_000_000)).ok()?;
    (!text.is_empty() && ms <= DURATION_MS_MAX).then_some(ms)
}

/// Ten years; what is longer is a mistake.
pub const DURATION_MS_MAX: u64 = 10 * 365 * 24 * 3_600_000;

/// Splits a unit off; nanoseconds of it.
fn unit(text: &str) -> Option<(u128, &str)> {
    const UNITS: [(&str, u128); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    UNITS.iter().find_map(|(name, ns)| text.strip_prefix(name).map(|rest| (*ns, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1_500)),
            (".5s", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("100us", Some(1)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999999h", None),
            ("999999999999999h", None),
        ] {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }
}
