//! Faults on purpose.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use iako_types::Percent;

use crate::HeaderMatch;

/// Delays and aborts. Source: `envoy.extensions.filters.http.fault.v3.HTTPFault`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fault {
    /// Holds requests back.
    pub delay: Option<Delay>,
    /// Answers requests with an error.
    pub abort: Option<Abort>,
    /// Holds the content of responses back.
    pub response_rate: Option<ResponseRate>,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatch>,
    /// Only requests to this cluster; all when empty.
    pub upstream_cluster: String,
    /// Only requests whose `x-envoy-downstream-service-node` is one of these; all when empty.
    pub downstream_nodes: Vec<String>,
    /// Faults at once; without limit when absent.
    pub active_max: Option<u32>,
    /// Which keys of the runtime change it.
    pub keys: FaultKeys,
    /// What the runtime says for requests from these clusters of clients, by
    /// `x-envoy-downstream-service-cluster`. Nothing until the runtime has been asked.
    pub by_client: BTreeMap<String, ClientFault>,
}

/// Keys that change a fault; Envoy's own where they are empty.
/// Source: the fields `…_runtime` of `HTTPFault`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultKeys {
    /// Envoy default: `fault.http.delay.fixed_delay_percent`.
    pub delay_percent: String,
    /// Envoy default: `fault.http.abort.abort_percent`.
    pub abort_percent: String,
    /// Milliseconds. Envoy default: `fault.http.delay.fixed_duration_ms`.
    pub delay_duration: String,
    /// Envoy default: `fault.http.abort.http_status`.
    pub abort_http_status: String,
    /// Envoy default: `fault.http.max_active_faults`.
    pub active_max: String,
    /// Envoy default: `fault.http.abort.grpc_status`.
    pub abort_grpc_status: String,
    /// Envoy default: `fault.http.rate_limit.response_percent`.
    pub response_rate_percent: String,
}

/// What the runtime says of faults for one cluster of clients, under
/// `fault.http.CLUSTER.delay.…` and `fault.http.CLUSTER.abort.…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientFault {
    /// `delay.fixed_delay_percent`.
    pub delay_share: Option<Percent>,
    /// `delay.fixed_duration_ms`.
    pub delay: Option<Duration>,
    /// `abort.abort_percent`.
    pub abort_share: Option<Percent>,
    /// `abort.http_status`.
    pub abort_http_status: Option<u16>,
    /// `abort.grpc_status`.
    pub abort_grpc_status: Option<u32>,
}

/// Holds requests back. Source: `envoy.extensions.filters.common.fault.v3.FaultDelay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// How long; taken from `x-envoy-fault-delay-request` (milliseconds) when absent.
    pub fixed: Option<Duration>,
    /// Which share of requests.
    pub share: Percent,
}

/// Holds the content of responses back.
/// Source: `envoy.extensions.filters.common.fault.v3.FaultRateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseRate {
    /// KiB a second; taken from `x-envoy-fault-throughput-response` when absent.
    pub kib_per_second: Option<NonZeroU64>,
    /// Which share of requests.
    pub share: Percent,
}

/// Answers requests with an error. Source: `envoy.extensions.filters.http.fault.v3.FaultAbort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// With which status.
    pub status: AbortStatus,
    /// Which share of requests.
    pub share: Percent,
}

/// The status of an aborted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status, 200 to 599.
    Http(u16),
    /// A gRPC status.
    Grpc(u32),
    /// Taken from `x-envoy-fault-abort-request` or `x-envoy-fault-abort-grpc-request`.
    Header,
}
