//! Statistics of what peers did to lose a stream or their connection.

use iako_http::h2::{ConnectionError, FloodKind};
use iako_telemetry::{Counter, StatsScope};

/// What peers did to lose a stream or their connection: `http2.…` for clients,
/// `cluster.<name>.http2.…` for servers.
#[derive(Debug)]
pub(crate) struct Http2Stats {
    /// Messages that are no HTTP, and frames that are no HTTP/2.
    pub(crate) messaging_error: Counter,
    /// Connections whose probe was not answered.
    pub(crate) keepalive_timeout: Counter,
    outbound: Counter,
    outbound_control: Counter,
    empty_frames: Counter,
    priority: Counter,
    window_update: Counter,
    settings: Counter,
    rapid_reset: Counter,
    continuation: Counter,
    tiny_frames: Counter,
}

impl Http2Stats {
    /// Handles of the statistics of a scope.
    pub(crate) fn new(scope: &StatsScope) -> Self {
        let flood = |kind: FloodKind| scope.counter(kind.stat());
        Self {
            messaging_error: scope.counter("rx_messaging_error"),
            keepalive_timeout: scope.counter("keepalive_timeout"),
            outbound: flood(FloodKind::Outbound),
            outbound_control: flood(FloodKind::OutboundControl),
            empty_frames: flood(FloodKind::EmptyFrames),
            priority: flood(FloodKind::Priority),
            window_update: flood(FloodKind::WindowUpdate),
            settings: flood(FloodKind::Settings),
            rapid_reset: flood(FloodKind::RapidReset),
            continuation: flood(FloodKind::Continuation),
            tiny_frames: flood(FloodKind::TinyFrames),
        }
    }

    /// Counts a connection that its peer lost.
    pub(crate) fn count(&self, error: ConnectionError) {
        match error {
            ConnectionError::Violation(_) => self.messaging_error.inc(),
            ConnectionError::Flood(kind) => self.flood(kind).inc(),
        }
    }

    fn flood(&self, kind: FloodKind) -> &Counter {
        match kind {
            FloodKind::Outbound => &self.outbound,
            FloodKind::OutboundControl => &self.outbound_control,
            FloodKind::EmptyFrames => &self.empty_frames,
            FloodKind::Priority => &self.priority,
            FloodKind::WindowUpdate => &self.window_update,
            FloodKind::Settings => &self.settings,
            FloodKind::RapidReset => &self.rapid_reset,
            FloodKind::Continuation => &self.continuation,
            FloodKind::TinyFrames => &self.tiny_frames,
        }
    }
}
