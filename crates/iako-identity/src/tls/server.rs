//! The accepting side.

use std::{sync::Arc, time::SystemTime};

use iako_rt::clock;
use rustls::{
    HandshakeKind, KeyLog, ServerConfig, ServerConnection, SignatureAlgorithm,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{
    CipherSuites, KeyExchange, TlsError, TlsVersions, WallClock,
    tickets::{ServerSessions, TicketSource},
};
use crate::{
    certificate::TlsCertificate,
    matcher::dns_covers,
    ocsp::{StapleAction, Stapling},
    peer::{PeerError, PeerIdentity},
    verifier::{PeerRules, PeerVerifier, Presence, SessionOrigin, Trust},
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
    /// The certificates, at least one. Of those that the client understands, one with the very
    /// server name is shown before one with a wildcard for it, and a short key (ECDSA) before a long
    /// one (RSA); which one where no name fits, `unnamed` says.
    pub certificates: Vec<Arc<TlsCertificate>>,
    /// Which certificate is shown to clients whose server name none carries. Default: the first.
    pub unnamed: UnnamedCertificate,
    /// What becomes of OCSP responses. A certificate that says that it must be stapled is only shown
    /// with a response that counts. Default: they are handed on while they count.
    pub stapling: Stapling,
    /// Whether and how clients are identified. Default: not.
    pub client_certificate: ClientCertificate,
    /// What clients must be besides believed. Default: nothing more.
    pub rules: PeerRules,
    /// The suites of TLS 1.2. Default: all safe ones.
    pub cipher_suites: CipherSuites,
    /// The key exchanges, best first. Default, when empty: the library's.
    pub key_exchanges: Vec<KeyExchange>,
    /// Whose order of suites counts. Default: the server's.
    pub preference: Preference,
    /// Whether sessions may be resumed. Default: yes.
    pub sessions: ServerSessions,
    /// Who hears the keys of connections that ask for it. Default: nobody.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// Which certificate is shown where no name fits.
/// Source: `full_scan_certs_on_sni_mismatch`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnnamedCertificate {
    /// The first one, if the client understands it; else as [`Self::Any`].
    #[default]
    First,
    /// The best that the client understands.
    Any,
}

/// Whose order counts where both sides have one. Source: `prefer_client_ciphers`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preference {
    /// The server's.
    #[default]
    Server,
    /// The client's.
    Client,
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
    /// The same without application protocols, for clients that offer none of ours.
    without_protocols: Option<Arc<ServerConfig>>,
    /// Both, and the keys are told.
    logging: Option<Logging>,
    verifier: Option<Arc<PeerVerifier>>,
}

/// Settings of connections whose keys are told.
#[derive(Debug, Clone)]
struct Logging {
    config: Arc<ServerConfig>,
    without_protocols: Option<Arc<ServerConfig>>,
}

/// The settings without application protocols for a client that offers others only.
fn fitting<'a>(
    hello: &ClientHello<'_>,
    config: &'a Arc<ServerConfig>,
    plain: Option<&'a Arc<ServerConfig>>,
) -> &'a Arc<ServerConfig> {
    let is_ours = |offered: &[u8]| config.alpn_protocols.iter().any(|own| own == offered);
    let agrees = || hello.alpn().is_none_or(|mut offered| offered.any(is_ours));
    plain.filter(|_| !agrees()).unwrap_or(config)
}

impl ServerTls {
    /// A server that shows `certificate` and leaves the rest at its default.
    #[must_use]
    pub fn with_certificate(certificate: Arc<TlsCertificate>) -> Self {
        Self {
            versions: TlsVersions::default(),
            alpn: Vec::new(),
            certificates: vec![certificate],
            unnamed: UnnamedCertificate::default(),
            stapling: Stapling::default(),
            client_certificate: ClientCertificate::NotRequested,
            rules: PeerRules::default(),
            cipher_suites: CipherSuites::default(),
            key_exchanges: Vec::new(),
            preference: Preference::default(),
            sessions: ServerSessions::default(),
            key_log: None,
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
        let origin = match self.sessions.tickets {
            TicketSource::Keys(_) => SessionOrigin::Elsewhere,
            TicketSource::Off | TicketSource::Own => SessionOrigin::Own,
        };
        let verifier = match self.client_certificate {
            ClientCertificate::NotRequested => None,
            ClientCertificate::Optional(trust) => Some((trust, Presence::Optional)),
            ClientCertificate::Required(trust) => Some((trust, Presence::Required)),
        };
        let verifier = verifier
            .map(|(trust, presence)| {
                PeerVerifier::of_clients(trust, self.rules, (presence, origin))
            })
            .transpose()?;
        let provider = self.cipher_suites.provider(self.versions, &self.key_exchanges)?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(WallClock))
            .with_protocol_versions(&self.versions.supported())
            .map_err(TlsError::Settings)?;
        let builder = match &verifier {
            Some(verifier) => {
                builder.with_client_cert_verifier(Arc::<PeerVerifier>::clone(verifier))
            }
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        };
        let resolver = CertificatesByName {
            certificates: self.certificates,
            unnamed: self.unnamed,
            stapling: self.stapling,
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self.alpn;
        config.ignore_client_order = self.preference == Preference::Server;
        self.sessions.apply(&mut config)?;
        let plain = (!config.alpn_protocols.is_empty()).then(|| {
            let mut plain = config.clone();
            plain.alpn_protocols.clear();
            plain
        });
        let logging = self.key_log.map(|key_log| {
            let logging = |config: &ServerConfig| {
                let mut logging = config.clone();
                logging.key_log = Arc::clone(&key_log);
                Arc::new(logging)
            };
            let without_protocols = plain.as_ref().map(logging);
            Logging { config: logging(&config), without_protocols }
        });
        let without_protocols = plain.map(Arc::new);
        Ok(TlsServer { config: Arc::new(config), without_protocols, logging, verifier })
    }
}

impl TlsServer {
    /// The settings for `tokio_rustls::TlsAcceptor`.
    #[must_use]
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The settings for a client that says this first.
    ///
    /// A client that offers application protocols of which none is ours goes on without one, as with
    /// OpenSSL's servers; rustls would turn it away (RFC 7301 §3.2).
    #[must_use]
    pub fn config_for(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        fitting(hello, &self.config, self.without_protocols.as_ref())
    }

