//! TLS, terminated and originated.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use iako_identity::{
    ClientTls, Identity, IdentitySource, PeerNames, Svid, TrustBundle, TrustBundles,
};
use iako_proxy::Proxy;
use iako_proxy_config::{
    CertificateSource, DownstreamTls, DownstreamTransport, FilterChainMatch, ListenerFilter,
    SanMatch, SessionTickets, TicketKey, TlsKeyLog, TlsOptions, TlsVersion, Trust, UpstreamTls,
    UpstreamTransport, Validation,
};
use iako_rt::Scope;
use iako_types::TrustDomain;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Root, any_port, ask, bootstrap, cluster, echo, eventually, is_served, settings, start,
    tcp_chain, tcp_listener,
};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

fn downstream(certificate: CertificateSource, trust: Trust) -> DownstreamTransport {
    let require_client_certificate = trust != Trust::Unverified;
    let options = TlsOptions {
        certificates: vec![certificate],
        validation: Validation { trust, ..Validation::default() },
        ..TlsOptions::default()
    };
    DownstreamTransport::Tls(Box::new(DownstreamTls {
        options,
        require_client_certificate,
        require_sni: false,
        ..DownstreamTls::default()
    }))
}

fn upstream(certificate: CertificateSource, trust: Trust, server: &str) -> UpstreamTransport {
    let validation = Validation {
        trust,
        subject_alt_names: vec![SanMatch::spiffe(&server.parse().unwrap())],
        ..Validation::default()
    };
    let alpn = vec!["istio".to_owned()];
    let options =
        TlsOptions { certificates: vec![certificate], validation, alpn, ..TlsOptions::default() };
    let sni = Some("outbound_.80_._.cart.shop.svc.cluster.local".to_owned());
    UpstreamTransport::Tls(Box::new(UpstreamTls { options, sni, ..UpstreamTls::default() }))
}

#[tokio::test]
async fn the_server_name_chooses_the_chain_and_its_certificate() {
    let (scope, root) = (Scope::new(), Root::new());
    let mut listener = tcp_listener("in", "b");
    listener.inspectors.push(ListenerFilter::tls());
    listener.chains = ["a.test", "b.test"]
        .map(|name| {
            let matcher =
                FilterChainMatch { server_names: vec![name.to_owned()], ..Default::default() };
            let mut chain = tcp_chain(matcher, name);
            chain.transport = downstream(root.source(name), Trust::Unverified);
            chain
        })
        .into();
    let clusters = vec![
        cluster("a.test", &[echo(&scope, "a").await]),
        cluster("b.test", &[echo(&scope, "b").await]),
    ];
    let proxy = start(vec![listener], clusters).await;
    let address = proxy.listener_address("in").unwrap();
    for (name, expected) in [("a.test", "a:x"), ("b.test", "b:x")] {
        let mut stream = connect(address, name, &root).await.unwrap();
        assert_eq!(ask(&mut stream, "x", 3).await, expected);
    }
    assert!(connect(address, "c.test", &root).await.is_err());
    assert!(!is_served(address).await);
    proxy.shutdown().await;
}

#[tokio::test]
async fn rfc9112_9_8_a_client_hears_the_end_of_tls_before_that_of_the_connection() {
    let (scope, root) = (Scope::new(), Root::new());
    let server = TcpListener::bind(any_port()).await.unwrap();
    let address = server.local_addr().unwrap();
    scope.spawn("server", async move {
        let (mut stream, _) = server.accept().await.unwrap();
        stream.write_all(b"last words").await.unwrap();
    });
    let mut listener = tcp_listener("in", "app");
    listener.chains[0].transport = downstream(root.source("a.test"), Trust::Unverified);
    let proxy = start(vec![listener], vec![cluster("app", &[address])]).await;
    let mut client = connect(proxy.listener_address("in").unwrap(), "a.test", &root).await.unwrap();
    let mut heard = Vec::new();
    // An end without the alert would be an error.
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
    proxy.shutdown().await;
}

pub(crate) type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

pub(crate) async fn connect(
    address: SocketAddr,
    name: &str,
    root: &Root,
) -> std::io::Result<ClientStream> {
    let bundle = TrustBundle::from_pem(&root.pem().0).unwrap();
    let trust = iako_identity::Trust::Roots { bundle, names: PeerNames::ServerName };
    let client = ClientTls::believing(trust).build().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(client.config()));
    let socket = TcpStream::connect(address).await?;
    connector.connect(name.to_owned().try_into().unwrap(), socket).await
}

