//! The verifiers that stand in a handshake.

mod chain;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use iako_types::TrustDomain;
use rustls::{
    CertificateError as TlsCertificateError, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    bundle::{TrustBundle, TrustBundles},
    certificate::{CertificateFacts, base64, hex, sha256, spki_sha256},
    known::KnownPeers,
    matcher::SanMatcher,
    peer::{PeerError, PeerIdentity},
    svid::workload_of,
    tls::{TlsError, provider},
};
pub use chain::RevocationLists;
use chain::{ChainRules, Purpose};

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

/// What a peer must be besides believed.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub struct PeerRules {
    /// Certificates that are not valid any more. Default: none are known.
    pub revocation: Option<RevocationLists>,
    /// Whether certificates may have expired, or not be valid yet. Default: no.
    pub allow_expired: bool,
    /// Whether a peer passes for whom nobody vouches, or who has other names or pins. Default: no.
    pub accept_untrusted: bool,
    /// The most certificates above the peer's, its root included; one that a root signed itself always
    /// passes. Default: what the library allows, 6 between the two.
    pub depth_max: Option<u32>,
    /// Whether clients are not told which authorities are believed. Default: they are told.
    pub hide_authorities: bool,
    /// SHA-256 of the key info of peers in base64. With these or `certificate_hashes`, a peer must be
    /// one of them. Default: any peer.
    pub spki_pins: Vec<String>,
    /// SHA-256 of the certificates of peers in lower-case hexadecimal.
    pub certificate_hashes: Vec<String>,
}

impl PeerRules {
    /// Whether a peer without a certificate that is known beforehand is refused.
    #[must_use]
    pub const fn has_pins(&self) -> bool {
        !self.spki_pins.is_empty() || !self.certificate_hashes.is_empty()
    }
}

/// Checks peers of one configuration, in the handshake and again after a resumption.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    trust: Trust,
    rules: PeerRules,
    chain: ChainRules,
    /// Whether sessions of other configurations may be taken up by this one.
    shares_sessions: bool,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
    known: KnownPeers,
}

impl PeerVerifier {
    /// For the client side: peers are servers.
    pub(crate) fn of_servers(trust: Trust, rules: PeerRules) -> Arc<Self> {
        Arc::new(Self::new(trust, rules, Vec::new(), Presence::Required))
    }

    /// For the server side: peers are clients. With `sessions`, those of other configurations may be
    /// taken up.
    pub(crate) fn of_clients(
        trust: Trust,
        rules: PeerRules,
        (presence, sessions): (Presence, SessionOrigin),
    ) -> Result<Arc<Self>, TlsError> {
        let mut hints = Vec::new();
        match &trust {
            Trust::Spiffe { bundles, .. } => {
                let stores = bundles.iter().map(|(_, bundle)| bundle.store());
                hints.extend(stores.flat_map(|store| store.subjects()));
            }
            Trust::Roots { names: PeerNames::ServerName, .. } => {
                return Err(TlsError::ServerNameOfClient);
            }
            Trust::Roots { bundle, .. } => hints.extend(bundle.store().subjects()),
            Trust::Unverified => {}
        }
        if rules.hide_authorities {
            hints.clear();
        }
        let verifier = Self::new(trust, rules, hints, presence);
        let shares_sessions = sessions == SessionOrigin::Elsewhere;
        Ok(Arc::new(Self { shares_sessions, ..verifier }))
    }

    fn new(
        trust: Trust,
        rules: PeerRules,
        hints: Vec<DistinguishedName>,
        presence: Presence,
    ) -> Self {
        Self {
            chain: ChainRules {
                revocation: rules.revocation.clone(),
                allow_expired: rules.allow_expired,
                depth_max: rules.depth_max,
            },
            trust,
            rules,
            shares_sessions: false,
            hints,
            mandatory: presence == Presence::Required,
            algorithms: provider().signature_verification_algorithms,
            known: KnownPeers::default(),
        }
    }

