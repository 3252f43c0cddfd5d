//! Responses that are replaced.

use bytes::Bytes;

use crate::{BodyFormat, HeaderValueOption, MatchTree, Redirect, ResponseInput};

/// Replaces responses by what they are.
/// Source: `envoy.extensions.filters.http.custom_response.v3.CustomResponse`.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomResponse {
    /// Which response is replaced by which; none when absent.
    pub policies: Option<MatchTree<ResponsePolicy, ResponseInput>>,
}

/// What stands in place of a response.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponsePolicy {
    /// A response that is written here.
    Local(Box<LocalResponse>),
    /// The response to another request.
    Redirect(Box<RedirectedResponse>),
}

/// The response to another request, which is made by GET. Source:
/// `envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub struct RedirectedResponse {
    /// Where that request goes.
    pub target: ResponseTarget,
    /// The status of its response; that of the response that it stands for when absent.
    pub status: Option<u16>,
    /// Fields that are added to its response.
    pub response_headers: Vec<HeaderValueOption>,
    /// Fields that are added to it.
    pub request_headers: Vec<HeaderValueOption>,
}

/// Where a request goes whose response stands in place of another. Source:
/// `RedirectPolicy.redirect_action_specifier`.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseTarget {
    /// An absolute URL.
    Uri(String),
    /// The request's own address with parts changed: scheme, host, port, whole path.
    Changed(Box<Redirect>),
}

/// A response that is written here. Source:
/// `envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalResponse {
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
