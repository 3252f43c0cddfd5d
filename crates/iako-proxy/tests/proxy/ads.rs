//! A proxy that a control plane drives.

use std::{net::SocketAddr, sync::Arc};

use iako_proxy::{ControlPlane, Dialling, Proxy, ProxyHandle};
use iako_proxy_config::{
    AdminAddress, Cluster, ConfigSource, Discovery, EndpointSet, GrpcSource, Listener,
};
use iako_rt::Scope;
use iako_xds::{
    Cache, Dialled, Gate, Opening, Refusal, Resource, ResourceSet, Server, Snapshot, StreamId,
    TypeUrl, Variant,
    transport::{self, Accepted, Peer},
};
use iako_xds_codec::encode;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;

use crate::support::{
    any_port, ask, bootstrap, cluster, echo, endpoints, eventually, settings, tcp_listener,
};

pub(crate) const NODE: &str = "sidecar~127.0.0.1~web.shop~shop.svc.cluster.local";

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn admit(&self, _: &Opening<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn closed(&self, _: &str, _: StreamId) {}
}

/// A control plane on loopback.
pub(crate) struct Plane {
    pub(crate) cache: Cache,
    server: Server,
    pub(crate) address: SocketAddr,
}

impl Plane {
    pub(crate) async fn start(scope: &Scope) -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cache = Cache::new();
        let server = Server::new(cache.clone(), Arc::new(Open), scope.clone());
        let service = server.clone().into_service();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let incoming =
            incoming.map(|accepted| accepted.map(|io| Accepted::new(io, Peer::default())));
        scope.spawn("plane", async move {
            transport::server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { cache, server, address }
    }

    pub(crate) fn publish(
        &self,
        clusters: &[Cluster],
        sets: &[EndpointSet],
        listeners: &[Listener],
    ) {
        let clusters = clusters.iter().map(|one| {
            let resource = Resource::new(&*one.name, encode::cluster(one).value.into());
            if let Discovery::Eds(name) = &one.discovery {
                return resource.with_endpoints(name.name());
            }
            resource
        });
        let sets =
            sets.iter().map(|one| Resource::new(&*one.name, encode::endpoints(one).value.into()));
        let listeners = listeners
            .iter()
            .map(|one| Resource::new(&*one.name, encode::listener(one).value.into()));
        let snapshot = Snapshot::new()
            .with(TypeUrl::CLUSTER, clusters.collect::<ResourceSet>())
            .with(TypeUrl::ENDPOINTS, sets.collect::<ResourceSet>())
            .with(TypeUrl::LISTENER, listeners.collect::<ResourceSet>());
        self.cache.publish(NODE, snapshot);
    }

    /// A proxy that reaches this control plane by a cluster of its bootstrap.
    async fn proxy(&self, variant: Variant) -> ProxyHandle {
        let mut bootstrap = bootstrap(Vec::new(), vec![cluster("xds", &[self.address])]);
        bootstrap.admin = Some(AdminAddress::Socket(any_port()));
        bootstrap.ads = Some(GrpcSource {
            clusters: vec!["xds".to_owned()],
            delta: variant == Variant::Delta,
            ..GrpcSource::default()
        });
        bootstrap.listener_source = Some(ConfigSource::default());
        bootstrap.cluster_source = Some(ConfigSource::default());
        Proxy::start(settings(bootstrap)).await.unwrap()
    }
}

pub(crate) fn eds(name: &str) -> Cluster {
    Cluster::new(name, Discovery::Eds(name.into()))
}

/// A listener at an address of its own, so that updates are about the same one.
pub(crate) fn listener_at(address: SocketAddr, cluster: &str) -> Listener {
    Listener { addresses: vec![address], ..tcp_listener("in", cluster) }
}

pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap()
}

pub(crate) async fn said_by(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    ask(&mut client, "x", 1).await
}

#[tokio::test]
async fn a_changed_listener_serves_new_connections_and_old_ones_live_on() {
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let scope = Scope::new();
        let plane = Plane::start(&scope).await;
        let address = free_address().await;
        let sets = [("a", echo(&scope, "a").await), ("b", echo(&scope, "b").await)];
        let sets = sets.map(|(name, address)| endpoints(name, &[address]));
        let clusters = [eds("a"), eds("b")];
        plane.publish(&clusters, &sets, &[listener_at(address, "a")]);
        let proxy = plane.proxy(variant).await;
        proxy.ready().await;
        let mut old = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut old, "1", 3).await, "a:1");
        plane.publish(&clusters, &sets, &[listener_at(address, "b")]);
        eventually("the new listener serves", async || said_by(address).await == "b").await;
        assert_eq!(ask(&mut old, "2", 3).await, "a:2");
        proxy.shutdown().await;
        scope.stop();
    }
}

#[tokio::test]
async fn changed_endpoints_and_removed_listeners_take_effect() {
    let scope = Scope::new();
    let plane = Plane::start(&scope).await;
    let address = free_address().await;
    let (a, b) = (echo(&scope, "a").await, echo(&scope, "b").await);
    let listeners = [listener_at(address, "be")];
    plane.publish(&[eds("be")], &[endpoints("be", &[a])], &listeners);
    let proxy = plane.proxy(Variant::Delta).await;
    proxy.ready().await;
    assert_eq!(said_by(address).await, "a");
    plane.publish(&[eds("be")], &[endpoints("be", &[b])], &listeners);
    eventually("the new endpoint serves", async || said_by(address).await == "b").await;
    plane.publish(&[eds("be")], &[endpoints("be", &[b])], &[]);
    eventually("the socket closes", async || TcpStream::connect(address).await.is_err()).await;
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_refused_listener_leaves_the_last_good_one_and_is_reported() {
    let scope = Scope::new();
    let plane = Plane::start(&scope).await;
    let address = free_address().await;
    let a = echo(&scope, "a").await;
    plane.publish(&[cluster("a", &[a])], &[], &[listener_at(address, "a")]);
    let proxy = plane.proxy(Variant::Delta).await;
    proxy.ready().await;
    let garbage = Resource::new("in", vec![0xff, 0xff].into());
    let good = plane.cache.published(NODE).unwrap();
    let bad = Snapshot::clone(&good)
        .with(TypeUrl::LISTENER, [garbage].into_iter().collect::<ResourceSet>());
    plane.cache.publish(NODE, bad);
    eventually("the refusal arrives", async || {
        let clients = plane.server.clients();
        clients.iter().flat_map(|client| &client.types).any(|kind| kind.rejected.is_some())
    })
    .await;
    assert_eq!(said_by(address).await, "a");
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_given_connector_is_used_and_its_loss_disturbs_nobody() {
    let (scope, control) = (Scope::new(), Scope::new());
    let plane = Plane::start(&control).await;
    let address = free_address().await;
    let a = echo(&scope, "a").await;
    plane.publish(&[cluster("a", &[a])], &[], &[listener_at(address, "a")]);
    let there = plane.address;
    let mut settings = settings(bootstrap(Vec::new(), Vec::new()));
    let dial = move || -> Dialling {
        Box::pin(async move {
            let channel = transport::channel("control", move || TcpStream::connect(there)).await?;
            Ok(Dialled { channel, bearer: None })
        })
    };
    settings.control_plane = Some(ControlPlane::new(Variant::Delta, Arc::new(dial)));
    let proxy = Proxy::start(settings).await.unwrap();
    proxy.ready().await;
    assert_eq!(said_by(address).await, "a");
    control.stop();
    assert_eq!(said_by(address).await, "a");
    proxy.shutdown().await;
}
