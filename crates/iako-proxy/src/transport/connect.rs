//! New connections to endpoints.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use iako_identity::{PeerError, PeerIdentity, TlsClient, TlsError};
use iako_proxy_config::{Endpoint, EndpointAddress, ProxyProtocolHeader};
use iako_rt::clock;
use iako_telemetry::ResponseFlag;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::{
    Proxied, ReadAhead, Stream, TLS_WRITE_BYTES, TlsDetails,
    client::ClientTlsSlot,
    details::{cipher_name, group_name},
    dial::dial,
    material::{MaterialError, is_logged},
    proxy_header,
    server::version_name,
};
use crate::{
    listener::connect_within,
    snapshot::{ClusterTransport, Security, UpstreamCluster},
};

/// In place of an address where a connection has none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What a single connection may change of its cluster's settings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ConnectOptions<'a> {
    /// Application protocols to offer in place of the configured ones.
    pub(crate) alpn: Option<&'a [&'a [u8]]>,
    /// The request's host, sent as the server name where the cluster has `auto_sni`.
    pub(crate) host: Option<&'a str>,
    /// For whom the connection is made, where its server is told of clients.
    pub(crate) client: Option<&'a Proxied>,
    /// The header that tells it, in place of the cluster's.
    pub(crate) header: Option<&'a ProxyProtocolHeader>,
}

/// A new connection.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The stream, through TLS where the cluster says so.
    pub(crate) stream: Stream,
    /// The application protocol agreed on; none without TLS.
    pub(crate) alpn: Option<Vec<u8>>,
    /// The server, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// Our side of the connection; none on a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// The server's address, one of those of the endpoint; none on a Unix socket.
    pub(crate) remote: Option<SocketAddr>,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<Arc<TlsDetails>>,
    /// When it was begun.
    pub(crate) began: Instant,
    /// When the server accepted the connection.
    pub(crate) accepted: Instant,
}

/// Why a connection could not be made. Nothing of a request was sent then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectError {
    /// It took longer than the cluster's connect timeout, TLS included.
    #[error("no connection to {endpoint} within {limit:?}")]
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// The timeout.
        limit: Duration,
    },
    /// The endpoint refused, or cannot be reached.
    #[error("connect to {endpoint} failed")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The name of the endpoint was not resolved.
    #[error("the name {name} is not resolved")]
    Unresolved {
        /// The name.
        name: String,
    },
    /// The handshake failed.
    #[error("the TLS handshake with {endpoint} failed")]
    Handshake {
        /// The endpoint.
        endpoint: String,
        /// What rustls or the system said.
        source: io::Error,
    },
    /// The server is not believed.
    #[error("the server {endpoint} is not believed")]
    Peer {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: PeerError,
    },
    /// The TLS settings cannot be used.
    #[error("the TLS settings of the cluster cannot be used")]
    Settings(#[from] MaterialError),
    /// The server name cannot be sent.
    #[error("the server name cannot be sent")]
    ServerName(#[from] TlsError),
}

impl ConnectError {
    /// Envoy's flag for it.
    #[must_use]
    pub(crate) const fn response_flag(&self) -> ResponseFlag {
        ResponseFlag::UpstreamConnectionFailure
    }

    /// Envoy's words for it: what stands after `reset reason:` in a response body.
    #[must_use]
    pub(crate) const fn reset_reason(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "connection timeout",
            Self::Connect { .. }
            | Self::Unresolved { .. }
            | Self::Handshake { .. }
            | Self::Peer { .. }
            | Self::Settings(_)
            | Self::ServerName(_) => "remote connection failure",
        }
    }

    /// Whether its time was up.
    #[must_use]
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// What the log says about it, for `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; blanks become underscores.
    #[must_use]
    pub(crate) fn transport_reason(&self) -> String {
        let Some(source) = std::error::Error::source(self) else { return String::new() };
        let text = source.to_string();
        if self.is_tls() {
            return format!("TLS_error:|{text}");
        }
        // Without the number that Rust adds to what the system said.
        format!("delayed connect error: {}", text.split(" (os error").next().unwrap_or_default())
    }

    /// Whether TLS failed, not the connection beneath it.
    #[must_use]
    pub(crate) const fn is_tls(&self) -> bool {
        matches!(
            self,
            Self::Handshake { .. } | Self::Peer { .. } | Self::Settings(_) | Self::ServerName(_)
        )
    }
}

