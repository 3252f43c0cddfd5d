//! The roots that a workload believes, kept apart by trust domain.

use std::{collections::BTreeMap, fmt, sync::Arc};

use iako_types::TrustDomain;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateError, CertificateFacts, certificates_from_pem};

/// Why certificates are no trust bundle.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A certificate is unreadable, or there is none.
    #[error("the trust bundle is not usable")]
    Certificate(#[from] CertificateError),
    /// A certificate may not sign others, so nothing could ever chain to it.
    #[error("the certificate of {subject:?} in the trust bundle is no signer")]
    NotASigner {
        /// Its subject.
        subject: String,
    },
    /// A certificate cannot be an anchor of trust.
    #[error("the certificate of {subject:?} cannot be trusted as a root")]
    Anchor {
        /// Its subject.
        subject: String,
        /// The verifier's reason.
        source: rustls::Error,
    },
}

/// The roots of one trust domain; several while a root is being replaced.
#[derive(Clone)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl TrustBundle {
    /// From root certificates, at least one.
    ///
    /// # Errors
    /// When there is none, or one of them is no signer.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        if roots.is_empty() {
            return Err(CertificateError::Empty.into());
        }
        let mut store = RootCertStore::empty();
        for root in &roots {
            let facts = CertificateFacts::read(root)?;
            if !facts.is_ca {
                return Err(BundleError::NotASigner { subject: facts.subject });
            }
            let subject = facts.subject;
            store.add(root.clone()).map_err(|source| BundleError::Anchor { subject, source })?;
        }
        Ok(Self { roots, store: Arc::new(store) })
    }

    /// From concatenated PEM certificates.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], or when the text is not PEM.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        Self::new(certificates_from_pem(text)?)
    }

    /// The root certificates.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The form that the verifier walks.
    pub(crate) const fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects = self.roots.iter().filter_map(|root| CertificateFacts::read(root).ok());
        f.debug_list().entries(subjects.map(|facts| facts.subject)).finish()
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.roots == other.roots
    }
}

impl Eq for TrustBundle {}

/// A bundle for each trust domain that is believed. Cheap to clone.
///
/// There is no way to ask for the union: a root vouches for the names of its own trust domain only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBundles {
    by_domain: Arc<BTreeMap<TrustDomain, TrustBundle>>,
}

impl TrustBundles {
    /// One trust domain, as in a mesh without federation.
    #[must_use]
    pub fn single(trust_domain: TrustDomain, bundle: TrustBundle) -> Self {
        std::iter::once((trust_domain, bundle)).collect()
    }

    /// The bundle that vouches for `trust_domain`.
    #[must_use]
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.by_domain.get(trust_domain)
    }

    /// All trust domains with their bundles, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &TrustBundle)> {
        self.by_domain.iter()
    }

    /// Whether nobody is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_domain.is_empty()
    }
}

impl FromIterator<(TrustDomain, TrustBundle)> for TrustBundles {
    fn from_iter<I: IntoIterator<Item = (TrustDomain, TrustBundle)>>(bundles: I) -> Self {
        Self { by_domain: Arc::new(bundles.into_iter().collect()) }
    }
}
