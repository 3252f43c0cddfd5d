//! What answers of the proxy itself look like.

use bytes::Bytes;

use crate::{AccessLogFilter, BodyFormat, HeaderValueOption};

/// Changes to answers that no upstream gave.
/// Source: `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// In order; the first whose filter takes the request counts.
    pub mappers: Vec<ReplyMapper>,
    /// How bodies are written, where no mapper says it.
    pub format: Option<BodyFormat>,
}

/// A change to some answers.
/// Source: `envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyMapper {
    /// Which ones; all when absent.
    pub filter: Option<AccessLogFilter>,
    /// The status in place of the answer's own, 200 to 599.
    pub status: Option<u16>,
    /// The body in place of the answer's own.
    pub body: Option<Bytes>,
    /// How the body is written, in place of the general way.
    pub format: Option<BodyFormat>,
    /// Headers that the answer gets.
    pub headers: Vec<HeaderValueOption>,
}
