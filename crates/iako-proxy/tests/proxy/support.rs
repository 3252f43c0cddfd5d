//! Servers, certificates and configurations that the tests share.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use iako_proxy::{Proxy, ProxyHandle, ProxySettings};
use iako_proxy_config::{
    Bootstrap, CertificateSource, Cluster, Discovery, DownstreamTransport, Endpoint, EndpointSet,
    FilterChain, FilterChainMatch, FilterMetadata, Listener, LocalityEndpoints, Node, Pem,
    PrivateKey, TcpProxy, TcpTarget, Terminal,
};
use iako_rt::Scope;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Answers every chunk with its name before it; ends when the client does.
pub(crate) async fn echo(scope: &Scope, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = scope.clone();
    scope.spawn("echo", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.spawn("echo connection", async move {
                let mut buffer = vec![0; 4096];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    let said = [name.as_bytes(), b":", &buffer[..length]].concat();
                    socket.write_all(&said).await.unwrap();
                }
            });
        }
    });
    address
}

/// Says something and hears exactly this many bytes.
pub(crate) async fn ask<S>(stream: &mut S, said: &str, length: usize) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(said.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut heard = vec![0; length];
    stream.read_exact(&mut heard).await.unwrap();
    String::from_utf8(heard).unwrap()
}

/// Whether an echo server answers a new connection; a TLS alert is no answer.
pub(crate) async fn is_served(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    if stream.write_all(b"?").await.is_err() {
        return false;
    }
    let mut heard = [0; 16];
    matches!(stream.read(&mut heard).await, Ok(length @ 1..) if heard[..length].ends_with(b":?"))
}

/// Waits for something that another task brings about; fails the test after ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let seen = async {
        while !check().await {
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    assert!(seen.is_ok(), "never: {what}");
}

pub(crate) fn endpoints(name: &str, addresses: &[SocketAddr]) -> EndpointSet {
    let endpoints = addresses.iter().map(|address| Endpoint::at(*address)).collect();
    EndpointSet::new(name, vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }])
}

pub(crate) fn cluster(name: &str, addresses: &[SocketAddr]) -> Cluster {
    Cluster::new(name, Discovery::Static(endpoints(name, addresses)))
}

pub(crate) fn tcp_chain(matcher: FilterChainMatch, cluster: &str) -> FilterChain {
    let target = TcpTarget::Cluster(cluster.to_owned());
    let mut tcp = TcpProxy::new("test", target);
    tcp.connect_attempts_max = NonZeroU32::new(2).unwrap();
    FilterChain {
        name: cluster.to_owned(),
        matcher,
        transport: DownstreamTransport::Raw,
        handshake_timeout: Some(Duration::from_secs(5)),
        filters: Vec::new(),
        terminal: Terminal::Tcp(tcp.into()),
        metadata: FilterMetadata::default(),
    }
}

pub(crate) fn tcp_listener(name: &str, cluster: &str) -> Listener {
    let mut listener = Listener::new(name, any_port());
    listener.chains = vec![tcp_chain(FilterChainMatch::default(), cluster)];
    listener
}

pub(crate) fn bootstrap(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> Bootstrap {
    let node = Node {
        id: "sidecar~127.0.0.1~web.shop~shop.svc.cluster.local".to_owned(),
        ..Node::default()
    };
    Bootstrap { node, listeners, clusters, ..Bootstrap::default() }
}

pub(crate) fn settings(bootstrap: Bootstrap) -> ProxySettings {
    // Tests leave clients open; the end of a proxy must not wait for them.
    let drain_time = Duration::from_millis(100);
    ProxySettings { concurrency: Some(2), drain_time, ..ProxySettings::new(bootstrap) }
}

pub(crate) async fn start(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> ProxyHandle {
    let proxy = Proxy::start(settings(bootstrap(listeners, clusters))).await.unwrap();
    proxy.ready().await;
    proxy
}

/// A root of the test's own.
pub(crate) struct Root {
    params: CertificateParams,
    key: KeyPair,
}

impl Root {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { params, key: KeyPair::generate().unwrap() }
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem(self.params.self_signed(&self.key).unwrap().pem().into())
    }

    /// A certificate for a SPIFFE ID or a DNS name, with its key.
    pub(crate) fn issue(&self, name: &str) -> (Pem, PrivateKey) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![if name.starts_with("spiffe://") {
            SanType::URI(name.try_into().unwrap())
        } else {
            SanType::DnsName(name.try_into().unwrap())
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        (Pem(leaf.pem().into()), PrivateKey::new(key.serialize_pem()))
    }

    pub(crate) fn source(&self, name: &str) -> CertificateSource {
        let (chain, key) = self.issue(name);
        CertificateSource::Inline { chain, key, staple: None }
    }
}
