//! `traceparent` and `tracestate`. Source: W3C Trace Context level 1, as Envoy reads it.

use super::{Found, TraceContext, number};
use crate::headers::{self, HeaderLookup};

/// Bytes of `version-traceid-parentid-flags`.
const LENGTH: usize = 55;

/// A `traceparent` of another form is no context, and nothing else either.
pub(super) fn extract(headers: &(impl HeaderLookup + ?Sized)) -> Found {
    let Some(parent) = headers.first_value("traceparent") else { return Found::Nothing };
    let Some(context) = std::str::from_utf8(parent).ok().and_then(parse) else {
        return Found::Broken;
    };
    let state = headers::text(headers, "tracestate").unwrap_or_default().to_owned();
    let decided = Some(context.sampled);
    Found::Context(TraceContext { state, ..context }, decided)
}

fn parse(text: &str) -> Option<TraceContext> {
    if text.len() != LENGTH {
        return None;
    }
    let mut fields = text.split('-');
    let (version, trace_id) = (fields.next()?, fields.next()?);
    let (span_id, flags) = (fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let lengths = [version, trace_id, span_id, flags].map(str::len);
    if lengths != [2, 32, 16, 2] {
        return None;
    }
    number(version)?;
    let (high, low) = trace_id.split_at_checked(16)?;
    let trace_id = u128::from(number(high)?) << 64 | u128::from(number(low)?);
    let span_id = number(span_id)?;
    let sampled = number(flags)? & 1 == 1;
    (trace_id != 0 && span_id != 0).then(|| TraceContext {
        trace_id,
        short: false,
        span_id,
        parent_id: None,
        sampled,
        single: false,
        state: String::new(),
    })
}

pub(super) fn traceparent(context: &TraceContext) -> String {
    let TraceContext { trace_id, span_id, sampled, .. } = context;
    format!("00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*sampled))
}