    /// The same, for a connection whose keys are told to the key log.
    #[must_use]
    pub fn logging_config_for(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        match &self.logging {
            Some(logging) => fitting(hello, &logging.config, logging.without_protocols.as_ref()),
            None => self.config_for(hello),
        }
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
        Ok(Some(verifier.identity_of_client(chain, now)?))
    }
}

#[derive(Debug)]
struct CertificatesByName {
    certificates: Vec<Arc<TlsCertificate>>,
    unnamed: UnnamedCertificate,
    stapling: Stapling,
}

/// How well a certificate fits a server name; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Wildcard,
}

impl CertificatesByName {
    /// The certificate for a name, of those that `understood` holds for.
    fn choose(
        &self,
        name: Option<&str>,
        understood: impl Fn(&TlsCertificate) -> bool,
    ) -> Option<&Arc<TlsCertificate>> {
        let candidates = || self.certificates.iter().filter(|one| understood(one));
        let named = name.and_then(|name| {
            let fits = candidates().filter_map(|one| Some((fit(one, name)?, is_long(one), one)));
            // The first of equals.
            fits.min_by_key(|(fit, long, _)| (*fit, *long)).map(|(_, _, one)| one)
        });
        let first = || self.certificates.first().filter(|one| understood(one));
        let best = || candidates().min_by_key(|one| is_long(one));
        named.or_else(|| match (name, self.unnamed) {
            (Some(_), UnnamedCertificate::First) => first().or_else(best),
            (Some(_), UnnamedCertificate::Any) | (None, _) => best(),
        })
    }
}

fn is_long(certificate: &TlsCertificate) -> bool {
    certificate.certified().key.algorithm() == SignatureAlgorithm::RSA
}

fn fit(certificate: &TlsCertificate, name: &str) -> Option<Fit> {
    let facts = certificate.facts();
    // The common name counts where there is no other, as in Envoy.
    let common = Some(&facts.common_name).filter(|_| facts.dns_sans.is_empty());
    let covering =
        facts.dns_sans.iter().chain(common).filter(|presented| dns_covers(presented, name));
    let fits = covering.map(|own| if own.starts_with("*.") { Fit::Wildcard } else { Fit::Exact });
    fits.min()
}

impl CertificatesByName {
    /// What becomes of the OCSP response of a certificate.
    fn stapling(&self, one: &TlsCertificate, now: SystemTime) -> StapleAction {
        let policy = if one.must_be_stapled() { Stapling::Must } else { self.stapling };
        policy.action(one.stapled().map(|(_, until)| *until), now)
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let now = clock::wall();
        let understood = |one: &TlsCertificate| {
            one.certified().key.choose_scheme(schemes).is_some()
                && self.stapling(one, now) != StapleAction::Refuse
        };
        let one = self.choose(hello.server_name(), understood)?;
        let stapled = one.stapled().filter(|_| self.stapling(one, now) == StapleAction::Staple);
        Some(Arc::clone(stapled.map_or_else(|| one.certified(), |(stapled, _)| stapled)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(
        names: &[&str],
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> Arc<TlsCertificate> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let read = TlsCertificate::from_pem(&certificate.pem(), &key.serialize_pem());
        Arc::new(read.unwrap())
    }

    #[test]
    fn the_nearest_name_and_then_the_shorter_key_decide() {
        let (short, long) = (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256);
        let certificates = vec![
            certificate(&["first.test"], long),
            certificate(&["*.b.test"], short),
            certificate(&["a.b.test"], long),
            certificate(&["a.b.test"], short),
        ];
        let mut by_name = CertificatesByName {
            certificates,
            unnamed: UnnamedCertificate::First,
            stapling: Stapling::default(),
        };
        let chosen =
            |by_name: &CertificatesByName, name, understood: fn(&TlsCertificate) -> bool| {
                let chosen = by_name.choose(name, understood).unwrap();
                by_name.certificates.iter().position(|one| Arc::ptr_eq(one, chosen)).unwrap()
            };
        assert_eq!(chosen(&by_name, Some("a.b.test"), |_| true), 3);
        assert_eq!(chosen(&by_name, Some("a.b.test"), is_long), 2);
        assert_eq!(chosen(&by_name, Some("x.b.test"), |_| true), 1);
        assert_eq!(chosen(&by_name, Some("other"), |_| true), 0);
        assert_eq!(chosen(&by_name, Some("other"), |one| !is_long(one)), 1);
        assert_eq!(chosen(&by_name, None, |_| true), 1);
        by_name.unnamed = UnnamedCertificate::Any;
        assert_eq!(chosen(&by_name, Some("other"), |_| true), 1);
    }
}
