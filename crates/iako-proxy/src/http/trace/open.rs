//! A span that is under way.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use iako_http::ResponseHead;
use iako_proxy_config::{Span, SpanKind};
use iako_telemetry::trace::TraceContext;

/// A span that has begun.
#[derive(Debug)]
pub(super) struct OpenSpan {
    pub(super) context: TraceContext,
    pub(super) kind: SpanKind,
    pub(super) name: String,
    /// Whether it has the id of its client's span.
    pub(super) is_shared: bool,
    /// Whether its parent is of another process.
    pub(super) parent_is_remote: bool,
    /// Tags that are known before its end.
    pub(super) tags: Vec<(Cow<'static, str>, String)>,
    /// The status of the response to a try.
    pub(super) status: Option<u16>,
    /// What a gRPC server said in the head of its response.
    pub(super) grpc: Option<(String, Option<String>)>,
    started: Instant,
    started_wall: SystemTime,
}

impl OpenSpan {
    pub(super) const fn new(
        context: TraceContext,
        kind: SpanKind,
        name: String,
        (started, started_wall): (Instant, SystemTime),
    ) -> Self {
        Self {
            context,
            kind,
            name,
            is_shared: false,
            parent_is_remote: false,
            tags: Vec::new(),
            status: None,
            grpc: None,
            started,
            started_wall,
        }
    }

    /// When something was, by the clock of dates.
    pub(super) fn wall(&self, moment: Instant) -> SystemTime {
        let since = moment.saturating_duration_since(self.started);
        self.started_wall.checked_add(since).unwrap_or(self.started_wall)
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// Notes the head of the response to a try.
    pub(super) fn note_response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status());
        let fields = head.fields();
        if let Some(status) = fields.text("grpc-status") {
            let message = fields.text("grpc-message").map(str::to_owned);
            self.grpc = Some((status.to_owned(), message));
        }
    }

    /// The span, now that it is over.
    pub(super) fn ended(self, now: Instant) -> Span {
        let duration = now.saturating_duration_since(self.started);
        Span {
            trace_id: self.context.trace_id,
            short_trace_id: self.context.short,
            id: self.context.span_id,
            parent_id: self.context.parent_id,
            parent_is_remote: self.parent_is_remote,
            kind: self.kind,
            is_shared: self.is_shared,
            name: self.name,
            start: self.started_wall,
            duration,
            tags: self.tags,
            events: Vec::new(),
            kept: self.context.sampled,
            state: self.context.state,
        }
    }
}
