//! The API for tools and the dashboard, and the control plane's own metrics.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use iako_analyze::{Client, ExplainRequest, analyze, explain, render_explanation};
use iako_registry::MeshSnapshot;
use iako_resources::{Severity, diagnostic_json};
use iako_rt::Scope;
use iako_types::TrustDomain;
use iako_xds::{Cache, ClientStatus, Server, TypeStatus, TypeUrl, Variant};
use iako_xds_codec::to_json;
use prost_types::Any;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use crate::planner::Findings;

/// What the API can look at.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) started: Instant,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) snapshots: watch::Receiver<Arc<MeshSnapshot>>,
    pub(crate) servers: Vec<Server>,
    pub(crate) cache: Cache,
    pub(crate) findings: Arc<Findings>,
}

/// Serves the API and the metrics.
pub(crate) fn serve(
    scope: &Scope,
    api: Api,
    listener: TcpListener,
    metrics_listener: TcpListener,
    failed: &mpsc::Sender<String>,
) {
    let metrics = Router::new()
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(api.clone());
    let router = Router::new()
        .route("/healthz/ready", get(|| async { "ready\n" }))
        .route("/api/v1/status", get(status))
        .route("/api/v1/config", get(config))
        .route("/api/v1/explain", post(explained))
        .with_state(api);
    for (name, listener, router) in
        [("api", listener, router), ("metrics", metrics_listener, metrics)]
    {
        let failed = failed.clone();
        scope.spawn(name, async move {
            let ended = axum::serve(listener, router).await;
            let reason = ended.err().map_or_else(|| "it ended".to_owned(), |it| it.to_string());
            if failed.send(format!("{name}: {reason}")).await.is_err() {
                tracing::debug!(name, reason, "a server ended as the control plane did");
            }
        });
    }
}

impl Api {
    fn snapshot(&self) -> Arc<MeshSnapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    fn clients(&self) -> Vec<ClientStatus> {
        self.servers.iter().flat_map(Server::clients).collect()
    }
}

async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

async fn status(State(api): State<Api>) -> Json<Value> {
    let snapshot = api.snapshot();
    let mut diagnostics = analyze(&snapshot);
    diagnostics.extend(api.findings.all());
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "trust_domain": api.trust_domain.as_str(),
        "config": {
            "version": snapshot.version,
            "services": snapshot.services.len(),
            "planned_version": api.findings.planned_version(),
            "workloads": snapshot.workloads.len(),
            "ready_workloads": snapshot.workloads.iter().filter(|it| it.ready).count(),
            "errors": count(Severity::Error),
            "warnings": count(Severity::Warning),
        },
        "diagnostics": diagnostics.iter().map(diagnostic_json).collect::<Vec<_>>(),
        "proxies": api.clients().iter().map(proxy).collect::<Vec<_>>(),
    }))
}

fn proxy(client: &ClientStatus) -> Value {
    let now = iako_rt::clock::wall();
    let since = now.duration_since(client.connected_since).unwrap_or_default();
    json!({
        "node": *client.node_id,
        "address": client.address.map(|address| address.to_string()),
        "variant": match client.variant {
            Variant::Delta => "delta",
            Variant::StateOfTheWorld => "sotw",
        },
        "connected_seconds": since.as_secs(),
        "synced": client.up_to_date && client.types.iter().all(|it| it.rejected.is_none()),
        "types": client.types.iter().map(type_status).collect::<Vec<_>>(),
    })
}

fn type_status(status: &TypeStatus) -> Value {
    let short = status.type_url.as_str().rsplit('.').next().unwrap_or_default();
    json!({
        "type": short,
        "resources": status.resources,
        "sent": status.sent.as_ref().map(iako_xds::Version::as_str),
        "acknowledged": status.acknowledged.as_ref().map(iako_xds::Version::as_str),
        "waiting": status.waiting,
        "rejected": status.rejected.as_ref().map(|nack| json!({
            "version": nack.version.as_str(), "message": nack.message
        })),
    })
}

