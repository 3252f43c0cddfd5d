//! A control plane that repeats what was recorded, and tells secrets on streams of their own.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use iako_rt::Scope;
use iako_xds::{
    Cache, Gate, Opening, Refusal, Resource, ResourceSet, Server, Snapshot, StreamId, TypeUrl,
    read_response,
    transport::{self, Accepted, Peer},
};
use iako_xds_codec as xds;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    codegen::{Service, http::Request, http::Uri},
    server::NamedService,
};

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn admit(&self, _: &Opening<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn closed(&self, _: &str, _: StreamId) {}
}

/// The service of secrets alone: the aggregated one under another name.
#[derive(Debug, Clone)]
struct Secrets<S>(S);

impl<S> NamedService for Secrets<S> {
    const NAME: &'static str = "envoy.service.secret.v3.SecretDiscoveryService";
}

impl<S: Service<Request<Body>>, Body> Service<Request<Body>> for Secrets<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        let service = "/envoy.service.discovery.v3.AggregatedDiscoveryService";
        let method = match request.uri().path().rsplit('/').next() {
            Some("DeltaSecrets") => "DeltaAggregatedResources",
            _ => "StreamAggregatedResources",
        };
        *request.uri_mut() = format!("{service}/{method}").parse::<Uri>().unwrap();
        self.0.call(request)
    }
}

/// What proxies are told.
#[derive(Debug)]
pub(crate) struct Plane {
    cache: Cache,
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Plane {
    pub(crate) async fn start(scope: &Scope) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cache = Cache::new();
        let server = Server::new(cache.clone(), Arc::new(Open), scope.clone());
        let aggregated = server.clone().into_service();
        let secrets = Secrets(server.clone().into_service());
        let incoming = TcpListenerStream::new(listener);
        let incoming = incoming.map(|io| io.map(|io| Accepted::new(io, Peer::default())));
        scope.spawn("plane", async move {
            let router = transport::server().add_service(aggregated).add_service(secrets);
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self { cache, server, address }
    }

    /// Tells a node these resources, by the kinds of a recording and `secrets`.
    pub(crate) fn tell<'a>(
        &self,
        node: &str,
        resources: impl IntoIterator<Item = (&'a str, &'a [Value])>,
    ) {
        let mut snapshot = Snapshot::new();
        for (kind, all) in resources {
            let set: ResourceSet = encoded(kind, all).into_iter().collect();
            snapshot = snapshot.with(type_url(kind), set);
        }
        self.cache.publish(node, snapshot);
    }

    /// What proxies rejected, in their words.
    pub(crate) fn rejections(&self) -> Vec<String> {
        let clients = self.server.clients();
        let types = clients.iter().flat_map(|client| &client.types);
        types.filter_map(|kind| Some(kind.rejected.as_ref()?.message.clone())).collect()
    }
}

pub(crate) fn type_url(kind: &str) -> TypeUrl {
    match kind {
        "listeners" => TypeUrl::LISTENER,
        "clusters" => TypeUrl::CLUSTER,
        "routes" => TypeUrl::ROUTES,
        "endpoints" => TypeUrl::ENDPOINTS,
        _ => TypeUrl::SECRET,
    }
}

/// Resources of a recording, as they go over the wire.
pub(crate) fn encoded(kind: &str, all: &[Value]) -> Vec<Resource> {
    let url = type_url(kind);
    let typed = all.iter().map(|resource| {
        let mut resource = resource.clone();
        resource["@type"] = json!(url.as_str());
        resource
    });
    let text = json!({"resources": typed.collect::<Vec<_>>(), "typeUrl": url.as_str()}).to_string();
    let response = xds::discovery_response("recording.json".as_ref(), text.as_bytes()).unwrap();
    let incoming = read_response(response).resources.unwrap();
    let names = all.iter().map(|cluster| cluster["edsClusterConfig"]["serviceName"].as_str());
    let named = incoming.into_iter().map(|one| one.resource).zip(names);
    named
        .map(|(resource, endpoints)| match endpoints {
            Some(name) => resource.with_endpoints(name),
            None => resource,
        })
        .collect()
}
