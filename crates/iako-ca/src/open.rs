//! Finding, making and plugging in an authority.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use iako_identity::{
    BundleError, CertificateError, CertificateFacts, Identity, IdentityError, SigningRequest,
    TrustBundle, certificates_from_pem,
};
use iako_types::{Namespace, ServiceAccount, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::{
    authority::{CLOCK_SKEW, CertificateAuthority, SignError, random_serial},
    files::{self, Access, FileError},
};

/// The root certificate of an own authority, in its directory. Public.
pub const ROOT_CERTIFICATE_FILE: &str = "root.pem";
/// The root key of an own authority, in its directory. Secret: mode 0600.
pub const ROOT_KEY_FILE: &str = "root-key.pem";

/// How long an own root lives.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long before its end an own root is complained about at every start.
const ROOT_WARNING: Duration = Duration::from_secs(180 * 24 * 3600);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A plugged-in authority lacks a file.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A key file holds no usable key.
    #[error("{} holds no usable private key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: rcgen::Error,
    },
    /// A certificate file holds no usable certificate.
    #[error("{} holds no usable certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: CertificateError,
    },
    /// The roots are of no use.
    #[error("{} holds no usable roots", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: BundleError,
    },
    /// A new root could not be made.
    #[error("the root certificate could not be made")]
    Making(#[source] rcgen::Error),
    /// A trial certificate could not be signed.
    #[error("the authority in {} cannot sign", directory.display())]
    Trial {
        /// Where the authority is kept.
        directory: PathBuf,
        /// The signer's reason.
        source: SignError,
    },
    /// A trial certificate does not verify: key, certificates and roots do not belong together,
    /// or one is expired.
    #[error("what the authority in {} signs does not verify against its roots", directory.display())]
    Inconsistent {
        /// Where the authority is kept.
        directory: PathBuf,
        /// The verifier's reason.
        source: IdentityError,
    },
}

impl CertificateAuthority {
    /// The mesh's own root in `directory`, made at the first call: P-256, 10 years. Later calls,
    /// and other processes, find the same one.
    ///
    /// # Errors
    /// When a file cannot be read or written, others can read the key, or what is signed does not
    /// verify (an expired root, a key of another certificate).
    pub fn open(
        directory: &Path,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let key_path = directory.join(ROOT_KEY_FILE);
        let key = own_key(&key_path)?;
        let path = directory.join(ROOT_CERTIFICATE_FILE);
        let text = match files::read(&path)? {
            Some(text) => text,
            None => {
                let root = self_signed(&key, trust_domain, now)?;
                tracing::info!(path = %path.display(), %trust_domain, "root certificate made");
                files::create_once(&path, &root, Access::Everybody)?
            }
        };
        let roots = TrustBundle::from_pem(&text)
            .map_err(|source| CaError::Roots { path: path.clone(), source })?;
        let root = roots.roots().first().cloned().ok_or(CaError::Missing { path: path.clone() })?;
        let (issuer, not_after) = issuer(&path, &root, key)?;
        let authority = Self::of_issuer(trust_domain, issuer, not_after, Vec::new(), roots);
        authority.tried(directory, now)?;
        let left = authority.signer_not_after().duration_since(now).unwrap_or(Duration::ZERO);
        if left < ROOT_WARNING {
            tracing::warn!(path = %path.display(), days_left = left.as_secs() / 86_400,
                "the root certificate expires; plan its replacement");
        }
        Ok(authority)
    }

