//! Single values: what a word of a document means in a field of some kind.

use prost_reflect::{Kind, MapKey, Value};

use super::document::Style;

/// The value of a scalar field, or nothing when the text is no such value.
pub(super) fn value(kind: &Kind, text: &str, style: Style) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(boolean(text)?),
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(base64(text)?.into()),
        Kind::Double => Value::F64(number(text)?),
        #[expect(clippy::cast_possible_truncation, reason = "a float field holds no more")]
        Kind::Float => Value::F32(number(text)? as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(integer(text)?.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(integer(text)?.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(integer(text)?.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(integer(text)?.try_into().ok()?),
        Kind::Enum(descriptor) => {
            let by_name = descriptor.get_value_by_name(text).map(|value| value.number());
            let by_number = || {
                integer(text)
                    .filter(|_| style == Style::Plain)
                    .and_then(|number| number.try_into().ok())
            };
            Value::EnumNumber(by_name.or_else(by_number)?)
        }
        Kind::Message(_) => return None,
    })
}

/// The key of a map field.
pub(super) fn map_key(kind: &Kind, text: &str) -> Option<MapKey> {
    value(kind, text, Style::Quoted)?.into_map_key()
}

/// What a field of a kind accepts, as a sentence for its author.
pub(super) fn expectation(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "write true or false".to_owned(),
        Kind::String => "write a text".to_owned(),
        Kind::Bytes => "write the bytes in base64".to_owned(),
        Kind::Double | Kind::Float => "write a number".to_owned(),
        Kind::Enum(descriptor) => {
            let names: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
            format!("write one of {}", names.join(", "))
        }
        Kind::Message(descriptor) => format!("write the fields of `{}`", descriptor.full_name()),
        Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
            "write a whole number, not negative".to_owned()
        }
        Kind::Int32
        | Kind::Int64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Sfixed32
        | Kind::Sfixed64 => "write a whole number".to_owned(),
    }
}

/// A number in decimal, hexadecimal (`0x1f`) or octal (`0o17`) notation.
pub(super) fn number(text: &str) -> Option<f64> {
    match text {
        "Infinity" | ".inf" => return Some(f64::INFINITY),
        "-Infinity" | "-.inf" => return Some(f64::NEG_INFINITY),
        "NaN" | ".nan" => return Some(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles")]
    let whole = || integer(text).map(|whole| whole as f64);
    text.parse().ok().or_else(whole)
}

fn integer(text: &str) -> Option<i128> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i128::from_str_radix(digits, 8).ok();
    }
    text.parse().ok().or_else(|| whole_float(text))
}

/// `1e3` and `2.0` are whole numbers too.
fn whole_float(text: &str) -> Option<i128> {
    let number: f64 = text.parse().ok()?;
    let exact = number.fract() == 0.0 && number.abs() < 9.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below the type's limit")]
    exact.then_some(number as i128)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Seconds and nanoseconds of a duration: `10s`, `0.25s`, `-1s`, and Go's `1h30m`, `250ms`.
pub(super) fn duration(text: &str) -> Option<(i64, i32)> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at_checked(unit_at)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(unit_end)?;
        nanos = nanos.checked_add(decimal(digits, unit_nanos(unit)?)?)?;
        rest = next;
    }
    let nanos = nanos.checked_mul(sign)?;
    let seconds = i64::try_from(nanos.checked_div(1_000_000_000)?).ok()?;
    Some((seconds, i32::try_from(nanos.checked_rem(1_000_000_000)?).ok()?))
}

const fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit.as_bytes() {
        b"h" => 3_600_000_000_000,
        b"m" => 60_000_000_000,
        b"s" => 1_000_000_000,
        b"ms" => 1_000_000,
        b"us" => 1_000,
        b"ns" => 1,
        _ => return None,
    })
}

/// A decimal number of units, in nanoseconds; what is smaller than one is cut off.
fn decimal(digits: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut part = unit;
    for digit in fraction.chars() {
        part = part.checked_div(10)?;
        nanos = nanos.checked_add(part.checked_mul(i128::from(digit.to_digit(10)?))?)?;
    }
    Some(nanos)
}

/// Bytes in base64, either alphabet, with or without padding. Source: proto3 JSON, RFC 4648 §4-5.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut pending, mut bits) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        pending = (pending << 6) | u32::from(six);
        bits = bits.wrapping_add(6);
        if bits >= 8 {
            bits = bits.wrapping_sub(8);
            bytes.push(u8::try_from((pending >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_envoy_and_of_go_are_read() {
        assert_eq!(duration("10s"), Some((10, 0)));
        assert_eq!(duration("0.25s"), Some((0, 250_000_000)));
        assert_eq!(duration("1h30m"), Some((5400, 0)));
        assert_eq!(duration("250ms"), Some((0, 250_000_000)));
        assert_eq!(duration("-1.5s"), Some((-1, -500_000_000)));
        assert_eq!(duration("10"), None);
        assert_eq!(duration("s"), None);
        assert_eq!(duration("1d"), None);
    }

    #[test]
    fn bytes_are_read_in_both_alphabets() {
        assert_eq!(base64("aGk_").as_deref(), Some(b"hi?".as_slice()));
        assert_eq!(base64("aGk/").as_deref(), Some(b"hi?".as_slice()));
        assert_eq!(base64("aA==").as_deref(), Some(b"h".as_slice()));
        assert_eq!(base64("a b"), None);
    }
}
