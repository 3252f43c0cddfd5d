//! Where a whole proxy's configuration comes from, and in which order it takes effect.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use iako_proxy::{Proxy, ProxyHandle};
use iako_proxy_config::{
    CertificateSource, Cluster, ConfigOrigin, ConfigSource, Discovery, DownstreamTls,
    DownstreamTransport, EndpointSet, GrpcSource, HttpConnectionManager, HttpFilter,
    HttpFilterKind, Listener, RouteSource, Router, Secret, SecretKind, SourcedName, Terminal,
    TlsOptions,
};
use iako_rt::Scope;
use iako_xds::{Resource, ResourceSet, Snapshot, TypeUrl, Variant};
use iako_xds_codec::{RawResource, encode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    ads::{NODE, Plane, eds, free_address, listener_at, said_by},
    support::{Root, ask, bootstrap, cluster, echo, endpoints, eventually, settings},
    tls::connect,
};

fn set(resources: impl IntoIterator<Item = (String, RawResource)>) -> ResourceSet {
    resources.into_iter().map(|(name, body)| Resource::new(name, body.value.into())).collect()
}

fn clusters(all: &[Cluster]) -> ResourceSet {
    set(all.iter().map(|one| (one.name.clone(), encode::cluster(one))))
}

fn listeners(all: &[Listener]) -> ResourceSet {
    set(all.iter().map(|one| (one.name.clone(), encode::listener(one))))
}

fn endpoint_sets(all: &[EndpointSet]) -> ResourceSet {
    set(all.iter().map(|one| (one.name.clone(), encode::endpoints(one))))
}

/// A proxy that asks the first of these servers that can be reached, in this form.
async fn asking(servers: &[SocketAddr], variant: Variant) -> ProxyHandle {
    let names: Vec<String> = (0..servers.len()).map(|place| format!("xds{place}")).collect();
    let reaching = names.iter().zip(servers);
    let reaching = reaching.map(|(name, address)| cluster(name, &[*address])).collect();
    let mut bootstrap = bootstrap(Vec::new(), reaching);
    bootstrap.ads = Some(GrpcSource {
        clusters: names,
        delta: variant == Variant::Delta,
        ..GrpcSource::default()
    });
    bootstrap.listener_source = Some(ConfigSource::default());
    bootstrap.cluster_source = Some(ConfigSource::default());
    Proxy::start(settings(bootstrap)).await.unwrap()
}

#[tokio::test]
async fn the_next_server_is_asked_when_the_first_cannot_be_reached() {
    let scope = Scope::new();
    let plane = Plane::start(&scope).await;
    let (dead, address) = (free_address().await, free_address().await);
    let a = echo(&scope, "a").await;
    plane.publish(&[cluster("a", &[a])], &[], &[listener_at(address, "a")]);
    let proxy = asking(&[dead, plane.address], Variant::Delta).await;
    proxy.ready().await;
    assert_eq!(said_by(address).await, "a");
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_changed_cluster_serves_as_before_until_its_new_endpoints_are_there() {
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let scope = Scope::new();
        let plane = Plane::start(&scope).await;
        let address = free_address().await;
        let (a, b) = (echo(&scope, "a").await, echo(&scope, "b").await);
        let listener = [listener_at(address, "be")];
        let be = |instances: &str| Cluster::new("be", Discovery::Eds(instances.into()));
        plane.publish(&[be("old")], &[endpoints("old", &[a])], &listener);
        let proxy = asking(&[plane.address], variant).await;
        proxy.ready().await;
        assert_eq!(said_by(address).await, "a");
        // The marker shows when the change has arrived whose endpoints are missing.
        let marker = cluster("marker", &[a]);
        let changed =
            Cluster::new("be", Discovery::Eds(SourcedName::new("new", silent_source(&plane))));
        let marked = free_address().await;
        let both = [
            listener_at(address, "be"),
            Listener { name: "marked".to_owned(), ..listener_at(marked, "marker") },
        ];
        plane.publish(&[changed, marker], &[endpoints("old", &[a])], &both);
        eventually("the change arrives", async || TcpStream::connect(marked).await.is_ok()).await;
        assert_eq!(said_by(address).await, "a");
        plane.publish(&[be("new")], &[endpoints("new", &[b])], &listener);
        eventually("the new endpoints serve", async || said_by(address).await == "b").await;
        proxy.shutdown().await;
        scope.stop();
    }
}

/// A server that is there and tells endpoints to nobody: it knows no such method.
fn silent_source(plane: &Plane) -> ConfigSource {
    assert!(plane.address.port() > 0, "the plane listens");
    let grpc = GrpcSource { clusters: vec!["xds0".to_owned()], ..GrpcSource::default() };
    ConfigSource { origin: ConfigOrigin::Grpc(grpc), initial_fetch_timeout: None }
}

