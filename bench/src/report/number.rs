//! Numbers as people read them: three digits.

use crate::results::Summary;

/// `12,345`, `123`, `12.3`, `1.23`.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let grouped: String = digits
        .char_indices()
        .flat_map(|(at, digit)| {
            let comma = at > 0 && (digits.len() - at).is_multiple_of(3);
            comma.then_some(',').into_iter().chain([digit])
        })
        .collect();
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

/// A median with its range, or nothing.
pub(super) fn ranged(summary: Option<Summary>) -> String {
    summary.map_or_else(String::new, |Summary { median, min, max }| match min < max {
        true => format!("{} ({}–{})", short(median), short(min), short(max)),
        false => short(median),
    })
}

/// A value, or nothing.
pub(super) fn plain(value: Option<f64>) -> String {
    value.map(short).unwrap_or_default()
}

/// One to the other, when both are there.
pub(super) fn ratio(value: Option<f64>, other: Option<f64>) -> Option<f64> {
    let (value, other) = value.zip(other)?;
    (other > 0.0).then(|| value / other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_say_enough() {
        let shown = [1_234_567.0, 999.6, 123.4, 12.34, 1.234, 0.0].map(short);
        assert_eq!(shown, ["1,234,567", "1000", "123", "12.3", "1.23", "0.00"]);
        assert_eq!(thousands(-12_000.0), "-12,000");
    }
}
