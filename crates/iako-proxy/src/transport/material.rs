//! Certificates and roots as they are now, and TLS settings made of them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use iako_identity::{
    BundleError, CertificateError, CipherSuites, Identity, KeyExchange, NameExpression, OcspError,
    PeerNames, PeerRules, RevocationLists, SanKind, SanMatcher, TextMatcher, TlsCertificate,
    TlsError, TlsVersion, TlsVersions, TrustBundle, TrustBundles,
};
use iako_proxy_config::{
    self as config, CertificateSource, Curve, Secret, SecretBytes, SecretKind, SourcedName,
    StringMatch, TicketKey, TlsOptions, Validation,
};
use iako_types::{CidrRange, TrustDomain};
use rustls_pki_types::CertificateDer;

use tokio::net::TcpStream;

use super::key_log::FileKeyLog;

/// The secret that is the workload's own certificate. Source: Istio's SDS.
pub(crate) const OWN_CERTIFICATE: &str = "default";
/// The secret that is the roots of the workload's own trust domain. Source: Istio's SDS.
pub(crate) const OWN_ROOTS: &str = "ROOTCA";

/// Why TLS settings cannot be used (yet).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MaterialError {
    /// A secret has not arrived.
    #[error("the secret {name:?} has not arrived")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A secret is of the other kind.
    #[error("the secret {name:?} is not {expected}")]
    Kind {
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A certificate cannot be used.
    #[error("a certificate cannot be used")]
    Certificate(#[from] CertificateError),
    /// Roots cannot be used.
    #[error("the roots cannot be used")]
    Roots(#[from] BundleError),
    /// The operating system has no roots.
    #[error("the operating system has no root certificates")]
    NoSystemRoots,
    /// The file for keys cannot be written.
    #[error("keys cannot be written to {}", path.display())]
    KeyLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An expression for a peer's name is none.
    #[error("{expression:?} is no expression for a peer's name")]
    Expression {
        /// The expression.
        expression: String,
    },
    /// What the authority says of a certificate cannot be handed on.
    #[error("the OCSP response of a certificate cannot be used")]
    Ocsp(#[from] OcspError),
    /// The parts do not fit together.
    #[error("the TLS settings do not fit together")]
    Tls(#[from] TlsError),
}

/// A secret that was looked into.
#[derive(Debug, Clone)]
pub(crate) enum Material {
    /// A certificate with its key.
    Certificate(Arc<TlsCertificate>),
    /// What peers must be.
    Validation(Arc<PeerMaterial>),
    /// Keys of session tickets.
    TicketKeys(Arc<[TicketKey]>),
    /// What filters show or sign with.
    Generic(SecretBytes),
}

/// What peers must be, as far as a secret says it.
#[derive(Debug)]
pub(crate) struct PeerMaterial {
    validation: Validation,
    trust: PeerTrust,
}

/// Who vouches for peers.
#[derive(Debug, Clone)]
enum PeerTrust {
    Nobody,
    Roots(TrustBundle),
    Domains(TrustBundles),
}

impl Material {
    /// Looks into a secret.
    ///
    /// # Errors
    /// When it is unreadable, or its key does not belong to its certificate.
    pub(crate) fn read(secret: &Secret) -> Result<Self, MaterialError> {
        match &secret.kind {
            SecretKind::Certificate { chain, key, staple } => {
                Ok(Self::Certificate(Arc::new(certificate(chain, key, staple.as_ref())?)))
            }
            SecretKind::Trust(validation) => {
                let trust = PeerTrust::read(&validation.trust)?;
                // An unreadable list of revocations is refused now, not when it is used.
                revocation(validation)?;
                Ok(Self::Validation(Arc::new(PeerMaterial {
                    validation: (**validation).clone(),
                    trust,
                })))
            }
            SecretKind::TicketKeys(keys) => Ok(Self::TicketKeys(keys.as_slice().into())),
            SecretKind::Generic(secret) => Ok(Self::Generic(secret.clone())),
        }
    }

    /// The roots of a trust domain or of a secret, for whoever shows them.
    pub(crate) fn roots(&self) -> Vec<CertificateDer<'static>> {
        let Self::Validation(peers) = self else { return Vec::new() };
        match &peers.trust {
            PeerTrust::Nobody => Vec::new(),
            PeerTrust::Roots(bundle) => bundle.roots().to_vec(),
            PeerTrust::Domains(bundles) => {
                bundles.iter().flat_map(|(_, bundle)| bundle.roots().to_vec()).collect()
            }
        }
    }
}

impl PeerTrust {
    /// Of what is written in place.
    fn read(trust: &config::Trust) -> Result<Self, MaterialError> {
        Ok(match trust {
            config::Trust::Unverified | config::Trust::Sds(_) => Self::Nobody,
            config::Trust::Inline(pem) => Self::Roots(TrustBundle::from_pem(&pem.0)?),
            config::Trust::System => Self::Roots(system_roots()?),
            config::Trust::Spiffe(domains) => {
                let read = |(domain, pem): &(TrustDomain, config::Pem)| {
                    Ok::<_, MaterialError>((domain.clone(), TrustBundle::from_pem(&pem.0)?))
                };
                Self::Domains(domains.iter().map(read).collect::<Result<TrustBundles, _>>()?)
            }
        })
    }

    /// With the names that peers must have.
    fn with_names(self, allowed: Vec<SanMatcher>, names: NameCheck) -> iako_identity::Trust {
        match self {
            Self::Nobody => iako_identity::Trust::Unverified,
            Self::Domains(bundles) => iako_identity::Trust::Spiffe { bundles, allowed },
            Self::Roots(bundle) => {
                let names = match (names, allowed.is_empty()) {
                    (_, false) => PeerNames::OneOf(allowed),
                    (NameCheck::ServerName, true) => PeerNames::ServerName,
                    (NameCheck::Listed, true) => PeerNames::Any,
                };
                iako_identity::Trust::Roots { bundle, names }
            }
        }
    }
}

/// Everything secret that the proxy holds at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Materials {
    /// Secrets by the key of their name.
    pub(crate) secrets: HashMap<String, Material>,
    /// The workload's own identity, which answers to [`OWN_CERTIFICATE`] and [`OWN_ROOTS`].
    pub(crate) identity: Option<Arc<Identity>>,
}

impl Materials {
    /// The certificate that a setting names.
    ///
    /// # Errors
    /// When it is missing or unusable.
    pub(crate) fn certificate(
        &self,
        source: &CertificateSource,
    ) -> Result<Arc<TlsCertificate>, MaterialError> {
        let name = match source {
            CertificateSource::Inline { chain, key, staple } => {
                return Ok(Arc::new(certificate(chain, key, staple.as_ref())?));
            }
            CertificateSource::Sds(name) => name,
        };
        let missing = || MaterialError::Missing { name: name.name().to_owned() };
        match self.secrets.get(name.key()) {
            Some(Material::Certificate(certificate)) => Ok(Arc::clone(certificate)),
            Some(Material::Validation(_) | Material::TicketKeys(_) | Material::Generic(_)) => {
                let name = name.name().to_owned();
                Err(MaterialError::Kind { name, expected: "a certificate" })
            }
            None if name.name() == OWN_CERTIFICATE => self
                .identity
                .as_ref()
                .map(|identity| Arc::clone(identity.svid.certificate()))
                .ok_or_else(missing),
            None => Err(missing()),
        }
    }

    /// What peers must be: whom a setting believes, and what else it says, a secret's part included.
    ///
    /// # Errors
    /// When roots are missing or unusable.
    pub(crate) fn peers(
        &self,
        validation: &Validation,
        names: NameCheck,
    ) -> Result<(iako_identity::Trust, PeerRules), MaterialError> {
        let config::Trust::Sds(name) = &validation.trust else {
            let trust = PeerTrust::read(&validation.trust)?;
            return Ok((trust.with_names(san_matchers(validation)?, names), rules(validation)?));
        };
        match self.secrets.get(name.key()) {
            Some(Material::Validation(peers)) => {
                let merged = merged(validation, &peers.validation);
                let trust = peers.trust.clone();
                Ok((trust.with_names(san_matchers(&merged)?, names), rules(&merged)?))
            }
            Some(Material::Certificate(_) | Material::TicketKeys(_) | Material::Generic(_)) => {
                let name = name.name().to_owned();
                Err(MaterialError::Kind { name, expected: "roots" })
            }
            None => Ok((self.own_trust(name.name(), validation)?, rules(validation)?)),
        }
    }

    /// The keys of session tickets that a setting names.
    ///
    /// # Errors
    /// When they are missing.
    pub(crate) fn ticket_keys(
        &self,
        name: &SourcedName,
    ) -> Result<Arc<[TicketKey]>, MaterialError> {
        let told = || name.name().to_owned();
        match self.secrets.get(name.key()) {
            Some(Material::TicketKeys(keys)) => Ok(Arc::clone(keys)),
            Some(Material::Certificate(_) | Material::Validation(_) | Material::Generic(_)) => {
                Err(MaterialError::Kind { name: told(), expected: "keys of session tickets" })
            }
            None => Err(MaterialError::Missing { name: told() }),
        }
    }

    /// The bytes of a secret that filters show or sign with; none when there is no such secret, or it is
    /// another kind of one.
    pub(crate) fn generic(&self, name: &SourcedName) -> Option<&SecretBytes> {
        match self.secrets.get(name.key())? {
            Material::Generic(secret) => Some(secret),
            Material::Certificate(_) | Material::Validation(_) | Material::TicketKeys(_) => None,
        }
    }

    /// The workload's own trust domain, when that is what the name means.
    fn own_trust(
        &self,
        name: &str,
        validation: &Validation,
    ) -> Result<iako_identity::Trust, MaterialError> {
        match &self.identity {
            Some(identity) if name == OWN_ROOTS => Ok(iako_identity::Trust::Spiffe {
                bundles: identity.bundles.clone(),
                allowed: san_matchers(validation)?,
            }),
            Some(_) | None => Err(MaterialError::Missing { name: name.to_owned() }),
        }
    }
}

/// Settings with those of a secret, which come on top: lists are joined, what the secret says counts.
/// Source: `combined_validation_context`.
fn merged(settings: &Validation, secret: &Validation) -> Validation {
    let mut merged = settings.clone();
    merged.subject_alt_names.extend(secret.subject_alt_names.iter().cloned());
    merged.spki_pins.extend(secret.spki_pins.iter().cloned());
    merged.certificate_hashes.extend(secret.certificate_hashes.iter().cloned());
    merged.crl = secret.crl.clone().or(merged.crl);
    let (chain, others) = (&mut merged.chain, secret.chain);
    chain.allow_expired |= others.allow_expired;
    chain.accept_untrusted |= others.accept_untrusted;
    chain.crl_of_leaf_only |= others.crl_of_leaf_only;
    chain.hide_authorities |= others.hide_authorities;
    chain.depth_max = others.depth_max.or(chain.depth_max);
    merged
}

fn rules(validation: &Validation) -> Result<PeerRules, MaterialError> {
    Ok(PeerRules {
        revocation: revocation(validation)?,
        allow_expired: validation.chain.allow_expired,
        accept_untrusted: validation.chain.accept_untrusted,
        depth_max: validation.chain.depth_max,
        hide_authorities: validation.chain.hide_authorities,
        spki_pins: validation.spki_pins.clone(),
        certificate_hashes: validation.certificate_hashes.clone(),
    })
}

fn certificate(
    chain: &config::Pem,
    key: &config::PrivateKey,
    staple: Option<&config::OcspResponse>,
) -> Result<TlsCertificate, MaterialError> {
    let certificate = TlsCertificate::from_pem(&chain.0, key.expose())?;
    match staple {
        Some(response) => Ok(certificate.with_staple(&response.0)?),
        None => Ok(certificate),
    }
}

fn revocation(validation: &Validation) -> Result<Option<RevocationLists>, MaterialError> {
    let Some(crl) = &validation.crl else { return Ok(None) };
    let lists = RevocationLists::from_pem(&crl.0)?;
    Ok(Some(if validation.chain.crl_of_leaf_only { lists.of_leaf_only() } else { lists }))
}

/// Where keys are told to, when an operator wants it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn key_log(
    options: &TlsOptions,
) -> Result<Option<Arc<dyn rustls::KeyLog>>, MaterialError> {
    let Some(log) = &options.key_log else { return Ok(None) };
    match FileKeyLog::open(&log.path) {
        Ok(opened) => Ok(Some(Arc::new(opened))),
        Err(source) => Err(MaterialError::KeyLog { path: log.path.clone(), source }),
    }
}

/// Whether the keys of a connection over this socket are told.
#[must_use]
pub(crate) fn is_logged(options: &TlsOptions, socket: Option<&TcpStream>) -> bool {
    let Some(log) = &options.key_log else { return false };
    let local = socket.and_then(|socket| socket.local_addr().ok());
    let remote = socket.and_then(|socket| socket.peer_addr().ok());
    let within = |ranges: &[CidrRange], end: Option<SocketAddr>| {
        let holds = |end: SocketAddr| ranges.iter().any(|range| range.contains(&end.ip()));
        ranges.is_empty() || end.is_some_and(holds)
    };
    within(&log.local_ranges, local) && within(&log.remote_ranges, remote)
}

/// Which names a peer must have when the configuration lists none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameCheck {
    /// Those listed only.
    Listed,
    /// The server name that was sent. Source: `auto_san_validation`.
    ServerName,
}

