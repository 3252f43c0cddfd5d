//! The connecting side.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, KeyLog, SignatureScheme,
    client::{ResolvesClientCert, Resumption as ClientSessions},
    sign::CertifiedKey,
};
use rustls_pki_types::ServerName;

use super::{CipherSuites, KeyExchange, TlsError, TlsVersions, WallClock};
use crate::{
    certificate::TlsCertificate,
    peer::{PeerError, PeerIdentity},
    verifier::{PeerRules, PeerVerifier, Trust},
};

/// Sessions kept for resumption by one client configuration; bounds its memory.
const SESSIONS_MAX: usize = 64;

/// What a TLS client shows and demands.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// The accepted versions. Default: 1.2 to 1.3.
    pub versions: TlsVersions,
    /// The offered application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// The certificate to show when the server asks. Default: none.
    pub certificate: Option<Arc<TlsCertificate>>,
    /// Which servers are believed.
    pub trust: Trust,
    /// The suites of TLS 1.2. Default: all safe ones.
    pub cipher_suites: CipherSuites,
    /// The key exchanges, best first. Default, when empty: the library's.
    pub key_exchanges: Vec<KeyExchange>,
    /// What servers must be besides believed. Default: nothing more.
    pub rules: PeerRules,
    /// Sessions kept to be taken up again; with 0, none are. Default: 64.
    pub sessions_max: usize,
    /// Who hears the keys of connections that ask for it. Default: nobody.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// A TLS client's settings, built. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// The same, and the keys are told.
    logging: Option<Arc<ClientConfig>>,
    verifier: Arc<PeerVerifier>,
}

impl ClientTls {
    /// A client that believes `trust`, shows no certificate and leaves the rest at its default.
    #[must_use]
    pub fn believing(trust: Trust) -> Self {
        Self {
            versions: TlsVersions::default(),
            alpn: Vec::new(),
            certificate: None,
            trust,
            cipher_suites: CipherSuites::default(),
            key_exchanges: Vec::new(),
            rules: PeerRules::default(),
            sessions_max: SESSIONS_MAX,
            key_log: None,
        }
    }

    /// Builds the settings. Sessions of earlier builds are not taken up by this one.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn build(self) -> Result<TlsClient, TlsError> {
        let verifier = PeerVerifier::of_servers(self.trust, self.rules);
        let provider = self.cipher_suites.provider(self.versions, &self.key_exchanges)?;
        let builder = ClientConfig::builder_with_details(provider, Arc::new(WallClock))
            .with_protocol_versions(&self.versions.supported())
            .map_err(TlsError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<PeerVerifier>::clone(&verifier));
        let mut config = match self.certificate {
            Some(certificate) => {
                builder.with_client_cert_resolver(Arc::new(OneCertificate { certificate }))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.resumption = match self.sessions_max {
            0 => ClientSessions::disabled(),
            most => ClientSessions::in_memory_sessions(most),
        };
        let logging = self.key_log.map(|key_log| {
            let mut logging = config.clone();
            logging.key_log = key_log;
            Arc::new(logging)
        });
        Ok(TlsClient { config: Arc::new(config), logging, verifier })
    }
}

impl TlsClient {
    /// The settings for `tokio_rustls::TlsConnector`.
    #[must_use]
    pub const fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The same, for a connection whose keys are told to the key log.
    #[must_use]
    pub fn logging_config(&self) -> &Arc<ClientConfig> {
        self.logging.as_ref().unwrap_or(&self.config)
    }

    /// The name to hand to rustls: `sni` when there is one, else the address, which is not sent.
    ///
    /// # Errors
    /// [`TlsError::ServerName`] when `sni` is no DNS name.
    pub fn server_name(
        sni: Option<&str>,
        address: IpAddr,
    ) -> Result<ServerName<'static>, TlsError> {
        match sni {
            None => Ok(ServerName::from(address)),
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|source| TlsError::ServerName { name: name.to_owned(), source }),
        }
    }

    /// The server of a finished handshake.
    ///
    /// A resumed session is checked again: a certificate that has expired since ends it here.
    ///
    /// # Errors
    /// When the server is no longer believed; the connection must be closed then.
    pub fn peer(
        &self,
        connection: &ClientConnection,
        now: SystemTime,
    ) -> Result<Option<Arc<PeerIdentity>>, PeerError> {
        let Some(chain) = connection.peer_certificates() else { return Ok(None) };
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.verifier.check_resumed(chain, now)?;
        }
        Ok(Some(self.verifier.identity(chain, now)?))
    }
}

/// Shows the certificate whichever roots the server hints at: the hint may be stale while roots
/// rotate, and without the certificate the connection fails for sure.
#[derive(Debug)]
struct OneCertificate {
    certificate: Arc<TlsCertificate>,
}

impl ResolvesClientCert for OneCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certified = self.certificate.certified();
        certified.key.choose_scheme(schemes).map(|_| Arc::clone(certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
