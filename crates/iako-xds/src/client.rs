//! Staying connected to a control plane, around [`ClientStream`](stream::ClientStream).

pub(crate) mod backoff;
mod pace;
pub(crate) mod stream;

use std::{error::Error, fmt, future::Future, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use iako_rt::Rng;
use iako_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use self::{
    backoff::Backoff,
    pace::Pace,
    stream::{ClientStream, IncomingResponse, Interest, Received, Update, Verdict},
};
use crate::{
    Node, TypeUrl, Variant,
    transport::{CONNECT_TIMEOUT, MESSAGE_BYTES_MAX},
    type_url::Methods,
    wire::{self, Heard},
};

/// Bound of each of the three queues of a client: wishes, events, requests on their way.
const QUEUE_MAX: usize = 64;

/// How a client presents itself and behaves.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Sent with the first message of every connection.
    pub node: Node,
    /// The form of the conversation. [`Variant::Delta`] unless the server lacks it.
    pub variant: Variant,
    /// Which service is spoken to.
    pub service: Service,
    /// With which messages the node is told.
    pub node_told: NodeTold,
    /// How fast requests go out: so many at once, then one each time this has passed; not limited
    /// when absent.
    pub pace: Option<(u32, Duration)>,
    /// Pauses between attempts. Default: 500 ms to 30 s.
    pub backoff: Backoff,
}

/// Which service of a server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// All types on one stream.
    Aggregated,
    /// The service of one type.
    Of(TypeUrl),
}

/// With which messages a client says who it is. Source:
/// `ApiConfigSource.set_node_on_first_message_only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTold {
    /// The first of a stream.
    First,
    /// Every one.
    Always,
}

/// An open connection to the control plane, and what to present on it.
pub struct Dialled {
    /// The channel; see [`transport::channel`](crate::transport::channel).
    pub channel: Channel,
    /// A token for the `authorization` header, when the channel proves no identity.
    pub bearer: Option<String>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out of logs.
        f.debug_struct("Dialled").finish_non_exhaustive()
    }
}

/// Why the control plane could not be reached.
pub type DialError = Box<dyn Error + Send + Sync>;

/// What the owner of a client learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A stream is open.
    Connected,
    /// There is no stream. What was received stays good.
    Disconnected {
        /// Why, with causes.
        reason: String,
        /// When the next attempt is made.
        retry_in: Duration,
    },
    /// Something new; answer it with [`ClientHandle::answer`].
    Update(Update),
}

/// Runs the conversation; steered through its [`ClientHandle`].
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    stream: ClientStream,
    wishes: mpsc::Receiver<Wish>,
    events: mpsc::Sender<ClientEvent>,
}

/// The owner's end of a client. When it is dropped, the client ends.
#[derive(Debug)]
pub struct ClientHandle {
    wishes: mpsc::Sender<Wish>,
    events: mpsc::Receiver<ClientEvent>,
}

#[derive(Debug)]
enum Wish {
    Subscribe(TypeUrl, Interest),
    Answer(Update, Verdict),
    Forget(TypeUrl, String),
}

impl ClientHandle {
    /// The next event; none when the client has ended.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        self.events.recv().await
    }

    /// Says which resources of a type are wanted from now on.
    pub async fn subscribe(&self, type_url: TypeUrl, interest: Interest) {
        self.wish(Wish::Subscribe(type_url, interest)).await;
    }

    /// Gives the verdict on an update. Every update needs one: the server sends no more of its
    /// type until then.
    pub async fn answer(&self, update: Update, verdict: Verdict) {
        self.wish(Wish::Answer(update, verdict)).await;
    }

    /// Says that a resource is no longer in use although nobody removed it.
    pub async fn forget(&self, type_url: TypeUrl, name: String) {
        self.wish(Wish::Forget(type_url, name)).await;
    }

    async fn wish(&self, wish: Wish) {
        if self.wishes.send(wish).await.is_err() {
            tracing::debug!("the xds client has ended");
        }
    }
}

/// Why one connection ended.
enum Ended {
    /// The owner is gone.
    ByOwner,
    /// The connection is. Whether it had brought anything decides how soon to try again.
    Lost { reason: String, useful: bool },
}

impl Client {
    /// A client that wants nothing yet, and its owner's end.
    #[must_use]
    pub fn new(settings: ClientSettings) -> (Self, ClientHandle) {
        let (wish_sender, wishes) = mpsc::channel(QUEUE_MAX);
        let (events, event_receiver) = mpsc::channel(QUEUE_MAX);
        let stream = ClientStream::new(settings.variant);
        let handle = ClientHandle { wishes: wish_sender, events: event_receiver };
        (Self { settings, stream, wishes, events }, handle)
    }

