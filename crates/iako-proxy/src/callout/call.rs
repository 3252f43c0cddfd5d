//! One request of the proxy's own on a connection of a cluster.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use iako_http::{BodyEvent, Fields, Known, RequestEdits, RequestHead, ResponseHead, Version};
use iako_proxy_config::{EndpointAddress, RoutePriority};
use iako_rt::clock;
use iako_traffic::{ActiveRequest, Balancer, EndpointState, Outcome, PickRequest};

use super::CallError;
use crate::http::downstream::Content;
use crate::snapshot::{RequestOrigin, UpstreamCluster};
use crate::upstream::pool::{Lease, Pools, Repeat, Want};
use crate::upstream::{Upstream, UpstreamError};
use crate::worker::Worker;

/// A request that is under way. Dropped before its end, it is cancelled.
#[derive(Debug)]
pub(crate) struct Call {
    lease: Lease,
    cluster: Arc<UpstreamCluster>,
    host: EndpointAddress,
    balancer: Arc<Balancer>,
    state: Arc<EndpointState>,
    /// Counts it at its endpoint.
    _open: ActiveRequest,
    /// Chance, for outlier detection.
    worker: Rc<Worker>,
}

/// What is asked, and of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The cluster, by name.
    pub(crate) cluster: &'a str,
    /// What is spoken where the cluster leaves that to its clients.
    pub(crate) version: Version,
    /// The head of the request.
    pub(crate) head: &'a RequestHead,
    /// What follows it.
    pub(crate) content: Content,
}

impl Call {
    /// Picks an endpoint, takes a connection and queues the head.
    ///
    /// # Errors
    /// When there is no cluster, no endpoint, or no connection.
    pub(crate) async fn begin(worker: &Rc<Worker>, asked: Asked<'_>) -> Result<Self, CallError> {
        let cluster = {
            let snapshot = worker.snapshot();
            snapshot.cluster(asked.cluster).map(Arc::clone)
        };
        let cluster = cluster.ok_or_else(|| CallError::NoCluster(asked.cluster.to_owned()))?;
        let balancer = cluster.balancer();
        let mut draw = || worker.with_rng(iako_rt::Rng::next_u64);
        let pick = balancer.pick(&PickRequest::default(), clock::now(), &mut draw);
        let Some(pick) = pick else {
            cluster.stats.cx_none_healthy.inc();
            return Err(CallError::NoEndpoint);
        };
        cluster.note_pick(pick.notes);
        let state = Arc::clone(&pick.endpoint.state);
        let open = state.begin();
        let want = Want {
            cluster: &cluster,
            endpoint: &pick.endpoint.endpoint,
            state: &state,
            priority: RoutePriority::Default,
            version: asked.version,
            host: asked.head.authority(),
            client: None,
            istio_alpn: cluster.config.metadata.alpn_override,
            owner: None,
            repeat: Repeat::Unsafe,
        };
        let lease = Pools::acquire(worker, &want).await?;
        let mut call = Self {
            lease,
            host: pick.endpoint.endpoint.address.clone(),
            state: Arc::clone(&state),
            _open: open,
            worker: Rc::clone(worker),
            balancer: Arc::clone(&balancer),
            cluster: Arc::clone(&cluster),
        };
        let edits = RequestEdits::default();
        call.lease.upstream.send_head(asked.head, &edits, asked.content)?;
        Ok(call)
    }

    /// Who is asked.
    pub(crate) const fn host(&self) -> &EndpointAddress {
        &self.host
    }

    /// The request's and the answer's bytes.
    pub(crate) fn upstream(&mut self) -> &mut Upstream {
        &mut self.lease.upstream
    }

    /// Writes what is queued and waits for the head of the answer, which is counted.
    ///
    /// # Errors
    /// When the service goes away or breaks the protocol.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, CallError> {
        let upstream = &mut self.lease.upstream;
        let head = async {
            poll_fn(|context| upstream.poll_flush(context)).await?;
            poll_fn(|context| upstream.poll_final_head(context)).await
        };
        let head = head.await;
        self.count(head.as_ref());
        Ok(head?)
    }

    /// Counts how the request was answered.
    pub(crate) fn count(&self, answer: Result<&ResponseHead, &UpstreamError>) {
        let stats = &self.cluster.stats;
        let outcome = match answer {
            Ok(head) => {
                self.cluster.count_response(head.status(), RequestOrigin::Internal);
                if head.fields().contains(Known::XEnvoyImmediateHealthCheckFail) {
                    self.cluster.accuse(&self.state);
                }
                Outcome::Response(head.status())
            }
            Err(error) => {
                stats.rq_rx_reset.inc();
                self.lease.failed(error);
                Outcome::LocalFailure
            }
        };
        self.report(outcome, clock::now());
    }

    /// Counts that the service took too long.
    pub(crate) fn late(&self) {
        self.cluster.stats.rq_timeout.inc();
        self.report(Outcome::Timeout, clock::now());
    }

    fn report(&self, outcome: Outcome, now: Instant) {
        let mut draw = || self.worker.with_rng(iako_rt::Rng::unit);
        let when = (now, &mut draw as &mut dyn FnMut() -> f64);
        self.cluster.record(&self.balancer, &self.state, outcome, when);
    }

    /// Reads the rest of the answer, of at most so many bytes, and gives the connection back.
    ///
    /// # Errors
    /// When the answer is longer, or breaks off.
    pub(crate) async fn finish(
        mut self,
        bytes_max: usize,
    ) -> Result<(Bytes, Option<Box<Fields>>), CallError> {
        let (mut body, mut trailers) = (BytesMut::new(), None);
        let upstream = &mut self.lease.upstream;
        loop {
            match poll_fn(|context| upstream.poll_body(context)).await? {
                BodyEvent::Data(data) if body.len().saturating_add(data.len()) > bytes_max => {
                    return Err(CallError::TooLong(bytes_max));
                }
                BodyEvent::Data(data) => body.extend_from_slice(&data),
                BodyEvent::Trailers(fields) => trailers = Some(fields),
                BodyEvent::End => break,
            }
        }
        self.lease.release();
        Ok((body.freeze(), trailers))
    }
}