/// The names of the secrets that TLS settings refer to.
pub(crate) fn secret_names(options: &TlsOptions) -> impl Iterator<Item = &SourcedName> {
    let certificates = options.certificates.iter().filter_map(|source| match source {
        CertificateSource::Sds(name) => Some(name),
        CertificateSource::Inline { .. } => None,
    });
    let trust = match &options.validation.trust {
        config::Trust::Sds(name) => Some(name),
        config::Trust::Unverified
        | config::Trust::Inline(_)
        | config::Trust::System
        | config::Trust::Spiffe(_) => None,
    };
    certificates.chain(trust)
}

/// The versions that settings allow.
///
/// # Errors
/// When the lowest is above the highest.
pub(crate) fn versions(options: &TlsOptions) -> Result<TlsVersions, TlsError> {
    let of = |version: config::TlsVersion| match version {
        config::TlsVersion::V1_2 => TlsVersion::V1_2,
        config::TlsVersion::V1_3 => TlsVersion::V1_3,
    };
    TlsVersions::new(of(options.minimum), options.maximum.map_or(TlsVersion::V1_3, of))
}

/// The cipher suites that settings allow.
#[must_use]
pub(crate) fn cipher_suites(options: &TlsOptions) -> CipherSuites {
    if options.cipher_suites.is_empty() {
        CipherSuites::Safe
    } else {
        CipherSuites::Named(options.cipher_suites.clone())
    }
}

