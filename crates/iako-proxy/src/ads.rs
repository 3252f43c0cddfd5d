//! Conversations with servers of configuration: what is asked for, and what is answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config as config;
use iako_proxy_config::ConfigOrigin;
use iako_rt::{Rng, Scope, clock};
use iako_traffic::PickRequest;
use iako_xds::{
    Backoff, Client, ClientEvent, ClientHandle, ClientSettings, DialError, Dialled, Interest,
    NodeTold, Service, Update, Variant, Verdict, transport::channel,
};
use iako_xds_codec::RawResource;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

use crate::{
    config_task::{Event, ResourceKind, ResourceUpdate, Wanted, WantedOfOrigin},
    shared::Shared,
    transport::{ConnectOptions, Stream, connect},
};

/// A connection to the control plane that is being opened.
pub type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, DialError>> + Send>>;

/// How to reach a control plane other than by the bootstrap's cluster.
#[derive(Clone)]
pub struct ControlPlane {
    /// The form of the conversation.
    pub variant: Variant,
    /// With which messages the node is told.
    pub node_told: NodeTold,
    /// How fast requests go out: so many at once, then one each time this has passed; not limited
    /// when absent.
    pub pace: Option<(u32, Duration)>,
    /// Opens a connection; called for every attempt, so that it can pick up new certificates.
    pub dial: Arc<dyn Fn() -> Dialling + Send + Sync>,
}

impl ControlPlane {
    /// A control plane that is told who the proxy is once a stream, and asked as fast as may be.
    #[must_use]
    pub fn new(variant: Variant, dial: Arc<dyn Fn() -> Dialling + Send + Sync>) -> Self {
        Self { variant, node_told: NodeTold::First, pace: None, dial }
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("variant", &self.variant).finish_non_exhaustive()
    }
}

/// What a conversation needs.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// Which service of the server is spoken to.
    pub(crate) service: Service,
    /// As which the server is known to whoever wants something of it.
    pub(crate) origin: ConfigOrigin,
    pub(crate) node: config::Node,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) wanted: watch::Receiver<WantedOfOrigin>,
}

/// Reaches a server by clusters of the bootstrap, plain or through TLS.
pub(crate) fn by_cluster(shared: &Arc<Shared>, source: &config::GrpcSource) -> ControlPlane {
    let (shared, names) = (Arc::clone(shared), source.clusters.clone());
    let node_told =
        if source.node_on_first_message_only { NodeTold::First } else { NodeTold::Always };
    ControlPlane {
        variant: if source.delta { Variant::Delta } else { Variant::StateOfTheWorld },
        node_told,
        pace: source
            .rate_limit
            .map(|rate| (rate.burst, Duration::from_millis(rate.pause_ms.into()))),
        dial: Arc::new(move || {
            let (shared, names) = (Arc::clone(&shared), names.clone());
            Box::pin(dial_first(shared, names))
        }),
    }
}

/// Opens a connection by the first cluster by which one can be opened.
async fn dial_first(shared: Arc<Shared>, names: Vec<String>) -> Result<Dialled, DialError> {
    let mut failed: Option<DialError> = None;
    for name in names {
        let authority = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let shared = Arc::clone(&shared);
        let dial = move || open(Arc::clone(&shared), name.clone());
        match channel(&authority, dial).await {
            Ok(channel) => return Ok(Dialled { channel, bearer: None }),
            Err(error) => failed = Some(error.into()),
        }
    }
    Err(failed.unwrap_or_else(|| "no cluster reaches the server".into()))
}

