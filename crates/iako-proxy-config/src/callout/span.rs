//! What a collector is told of one piece of work.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One piece of work that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace that it is a part of.
    pub trace_id: u128,
    /// Whether the trace's id has 64 bits only, as it came.
    pub short_trace_id: bool,
    /// Its own id.
    pub id: u64,
    /// The id of the span that it is a part of; none for the first of a trace.
    pub parent_id: Option<u64>,
    /// Whether another process said so.
    pub parent_is_remote: bool,
    /// Which side of a request it is.
    pub kind: SpanKind,
    /// Whether it has the id of its client's span.
    pub is_shared: bool,
    /// What was done.
    pub name: String,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Facts, in order; none stands twice.
    pub tags: Vec<(Cow<'static, str>, String)>,
    /// What happened in between, and when.
    pub events: Vec<(SystemTime, &'static str)>,
    /// What other systems have to say of the trace. Source: W3C `tracestate`.
    pub state: String,
    /// Whether it is kept. Only Datadog's agent is told of others.
    pub kept: bool,
}

impl Span {
    /// Sets a tag, in place of an older one of the name.
    pub fn tag(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if let Some((_, old)) = self.tags.iter_mut().find(|(known, _)| *known == name) {
            *old = value;
        } else {
            self.tags.push((name, value));
        }
    }

    /// The value of a tag.
    #[must_use]
    pub fn tagged(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Which side of a request a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// That which answers.
    Server,
    /// That which asks.
    Client,
}

/// Who tells of spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanOrigin {
    /// The name of the service.
    pub service: String,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Facts about the service, in order.
    pub attributes: Vec<(String, String)>,
    /// The name and version of what made the spans; none when it is not to be said.
    pub scope: Option<(String, String)>,
}
