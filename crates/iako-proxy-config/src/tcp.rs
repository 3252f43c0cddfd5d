//! Where bytes of TCP connections go, and how.

use std::{num::NonZeroU32, time::Duration};

use iako_types::{Percent, Weight};

use crate::{AccessLog, BackOff, HeaderValueOption, OnDemandClusters};

/// Carries bytes to a cluster. Source: `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Where to.
    pub target: TcpTarget,
    /// Metadata that chooses a subset of a [`TcpTarget::Cluster`]. Source: `metadata_match` under
    /// `envoy.lb`.
    pub subset: Vec<(String, String)>,
    /// Longest silence in both directions; none when absent. Envoy default: 1 h.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed at this age; never when absent.
    pub duration_max: Option<Duration>,
    /// By up to this share of that age, a connection may be older; drawn for each. Envoy default:
    /// none.
    pub duration_jitter: Option<Percent>,
    /// How often a connection to the cluster is tried. Envoy default: 1.
    pub connect_attempts_max: NonZeroU32,
    /// Time between these tries; they follow at once when absent.
    pub connect_back_off: Option<BackOff>,
    /// Whether the client's address chooses the instance, for consistent balancing.
    pub hash_source_ip: bool,
    /// Whether bytes travel inside of an HTTP request, and which.
    pub tunnel: Option<Box<TcpTunnel>>,
    /// Logs of connections.
    pub access_log: Vec<AccessLog>,
    /// When lines are written besides the one at the end of a connection.
    pub access_log_times: TcpLogTimes,
    /// Whether a cluster that is not known is asked for, and where. Source: `on_demand`.
    pub on_demand: Option<Box<OnDemandClusters>>,
}

impl TcpProxy {
    /// Carries to one cluster, with Envoy's defaults.
    #[must_use]
    pub fn new(stat_prefix: impl Into<String>, target: TcpTarget) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            target,
            subset: Vec::new(),
            idle_timeout: Some(Duration::from_secs(3600)),
            duration_max: None,
            duration_jitter: None,
            connect_attempts_max: NonZeroU32::MIN,
            connect_back_off: None,
            hash_source_ip: false,
            tunnel: None,
            access_log: Vec::new(),
            access_log_times: TcpLogTimes::default(),
            on_demand: None,
        }
    }
}

/// Where a TCP connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpTarget {
    /// To this cluster.
    Cluster(String),
    /// To one of these, by weight. At least one has a weight above 0.
    Weighted(Vec<WeightedTcpCluster>),
}

/// One of several clusters. Source: `TcpProxy.WeightedCluster.ClusterWeight`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedTcpCluster {
    /// The cluster.
    pub cluster: String,
    /// Its share among all.
    pub weight: Weight,
    /// Metadata that chooses a subset of it, that of the whole proxy included.
    pub subset: Vec<(String, String)>,
}

impl WeightedTcpCluster {
    /// A cluster, whole.
    #[must_use]
    pub fn new(cluster: impl Into<String>, weight: Weight) -> Self {
        Self { cluster: cluster.into(), weight, subset: Vec::new() }
    }
}

/// When lines are written besides the one at the end of a connection.
/// Source: `TcpProxy.TcpAccessLogOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpLogTimes {
    /// Again and again after this time; at least 1 ms. Envoy default: never.
    pub interval: Option<Duration>,
    /// When the connection to the cluster is there. Envoy default: false.
    pub on_connected: bool,
    /// When the client's connection is there. Envoy default: false.
    pub on_start: bool,
}

/// The request inside of which bytes travel, over the HTTP version of the cluster.
/// Source: `TcpProxy.TunnelingConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpTunnel {
    /// The authority of the request; `%OPERATOR(…)%` stands for a fact about the connection.
    pub hostname: String,
    /// What kind of request it is.
    pub method: TunnelMethod,
    /// Headers of the request besides.
    pub headers: Vec<HeaderValueOption>,
}

/// What kind of request carries a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelMethod {
    /// CONNECT. Envoy default.
    Connect,
    /// POST. Source: `use_post`, `post_path`.
    Post {
        /// The path. Envoy default: `/`.
        path: String,
    },
}
