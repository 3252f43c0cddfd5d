//! TLS terminated here.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use iako_identity::{
    ClientCertificate, OcspError, PeerError, PeerIdentity, Preference, ServerSessions, ServerTls,
    Stapling, TicketSource, TlsCertificate, TlsServer, Trust, UnnamedCertificate,
};
use iako_proxy_config::{DownstreamTls, OcspPolicy, SessionTickets, SourcedName, TicketKey};
use iako_rt::clock;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Prefixed, ReadAhead, Stream, TLS_WRITE_BYTES, TlsDetails,
    details::{cipher_name, group_name},
    material::{
        MaterialError, Materials, NameCheck, alpn, cipher_suites, is_logged, key_exchanges,
        key_log, secret_names, versions,
    },
};

/// TLS settings of a filter chain, built with the certificates of the moment.
///
/// New handshakes use what was built last; a failed rebuild keeps the last good one.
#[derive(Debug)]
pub(crate) struct ServerTlsSlot {
    settings: DownstreamTls,
    built: ArcSwapOption<Built>,
}

#[derive(Debug)]
struct Built {
    server: TlsServer,
    own: Option<Arc<TlsCertificate>>,
}

/// Why a TLS connection was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AcceptError {
    /// The certificate has not arrived yet.
    #[error("the certificate of this listener has not arrived")]
    NoCertificate,
    /// It took too long.
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
    /// It failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The client is not believed.
    #[error("the client is not believed")]
    Peer(#[source] PeerError),
    /// The client sent no server name where one is required.
    #[error("the client sent no server name")]
    NoServerName,
}

/// An accepted TLS connection.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The decrypted stream.
    pub(crate) stream: Stream,
    /// The application protocol agreed on.
    pub(crate) alpn: Option<Vec<u8>>,
    /// The server name that the client sent.
    pub(crate) server_name: Option<String>,
    /// The client, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// Whether it took up an earlier session.
    pub(crate) is_resumed: bool,
    /// What was agreed on, for logs.
    pub(crate) details: Arc<TlsDetails>,
}

impl ServerTlsSlot {
    /// Settings without anything built.
    #[must_use]
    pub(crate) fn new(settings: DownstreamTls) -> Self {
        Self { settings, built: ArcSwapOption::empty() }
    }

    /// What was asked for.
    #[must_use]
    pub(crate) const fn settings(&self) -> &DownstreamTls {
        &self.settings
    }

