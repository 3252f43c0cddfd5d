//! Who a verified peer turned out to be.

use std::time::SystemTime;

use iako_types::{SpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;

use crate::{
    certificate::{CertificateError, CertificateFacts, certificates_to_pem, hex, sha256},
    svid::{SvidError, workload_of},
};

/// Why a peer is not believed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its certificate is unreadable.
    #[error("the peer's certificate is not usable")]
    Certificate(#[from] CertificateError),
    /// Its certificate is no X.509-SVID.
    #[error("the peer's certificate is no SPIFFE identity")]
    Svid(#[from] SvidError),
    /// Nobody told us to believe its trust domain.
    #[error("the peer {id} is of the trust domain {trust_domain}, for which there is no bundle")]
    ForeignTrustDomain {
        /// The peer.
        id: SpiffeId,
        /// Its trust domain.
        trust_domain: TrustDomain,
    },
    /// It is believed to be who it says, but somebody else was expected.
    #[error("the peer is {presented}, which is not on the list of accepted names")]
    NotExpected {
        /// The names that it presented.
        presented: String,
    },
    /// It is not one of those that are pinned.
    #[error("the peer's certificate is not one of those that are pinned")]
    NotPinned,
    /// It took up a session, and would not be believed anew.
    #[error("the peer is no longer believed: {reason}")]
    NoLongerBelieved {
        /// Why not.
        reason: String,
    },
    /// Its certificate is not, or no longer, valid.
    #[error("the peer's certificate is not valid now")]
    NotValidNow,
}

/// The peer of a connection, after its certificate chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The identity, when the certificate carries exactly one and follows SPIFFE's rules.
    pub spiffe_id: Option<SpiffeId>,
    /// What the leaf certificate says.
    pub facts: CertificateFacts,
    /// SHA-256 of the leaf, for `x-forwarded-client-cert` (`Hash`).
    pub sha256: [u8; 32],
    /// Whether it was let in though nobody vouches for it. Source: `ACCEPT_UNTRUSTED`.
    pub untrusted: bool,
    chain: Vec<CertificateDer<'static>>,
}

impl PeerIdentity {
    /// Reads a chain that rustls has verified, leaf first. Nothing is verified here.
    ///
    /// # Errors
    /// When the leaf is unreadable or missing.
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let facts = CertificateFacts::read(leaf)?;
        let spiffe_id = workload_of(&facts).ok();
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect::<Vec<_>>();
        let sha256 = sha256(chain.first().map_or(&[], |leaf| leaf));
        Ok(Self { spiffe_id, sha256, facts, untrusted: false, chain })
    }

    /// SHA-256 of the leaf in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// The leaf as PEM, not yet URL-encoded, for `x-forwarded-client-cert` (`Cert`).
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        certificates_to_pem(self.chain.get(..1).unwrap_or_default())
    }

    /// The whole chain as PEM, not yet URL-encoded, for `x-forwarded-client-cert` (`Chain`).
    #[must_use]
    pub fn chain_pem(&self) -> String {
        certificates_to_pem(&self.chain)
    }

    /// The chain as it was presented, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf is valid up to this moment.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }
}
