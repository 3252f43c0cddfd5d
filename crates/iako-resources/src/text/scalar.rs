//! What a plain scalar means to Kubernetes.
//!
//! kubectl and the API server read YAML by rules that are older than YAML 1.2: `yes`, `on` and `y`
//! are booleans, a zero in front makes a number octal, and digits may be grouped by `_`. We read the
//! same, and say so where it surprises. Source: YAML 1.1's types as sigs.k8s.io/yaml resolves them.

use super::Value;

/// The value of a scalar that was written without quotes.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Value::Text(text.to_owned());
    }
    let plain = if text.contains('_') && !text.starts_with('.') {
        text.replace('_', "")
    } else {
        text.to_owned()
    };
    if let Some(number) = whole(&plain) {
        return Value::Int(number, text.to_owned());
    }
    match float(&plain) {
        Some(number) => Value::Float(number, text.to_owned()),
        None => Value::Text(text.to_owned()),
    }
}

/// Why a plain scalar is not what most people would say it is; `None` for most.
pub(super) fn surprise(text: &str, value: &Value) -> Option<String> {
    match value {
        Value::Bool(read) if !text.eq_ignore_ascii_case(if *read { "true" } else { "false" }) => {
            Some(format!("Kubernetes reads {text} without quotes as {read}"))
        }
        Value::Int(read, _) if read.to_string() != text.trim_start_matches('+') => {
            Some(format!("Kubernetes reads {text} without quotes as the number {read}"))
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Float(..)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}

/// A whole number: decimal, or octal after `0` and `0o`, binary after `0b`, hexadecimal after `0x`.
fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let in_base = |digits: &str, base| {
        let number = digits
            .chars()
            .all(|c| c.is_digit(base))
            .then(|| i128::from_str_radix(digits, base).ok());
        i64::try_from(number??.checked_mul(sign)?).ok()
    };
    if let Some(digits) = lower.strip_prefix("0x") {
        return in_base(digits, 16);
    }
    if let Some(digits) = lower.strip_prefix("0b") {
        return in_base(digits, 2);
    }
    if let Some(digits) = lower.strip_prefix("0o") {
        return in_base(digits, 8);
    }
    if lower.len() > 1 && lower.starts_with('0') {
        return in_base(&lower, 8);
    }
    in_base(&lower, 10)
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Rust reads words such as "-infinity" as numbers; YAML does not.
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    (has_digit && text.chars().all(numeric)).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{resolve, surprise};
    use crate::text::Value;

    #[test]
    fn words_and_numbers_are_what_kubernetes_reads() {
        assert_eq!(resolve("on"), Value::Bool(true));
        assert_eq!(resolve("n"), Value::Bool(false));
        assert_eq!(resolve("oN"), Value::Text("oN".to_owned()));
        for (text, number) in
            [("0777", 511), ("0o10", 8), ("0b101", 5), ("1_000", 1000), ("-0x1F", -31), ("+7", 7)]
        {
            assert_eq!(resolve(text), Value::Int(number, text.to_owned()));
        }
        assert_eq!(resolve("089"), Value::Float(89.0, "089".to_owned()));
        assert_eq!(resolve("1e3"), Value::Float(1000.0, "1e3".to_owned()));
        for text in ["12:30:45", "2026-01-31", "1.2.3", "0x", "-", "10.0.0.1", "1s", "-inf"] {
            assert_eq!(resolve(text), Value::Text(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn only_what_surprises_is_told() {
        let told = |text: &str| surprise(text, &resolve(text));
        assert_eq!(told("yes").unwrap(), "Kubernetes reads yes without quotes as true");
        assert_eq!(told("010").unwrap(), "Kubernetes reads 010 without quotes as the number 8");
        for text in ["true", "False", "10", "+7", "0", "abc", "1.5"] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
