//! The aggregated discovery service around [`ServerStream`](stream::ServerStream).

pub(crate) mod status;
pub(crate) mod stream;

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use iako_rt::{Scope, clock};
use iako_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{
        AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
    },
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use self::{
    status::{ClientStatus, StreamId},
    stream::ServerStream,
};
use crate::{
    Cache, Node, Response, Variant,
    transport::Peer,
    wire::{self, Heard},
};

/// Responses that are encoded but not yet taken by the connection, a stream. More than one a type
/// never wait anyway.
const OUTBOUND_MAX: usize = 4;
/// Largest request in bytes: a returning client names all that it has.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a client may take to say who it is.
const FIRST_MESSAGE: Duration = Duration::from_secs(15);

/// Who wants to open a stream.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What the client says of itself. Its `id` is not empty.
    pub node: &'a Node,
    /// What its connection has proved.
    pub peer: &'a Peer,
    /// The token that it presents instead of, or beside, a certificate.
    pub bearer: Option<&'a str>,
    /// The stream.
    pub stream: StreamId,
    /// The form of the conversation.
    pub variant: Variant,
}

/// Why a stream is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The client has not proved who it is.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// It has, but may not be the node that it says it is.
    #[error("not permitted: {0}")]
    PermissionDenied(String),
    /// What it says of itself makes no sense.
    #[error("invalid node: {0}")]
    InvalidNode(String),
    /// Too many clients; it should come back later.
    #[error("overloaded")]
    Overloaded,
}

/// Decides who may open a stream, and is told when streams open and end.
///
/// `admit` should not take long: the control plane plans the node's resources elsewhere and
/// publishes them into the [`Cache`]; the stream waits for that.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Called once a stream, when its node is known.
    ///
    /// # Errors
    /// The refusal that the client receives.
    fn admit(&self, opening: &Opening<'_>) -> Result<(), Refusal>;

    /// Called once for every admitted stream, when it has ended.
    fn closed(&self, node_id: &str, stream: StreamId);
}

/// Tells clients what the cache holds for their node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
    scope: Scope,
}

#[derive(Debug)]
struct Shared {
    cache: Cache,
    gate: Arc<dyn Gate>,
    streams: AtomicU64,
    clients: Mutex<BTreeMap<StreamId, ClientStatus>>,
}

impl Server {
    /// A server of `cache` whose streams live in `scope`.
    #[must_use]
    pub fn new(cache: Cache, gate: Arc<dyn Gate>, scope: Scope) -> Self {
        let clients = Mutex::new(BTreeMap::new());
        let shared = Shared { cache, gate, streams: AtomicU64::new(0), clients };
        Self { shared: Arc::new(shared), scope }
    }

    /// The service for a tonic router.
    #[must_use]
    pub fn into_service(self) -> AggregatedDiscoveryServiceServer<impl AggregatedDiscoveryService> {
        AggregatedDiscoveryServiceServer::new(self).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// Every connected client and how far it is, oldest stream first.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientStatus> {
        let mut clients: Vec<ClientStatus> = self.shared.clients.lock().values().cloned().collect();
        for client in &mut clients {
            let newest = self.shared.cache.published(&client.node_id);
            let works_on_it = match (&client.snapshot, &newest) {
                (Some(told), Some(newest)) => Arc::ptr_eq(told, newest),
                _ => false,
            };
            client.up_to_date = works_on_it && client.types.iter().all(|it| !it.waiting);
        }
        clients
    }