    /// Whether handshakes can be made.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.built.load().is_some()
    }

    /// The names of the secrets that it needs.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SourcedName> {
        let tickets = match &self.settings.resumption.tickets {
            SessionTickets::Sds(name) => Some(name),
            SessionTickets::Off | SessionTickets::OwnKeys | SessionTickets::Keys(_) => None,
        };
        secret_names(&self.settings.options).chain(tickets)
    }

    /// Builds anew with the secrets of the moment.
    ///
    /// # Errors
    /// When one is missing or unusable; what was built before stays in use.
    pub(crate) fn refresh(&self, materials: &Materials) -> Result<(), MaterialError> {
        self.built.store(Some(Arc::new(self.build(materials)?)));
        Ok(())
    }

    /// The URIs of the certificate that is shown.
    #[must_use]
    pub(crate) fn own_uris(&self) -> Vec<String> {
        let built = self.built.load();
        let own = built.as_ref().and_then(|built| built.own.as_ref());
        own.map(|own| own.facts().uri_sans.clone()).unwrap_or_default()
    }

    fn build(&self, materials: &Materials) -> Result<Built, MaterialError> {
        let options = &self.settings.options;
        let certificates = options
            .certificates
            .iter()
            .map(|source| materials.certificate(source))
            .collect::<Result<Vec<Arc<TlsCertificate>>, _>>()?;
        let stapling = match self.settings.stapling {
            OcspPolicy::Lenient => Stapling::Lenient,
            OcspPolicy::Strict => Stapling::Strict,
            OcspPolicy::Must => Stapling::Must,
        };
        let lacks = |one: &Arc<TlsCertificate>| {
            let must = stapling == Stapling::Must || one.must_be_stapled();
            must && !one.has_staple()
        };
        if certificates.iter().any(lacks) {
            return Err(OcspError::Missing.into());
        }
        let own = certificates.first().cloned();
        let (trust, rules) = materials.peers(&options.validation, NameCheck::Listed)?;
        let client_certificate = match (trust, self.settings.require_client_certificate) {
            (Trust::Unverified, false) if !rules.has_pins() => ClientCertificate::NotRequested,
            // Who is pinned has to show itself, as in Envoy.
            (trust, false) if rules.has_pins() => ClientCertificate::Required(trust),
            (trust, true) => ClientCertificate::Required(trust),
            (trust, false) => ClientCertificate::Optional(trust),
        };
        let unnamed = if self.settings.scan_certificates {
            UnnamedCertificate::Any
        } else {
            UnnamedCertificate::First
        };
        let preference = if self.settings.prefer_client_ciphers {
            Preference::Client
        } else {
            Preference::Server
        };
        let server = ServerTls {
            versions: versions(options)?,
            alpn: alpn(&options.alpn),
            certificates,
            unnamed,
            stapling,
            client_certificate,
            rules,
            cipher_suites: cipher_suites(options),
            key_exchanges: key_exchanges(options),
            preference,
            sessions: self.sessions(materials)?,
            key_log: key_log(options)?,
        };
        Ok(Built { server: server.build()?, own })
    }

    fn sessions(&self, materials: &Materials) -> Result<ServerSessions, MaterialError> {
        let settings = &self.settings.resumption;
        let bytes =
            |keys: &[TicketKey]| TicketSource::Keys(keys.iter().map(|key| *key.expose()).collect());
        Ok(ServerSessions {
            tickets: match &settings.tickets {
                SessionTickets::Off => TicketSource::Off,
                SessionTickets::OwnKeys => TicketSource::Own,
                SessionTickets::Keys(keys) => bytes(keys),
                SessionTickets::Sds(name) => bytes(&materials.ticket_keys(name)?),
            },
            stored: settings.stored,
            lifetime: settings.lifetime,
        })
    }

    /// Makes the handshake with a client, bounded by `timeout`.
    ///
    /// # Errors
    /// When it fails or takes too long; the connection is closed then.
    pub(crate) async fn accept(
        &self,
        socket: Prefixed<TcpStream>,
        timeout: Option<Duration>,
    ) -> Result<Accepted, AcceptError> {
        let built = self.built.load_full().ok_or(AcceptError::NoCertificate)?;
        let server = &built.server;
        let logs = is_logged(&self.settings.options, Some(socket.get_ref()));
        let handshake = async {
            let acceptor = rustls::server::Acceptor::default();
            let start = LazyConfigAcceptor::new(acceptor, ReadAhead::new(socket)).await?;
            let hello = start.client_hello();
            let config =
                if logs { server.logging_config_for(&hello) } else { server.config_for(&hello) };
            start.into_stream(Arc::clone(config)).await
        };
        let mut stream = match timeout {
            None => handshake.await,
            Some(limit) => tokio::time::timeout(limit, handshake)
                .await
                .map_err(|_elapsed| AcceptError::Timeout(limit))?,
        }
        .map_err(AcceptError::Handshake)?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_WRITE_BYTES));
        let connection = stream.get_ref().1;
        let peer = server.peer(connection, clock::wall()).map_err(AcceptError::Peer)?;
        let server_name = connection.server_name().map(str::to_owned);
        if self.settings.require_sni && server_name.is_none() {
            return Err(AcceptError::NoServerName);
        }
        Ok(Accepted {
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            details: Arc::new(TlsDetails {
                version: version_name(connection.protocol_version()),
                cipher: cipher_name(connection.negotiated_cipher_suite()),
                group: group_name(connection.negotiated_key_exchange_group()),
                peer: peer.clone(),
                own: built.own.clone(),
                server_name: String::new(),
                done: clock::now(),
            }),
            server_name,
            is_resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            peer,
            stream: Stream::ServerTls(Box::new(stream)),
        })
    }
}

/// Envoy's name of a TLS version; empty when there is none.
pub(super) fn version_name(version: Option<rustls::ProtocolVersion>) -> &'static str {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(_) | None => "",
    }
}
