//! Documents that the proxy itself fetches, through its own clusters.

use std::rc::Rc;

use bytes::Bytes;
use iako_http::Method;

use crate::callout::CallError;
use crate::callout::http::{Question, ask, parts_of};
use crate::worker::Worker;

/// Longest answer that is taken. Key sets are a few KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the address is no http or https URL")]
    Address,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer has status {0}")]
    Status(u16),
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
    let (_, authority, path) = parts_of(url).ok_or(FetchError::Address)?;
    let question = Question {
        cluster,
        method: Method::Get,
        authority,
        path,
        fields: &[("accept", b"application/json")],
        body: None,
        limit: None,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = ask(worker, &question).await?;
    if answer.status != 200 {
        return Err(FetchError::Status(answer.status));
    }
    Ok(answer.body)
}
