//! `traceparent` and `tracestate`. Source: W3C Trace Context level 1.

use super::{Decision, SpanId, TraceContext, TraceId};

/// Reads `version-traceid-parentid-flags`. Later versions may append fields; version `ff` and
/// upper-case digits are invalid.
pub(super) fn parse(text: &str) -> Option<TraceContext> {
    let mut fields = text.splitn(5, '-');
    let (version, trace_id) = (fields.next()?, fields.next()?);
    let (span_id, flags, more) = (fields.next()?, fields.next()?, fields.next());
    let lower = |field: &str| field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let version_ok = version.len() == 2 && lower(version) && version != "ff";
    if !version_ok || (version == "00" && more.is_some()) {
        return None;
    }
    if trace_id.len() != 32
        || flags.len() != 2
        || ![trace_id, span_id, flags].map(lower).iter().all(|ok| *ok)
    {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let decision = if flags & 1 == 1 { Decision::Sample } else { Decision::Drop };
    let (trace_id, span_id) = (TraceId::parse(trace_id)?, SpanId::parse(span_id)?);
    Some(TraceContext { trace_id, span_id, parent_id: None, decision })
}

pub(super) fn format(context: &TraceContext) -> String {
    let sampled = u8::from(context.decision.sampled() == Some(true));
    format!("00-{}-{}-{sampled:02x}", context.trace_id.long(), context.span_id)
}

/// Most members of a `tracestate` list.
const MEMBERS_MAX: usize = 32;
/// Longest `tracestate` that is passed on, in bytes; the specification asks for at least 512.
const BYTES_MAX: usize = 8_192;

/// Whether a `tracestate` may be passed on: a list of at most 32 members `key=value` of visible
/// ASCII. An invalid one is dropped; the trace goes on without it.
#[must_use]
pub fn tracestate_is_valid(text: &str) -> bool {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    text.len() <= BYTES_MAX
        && members.clone().count() <= MEMBERS_MAX
        && members.into_iter().all(|member| {
            member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value))
        })
}

fn is_key(key: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    (1..=256).contains(&key.len()) && key.bytes().all(allowed)
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracestate_is_passed_on_only_when_it_is_a_list_of_pairs() {
        assert!(tracestate_is_valid("rojo=00f067aa0ba902b7, congo@x=t61rcWkgMzE"));
        assert!(tracestate_is_valid(""));
        assert!(!tracestate_is_valid("rojo"));
        assert!(!tracestate_is_valid("Rojo=1"));
        assert!(!tracestate_is_valid("a=\u{7f}"));
        assert!(!tracestate_is_valid(&vec!["a=1"; 33].join(",")));
    }
}
