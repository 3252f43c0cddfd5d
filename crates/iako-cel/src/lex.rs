//! Text into words.

use crate::tree::Literal;

/// A word of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A name, which may be a reserved one.
    Name(String),
    /// A value that is written down.
    Literal(Literal),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Nothing more.
    End,
}

/// Signs, the longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "+", "-",
    "*", "/", "%", "!", "<", ">",
];

/// Why a text is no word: what, and where in bytes.
pub(crate) type LexError = (String, usize);

/// All words with the place where each begins.
pub(crate) fn words(text: &str) -> Result<Vec<(Token, usize)>, LexError> {
    let mut words = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() {
        let at = text.len().saturating_sub(rest.len());
        let (word, after) = word(rest).map_err(|problem| (problem, at))?;
        words.push((word, at));
        rest = skip(after);
    }
    words.push((Token::End, text.len()));
    Ok(words)
}

/// Leaves out white space and comments.
fn skip(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let Some(comment) = text.strip_prefix("//") else { return text };
        text = comment.split_once('\n').map_or("", |(_, after)| after);
    }
}

fn word(text: &str) -> Result<(Token, &str), String> {
    let first = text.chars().next().unwrap_or(' ');
    if let Some(found) = quoted(text)? {
        return Ok(found);
    }
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    if is_number(text) || text.strip_prefix('.').is_some_and(is_number) {
        return number(text);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        return Ok((Token::Name(name.to_owned()), rest));
    }
    let sign = SIGNS.into_iter().find(|sign| text.starts_with(sign));
    let sign = sign.ok_or_else(|| format!("`{first}` begins nothing"))?;
    Ok((Token::Sign(sign), text.strip_prefix(sign).unwrap_or_default()))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(end);
        return whole(digits, 16, rest);
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(text);
    let mut is_double = false;
    let after = |end: usize| text.get(end..).unwrap_or_default();
    if let Some(part) = after(end).strip_prefix('.')
        && part.starts_with(|c: char| c.is_ascii_digit())
    {
        is_double = true;
        end = end.saturating_add(1).saturating_add(digits(part));
    }
    if let Some(part) = after(end).strip_prefix(['e', 'E']) {
        let unsigned = part.strip_prefix(['+', '-']).unwrap_or(part);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            is_double = true;
            let length = part.len().saturating_sub(unsigned.len()).saturating_add(digits(unsigned));
            end = end.saturating_add(1).saturating_add(length);
        }
    }
    let (number, rest) = text.split_at(end);
    if !is_double {
        return whole(number, 10, rest);
    }
    let value = number.parse().map_err(|_no_number| format!("`{number}` is no number"))?;
    Ok((Token::Literal(Literal::Double(value)), rest))
}

/// A whole number, with its `u` where it has one. What is one too large for an `int` may still be
/// made negative, which the parser does.
fn whole<'t>(digits: &str, radix: u32, rest: &'t str) -> Result<(Token, &'t str), String> {
    let value = u64::from_str_radix(digits, radix);
    let value = value.map_err(|_no_number| format!("`{digits}` is no number that fits"))?;
    if let Some(rest) = rest.strip_prefix(['u', 'U']) {
        return Ok((Token::Literal(Literal::Uint(value)), rest));
    }
    match i64::try_from(value) {
        Ok(value) => Ok((Token::Literal(Literal::Int(value)), rest)),
        Err(_) if value == 1 << 63 => Ok((Token::Literal(Literal::Int(i64::MIN)), rest)),
        Err(_) => Err(format!("`{digits}` is larger than an int can be")),
    }
}

/// A text or bytes; none where no quote begins here.
fn quoted(text: &str) -> Result<Option<(Token, &str)>, String> {
    let (mut is_raw, mut is_bytes) = (false, false);
    let mut body = text;
    while let Some(first) = body.chars().next() {
        match first {
            'r' | 'R' if !is_raw => is_raw = true,
            'b' | 'B' if !is_bytes => is_bytes = true,
            '"' | '\'' => break,
            _ => return Ok(None),
        }
        body = body.get(1..).unwrap_or_default();
    }
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote));
    let Some(quote) = quote else { return Ok(None) };
    let body = body.strip_prefix(quote).unwrap_or_default();
    let (end, rest) = close(body, quote, (!is_raw).then_some('\\'))?;
    let inner = body.get(..end).unwrap_or_default();
    let literal = match (is_raw, is_bytes) {
        (true, true) => Literal::Bytes(inner.as_bytes().to_vec()),
        (true, false) => Literal::Text(inner.to_owned()),
        (false, true) => Literal::Bytes(unescaped(inner, Escapes::Bytes)?),
        (false, false) => {
            let bytes = unescaped(inner, Escapes::Text)?;
            let no_text = |_| "an escape stands for no character".to_owned();
            Literal::Text(String::from_utf8(bytes).map_err(no_text)?)
        }
    };
    Ok(Some((Token::Literal(literal), rest)))
}

/// Where a text ends, and what is behind.
fn close<'t>(body: &'t str, quote: &str, escape: Option<char>) -> Result<(usize, &'t str), String> {
    let unfinished = || "a text has no end".to_owned();
    let mut escaped = false;
    for (at, character) in body.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        let rest = body.get(at..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix(quote) {
            return Ok((at, rest));
        }
        match character {
            character if Some(character) == escape => escaped = true,
            '\n' | '\r' if quote.len() == 1 => return Err(unfinished()),
            _ => {}
        }
    }
    Err(unfinished())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// `\x` and octal numbers stand for characters.
    Text,
    /// They stand for bytes.
    Bytes,
}

fn unescaped(text: &str, escapes: Escapes) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = escape(after, escapes, &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// One escape, behind its backslash.
fn escape<'t>(text: &'t str, escapes: Escapes, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let mut characters = text.chars();
    let kind = characters.next().unwrap_or(' ');
    let simple = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '\'' | '"' | '?' | '`' => u8::try_from(kind).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(characters.as_str());
    }
    let unknown = || format!("`\\{kind}` is no escape");
    let (skipped, length, radix): (usize, usize, u32) = match kind {
        'x' | 'X' => (1, 2, 16),
        'u' if escapes == Escapes::Text => (1, 4, 16),
        'U' if escapes == Escapes::Text => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return Err(unknown()),
    };
    let digits = text.get(skipped..skipped.saturating_add(length)).ok_or_else(unknown)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let number = u32::from_str_radix(digits, radix).map_err(|_no_number| unknown())?;
    match (escapes, u8::try_from(number)) {
        (Escapes::Bytes, Ok(byte)) => out.push(byte),
        (Escapes::Bytes, Err(_)) => return Err(unknown()),
        (Escapes::Text, _) => {
            let character = char::from_u32(number).ok_or_else(unknown)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(text.get(skipped.saturating_add(length)..).unwrap_or_default())
}
