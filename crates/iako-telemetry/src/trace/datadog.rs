//! Datadog's headers, with W3C's beside them. Source: Datadog's documentation of propagation.

use super::{Found, TraceContext, w3c};
use crate::headers::{self, HeaderLookup};

/// What the context's `state` holds of a trace that began here: why it is kept.
pub const BEGAN_HERE: &str = ";t.dm:-0";

pub(super) fn extract(headers: &(impl HeaderLookup + ?Sized)) -> Found {
    let header = |name: &str| headers::text(headers, name);
    let decimal = |name: &str| header(name).and_then(|text| text.trim().parse::<u64>().ok());
    let decided = header("x-datadog-sampling-priority")
        .and_then(|priority| priority.trim().parse::<i32>().ok())
        .map(|priority| priority > 0);
    let Some(low) = decimal("x-datadog-trace-id").filter(|id| *id != 0) else {
        return match w3c::extract(headers) {
            Found::Context(context, decided) => {
                Found::Context(TraceContext { state: String::new(), ..context }, decided)
            }
            // The library passes over what it cannot read.
            Found::Nothing | Found::Decision(_) | Found::Broken => Found::Nothing,
        };
    };
    let high = header("x-datadog-tags").and_then(high_part).unwrap_or(0);
    let Some(span_id) = decimal("x-datadog-parent-id").filter(|id| *id != 0) else {
        return Found::Nothing;
    };
    let origin = header("x-datadog-origin").map(|origin| format!(";o:{origin}"));
    let context = TraceContext {
        trace_id: u128::from(high) << 64 | u128::from(low),
        short: high == 0,
        span_id,
        parent_id: None,
        sampled: decided.unwrap_or(true),
        single: false,
        state: origin.unwrap_or_default(),
    };
    Found::Context(context, decided)
}

/// The first half of a trace's id, which stands among the tags.
fn high_part(tags: &str) -> Option<u64> {
    let value = tags.split(',').find_map(|tag| tag.trim().strip_prefix("_dd.p.tid="))?;
    super::number(value)
}

pub(super) fn inject(context: &TraceContext, set: &mut impl FnMut(&'static str, String)) {
    let TraceContext { trace_id, span_id, sampled, state, .. } = context;
    let low = trace_id & u128::from(u64::MAX);
    let priority = u8::from(*sampled);
    set("x-datadog-trace-id", low.to_string());
    set("x-datadog-parent-id", span_id.to_string());
    set("x-datadog-sampling-priority", priority.to_string());
    let mut tags = Vec::new();
    if !context.short {
        tags.push(format!("_dd.p.tid={:016x}", trace_id >> 64));
    }
    if state.contains(BEGAN_HERE) {
        tags.push("_dd.p.dm=-0".to_owned());
    }
    if !tags.is_empty() {
        set("x-datadog-tags", tags.join(","));
    }
    set("traceparent", w3c::traceparent(context));
    set("tracestate", format!("dd=s:{priority};p:{span_id:016x}{state}"));
}
