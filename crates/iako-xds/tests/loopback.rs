//! Client and server over a real connection on loopback, both variants, with a restart between.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may be blunt")]

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use iako_rt::{Rng, Scope};
use iako_xds::{
    Backoff, Cache, Client, ClientEvent, ClientHandle, ClientSettings, Dialled, Gate, Interest,
    Node, NodeTold, Opening, Refusal, Resource, ResourceSet, Server, Service, Snapshot, StreamId,
    TypeUrl, Update, Variant, Verdict,
    transport::{self, Accepted, Peer},
};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;

const NODE: &str = "sidecar~127.0.0.1~cart.shop~shop.svc.cluster.local";

/// A message whose first field is its name, as all of xDS.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    content: String,
}

fn set(text: &str) -> ResourceSet {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let named = |(name, content): (&str, &str)| {
        let message = Named { name: name.to_owned(), content: content.to_owned() };
        Resource::new(name, Bytes::from(message.encode_to_vec()))
    };
    pairs.map(named).collect()
}

fn snapshot(clusters: &str, endpoints: &str) -> Snapshot {
    Snapshot::new().with(TypeUrl::CLUSTER, set(clusters)).with(TypeUrl::ENDPOINTS, set(endpoints))
}

/// Admits whoever has the token.
#[derive(Debug, Default)]
struct Door {
    closed: Mutex<Vec<StreamId>>,
}

impl Gate for Door {
    fn admit(&self, opening: &Opening<'_>) -> Result<(), Refusal> {
        match opening.bearer {
            Some("token") => Ok(()),
            _ => Err(Refusal::Unauthenticated("no token".to_owned())),
        }
    }

    fn closed(&self, node_id: &str, stream: StreamId) {
        assert_eq!(node_id, NODE);
        self.closed.lock().push(stream);
    }
}

/// A running control plane; dropped, it is gone.
struct Plane {
    cache: Cache,
    server: Server,
    scope: Scope,
    door: Arc<Door>,
}

