//! The conversation with the control plane: what is asked for, and what is answered.

use std::{collections::BTreeSet, fmt, future::Future, io, pin::Pin, sync::Arc};

use iako_proxy_config as config;
use iako_rt::{Rng, Scope, clock};
use iako_traffic::PickRequest;
use iako_xds::{
    Backoff, Client, ClientEvent, ClientHandle, ClientSettings, DialError, Dialled, Interest,
    TypeUrl, Update, Variant, Verdict, transport::channel,
};
use prost_types::Any;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    config_task::{Event, ResourceKind, ResourceUpdate, Subscriptions},
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
    /// Opens a connection; called for every attempt, so that it can pick up new certificates.
    pub dial: Arc<dyn Fn() -> Dialling + Send + Sync>,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("variant", &self.variant).finish_non_exhaustive()
    }
}

/// What the conversation needs.
#[derive(Debug)]
pub(crate) struct AdsParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) control_plane: ControlPlane,
    pub(crate) listeners: bool,
    pub(crate) clusters: bool,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) subscriptions: watch::Receiver<Subscriptions>,
}

/// Reaches the control plane by a cluster of the bootstrap, plain or through TLS.
pub(crate) fn by_cluster(shared: &Arc<Shared>, ads: &config::AdsConfig) -> ControlPlane {
    let (shared, name) = (Arc::clone(shared), ads.cluster.clone());
    ControlPlane {
        variant: if ads.delta { Variant::Delta } else { Variant::StateOfTheWorld },
        dial: Arc::new(move || {
            let (shared, name) = (Arc::clone(&shared), name.clone());
            Box::pin(async move {
                let authority = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                let dial = move || open(Arc::clone(&shared), name.clone());
                let channel = channel(&authority, dial).await?;
                Ok(Dialled { channel, bearer: None })
            })
        }),
    }
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

/// Starts the conversation; it lasts as long as the scope.
pub(crate) fn start(scope: &Scope, parts: AdsParts) {
    let settings = ClientSettings {
        node: node_message(&parts.shared.node.node),
        variant: parts.control_plane.variant,
        backoff: Backoff::default(),
    };
    let (client, handle) = Client::new(settings);
    let dial = Arc::clone(&parts.control_plane.dial);
    scope.spawn("xds client", client.run(move || dial(), Rng::from_system()));
    scope.spawn("xds", converse(handle, parts));
}

async fn converse(mut handle: ClientHandle, mut parts: AdsParts) {
    if parts.clusters {
        handle.subscribe(TypeUrl::CLUSTER, Interest::Everything).await;
    }
    if parts.listeners {
        handle.subscribe(TypeUrl::LISTENER, Interest::Everything).await;
    }
    parts.subscriptions.mark_changed();
    loop {
        let event = tokio::select! {
            event = handle.next() => event,
            changed = parts.subscriptions.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = parts.subscriptions.borrow_and_update().clone();
                handle.subscribe(TypeUrl::ENDPOINTS, named(&wanted.endpoints)).await;
                handle.subscribe(TypeUrl::ROUTES, named(&wanted.routes)).await;
                handle.subscribe(TypeUrl::SECRET, named(&wanted.secrets)).await;
                continue;
            }
        };
        let told = match event {
            None => return,
            Some(ClientEvent::Connected) => parts.events.send(Event::Connected(true)).await,
            Some(ClientEvent::Disconnected { reason, retry_in }) => {
                tracing::warn!(%reason, ?retry_in, "no control plane; the last configuration stays");
                parts.events.send(Event::Connected(false)).await
            }
            Some(ClientEvent::Update(update)) => {
                let verdict = judge(&parts.events, &update).await;
                let Some(verdict) = verdict else { return };
                handle.answer(update, verdict).await;
                Ok(())
            }
        };
        if told.is_err() {
            return;
        }
    }
}

fn named(names: &BTreeSet<String>) -> Interest {
    Interest::Names(names.iter().map(|name| Arc::from(name.as_str())).collect())
}

/// Hands an update to the configuration task; none when that has ended.
async fn judge(events: &mpsc::Sender<Event>, update: &Update) -> Option<Verdict> {
    let kind = match &update.type_url {
        url if *url == TypeUrl::CLUSTER => ResourceKind::Cluster,
        url if *url == TypeUrl::ENDPOINTS => ResourceKind::Endpoints,
        url if *url == TypeUrl::LISTENER => ResourceKind::Listener,
        url if *url == TypeUrl::ROUTES => ResourceKind::Routes,
        url if *url == TypeUrl::SECRET => ResourceKind::Secret,
        other => {
            let message = format!("{other} was not asked for");
            return Some(Verdict::Rejected { message });
        }
    };
    let body = |bytes: &bytes::Bytes| Any {
        type_url: update.type_url.as_str().to_owned(),
        value: bytes.to_vec(),
    };
    let changed = update.resources.iter().map(|resource| {
        (resource.name.to_string(), resource.version.to_string(), body(&resource.body))
    });
    let (sender, verdict) = oneshot::channel();
    let told = ResourceUpdate {
        kind,
        changed: changed.collect(),
        removed: update.removed.iter().map(ToString::to_string).collect(),
        verdict: sender,
    };
    events.send(Event::Update(told)).await.ok()?;
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

/// The node as a message, with what servers want to know of a client.
fn node_message(node: &config::Node) -> iako_xds::Node {
    let mut message = iako_xds::Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: Some(to_struct(&node.metadata)),
        user_agent_name: "iako".to_owned(),
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