/// Connects to an endpoint of a cluster, through TLS where the cluster's settings for this endpoint
/// say so, within the cluster's connect timeout. Counts the attempt in the cluster's statistics.
///
/// # Errors
/// When no connection could be made; the caller may try another endpoint.
pub(crate) async fn connect(
    cluster: &UpstreamCluster,
    endpoint: &Endpoint,
    options: ConnectOptions<'_>,
) -> Result<Connected, ConnectError> {
    let started = clock::now();
    let limit = cluster.config.connect_timeout;
    let attempt = attempt(cluster, endpoint, options);
    let result = match tokio::time::timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_elapsed) => Err(ConnectError::Timeout { endpoint: name_of(&endpoint.address), limit }),
    };
    match &result {
        Ok(connected) => {
            let security = if connected.stream.is_tls() { Security::Tls } else { Security::Plain };
            let took = clock::now().saturating_duration_since(started);
            cluster.stats.connected(took, security);
        }
        Err(error) => cluster.stats.connect_failed(error),
    }
    result
}

/// The same without statistics, and without a bound on its time: for who is no client.
///
/// # Errors
/// When no connection could be made.
pub(crate) async fn connect_quietly(
    cluster: &UpstreamCluster,
    endpoint: &Endpoint,
    options: ConnectOptions<'_>,
) -> Result<Connected, ConnectError> {
    attempt(cluster, endpoint, options).await
}

async fn attempt(
    cluster: &UpstreamCluster,
    endpoint: &Endpoint,
    options: ConnectOptions<'_>,
) -> Result<Connected, ConnectError> {
    let transport = cluster.transport_for(endpoint);
    let header = options.header.or_else(|| cluster.proxy_header_for(endpoint));
    let failed = |source| ConnectError::Connect { endpoint: name_of(&endpoint.address), source };
    match &endpoint.address {
        EndpointAddress::Host { name, .. } => Err(ConnectError::Unresolved { name: name.clone() }),
        EndpointAddress::Socket(address) => {
            let began = clock::now();
            let others = &endpoint.additional_addresses;
            let from = options.client.and_then(|client| client.binding);
            let dialled = dial(*address, others, &cluster.config, from);
            let mut socket = dialled.await.map_err(failed)?;
            let local = socket.local_addr().ok();
            let remote = socket.peer_addr().ok();
            if let Some(header) = header {
                let ends = (local.unwrap_or(NOWHERE), remote.unwrap_or(*address));
                let header = proxy_header::encode(header, options.client, ends);
                socket.write_all(&header).await.map_err(failed)?;
            }
            let connected = through(socket, transport, endpoint, options).await?;
            Ok(Connected { local, remote, began, ..connected })
        }
        EndpointAddress::Internal { listener, .. } => {
            let client = options.client.map(|client| client.source);
            let mut socket = connect_within(listener, client).map_err(failed)?;
            if let Some(header) = header {
                let header = proxy_header::encode(header, options.client, (NOWHERE, NOWHERE));
                socket.write_all(&header).await.map_err(failed)?;
            }
            through(socket, transport, endpoint, options).await
        }
        EndpointAddress::Pipe(path) => {
            let mut socket = UnixStream::connect(path).await.map_err(failed)?;
            if let Some(header) = header {
                let header = proxy_header::encode(header, options.client, (NOWHERE, NOWHERE));
                socket.write_all(&header).await.map_err(failed)?;
            }
            match transport {
                ClusterTransport::Raw => Ok(plain(Stream::Unix(socket))),
                ClusterTransport::Tls(tls) => {
                    let wrap = |stream| Stream::ClientTlsUnix(Box::new(stream));
                    let logs = is_logged(&tls.settings().options, None);
                    handshake(socket, (&**tls, logs), endpoint, options, wrap).await
                }
            }
        }
    }
}

