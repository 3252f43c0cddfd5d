//! Spans as Datadog's agent reads them, in MessagePack. Source: Datadog's documentation of
//! `/v0.4/traces`; the MessagePack specification.

use std::collections::BTreeMap;

use super::nanos;
use iako_proxy_config::{Span, SpanOrigin};

/// The operation that all spans of a proxy are.
const OPERATION: &str = "envoy.proxy";

/// A list of traces, each a list of spans.
#[must_use]
pub fn datadog(origin: &SpanOrigin, spans: &[Span]) -> Vec<u8> {
    let mut traces: BTreeMap<u128, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id).or_default().push(span);
    }
    let mut out = Pack::default();
    out.array(traces.len());
    for spans in traces.values() {
        out.array(spans.len());
        spans.iter().for_each(|span| out.span(origin, span));
    }
    out.0
}

/// MessagePack, in its longest forms: every reader takes them.
#[derive(Debug, Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn length(&mut self, mark: u8, length: usize) {
        self.0.push(mark);
        self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn array(&mut self, length: usize) {
        self.length(0xdd, length);
    }

    fn map(&mut self, length: usize) {
        self.length(0xdf, length);
    }

    fn text(&mut self, text: &str) {
        self.length(0xdb, text.len());
        self.0.extend(text.as_bytes());
    }

    fn number(&mut self, name: &str, number: u64) {
        self.text(name);
        self.0.push(0xcf);
        self.0.extend(number.to_be_bytes());
    }

    fn float(&mut self, name: &str, number: f64) {
        self.text(name);
        self.0.push(0xcb);
        self.0.extend(number.to_be_bytes());
    }

    fn entry(&mut self, name: &str, value: &str) {
        self.text(name);
        self.text(value);
    }

    fn span(&mut self, origin: &SpanOrigin, span: &Span) {
        let low = span.trace_id & u128::from(u64::MAX);
        let duration = u64::try_from(span.duration.as_nanos()).unwrap_or(u64::MAX);
        self.map(12);
        self.entry("service", &origin.service);
        self.entry("name", OPERATION);
        self.entry("resource", &span.name);
        self.number("trace_id", u64::try_from(low).unwrap_or(0));
        self.number("span_id", span.id);
        self.number("parent_id", span.parent_id.unwrap_or(0));
        self.number("start", nanos(span.start));
        self.number("duration", duration);
        let is_error = span.tagged("error").is_some();
        self.number("error", u64::from(is_error));
        self.text("meta");
        self.meta(span);
        self.text("metrics");
        self.map(1);
        self.float("_sampling_priority_v1", f64::from(u8::from(span.kept)));
        self.entry("type", "web");
    }

    fn meta(&mut self, span: &Span) {
        let high = format!("{:016x}", span.trace_id >> 64);
        let is_long = !span.short_trace_id;
        // What the library passes on stands in the span's part of `tracestate`.
        let began_here = span.state.contains(";t.dm:-0");
        let origin = span.state.strip_prefix(";o:");
        let further = [is_long, began_here, origin.is_some()].map(usize::from);
        let further = further.into_iter().fold(1, usize::saturating_add);
        // That it is an error stands in a field of its own.
        let told = || span.tags.iter().filter(|(name, _)| name != "error");
        self.map(told().count().saturating_add(further));
        self.entry("language", "rust");
        if is_long {
            self.entry("_dd.p.tid", &high);
        }
        if began_here {
            self.entry("_dd.p.dm", "-0");
        }
        if let Some(origin) = origin {
            self.entry("_dd.origin", origin);
        }
        for (name, value) in told() {
            self.entry(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use iako_proxy_config::SpanKind;

    use super::*;

    #[test]
    fn spans_of_one_trace_stand_together() {
        let span = |trace_id, id| Span {
            trace_id,
            short_trace_id: false,
            id,
            parent_id: None,
            parent_is_remote: false,
            kind: SpanKind::Server,
            is_shared: false,
            name: "ingress".to_owned(),
            start: UNIX_EPOCH,
            duration: Duration::from_nanos(5),
            tags: Vec::new(),
            events: Vec::new(),
            state: String::new(),
            kept: true,
        };
        let bytes = datadog(&SpanOrigin::default(), &[span(1, 1), span(2, 2), span(1, 3)]);
        assert_eq!(bytes.first_chunk::<5>(), Some(&[0xdd, 0, 0, 0, 2]));
        assert_eq!(bytes.get(5..10), Some(&[0xdd, 0, 0, 0, 2][..]));
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("envoy.proxy").count(), 3);
    }
}
