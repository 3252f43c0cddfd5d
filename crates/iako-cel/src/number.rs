//! Numbers of three kinds.

use std::cmp::Ordering;

use crate::Value;

/// Which number comes first, whatever their kinds; none where one is no number or not comparable.
pub(crate) fn compare(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Uint(one), Value::Uint(other)) => Some(one.cmp(other)),
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
        (Value::Int(one), Value::Uint(other)) => Some(i128::from(*one).cmp(&i128::from(*other))),
        (Value::Uint(one), Value::Int(other)) => Some(i128::from(*one).cmp(&i128::from(*other))),
        (Value::Int(one), Value::Double(other)) => with_double(i128::from(*one), *other),
        (Value::Uint(one), Value::Double(other)) => with_double(i128::from(*one), *other),
        (Value::Double(one), Value::Int(other)) => {
            with_double(i128::from(*other), *one).map(Ordering::reverse)
        }
        (Value::Double(one), Value::Uint(other)) => {
            with_double(i128::from(*other), *one).map(Ordering::reverse)
        }
        _ => None,
    }
}

/// A whole number beside one with a point, exactly.
fn with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond what whole numbers of either kind reach, only the sign counts.
    if double.abs() >= 1e20 {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = double.floor();
    #[expect(clippy::cast_possible_truncation, reason = "below 1e20 every whole number fits")]
    let below = floor as i128;
    Some(whole.cmp(&below).then(if double > floor { Ordering::Less } else { Ordering::Equal }))
}

/// With at most six digits, as `%g` of C has it.
pub(crate) fn six_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return shortest(value);
    }
    // One digit before the point, five behind it, and the exponent.
    let exact = format!("{value:.5e}");
    let (digits, exponent) = exact.split_once('e').unwrap_or((&exact, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5_i32.saturating_sub(exponent)).unwrap_or(0);
        return trimmed(&format!("{value:.places$}")).to_owned();
    }
    scientific(digits, exponent)
}

/// With as many digits as it takes to read the same number again.
pub(crate) fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let exact = format!("{value:e}");
    let (digits, exponent) = exact.split_once('e').unwrap_or((&exact, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) { value.to_string() } else { scientific(digits, exponent) }
}

fn scientific(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs())
}

/// Without the zeros that stand last behind a point.
fn trimmed(digits: &str) -> &str {
    if !digits.contains('.') {
        return digits;
    }
    digits.trim_end_matches('0').trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_as_envoy_shows_them() {
        let cases = [
            (1.0, "1"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1e300, "1e+300"),
            (1e15, "1e+15"),
            (123_456_789.125, "1.23457e+08"),
            (3.0e-7, "3e-07"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
        ];
        for (value, wanted) in cases {
            assert_eq!(six_digits(value), wanted, "{value}");
        }
    }

    #[test]
    fn kinds_compare_exactly() {
        let large = Value::Int((1 << 53) + 1);
        assert_eq!(
            compare(&large, &Value::Double(9_007_199_254_740_992.0)),
            Some(Ordering::Greater)
        );
        assert_eq!(compare(&Value::Uint(u64::MAX), &Value::Int(-1)), Some(Ordering::Greater));
        assert_eq!(compare(&Value::Int(1), &Value::Double(1.5)), Some(Ordering::Less));
        assert_eq!(compare(&Value::Double(f64::NAN), &Value::Int(1)), None);
    }
}