#[derive(Debug, Deserialize)]
struct ConfigQuery {
    /// A node's id, or `namespace/pod`.
    workload: String,
}

/// What a connected proxy is told, as proto3 JSON; private keys are left out.
async fn config(State(api): State<Api>, Query(query): Query<ConfigQuery>) -> Response {
    let wanted = query.workload.as_str();
    let snapshot = api.snapshot();
    let node = api
        .clients()
        .into_iter()
        .map(|client| client.node_id)
        .find(|node| is_meant(node, wanted, &snapshot));
    let Some(node) = node else {
        let message = format!("no connected proxy is {wanted}; iako status lists them\n");
        return (StatusCode::NOT_FOUND, message).into_response();
    };
    let Some(snapshot) = api.cache.published(&node) else {
        return (StatusCode::NOT_FOUND, "nothing was published for it yet\n").into_response();
    };
    let mut kinds = Map::new();
    for (kind, type_url) in [
        ("listeners", TypeUrl::LISTENER),
        ("routes", TypeUrl::ROUTES),
        ("clusters", TypeUrl::CLUSTER),
        ("endpoints", TypeUrl::ENDPOINTS),
    ] {
        let set = snapshot.set(&type_url);
        let resources = set.into_iter().flat_map(|set| set.iter()).map(|resource| {
            to_json(&Any { type_url: type_url.as_str().to_owned(), value: resource.body.to_vec() })
        });
        kinds.insert(kind.to_owned(), resources.collect());
    }
    let secrets = snapshot.set(&TypeUrl::SECRET);
    let names = secrets.into_iter().flat_map(|set| set.iter()).map(|it| json!({"name": *it.name}));
    kinds.insert("secrets".to_owned(), names.collect());
    Json(Value::Object(kinds)).into_response()
}

/// Whether a node is what somebody calls by its id, its pod, or what made the pod, each with or
/// without the namespace before or after.
fn is_meant(node: &str, wanted: &str, mesh: &MeshSnapshot) -> bool {
    let Some((pod, namespace)) = node.split('~').nth(2).and_then(|it| it.rsplit_once('.')) else {
        return node == wanted;
    };
    let made_by = mesh
        .workloads
        .iter()
        .find(|workload| workload.name == pod && workload.namespace.as_str() == namespace)
        .map(|workload| workload.owner.name.as_str());
    let names = std::iter::once(pod).chain(made_by);
    node == wanted
        || names.into_iter().any(|name| {
            wanted == name
                || wanted == format!("{namespace}/{name}")
                || wanted == format!("{name}.{namespace}")
        })
}

/// A request to be explained, as tools ask for it.
#[derive(Debug, Deserialize)]
struct Question {
    from: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

/// Every text names a client; whether there is such a client is found out later.
fn client(text: &str) -> Client {
    match text.parse() {
        Ok(client) => client,
        Err(never) => match never {},
    }
}

/// What would happen to a request, in the mesh as it is now.
async fn explained(State(api): State<Api>, Json(question): Json<Question>) -> Response {
    let request = ExplainRequest {
        from: client(&question.from),
        method: question.method,
        url: question.url,
        headers: question.headers,
        now: iako_rt::clock::wall(),
        draw: 0,
    };
    match explain(&api.snapshot(), &request) {
        Ok(explanation) => {
            let text = render_explanation(&request, &explanation);
            Json(json!({"explanation": explanation, "text": text})).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let clients = api.clients();
    let rejected = clients
        .iter()
        .flat_map(|client| &client.types)
        .filter(|status| status.rejected.is_some())
        .count();
    let snapshot = api.snapshot();
    let mut text = String::new();
    for (name, help, value) in [
        ("pilot_xds", "Connected proxies", clients.len()),
        ("pilot_total_xds_rejects", "Types that proxies reject now", rejected),
        ("pilot_services", "Services of the mesh", snapshot.services.len()),
        ("iako_workloads", "Workloads of the mesh", snapshot.workloads.len()),
        ("iako_config_problems", "Problems in the configuration", snapshot.diagnostics.len()),
    ] {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
