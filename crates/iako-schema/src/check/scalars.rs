//! Bounds of single values, and how many things a list or mapping may hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value as Json;

use super::Problem;
use crate::instance::{Shape, shortened};
use crate::schema::{Schema, Type};

/// What is wrong with a value.
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) message: String,
    /// Whether rules may not be asked about it: what they cost is bounded by how much there is.
    pub(super) is_blocking: bool,
}

/// The first thing that is wrong with a value, apart from its type and from what is inside it.
pub(super) fn fault<D>(schema: &Schema, shape: &Shape<'_, D>) -> Option<Fault> {
    let bad = |message| Fault { problem: Problem::BadValue, message, is_blocking: false };
    let much = |message| Fault { problem: Problem::BadValue, message, is_blocking: true };
    if let Some(message) = unknown_word(schema, shape) {
        return Some(Fault { problem: Problem::UnknownWord, message, is_blocking: false });
    }
    match shape {
        Shape::Text(text) => {
            let length = || text.chars().count();
            bounds(schema.length, length, "characters")
                .map(much)
                .or_else(|| unmatched(schema, text).map(bad))
        }
        #[expect(clippy::cast_precision_loss, reason = "bounds are small whole numbers")]
        Shape::Int(number) => {
            unfit(&schema.format, *number).or_else(|| outside(schema, *number as f64)).map(bad)
        }
        Shape::Float(number) => outside(schema, *number).map(bad),
        Shape::List(items) => bounds(schema.count, || items.len(), "elements").map(much),
        Shape::Map(entries) => bounds(schema.size, || entries.len(), "fields").map(much),
        Shape::Null | Shape::Bool(_) => None,
    }
}

/// The words that a value may be.
pub(super) fn words(schema: &Schema) -> Vec<&str> {
    schema.words.iter().filter_map(Json::as_str).collect()
}

fn unknown_word<D>(schema: &Schema, shape: &Shape<'_, D>) -> Option<String> {
    if schema.words.is_empty() {
        return None;
    }
    let is_known = schema.words.iter().any(|word| match (word, shape) {
        (Json::String(word), Shape::Text(text)) => word == text,
        (Json::Number(word), Shape::Int(number)) => word.as_i64() == Some(*number),
        (Json::Bool(word), Shape::Bool(value)) => word == value,
        _ => false,
    });
    if is_known {
        return None;
    }
    let word = |word: &Json| match word {
        Json::String(text) if text.is_empty() => "\"\"".to_owned(),
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            word.to_string()
        }
    };
    let words: Vec<String> = schema.words.iter().map(word).collect();
    Some(format!("expected one of {}, found {}", words.join(", "), shape.described()))
}

fn bounds(
    (least, most): (Option<usize>, Option<usize>),
    count: impl Fn() -> usize,
    what: &str,
) -> Option<String> {
    if least.is_none() && most.is_none() {
        return None;
    }
    let count = count();
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(usize::MAX));
    if count < least {
        let one = what.strip_suffix('s').unwrap_or(what);
        let what = if least == 1 { one } else { what };
        return Some(format!("at least {least} {what} needed, found {count}"));
    }
    (count > most).then(|| format!("at most {most} {what} allowed, found {count}"))
}

fn outside(schema: &Schema, number: f64) -> Option<String> {
    if let Some((bound, is_excluded)) = schema.minimum
        && (number < bound || (is_excluded && number <= bound))
    {
        let than = if is_excluded { "more than" } else { "at least" };
        return Some(format!("expected a number of {than} {bound}, found {number}"));
    }
    if let Some((bound, is_excluded)) = schema.maximum
        && (number > bound || (is_excluded && number >= bound))
    {
        let than = if is_excluded { "less than" } else { "at most" };
        return Some(format!("expected a number of {than} {bound}, found {number}"));
    }
    None
}

/// Numbers that the format cannot hold.
fn unfit(format: &str, number: i64) -> Option<String> {
    let fits = match format {
        "int32" => i32::try_from(number).is_ok(),
        "uint32" => u32::try_from(number).is_ok(),
        "uint64" => number >= 0,
        _ => true,
    };
    (!fits).then(|| format!("{number} is no {format}"))
}

fn unmatched(schema: &Schema, text: &str) -> Option<String> {
    if let Some(pattern) = &schema.pattern
        && !pattern.matches(text)
    {
        return Some(format!("{:?} does not match {}", shortened(text), pattern.text));
    }
    let is_one = match (schema.kind, schema.format.as_str()) {
        (Type::IntegerOrText, _) => true,
        (_, "ipv4") => text.parse::<Ipv4Addr>().is_ok(),
        (_, "ipv6") => text.parse::<Ipv6Addr>().is_ok(),
        (_, "cidr") => is_network(text),
        (_, "byte") => is_base64(text),
        (_, "date-time") => is_moment(text),
        _ => true,
    };
    (!is_one).then(|| format!("{:?} is no {}", shortened(text), schema.format))
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len().saturating_sub(digits.len());
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len().is_multiple_of(4) && padding <= 2 && digits.bytes().all(is_digit)
}

/// A time as RFC 3339 writes it; how long its month is, nobody asks here.
fn is_moment(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else { return false };
    let zone = time.find(['Z', 'z', '+', '-']);
    let Some((clock, zone)) = zone.and_then(|at| time.split_at_checked(at)) else { return false };
    let numbers = |text: &str, separator: char, lengths: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let is_number = |(part, length): (&&str, &usize)| part.len() == *length && is_digits(part);
        parts.len() == lengths.len() && parts.iter().zip(lengths).all(is_number)
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let offset = zone.trim_start_matches(['+', '-']);
    let is_zone = matches!(zone, "Z" | "z") || numbers(offset, ':', &[2, 2]);
    numbers(date, '-', &[4, 2, 2])
        && numbers(clock, ':', &[2, 2, 2])
        && is_digits(fraction)
        && is_zone
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
