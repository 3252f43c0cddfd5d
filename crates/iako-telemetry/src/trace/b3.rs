//! B3 in one header and in several. Source: openzipkin/b3-propagation.

use super::{Decision, Extracted, Propagation, SpanId, TraceContext, TraceId};

/// Reads `traceid-spanid[-decision[-parentid]]`, or the decision alone.
pub(super) fn parse_single(text: &str) -> Option<Extracted> {
    if !text.contains('-') {
        return decision(text).map(Extracted::DecisionOnly);
    }
    let mut fields = text.split('-');
    let trace_id = TraceId::parse(fields.next()?)?;
    let span_id = SpanId::parse(fields.next()?)?;
    let decision = match fields.next() {
        Some(field) => decision(field)?,
        None => Decision::Deferred,
    };
    let parent_id = match fields.next() {
        Some(field) => Some(SpanId::parse(field)?),
        None => None,
    };
    if fields.next().is_some() {
        return None;
    }
    let context = TraceContext { trace_id, span_id, parent_id, decision };
    Some(Extracted::Context(context, Propagation::B3Single))
}

/// `true` and `false` come from old clients.
fn decision(text: &str) -> Option<Decision> {
    match text {
        "1" | "true" => Some(Decision::Sample),
        "0" | "false" => Some(Decision::Drop),
        "d" => Some(Decision::Debug),
        _ => None,
    }
}

pub(super) fn parse_multi<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Extracted> {
    let decided = match header("x-b3-flags") {
        Some("1") => Decision::Debug,
        _ => header("x-b3-sampled").and_then(decision).unwrap_or(Decision::Deferred),
    };
    let ids = header("x-b3-traceid").and_then(TraceId::parse);
    let ids = ids.zip(header("x-b3-spanid").and_then(SpanId::parse));
    match (ids, decided) {
        (None, Decision::Deferred) => None,
        (None, decided) => Some(Extracted::DecisionOnly(decided)),
        (Some((trace_id, span_id)), decision) => {
            let parent_id = header("x-b3-parentspanid").and_then(SpanId::parse);
            let context = TraceContext { trace_id, span_id, parent_id, decision };
            Some(Extracted::Context(context, Propagation::B3Multi))
        }
    }
}

pub(super) fn format_single(context: &TraceContext) -> String {
    let mut text = format!("{}-{}", context.trace_id, context.span_id);
    let decision = match context.decision {
        Decision::Deferred => return text,
        Decision::Drop => "-0",
        Decision::Sample => "-1",
        Decision::Debug => "-d",
    };
    text.push_str(decision);
    if let Some(parent_id) = context.parent_id {
        text.push('-');
        text.push_str(&parent_id.to_string());
    }
    text
}

pub(super) fn format_multi(context: &TraceContext) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("x-b3-traceid", context.trace_id.to_string()),
        ("x-b3-spanid", context.span_id.to_string()),
    ];
    if let Some(parent_id) = context.parent_id {
        headers.push(("x-b3-parentspanid", parent_id.to_string()));
    }
    match context.decision {
        Decision::Deferred => {}
        Decision::Drop => headers.push(("x-b3-sampled", "0".to_owned())),
        Decision::Sample => headers.push(("x-b3-sampled", "1".to_owned())),
        // The flag says more than `sampled`, which is then left out.
        Decision::Debug => headers.push(("x-b3-flags", "1".to_owned())),
    }
    headers
}
