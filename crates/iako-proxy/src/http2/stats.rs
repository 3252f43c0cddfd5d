//! Statistics of what peers did to lose a stream or their connection.

use iako_http::h2::{ConnectionError, FloodKind, Tally, Violation};
use iako_telemetry::{Counter, StatsScope};

/// What peers did to lose a stream or their connection: `http2.…` for clients,
/// `cluster.<name>.http2.…` for servers.
#[derive(Debug)]
pub(crate) struct Http2Stats {
    /// Messages that are no HTTP, and frames that are no HTTP/2.
    messaging_error: Counter,
    /// Heads and trailers with more fields or bytes than allowed.
    header_overflow: Counter,
    /// Connections whose probe was not answered.
    pub(crate) keepalive_timeout: Counter,
    rx_reset: Counter,
    tx_reset: Counter,
    goaway_sent: Counter,
    trailers: Counter,
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
            header_overflow: scope.counter("header_overflow"),
            keepalive_timeout: scope.counter("keepalive_timeout"),
            rx_reset: scope.counter("rx_reset"),
            tx_reset: scope.counter("tx_reset"),
            goaway_sent: scope.counter("goaway_sent"),
            trailers: scope.counter("trailers"),
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
            ConnectionError::Violation(violation) => self.broken(violation),
            ConnectionError::Flood(kind) => self.flood(kind).inc(),
        }
    }

    /// Counts what a connection has counted.
    pub(crate) fn counted(&self, more: Tally) {
        let each = [
            (&self.tx_reset, more.resets_sent),
            (&self.rx_reset, more.resets_received),
            (&self.goaway_sent, more.goaways_sent),
            (&self.trailers, more.trailers_received),
        ];
        for (counter, number) in each.into_iter().filter(|(_, number)| *number > 0) {
            counter.add(u64::from(number));
        }
    }

    /// Counts a rule that a peer broke.
    pub(crate) fn broken(&self, violation: Violation) {
        if let Some(kind) = violation.flood() {
            self.flood(kind).inc();
        } else if violation.is_overflow() {
            self.header_overflow.inc();
        } else {
            self.messaging_error.inc();
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
