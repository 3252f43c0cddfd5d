//! What a proxy starts with.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use iako_types::Locality;

use crate::{
    Cluster, ConfigSource, GrpcService, GrpcSource, LayeredRuntime, Listener, OverloadManager,
    Secret, StringMatch, TracingProvider,
};

/// Everything that a proxy is told at its start. Source: `envoy.config.bootstrap.v3.Bootstrap`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bootstrap {
    /// Who the proxy says it is.
    pub node: Node,
    /// Where its admin endpoint listens; none when absent.
    pub admin: Option<AdminAddress>,
    /// Listeners that stay for the life of the process.
    pub listeners: Vec<Listener>,
    /// Clusters that stay for the life of the process.
    pub clusters: Vec<Cluster>,
    /// Secrets that stay for the life of the process.
    pub secrets: Vec<Secret>,
    /// The control plane; none when absent. Source: `DynamicResources.ads_config`.
    pub ads: Option<GrpcSource>,
    /// Where further listeners come from; nowhere when absent. Source:
    /// `DynamicResources.lds_config`.
    pub listener_source: Option<ConfigSource>,
    /// Where further clusters come from; nowhere when absent. Source:
    /// `DynamicResources.cds_config`.
    pub cluster_source: Option<ConfigSource>,
    /// The cluster that this proxy is a part of, by whose instances it knows how its own kind is
    /// spread over places; none when empty. Source: `cluster_manager.local_cluster_name`.
    pub local_cluster: String,
    /// Where events of outlier detection are written, one JSON object a line; nowhere when absent.
    /// Source: `cluster_manager.outlier_detection.event_log_path`.
    pub outlier_log: Option<PathBuf>,
    /// The service that hears of the load on clusters; nobody when absent.
    /// Source: `cluster_manager.load_stats_config`.
    pub load_reporting: Option<GrpcService>,
    /// What can be changed by name while the proxy runs; nothing when absent.
    pub runtime: Option<LayeredRuntime>,
    /// Who gets spans where a listener does not say. Source: `tracing.http`.
    pub tracing: Option<Arc<TracingProvider>>,
    /// What is done when the proxy runs short of something; nothing when absent.
    pub overload: Option<OverloadManager>,
    /// Bounds of histograms, by their names; the first that is met counts, and where none is the usual
    /// ones do. Source: `stats_config.histogram_bucket_settings`.
    pub histogram_bounds: Vec<HistogramBounds>,
}

/// Bounds of the histograms whose names are met. Source: `HistogramBucketSettings`.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramBounds {
    /// Full names of statistics that are meant, such as `cluster.cart.upstream_rq_time`.
    pub names: StringMatch,
    /// Upper bounds in milliseconds: more than 0, rising.
    pub bounds: Vec<f64>,
}

/// Where the admin endpoint listens. Source: `envoy.config.bootstrap.v3.Admin.address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A Unix socket.
    Pipe(PathBuf),
}

/// Who a proxy says it is. Source: `envoy.config.core.v3.Node`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// In Istio's form `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`.
    pub id: String,
    /// The service cluster that it belongs to.
    pub cluster: String,
    /// Where it runs.
    pub locality: Locality,
    /// Further facts: `NAMESPACE`, `LABELS`, `INSTANCE_IPS`, …
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Node {
    /// A metadata value that is a text; empty when it is missing or something else.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// A label of the workload; empty when it is missing.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.metadata
            .get("LABELS")
            .and_then(|labels| labels.get(name))
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    }
}
