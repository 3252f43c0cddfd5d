//! B3 in one header and in several. Source: openzipkin/b3-propagation, as Envoy reads it.

use super::{Found, TraceContext, number};
use crate::headers::{self, HeaderLookup};

pub(super) fn extract(headers: &(impl HeaderLookup + ?Sized)) -> Found {
    if let Some(single) = headers.first_value("b3") {
        return std::str::from_utf8(single).map_or(Found::Broken, single_header);
    }
    let header = |name: &str| headers::text(headers, name);
    // `true` comes from old clients; whatever else is there means no.
    let decided = header("x-b3-sampled").map(|sampled| matches!(sampled, "1" | "true"));
    let (Some(trace_id), Some(span_id)) = (header("x-b3-traceid"), header("x-b3-spanid")) else {
        return decided.map_or(Found::Nothing, Found::Decision);
    };
    let parent_id = header("x-b3-parentspanid").filter(|parent| !parent.is_empty());
    context(trace_id, span_id, parent_id, decided)
}

fn context(trace: &str, span: &str, parent: Option<&str>, decided: Option<bool>) -> Found {
    let trace_id = match trace.split_at_checked(16) {
        Some((high, low)) if trace.len() == 32 => number(high)
            .zip(number(low))
            .map(|(high, low)| (u128::from(high) << 64 | u128::from(low), high == 0)),
        Some(_) | None => number(trace).map(|low| (u128::from(low), true)),
    };
    let parent_id = match parent.map(number) {
        Some(None) => return Found::Broken,
        Some(parent) => parent.filter(|parent| *parent != 0),
        None => None,
    };
    let Some(((trace_id, short), span_id)) = trace_id.zip(number(span)) else {
        return Found::Broken;
    };
    let sampled = decided.unwrap_or_default();
    let context = TraceContext {
        trace_id,
        short,
        span_id,
        parent_id,
        sampled,
        single: false,
        state: String::new(),
    };
    Found::Context(context, decided)
}

/// Reads `traceid-spanid[-decision[-parentid]]`, or the decision alone.
fn single_header(text: &str) -> Found {
    if let Some(decided) = decision(text) {
        return Found::Decision(decided);
    }
    let mut fields = text.split('-');
    let (Some(trace), Some(span)) = (fields.next(), fields.next()) else { return Found::Broken };
    let decided = match fields.next().map(decision) {
        Some(None) => return Found::Broken,
        Some(decided) => decided,
        None => None,
    };
    let parent = fields.next();
    let fits = matches!(trace.len(), 16 | 32)
        && span.len() == 16
        && parent.is_none_or(|parent| parent.len() == 16)
        && fields.next().is_none();
    match context(trace, span, parent, decided) {
        Found::Context(context, decided) if fits => {
            Found::Context(TraceContext { single: true, ..context }, decided)
        }
        Found::Context(..) | Found::Nothing | Found::Decision(_) | Found::Broken => Found::Broken,
    }
}

fn decision(text: &str) -> Option<bool> {
    match text {
        "1" | "d" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

pub(super) fn inject(context: &TraceContext, set: &mut impl FnMut(&'static str, String)) {
    if context.single {
        let sampled = u8::from(context.sampled);
        let mut text = format!("{}-{:016x}-{sampled}", context.trace_id_text(), context.span_id);
        if let Some(parent_id) = context.parent_id {
            text.push_str(&format!("-{parent_id:016x}"));
        }
        return set("b3", text);
    }
    set("x-b3-traceid", context.trace_id_text());
    set("x-b3-spanid", format!("{:016x}", context.span_id));
    if let Some(parent_id) = context.parent_id {
        set("x-b3-parentspanid", format!("{parent_id:016x}"));
    }
    set("x-b3-sampled", if context.sampled { "1" } else { "0" }.to_owned());
}
