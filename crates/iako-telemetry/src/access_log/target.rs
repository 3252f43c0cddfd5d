//! Operators about what was asked for: path, query, host.

use std::borrow::Cow;

use super::operator::Value;
use super::record::AccessRecord;

/// Where the path of `%PATH%` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathSource {
    Original,
    Present,
    OriginalOrPresent,
}

/// Whether a query is part of `%PATH%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    With,
    Without,
}

/// How `%QUERY_PARAMS%` shows the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryForm {
    AsItIs,
    Decoded,
}

/// Which of SNI and host `%REQUESTED_SERVER_NAME%` prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameOrder {
    SniOnly,
    SniFirst,
    HostFirst,
}

/// Where the host of `%REQUESTED_SERVER_NAME%` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostSource {
    Original,
    Present,
    OriginalOrPresent,
}

fn header<'a>(record: &'a AccessRecord<'_>, name: &str) -> Option<&'a [u8]> {
    record.request_headers.first_value(name).filter(|value| !value.is_empty())
}

pub(super) fn server_name<'a>(
    record: &'a AccessRecord<'_>,
    order: NameOrder,
    source: HostSource,
) -> Option<Value<'a>> {
    let sni = || Value::text(record.downstream.server_name);
    let original = || header(record, "x-envoy-original-host");
    let present = || header(record, ":authority");
    let host = || {
        let host = match source {
            HostSource::Original => original(),
            HostSource::Present => present(),
            HostSource::OriginalOrPresent => original().or_else(present),
        };
        host.map(Value::Bytes)
    };
    match order {
        NameOrder::SniOnly => sni(),
        NameOrder::SniFirst => sni().or_else(host),
        NameOrder::HostFirst => host().or_else(sni),
    }
}

pub(super) fn path<'a>(
    record: &'a AccessRecord<'_>,
    query: Query,
    source: PathSource,
) -> Option<Value<'a>> {
    let original = || header(record, "x-envoy-original-path");
    let present = || header(record, ":path");
    let path = match source {
        PathSource::Original => original(),
        PathSource::Present => present(),
        PathSource::OriginalOrPresent => original().or_else(present),
    }?;
    Some(Value::Bytes(match query {
        Query::With => path,
        Query::Without => path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(path),
    }))
}

/// The query of the present path, without its question mark.
fn query_of<'a>(record: &'a AccessRecord<'_>) -> Option<&'a [u8]> {
    let path = header(record, ":path")?;
    let at = path.iter().position(|byte| *byte == b'?')?;
    path.get(at.saturating_add(1)..)
}

pub(super) fn query<'a>(record: &'a AccessRecord<'_>, form: QueryForm) -> Option<Value<'a>> {
    let query = query_of(record)?;
    Some(match form {
        QueryForm::AsItIs => Value::Bytes(query),
        QueryForm::Decoded => Value::Text(decoded_where(query, is_shown)),
    })
}

pub(super) fn query_parameter<'a>(record: &'a AccessRecord<'_>, name: &str) -> Option<Value<'a>> {
    for parameter in query_of(record)?.split(|byte| *byte == b'&') {
        let mut halves = parameter.splitn(2, |byte| *byte == b'=');
        let key = decoded(halves.next().unwrap_or_default());
        if key == name {
            return Some(Value::Text(decoded(halves.next().unwrap_or_default())));
        }
    }
    None
}

/// Whether a decoded byte may stand in a line: visible, and no quote.
const fn is_shown(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'"'
}

/// Percent signs taken out; what is no hexadecimal number stays.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    decoded_where(text, |_| true)
}

/// The same for bytes of which `wanted` says so; others stay as they came.
fn decoded_where(text: &[u8], wanted: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if !text.contains(&b'%') {
        return String::from_utf8_lossy(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *byte == b'%');
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let number = digits.and_then(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?));
        let number = number.and_then(|number| u8::try_from(number).ok());
        match number.filter(|number| wanted(*number)) {
            Some(number) => {
                plain.push(number);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}
