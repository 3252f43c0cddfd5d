//! Functions of texts, and how bytes are written in texts.

use std::borrow::Cow;

use crate::Value;
use crate::evaluate::Failure;

/// Base64 with padding, as JSON holds bytes.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| {
        let place = usize::try_from(bits & 63).unwrap_or(0);
        char::from(DIGITS.get(place).copied().unwrap_or(b'='))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_u32 {
            let is_there = usize::try_from(place).is_ok_and(|place| place <= group.len());
            text.push(if is_there { digit(bits >> (18 - 6 * place)) } else { '=' });
        }
    }
    text
}

/// Texts are counted in characters.
pub(crate) fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Result<Value<'a>, Failure> {
    let bound = |place: i64| -> Result<usize, Failure> {
        let place = usize::try_from(place).map_err(|_negative| Failure::Argument)?;
        let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        places.nth(place).ok_or(Failure::Argument)
    };
    let (from, to) = (bound(from)?, to.map_or(Ok(text.len()), bound)?);
    let part = text.get(from..to).ok_or(Failure::Argument)?;
    Ok(Value::Text(Cow::Owned(part.to_owned())))
}

/// Where a part begins, in characters, from a place on; -1 where it is not there.
pub(crate) fn index_of(text: &str, part: &str, from: i64) -> Result<i64, Failure> {
    let from = usize::try_from(from).map_err(|_negative| Failure::Argument)?;
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let start = places.nth(from).ok_or(Failure::Argument)?;
    let rest = text.get(start..).unwrap_or_default();
    Ok(rest.find(part).map_or(-1, |at| place(text, start.saturating_add(at))))
}

/// Where a part begins last; -1 where it is not there.
pub(crate) fn last_index_of(text: &str, part: &str) -> i64 {
    text.rfind(part).map_or(-1, |at| place(text, at))
}

fn place(text: &str, at: usize) -> i64 {
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    i64::try_from(before).unwrap_or(i64::MAX)
}

/// A text in place of another, at most so many times; always where that is negative.
pub(crate) fn replace(text: &str, from: &str, to: &str, most: i64) -> String {
    match usize::try_from(most) {
        Ok(most) => text.replacen(from, to, most),
        Err(_) => text.replace(from, to),
    }
}

/// The parts between a separator, at most so many; all where that is negative.
pub(crate) fn split<'a>(text: &str, separator: &str, most: i64) -> Vec<Value<'a>> {
    let part = |part: &str| Value::Text(Cow::Owned(part.to_owned()));
    let characters = |text: &str| text.chars().map(|one| one.to_string()).collect::<Vec<_>>();
    if separator.is_empty() {
        let mut parts = characters(text);
        if let Ok(most) = usize::try_from(most)
            && most < parts.len()
        {
            let kept = most.saturating_sub(1);
            let rest = parts.split_off(kept.min(parts.len())).concat();
            parts.extend((most > 0).then_some(rest));
        }
        return parts.iter().map(|one| part(one)).collect();
    }
    match usize::try_from(most) {
        Ok(most) => text.splitn(most, separator).map(part).collect(),
        Err(_) => text.split(separator).map(part).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_padded() {
        for (bytes, wanted) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(base64(bytes.as_bytes()), wanted);
        }
        assert_eq!(base64(&[0xff]), "/w==");
    }
}