#[tokio::test]
async fn a_listener_waits_for_a_certificate_that_comes_late() {
    let (scope, root) = (Scope::new(), Root::new());
    let plane = Plane::start(&scope).await;
    let address = free_address().await;
    let a = echo(&scope, "a").await;
    let mut listener = listener_at(address, "a");
    let certificate = CertificateSource::Sds("late".into());
    let options = TlsOptions { certificates: vec![certificate], ..TlsOptions::default() };
    listener.chains[0].transport =
        DownstreamTransport::Tls(Box::new(DownstreamTls { options, ..DownstreamTls::default() }));
    let other = free_address().await;
    let plain = Listener { name: "plain".to_owned(), ..listener_at(other, "a") };
    let told = Snapshot::new()
        .with(TypeUrl::CLUSTER, clusters(&[cluster("a", &[a])]))
        .with(TypeUrl::LISTENER, listeners(&[listener, plain]));
    plane.cache.publish(NODE, told.clone());
    let proxy = asking(&[plane.address], Variant::StateOfTheWorld).await;
    eventually("the other listener serves", async || TcpStream::connect(other).await.is_ok()).await;
    assert!(TcpStream::connect(address).await.is_err(), "it has no certificate");
    let (chain, key) = root.issue("a.test");
    let kind = SecretKind::Certificate { chain, key, staple: None };
    let secret = Secret { name: "late".to_owned(), kind };
    let secrets = set([("late".to_owned(), encode::secret(&secret))]);
    plane.cache.publish(NODE, told.with(TypeUrl::SECRET, secrets));
    eventually("it serves with it", async || connect(address, "a.test", &root).await.is_ok()).await;
    let mut stream = connect(address, "a.test", &root).await.unwrap();
    assert_eq!(ask(&mut stream, "x", 3).await, "a:x");
    proxy.shutdown().await;
}

/// An HTTP listener whose routes come from the control plane, and are waited for so long.
fn http_listener(address: SocketAddr, longest: Option<Duration>) -> Listener {
    let source = ConfigSource { initial_fetch_timeout: longest, ..ConfigSource::default() };
    let routes = RouteSource::Rds(SourcedName::new("routes", source));
    let router = HttpFilter {
        name: "router".to_owned(),
        disabled: false,
        kind: HttpFilterKind::Router(Router::default()),
    };
    let manager =
        HttpConnectionManager { filters: vec![router], ..HttpConnectionManager::new("in", routes) };
    let mut listener = listener_at(address, "none");
    listener.chains[0].terminal = Terminal::Http(Arc::new(manager));
    listener
}

async fn status(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_listener_serves_without_routes_after_the_time_that_its_source_says() {
    let scope = Scope::new();
    let plane = Plane::start(&scope).await;
    let (soon, never) = (free_address().await, free_address().await);
    let waiting = Listener { name: "never".to_owned(), ..http_listener(never, None) };
    let told = Snapshot::new().with(TypeUrl::CLUSTER, ResourceSet::default()).with(
        TypeUrl::LISTENER,
        listeners(&[http_listener(soon, Some(Duration::from_millis(200))), waiting]),
    );
    // In this form nothing is said of routes that there are not.
    plane.cache.publish(NODE, told);
    let proxy = asking(&[plane.address], Variant::StateOfTheWorld).await;
    eventually("it serves without", async || TcpStream::connect(soon).await.is_ok()).await;
    assert_eq!(status(soon).await, "404");
    assert!(TcpStream::connect(never).await.is_err(), "the other waits for ever");
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_a_lost_server_told_serves_on_and_what_it_tells_later_is_taken() {
    let (scope, first) = (Scope::new(), Scope::new());
    let plane = Plane::start(&first).await;
    let address = free_address().await;
    let (a, b) = (echo(&scope, "a").await, echo(&scope, "b").await);
    let second = Plane::start(&scope).await;
    let listener = [listener_at(address, "be")];
    plane.publish(&[eds("be")], &[endpoints("be", &[a])], &listener);
    let proxy = asking(&[plane.address, second.address], Variant::Delta).await;
    proxy.ready().await;
    assert_eq!(said_by(address).await, "a");
    first.stop();
    assert_eq!(said_by(address).await, "a");
    let told = Snapshot::new()
        .with(TypeUrl::CLUSTER, clusters(&[eds("be")]))
        .with(TypeUrl::ENDPOINTS, endpoint_sets(&[endpoints("be", &[b])]))
        .with(TypeUrl::LISTENER, listeners(&listener));
    second.cache.publish(NODE, told);
    eventually("the other server is heard", async || said_by(address).await == "b").await;
    proxy.shutdown().await;
}