    /// Stays connected until the handle is dropped. `dial` is called for every attempt, so that it
    /// can pick up new certificates, tokens and addresses.
    pub async fn run<Dial, Dialling>(mut self, mut dial: Dial, mut rng: Rng)
    where
        Dial: FnMut() -> Dialling,
        Dialling: Future<Output = Result<Dialled, DialError>>,
    {
        let mut failures = 0_u32;
        loop {
            let (reason, useful) = match self.connection(&mut dial).await {
                Ended::ByOwner => return,
                Ended::Lost { reason, useful } => (reason, useful),
            };
            failures = if useful { 1 } else { failures.saturating_add(1) };
            let retry_in = self.settings.backoff.pause(failures, &mut rng);
            tracing::warn!(%reason, ?retry_in, failures, "no connection to the control plane");
            let event = ClientEvent::Disconnected { reason, retry_in };
            let told = self.tell(event).await;
            if told.is_none() || self.attending(tokio::time::sleep(retry_in)).await.is_none() {
                return;
            }
        }
    }

    /// One connection, from dialling to its end.
    async fn connection<Dial, Dialling>(&mut self, dial: &mut Dial) -> Ended
    where
        Dial: FnMut() -> Dialling,
        Dialling: Future<Output = Result<Dialled, DialError>>,
    {
        let lost = |reason: String| Ended::Lost { reason, useful: false };
        let dialling = tokio::time::timeout(CONNECT_TIMEOUT, dial());
        let dialled = match self.attending(dialling).await {
            None => return Ended::ByOwner,
            Some(Err(_)) => return lost(format!("no answer within {CONNECT_TIMEOUT:?}")),
            Some(Ok(Err(error))) => return lost(chain(error.as_ref())),
            Some(Ok(Ok(dialled))) => dialled,
        };
        self.stream.on_connected();
        let (requests, receiver) = mpsc::channel(QUEUE_MAX);
        let mut sending = Sending {
            node: Some(self.settings.node.clone()),
            told: self.settings.node_told,
            pace: self.settings.pace.map(Pace::new),
            next: None,
            requests,
        };
        let paths = match paths(&self.settings) {
            Ok(path) => path,
            Err(reason) => return lost(reason),
        };
        let mut opening = Box::pin(open(dialled, paths, receiver));
        // Some servers answer a stream's opening only after its first request, so requests flow
        // before the response stream is there.
        let inbound = loop {
            tokio::select! {
                opened = &mut opening => match opened {
                    Ok(inbound) => break inbound,
                    Err(status) => return lost(describe(&status)),
                },
                () = sending.flush(&mut self.stream) => {}
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.grant(wish),
                    None => return Ended::ByOwner,
                },
            }
        };
        if self.tell(ClientEvent::Connected).await.is_none() {
            return Ended::ByOwner;
        }
        self.exchange(inbound, sending).await
    }

    /// The conversation on one open stream.
    async fn exchange(&mut self, mut inbound: Inbound, mut sending: Sending) -> Ended {
        let mut useful = false;
        let mut untold: Option<ClientEvent> = None;
        let events = self.events.clone();
        loop {
            tokio::select! {
                () = sending.flush(&mut self.stream) => {}
                response = inbound.next(), if untold.is_none() => match response {
                    Some(Ok(response)) => {
                        useful = true;
                        untold = self.hear(response);
                    }
                    Some(Err(status)) => {
                        return Ended::Lost { reason: describe(&status), useful };
                    }
                    None => {
                        let reason = "the control plane ended the stream".to_owned();
                        return Ended::Lost { reason, useful };
                    }
                },
                permit = events.reserve(), if untold.is_some() => match (permit, untold.take()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return Ended::ByOwner,
                },
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.grant(wish),
                    None => return Ended::ByOwner,
                },
            }
        }
    }

    fn hear(&mut self, response: IncomingResponse) -> Option<ClientEvent> {
        let type_url = response.type_url.clone();
        match self.stream.on_response(response) {
            Received::Update(update) => Some(ClientEvent::Update(update)),
            Received::Refused(reason) => {
                tracing::warn!(%type_url, %reason, "response of the control plane rejected");
                None
            }
            Received::Ignored => {
                tracing::warn!(%type_url, "the control plane sent a type that nobody asked for");
                None
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Subscribe(type_url, interest) => self.stream.subscribe(type_url, interest),
            Wish::Answer(update, verdict) => self.stream.on_verdict(&update, verdict),
            Wish::Forget(type_url, name) => self.stream.forget(&type_url, &name),
        }
    }

    /// Waits for `work` while taking wishes; none when the owner is gone.
    async fn attending<Output>(&mut self, work: impl Future<Output = Output>) -> Option<Output> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return Some(output),
                wish = self.wishes.recv() => self.grant(wish?),
            }
        }
    }

    /// Tells the owner, taking its wishes meanwhile; none when it is gone.
    async fn tell(&mut self, event: ClientEvent) -> Option<()> {
        let events = self.events.clone();
        self.attending(async move { events.send(event).await }).await?.ok()
    }
}

