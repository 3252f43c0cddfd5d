//! Why an exchange did not end with the upstream's whole answer.

use std::sync::Arc;

use iako_telemetry::{ResponseFlag, ResponseFlags};
use iako_traffic::{Overflow, StrictProblem};

use super::content::ContentError;
use super::downstream::DownstreamError;
use crate::dns::Unresolved;
use crate::transport::ConnectError;
use crate::upstream::UpstreamError;

/// A cause, with the facts that its answer needs. [`super::error_response`] is the only place that
/// turns one into a response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No virtual host or route takes the request.
    #[error("no route matches the request")]
    NoRoute,
    /// The route names a cluster that does not exist.
    #[error("the cluster of the route does not exist")]
    NoCluster {
        /// What the route answers then.
        status: u16,
    },
    /// No endpoint of the cluster is healthy, or there is none.
    #[error("no endpoint of the cluster takes requests")]
    NoHealthyUpstream,
    /// The instance of a session does not serve, and no other one will do.
    #[error("the endpoint of the session takes no requests")]
    SessionGone {
        /// The status that the filter names for this.
        status: u16,
    },
    /// The host that the request names has no address, or there is no room to find one.
    #[error("the host of the request is not resolved")]
    Unresolved(Unresolved),
    /// The same, as the cluster found it when it chose where to go.
    #[error("the host that the cluster forwards to is not resolved")]
    NoAddress(Unresolved),
    /// The control plane has a share of the cluster's requests refused.
    #[error("a share of the cluster's requests is refused on purpose")]
    Dropped,
    /// The control plane has all of the cluster's requests refused.
    #[error("all of the cluster's requests are refused on purpose")]
    AllDropped,
    /// An operator has the cluster in maintenance.
    #[error("the cluster is in maintenance")]
    Maintenance,
    /// A circuit breaker is full.
    #[error("a circuit breaker of the cluster is full")]
    Overflow(#[from] Overflow),
    /// The proxy is overloaded and sends nothing on.
    #[error("the proxy is overloaded")]
    Shed,
    /// No connection could be made.
    #[error("no connection to the upstream")]
    Connect(#[from] Arc<ConnectError>),
    /// The request was lost before its response began.
    #[error("the upstream gave no response")]
    Upstream(#[source] UpstreamError),
    /// The response took too long.
    #[error("the response took too long")]
    ResponseTimeout,
    /// The last allowed try took too long.
    #[error("the last try took too long")]
    PerTryTimeout,
    /// Nothing moved within the last allowed try for too long.
    #[error("nothing moved within the last try for too long")]
    PerTryIdle,
    /// A try lived longer than its cluster allows.
    #[error("the try lived longer than its cluster allows")]
    UpstreamMaxDuration,
    /// Another try answered first. Never told to anybody.
    #[error("another try answered first")]
    Overtaken,
    /// A header that must be well-formed is not.
    #[error("the header {} is not well-formed", .0.name)]
    StrictHeader(StrictProblem),
    /// Nothing moved on the stream for too long.
    #[error("nothing moved for too long")]
    StreamIdle,
    /// The whole request took too long to arrive.
    #[error("the request took too long to arrive")]
    RequestTimeout,
    /// The stream lived longer than allowed.
    #[error("the stream lived longer than allowed")]
    MaxDuration,
    /// Another request is made in its place, and its response is the client's.
    #[error("another request is made in place of this one")]
    Elsewhere,
    /// The upgrade or CONNECT is not configured.
    #[error("the upgrade is not allowed")]
    UpgradeRefused,
    /// The path is refused by normalization.
    #[error("the path is not acceptable")]
    Path,
    /// Rules do not let the request pass.
    #[error("access denied by {policy}")]
    Denied {
        /// The policy that decided, or `none`.
        policy: String,
    },
    /// A token is missing or not accepted.
    #[error("the token is not accepted: {message}")]
    Token {
        /// 401 or 403.
        status: u16,
        /// Envoy's sentence.
        message: String,
        /// What the client is told.
        body: String,
        /// Value of `www-authenticate`; empty for none.
        challenge: String,
    },
    /// The settings of a filter have not arrived.
    #[error("the settings of a filter have not arrived")]
    NoFilterConfig,
    /// A fault on purpose.
    #[error("a fault was injected")]
    FaultAbort {
        /// The HTTP status.
        status: u16,
        /// The gRPC status, when the fault is one.
        grpc: Option<u32>,
    },
    /// The request has more content than a filter gathers.
    #[error("the content of the request is larger than allowed")]
    TooLarge,
    /// The request comes from a page of another origin.
    #[error("the request comes from a page of another origin")]
    Origin,
    /// A filter cannot read the content of the response, whose head was sent.
    #[error("the content of the response cannot be read")]
    ResponseContent(#[source] ContentError),
    /// The client is gone: nobody is left to answer.
    #[error("the client is gone")]
    Client(#[source] DownstreamError),
    /// The response broke off after its head was sent.
    #[error("the response broke off")]
    BrokenOff(#[source] UpstreamError),
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Downstream,
    Upstream,
    Ourselves,
}

impl Failure {
    /// Whose fault it is.
    pub(crate) const fn side(&self) -> Side {
        match self {
            Self::Client(_)
            | Self::RequestTimeout
            | Self::Path
            | Self::StrictHeader(_)
            | Self::TooLarge
            | Self::Origin
            | Self::UpgradeRefused => Side::Downstream,
            Self::Connect(_)
            | Self::Upstream(_)
            | Self::ResponseTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdle
            | Self::UpstreamMaxDuration
            | Self::NoHealthyUpstream
            | Self::SessionGone { .. }
            | Self::Unresolved(_)
            | Self::NoAddress(_)
            | Self::ResponseContent(_)
            | Self::BrokenOff(_) => Side::Upstream,
            Self::NoRoute
            | Self::NoCluster { .. }
            | Self::Overflow(_)
            | Self::Dropped
            | Self::AllDropped
            | Self::Shed
            | Self::Maintenance
            | Self::Overtaken
            | Self::StreamIdle
            | Self::MaxDuration
            | Self::Elsewhere
            | Self::Denied { .. }
            | Self::Token { .. }
            | Self::NoFilterConfig
            | Self::FaultAbort { .. } => Side::Ourselves,
        }
    }

    /// Envoy's flag for it.
    pub(crate) fn response_flag(&self) -> Option<ResponseFlag> {
        Some(match self {
            Self::NoRoute => ResponseFlag::NoRouteFound,
            Self::NoCluster { .. } => ResponseFlag::NoClusterFound,
            Self::NoHealthyUpstream | Self::SessionGone { .. } | Self::NoAddress(_) => {
                ResponseFlag::NoHealthyUpstream
            }
            Self::Unresolved(Unresolved::Failed) => ResponseFlag::DnsResolutionFailed,
            Self::Overflow(_) | Self::Maintenance => ResponseFlag::UpstreamOverflow,
            Self::Dropped => ResponseFlag::DropOverload,
            Self::AllDropped => ResponseFlag::UnconditionalDropOverload,
            Self::Connect(_) => ResponseFlag::UpstreamConnectionFailure,
            Self::Upstream(error) | Self::BrokenOff(error) => upstream_flag(error),
            Self::ResponseTimeout | Self::PerTryTimeout | Self::PerTryIdle => {
                ResponseFlag::UpstreamRequestTimeout
            }
            Self::UpstreamMaxDuration => ResponseFlag::UpstreamMaxStreamDurationReached,
            Self::StrictHeader(_) => ResponseFlag::InvalidEnvoyRequestHeaders,
            Self::StreamIdle => ResponseFlag::StreamIdleTimeout,
            Self::FaultAbort { .. } => ResponseFlag::FaultInjected,
            Self::NoFilterConfig => ResponseFlag::NoFilterConfigFound,
            Self::Client(DownstreamError::Gone(_)) => ResponseFlag::DownstreamConnectionTermination,
            Self::Client(DownstreamError::Reset) => ResponseFlag::DownstreamRemoteReset,
            Self::Client(DownstreamError::Overload) => ResponseFlag::OverloadManagerTerminated,
            Self::Client(
                DownstreamError::Protocol(_)
                | DownstreamError::Length(_)
                | DownstreamError::Http2(_),
            ) => ResponseFlag::DownstreamProtocolError,
            Self::Unresolved(Unresolved::Full | Unresolved::Pending)
            | Self::Client(DownstreamError::Content(_) | DownstreamError::Shed)
            | Self::TooLarge
            | Self::Shed
            | Self::Origin
            | Self::ResponseContent(_)
            | Self::RequestTimeout
            | Self::Overtaken
            | Self::MaxDuration
            | Self::Elsewhere
            | Self::UpgradeRefused
            | Self::Path
            | Self::Denied { .. }
            | Self::Token { .. } => return None,
        })
    }

    /// Whether the answer is one in the name of the request's cluster, and counted there.
    pub(crate) const fn is_of_cluster(&self) -> bool {
        match self {
            Self::NoHealthyUpstream
            | Self::NoAddress(_)
            | Self::SessionGone { .. }
            | Self::Overflow(_)
            | Self::Dropped
            | Self::AllDropped
            | Self::Maintenance
            | Self::Connect(_)
            | Self::Upstream(_)
            | Self::ResponseTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdle => true,
            Self::NoRoute
            | Self::NoCluster { .. }
            | Self::Unresolved(_)
            | Self::Shed
            | Self::Overtaken
            | Self::StrictHeader(_)
            | Self::StreamIdle
            | Self::RequestTimeout
            | Self::UpstreamMaxDuration
            | Self::MaxDuration
            | Self::Elsewhere
            | Self::UpgradeRefused
            | Self::Path
            | Self::Denied { .. }
            | Self::NoFilterConfig
            | Self::Token { .. }
            | Self::TooLarge
            | Self::Origin
            | Self::ResponseContent(_)
            | Self::FaultAbort { .. }
            | Self::Client(_)
            | Self::BrokenOff(_) => false,
        }
    }

    /// Whether the server took too long.
    pub(crate) const fn is_upstream_timeout(&self) -> bool {
        matches!(self, Self::ResponseTimeout | Self::PerTryTimeout | Self::PerTryIdle)
    }

    /// Whether a service that sees the content ended the exchange.
    pub(crate) const fn is_processed(&self) -> bool {
        matches!(
            self,
            Self::ResponseContent(ContentError::Processed)
                | Self::Client(DownstreamError::Content(ContentError::Processed))
        )
    }

    /// The flags that the cause adds to those noted before.
    pub(crate) fn note(&self, flags: &mut ResponseFlags) {
        if let Some(flag) = self.response_flag() {
            flags.insert(flag);
        }
    }
}

const fn upstream_flag(error: &UpstreamError) -> ResponseFlag {
    match error {
        UpstreamError::Closed(_) => ResponseFlag::UpstreamConnectionTermination,
        UpstreamError::Reset(_) | UpstreamError::Refused => ResponseFlag::UpstreamRemoteReset,
        UpstreamError::Protocol(_) | UpstreamError::Http2(_) | UpstreamError::NoExtendedConnect => {
            ResponseFlag::UpstreamProtocolError
        }
        UpstreamError::Length(_) => ResponseFlag::DownstreamProtocolError,
    }
}
