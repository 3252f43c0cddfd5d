//! Requests of the proxy itself, through its own clusters.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use iako_http::{
    BodyEvent, BodyLength, FieldsBuilder, Known, Method, RequestEdits, RequestHead, RequestParts,
    Scheme, Version,
};
use iako_proxy_config::RoutePriority;
use iako_rt::clock;
use iako_traffic::PickRequest;

use super::downstream::Content;
use crate::upstream::UpstreamError;
use crate::upstream::pool::{AcquireError, Pools, Repeat, Want};
use crate::worker::Worker;

/// Longest answer that is taken. Key sets are a few KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the address is no http or https URL")]
    Address,
    #[error("the cluster {0} does not exist")]
    NoCluster(String),
    #[error("no endpoint of the cluster takes requests")]
    NoEndpoint,
    #[error("no connection")]
    Acquire(#[from] AcquireError),
    #[error("no answer")]
    Upstream(#[from] UpstreamError),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

/// Fetches a document by GET through a cluster.
///
/// # Errors
/// When the answer is not 200 or does not come; the caller bounds the time.
pub(crate) async fn get(
    worker: &Rc<Worker>,
    cluster: &str,
    url: &str,
) -> Result<Bytes, FetchError> {
    let head = request(url).ok_or(FetchError::Address)?;
    let snapshot = worker.snapshot();
    let cluster =
        snapshot.cluster(cluster).ok_or_else(|| FetchError::NoCluster(cluster.to_owned()))?;
    let balancer = cluster.balancer();
    let mut draw = || worker.with_rng(iako_rt::Rng::next_u64);
    let pick = balancer
        .pick(&PickRequest::default(), clock::now(), &mut draw)
        .ok_or(FetchError::NoEndpoint)?;
    let want = Want {
        cluster,
        endpoint: &pick.endpoint.endpoint,
        state: &pick.endpoint.state,
        priority: RoutePriority::Default,
        version: Version::Http11,
        host: head.authority(),
        client: None,
        istio_alpn: false,
        owner: None,
        repeat: Repeat::Unsafe,
    };
    let mut lease = Pools::acquire(worker, &want).await?;
    let upstream = &mut lease.upstream;
    upstream.send_head(&head, &RequestEdits::default(), Content::None)?;
    upstream.send_end(None)?;
    poll_fn(|context| upstream.poll_flush(context)).await?;
    let answer = poll_fn(|context| upstream.poll_final_head(context)).await?;
    if answer.status() != 200 {
        return Err(FetchError::Status(answer.status()));
    }
    let mut body = BytesMut::new();
    loop {
        match poll_fn(|context| upstream.poll_body(context)).await? {
            BodyEvent::Data(data) if body.len() + data.len() > ANSWER_BYTES_MAX => {
                return Err(FetchError::TooLong);
            }
            BodyEvent::Data(data) => body.extend_from_slice(&data),
            BodyEvent::Trailers(_) => {}
            BodyEvent::End => break,
        }
    }
    lease.release();
    Ok(body.freeze())
}

fn request(url: &str) -> Option<RequestHead> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = Scheme::parse(scheme.as_bytes())?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let path = if path.is_empty() { "/" } else { path };
    let mut fields = FieldsBuilder::with_capacity(128);
    fields.push(Known::Accept, b"application/json");
    let parts = RequestParts {
        method: Method::Get,
        scheme: Some(scheme),
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        protocol: b"",
        length: BodyLength::Empty,
    };
    Some(RequestHead::from_parts(parts, fields))
}
