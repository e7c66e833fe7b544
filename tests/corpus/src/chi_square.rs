//! Whether counts go with probabilities.

use std::collections::BTreeMap;

/// Deviation allowed, in standard deviations of a normal distribution: chance alone passes it once in 50 million.
const SIGMAS: f64 = 5.5;

/// `Err` with the figures where counts are too far from what these probabilities make likely. Counts of what is impossible fail at once.
pub fn check(expected: &BTreeMap<String, f64>, counted: &BTreeMap<String, usize>) -> Result<(), String> {
    let n: usize = counted.values().sum();
    let mut statistic = 0.0;
    for (name, probability) in expected {
        let mean = probability * n as f64;
        let got = counted.get(name).copied().unwrap_or(0) as f64;
        statistic += (got - mean).powi(2) / mean;
    }
    let impossible = counted.keys().find(|name| !expected.contains_key(*name));
    let freedom = expected.len().saturating_sub(1) as f64;
    // Wilson and Hilferty: the cube root of χ²/k is nearly normal.
    let spread = 2.0 / (9.0 * freedom.max(1.0));
    let limit = freedom * (1.0 - spread + SIGMAS * spread.sqrt()).powi(3);
    if impossible.is_some() || statistic > limit.max(f64::EPSILON) {
        return Err(format!(
            "χ² = {statistic:.1}, at most {limit:.1}; {counted:?} of {n} where {expected:?} was expected"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<T: Copy>(items: &[(&str, T)]) -> BTreeMap<String, T> {
        items.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn chance_passes_and_a_wrong_share_does_not() {
        let expected = table(&[("a", 0.9), ("b", 0.1)]);
        for (counts, fits) in [
            ([("a", 360), ("b", 40)], true),
            ([("a", 345), ("b", 55)], true),
            ([("a", 300), ("b", 100)], false),
            ([("a", 400), ("b", 0)], false),
        ] {
            assert_eq!(check(&expected, &table(&counts)).is_ok(), fits, "{counts:?}");
        }
        assert!(check(&expected, &table(&[("a", 90), ("c", 10)])).is_err());
        assert!(check(&table(&[("a", 1.0)]), &table(&[("a", 10)])).is_ok());
    }
}
