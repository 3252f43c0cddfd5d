//! The identity of this process, as it changes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use iako_types::SpiffeId;
use rustls_pki_types::{PrivateKeyDer, UnixTime};
use tokio::sync::watch;

use crate::{
    bundle::{BundleError, TrustBundle, TrustBundles},
    certificate::{CertificateError, certificates_from_pem},
    svid::{Svid, SvidError},
    verifier::{PeerRules, PeerVerifier, Trust},
};

/// Why an issued certificate is not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The answer lacks the leaf or the roots.
    #[error("the answer holds {elements} elements; a leaf and the roots are needed")]
    Incomplete {
        /// How many it holds.
        elements: usize,
    },
    /// An element of the chain is unreadable.
    #[error("the issued chain is not usable")]
    Chain(#[from] CertificateError),
    /// The leaf is no SVID, or not for our key.
    #[error("the issued certificate is not usable")]
    Svid(#[from] SvidError),
    /// The roots are of no use.
    #[error("the issued roots are not usable")]
    Bundle(#[from] BundleError),
    /// The signer gave us somebody else's name.
    #[error("asked for {wanted}, was given {given}")]
    OtherIdentity {
        /// What was asked for.
        wanted: SpiffeId,
        /// What the certificate says.
        given: SpiffeId,
    },
    /// The certificate does not chain to the roots that came with it, or is not valid now.
    #[error("the issued certificate does not verify")]
    Unverified(#[source] rustls::Error),
}

/// What a workload shows and whom it believes, from one moment.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its own certificate and key.
    pub svid: Svid,
    /// The roots it believes.
    pub bundles: TrustBundles,
}

impl Identity {
    /// From the answer of Istio's certificate service: PEM elements, the leaf first, the roots
    /// last. Takes it only when it is for `wanted` and `key`, and verifies `now`.
    ///
    /// Source: `istio.v1.auth.IstioCertificateResponse`.
    ///
    /// # Errors
    /// When any of this does not hold.
    pub fn from_issued(
        elements: &[String],
        key: PrivateKeyDer<'static>,
        wanted: &SpiffeId,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let Some((roots, chain)) = elements.split_last().filter(|(_, chain)| !chain.is_empty())
        else {
            return Err(IdentityError::Incomplete { elements: elements.len() });
        };
        let svid = Svid::new(certificates_from_pem(&chain.concat())?, key)?;
        if svid.id() != wanted {
            let given = svid.id().clone();
            return Err(IdentityError::OtherIdentity { wanted: wanted.clone(), given });
        }
        let bundle = TrustBundle::from_pem(roots)?;
        let bundles = TrustBundles::single(wanted.trust_domain().clone(), bundle);
        let identity = Self { svid, bundles };
        identity.verify(now).map_err(IdentityError::Unverified)?;
        Ok(identity)
    }

    /// Checks our own certificate as a peer would.
    fn verify(&self, now: SystemTime) -> Result<(), rustls::Error> {
        use rustls::client::danger::ServerCertVerifier as _;
        let trust = Trust::Spiffe { bundles: self.bundles.clone(), allowed: Vec::new() };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let Some((leaf, intermediates)) = self.svid.certificate().chain().split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let nobody = std::net::IpAddr::from([127, 0, 0, 1]).into();
        PeerVerifier::of_servers(trust, PeerRules::default())
            .verify_server_cert(
                leaf,
                intermediates,
                &nobody,
                &[],
                UnixTime::since_unix_epoch(since),
            )
            .map(drop)
    }
}

/// How the last attempt to renew went, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenewalState {
    /// When the next attempt is due; none before the first.
    pub next_attempt: Option<SystemTime>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// Why the last attempt failed, with its causes; none after a success.
    pub last_error: Option<String>,
}

/// Holds the current identity; written by one renewer, read by everybody.
///
/// Readers load it when they build TLS settings and build again when [`IdentitySource::changes`]
/// tells them to. Connections keep what they were made with.
#[derive(Debug)]
pub struct IdentitySource {
    current: ArcSwapOption<Identity>,
    renewal: ArcSwap<RenewalState>,
    version: watch::Sender<u64>,
}

impl IdentitySource {
    /// A source without an identity yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            renewal: ArcSwap::from_pointee(RenewalState::default()),
            version: watch::Sender::new(0),
        }
    }

    /// The current identity; none before the first was issued.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Identity>> {
        self.current.load_full()
    }

    /// Replaces the identity and wakes everybody who watches.
    pub fn publish(&self, identity: Identity) {
        self.current.store(Some(Arc::new(identity)));
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Changes whenever a new identity was published; starts at 0 without one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits for the first identity.
    pub async fn first(&self) -> Arc<Identity> {
        let mut changes = self.changes();
        loop {
            if let Some(identity) = self.current() {
                return identity;
            }
            if changes.changed().await.is_err() {
                // The sender lives in `self`, so this cannot end; never spin if it did.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How renewing goes.
    #[must_use]
    pub fn renewal(&self) -> Arc<RenewalState> {
        self.renewal.load_full()
    }

    /// Notes how renewing goes.
    pub(crate) fn note(&self, state: RenewalState) {
        self.renewal.store(Arc::new(state));
    }
}

impl Default for IdentitySource {
    fn default() -> Self {
        Self::new()
    }
}
