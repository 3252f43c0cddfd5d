//! Certificates as text and as facts.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{crypto::aws_lc_rs::cipher_suite, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    objects::{oid_registry, oid2abbrev},
    prelude::FromDer,
    x509::X509Name,
};

use crate::{
    ocsp::{self, OcspError, Until},
    tls::provider,
};

/// Why certificates or a key are of no use.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is not PEM, or holds something unreadable.
    #[error("the {what} is not readable PEM: {reason}")]
    Pem {
        /// What the text should have been.
        what: &'static str,
        /// The reader's words.
        reason: String,
    },
    /// The text holds no certificate at all.
    #[error("there is no certificate")]
    Empty,
    /// A certificate is not readable X.509.
    #[error("the certificate is not readable X.509: {reason}")]
    Malformed {
        /// The reader's words.
        reason: String,
    },
    /// The key is of a kind that TLS here does not use, or damaged.
    #[error("the private key is not usable")]
    Key(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}

/// What a certificate says, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The serial number in lower-case hexadecimal without separators, as Envoy prints it.
    pub serial: String,
    /// The subject in RFC 2253 form; empty when the certificate has none.
    pub subject: String,
    /// The issuer in RFC 2253 form.
    pub issuer: String,
    /// URI names, in the certificate's order. A SPIFFE identity is one of these.
    pub uri_sans: Vec<String>,
    /// DNS names, in the certificate's order; may hold wildcards.
    pub dns_sans: Vec<String>,
    /// IP addresses, in the certificate's order.
    pub ip_sans: Vec<IpAddr>,
    /// Mail addresses, in the certificate's order.
    pub email_sans: Vec<String>,
    /// Texts of other kinds, each after its object identifier, in the certificate's order.
    pub other_sans: Vec<(String, String)>,
    /// The common name of the subject; empty when it has none.
    pub common_name: String,
    /// Valid from this moment on.
    pub not_before: SystemTime,
    /// Valid up to this moment.
    pub not_after: SystemTime,
    /// Whether it may sign other certificates, by basic constraints.
    pub is_ca: bool,
    /// The key usage, when the certificate restricts it.
    pub key_usage: Option<KeyUsage>,
    /// The extended key usage, when the certificate restricts it.
    pub extended_key_usage: Option<ExtendedKeyUsage>,
}

/// The bits of the key usage extension that identities depend on. Source: RFC 5280 §4.2.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    /// May sign data, as in a TLS handshake.
    pub digital_signature: bool,
    /// May sign certificates.
    pub certificate_signing: bool,
    /// May sign revocation lists.
    pub revocation_list_signing: bool,
}

/// The purposes of the extended key usage extension. Source: RFC 5280 §4.2.1.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// May authenticate a TLS server.
    pub server: bool,
    /// May authenticate a TLS client.
    pub client: bool,
}

