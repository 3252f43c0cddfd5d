//! Responses in place of others, compiled.

use bytes::Bytes;
use iako_proxy_config::{CustomResponse, HeaderMutations, LocalResponse, ResponseDetails};

use crate::http::local_reply::BodyWriter;

/// A response in place of another, compiled.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) status: Option<u16>,
    pub(crate) body: Bytes,
    pub(crate) writer: Option<BodyWriter>,
    pub(crate) headers: HeaderMutations,
    pub(crate) details: ResponseDetails,
}

impl Replacement {
    /// Compiles a policy. A format that cannot be read counts as none; it was read before.
    pub(crate) fn compile(policy: &LocalResponse) -> Self {
        Self {
            status: policy.status,
            body: policy.body.clone().unwrap_or_default(),
            writer: policy.format.as_ref().and_then(|format| BodyWriter::compile(format).ok()),
            headers: HeaderMutations {
                response_add: policy.headers.clone(),
                ..HeaderMutations::default()
            },
            details: policy.details.clone(),
        }
    }
}

/// The settings that count: those of a route in place of the filter's, unless they name nothing.
pub(crate) fn settings_of<'s>(
    own: &'s CustomResponse,
    route: Option<&'s CustomResponse>,
) -> &'s CustomResponse {
    route.filter(|route| route.policies.is_some()).unwrap_or(own)
}
