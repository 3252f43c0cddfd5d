//! Requests that are gathered before they go on.

use std::num::NonZeroU32;

/// Gathers the whole of a request's content before the next step sees it.
/// Source: `envoy.extensions.filters.http.buffer.v3.Buffer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes of content beyond which a request is answered with 413. Envoy: must be set.
    pub request_bytes_max: NonZeroU32,
}
