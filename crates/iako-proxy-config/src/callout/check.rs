//! Whether a request may pass: what the service is asked, and what it answers.
//!
//! Source: `envoy.service.auth.v3`.

use std::{collections::BTreeMap, net::SocketAddr, time::SystemTime};

use serde_json::{Map, Value};

use super::{AskedHeader, ServiceHeader};

/// The question. Source: `CheckRequest`.
#[derive(Debug, Clone, Default)]
pub struct CheckQuestion<'a> {
    /// The client.
    pub source: CheckPeer<'a>,
    /// This proxy.
    pub destination: CheckPeer<'a>,
    /// The request; none for a connection.
    pub request: Option<CheckedRequest<'a>>,
    /// When the request began.
    pub time: Option<SystemTime>,
    /// What the route says besides.
    pub context: &'a [&'a BTreeMap<String, String>],
    /// What filters left, by name.
    pub metadata: Vec<(&'a str, &'a Map<String, Value>)>,
    /// The server name that the client asked for; none without TLS, and where it is not told.
    pub server_name: Option<&'a str>,
}

/// One end of the connection. Source: `AttributeContext.Peer`.
#[derive(Debug, Clone, Default)]
pub struct CheckPeer<'a> {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// The service cluster that the client says it is.
    pub service: &'a str,
    /// As whom its certificate proves it.
    pub principal: &'a str,
    /// The certificate, URL-encoded PEM.
    pub certificate: String,
    /// Labels of this proxy's bootstrap.
    pub labels: BTreeMap<String, String>,
}

/// The request. Source: `AttributeContext.HttpRequest`.
#[derive(Debug, Clone, Default)]
pub struct CheckedRequest<'a> {
    /// A number of its own.
    pub id: String,
    /// The method.
    pub method: &'a str,
    /// The headers that are told, pseudo-headers too.
    pub headers: Vec<AskedHeader<'a>>,
    /// Whether headers are told as they are, one by one, and not joined by name.
    pub raw_headers: bool,
    /// Path and query.
    pub path: &'a str,
    /// The host.
    pub host: &'a str,
    /// The scheme.
    pub scheme: &'a str,
    /// Bytes of content as far as they are known; -1 when they are not.
    pub size: i64,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// The content, as far as it is told.
    pub body: &'a [u8],
    /// Whether it is told as bytes, and not as text.
    pub body_as_bytes: bool,
}

/// What the service says. Source: `CheckResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckAnswer {
    /// The gRPC status in the answer: 0 lets the request pass. None when it is missing.
    pub status: u32,
    /// What is kept for other filters and logs.
    pub metadata: Map<String, Value>,
    /// What else is done.
    pub details: CheckDetails,
}

/// What is done to a request that passes or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum CheckDetails {
    /// Nothing is said.
    #[default]
    None,
    /// The request is changed and goes on. Source: `OkHttpResponse`.
    Ok(Box<CheckPass>),
    /// The answer of the service is answered. Source: `DeniedHttpResponse`.
    Denied(Box<CheckRefusal>),
    /// The service failed, and says what is answered. Source: `CheckResponse.error_response`.
    Error(Box<CheckRefusal>),
}

/// Changes of a request that passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckPass {
    /// Headers of the request.
    pub headers: Vec<ServiceHeader>,
    /// Headers that go.
    pub remove: Vec<String>,
    /// Headers of the response.
    pub response_headers: Vec<ServiceHeader>,
    /// Query parameters.
    pub query_set: Vec<(String, String)>,
    /// Query parameters that go.
    pub query_remove: Vec<String>,
}

/// What is answered in place of the request's server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckRefusal {
    /// The status; 0 when none is named.
    pub status: u32,
    /// Headers of the answer.
    pub headers: Vec<ServiceHeader>,
    /// Its content.
    pub body: String,
}
