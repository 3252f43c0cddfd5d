//! Questions of the proxy itself to services, through its own clusters: of filters that ask whether a
//! request may pass, of logs that are sent, of keys that are fetched.
//!
//! [`http::ask`] is one HTTP request, [`grpc::unary`] one gRPC call with one message each way,
//! [`grpc::GrpcStream`] a call with messages both ways. Each picks an endpoint and takes a connection
//! as any request does and is counted with the cluster's statistics; each is bounded in bytes, and
//! cancelled when it is dropped. A question by HTTP and a unary call keep their own time; that of a
//! stream is the caller's business ([`within`]).

pub(crate) mod call;
pub(crate) mod grpc;
pub(crate) mod http;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::LazyLock;
use std::time::Duration;

use crate::upstream::UpstreamError;
use crate::upstream::pool::AcquireError;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The cluster does not exist (any more).
    #[error("the cluster {0} does not exist")]
    NoCluster(String),
    /// No endpoint takes requests.
    #[error("no endpoint of the cluster takes requests")]
    NoEndpoint,
    /// There is no connection.
    #[error("no connection to the service")]
    Acquire(#[from] AcquireError),
    /// The service went away, or broke the protocol.
    #[error("no answer of the service")]
    Upstream(#[from] UpstreamError),
    /// It went away after its answer had begun, or broke the protocol.
    #[error("the service broke off")]
    BrokenOff(#[source] UpstreamError),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The answer is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// A gRPC service ended the call without an answer.
    #[error("the service ended the call with gRPC status {code}: {message}")]
    Status {
        /// The gRPC status.
        code: u32,
        /// Its message.
        message: String,
    },
    /// What came is no gRPC.
    #[error("the service broke gRPC: {0}")]
    Broken(&'static str),
}

impl CallError {
    /// The gRPC status that stands for the failure, as Envoy's client tells it.
    pub(crate) const fn grpc_status(&self) -> u32 {
        match self {
            Self::Status { code, .. } => *code,
            Self::Late(_) => 4,
            Self::TooLong(_) => 8,
            Self::Broken(_) | Self::BrokenOff(_) => 13,
            Self::NoCluster(_) | Self::NoEndpoint | Self::Acquire(_) | Self::Upstream(_) => 14,
        }
    }
}

/// The answer to a question, unless it takes longer than `limit`; no limit, no end.
///
/// # Errors
/// Those of the question, and [`CallError::Late`].
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    asking: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match limit {
        None => asking.await,
        Some(limit) => tokio::time::timeout(limit, asking)
            .await
            .unwrap_or_else(|_elapsed| Err(CallError::Late(limit))),
    }
}

/// This machine's address, as services are told it in `x-forwarded-for`: the one that it would send
/// from, found once.
pub(crate) fn own_address() -> IpAddr {
    static ADDRESS: LazyLock<IpAddr> = LazyLock::new(|| {
        let found = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            // Nothing is sent: a datagram socket only looks for a way. Source: `udp(7)`.
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        };
        found()
            .filter(|address| !address.is_unspecified())
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    });
    *ADDRESS
}
