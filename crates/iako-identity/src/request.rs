//! Asking for a certificate.

use std::fmt;

use iako_types::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why no request could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the certificate request could not be made")]
pub struct RequestError(#[from] rcgen::Error);

/// A fresh key and the request to certify it.
///
/// P-256; the subject is empty and the identity stands in the subject alternative name, where a
/// signer may compare it but never has to believe it.
pub struct SigningRequest {
    key: KeyPair,
    csr_pem: String,
}

impl SigningRequest {
    /// Makes a new key and the request for `id`.
    ///
    /// # Errors
    /// When the random source fails or the identity cannot be written.
    pub fn generate(id: &SpiffeId) -> Result<Self, RequestError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        let csr_pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { key, csr_pem })
    }

    /// The request in PEM (PKCS#10), proof of possession included.
    #[must_use]
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// The key, once the certificate is there.
    #[must_use]
    pub fn into_key(self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("SigningRequest").field("csr_pem", &self.csr_pem).finish_non_exhaustive()
    }
}
