//! The verifiers that stand in a handshake.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use iako_types::TrustDomain;
use rustls::{
    CertificateError as TlsCertificateError, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    bundle::{TrustBundle, TrustBundles},
    certificate::CertificateFacts,
    known::KnownPeers,
    matcher::SanMatcher,
    peer::{PeerError, PeerIdentity},
    svid::workload_of,
    tls::{TlsError, provider},
};

/// Whom one side of a connection believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Workloads: the peer must be an X.509-SVID, checked against the bundle of its own trust
    /// domain. One of `allowed` must match; an empty list accepts every workload so verified.
    Spiffe {
        /// The believed trust domains.
        bundles: TrustBundles,
        /// The accepted identities.
        allowed: Vec<SanMatcher>,
    },
    /// Anybody whom these roots vouch for, as on the open internet or with a private CA.
    Roots {
        /// The believed roots.
        bundle: TrustBundle,
        /// Which names the peer must have.
        names: PeerNames,
    },
    /// Everybody, without a look at the certificate. Only when the configuration says so.
    /// Source: `trust_chain_verification: ACCEPT_UNTRUSTED`, Istio's `insecureSkipVerify`.
    Unverified,
}

/// Which names a peer must have besides a good chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerNames {
    /// Any name. Envoy's default when a CA but no matcher is given.
    Any,
    /// One of these.
    OneOf(Vec<SanMatcher>),
    /// The server name that the client asked for (RFC 9525). For clients only.
    ServerName,
}

/// Checks peers of one configuration, in the handshake and again after a resumption.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    trust: Trust,
    /// One chain verifier a root set; the key is none for [`Trust::Roots`].
    clients: BTreeMap<Option<TrustDomain>, Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
    known: KnownPeers,
}