/// The key exchanges that settings allow; empty for all.
#[must_use]
pub(crate) fn key_exchanges(options: &TlsOptions) -> Vec<KeyExchange> {
    let of = |curve: &Curve| match curve {
        Curve::X25519 => KeyExchange::X25519,
        Curve::P256 => KeyExchange::P256,
        Curve::P384 => KeyExchange::P384,
        Curve::X25519MlKem768 => KeyExchange::X25519MlKem768,
    };
    options.curves.iter().map(of).collect()
}

/// Application protocols as rustls wants them.
#[must_use]
pub(crate) fn alpn(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn san_matchers(validation: &Validation) -> Result<Vec<SanMatcher>, MaterialError> {
    let kind = |kind: &Option<config::SanKind>| match kind {
        Some(config::SanKind::Dns) => SanKind::Dns,
        Some(config::SanKind::Uri) => SanKind::Uri,
        Some(config::SanKind::Ip) => SanKind::Ip,
        Some(config::SanKind::Email) => SanKind::Email,
        Some(config::SanKind::Other(oid)) => SanKind::Other(oid.clone()),
        None => SanKind::Any,
    };
    let all = validation.subject_alt_names.iter();
    all.map(|san| Ok(SanMatcher { kind: kind(&san.kind), text: text_matcher(&san.matcher)? }))
        .collect()
}

fn text_matcher(matcher: &StringMatch) -> Result<TextMatcher, MaterialError> {
    let (text, ignores_case) = match matcher {
        StringMatch::Exact { value, ignore_case } => {
            (TextMatcher::Exact(value.clone()), *ignore_case)
        }
        StringMatch::Prefix { value, ignore_case } => {
            (TextMatcher::Prefix(value.clone()), *ignore_case)
        }
        StringMatch::Suffix { value, ignore_case } => {
            (TextMatcher::Suffix(value.clone()), *ignore_case)
        }
        StringMatch::Contains { value, ignore_case } => {
            (TextMatcher::Contains(value.clone()), *ignore_case)
        }
        StringMatch::Regex(pattern) => {
            let expression = pattern.source().to_owned();
            let compiled = NameExpression::parse(&expression);
            let compiled = compiled.ok_or(MaterialError::Expression { expression })?;
            (TextMatcher::Expression(compiled), false)
        }
    };
    Ok(if ignores_case { TextMatcher::IgnoringCase(Box::new(text)) } else { text })
}

fn system_roots() -> Result<TrustBundle, MaterialError> {
    static SYSTEM: LazyLock<Option<TrustBundle>> = LazyLock::new(|| {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::warn!(%error, "root certificates of the operating system were not read");
        }
        // One odd certificate in the system's store must not take the others with it.
        let usable = |root: &CertificateDer<'static>| TrustBundle::new(vec![root.clone()]).is_ok();
        TrustBundle::new(loaded.certs.into_iter().filter(usable).collect()).ok()
    });
    SYSTEM.clone().ok_or(MaterialError::NoSystemRoots)
}
