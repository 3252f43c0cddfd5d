//! Who is calling: the one place that turns credentials into an identity.

use std::{sync::Arc, time::SystemTime};

use iako_ca::JoinTokens;
use iako_identity::PeerIdentity;
use iako_types::{SpiffeId, TrustDomain};
use tonic::{Status, metadata::MetadataMap};

/// What a listener knows of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    /// TLS, with the client's certificate if it showed one.
    Tls(Option<Arc<PeerIdentity>>),
    /// No encryption; only from this machine, and only for configuration, never for certificates.
    Plaintext,
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A workload that proved who it is.
    Workload(SpiffeId),
    /// A process of this machine on the plaintext port, that proved nothing.
    Local,
}

/// Finds out who is calling, by certificate or by join token.
#[derive(Debug)]
pub(crate) struct Authenticator {
    tokens: JoinTokens,
    trust_domain: TrustDomain,
}

impl Authenticator {
    pub(crate) const fn new(tokens: JoinTokens, trust_domain: TrustDomain) -> Self {
        Self { tokens, trust_domain }
    }

    /// Who is calling. A token counts over a certificate: whoever sends one means it.
    ///
    /// The reason of a refusal is logged here and not told to the caller.
    pub(crate) fn caller(
        &self,
        channel: &Channel,
        metadata: &MetadataMap,
        now: SystemTime,
    ) -> Result<Caller, Status> {
        let peer = match channel {
            Channel::Plaintext => return Ok(Caller::Local),
            Channel::Tls(peer) => peer,
        };
        if let Some(value) = metadata.get("authorization") {
            return self.by_token(value.to_str().unwrap_or_default(), now).map(Caller::Workload);
        }
        match peer.as_ref().and_then(|peer| peer.spiffe_id.clone()) {
            Some(id) => Ok(Caller::Workload(id)),
            None => Err(refused("neither a token nor a workload certificate was shown")),
        }
    }

    fn by_token(&self, header: &str, now: SystemTime) -> Result<SpiffeId, Status> {
        let Some(token) = header.strip_prefix("Bearer ") else {
            return Err(refused("the authorization header holds no bearer token"));
        };
        let joining = self.tokens.verify(token, now).map_err(|error| {
            let mut reason = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                reason = format!("{reason}: {source}");
            }
            refused(&reason)
        })?;
        let (namespace, account) = (&joining.namespace, &joining.service_account);
        Ok(SpiffeId::of_service_account(&self.trust_domain, namespace, account))
    }
}

fn refused(reason: &str) -> Status {
    tracing::warn!(reason, "a caller was turned away");
    // One answer for every reason: a stranger learns nothing from it. Istio's wording differs.
    Status::unauthenticated("authentication failed; the control plane's log says why")
}
