//! Carrying bytes.

mod buffers;
pub(crate) mod exchange;
mod far;
mod onward;
mod pipes;
mod record;
mod relay;
mod tunnel;
mod way;

use std::sync::Arc;

use iako_proxy_config::TcpProxy;
use iako_telemetry::Counter;

pub(crate) use way::RelayMemory;

use crate::{
    access_log::{AccessLogger, LogError},
    shared::Shared,
};

/// A TCP proxy, compiled.
#[derive(Debug)]
pub(crate) struct TcpService {
    /// As it was sent.
    pub(crate) config: Arc<TcpProxy>,
    pub(crate) access_log: Vec<AccessLogger>,
    pub(crate) stats: TcpStats,
}

/// `tcp.<stat_prefix>.…`; see the page of metrics for what each one counts.
#[derive(Debug)]
pub(crate) struct TcpStats {
    cx_total: Counter,
    rx_bytes: Counter,
    tx_bytes: Counter,
    no_route: Counter,
    idle_timeout: Counter,
    max_duration: Counter,
    pub(crate) on_demand: OnDemandStats,
}

/// `tcp.<stat_prefix>.on_demand_cluster_…`.
#[derive(Debug)]
pub(crate) struct OnDemandStats {
    attempt: Counter,
    success: Counter,
    missing: Counter,
    timeout: Counter,
}

impl TcpService {
    /// Compiles a TCP proxy.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub(crate) fn compile(config: Arc<TcpProxy>, shared: &Shared) -> Result<Self, LogError> {
        let scope = shared.stats.tcp(&config.stat_prefix);
        Ok(Self {
            access_log: AccessLogger::open_all(&config.access_log, shared)?,
            stats: TcpStats {
                cx_total: scope.counter("downstream_cx_total"),
                rx_bytes: scope.counter("downstream_cx_rx_bytes_total"),
                tx_bytes: scope.counter("downstream_cx_tx_bytes_total"),
                no_route: scope.counter("downstream_cx_no_route"),
                idle_timeout: scope.counter("idle_timeout"),
                max_duration: scope.counter("max_downstream_connection_duration"),
                on_demand: OnDemandStats {
                    attempt: scope.counter("on_demand_cluster_attempt"),
                    success: scope.counter("on_demand_cluster_success"),
                    missing: scope.counter("on_demand_cluster_missing"),
                    timeout: scope.counter("on_demand_cluster_timeout"),
                },
            },
            config,
        })
    }
}
