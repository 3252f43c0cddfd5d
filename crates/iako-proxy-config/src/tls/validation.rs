//! What a peer's certificate must be.

use iako_types::{SpiffeId, TrustDomain};

use crate::{Pem, SourcedName, StringMatch};

/// What a peer's certificate must be.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Who vouches for the peer.
    pub trust: Trust,
    /// Names of which the certificate must carry one; any name when empty.
    pub subject_alt_names: Vec<SanMatch>,
    /// SHA-256 of the peer's public key info, base64. With these or `certificate_hashes`, the peer
    /// must be one of them; any peer when both are empty.
    pub spki_pins: Vec<String>,
    /// SHA-256 of the peer's certificate, lower-case hexadecimal without colons.
    pub certificate_hashes: Vec<String>,
    /// Revocation lists; none when absent. With them, every certificate of a chain must be on none,
    /// and its issuer must have one.
    pub crl: Option<Pem>,
    /// What is said about the chain besides.
    pub chain: PeerChainRules,
}

/// How strictly a peer's chain is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerChainRules {
    /// Whether a certificate may have expired, or not be valid yet. Envoy default: false.
    /// Source: `allow_expired_certificate`.
    pub allow_expired: bool,
    /// Whether a peer passes for whom nobody vouches, after everything was checked. Envoy default:
    /// false. Source: `trust_chain_verification: ACCEPT_UNTRUSTED`.
    pub accept_untrusted: bool,
    /// The most certificates above the peer's, its root included; one that a root signed itself always
    /// passes. As many as the library allows (6) when absent. Source: `max_verify_depth`.
    pub depth_max: Option<u32>,
    /// Whether only the peer's own certificate is looked for in revocation lists. Envoy default:
    /// false. Source: `only_verify_leaf_cert_crl`.
    pub crl_of_leaf_only: bool,
    /// Whether clients are not told which authorities are believed. Envoy default: false.
    /// Source: `suppress_client_ca_list`.
    pub hide_authorities: bool,
}

/// Who vouches for a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: the chain is not checked, as Envoy does without a `trusted_ca`. The owner of
    /// the configuration is warned.
    #[default]
    Unverified,
    /// Roots by secret name; delivered by SDS or the workload's own identity (`ROOTCA`).
    /// Source: `SdsSecretConfig`.
    Sds(SourcedName),
    /// Roots written in the configuration, or read from the file that it names.
    Inline(Pem),
    /// The operating system's roots.
    System,
    /// The peer must be a workload, and the roots of its own trust domain vouch for it.
    /// Source: `envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig`.
    Spiffe(Vec<(TrustDomain, Pem)>),
}

/// A name that a certificate must carry.
/// Source: `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanMatch {
    /// Which kind of name; any when absent (the deprecated `match_subject_alt_names`).
    pub kind: Option<SanKind>,
    /// What the name must be.
    pub matcher: StringMatch,
}

impl SanMatch {
    /// Exactly this workload.
    #[must_use]
    pub fn spiffe(id: &SpiffeId) -> Self {
        Self { kind: Some(SanKind::Uri), matcher: StringMatch::exact(id.as_str()) }
    }
}

/// A kind of name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanKind {
    /// A DNS name; a wildcard in the certificate counts for exact matches.
    Dns,
    /// A URI, such as a SPIFFE ID.
    Uri,
    /// An IP address.
    Ip,
    /// An e-mail address.
    Email,
    /// A name of another kind, by its object identifier, such as `1.3.6.1.4.1.311.20.2.3`.
    Other(String),
}
