//! Certificates and roots as they are now, and TLS settings made of them.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use iako_identity::{
    BundleError, CertificateError, CipherSuites, Identity, PeerNames, SanKind, SanMatcher,
    TextMatcher, TlsCertificate, TlsError, TlsVersion, TlsVersions, TrustBundle,
};
use iako_proxy_config::{
    self as config, CertificateSource, Secret, SecretKind, SourcedName, StringMatch, TlsOptions,
    Validation,
};
use rustls_pki_types::CertificateDer;

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
    /// A check that this proxy cannot make; to leave it out would be to believe too much.
    #[error("{what} cannot be checked by this proxy")]
    Unsupported {
        /// The check.
        what: &'static str,
    },
    /// The parts do not fit together.
    #[error("the TLS settings do not fit together")]
    Tls(#[from] TlsError),
}

/// A secret that was looked into.
#[derive(Debug, Clone)]
pub(crate) enum Material {
    /// A certificate with its key.
    Certificate(Arc<TlsCertificate>),
    /// Roots.
    Roots(TrustBundle),
}

impl Material {
    /// Looks into a secret.
    ///
    /// # Errors
    /// When it is unreadable, or its key does not belong to its certificate.
    pub(crate) fn read(secret: &Secret) -> Result<Self, MaterialError> {
        match &secret.kind {
            SecretKind::Certificate { chain, key } => {
                Ok(Self::Certificate(Arc::new(TlsCertificate::from_pem(&chain.0, key.expose())?)))
            }
            SecretKind::Trust { crl: Some(_), .. } => {
                Err(MaterialError::Unsupported { what: "a revocation list" })
            }
            SecretKind::Trust { roots, crl: None } => {
                Ok(Self::Roots(TrustBundle::from_pem(&roots.0)?))
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
            CertificateSource::Inline { chain, key } => {
                return Ok(Arc::new(TlsCertificate::from_pem(&chain.0, key.expose())?));
            }
            CertificateSource::Sds(name) => name,
        };
        let missing = || MaterialError::Missing { name: name.name().to_owned() };
        match self.secrets.get(name.key()) {
            Some(Material::Certificate(certificate)) => Ok(Arc::clone(certificate)),
            Some(Material::Roots(_)) => {
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

    /// Whom a setting believes.
    ///
    /// # Errors
    /// When roots are missing or unusable, or a check is asked for that this proxy cannot make.
    pub(crate) fn trust(
        &self,
        validation: &Validation,
        names: NameCheck,
    ) -> Result<iako_identity::Trust, MaterialError> {
        if !validation.spki_pins.is_empty() {
            return Err(MaterialError::Unsupported { what: "a pin of the public key" });
        }
        if validation.crl.is_some() {
            return Err(MaterialError::Unsupported { what: "a revocation list" });
        }
        let bundle = match &validation.trust {
            config::Trust::Unverified => return Ok(iako_identity::Trust::Unverified),
            config::Trust::Inline(pem) => TrustBundle::from_pem(&pem.0)?,
            config::Trust::System => system_roots()?,
            config::Trust::Sds(name) => match self.secrets.get(name.key()) {
                Some(Material::Roots(bundle)) => bundle.clone(),
                Some(Material::Certificate(_)) => {
                    let name = name.name().to_owned();
                    return Err(MaterialError::Kind { name, expected: "roots" });
                }
                None => return self.own_trust(name.name(), validation),
            },
        };
        let allowed = san_matchers(validation)?;
        let names = match (names, allowed.is_empty()) {
            (_, false) => PeerNames::OneOf(allowed),
            (NameCheck::ServerName, true) => PeerNames::ServerName,
            (NameCheck::Listed, true) => PeerNames::Any,
        };
        Ok(iako_identity::Trust::Roots { bundle, names })
    }

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
        config::Trust::Unverified | config::Trust::Inline(_) | config::Trust::System => None,
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

/// Application protocols as rustls wants them.
#[must_use]
pub(crate) fn alpn(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn san_matchers(validation: &Validation) -> Result<Vec<SanMatcher>, MaterialError> {
    let kind = |kind: Option<config::SanKind>| match kind {
        Some(config::SanKind::Dns) => SanKind::Dns,
        Some(config::SanKind::Uri) => SanKind::Uri,
        Some(config::SanKind::Ip) => SanKind::Ip,
        Some(config::SanKind::Email) => SanKind::Email,
        None => SanKind::Any,
    };
    let all = validation.subject_alt_names.iter();
    all.map(|san| Ok(SanMatcher { kind: kind(san.kind), text: text_matcher(&san.matcher)? }))
        .collect()
}

fn text_matcher(matcher: &StringMatch) -> Result<TextMatcher, MaterialError> {
    Ok(match matcher {
        StringMatch::Exact { value, ignore_case: false } => TextMatcher::Exact(value.clone()),
        StringMatch::Prefix { value, ignore_case: false } => TextMatcher::Prefix(value.clone()),
        StringMatch::Suffix { value, ignore_case: false } => TextMatcher::Suffix(value.clone()),
        StringMatch::Contains { value, ignore_case: false } => TextMatcher::Contains(value.clone()),
        StringMatch::Exact { .. }
        | StringMatch::Prefix { .. }
        | StringMatch::Suffix { .. }
        | StringMatch::Contains { .. } => {
            return Err(MaterialError::Unsupported { what: "a peer's name without its case" });
        }
        StringMatch::Regex(_) => {
            return Err(MaterialError::Unsupported { what: "an expression for a peer's name" });
        }
    })
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
