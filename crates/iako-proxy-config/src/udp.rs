//! Where datagrams go.

use std::{num::NonZeroU16, time::Duration};

use crate::AccessLog;

/// Carries datagrams to a cluster. Source: `envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig`.
///
/// Datagrams of one client to one address are a session, which keeps its instance.
#[derive(Debug, Clone, PartialEq)]
pub struct UdpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Where to.
    pub cluster: String,
    /// Longest silence of a session in both directions. Envoy default: 1 min.
    pub idle_timeout: Duration,
    /// What chooses the instance, for consistent balancing.
    pub hash: Option<UdpHash>,
    /// Whether every datagram chooses its instance anew. Envoy default: false.
    pub per_datagram: bool,
    /// Larger datagrams are dropped. Envoy default: 1500 bytes.
    pub datagram_bytes_max: NonZeroU16,
    /// Larger datagrams of servers are dropped. Envoy default: 1500 bytes.
    pub reply_bytes_max: NonZeroU16,
    /// Logs of sessions.
    pub access_log: Vec<AccessLog>,
    /// Logs of the whole proxy, written when it ends.
    pub proxy_access_log: Vec<AccessLog>,
}

/// Bytes of the largest datagram that is carried. Envoy's default; no network has larger ones.
const DATAGRAM_BYTES_MAX: NonZeroU16 = NonZeroU16::MIN.saturating_add(1499);

impl UdpProxy {
    /// Carries to one cluster, with Envoy's defaults.
    #[must_use]
    pub fn new(stat_prefix: impl Into<String>, cluster: impl Into<String>) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            cluster: cluster.into(),
            idle_timeout: Duration::from_secs(60),
            hash: None,
            per_datagram: false,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
            reply_bytes_max: DATAGRAM_BYTES_MAX,
            access_log: Vec::new(),
            proxy_access_log: Vec::new(),
        }
    }
}

/// What chooses the instance of a session. Source: `UdpProxyConfig.HashPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpHash {
    /// The client's address without its port.
    SourceIp,
    /// This text: all sessions go to the same instance.
    Key(String),
}