async fn open(shared: Arc<Shared>, name: String) -> io::Result<Stream> {
    let snapshot = shared.published.load_full();
    let cluster = snapshot.cluster(&name);
    let cluster =
        cluster.ok_or_else(|| io::Error::other(format!("the cluster {name:?} does not serve")))?;
    let balancer = cluster.balancer();
    let mut rng = Rng::from_system();
    let pick = balancer.pick(&PickRequest::default(), clock::now(), &mut || rng.next_u64());
    let endpoint = pick.map(|pick| &pick.endpoint.endpoint);
    let endpoint =
        endpoint.ok_or_else(|| io::Error::other(format!("{name:?} has no healthy endpoint")))?;
    let h2: &[&[u8]] = &[b"h2"];
    let options = ConnectOptions { alpn: Some(h2), ..ConnectOptions::default() };
    let connected = connect(cluster, endpoint, options).await.map_err(io::Error::other)?;
    Ok(connected.stream)
}

/// Starts a conversation; it ends when its task is aborted, or with the scope.
pub(crate) fn start(
    scope: &Scope,
    control_plane: ControlPlane,
    conversation: Conversation,
) -> AbortHandle {
    let settings = ClientSettings {
        node: node_message(&conversation.node),
        variant: control_plane.variant,
        service: conversation.service.clone(),
        node_told: control_plane.node_told,
        pace: control_plane.pace,
        backoff: Backoff::default(),
    };
    let (client, handle) = Client::new(settings);
    let dial = control_plane.dial;
    // The client ends when its handle is dropped, which the task below holds.
    scope.spawn("xds client", client.run(move || dial(), Rng::from_system()));
    scope.spawn("xds", converse(handle, conversation))
}

async fn converse(mut handle: ClientHandle, mut parts: Conversation) {
    let mut lifetimes = Lifetimes::default();
    parts.wanted.mark_changed();
    loop {
        let told = tokio::select! {
            event = handle.next() => match event {
                None => return,
                Some(ClientEvent::Connected) => parts.say_connected(true).await,
                Some(ClientEvent::Disconnected { reason, retry_in }) => {
                    tracing::warn!(server = %parts.origin, %reason, ?retry_in,
                        "not connected; the last configuration stays");
                    parts.say_connected(false).await
                }
                Some(ClientEvent::Update(update)) => {
                    lifetimes.note(&update, clock::now());
                    let Some(verdict) = parts.judge(&update).await else { return };
                    handle.answer(update, verdict).await;
                    Some(())
                }
            },
            changed = parts.wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = parts.wanted.borrow_and_update().clone();
                for kind in ResourceKind::ALL {
                    handle.subscribe(kind.type_url(), interest(wanted.get(&kind))).await;
                }
                Some(())
            }
            () = lifetimes.wait() => {
                let over = lifetimes.take_over(clock::now());
                let told = parts.remove_all(&over).await;
                for (kind, name) in over {
                    handle.forget(kind.type_url(), name).await;
                }
                told
            }
        };
        if told.is_none() {
            return;
        }
    }
}

fn interest(wanted: Option<&Wanted>) -> Interest {
    match wanted {
        Some(Wanted::Everything) => Interest::Everything,
        Some(Wanted::EverythingAnd(names)) => Interest::EverythingAnd(shared_names(names)),
        Some(Wanted::Names(names)) => Interest::Names(shared_names(names)),
        None => Interest::Names(BTreeSet::new()),
    }
}

fn shared_names(names: &BTreeSet<String>) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(name.as_str())).collect()
}

/// Until when resources are good whose server said so.
#[derive(Debug, Default)]
struct Lifetimes(BTreeMap<(ResourceKind, String), Instant>);

impl Lifetimes {
    fn note(&mut self, update: &Update, now: Instant) {
        let Some(kind) = ResourceKind::of(&update.type_url) else { return };
        for resource in &update.resources {
            self.0.remove(&(kind, resource.name.to_string()));
        }
        for name in &update.removed {
            self.0.remove(&(kind, name.to_string()));
        }
        for (name, lifetime) in &update.lifetimes {
            self.0.insert((kind, name.to_string()), now + *lifetime);
        }
    }

    /// Waits until the first one is over, for ever while there is none.
    async fn wait(&self) {
        match self.0.values().min() {
            Some(at) => tokio::time::sleep_until((*at).into()).await,
            None => std::future::pending().await,
        }
    }