#[tokio::test]
async fn two_proxies_speak_mutual_tls_and_refuse_a_stranger() {
    let (scope, root, stranger) = (Scope::new(), Root::new(), Root::new());
    let application = echo(&scope, "app").await;
    let mut inbound = tcp_listener("in", "app");
    inbound.chains[0].transport = downstream(root.source(CART), Trust::Inline(root.pem()));
    let server = start(vec![inbound], vec![cluster("app", &[application])]).await;
    let there = server.listener_address("in").unwrap();
    let cases = [
        ("good", root.source(WEB), CART),
        ("wrong-server", root.source(WEB), WEB),
        ("wrong-client", stranger.source(WEB), CART),
    ];
    let mut clusters = Vec::new();
    for (name, certificate, expected) in cases {
        let mut one = cluster(name, &[there]);
        one.transport = upstream(certificate, Trust::Inline(root.pem()), expected);
        clusters.push(one);
    }
    let listeners = ["good", "wrong-server", "wrong-client"].map(|name| tcp_listener(name, name));
    let client = start(listeners.into(), clusters).await;
    let served = async |name| is_served(client.listener_address(name).unwrap()).await;
    assert!(served("good").await);
    assert!(!served("wrong-server").await);
    assert!(!served("wrong-client").await);
    // Plain bytes do not pass the server either.
    assert!(!is_served(there).await);
    client.shutdown().await;
    server.shutdown().await;
}

fn identity(root: &Root, id: &str) -> Identity {
    let (chain, key) = root.issue(id);
    let svid = Svid::from_pem(&chain.0, key.expose()).unwrap();
    let bundle = TrustBundle::from_pem(&root.pem().0).unwrap();
    Identity { svid, bundles: TrustBundles::single(TrustDomain::cluster_local(), bundle) }
}

#[tokio::test]
async fn a_renewed_identity_is_shown_to_new_connections_and_old_ones_live_on() {
    let (scope, root) = (Scope::new(), Root::new());
    let source = Arc::new(IdentitySource::new());
    let mut listener = tcp_listener("in", "app");
    listener.chains[0].transport =
        downstream(CertificateSource::Sds("default".into()), Trust::Sds("ROOTCA".into()));
    let clusters = vec![cluster("app", &[echo(&scope, "app").await])];
    let mut settings = settings(bootstrap(vec![listener], clusters));
    settings.identity = Some(Arc::clone(&source));
    let proxy = Proxy::start(settings).await.unwrap();
    // Without its certificate the listener does not serve.
    assert_eq!(proxy.listener_address("in"), None);
    source.publish(identity(&root, CART));
    proxy.ready().await;
    let address = proxy.listener_address("in").unwrap();
    let client = identity(&root, WEB);
    let dial = async || {
        let trust =
            iako_identity::Trust::Spiffe { bundles: client.bundles.clone(), allowed: Vec::new() };
        let certificate = Some(Arc::clone(client.svid.certificate()));
        let tls = ClientTls { certificate, ..ClientTls::believing(trust) }.build().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls.config()));
        let socket = TcpStream::connect(address).await.unwrap();
        connector.connect("x.test".try_into().unwrap(), socket).await.unwrap()
    };
    let serial = |stream: &ClientStream| {
        let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        iako_identity::CertificateFacts::read(&chain[0]).unwrap().serial
    };
    let mut old = dial().await;
    assert_eq!(ask(&mut old, "1", 5).await, "app:1");
    source.publish(identity(&root, CART));
    eventually("the new certificate is shown", async || serial(&dial().await) != serial(&old))
        .await;
    assert_eq!(ask(&mut old, "2", 5).await, "app:2");
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_session_of_one_proxy_is_resumed_at_another_with_the_same_ticket_keys() {
    let (scope, root) = (Scope::new(), Root::new());
    let server = echo(&scope, "app").await;
    let certificate = root.source("a.test");
    let start_with = async |key: u8| {
        let mut listener = tcp_listener("in", "app");
        let mut transport = downstream(certificate.clone(), Trust::Unverified);
        if let DownstreamTransport::Tls(tls) = &mut transport {
            tls.resumption.tickets = SessionTickets::Keys(vec![TicketKey::new([key; 80])]);
            tls.resumption.stored = false;
        }
        listener.chains[0].transport = transport;
        start(vec![listener], vec![cluster("app", &[server])]).await
    };
    let bundle = TrustBundle::from_pem(&root.pem().0).unwrap();
    let trust = iako_identity::Trust::Roots { bundle, names: PeerNames::ServerName };
    let client = ClientTls::believing(trust).build().unwrap();
    // The client keeps its tickets by the name of the server, not by its address.
    let is_resumed_at = async |proxy: &iako_proxy::ProxyHandle| {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(client.config()));
        let socket = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
        let mut stream = connector.connect("a.test".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(ask(&mut stream, "x", 5).await, "app:x");
        stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    };
    let proxies = [start_with(7).await, start_with(7).await, start_with(8).await];
    assert!(!is_resumed_at(&proxies[0]).await);
    assert!(is_resumed_at(&proxies[1]).await, "the keys are the same");
    assert!(!is_resumed_at(&proxies[2]).await, "the keys are others");
    for proxy in proxies {
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let (scope, root) = (Scope::new(), Root::new());
    let mut listener = tcp_listener("in", "app");
    listener.chains[0].transport = downstream(root.source("a.test"), Trust::Unverified);
    listener.chains[0].handshake_timeout = Some(Duration::from_millis(50));
    let proxy = start(vec![listener], vec![cluster("app", &[echo(&scope, "a").await])]).await;
    let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    proxy.shutdown().await;
}

/// What an end of a connection derived, as the lines of a key log.
#[derive(Debug, Default)]
struct Derived(Mutex<BTreeSet<String>>);

impl rustls::KeyLog for Derived {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.0.lock().insert(format!("{label} {} {}", hex(client_random), hex(secret)));
    }
}