    /// Starts the task of one stream and returns its responses.
    fn open<Message: Send + 'static>(
        &self,
        caller: Caller,
        inbound: impl Stream<Item = Result<Heard, Status>> + Send + 'static,
        encode: fn(Response) -> Message,
    ) -> Outbound<Message> {
        let (sender, receiver) = mpsc::channel(OUTBOUND_MAX);
        let shared = Arc::clone(&self.shared);
        self.scope.spawn("xds stream", async move {
            let mut inbound = Box::pin(inbound);
            let ended = converse(&shared, caller, &mut inbound, &sender, encode).await;
            if let Err(status) = ended
                && sender.send(Err(status)).await.is_err()
            {
                tracing::debug!("the client was gone before its stream could be refused");
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

type Outbound<Message> = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Server {
    type StreamAggregatedResourcesStream = Outbound<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Outbound<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: tonic::Request<tonic::Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        let caller = Caller::of(&request, Variant::StateOfTheWorld);
        let inbound = request.into_inner().map(|message| message.map(wire::state_request));
        Ok(tonic::Response::new(self.open(caller, inbound, wire::state_response)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: tonic::Request<tonic::Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let caller = Caller::of(&request, Variant::Delta);
        let inbound = request.into_inner().map(|message| message.map(wire::delta_request));
        Ok(tonic::Response::new(self.open(caller, inbound, wire::delta_response)))
    }
}

/// What is known of a client before its first message.
struct Caller {
    peer: Peer,
    bearer: Option<String>,
    variant: Variant,
}

impl Caller {
    fn of<Body>(request: &tonic::Request<Body>, variant: Variant) -> Self {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let header = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        let bearer = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        Self { peer, bearer, variant }
    }
}

/// Carries one conversation from its first message to its end.
async fn converse<Message>(
    shared: &Arc<Shared>,
    caller: Caller,
    inbound: &mut (impl Stream<Item = Result<Heard, Status>> + Unpin),
    outbound: &mpsc::Sender<Result<Message, Status>>,
    encode: fn(Response) -> Message,
) -> Result<(), Status> {
    let first = timeout(FIRST_MESSAGE, inbound.next())
        .await
        .map_err(|_elapsed| Status::deadline_exceeded("no first message"))?;
    let Some(Heard { node, request }) = first.transpose()? else { return Ok(()) };
    let node = node.filter(|node| !node.id.is_empty());
    let node = node.ok_or_else(|| Status::invalid_argument("missing node information"))?;
    let mut stream = ServerStream::new(caller.variant);
    let admitted = Admitted::admit(shared, &caller, &node)?;
    let mut snapshots = shared.cache.watch(&node.id);
    stream.on_request(request);
    let published = snapshots.borrow_and_update().clone();
    if let Some(snapshot) = published {
        stream.on_snapshot(snapshot);
    }
    loop {
        while let Some(response) = stream.next_response(clock::now()) {
            tracing::debug!(node = %node.id, type_url = %response.type_url, nonce = %response.nonce,
                resources = response.resources.len(), removed = response.removed.len(), "xds response");
            admitted.note(&stream);
            if outbound.send(Ok(encode(response))).await.is_err() {
                return Ok(());
            }
        }
        admitted.note(&stream);
        tokio::select! {
            heard = inbound.next() => match heard.transpose()? {
                // The node is the first message's; later ones may repeat it.
                Some(heard) => {
                    warn_of_rejection(&node, &heard);
                    stream.on_request(heard.request);
                }
                None => return Ok(()),
            },
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let published = snapshots.borrow_and_update().clone();
                if let Some(snapshot) = published {
                    stream.on_snapshot(snapshot);
                }
            }
            () = until(stream.wake_at(clock::now())) => {}
            () = outbound.closed() => return Ok(()),
        }
    }
}

/// Waits until `moment`, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn warn_of_rejection(node: &Node, heard: &Heard) {
    let (type_url, error) = match &heard.request {
        crate::Request::Delta(type_url, request) => (type_url, &request.error),
        crate::Request::State(type_url, request) => (type_url, &request.error),
    };
    if let Some(error) = error {
        tracing::warn!(node = %node.id, %type_url, %error, "proxy rejected its configuration");
    }
}

/// An open stream on the status board; taken off when dropped, however the stream ends.
struct Admitted {
    shared: Arc<Shared>,
    node_id: Arc<str>,
    stream: StreamId,
}

impl Admitted {
    fn admit(shared: &Arc<Shared>, caller: &Caller, node: &Node) -> Result<Self, Status> {
        let stream = StreamId(shared.streams.fetch_add(1, Ordering::Relaxed));
        let opening = Opening {
            node,
            peer: &caller.peer,
            bearer: caller.bearer.as_deref(),
            stream,
            variant: caller.variant,
        };
        if let Err(refusal) = shared.gate.admit(&opening) {
            tracing::warn!(node = %node.id, peer = ?caller.peer, %refusal, "xds stream refused");
            return Err(status_of(&refusal));
        }
        let node_id: Arc<str> = node.id.as_str().into();
        let client = ClientStatus {
            node_id: Arc::clone(&node_id),
            stream,
            address: caller.peer.address,
            variant: caller.variant,
            connected_since: clock::wall(),
            types: Vec::new(),
            up_to_date: false,
            snapshot: None,
        };
        shared.clients.lock().insert(stream, client);
        tracing::info!(node = %node.id, %stream, variant = ?caller.variant, "proxy connected");
        Ok(Self { shared: Arc::clone(shared), node_id, stream })
    }

    fn note(&self, stream: &ServerStream) {
        if let Some(client) = self.shared.clients.lock().get_mut(&self.stream) {
            client.types = stream.status();
            client.snapshot = stream.snapshot().cloned();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.clients.lock().remove(&self.stream);
        tracing::info!(node = %self.node_id, stream = %self.stream, "proxy disconnected");
        self.shared.gate.closed(&self.node_id, self.stream);
    }
}

fn status_of(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Unauthenticated(_) => Status::unauthenticated(text),
        Refusal::PermissionDenied(_) => Status::permission_denied(text),
        Refusal::InvalidNode(_) => Status::invalid_argument(text),
        Refusal::Overloaded => Status::resource_exhausted(text),
    }
}
