//! Who is calling: the one place that turns credentials into an identity.

use std::time::SystemTime;

use iako_ca::JoinTokens;
use iako_types::{SpiffeId, TrustDomain};
use iako_xds::transport::Peer;

/// Why a caller is nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    /// No credentials.
    #[error("neither a join token nor a workload certificate was shown")]
    Nothing,
    /// A token that is not good.
    #[error("the join token is not good: {0}")]
    Token(String),
    /// A certificate without a workload's name.
    #[error("the certificate names no workload")]
    Certificate,
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
    /// The certificate was verified in the handshake; the token is verified here.
    pub(crate) fn caller(
        &self,
        peer: &Peer,
        bearer: Option<&str>,
        now: SystemTime,
    ) -> Result<SpiffeId, Unknown> {
        if let Some(token) = bearer {
            return self.by_token(token, now);
        }
        let identity = peer.identities.first().ok_or(Unknown::Nothing)?;
        identity.parse().map_err(|_no_spiffe_id| Unknown::Certificate)
    }

    fn by_token(&self, token: &str, now: SystemTime) -> Result<SpiffeId, Unknown> {
        let joining = self.tokens.verify(token, now).map_err(|error| {
            let cause = std::error::Error::source(&error);
            Unknown::Token(match cause {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            })
        })?;
        let (namespace, account) = (&joining.namespace, &joining.service_account);
        Ok(SpiffeId::of_service_account(&self.trust_domain, namespace, account))
    }
}