/// Through TLS, where the cluster says so.
async fn through(
    socket: TcpStream,
    transport: &ClusterTransport,
    endpoint: &Endpoint,
    options: ConnectOptions<'_>,
) -> Result<Connected, ConnectError> {
    match transport {
        ClusterTransport::Raw => Ok(plain(Stream::tcp(socket))),
        ClusterTransport::Tls(tls) => {
            let wrap = |stream| Stream::ClientTls(Box::new(stream));
            let logs = is_logged(&tls.settings().options, Some(&socket));
            handshake(ReadAhead::new(socket), (&**tls, logs), endpoint, options, wrap).await
        }
    }
}

fn plain(stream: Stream) -> Connected {
    let now = clock::now();
    Connected {
        stream,
        alpn: None,
        peer: None,
        local: None,
        remote: None,
        tls: None,
        began: now,
        accepted: now,
    }
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    (tls, logs): (&ClientTlsSlot, bool),
    endpoint: &Endpoint,
    options: ConnectOptions<'_>,
    wrap: impl FnOnce(tokio_rustls::client::TlsStream<S>) -> Stream,
) -> Result<Connected, ConnectError> {
    let accepted = clock::now();
    let name = || name_of(&endpoint.address);
    let client = tls.client(options.alpn)?;
    let address = match &endpoint.address {
        EndpointAddress::Socket(address) => address.ip(),
        EndpointAddress::Host { .. }
        | EndpointAddress::Pipe(_)
        | EndpointAddress::Internal { .. } => [127, 0, 0, 1].into(),
    };
    let host = options.host.map(without_port).filter(|_| tls.settings().auto_sni);
    let host = host.filter(|host| host.parse::<IpAddr>().is_err());
    let endpoint_host = Some(endpoint.hostname.as_str())
        .filter(|name| tls.settings().auto_host_sni && !name.is_empty());
    let name_to_send = host.or(endpoint_host).or_else(|| tls.settings().sni.as_deref());
    let server_name = TlsClient::server_name(name_to_send, address)?;
    let config = if logs { client.logging_config() } else { client.config() };
    let mut stream = tokio_rustls::TlsConnector::from(Arc::clone(config))
        .connect(server_name, socket)
        .await
        .map_err(|source| ConnectError::Handshake { endpoint: name(), source })?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_WRITE_BYTES));
    let connection = stream.get_ref().1;
    let peer = client
        .peer(connection, clock::wall())
        .map_err(|source| ConnectError::Peer { endpoint: name(), source })?;
    let alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
    let details = TlsDetails {
        version: version_name(connection.protocol_version()),
        cipher: cipher_name(connection.negotiated_cipher_suite()),
        group: group_name(connection.negotiated_key_exchange_group()),
        peer: peer.clone(),
        own: tls.own(),
        server_name: name_to_send.unwrap_or_default().to_owned(),
        done: clock::now(),
    };
    Ok(Connected { alpn, peer, tls: Some(Arc::new(details)), accepted, ..plain(wrap(stream)) })
}

/// A host without its port; an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        Some(_) | None => host,
    }
}

/// An endpoint as people write it.
#[must_use]
pub(crate) fn name_of(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Host { name, port } => format!("{name}:{port}"),
        EndpointAddress::Pipe(path) => path.display().to_string(),
        EndpointAddress::Internal { listener, id } => format!("envoy://{listener}/{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port_before_it_becomes_a_server_name() {
        let cases = [
            ("example.com:8443", "example.com"),
            ("example.com", "example.com"),
            ("[::1]:443", "::1"),
            ("::1", "::1"),
            ("a:b", "a:b"),
        ];
        for (host, expected) in cases {
            assert_eq!(without_port(host), expected, "{host}");
        }
    }
}