    /// Checks what a resumed session cannot have checked: that the chain is still valid, and that
    /// its names are still accepted. Where sessions of other configurations are taken up, everything
    /// is checked; else the chain was verified under this same trust.
    pub(crate) fn check_resumed(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), PeerError> {
        let Some((leaf, rest)) = chain.split_first() else { return Ok(()) };
        if self.shares_sessions {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = UnixTime::since_unix_epoch(since);
            return self
                .check((leaf, rest), now, Purpose::Client)
                .map_err(|error| PeerError::NoLongerBelieved { reason: error.to_string() });
        }
        if self.rules.accept_untrusted {
            return Ok(());
        }
        let may_be_old = self.rules.allow_expired || matches!(self.trust, Trust::Unverified);
        for certificate in chain {
            if !may_be_old && !CertificateFacts::read(certificate)?.is_valid_at(now) {
                return Err(PeerError::NotValidNow);
            }
        }
        self.check_names(&CertificateFacts::read(leaf)?)
    }

    /// Whether a chain is believed: who vouches for it, whom it names, and whether it is pinned.
    fn check(
        &self,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), rustls::Error> {
        if self.is_open() || self.rules.accept_untrusted {
            return Ok(());
        }
        self.verify((end_entity, intermediates), now, purpose)
    }

    /// Whether nothing is known that could be checked.
    fn is_open(&self) -> bool {
        matches!(self.trust, Trust::Unverified) && !self.rules.has_pins()
    }

    /// The same, whoever is let in besides.
    fn verify(
        &self,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), rustls::Error> {
        // A list of revocations grows old by itself.
        let remembers = self.rules.revocation.is_none();
        if remembers && self.is_known(end_entity, intermediates, now) {
            return Ok(());
        }
        let facts = CertificateFacts::read(end_entity).map_err(|error| refusal(error.into()))?;
        if !matches!(self.trust, Trust::Unverified) {
            let realm = self.realm(&facts).map_err(refusal)?;
            let store = self.store(realm.as_ref()).ok_or(TlsCertificateError::UnknownIssuer)?;
            let certificates = (end_entity, intermediates);
            let moment = (now, purpose);
            chain::verify(certificates, store, moment, &self.chain, &self.algorithms)?;
        }
        self.check_names(&facts).map_err(refusal)?;
        self.check_pins(end_entity).map_err(refusal)?;
        if remembers {
            self.known.add(end_entity, intermediates).map_err(|error| refusal(error.into()))?;
        }
        Ok(())
    }

    /// One pin of either kind is enough.
    fn check_pins(&self, end_entity: &CertificateDer<'_>) -> Result<(), PeerError> {
        if !self.rules.has_pins() {
            return Ok(());
        }
        let hashes = &self.rules.certificate_hashes;
        if !hashes.is_empty() && hashes.contains(&hex(&sha256(end_entity))) {
            return Ok(());
        }
        let pins = &self.rules.spki_pins;
        if !pins.is_empty() && pins.contains(&base64(&spki_sha256(end_entity)?)) {
            return Ok(());
        }
        Err(PeerError::NotPinned)
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

    /// The same of a client, which may have been let in without being believed.
    ///
    /// # Errors
    /// When the leaf is unreadable.
    pub(crate) fn identity_of_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Arc<PeerIdentity>, PeerError> {
        if !self.rules.accept_untrusted {
            return self.identity(chain, now);
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let moment = UnixTime::since_unix_epoch(since);
        let is_believed = !self.is_open()
            && chain
                .split_first()
                .is_some_and(|shown| self.verify(shown, moment, Purpose::Client).is_ok());
        let mut peer = PeerIdentity::read(chain)?;
        peer.untrusted = !is_believed;
        Ok(Arc::new(peer))
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

/// Whose sessions a server takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionOrigin {
    /// Its own only.
    Own,
    /// Those of every server that has the same keys.
    Elsewhere,
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
        self.check((end_entity, intermediates), now, Purpose::Server)?;
        let by_name = matches!(self.trust, Trust::Roots { names: PeerNames::ServerName, .. });
        if by_name && !self.rules.accept_untrusted {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
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
        self.check((end_entity, intermediates), now, Purpose::Client)?;
        Ok(ClientCertVerified::assertion())
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