impl CertificateFacts {
    /// Reads a certificate. Nothing is verified.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] when it is not X.509.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let malformed = |reason: String| CertificateError::Malformed { reason };
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow the certificate".to_owned()));
        }
        let mut facts = Self {
            serial: hex(without_sign(parsed.raw_serial())),
            subject: rfc2253(parsed.subject()),
            issuer: rfc2253(parsed.issuer()),
            uri_sans: Vec::new(),
            dns_sans: Vec::new(),
            ip_sans: Vec::new(),
            email_sans: Vec::new(),
            other_sans: Vec::new(),
            common_name: common_name(parsed.subject()),
            not_before: at(parsed.validity().not_before.timestamp()),
            not_after: at(parsed.validity().not_after.timestamp()),
            is_ca: parsed.is_ca(),
            key_usage: None,
            extended_key_usage: None,
        };
        for extension in parsed.extensions() {
            facts.read_extension(extension.parsed_extension()).map_err(malformed)?;
        }
        Ok(facts)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other extensions are webpki's")]
    fn read_extension(&mut self, extension: &ParsedExtension<'_>) -> Result<(), String> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().try_for_each(|name| self.read_name(name))?;
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: usage.digital_signature(),
                    certificate_signing: usage.key_cert_sign(),
                    revocation_list_signing: usage.crl_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = Some(ExtendedKeyUsage {
                    server: usage.server_auth || usage.any,
                    client: usage.client_auth || usage.any,
                });
            }
            // A name extension that cannot be read must not pass for "no names".
            ParsedExtension::ParseError { error } => return Err(error.to_string()),
            _ => {}
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds of names identify nobody here")]
    fn read_name(&mut self, name: &GeneralName<'_>) -> Result<(), String> {
        match name {
            GeneralName::URI(uri) => self.uri_sans.push((*uri).to_owned()),
            GeneralName::DNSName(name) => self.dns_sans.push((*name).to_owned()),
            GeneralName::RFC822Name(address) => self.email_sans.push((*address).to_owned()),
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from).ok();
                let v6 = || <[u8; 16]>::try_from(*octets).map(IpAddr::from).ok();
                let address = v4.or_else(v6).ok_or("an address is neither IPv4 nor IPv6")?;
                self.ip_sans.push(address);
            }
            GeneralName::OtherName(oid, value) => {
                if let Some(text) = text_of(value) {
                    self.other_sans.push((oid.to_id_string(), text));
                }
            }
            GeneralName::Invalid(..) => return Err("an alternative name is malformed".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Whether `now` lies within the validity.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// A certificate chain with the key of its leaf, ready to be presented in a handshake.
#[derive(Clone)]
pub struct TlsCertificate {
    certified: Arc<CertifiedKey>,
    /// The same with what its authority says of it.
    stapled: Option<(Arc<CertifiedKey>, Until)>,
    must_be_stapled: bool,
    facts: CertificateFacts,
}

impl TlsCertificate {
    /// From a PEM chain, leaf first, and a PEM key in PKCS#8, PKCS#1 or SEC1 form.
    ///
    /// # Errors
    /// When either is unreadable, the chain is empty, or the key is not the leaf's.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain = certificates_from_pem(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| {
            CertificateError::Pem { what: "private key", reason: error.to_string() }
        })?;
        Self::new(chain, key)
    }

    /// From a chain, leaf first, and the leaf's key.
    ///
    /// # Errors
    /// When the chain is empty, its leaf unreadable, or the key is not the leaf's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let facts = CertificateFacts::read(leaf)?;
        let must_be_stapled = ocsp::must_be_stapled(leaf);
        let key = provider().key_provider.load_private_key(key).map_err(CertificateError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                CertificateError::KeyMismatch
            } else {
                CertificateError::Key(error)
            }
        })?;
        Ok(Self { certified: Arc::new(certified), stapled: None, must_be_stapled, facts })
    }

    /// The same with an OCSP response in DER that servers may hand on.
    ///
    /// # Errors
    /// When it cannot be read, or is about another certificate.
    pub fn with_staple(mut self, response: &[u8]) -> Result<Self, OcspError> {
        let leaf = self.certified.cert.first().ok_or(OcspError::Malformed)?;
        let until = ocsp::read(response, leaf)?;
        let mut stapled = CertifiedKey::clone(&self.certified);
        stapled.ocsp = Some(response.to_vec());
        self.stapled = Some((Arc::new(stapled), until));
        Ok(self)
    }

    /// Whether it is only good with an OCSP response (RFC 7633).
    #[must_use]
    pub const fn must_be_stapled(&self) -> bool {
        self.must_be_stapled
    }

    /// Whether there is an OCSP response with it.
    #[must_use]
    pub const fn has_staple(&self) -> bool {
        self.stapled.is_some()
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// What the leaf says.
    #[must_use]
    pub const fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The form that rustls presents with the OCSP response, and until when that counts.
    pub(crate) const fn stapled(&self) -> Option<&(Arc<CertifiedKey>, Until)> {
        self.stapled.as_ref()
    }

    /// The form that rustls presents.
    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("TlsCertificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// One certificate as the admin interface's `/certs` lists it.
///
/// Source: `envoy.admin.v3.CertificateDetails`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDescription {
    /// The serial number in lower-case hexadecimal.
    pub serial_number: String,
    /// URI, DNS and IP names, in this order, each with its kind.
    pub subject_alt_names: Vec<(&'static str, String)>,
    /// Valid from this moment on.
    pub valid_from: SystemTime,
    /// Valid up to this moment.
    pub expiration_time: SystemTime,
    /// Whole days left; 0 on the last day and after it.
    pub days_until_expiration: u64,
}

/// Describes certificates for an operator; unreadable ones are left out.
#[must_use]
pub fn describe(
    certificates: &[CertificateDer<'_>],
    now: SystemTime,
) -> Vec<CertificateDescription> {
    const DAY_SECONDS: u64 = 86_400;
    let read = certificates.iter().filter_map(|one| CertificateFacts::read(one).ok());
    read.map(|facts| CertificateDescription {
        subject_alt_names: (facts.uri_sans.into_iter().map(|name| ("uri", name)))
            .chain(facts.dns_sans.into_iter().map(|name| ("dns", name)))
            .chain(facts.ip_sans.into_iter().map(|address| ("ip_address", address.to_string())))
            .collect(),
        serial_number: facts.serial,
        valid_from: facts.not_before,
        expiration_time: facts.not_after,
        days_until_expiration: facts
            .not_after
            .duration_since(now)
            .map_or(0, |left| left.as_secs() / DAY_SECONDS),
    })
    .collect()
}

/// Reads all certificates of a PEM text, in order.
///
/// # Errors
/// When a block is damaged or there is no certificate.
pub fn certificates_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = read.map_err(|error| CertificateError::Pem {
        what: "certificate chain",
        reason: error.to_string(),
    })?;
    if certificates.is_empty() { Err(CertificateError::Empty) } else { Ok(certificates) }
}

/// Writes certificates as PEM, one block each, every line ended.
#[must_use]
pub fn certificates_to_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|one| pem_block(one)).collect()
}

