//! Responses that are replaced.

use bytes::Bytes;

use crate::{BodyFormat, HeaderValueOption, MatchTree, ResponseInput};

/// Replaces responses by what they are.
/// Source: `envoy.extensions.filters.http.custom_response.v3.CustomResponse`.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomResponse {
    /// Which response is replaced by which; none when absent.
    pub policies: Option<MatchTree<ResponsePolicy, ResponseInput>>,
}

/// A response in place of another. Source:
/// `envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResponsePolicy {
    /// Its content; empty when absent.
    pub body: Option<Bytes>,
    /// How the content is written; as it is when absent.
    pub format: Option<BodyFormat>,
    /// Its status; that of the response when absent.
    pub status: Option<u16>,
    /// Fields that are added.
    pub headers: Vec<HeaderValueOption>,
    /// What the log says of it.
    pub details: ResponseDetails,
}

/// What the log says of a response that was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ResponseDetails {
    /// Nothing of its own.
    #[default]
    Usual,
    /// What it said of the response that was replaced.
    Kept,
    /// This.
    Told(String),
}