impl PeerVerifier {
    /// For the client side: peers are servers.
    pub(crate) fn of_servers(trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            trust,
            clients: BTreeMap::new(),
            hints: Vec::new(),
            mandatory: true,
            algorithms: provider().signature_verification_algorithms,
            known: KnownPeers::default(),
        })
    }

    /// For the server side: peers are clients.
    pub(crate) fn of_clients(trust: Trust, presence: Presence) -> Result<Arc<Self>, TlsError> {
        let mut clients = BTreeMap::new();
        let mut hints = Vec::new();
        let mut add = |key: Option<TrustDomain>, bundle: &TrustBundle| {
            let store = Arc::clone(bundle.store());
            hints.extend(store.subjects());
            let built = WebPkiClientVerifier::builder_with_provider(store, provider()).build();
            clients.insert(key, built.map_err(TlsError::Verifier)?);
            Ok::<_, TlsError>(())
        };
        match &trust {
            Trust::Spiffe { bundles, .. } => {
                bundles
                    .iter()
                    .try_for_each(|(domain, bundle)| add(Some(domain.clone()), bundle))?;
            }
            Trust::Roots { names: PeerNames::ServerName, .. } => {
                return Err(TlsError::ServerNameOfClient);
            }
            Trust::Roots { bundle, .. } => add(None, bundle)?,
            Trust::Unverified => {}
        }
        Ok(Arc::new(Self {
            trust,
            clients,
            hints,
            mandatory: matches!(presence, Presence::Required),
            algorithms: provider().signature_verification_algorithms,
            known: KnownPeers::default(),
        }))
    }

    /// Checks what a resumed session cannot have checked: that the chain is still valid, and that
    /// its names are still accepted. The chain itself was verified under this same trust, because
    /// tickets do not outlive a configuration.
    pub(crate) fn check_resumed(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), PeerError> {
        if matches!(self.trust, Trust::Unverified) {
            return Ok(());
        }
        for certificate in chain {
            if !CertificateFacts::read(certificate)?.is_valid_at(now) {
                return Err(PeerError::NotValidNow);
            }
        }
        match chain.first() {
            Some(leaf) => self.check_names(&CertificateFacts::read(leaf)?),
            None => Ok(()),
        }
    }

    /// Who showed this chain, which was verified here in this handshake or before it was resumed.
    ///
    /// # Errors
    /// When the leaf is unreadable.
    pub(crate) fn identity(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Arc<PeerIdentity>, PeerError> {
        let known = chain.split_first().and_then(|(leaf, rest)| self.known.find(leaf, rest, now));
        known.map_or_else(|| Ok(Arc::new(PeerIdentity::read(chain)?)), Ok)
    }

    /// Whether this chain was accepted before, and still would be.
    fn is_known(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()));
        now.is_some_and(|now| self.known.find(end_entity, intermediates, now).is_some())
    }

    fn check_names(&self, facts: &CertificateFacts) -> Result<(), PeerError> {
        let allowed = match &self.trust {
            Trust::Spiffe { allowed, .. } if allowed.is_empty() => return Ok(()),
            Trust::Roots { names: PeerNames::Any | PeerNames::ServerName, .. }
            | Trust::Unverified => return Ok(()),
            Trust::Spiffe { allowed, .. }
            | Trust::Roots { names: PeerNames::OneOf(allowed), .. } => allowed,
        };
        if allowed.iter().any(|matcher| matcher.matches(facts)) {
            return Ok(());
        }
        let names = facts.uri_sans.iter().chain(&facts.dns_sans).cloned();
        let presented = names.chain(facts.ip_sans.iter().map(ToString::to_string));
        Err(PeerError::NotExpected { presented: presented.collect::<Vec<_>>().join(", ") })
    }

    /// The trust domain whose bundle must vouch for the peer; none for plain roots.
    fn realm(&self, facts: &CertificateFacts) -> Result<Option<TrustDomain>, PeerError> {
        let Trust::Spiffe { bundles, .. } = &self.trust else { return Ok(None) };
        let id = workload_of(facts)?;
        let trust_domain = id.trust_domain().clone();
        match bundles.of(&trust_domain) {
            Some(_) => Ok(Some(trust_domain)),
            None => Err(PeerError::ForeignTrustDomain { id, trust_domain }),
        }
    }

    fn store(&self, realm: Option<&TrustDomain>) -> Option<&Arc<RootCertStore>> {
        match (&self.trust, realm) {
            (Trust::Spiffe { bundles, .. }, Some(domain)) => {
                bundles.of(domain).map(TrustBundle::store)
            }
            (Trust::Roots { bundle, .. }, _) => Some(bundle.store()),
            (Trust::Spiffe { .. } | Trust::Unverified, _) => None,
        }
    }
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It may.
    Optional,
    /// It must.
    Required,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if matches!(self.trust, Trust::Unverified) {
            return Ok(ServerCertVerified::assertion());
        }
        let names = matches!(self.trust, Trust::Roots { names: PeerNames::ServerName, .. });
        if self.is_known(end_entity, intermediates, now) {
            if names {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let facts = CertificateFacts::read(end_entity).map_err(|error| refusal(error.into()))?;
        let realm = self.realm(&facts).map_err(refusal)?;
        let store = self.store(realm.as_ref()).ok_or(TlsCertificateError::UnknownIssuer)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, store, intermediates, now, algorithms)?;
        if names {
            verify_server_name(&parsed, server_name)?;
        }
        self.check_names(&facts).map_err(refusal)?;
        self.known.add(end_entity, intermediates).map_err(|error| refusal(error.into()))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if matches!(self.trust, Trust::Unverified) {
            return Ok(ClientCertVerified::assertion());
        }
        if self.is_known(end_entity, intermediates, now) {
            return Ok(ClientCertVerified::assertion());
        }
        let facts = CertificateFacts::read(end_entity).map_err(|error| refusal(error.into()))?;
        let realm = self.realm(&facts).map_err(refusal)?;
        let chain = self.clients.get(&realm).ok_or(TlsCertificateError::UnknownIssuer)?;
        let verified = chain.verify_client_cert(end_entity, intermediates, now)?;
        self.check_names(&facts).map_err(refusal)?;
        self.known.add(end_entity, intermediates).map_err(|error| refusal(error.into()))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Our reason, in rustls's clothes: it reaches whoever logs the failed handshake.
fn refusal(error: PeerError) -> rustls::Error {
    TlsCertificateError::Other(OtherError(Arc::new(error))).into()
}
