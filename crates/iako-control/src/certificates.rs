//! Signs certificates for workloads.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use iako_ca::{CertificateAuthority, SignError};
use iako_types::SpiffeId;
use iako_xds::transport::Peer;
use iako_xds_api::istio::v1::auth::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::IstioCertificateService,
};
use tonic::{Request, Response, Status};

use crate::authenticate::Authenticator;

/// `istio.v1.auth.IstioCertificateService`: the certificate names whoever asked, whatever the
/// request names.
#[derive(Debug)]
pub(crate) struct Certificates {
    authority: Arc<CertificateAuthority>,
    authenticator: Arc<Authenticator>,
}

impl Certificates {
    pub(crate) const fn new(
        authority: Arc<CertificateAuthority>,
        authenticator: Arc<Authenticator>,
    ) -> Self {
        Self { authority, authenticator }
    }

    /// The reason of a refusal is logged, not told: a stranger learns nothing from it.
    fn caller<T>(&self, request: &Request<T>, now: SystemTime) -> Result<SpiffeId, Status> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
        self.authenticator.caller(&peer, bearer, now).map_err(|reason| {
            tracing::warn!(peer = ?peer.address, %reason, "no certificate was issued");
            Status::unauthenticated("request authenticate failure")
        })
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let now = iako_rt::clock::wall();
        let id = self.caller(&request, now)?;
        let request = request.into_inner();
        // Another identity than the caller's own is never issued.
        if request.metadata.is_some_and(|asked| asked.fields.contains_key("ImpersonatedIdentity")) {
            return Err(Status::permission_denied("impersonation is not allowed"));
        }
        let seconds = u64::try_from(request.validity_duration).unwrap_or_default();
        let lifetime = (seconds > 0).then(|| Duration::from_secs(seconds));
        match self.authority.sign(&request.csr, &id, lifetime, now) {
            Ok(issued) => {
                tracing::info!(%id, "certificate issued");
                Ok(Response::new(IstioCertificateResponse { cert_chain: issued.elements }))
            }
            Err(error) => Err(refusal(&id.to_string(), &error)),
        }
    }
}

fn refusal(id: &str, error: &SignError) -> Status {
    tracing::warn!(%id, %error, "no certificate was issued");
    let askers_fault = matches!(
        error,
        SignError::Unreadable { .. }
            | SignError::NoPossession
            | SignError::Key { .. }
            | SignError::ForeignTrustDomain { .. }
    );
    if askers_fault {
        Status::invalid_argument(error.to_string())
    } else {
        Status::internal(error.to_string())
    }
}
