//! Counting of gRPC calls.

/// The object in which the messages of a call are kept. Source: Envoy.
pub const GRPC_STATS_STATE: &str = "envoy.filters.http.grpc_stats";

/// Counts gRPC calls and their messages, with the statistics of their cluster.
/// Source: `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcStats {
    /// Which methods are counted apart.
    pub methods: CountedMethods,
    /// Whether messages are counted in an object beside the request, [`GRPC_STATS_STATE`]. Envoy
    /// default: false.
    pub emits_state: bool,
    /// Whether the time that servers take is measured. Envoy default: false.
    pub measures_time: bool,
    /// Whether names of services are written with underscores in place of dots. Envoy default: false.
    pub replaces_dots: bool,
}

/// Which methods are counted apart. Source: `FilterConfig.per_method_stat_specifier`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CountedMethods {
    /// None: all calls of a cluster are counted together. Envoy default.
    #[default]
    Together,
    /// All, as many as the page of limits says.
    Each,
    /// These; others are counted together.
    Listed(Vec<GrpcServiceMethods>),
}

/// Methods of a service. Source: `envoy.config.core.v3.GrpcMethodList.Service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcServiceMethods {
    /// Its full name.
    pub service: String,
    /// Names of methods; at least one.
    pub methods: Vec<String>,
}
