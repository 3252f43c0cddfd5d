//! Keys and certificates.

use std::{fmt, sync::Arc};

use crate::{TicketKey, Validation};

/// A named secret. Source: `envoy.extensions.transport_sockets.tls.v3.Secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name that TLS settings refer to.
    pub name: String,
    /// What it is.
    pub kind: SecretKind,
}

/// What a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// A certificate with its key. Source: `TlsCertificate`.
    Certificate {
        /// Leaf first.
        chain: Pem,
        /// The leaf's key.
        key: PrivateKey,
        /// What its authority says of it, for servers that hand it on.
        staple: Option<OcspResponse>,
    },
    /// Whom to trust, and what else peers are checked for. Source: `CertificateValidationContext`.
    Trust(Box<Validation>),
    /// Keys of session tickets; at least one. Source: `TlsSessionTicketKeys`.
    TicketKeys(Vec<TicketKey>),
    /// What filters show or sign with. Source: `GenericSecret.secret`.
    Generic(SecretBytes),
}

/// Certificates in PEM; not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pem(pub Arc<str>);

/// An OCSP response in DER (RFC 6960); not yet looked into. Source: `TlsCertificate.ocsp_staple`.
#[derive(Clone, PartialEq, Eq)]
pub struct OcspResponse(pub Arc<[u8]>);

impl fmt::Debug for OcspResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OcspResponse({} bytes)", self.0.len())
    }
}

/// A private key in PEM. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Arc<str>);

impl PrivateKey {
    /// Wraps a key in PEM.
    #[must_use]
    pub fn new(pem: impl Into<Arc<str>>) -> Self {
        Self(pem.into())
    }

    /// The key in PEM, for the one place that loads it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Bytes that only two parties know: a password, a token, the key of a signature. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    /// Wraps them.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Whether it is the very same one, not only an equal one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The bytes, for whoever shows them to the other party or signs with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(hidden)")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}
