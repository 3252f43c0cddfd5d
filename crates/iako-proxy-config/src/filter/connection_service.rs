//! Steps on a connection's way that ask a service about it.

use iako_types::Percent;

use crate::{AuthzFailure, GrpcService, Keyed, MetadataMatch};

/// A service decides whether connections pass. Asked at the first bytes of the client.
/// Source: `envoy.extensions.filters.network.ext_authz.v3.ExtAuthz`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionAuthz {
    /// Between `ext_authz.` and the names of its statistics.
    pub stat_prefix: String,
    /// Who decides. Time-out, Envoy default: 200 ms.
    pub service: GrpcService,
    /// What happens when the service does not answer; never [`AuthzFailure::AllowAndTell`]. Envoy
    /// default: connections are closed.
    pub on_failure: AuthzFailure,
    /// Only connections of which filters left this are asked about; all when absent.
    pub enabled_metadata: Option<MetadataMatch>,
    /// Whether the client's certificate is told. Envoy default: false.
    pub include_peer_certificate: bool,
    /// Whether the server name that the client asked for is told by itself. Envoy default: false.
    pub include_tls_session: bool,
    /// Labels of the bootstrap's metadata under this key are told as the destination's; none when
    /// empty.
    pub labels_key: String,
    /// What filters left is told of these.
    pub metadata_namespaces: Vec<String>,
    /// Whether the service is only asked and counted, and nobody obeys. Source: `shadow_mode`. Envoy
    /// default: false.
    pub only_watches: bool,
}

/// A service counts connections. Asked before anything is done for a connection.
/// Source: `envoy.extensions.filters.network.ratelimit.v3.RateLimit`.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConnectionRate {
    /// Between `ratelimit.` and the names of its statistics.
    pub stat_prefix: String,
    /// Who counts. Its time-out is the filter's, Envoy default: 20 ms.
    pub service: GrpcService,
    /// Which of the service's configurations counts.
    pub domain: String,
    /// What a connection counts as: keys and values, which may hold `%OPERATOR%`s. At least one list.
    pub descriptors: Vec<Vec<(String, String)>>,
    /// Whether connections are closed when the service does not answer. Envoy default: false.
    pub failure_denies: bool,
    /// Which share of connections is asked about. Source: the runtime's `ratelimit.tcp_filter_enabled`.
    /// Envoy default: all.
    pub enabled: Keyed<Percent>,
    /// Of which share of connections the answer counts. Source: the runtime's
    /// `ratelimit.tcp_filter_enforcing`. Envoy default: all.
    pub enforced: Keyed<Percent>,
}

impl GlobalConnectionRate {
    /// The runtime's key of the share that is asked about.
    pub const ENABLED_KEY: &str = "ratelimit.tcp_filter_enabled";
    /// The runtime's key of the share that the answer counts of.
    pub const ENFORCED_KEY: &str = "ratelimit.tcp_filter_enforcing";
}
