//! When the first bytes of a connection come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::OpaqueProtocol;
use iako_telemetry::{Counter, StatsRegistry, stats::Histogram};

/// Counts connections of a protocol that is not read, compiled.
#[derive(Debug)]
pub(crate) struct Opaque {
    connections: Counter,
    client: Side,
    server: Side,
}

/// The first bytes of one side.
#[derive(Debug)]
struct Side {
    count: Counter,
    time: Histogram,
}

impl Opaque {
    pub(super) fn compile(config: &OpaqueProtocol, stats: &StatsRegistry) -> Self {
        let scope = stats.scope(&format!("{}.{}", config.kind.name(), config.stat_prefix));
        Self {
            connections: scope.counter("opaque_cx_total"),
            client: Side {
                count: scope.counter("opaque_client_first_byte"),
                time: scope.histogram("opaque_client_first_byte_ms"),
            },
            server: Side {
                count: scope.counter("opaque_server_first_byte"),
                time: scope.histogram("opaque_server_first_byte_ms"),
            },
        }
    }

    /// Counts a connection.
    pub(super) fn begun(&self) {
        self.connections.inc();
    }
}

/// Which sides of one connection have said something.
#[derive(Debug)]
pub(crate) struct FirstBytes {
    opaque: Arc<Opaque>,
    heard: (bool, bool),
}

impl FirstBytes {
    pub(super) const fn new(opaque: Arc<Opaque>) -> Self {
        Self { opaque, heard: (false, false) }
    }

    /// Notes that so many bytes were moved from the client and to it, so long after the connection was
    /// accepted at `accepted`.
    pub(crate) fn note(&mut self, (received, sent): (u64, u64), accepted: Instant, now: Instant) {
        let took = now.saturating_duration_since(accepted);
        let hear = |heard: &mut bool, bytes: u64, side: &Side| {
            if !*heard && bytes > 0 {
                *heard = true;
                side.hear(took);
            }
        };
        hear(&mut self.heard.0, received, &self.opaque.client);
        hear(&mut self.heard.1, sent, &self.opaque.server);
    }
}

impl Side {
    fn hear(&self, took: Duration) {
        self.count.inc();
        self.time.record(took);
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::OpaqueKind;

    use super::*;

    #[test]
    fn each_side_is_heard_once_for_a_connection() {
        let stats = StatsRegistry::new(1);
        let config = OpaqueProtocol { kind: OpaqueKind::Mysql, stat_prefix: "db".to_owned() };
        let opaque = Arc::new(Opaque::compile(&config, &stats));
        let value = |name: &str| stats.value(&format!("mysql.db.opaque_{name}")).unwrap();
        let accepted = iako_rt::clock::now();
        for _ in 0..2 {
            opaque.begun();
            let mut first = FirstBytes::new(Arc::clone(&opaque));
            first.note((0, 0), accepted, accepted);
            first.note((0, 7), accepted, accepted + Duration::from_millis(3));
            first.note((0, 9), accepted, accepted + Duration::from_millis(4));
        }
        assert_eq!((value("cx_total"), value("server_first_byte")), (2, 2));
        assert_eq!(value("client_first_byte"), 0);
        let mut first = FirstBytes::new(opaque);
        first.note((1, 1), accepted, accepted);
        assert_eq!((value("client_first_byte"), value("server_first_byte")), (1, 3));
    }
}