fn pem_block(der: &[u8]) -> String {
    let text = base64(der);
    let mut block = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index.is_multiple_of(64) {
            block.push('\n');
        }
        block.push(character);
    }
    block.push_str("\n-----END CERTIFICATE-----\n");
    block
}

/// SHA-256 of a certificate's public key info, which stays the same when the certificate is renewed.
pub(crate) fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], CertificateError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| CertificateError::Malformed { reason: error.to_string() })?;
    Ok(sha256(parsed.public_key().raw))
}

/// Standard base64 with padding. Source: RFC 4648 §4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, shift: u32| {
        let index = usize::try_from((group >> shift) & 0x3f).unwrap_or_default();
        char::from(ALPHABET.get(index).copied().unwrap_or(b'='))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let octet = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = (octet(0) << 16) | (octet(1) << 8) | octet(2);
        text.push(digit(group, 18));
        text.push(digit(group, 12));
        text.push(if chunk.len() > 1 { digit(group, 6) } else { '=' });
        text.push(if chunk.len() > 2 { digit(group, 0) } else { '=' });
    }
    text
}

/// SHA-256, by the provider that TLS uses anyway.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    suite
        .and_then(|suite| {
            <[u8; 32]>::try_from(suite.common.hash_provider.hash(bytes).as_ref()).ok()
        })
        .unwrap_or_default()
}

/// Lower-case hexadecimal without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The octets of a positive DER integer without the zero that keeps its sign.
fn without_sign(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    }
}

/// The first common name of a subject.
fn common_name(subject: &X509Name<'_>) -> String {
    let first = subject.iter_common_name().next();
    first.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

/// The text of a name of another kind: a string, within an explicit tag. Source: RFC 5280 §4.2.1.6.
fn text_of(value: &[u8]) -> Option<String> {
    let mut rest = value;
    // Tags up to 30 and lengths up to 127 are all that such names have.
    loop {
        let ([tag, length], content) = rest.split_first_chunk::<2>()?;
        let content = content.get(..usize::from(*length))?;
        match tag {
            // [0], which holds the string.
            0xa0 => rest = content,
            // UTF8String, PrintableString, IA5String, VisibleString.
            0x0c | 0x13 | 0x16 | 0x1a => return String::from_utf8(content.to_vec()).ok(),
            _ => return None,
        }
    }
}

/// A distinguished name as OpenSSL and Envoy print it: last component first.
fn rfc2253(name: &X509Name<'_>) -> String {
    let registry = oid_registry();
    let components: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let pairs = rdn.iter().map(|attribute| {
                let kind = oid2abbrev(attribute.attr_type(), registry)
                    .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
                format!("{kind}={}", escaped(attribute.as_str().unwrap_or_default()))
            });
            pairs.collect::<Vec<_>>().join("+")
        })
        .collect();
    components.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// The moment `seconds` after the Unix epoch; moments before it count as the epoch.
pub(crate) fn at(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