/// The requests of one connection on their way out.
struct Sending {
    /// Goes with the first request, or with every one.
    node: Option<Node>,
    told: NodeTold,
    pace: Option<Pace>,
    next: Option<crate::Request>,
    requests: mpsc::Sender<Heard>,
}

impl Sending {
    /// Sends all that is to be sent, then waits for ever. May be dropped at any point and called
    /// again: a request leaves `next` only when it has its place in the queue.
    async fn flush(&mut self, stream: &mut ClientStream) {
        loop {
            if self.next.is_none() {
                self.next = stream.next_request();
            }
            if self.next.is_none() {
                return std::future::pending().await;
            }
            if let Some(pace) = &mut self.pace {
                pace.turn().await;
            }
            let Ok(permit) = self.requests.reserve().await else {
                // The connection is gone; its inbound side tells why.
                return std::future::pending().await;
            };
            if let Some(request) = self.next.take() {
                let node = match self.told {
                    NodeTold::First => self.node.take(),
                    NodeTold::Always => self.node.clone(),
                };
                if let Some(pace) = &mut self.pace {
                    pace.spend();
                }
                permit.send(Heard { node, request });
            }
        }
    }
}

type Inbound = Pin<Box<dyn Stream<Item = Result<IncomingResponse, Status>> + Send>>;

/// The gRPC method that a client calls, by the form of the conversation.
enum Method {
    Delta(&'static str),
    State(&'static str),
}

fn paths(settings: &ClientSettings) -> Result<Method, String> {
    const DELTA: &str = concat!(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService",
        "/DeltaAggregatedResources"
    );
    const STATE: &str = concat!(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService",
        "/StreamAggregatedResources"
    );
    let methods = match &settings.service {
        Service::Aggregated => Methods { delta: DELTA, state: Some(STATE) },
        Service::Of(type_url) => {
            let methods = type_url.methods();
            methods.ok_or_else(|| format!("{type_url} has no service of its own"))?
        }
    };
    match settings.variant {
        Variant::Delta => Ok(Method::Delta(methods.delta)),
        Variant::StateOfTheWorld => methods
            .state
            .map(Method::State)
            .ok_or_else(|| "this type has no state-of-the-world form: use DELTA_GRPC".to_owned()),
    }
}

async fn open(
    dialled: Dialled,
    method: Method,
    requests: mpsc::Receiver<Heard>,
) -> Result<Inbound, Status> {
    let mut client =
        tonic::client::Grpc::new(dialled.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    client.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
    let requests = ReceiverStream::new(requests);
    let bearer = dialled.bearer.as_deref();
    match method {
        Method::Delta(path) => {
            let messages = requests.filter_map(async |heard| wire::delta_message(heard));
            let request = authorized(Box::pin(messages), bearer)?;
            let codec =
                tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
            let path = PathAndQuery::from_static(path);
            let inbound = client.streaming(request, path, codec).await?.into_inner();
            Ok(Box::pin(inbound.map(|message| message.map(wire::incoming_delta))))
        }
        Method::State(path) => {
            let messages = requests.filter_map(async |heard| wire::state_message(heard));
            let request = authorized(Box::pin(messages), bearer)?;
            let codec = tonic_prost::ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
            let path = PathAndQuery::from_static(path);
            let inbound = client.streaming(request, path, codec).await?.into_inner();
            Ok(Box::pin(inbound.map(|message| message.map(wire::read_response))))
        }
    }
}

fn authorized<Body>(body: Body, bearer: Option<&str>) -> Result<Request<Body>, Status> {
    let mut request = Request::new(body);
    if let Some(token) = bearer {
        let unusable = || Status::unauthenticated("the token cannot stand in a header");
        authorize(&mut request, token).ok_or_else(unusable)?;
    }
    Ok(request)
}

/// Presents a token; none when it cannot stand in a header.
pub(crate) fn authorize<Body>(request: &mut Request<Body>, token: &str) -> Option<()> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().ok()?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Some(())
}

fn describe(status: &Status) -> String {
    let text = format!("{:?}: {}", status.code(), status.message());
    match status.source() {
        Some(source) => format!("{text}: {}", chain(source)),
        None => text,
    }
}

/// An error with its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
