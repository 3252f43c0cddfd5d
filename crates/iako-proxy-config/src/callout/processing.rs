//! What a service that sees requests and responses is shown, and what it answers.
//!
//! Source: `envoy.service.ext_proc.v3`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{AskedHeader, ServiceHeader};
use crate::{BodyMode, ProcessingMode};

/// What is shown. Source: `ProcessingRequest`.
#[derive(Debug, Clone)]
pub struct ProcessQuestion<'a> {
    /// Which part.
    pub part: ProcessPart<'a>,
    /// What filters left, by name.
    pub metadata: Vec<(&'a str, &'a Map<String, Value>)>,
    /// Facts, by name; told under the filter's name where there are any.
    pub attributes: Map<String, Value>,
    /// How the content of request and response is shown; told with the first part.
    pub modes: Option<ProcessModes>,
    /// Whether nobody waits for an answer.
    pub only_watches: bool,
}

/// How content is shown. Source: `ProtocolConfiguration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessModes {
    /// That of requests.
    pub request_body: BodyMode,
    /// That of responses.
    pub response_body: BodyMode,
    /// Whether pieces are shown before the head was answered.
    pub shows_body_early: bool,
}

/// A part of a request or response.
#[derive(Debug, Clone)]
pub enum ProcessPart<'a> {
    /// Headers of the request, and whether there is nothing behind them.
    RequestHeaders(Vec<AskedHeader<'a>>, bool),
    /// Content of the request, and whether it is whole.
    RequestBody(&'a [u8], bool),
    /// Headers of the response, and whether there is nothing behind them.
    ResponseHeaders(Vec<AskedHeader<'a>>, bool),
    /// Content of the response, and whether it is whole.
    ResponseBody(&'a [u8], bool),
    /// Trailers of the request.
    RequestTrailers(Vec<AskedHeader<'a>>),
    /// Trailers of the response.
    ResponseTrailers(Vec<AskedHeader<'a>>),
}

/// What the service says. Source: `ProcessingResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProcessAnswer {
    /// What is done.
    pub reply: ProcessReply,
    /// What is kept, by the name that it is kept under.
    pub metadata: Map<String, Value>,
    /// What it wants to see from now on.
    pub mode: Option<ProcessingMode>,
    /// How much time it wants for this answer.
    pub timeout: Option<Duration>,
}

/// What is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ProcessReply {
    /// Nothing is said, or nothing that is known.
    #[default]
    None,
    /// To the headers of the request.
    RequestHeaders(Box<PartReply>),
    /// To its content.
    RequestBody(Box<PartReply>),
    /// To the headers of the response.
    ResponseHeaders(Box<PartReply>),
    /// To its content.
    ResponseBody(Box<PartReply>),
    /// To the trailers of the request.
    RequestTrailers(Box<PartReply>),
    /// To the trailers of the response.
    ResponseTrailers(Box<PartReply>),
    /// The service answers the client.
    Immediate(Box<ImmediateReply>),
}

/// What is done to a part. Source: `CommonResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartReply {
    /// Whether the content is replaced with the headers.
    pub replaces: bool,
    /// Headers that are set or added.
    pub set: Vec<ServiceHeader>,
    /// Headers that go.
    pub remove: Vec<String>,
    /// Content in place of what was shown; empty to drop it.
    pub body: Option<Vec<u8>>,
    /// A piece of what the service writes, and whether it is the last one.
    pub piece: Option<(Vec<u8>, bool)>,
    /// Whether the route is chosen again.
    pub clear_route: bool,
}

/// What the client is answered. Source: `ImmediateResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImmediateReply {
    /// The status; 200 when 0.
    pub status: u32,
    /// Headers.
    pub set: Vec<ServiceHeader>,
    /// Headers that go.
    pub remove: Vec<String>,
    /// Content.
    pub body: Vec<u8>,
    /// What a gRPC call is told.
    pub grpc_status: Option<u32>,
    /// Why, for logs.
    pub details: String,
}