fn lines(path: &Path) -> BTreeSet<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn labels(lines: &BTreeSet<String>) -> Vec<&str> {
    lines.iter().filter_map(|line| line.split(' ').next()).collect()
}

/// A log of keys of connections with these ends.
fn key_log(path: &Path, local: &[&str], remote: &[&str]) -> TlsKeyLog {
    let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    TlsKeyLog { path: path.to_owned(), local_ranges: ranges(local), remote_ranges: ranges(remote) }
}

#[tokio::test]
async fn keys_are_logged_of_the_connections_that_were_asked_for_and_of_no_others() {
    let (scope, root) = (Scope::new(), Root::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let cases = [
        ("all", Some(key_log(&file("all"), &[], &[])), true),
        ("near", Some(key_log(&file("near"), &["127.0.0.0/8"], &["127.0.0.1/32"])), true),
        ("other-end", Some(key_log(&file("other-end"), &[], &["10.0.0.0/8"])), false),
        ("own-end", Some(key_log(&file("own-end"), &["10.0.0.0/8"], &["127.0.0.1/32"])), false),
        ("none", None, false),
    ];
    let listeners = cases.clone().map(|(name, log, _)| {
        let mut listener = tcp_listener(name, "app");
        let mut transport = downstream(root.source("a.test"), Trust::Unverified);
        if let DownstreamTransport::Tls(tls) = &mut transport {
            tls.options.key_log = log;
        }
        listener.chains[0].transport = transport;
        listener
    });
    let proxy = start(listeners.into(), vec![cluster("app", &[echo(&scope, "app").await])]).await;
    for (name, _, is_logged) in cases {
        let derived = Arc::<Derived>::default();
        let bundle = TrustBundle::from_pem(&root.pem().0).unwrap();
        let trust = iako_identity::Trust::Roots { bundle, names: PeerNames::ServerName };
        let told = Arc::clone(&derived);
        let client = ClientTls { key_log: Some(told), ..ClientTls::believing(trust) };
        let client = client.build().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(client.logging_config()));
        let socket = TcpStream::connect(proxy.listener_address(name).unwrap()).await.unwrap();
        let mut stream = connector.connect("a.test".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(ask(&mut stream, "x", 5).await, "app:x");
        let derived = derived.0.lock().clone();
        assert!(labels(&derived).contains(&"CLIENT_TRAFFIC_SECRET_0"), "{derived:?}");
        if is_logged {
            // With what its client derived itself, a recording of the connection can be read.
            assert_eq!(lines(&file(name)), derived, "{name}");
        } else if file(name).exists() {
            assert_eq!(lines(&file(name)), BTreeSet::new(), "{name}");
        }
    }
    assert!(!file("none").exists());
    proxy.shutdown().await;
}

#[tokio::test]
async fn both_ends_of_a_connection_between_proxies_log_the_same_keys() {
    let (scope, root) = (Scope::new(), Root::new());
    let folder = tempfile::tempdir().unwrap();
    let application = echo(&scope, "app").await;
    let cases = [
        (TlsVersion::V1_2, vec!["CLIENT_RANDOM"]),
        (
            TlsVersion::V1_3,
            vec![
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "EXPORTER_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_TRAFFIC_SECRET_0",
            ],
        ),
    ];
    for (version, expected) in cases {
        let (here, there) =
            (folder.path().join("client"), folder.path().join(format!("server{version:?}")));
        let mut inbound = tcp_listener("in", "app");
        let mut transport = downstream(root.source(CART), Trust::Inline(root.pem()));
        if let DownstreamTransport::Tls(tls) = &mut transport {
            tls.options.key_log = Some(key_log(&there, &[], &[]));
        }
        inbound.chains[0].transport = transport;
        let server = start(vec![inbound], vec![cluster("app", &[application])]).await;
        let mut out = cluster("out", &[server.listener_address("in").unwrap()]);
        out.transport = upstream(root.source(WEB), Trust::Inline(root.pem()), CART);
        if let UpstreamTransport::Tls(tls) = &mut out.transport {
            tls.options.key_log = Some(key_log(&here, &[], &["127.0.0.1/32"]));
            tls.options.maximum = Some(version);
        }
        let client = start(vec![tcp_listener("out", "out")], vec![out]).await;
        assert!(is_served(client.listener_address("out").unwrap()).await);
        let told = lines(&there);
        assert_eq!(labels(&told), expected);
        assert_eq!(lines(&here), told);
        std::fs::remove_file(&here).unwrap();
        client.shutdown().await;
        server.shutdown().await;
    }
}