impl Plane {
    fn start(listener: TcpListener) -> Self {
        let (cache, scope, door) = (Cache::new(), Scope::new(), Arc::new(Door::default()));
        let server = Server::new(cache.clone(), Arc::<Door>::clone(&door), scope.clone());
        let service = server.clone().into_service();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let incoming = incoming.map(|accepted| {
            accepted.map(|io| {
                let peer = Peer { address: io.peer_addr().ok(), ..Peer::default() };
                Accepted::new(io, peer)
            })
        });
        scope.spawn("server", async move {
            transport::server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { cache, server, scope, door }
    }

    /// Waits until the only client has acknowledged everything of a type.
    async fn acknowledged(&self, kind: &TypeUrl) {
        loop {
            let clients = self.server.clients();
            let types = clients.iter().flat_map(|client| &client.types);
            let done = |status: &iako_xds::TypeStatus| {
                status.type_url == *kind && !status.waiting && status.acknowledged == status.sent
            };
            if types.into_iter().any(done) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn client(
    scope: &Scope,
    address: Arc<Mutex<SocketAddr>>,
    variant: Variant,
    token: &'static str,
) -> ClientHandle {
    let node = Node { id: NODE.to_owned(), ..Node::default() };
    let backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(20) };
    let settings = ClientSettings {
        node,
        variant,
        service: Service::Aggregated,
        node_told: NodeTold::First,
        pace: None,
        backoff,
    };
    let (client, handle) = Client::new(settings);
    let dial = move || {
        let address = Arc::clone(&address);
        async move {
            let connect = move || {
                let address = *address.lock();
                async move { TcpStream::connect(address).await as io::Result<TcpStream> }
            };
            let channel = transport::channel("istiod.istio-system.svc:15012", connect).await?;
            Ok(Dialled { channel, bearer: Some(token.to_owned()) })
        }
    };
    scope.spawn("client", client.run(dial, Rng::from_seed(7)));
    handle
}

/// The next update; says so and goes on when connections come and go.
async fn update(handle: &mut ClientHandle) -> Update {
    loop {
        if let ClientEvent::Update(update) = handle.next().await.unwrap() {
            return update;
        }
    }
}

fn short(update: &Update) -> String {
    let there = update.resources.iter().map(|resource| resource.name.to_string());
    let gone = update.removed.iter().map(|name| format!("!{name}"));
    there.chain(gone).collect::<Vec<_>>().join(" ")
}

async fn converse(variant: Variant) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Arc::new(Mutex::new(listener.local_addr().unwrap()));
    let plane = Plane::start(listener);
    plane.cache.publish(NODE, snapshot("a=1 b=1", "a=1"));
    let scope = Scope::new();
    let mut handle = client(&scope, Arc::clone(&address), variant, "token");
    handle.subscribe(TypeUrl::CLUSTER, Interest::Everything).await;
    let first = update(&mut handle).await;
    assert_eq!(short(&first), "a b");
    handle.answer(first, Verdict::Accepted).await;
    let names = Interest::Names([Arc::from("a")].into());
    handle.subscribe(TypeUrl::ENDPOINTS, names).await;
    let endpoints = update(&mut handle).await;
    assert_eq!((&endpoints.type_url, short(&endpoints).as_str()), (&TypeUrl::ENDPOINTS, "a"));
    assert_eq!(&endpoints.resources[0].body, &set("a=1").get("a").unwrap().body);
    handle.answer(endpoints, Verdict::Accepted).await;
    plane.acknowledged(&TypeUrl::CLUSTER).await;
    plane.acknowledged(&TypeUrl::ENDPOINTS).await;
    // A rejection reaches the operator, and the same is not sent again.
    plane.cache.publish(NODE, snapshot("a=2 b=1", "a=1"));
    let bad = update(&mut handle).await;
    handle.answer(bad, Verdict::Rejected { message: "bad a".to_owned() }).await;
    let again = update(&mut handle).await;
    assert_eq!(again.type_url, TypeUrl::ENDPOINTS, "pushed after the cluster");
    handle.answer(again, Verdict::Accepted).await;
    plane.acknowledged(&TypeUrl::ENDPOINTS).await;
    let status = plane.server.clients().remove(0);
    assert_eq!(status.types[0].rejected.as_ref().unwrap().message, "bad a");
    assert!(status.address.is_some());
    // The control plane dies and returns elsewhere; the client finds it and receives the rest.
    plane.scope.stop();
    plane.scope.finished().await;
    assert_eq!(plane.door.closed.lock().len(), 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    *address.lock() = listener.local_addr().unwrap();
    let plane = Plane::start(listener);
    plane.cache.publish(NODE, snapshot("a=1 c=1", "a=1"));
    let clusters = update(&mut handle).await;
    let expected = match variant {
        Variant::Delta => "c",
        Variant::StateOfTheWorld => "a c !b",
    };
    assert_eq!(short(&clusters), expected);
    handle.answer(clusters, Verdict::Accepted).await;
    if variant == Variant::Delta {
        let removed = update(&mut handle).await;
        assert_eq!(short(&removed), "!b");
        handle.answer(removed, Verdict::Accepted).await;
    }
    plane.acknowledged(&TypeUrl::CLUSTER).await;
    drop(handle);
    scope.finished().await;
}

#[tokio::test]
async fn a_delta_client_follows_its_control_plane_through_a_restart() {
    converse(Variant::Delta).await;
}

#[tokio::test]
async fn a_state_of_the_world_client_follows_its_control_plane_through_a_restart() {
    converse(Variant::StateOfTheWorld).await;
}

#[tokio::test]
async fn a_client_without_the_token_is_told_why_it_stays_outside() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Arc::new(Mutex::new(listener.local_addr().unwrap()));
    let plane = Plane::start(listener);
    plane.cache.publish(NODE, snapshot("a=1", ""));
    let scope = Scope::new();
    let mut handle = client(&scope, address, Variant::Delta, "guess");
    handle.subscribe(TypeUrl::CLUSTER, Interest::Everything).await;
    loop {
        match handle.next().await.unwrap() {
            ClientEvent::Disconnected { reason, .. } => {
                assert!(reason.contains("not authenticated: no token"), "{reason}");
                break;
            }
            ClientEvent::Connected => {}
            ClientEvent::Update(update) => panic!("{update:?}"),
        }
    }
    assert!(plane.server.clients().is_empty());
    assert!(plane.door.closed.lock().is_empty());
}