    fn take_over(&mut self, now: Instant) -> Vec<(ResourceKind, String)> {
        let over = |at: &Instant| *at <= now;
        let names: Vec<_> =
            self.0.iter().filter(|(_, at)| over(at)).map(|(name, _)| name.clone()).collect();
        self.0.retain(|_, at| !over(at));
        names
    }
}

impl Conversation {
    /// None when the configuration task has ended.
    #[expect(clippy::fn_params_excessive_bools, reason = "it is the event's only fact")]
    async fn say_connected(&self, connected: bool) -> Option<()> {
        let event = Event::Connected { origin: self.origin.clone(), connected };
        self.events.send(event).await.ok()
    }

    /// Hands an update to the configuration task; none when that has ended.
    async fn judge(&self, update: &Update) -> Option<Verdict> {
        let Some(kind) = ResourceKind::of(&update.type_url) else {
            let message = format!("{} was not asked for", update.type_url);
            return Some(Verdict::Rejected { message });
        };
        let body = |bytes: &bytes::Bytes| RawResource {
            type_url: update.type_url.as_str().to_owned(),
            value: bytes.to_vec(),
        };
        let changed = update.resources.iter().map(|resource| {
            (resource.name.to_string(), resource.version.to_string(), body(&resource.body))
        });
        let (sender, verdict) = oneshot::channel();
        let told = ResourceUpdate {
            kind,
            origin: self.origin.clone(),
            version: update.version.to_string(),
            changed: changed.collect(),
            removed: update.removed.iter().map(ToString::to_string).collect(),
            aliases: update
                .aliases
                .iter()
                .map(|(alias, name)| (alias.to_string(), name.to_string()))
                .collect(),
            verdict: sender,
        };
        self.events.send(Event::Update(told)).await.ok()?;
        let refused = verdict.await.ok()?;
        Some(if refused.is_empty() {
            Verdict::Accepted
        } else {
            let message: Vec<_> = refused.values().map(String::as_str).collect();
            Verdict::PartlyAccepted {
                message: message.join("; "),
                rejected: refused.into_keys().map(Arc::from).collect(),
            }
        })
    }

    /// Takes resources away whose time is over; none when the configuration task has ended.
    async fn remove_all(&self, over: &[(ResourceKind, String)]) -> Option<()> {
        for (kind, name) in over {
            tracing::warn!(?kind, name, "the server did not say in time that it is still good");
            let (verdict, _unread) = oneshot::channel();
            let update = ResourceUpdate {
                kind: *kind,
                origin: self.origin.clone(),
                version: String::new(),
                changed: Vec::new(),
                removed: vec![name.clone()],
                aliases: BTreeMap::new(),
                verdict,
            };
            self.events.send(Event::Update(update)).await.ok()?;
        }
        Some(())
    }
}

/// What a server may make use of. Source: xDS protocol, "client features".
const CLIENT_FEATURES: [&str; 2] =
    ["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"];

/// The node as a message, with what servers want to know of a client.
fn node_message(node: &config::Node) -> iako_xds::Node {
    let mut message = iako_xds::Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: Some(to_struct(&node.metadata)),
        user_agent_name: "iako".to_owned(),
        client_features: CLIENT_FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        ..iako_xds::Node::default()
    };
    if !node.locality.is_empty() {
        let locality = message.locality.get_or_insert_default();
        locality.region.clone_from(&node.locality.region);
        locality.zone.clone_from(&node.locality.zone);
        locality.sub_zone.clone_from(&node.locality.sub_zone);
    }
    message
}

fn to_struct(members: &serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    let fields = members.iter().map(|(name, value)| (name.clone(), to_value(value)));
    prost_types::Struct { fields: fields.collect() }
}

fn to_value(value: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(truth) => Kind::BoolValue(*truth),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        serde_json::Value::Object(members) => Kind::StructValue(to_struct(members)),
    };
    prost_types::Value { kind: Some(kind) }
}
