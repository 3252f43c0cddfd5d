//! Carrying datagrams.

mod serve;
mod session;

use std::sync::Arc;

use iako_proxy_config::UdpProxy;
use iako_rt::Rng;
use iako_telemetry::{AccessRecord, Counter, Gauge};

use crate::{
    access_log::{AccessLogger, FilterFacts, LogError},
    shared::Shared,
    worker::Worker,
};

pub(crate) use serve::serve;

/// A UDP proxy, compiled.
#[derive(Debug)]
pub(crate) struct UdpService {
    /// As it was sent.
    pub(crate) config: Arc<UdpProxy>,
    access_log: Vec<AccessLogger>,
    proxy_access_log: Vec<AccessLogger>,
    stats: UdpStats,
}

/// `udp.<stat_prefix>.…`, and `cluster.<name>.udp.…` of its cluster; see the page of metrics for what each one counts.
#[derive(Debug)]
struct UdpStats {
    sessions_total: Counter,
    sessions_active: Gauge,
    no_route: Counter,
    idle_timeout: Counter,
    rx_bytes: Counter,
    rx_datagrams: Counter,
    rx_errors: Counter,
    rx_dropped: Counter,
    tx_bytes: Counter,
    tx_datagrams: Counter,
    tx_errors: Counter,
    upstream_rx_datagrams: Counter,
    upstream_rx_dropped: Counter,
    upstream_rx_errors: Counter,
    upstream_tx_datagrams: Counter,
    upstream_tx_errors: Counter,
}

impl UdpService {
    /// Compiles the UDP proxy of a listener at `address`.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub(crate) fn compile(
        config: Arc<UdpProxy>,
        address: &str,
        shared: &Shared,
    ) -> Result<Self, LogError> {
        let scope = shared.stats.udp(&config.stat_prefix);
        let upstream = shared.stats.cluster(&config.cluster);
        let listener = shared.stats.listener(address);
        let logs = shared;
        Ok(Self {
            access_log: AccessLogger::open_all(&config.access_log, logs)?,
            proxy_access_log: AccessLogger::open_all(&config.proxy_access_log, logs)?,
            stats: UdpStats {
                sessions_total: scope.counter("downstream_sess_total"),
                sessions_active: scope.gauge("downstream_sess_active"),
                no_route: scope.counter("downstream_sess_no_route"),
                idle_timeout: scope.counter("idle_timeout"),
                rx_bytes: scope.counter("downstream_sess_rx_bytes"),
                rx_datagrams: scope.counter("downstream_sess_rx_datagrams"),
                rx_errors: scope.counter("downstream_sess_rx_errors"),
                rx_dropped: listener.counter("downstream_rx_datagram_dropped"),
                tx_bytes: scope.counter("downstream_sess_tx_bytes"),
                tx_datagrams: scope.counter("downstream_sess_tx_datagrams"),
                tx_errors: scope.counter("downstream_sess_tx_errors"),
                upstream_rx_datagrams: upstream.counter("udp.sess_rx_datagrams"),
                upstream_rx_dropped: upstream.counter("udp.sess_rx_datagrams_dropped"),
                upstream_rx_errors: upstream.counter("udp.sess_rx_errors"),
                upstream_tx_datagrams: upstream.counter("udp.sess_tx_datagrams"),
                upstream_tx_errors: upstream.counter("udp.sess_tx_errors"),
            },
            config,
        })
    }

    /// Writes the line of a session.
    fn log(&self, worker: &Worker, record: &AccessRecord<'_>) {
        let draw = worker.with_rng(Rng::next_u64);
        for log in &self.access_log {
            log.log(record, FilterFacts { draw, ..FilterFacts::default() });
        }
    }
}
