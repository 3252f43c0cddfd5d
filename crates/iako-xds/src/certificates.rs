//! Asking Istio's certificate service for a workload certificate.

use std::time::Duration;

use iako_xds_api::istio::v1::auth::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use tonic::{Request, Status, transport::Channel};

use crate::client::authorize;

/// How long the service may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The token cannot stand in a header.
    #[error("the join token holds characters that no token has")]
    Token,
    /// The service refuses, or is not reachable.
    #[error("the certificate service answered {code:?}: {message}")]
    Refused {
        /// gRPC's code.
        code: tonic::Code,
        /// The service's words.
        message: String,
    },
    /// The service took too long.
    #[error("the certificate service did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// The service answered without a certificate.
    #[error("the certificate service answered without a certificate")]
    Empty,
}

/// Fetches the chain for a PEM request: PEM elements, leaf first, roots last.
///
/// `bearer` is the join token; without it the channel's client certificate must suffice, as when
/// renewing. Source: `istio.v1.auth.IstioCertificateService.CreateCertificate`.
///
/// # Errors
/// When the service refuses, is silent, or answers nothing.
pub async fn fetch(
    channel: Channel,
    bearer: Option<&str>,
    csr_pem: String,
    lifetime: Duration,
) -> Result<Vec<String>, FetchError> {
    let mut request = Request::new(IstioCertificateRequest {
        csr: csr_pem,
        validity_duration: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
        metadata: None,
    });
    if let Some(token) = bearer {
        authorize(&mut request, token).ok_or(FetchError::Token)?;
    }
    let mut client = IstioCertificateServiceClient::new(channel);
    let answer = tokio::time::timeout(ANSWER, client.create_certificate(request)).await;
    let answer = answer.map_err(|_elapsed| FetchError::Timeout)?;
    let refused = |status: Status| FetchError::Refused {
        code: status.code(),
        message: status.message().to_owned(),
    };
    let chain = answer.map_err(refused)?.into_inner().cert_chain;
    if chain.is_empty() { Err(FetchError::Empty) } else { Ok(chain) }
}
