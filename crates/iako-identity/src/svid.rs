//! X.509-SVIDs: certificates that carry exactly one SPIFFE identity.

use std::{sync::Arc, time::SystemTime};

use iako_types::{IdentityError, SpiffeId};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{CertificateError, CertificateFacts, TlsCertificate};

/// Why a certificate is no X.509-SVID of a workload.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// Chain or key are of no use.
    #[error("the certificate is not usable")]
    Certificate(#[from] CertificateError),
    /// There is no URI name.
    #[error("the certificate carries no identity")]
    NoIdentity,
    /// There are several URI names, so whom it identifies is anybody's guess.
    #[error("the certificate carries {count} URI names, not one")]
    SeveralIdentities {
        /// How many.
        count: usize,
    },
    /// The URI name is no SPIFFE identity.
    #[error("the URI name {uri:?} is no SPIFFE identity")]
    InvalidIdentity {
        /// The name.
        uri: String,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// The identity is that of a trust domain, which only signers carry.
    #[error("the identity {id} has no path, so it names no workload")]
    NoWorkload {
        /// The identity.
        id: SpiffeId,
    },
    /// The certificate may sign others, or is not meant for handshakes.
    #[error("the certificate is not one of a workload: {reason}")]
    NotALeaf {
        /// Which rule it breaks.
        reason: &'static str,
    },
}

/// A workload's own certificate chain and key. Source: SPIFFE X509-SVID.
#[derive(Debug, Clone)]
pub struct Svid {
    id: SpiffeId,
    certificate: Arc<TlsCertificate>,
}

impl Svid {
    /// From a chain, leaf first and without the root, and the leaf's key.
    ///
    /// # Errors
    /// When chain or key are of no use, or the leaf is no X.509-SVID.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, SvidError> {
        Self::of(TlsCertificate::new(chain, key)?)
    }

    /// From a PEM chain, leaf first and without the root, and a PEM key.
    ///
    /// # Errors
    /// As [`Svid::new`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, SvidError> {
        Self::of(TlsCertificate::from_pem(chain, key)?)
    }

    fn of(certificate: TlsCertificate) -> Result<Self, SvidError> {
        let id = workload_of(certificate.facts())?;
        Ok(Self { id, certificate: Arc::new(certificate) })
    }

    /// Whom it identifies.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Chain and key in the form that [`crate::ServerTls`] and [`crate::ClientTls`] take.
    #[must_use]
    pub const fn certificate(&self) -> &Arc<TlsCertificate> {
        &self.certificate
    }

    /// Valid up to this moment.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.certificate.facts().not_after
    }
}

/// The identity of a leaf, after the rules for X.509-SVIDs of workloads.
///
/// Source: SPIFFE X509-SVID §2, §3, §4, §5.2.
pub(crate) fn workload_of(facts: &CertificateFacts) -> Result<SpiffeId, SvidError> {
    let uri = match facts.uri_sans.as_slice() {
        [] => return Err(SvidError::NoIdentity),
        [uri] => uri,
        several => return Err(SvidError::SeveralIdentities { count: several.len() }),
    };
    let id: SpiffeId =
        uri.parse().map_err(|source| SvidError::InvalidIdentity { uri: uri.clone(), source })?;
    if id.path().is_empty() {
        return Err(SvidError::NoWorkload { id });
    }
    let broken = |reason| Err(SvidError::NotALeaf { reason });
    if facts.is_ca {
        return broken("it may sign certificates (basic constraints)");
    }
    match facts.key_usage {
        None => return broken("it has no key usage"),
        Some(usage) if !usage.digital_signature => return broken("it may not sign handshakes"),
        Some(usage) if usage.certificate_signing || usage.revocation_list_signing => {
            return broken("it may sign certificates or revocation lists (key usage)");
        }
        Some(_) => {}
    }
    match facts.extended_key_usage {
        Some(usage) if !usage.server || !usage.client => {
            broken("its extended key usage lacks server or client authentication")
        }
        _ => Ok(id),
    }
}
