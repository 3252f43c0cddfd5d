//! Signing.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use iako_identity::{
    RequestError, SigningRequest, Svid, SvidError, TrustBundle, certificates_to_pem, provider,
};
use iako_types::{SpiffeId, TrustDomain};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer, public_key::PublicKey,
};

/// Lifetime of a certificate whose request names none. Istio's default.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Longest lifetime of a workload certificate. Istio's `MAX_WORKLOAD_CERT_TTL`.
const LIFETIME_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far a certificate's validity starts in the past, for peers whose clocks are behind.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// Longest certificate request in bytes; bounds the work for an answer.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Smallest RSA key in bits.
const RSA_BITS_MIN: usize = 2048;

/// Why a request is not signed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The request is not a PEM or DER PKCS#10 request.
    #[error("the certificate request is unreadable: {reason}")]
    Unreadable {
        /// The reader's words.
        reason: String,
    },
    /// The request's signature is not by the key that it wants certified.
    #[error("the certificate request is not signed by its own key")]
    NoPossession,
    /// The key is of a kind, or so short, that it is not certified.
    #[error("the key of the certificate request is not acceptable: {reason}")]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// The identity belongs to another trust domain.
    #[error("{id} is not in this authority's trust domain {trust_domain}")]
    ForeignTrustDomain {
        /// The identity.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// The signing certificate itself is expired.
    #[error("the signing certificate is expired")]
    SignerExpired,
    /// The certificate could not be written or signed.
    #[error("the certificate could not be signed")]
    Signing(#[source] rcgen::Error),
    /// A key or a serial number could not be made.
    #[error("the random source failed")]
    Random,
    /// The key for a certificate of our own could not be made.
    #[error("no key for a certificate of our own")]
    OwnKey(#[from] RequestError),
    /// A certificate of our own came out wrong.
    #[error("the signed certificate is not usable")]
    OwnCertificate(#[from] SvidError),
}

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM elements as Istio's certificate service returns them: the leaf, the signers one each,
    /// and all roots as the last element. Every line is ended.
    pub elements: Vec<String>,
    /// The leaf is valid up to this moment.
    pub not_after: SystemTime,
}

/// Signs workload certificates of one trust domain.
pub struct CertificateAuthority {
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    signer_not_after: SystemTime,
    /// Certificates between a leaf and the roots, the signer's own first. Empty for a root.
    intermediates: Vec<CertificateDer<'static>>,
    roots: TrustBundle,
}

impl CertificateAuthority {
    /// Signs with `issuer`, whose certificate ends at `signer_not_after`.
    pub(crate) fn of_issuer(
        trust_domain: &TrustDomain,
        issuer: Issuer<'static, KeyPair>,
        signer_not_after: SystemTime,
        intermediates: Vec<CertificateDer<'static>>,
        roots: TrustBundle,
    ) -> Self {
        let trust_domain = trust_domain.clone();
        Self { trust_domain, issuer, signer_not_after, intermediates, roots }
    }

    /// When the signing certificate ends.
    pub(crate) const fn signer_not_after(&self) -> SystemTime {
        self.signer_not_after
    }

    /// The realm whose identities are certified.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots that everybody in the mesh must believe.
    #[must_use]
    pub const fn roots(&self) -> &TrustBundle {
        &self.roots
    }

    /// The same as PEM.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        certificates_to_pem(self.roots.roots())
    }

    /// Certifies the key of a request for `id`, which the caller has found out by authenticating
    /// whoever asked. Names in the request are ignored.
    ///
    /// `lifetime` is what was asked for: none or zero is 24 h; more than 90 days, or more than
    /// the signer has left, is shortened. Source: `istio.v1.auth.IstioCertificateRequest`.
    ///
    /// # Errors
    /// When the request is unreadable, does not prove possession of its key, the key is weak, the
    /// identity is foreign, or the signer is expired.
    pub fn sign(
        &self,
        csr_pem: &str,
        id: &SpiffeId,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<Issued, SignError> {
        let key = key_of_request(csr_pem)?;
        self.issue(&key, &Subject { id, dns: &[], addresses: &[] }, lifetime, now)
    }

    /// A certificate of the control plane itself, with a new key: its identity, and the names and
    /// addresses by which proxies reach it.
    ///
    /// # Errors
    /// As [`CertificateAuthority::sign`].
    pub fn server_certificate(
        &self,
        id: &SpiffeId,
        dns: &[&str],
        addresses: &[IpAddr],
        now: SystemTime,
    ) -> Result<Svid, SignError> {
        let request = SigningRequest::generate(id)?;
        let key = key_of_request(request.csr_pem())?;
        let issued = self.issue(&key, &Subject { id, dns, addresses }, None, now)?;
        let chain = issued.elements.split_last().map(|(_, chain)| chain.concat());
        let chain = iako_identity::certificates_from_pem(&chain.unwrap_or_default());
        Ok(Svid::new(chain.map_err(SvidError::from)?, request.into_key())?)
    }

    fn issue(
        &self,
        key: &SubjectPublicKeyInfo,
        subject: &Subject<'_>,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<Issued, SignError> {
        if subject.id.trust_domain() != &self.trust_domain {
            let trust_domain = self.trust_domain.clone();
            return Err(SignError::ForeignTrustDomain { id: subject.id.clone(), trust_domain });
        }
        if self.signer_not_after <= now {
            return Err(SignError::SignerExpired);
        }
        let lifetime = lifetime.filter(|asked| !asked.is_zero()).unwrap_or(LIFETIME_DEFAULT);
        let wanted = now.checked_add(lifetime.min(LIFETIME_MAX));
        let not_after = wanted.unwrap_or(self.signer_not_after).min(self.signer_not_after);
        let mut params = subject.params()?;
        params.not_before = now.checked_sub(CLOCK_SKEW).unwrap_or(now).into();
        params.not_after = not_after.into();
        params.serial_number = Some(random_serial()?);
        let leaf = params.signed_by(key, &self.issuer).map_err(SignError::Signing)?;
        let mut elements = vec![certificates_to_pem(std::slice::from_ref(leaf.der()))];
        let signers = self.intermediates.iter().map(std::slice::from_ref);
        elements.extend(signers.map(certificates_to_pem));
        elements.push(self.roots_pem());
        Ok(Issued { elements, not_after })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("CertificateAuthority")
            .field("trust_domain", &self.trust_domain)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// What a leaf certifies.
struct Subject<'a> {
    id: &'a SpiffeId,
    dns: &'a [&'a str],
    addresses: &'a [IpAddr],
}

impl Subject<'_> {
    /// A leaf after the rules for X.509-SVIDs: no subject, so the alternative names are critical.
    fn params(&self) -> Result<CertificateParams, SignError> {
        let text = |name: &str| name.try_into().map_err(SignError::Signing);
        let mut names = vec![SanType::URI(text(self.id.as_str())?)];
        for name in self.dns {
            names.push(SanType::DnsName(text(name)?));
        }
        names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }
}

/// The public key of a request that proves possession of its private half.
fn key_of_request(csr_pem: &str) -> Result<SubjectPublicKeyInfo, SignError> {
    let unreadable = |reason: String| SignError::Unreadable { reason };
    if csr_pem.len() > REQUEST_BYTES_MAX {
        return Err(unreadable(format!("it is longer than {REQUEST_BYTES_MAX} bytes")));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|error| unreadable(error.to_string()))?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable("bytes follow the request".to_owned()));
    }
    request.verify_signature().map_err(|_wrong| SignError::NoPossession)?;
    let key = &request.certification_request_info.subject_pki;
    let parsed = key.parsed().map_err(|error| SignError::Key { reason: error.to_string() })?;
    if let PublicKey::RSA(rsa) = parsed
        && rsa.key_size() < RSA_BITS_MIN
    {
        return Err(SignError::Key { reason: format!("RSA below {RSA_BITS_MIN} bits") });
    }
    SubjectPublicKeyInfo::from_der(key.raw)
        .map_err(|error| SignError::Key { reason: error.to_string() })
}

/// 127 random bits, never zero, positive in DER. Source: RFC 5280 §4.1.2.2.
pub(crate) fn random_serial() -> Result<SerialNumber, SignError> {
    let mut octets = random_octets()?;
    if let Some(first) = octets.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&octets))
}

/// Random octets from the provider that makes the keys, too.
pub(crate) fn random_octets() -> Result<[u8; 16], SignError> {
    let mut octets = [0; 16];
    provider().secure_random.fill(&mut octets).map_err(|_silent| SignError::Random)?;
    Ok(octets)
}
