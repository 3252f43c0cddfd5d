//! The accepting side.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    HandshakeKind, ServerConfig, ServerConnection,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{CipherSuites, Resumption, TlsError, TlsVersions, WallClock};
use crate::{
    certificate::TlsCertificate,
    matcher::dns_covers,
    peer::{PeerError, PeerIdentity},
    verifier::{PeerVerifier, Presence, Trust},
};

/// What a TLS server shows and demands.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The accepted versions. Default: 1.2 to 1.3.
    pub versions: TlsVersions,
    /// The offered application protocols, best first; empty accepts clients with any or none.
    pub alpn: Vec<Vec<u8>>,
    /// The certificates, at least one. The first whose names cover the server name and whose key
    /// the client understands is shown; else the first that the client understands.
    pub certificates: Vec<Arc<TlsCertificate>>,
    /// Whether and how clients are identified. Default: not.
    pub client_certificate: ClientCertificate,
    /// The suites of TLS 1.2. Default: all safe ones.
    pub cipher_suites: CipherSuites,
    /// Whether sessions may be resumed. Default: yes.
    pub resumption: Resumption,
}

/// Whether and how a server identifies its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Clients are not asked.
    NotRequested,
    /// Clients are asked and may decline; what they show must be good.
    Optional(Trust),
    /// Clients must show a good certificate.
    Required(Trust),
}

/// A TLS server's settings, built. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<PeerVerifier>>,
}

impl ServerTls {
    /// A server that shows `certificate` and leaves the rest at its default.
    #[must_use]
    pub fn with_certificate(certificate: Arc<TlsCertificate>) -> Self {
        Self {
            versions: TlsVersions::default(),
            alpn: Vec::new(),
            certificates: vec![certificate],
            client_certificate: ClientCertificate::NotRequested,
            cipher_suites: CipherSuites::default(),
            resumption: Resumption::default(),
        }
    }

    /// Builds the settings. Session tickets of earlier builds are not honoured by this one.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn build(self) -> Result<TlsServer, TlsError> {
        if self.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let verifier = match self.client_certificate {
            ClientCertificate::NotRequested => None,
            ClientCertificate::Optional(trust) => {
                Some(PeerVerifier::of_clients(trust, Presence::Optional)?)
            }
            ClientCertificate::Required(trust) => {
                Some(PeerVerifier::of_clients(trust, Presence::Required)?)
            }
        };
        let provider = self.cipher_suites.provider(self.versions)?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(WallClock))
            .with_protocol_versions(&self.versions.supported())
            .map_err(TlsError::Settings)?;
        let builder = match &verifier {
            Some(verifier) => {
                builder.with_client_cert_verifier(Arc::<PeerVerifier>::clone(verifier))
            }
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        };
        let resolver = CertificatesByName { certificates: self.certificates };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self.alpn;
        match self.resumption {
            Resumption::Allowed => {
                config.ticketer = Ticketer::new().map_err(TlsError::Settings)?;
            }
            Resumption::Off => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(TlsServer { config: Arc::new(config), verifier })
    }
}

impl TlsServer {
    /// The settings for `tokio_rustls::TlsAcceptor`.
    #[must_use]
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The client of a finished handshake; none when it showed no certificate.
    ///
    /// A resumed session is checked again: a certificate that has expired since ends it here.
    ///
    /// # Errors
    /// When the client is no longer believed; the connection must be closed then.
    pub fn peer(
        &self,
        connection: &ServerConnection,
        now: SystemTime,
    ) -> Result<Option<Arc<PeerIdentity>>, PeerError> {
        let Some(chain) = connection.peer_certificates() else { return Ok(None) };
        let Some(verifier) = &self.verifier else { return Ok(None) };
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            verifier.check_resumed(chain, now)?;
        }
        Ok(Some(verifier.identity(chain, now)?))
    }
}

#[derive(Debug)]
struct CertificatesByName {
    certificates: Vec<Arc<TlsCertificate>>,
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let understood = |one: &&Arc<TlsCertificate>| {
            one.certified().key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let named = |one: &&Arc<TlsCertificate>| {
            let names = &one.facts().dns_sans;
            hello.server_name().is_some_and(|sni| names.iter().any(|name| dns_covers(name, sni)))
        };
        let mut candidates = self.certificates.iter().filter(understood);
        let best = candidates.clone().find(named).or_else(|| candidates.next());
        best.map(|one| Arc::clone(one.certified()))
    }
}