    /// An authority that the user plugs in, in the form of Istio's `cacerts`: `ca-cert.pem`,
    /// `ca-key.pem`, `cert-chain.pem` and `root-cert.pem` in `directory`.
    ///
    /// Mounted secrets often are readable by a group, so that is a warning here, not an error.
    ///
    /// # Errors
    /// When a file is missing or unusable, or what is signed does not verify against the roots.
    pub fn plugged_in(
        directory: &Path,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let file = |name: &str| {
            let path = directory.join(name);
            let text =
                files::read(&path)?.ok_or_else(|| CaError::Missing { path: path.clone() })?;
            Ok::<_, CaError>((path, text))
        };
        let (key_path, key) = file("ca-key.pem")?;
        let mode = files::exposure(&key_path)?;
        if mode != 0 {
            tracing::warn!(path = %key_path.display(), "others than its owner can access the key");
        }
        let key = KeyPair::from_pem(&key)
            .map_err(|source| CaError::Key { path: key_path.clone(), source })?;
        let (roots_path, roots) = file("root-cert.pem")?;
        let roots = TrustBundle::from_pem(&roots)
            .map_err(|source| CaError::Roots { path: roots_path, source })?;
        let (path, signer) = file("ca-cert.pem")?;
        let signer = first_certificate(&path, &signer)?;
        let (chain_path, chain) = file("cert-chain.pem")?;
        let chain = certificates_from_pem(&chain)
            .map_err(|source| CaError::Certificate { path: chain_path, source })?;
        let intermediates = between(&signer, chain, &roots);
        let (issuer, not_after) = issuer(&path, &signer, key)?;
        let authority = Self::of_issuer(trust_domain, issuer, not_after, intermediates, roots);
        authority.tried(directory, now)?;
        Ok(authority)
    }

    /// Signs and verifies a certificate for nobody: an authority whose certificates no peer would
    /// believe is found out at its start.
    fn tried(&self, directory: &Path, now: SystemTime) -> Result<(), CaError> {
        let trial = |source| CaError::Trial { directory: directory.to_owned(), source };
        let (namespace, account) = (Namespace::default(), ServiceAccount::default());
        let id = SpiffeId::of_service_account(self.trust_domain(), &namespace, &account);
        let request = SigningRequest::generate(&id).map_err(|error| trial(error.into()))?;
        let ever = Some(Duration::MAX);
        let issued = self.sign(request.csr_pem(), &id, ever, now).map_err(trial)?;
        Identity::from_issued(&issued.elements, request.into_key(), &id, now)
            .map_err(|source| CaError::Inconsistent { directory: directory.to_owned(), source })?;
        Ok(())
    }
}

/// The key in `path`, made there when there is none yet.
pub(crate) fn own_key(path: &Path) -> Result<KeyPair, CaError> {
    let text = match files::read_key(path)? {
        Some(text) => text,
        None => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Making)?;
            files::create_once(path, &key.serialize_pem(), Access::Owner)?
        }
    };
    KeyPair::from_pem(&text).map_err(|source| CaError::Key { path: path.to_owned(), source })
}

/// A signer out of its certificate in `path` and its key, and when it ends.
fn issuer(
    path: &Path,
    certificate: &CertificateDer<'static>,
    key: KeyPair,
) -> Result<(Issuer<'static, KeyPair>, SystemTime), CaError> {
    let facts = CertificateFacts::read(certificate)
        .map_err(|source| CaError::Certificate { path: path.to_owned(), source })?;
    let issuer = Issuer::from_ca_cert_der(certificate, key)
        .map_err(|source| CaError::Key { path: path.to_owned(), source })?;
    Ok((issuer, facts.not_after))
}

fn self_signed(
    key: &KeyPair,
    trust_domain: &TrustDomain,
    now: SystemTime,
) -> Result<String, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, "Iako root");
    let id = format!("spiffe://{trust_domain}");
    params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(CaError::Making)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = random_serial().ok();
    params.not_before = now.checked_sub(CLOCK_SKEW).unwrap_or(now).into();
    params.not_after = now.checked_add(ROOT_LIFETIME).unwrap_or(now).into();
    params.self_signed(key).map(|root| root.pem()).map_err(CaError::Making)
}

fn first_certificate(path: &Path, text: &str) -> Result<CertificateDer<'static>, CaError> {
    let read = certificates_from_pem(text);
    let certificates =
        read.map_err(|source| CaError::Certificate { path: path.to_owned(), source })?;
    certificates.into_iter().next().ok_or_else(|| CaError::Missing { path: path.to_owned() })
}

/// What stands between a leaf and the roots: the signer first, then the rest of the chain file,
/// without the roots, which everybody has already.
fn between(
    signer: &CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    roots: &TrustBundle,
) -> Vec<CertificateDer<'static>> {
    let rest = chain.into_iter().filter(|one| one != signer);
    let all = std::iter::once(signer.clone()).chain(rest);
    all.filter(|one| !roots.roots().contains(one)).collect()
}
