//! The services of a control plane: streams of messages around [`Stream`](super::stream::Stream).

#![expect(clippy::disallowed_methods, reason = "what serves a case ends with its runtime")]

use std::{
    net::Ipv4Addr,
    pin::Pin,
    sync::{Arc, mpsc::Sender as Ready},
};

use futures_util::{Stream as Messages, StreamExt as _};
use iako_xds::transport::{self, Accepted, Peer};
use iako_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{
        AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
    },
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Board, Change, PORT, stream::Stream};

/// Serves until it is over.
pub(super) fn run(
    board: Arc<Board>,
    address: Ipv4Addr,
    ready: &Ready<()>,
    over: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind((address, PORT)).await.unwrap();
        ready.send(()).unwrap();
        let incoming = TcpListenerStream::new(listener);
        let incoming = incoming.map(|io| io.map(|io| Accepted::new(io, Peer::default())));
        let service = AggregatedDiscoveryServiceServer::new(Service(board));
        let server = transport::server().add_service(service);
        let serving = server.serve_with_incoming(incoming);
        tokio::select! {
            _ended = serving => {}
            _over = over => {}
        }
    });
    // Streams that wait for a delay need not be waited for.
    runtime.shutdown_background();
}

#[derive(Debug)]
struct Service(Arc<Board>);

type Answers<M> = Pin<Box<dyn Messages<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (answers, told) = mpsc::channel(64);
        let stream = Stream::new(Arc::clone(&self.0));
        tokio::spawn(converse(stream, request.into_inner(), answers, Stream::hear_state));
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (answers, told) = mpsc::channel(64);
        let stream = Stream::new(Arc::clone(&self.0));
        tokio::spawn(converse(stream, request.into_inner(), answers, Stream::hear_delta));
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}

/// A message that a stream can tell.
pub(super) trait Answer: Sized + Send + 'static {
    /// Something new of a type, or of all.
    fn news(stream: &mut Stream) -> Vec<Self>;
    /// A resource whose time to be told has come.
    fn due(stream: &mut Stream, key: &super::Key) -> Vec<Self>;
    /// A resource that is still good.
    fn heartbeat(stream: &mut Stream, key: &super::Key) -> Vec<Self>;
}

async fn converse<Asked, Told: Answer>(
    mut stream: Stream,
    mut requests: Streaming<Asked>,
    answers: mpsc::Sender<Result<Told, Status>>,
    hear: impl Fn(&mut Stream, Asked) -> Vec<Told>,
) {
    let mut changes = stream.board.changes.subscribe();
    let (due, mut is_due) = mpsc::channel(64);
    loop {
        let told = tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => hear(&mut stream, request),
                Some(Err(_)) | None => return,
            },
            change = changes.recv() => match change {
                Ok(Change::News) | Err(broadcast::error::RecvError::Lagged(_)) => Told::news(&mut stream),
                Ok(Change::Heartbeat(key)) => Told::heartbeat(&mut stream, &key),
                Ok(Change::Cut) | Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(key) = is_due.recv() => Told::due(&mut stream, &key),
        };
        for (key, after) in std::mem::take(&mut stream.later) {
            let due = due.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // A stream that is gone tells nothing more.
                drop(due.send(key).await);
            });
        }
        for one in told {
            if answers.send(Ok(one)).await.is_err() {
                return;
            }
        }
    }
}
