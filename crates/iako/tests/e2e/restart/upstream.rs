//! A server that answers requests, echoes streams, and opens WebSockets.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use iako_rt::Scope;
use tokio::{io, net::TcpListener, runtime::Runtime};

/// Ends when it is dropped.
pub(super) struct Upstream {
    _scope: Scope,
    _runtime: Runtime,
}

impl Upstream {
    pub(super) fn start(address: SocketAddr) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let scope = Scope::new();
        let serving = serve(address, scope.clone());
        runtime.block_on(serving);
        Self { _scope: scope, _runtime: runtime }
    }
}

/// Listens, and serves in tasks of the scope.
async fn serve(address: SocketAddr, scope: Scope) {
    let listener = TcpListener::bind(address).await.unwrap();
    let connections = scope.clone();
    scope.spawn("upstream", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let tunnels = connections.clone();
            let service = service_fn(move |request| {
                let tunnels = tunnels.clone();
                async move { Ok::<_, Infallible>(answer(request, &tunnels)) }
            });
            connections.spawn("connection", async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let stream = TokioIo::new(stream);
                drop(server.serve_connection_with_upgrades(stream, service).await);
            });
        }
    });
}

fn answer(
    mut request: Request<Incoming>,
    tunnels: &Scope,
) -> Response<BoxBody<Bytes, hyper::Error>> {
    let nothing = || Full::new(Bytes::from_static(b"ok")).map_err(|never| match never {}).boxed();
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tunnels.spawn("tunnel", async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut from, mut to) = io::split(TokioIo::new(upgraded));
            drop(io::copy(&mut from, &mut to).await);
        });
        let mut response = Response::new(nothing());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let value = HeaderValue::from_static;
        response.headers_mut().insert(header::CONNECTION, value("upgrade"));
        response.headers_mut().insert(header::UPGRADE, value("websocket"));
        return response;
    }
    if request.uri().path().starts_with("/grpc") {
        return Response::new(request.into_body().boxed());
    }
    Response::new(nothing())
}
