//! Reads single values.

use std::{str::FromStr, time::Duration};

use iako_types::Percent;

use super::{Cursor, closest};
use crate::{Code, text::Value};

impl Cursor<'_> {
    /// A text. A number or boolean is reported, with the advice to quote it.
    pub(crate) fn text(&self) -> Option<String> {
        if let Value::Text(text) = &self.node.value {
            return Some(text.clone());
        }
        self.wrong_type("a text");
        None
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self.node.value {
            return Some(value);
        }
        self.wrong_type("true or false");
        None
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&self, min: i64, max: i64) -> Option<i64> {
        let number = match &self.node.value {
            Value::Int(number, _) => *number,
            Value::Float(number, _) if number.fract() == 0.0 && number.abs() < 9e15 => {
                #[expect(clippy::cast_possible_truncation, reason = "whole and small, as checked")]
                let whole = *number as i64;
                whole
            }
            Value::Null
            | Value::Bool(_)
            | Value::Float(..)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                self.wrong_type("a whole number");
                return None;
            }
        };
        if (min..=max).contains(&number) {
            return Some(number);
        }
        let message = format!("expected a number from {min} to {max}, found {number}");
        self.report(Code::BadValue, message);
        None
    }

    /// A whole number from 0 to 2^32 - 1.
    pub(crate) fn number(&self) -> Option<u32> {
        self.integer(0, i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    /// A protobuf int32 that means nothing below zero.
    pub(crate) fn count(&self) -> Option<u32> {
        self.integer(0, i64::from(i32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    /// A port, 1 to 65535.
    pub(crate) fn port(&self) -> Option<u16> {
        self.integer(1, i64::from(u16::MAX)).and_then(|number| u16::try_from(number).ok())
    }

    /// Any number.
    pub(crate) fn float(&self) -> Option<f64> {
        match &self.node.value {
            #[expect(clippy::cast_precision_loss, reason = "numbers people write are small")]
            Value::Int(number, _) => Some(*number as f64),
            Value::Float(number, _) if number.is_finite() => Some(*number),
            Value::Null
            | Value::Bool(_)
            | Value::Float(..)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                self.wrong_type("a number");
                None
            }
        }
    }

    /// A share of 0 to 100 %.
    pub(crate) fn percent(&self) -> Option<Percent> {
        match Percent::from_f64(self.float()?) {
            Ok(percent) => Some(percent),
            Err(error) => {
                self.report(Code::BadValue, error.to_string());
                None
            }
        }
    }

    /// Protobuf's `Percent` message: a mapping with `value`.
    pub(crate) fn percent_message(&self) -> Option<Percent> {
        let fields = self.fields();
        let Some(value) = fields.get("value") else { return Some(Percent::ZERO) };
        let percent = value.percent()?;
        if percent == Percent::ZERO && value.float().is_some_and(|number| number != 0.0) {
            value.report(Code::BadValue, "a percentage is 0 or at least 0.0001");
            return None;
        }
        Some(percent)
    }

    /// A duration of at least a millisecond, in whole milliseconds.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let duration = self.duration_or_zero()?;
        if duration.is_zero() {
            self.report(Code::BadDuration, "the duration must be at least 1ms");
            return None;
        }
        Some(duration)
    }

    /// A duration in whole milliseconds; zero is allowed.
    pub(crate) fn duration_or_zero(&self) -> Option<Duration> {
        const HELP: &str = "write a number with a unit, such as 500ms, 1.5s, 10m or 1h";
        let Value::Text(text) = &self.node.value else {
            let message =
                format!("expected a duration, found {}", super::describe(&self.node.value));
            self.report_with_help(Code::BadDuration, message, HELP);
            return None;
        };
        let Some(duration) = duration_of(text) else {
            let message = format!("{:?} is no duration", super::shortened(text));
            self.report_with_help(Code::BadDuration, message, HELP);
            return None;
        };
        if duration.subsec_nanos() % 1_000_000 != 0 {
            self.report(Code::BadDuration, "a duration is a whole number of milliseconds");
            return None;
        }
        Some(duration)
    }

    /// A text that a type reads; what the type says of a fault is passed on.
    pub(crate) fn parsed<T>(&self, code: Code) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.text()?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("{:?} is not allowed: {error}", super::shortened(&text));
                self.report(code, message);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("expected one of {}, found {text:?}", names.join(", "));
        match closest(&text, &names) {
            Some(name) => {
                self.report_with_help(Code::UnknownEnum, message, format!("did you mean {name}?"));
            }
            None => self.report(Code::UnknownEnum, message),
        }
        None
    }
}

/// Reads a duration as Go does: `1h15m`, `1.5s`, `300ms`. `0` needs no unit. `None` when it is
/// none, negative, or longer than 10,000 years (protobuf's bound).
fn duration_of(text: &str) -> Option<Duration> {
    const SECONDS_MAX: f64 = 315_576_000_000.0;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(part(number, seconds, SECONDS_MAX)?)?;
        rest = next;
    }
    (total.as_secs_f64() <= SECONDS_MAX).then_some(total)
}

fn part(number: &str, unit_seconds: f64, seconds_max: f64) -> Option<Duration> {
    // Whole numbers are exact; only fractions go through floating point, rounded to nanoseconds.
    let unit_nanos = (unit_seconds * 1e9).round();
    let nanos = match number.parse::<u64>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 3.6e12")]
        Ok(whole) => return nanos_of(u128::from(whole) * unit_nanos as u128),
        Err(_) => number.parse::<f64>().ok()? * unit_nanos,
    };
    if !(0.0..=seconds_max * 1e9).contains(&nanos) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    let nanos = nanos.round() as u128;
    nanos_of(nanos)
}

fn nanos_of(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}
